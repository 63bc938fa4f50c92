"""The commands as a person types them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import parts


def watcher(*arguments: str, cwd: Path | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command; a wide terminal keeps lines whole."""
    return subprocess.run(
        [sys.executable, "-m", "watcher", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )


def test_help_and_version() -> None:
    """Each command explains itself; the version is said."""
    assert watcher("--version").stdout.startswith("watcher 0.")
    text = watcher("--help").stdout
    for command in ("run", "demo", "check", "process", "tasks", "workflows"):
        assert command in text
        assert watcher(command, "--help").returncode == 0
    assert "--install-completion" in text


def test_demo(tmp_path: Path) -> None:
    """The first thing anybody runs: outputs, an event, and what to try next; and it runs twice."""
    for _ in range(2):
        result = watcher("demo", cwd=tmp_path)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "task event delivered to watcher-demo/events" in result.stdout
        assert "watcher run --config watcher-demo/watcher.yaml" in result.stdout
    done = tmp_path / "watcher-demo" / "outbox" / "demo"
    assert parts.probe(done / "clip_transcode_100010.mp4")["video"]["height"] == 360
    assert len(list((tmp_path / "watcher-demo" / "events").glob("*.json"))) == 2
    assert "Traceback" not in (tmp_path / "watcher-demo" / "watcher.log").read_text()


def test_demo_leaves_other_folders_alone(tmp_path: Path) -> None:
    """A folder with somebody's files in it is refused."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    result = watcher("demo", "--directory", "mine", cwd=tmp_path)
    assert result.returncode == 1
    assert "is not empty" in result.stderr


def test_check_says_that_all_is_well(daemon: Callable[..., parts.Daemon], folders: dict[str, Any]) -> None:
    """Settings, workflows, ffmpeg, containment, buckets: a line for each."""
    service = daemon(folders, parts.workflow("inbox-1250000000", OutputDir="/out/"))
    result = watcher("check", "--config", str(service.config))
    assert result.returncode == 0, result.stdout
    for part in ("settings", "workflows", "ffmpeg", "containment", "storages.inbox-1250000000", "all is well"):
        assert part in result.stdout


def test_check_shows_all_mistakes_at_once(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], moto: str
) -> None:
    """Unreachable and missing things, each with its path, and workflows with their file."""
    keys = {"endpoint_url": moto, "access_key": "k", "secret_key": "s", "addressing": "path"}
    folders["storages"]["gone"] = {"type": "local", "root": "/nonexistent/place"}
    folders["storages"]["nobucket"] = {"type": "s3", **keys}
    folders["notifiers"] = {"broker": {"type": "mqtt", "host": "127.0.0.1", "port": parts.free_port()}}
    folders["sources"]["queue"] = {
        "type": "sqs",
        "queue_url": f"{moto}/1/none",
        "endpoint_url": moto,
        "access_key": "k",
        "secret_key": "s",
    }
    broken = parts.workflow("elsewhere", Colour="red", TaskPriority=11)
    service = daemon(folders, parts.workflow("elsewhere"), broken)
    (service.root / "workflows" / "c.json").write_text("{not json")
    result = watcher("check", "--config", str(service.config))
    assert result.returncode == 1
    for text in (
        "0.yaml: Trigger.CosFileUploadTrigger.Bucket: there is no storage 'elsewhere'",
        "1.yaml: Colour: unknown field",
        "is not valid YAML or JSON",
        "storages.gone: the directory /nonexistent/place does not exist",
        "storages.nobucket: bucket nobucket: the bucket does not exist",
        "sources.queue",
        "notifiers.broker: broker 127.0.0.1 can't be reached",
        "sources.queue",
    ):
        assert text in result.stdout, (text, result.stdout)
    assert "Traceback" not in result.stdout + result.stderr


def test_misspelt_settings(tmp_path: Path) -> None:
    """Each mistake with its path and a sentence, by `check` and by `run` alike; never a traceback."""
    config = tmp_path / "watcher.yaml"
    config.write_text(
        "stoarges: {}\nstorages:\n  a: {type: locale, root: /tmp}\n  b: {type: local, rooot: /tmp}\n"
        "sources:\n  s: {type: folder, storage: nowhere}\nlog: {level: loud}\n"
    )
    for command in ("check", "run"):
        result = watcher(command, "--config", str(config))
        text = result.stdout + result.stderr
        assert result.returncode in (1, 2)
        assert "stoarges: there is no such setting; is it misspelt?" in text
        assert "log.level" in text
        assert "Traceback" not in text
    config.write_text(config.read_text().replace("stoarges: {}\n", "").replace("loud", "info"))
    text = watcher("check", "--config", str(config)).stdout
    assert "storages.a.type: there is no type 'locale'; use one of: cos, local, memory, s3" in text
    assert "storages.b.root: is required" in text
    assert "storages.b.rooot: there is no such setting" in text
    assert "sources.s.storage: there is no storage 'nowhere'" in text
    assert watcher("run", "--config", "/nonexistent.yaml").stderr == (
        "error: /nonexistent.yaml: there is no such configuration file\n"
    )


def test_process_without_a_service(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path, clip: Path
) -> None:
    """One object now, through a workflow that is not enabled; again on request; and a wrong name is a sentence."""
    service = daemon(folders, parts.workflow("inbox-1250000000", Enabled=False, OutputDir="/out/"))
    shutil.copy(clip, tmp_path / "inbox" / "a.mp4")
    for place in ("inbox-1250000000/a.mp4", str(tmp_path / "inbox" / "a.mp4")):
        result = watcher("process", place, "--workflow", "clips", "--config", str(service.config))
        assert result.returncode == 0, result.stdout + result.stderr
        assert "inbox-1250000000/out/a_snapshotByTimeOffset_10_0.jpg" in result.stdout
    config = str(service.config)
    wrong = watcher("process", "inbox-1250000000/a.mp4", "-w", "nope", "--config", config)
    assert wrong.stderr == "error: there is no workflow 'nope'; there is: clips\n"
    missing = watcher("process", "inbox-1250000000/b.mp4", "-w", "clips", "--config", config)
    assert missing.returncode == 1
    assert "does not exist" in missing.stderr


def test_tasks_of_a_running_service(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path, clip: Path, long_clip: Path
) -> None:
    """List, show, abort and retry, beside the daemon; a second daemon is refused with a sentence."""
    steps = {"TranscodeTaskSet": [{"Definition": 100030}]}
    service = daemon(folders, parts.workflow("inbox-1250000000", OutputDir="/out/", MediaProcessTask=steps))
    config = str(service.config)
    service.start()
    shutil.copy(long_clip, tmp_path / "inbox" / "film.mp4")
    parts.wait_for(lambda: list((service.root / "work").rglob("main.mp4")), what="ffmpeg to begin")
    for process in parts.ffmpegs(service.root / "work"):  # so that it does not end before it is aborted
        os.kill(process, signal.SIGSTOP)
    assert "PROCESSING" in watcher("tasks", "list", "--config", config).stdout
    ((task_id,),) = service.query("select task_id from tasks")
    assert "asked for the end" in watcher("tasks", "abort", task_id, "--config", config).stdout
    (task,) = service.finished(1, timeout=10)
    assert task["message"] == "aborted on request"
    assert not list((tmp_path / "inbox" / "out").glob("*")) if (tmp_path / "inbox" / "out").exists() else True

    shutil.copy(clip, tmp_path / "inbox" / "film2.mp4")
    service.finished(2)
    shown = watcher("tasks", "show", task_id[-12:], "--config", config).stdout
    assert "aborted on request" in shown
    assert "queued" in watcher("tasks", "retry", task_id, "--config", config).stdout
    parts.wait_for(lambda: service.query("select failed from tasks where task_id = ?", task_id) == [(0,)], 60)
    parts.wait_for(lambda: not service.query("select 1 from tasks where status != 'FINISH'"), 60, "the retried task")
    wire = json.loads(watcher("tasks", "show", task_id, "--json", "--config", config).stdout)
    assert wire["MediaProcessResultSet"][0]["TranscodeTask"]["Output"]["Height"] == 720
    second = watcher("run", "--config", config)
    assert second.returncode == 2
    assert f"another daemon (process {service.process.pid}) already uses" in second.stderr
    assert watcher("tasks", "show", "zzz", "--config", config).returncode == 1


def test_workflows_on_and_off(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path, clip: Path
) -> None:
    """Match explains, enable changes one line of the file, and the running service hears of it."""
    body = parts.workflow("inbox-1250000000", Enabled=False, OutputDir="/out/")
    body["Trigger"]["CosFileUploadTrigger"] |= {"Dir": "/up/", "Formats": ["mp4"]}
    service = daemon(folders, body)
    file = service.root / "workflows" / "0.yaml"
    file.write_text("# a comment that stays\n" + yaml.safe_dump({k: v for k, v in body.items() if k != "Enabled"}))
    config = str(service.config)
    service.start()
    off = watcher("workflows", "match", "inbox-1250000000/a.mov", "--config", config)
    assert off.returncode == 1
    assert "clips: it is not enabled; Dir: / in /up/; Formats: mov among mp4" in off.stdout
    result = watcher("workflows", "enable", "clips", "--config", config)
    assert "the running service reads it now" in result.stdout, result.stderr
    assert file.read_text().startswith("# a comment that stays\n")
    assert file.read_text().endswith("Enabled: true\n")
    assert "clips would start" in watcher("workflows", "match", "inbox-1250000000/up/a.mp4", "--config", config).stdout
    parts.wait_for(lambda: "reloaded" in service.text(), what="the reload")
    (tmp_path / "inbox" / "up").mkdir()
    shutil.copy(clip, tmp_path / "inbox" / "up" / "a.mp4")
    service.finished(1)
    assert "yes" in watcher("workflows", "list", "--config", config).stdout
    watcher("workflows", "disable", "clips", "--config", config)
    parts.wait_for(lambda: service.text().count("reloaded") == 2, what="the second reload")
    shutil.copy(clip, tmp_path / "inbox" / "up" / "b.mp4")
    parts.wait_for(lambda: len(service.query("select 1 from ledger")) >= 3, what="the second file to be recorded")
    assert service.query("select count(*) from tasks") == [(1,)]


def test_reload_with_a_mistake_keeps_the_old_set(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path, clip: Path
) -> None:
    """An invalid file is named in the log, and what was in force stays so."""
    service = daemon(folders, parts.workflow("inbox-1250000000", OutputDir="/out/"))
    service.start()
    service.write_workflow("bad.yaml", parts.workflow("inbox-1250000000", WorkflowName="new", TaskPriority=99))
    service.process.send_signal(1)
    parts.wait_for(lambda: "reload refused" in service.text(), what="the refusal")
    assert "bad.yaml: TaskPriority" in service.text()
    shutil.copy(clip, tmp_path / "inbox" / "a.mp4")
    (task,) = service.finished(1)
    assert not task["failed"]


def test_priorities(daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path, clip: Path) -> None:
    """Of the tasks that wait, the highest priority goes first, and among equals the oldest."""
    bodies = []
    for name, priority in (("low", -10), ("usual", 0), ("high", 10)):
        body = parts.workflow("inbox-1250000000", WorkflowName=name, TaskPriority=priority, OutputDir=f"/{name}/")
        body["Trigger"]["CosFileUploadTrigger"]["Dir"] = f"/{name}-in/"
        bodies.append(body)
    service = daemon(folders | {"executor": {"type": "embedded", "slots": 0}}, *bodies)
    service.start()
    for name in ("low", "usual", "high"):
        (tmp_path / "inbox" / f"{name}-in").mkdir()
        for number in range(2):
            shutil.copy(clip, tmp_path / "inbox" / f"{name}-in" / f"{number}.mp4")
            parts.wait_for(lambda: service.query("select 1 from tasks where key = ?", f"{name}-in/{number}.mp4"))  # noqa: B023
    service.stop()
    service.write_settings(folders | {"executor": {"type": "embedded", "slots": 1}})
    service.start()
    service.finished(6)
    order = [key for (key,) in service.query("select key from tasks order by begin_time")]
    assert order == [f"{name}-in/{number}.mp4" for name in ("high", "usual", "low") for number in range(2)]


def test_ctrl_c(daemon: Callable[..., parts.Daemon], folders: dict[str, Any]) -> None:
    """Ctrl-C ends the service in good order."""
    service = daemon(folders, parts.workflow("inbox-1250000000", OutputDir="/out/"))
    service.start()
    service.process.send_signal(2)
    assert service.process.wait(10) == 0
    assert "stopped" in service.text()
    assert "Traceback" not in service.text()


def _catches_ctrl_c(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has a handler of its own for SIGINT, as Python has while nobody says otherwise."""
    caught = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) & 2)


@pytest.mark.parametrize("early", [True, False])
def test_ctrl_c_during_the_start(daemon: Callable[..., parts.Daemon], folders: dict[str, Any], early: bool) -> None:
    """An impatient person sees no traceback, neither while modules are read nor when the state is there."""
    service = daemon(folders, parts.workflow("inbox-1250000000", OutputDir="/out/"))
    process = subprocess.Popen(  # whoever runs the tests in the background ignores SIGINT, and so do its children
        ["env", "--default-signal=INT", sys.executable, "-m", "watcher", "run", "--config", str(service.config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    begun = False
    while not service.database.exists() and not (early and begun and not _catches_ctrl_c(process)):
        begun = begun or _catches_ctrl_c(process)
        assert process.poll() is None
        parts.time.sleep(0.001)
    process.send_signal(2)
    output, _ = process.communicate(timeout=15)
    assert process.returncode in (0, 130, -2), output
    assert b"Traceback" not in output
