"""Fixtures that all tests share."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
import pytest_asyncio

from tests import parts
from tests.workbench import Bench
from watcher.media import containment
from watcher.media.containment import Containment
from watcher.storage import s3


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests use the key pairs they name, whatever the machine has."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "WATCHER_", "COS_")) or name in ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


Measured = Callable[..., None]


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    """Notes what a capability found of what was there, for the table at the end: ``measured(what, of, right, wrong)``,
    with how exact the times were in words."""

    def note(what: str, of: int, right: float, wrong: float = 0, exact: str = "") -> None:
        record_property("measured", [what, of, right, wrong, exact])

    return note


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How good models and detectors were, of all tests that measured them."""
    rows = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for name, value in report.user_properties
        if name == "measured"
    ]
    if not rows:
        return
    terminalreporter.section("against the truth")
    head = f"{'capability':34} {'truths':>7} {'recall':>8} {'precision':>10}   exact to"
    terminalreporter.write_line(head)
    for what, of, right, wrong, exact in sorted(rows):
        precision = f"{100 * right / (right + wrong):.1f} %" if right + wrong else "–"
        terminalreporter.write_line(f"{what:34} {of:7} {100 * right / of:6.1f} % {precision:>10}   {exact}")


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of synthetic clips, made once."""
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def clip(clips: Path) -> Path:
    """Three seconds, 320×180 at 25 fps, with sound."""
    return parts.make_clip(clips / "clip.mp4")


@pytest.fixture(scope="session")
def long_clip(clips: Path) -> Path:
    """A clip whose transcoding takes some seconds."""
    return parts.make_clip(clips / "long.mp4", seconds=40, size="1280x720")


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """S3 and SQS by moto."""
    with parts.moto_server() as address:
        yield address


@pytest.fixture
def receiver() -> Iterator[parts.HttpReceiver]:
    """A real HTTP server."""
    server = parts.HttpReceiver()
    yield server
    server.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[..., parts.Daemon]]:
    """Makes daemons that do not outlive the test."""
    made: list[parts.Daemon] = []

    def make(settings: dict[str, Any], *workflows: dict[str, Any], root: Path | None = None) -> parts.Daemon:
        made.append(parts.Daemon(root or tmp_path / "daemon", settings, list(workflows)))
        return made[-1]

    yield make
    for item in made:
        item.close()


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Any]:
    """Settings of two buckets that are directories, the first of them watched."""
    for name in ("inbox", "outbox"):
        (tmp_path / name).mkdir()
    return {
        "storages": {
            "inbox-1250000000": {"type": "local", "root": str(tmp_path / "inbox")},
            "outbox-1250000000": {"type": "local", "root": str(tmp_path / "outbox")},
        },
        "sources": {"inbox": {"type": "folder", "storage": "inbox-1250000000", "settle": "500ms"}},
    }


@pytest_asyncio.fixture
async def strongest() -> Containment:
    """The strongest containment of this machine."""
    return await containment.detect("auto")


@pytest_asyncio.fixture
async def far(moto: str, tmp_path: Path, strongest: Containment) -> AsyncIterator[Bench]:
    """A bench whose bucket is in an S3 server."""
    name = f"far-{uuid.uuid4().hex[:12]}"
    keys = {"access_key": "a", "secret_key": "b"}
    client = boto3.client(
        "s3", endpoint_url=moto, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_bucket(Bucket=name)
    bench = Bench(tmp_path / "bucket", strongest)
    options = {"endpoint_url": moto, "region": "us-east-1", "bucket": name, "addressing": "path", **keys}
    async with s3.S3Storage("b", s3.Options.model_validate(options)) as storage:
        bench.use(storage)
        yield bench


@pytest_asyncio.fixture
async def workbench(tmp_path: Path, strongest: Containment) -> AsyncIterator[Bench]:
    """A worker over a directory, which leaves no work directory behind."""
    yield Bench(tmp_path / "bucket", strongest)
    assert list((tmp_path / "work").iterdir()) == []


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """RabbitMQ takes seconds to start: one for all."""
    with parts.rabbitmq(tmp_path_factory.mktemp("rabbit")) as port:
        yield port


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for all."""
    with parts.postgresql(tmp_path_factory.mktemp("postgresql")) as address:
        yield address


@pytest.fixture
def postgresql(postgresql_server: str) -> Callable[[], str]:
    """Makes a database, and returns its address."""

    def make() -> str:
        name = f"watcher_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(f"{postgresql_server}/postgres", autocommit=True) as connection:
            connection.execute(f"create database {name}")
        return f"{postgresql_server}/{name}"

    return make
