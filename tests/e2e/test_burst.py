"""Many files at once: every file that matches becomes exactly one task."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import parts

FILES = 20_000
TREE = 2_000


def fill(folder: Path, count: int, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{name}{number}.mp4").write_bytes(b"x")
    for number in range(count // 100):
        (folder / f"{name}{number}.txt").write_bytes(b"x")


def test_burst_of_small_files_and_a_tree_moved_in(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path
) -> None:
    """20 000 files written in a burst, a tree renamed into place, and one copied: all of them, once each."""
    # Tasks are only accepted here: whether each is processed well is the subject of other tests.
    service = daemon(
        folders | {"executor": {"type": "embedded", "slots": 0}}, parts.workflow("inbox-1250000000", OutputDir="/out/")
    )
    service.start()
    inbox = tmp_path / "inbox"
    for part in range(20):
        fill(inbox / f"d{part % 4}", FILES // 20, f"burst{part}-")
    for depth in ("", "a", "a/b"):
        fill(tmp_path / "tree" / depth, TREE // 4, "moved")
    os.rename(tmp_path / "tree", inbox / "tree")
    expected = FILES + 3 * (TREE // 4)

    def count() -> int:
        return int(service.query("select count(*) from tasks")[0][0])

    parts.wait_for(lambda: count() >= expected, 120, "all tasks")
    keys = [key for (key,) in service.query("select key from tasks")]
    wanted = {path.relative_to(inbox).as_posix() for path in inbox.rglob("*.mp4")}
    assert len(keys) == expected
    assert set(keys) == wanted
    assert service.stop() == 0


def test_unfinished_files_never_start(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path, clip: Path
) -> None:
    """A writer that pauses longer than the settle time, temporary names, and a rename at the end."""
    service = daemon(folders, parts.workflow("inbox-1250000000", OutputDir="/out/"))
    service.start()
    inbox, data = tmp_path / "inbox", clip.read_bytes()
    with (inbox / "slow.mp4").open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        (inbox / "upload.mp4.part").write_bytes(data)
        (inbox / ".hidden.mp4").write_bytes(data)
        (inbox / "quick.mp4").write_bytes(data)
        service.finished(1)
        # Three settle times with the writer pausing: the half-written file must not have started.
        os.utime(inbox / "quick.mp4")
        parts.time.sleep(1.6)
        assert service.query("select distinct key from tasks where key != 'quick.mp4'") == []
        file.write(data[len(data) // 2 :])
    os.rename(inbox / "upload.mp4.part", inbox / "upload.mp4")
    parts.wait_for(lambda: len(service.query("select distinct key from tasks")) == 3, what="the finished files")
    tasks = service.finished(3)
    keys = {task["key"]: task["failed"] for task in tasks}
    assert keys == {"quick.mp4": 0, "slow.mp4": 0, "upload.mp4": 0}
