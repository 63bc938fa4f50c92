"""Settings: file and environment, secrets by reference, durations and sizes, families by type."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from watcher import credentials, plugin, settings
from watcher.errors import ConfigurationError, Problem
from watcher.executors.embedded import Options as ExecutorOptions
from watcher.storage.local import LocalStorage
from watcher.storage.s3 import S3Storage

ROOT = Path(__file__).parents[2]


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "watcher.yaml"
    file.write_text(text)
    return file


def test_defaults(tmp_path: Path) -> None:
    """An empty file is a configuration; paths are relative to it."""
    found = settings.load(write(tmp_path, ""))
    assert found.state.where == str(tmp_path / "watcher.db")
    assert found.workflows == tmp_path / "workflows"
    assert found.work_dir == tmp_path / "work"


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting can come from the environment, nested ones too."""
    monkeypatch.setenv("WATCHER_EXECUTOR__SLOTS", "7")
    monkeypatch.setenv("WATCHER_MEDIA__SPEED", "slow")
    monkeypatch.setenv("WATCHER_STATE", "sqlite:////elsewhere/w.db")
    found = settings.load(write(tmp_path, "executor: {type: embedded, slots: 1}\nmedia: {speed: fast}\n"))
    assert isinstance(found.executor_options, ExecutorOptions)
    assert (found.executor_options.slots, found.media.speed) == (7, "slow")
    assert found.state.where == "/elsewhere/w.db"


def test_secrets_are_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolved at load from the environment or systemd's credentials, and never shown."""
    (tmp_path / "cos_key").write_text("s3cret\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("KEY", "AKID")
    text = 'storages:\n  b: {type: s3, access_key: "${env:KEY}", secret_key: "${credential:cos_key}"}\n'
    found = settings.load(write(tmp_path, text))
    storage = found.storages["b"]
    assert isinstance(storage, S3Storage)
    assert storage._options.access_key == "AKID"
    assert storage._options.secret_key is not None
    assert storage._options.secret_key.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(storage._options)


def test_missing_secrets_are_all_named(tmp_path: Path) -> None:
    """Each with its path and what to do."""
    problems: list[Problem] = []
    data = {"a": {"b": "${env:NOPE}"}, "c": ["${credential:gone}", "${credential:../etc/passwd}", "plain"]}
    credentials.resolve(data, "", problems, {})
    assert [problem.path for problem in problems] == ["a.b", "c[0]", "c[1]"]
    assert "LoadCredential=gone:" in problems[1].message


def test_names_refer_to_what_is_there(tmp_path: Path) -> None:
    """A source over a missing storage, or over one of the wrong kind, is a mistake with its path."""
    text = "storages:\n  b: {type: s3}\nsources:\n  x: {type: folder, storage: nope}\n  y: {type: folder, storage: b}\n"
    with pytest.raises(ConfigurationError) as caught:
        settings.load(write(tmp_path, text))
    paths = [problem.path for problem in caught.value.problems]
    assert paths == ["sources.x.storage", "sources.y"]


@pytest.mark.parametrize("name", ["watcher.yaml", "watcher.production.yaml"])
def test_shipped_configurations_are_right(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the repository shows can be used as it is."""
    names = ("cos_id", "cos_key", "s3_id", "s3_key", "minio_id", "minio_key", "mqtt_password", "api_id", "api_key")
    for secret in names:
        (tmp_path / secret).write_text("x" * 16)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    found = settings.load(ROOT / "config" / name)
    assert found.storages
    assert found.sources


def test_a_key_that_is_there_twice(tmp_path: Path) -> None:
    """Plain YAML would keep the last one and say nothing."""
    with pytest.raises(ConfigurationError, match="line 2: is not valid YAML or JSON: the key 'drain' is there twice"):
        settings.load(write(tmp_path, "drain: 1s\ndrain: 2s\n"))


def test_bad_state(tmp_path: Path) -> None:
    """Another database than the two is refused by name; a password is never shown."""
    with pytest.raises(ConfigurationError, match="'mysql' is not supported; write sqlite:///"):
        settings.load(write(tmp_path, "state: mysql://me:s3cret@db/watcher\n"))
    found = settings.load(write(tmp_path, "state: postgresql://me:s3cret@db/watcher\n"))
    assert found.state.where == "postgresql://me:***@db/watcher"


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("1.5m", 90), ("2h", 7200), (7, 7)])
def test_durations(text: str | int, seconds: float) -> None:
    """Durations read as people write them."""
    assert TypeAdapter(plugin.Seconds).validate_python(text) == seconds


@pytest.mark.parametrize(("text", "size"), [("64MiB", 64 * 2**20), ("1GB", 10**9), ("8 GiB", 8 * 2**30), (5, 5)])
def test_sizes(text: str | int, size: int) -> None:
    """Sizes read as people write them."""
    assert TypeAdapter(plugin.Bytes).validate_python(text) == size


def test_a_duration_without_sense() -> None:
    """What is no duration is refused."""
    with pytest.raises(ValidationError):
        TypeAdapter(plugin.Seconds).validate_python("soon")


def test_types_are_file_names() -> None:
    """Each family lists its implementations by the names of their files."""
    assert plugin.names("storage") == ["cos", "local", "memory", "s3"]
    assert plugin.names("sources") == [
        "amqp", "folder", "kafka", "memory", "minio_listen", "mqtt", "nats", "redis", "s3_poll", "sqs", "webhook",
    ]  # fmt: skip
    assert plugin.names("notifiers") == [
        "amqp",
        "directory",
        "kafka",
        "memory",
        "mqtt",
        "nats",
        "redis",
        "sqs",
        "webhook",
    ]
    assert plugin.names("executors") == ["embedded"]
    steps = [
        "adaptive_dynamic_streaming",
        "ai_analysis",
        "ai_recognition",
        "animated_graphic",
        "command",
        "content_review",
    ]
    steps += [
        "image",
        "image_sprite",
        "quality_control",
        "sample_snapshot",
        "snapshot_by_time_offset",
        "transcode",
        "waveform",
    ]
    assert plugin.names("steps") == steps
    assert plugin.names("inference") == [
        "dlib", "faster_whisper", "nudenet", "onnx", "openai", "pocketsphinx", "rapidocr", "scenedetect", "vosk",
        "zxing",
    ]  # fmt: skip


def test_every_option_is_described() -> None:
    """An option without a sentence is a question to whoever configures it."""
    from watcher.executors.base import Executor
    from watcher.notifiers.base import Notifier
    from watcher.sources.base import Source
    from watcher.storage.base import Storage

    families = {"storage": Storage, "sources": Source, "notifiers": Notifier, "executors": Executor}
    for family, contract in families.items():
        for name in plugin.names(family):
            options, _ = plugin.find(family, name, contract)
            assert options.__doc__, (family, name)
            for option, field in options.model_fields.items():
                assert field.description, (family, name, option)


def test_local_roots_are_relative_to_the_file(tmp_path: Path) -> None:
    """Wherever the daemon was started."""
    found = settings.load(write(tmp_path, "storages: {a: {type: local, root: x/y}}\n"))
    storage = found.storages["a"]
    assert isinstance(storage, LocalStorage)
    assert storage.root == tmp_path / "x" / "y"
