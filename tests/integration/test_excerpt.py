"""Pictures out of the few packets that they need are the pictures that a full decode gives."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import parts
from tests.workbench import Bench, counted_reads
from watcher import worker
from watcher.media import excerpt
from watcher.media.ranges import BLOCK, Ranges
from watcher.storage import s3

CLIPS: dict[str, tuple[str, list[str]]] = {
    "b-frames": ("mp4", ["-c:v", "libx264", "-preset", "medium", "-g", "50", "-bf", "3"]),
    "open-gop": ("mp4", ["-c:v", "libx264", "-preset", "medium", "-g", "40", "-x264-params", "open-gop=1:bframes=3"]),
    "matroska": ("mkv", ["-c:v", "libx264", "-preset", "fast", "-g", "50"]),
    "hevc": ("mp4", ["-c:v", "libx265", "-preset", "ultrafast", "-g", "50", "-x265-params", "log-level=error"]),
    "vp9": ("webm", ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "50", "-c:a", "libopus"]),
    "late-start": ("mp4", ["-c:v", "libx264", "-g", "50", "-output_ts_offset", "1.4"]),
    "no-sound": ("mov", ["-c:v", "libx264", "-g", "50", "-an"]),
    "29.97": ("mp4", ["-c:v", "libx264", "-g", "50", "-r", "30000/1001"]),
}
SNAPSHOTS: dict[str, Any] = {
    "SnapshotByTimeOffsetTaskSet": [
        {"Definition": 10, "ExtTimeOffsetSet": ["0s", "3.3s", "3.34s", "7.04s", "90%", "100%"]}
    ]
}
SAMPLES: dict[str, Any] = {"SampleSnapshotTaskSet": [{"Definition": 200001}]}
GIF: dict[str, Any] = {"AnimatedGraphicTaskSet": [{"Definition": 20000, "StartTimeOffset": 5.2, "EndTimeOffset": 6.7}]}


@pytest.fixture(params=CLIPS)
def source(request: pytest.FixtureRequest, clips: Path) -> Path:
    """Twelve seconds in one of the ways that films are kept."""
    extension, arguments = CLIPS[request.param]
    path = clips / f"excerpt-{request.param}.{extension}"
    if not path.exists():
        parts.make_clip(path, *arguments, seconds=12, size="192x108")
    return path


async def pictures(bench: Bench, source: Path, tasks: dict[str, Any]) -> list[bytes]:
    """The files that a task makes of a source."""
    shutil.copy(source, bench.root / source.name)
    bench.template("sample_snapshot", 200001, {"SampleType": "Time", "SampleInterval": 4})
    shutil.rmtree(bench.root / "out", ignore_errors=True)
    outcome = await bench.run(source.name, **tasks)
    assert [result.status for result in outcome.results] == ["SUCCESS"], outcome.results[0].message
    return [path.read_bytes() for path in sorted((bench.root / "out").iterdir())]


@pytest.mark.parametrize("tasks", [SNAPSHOTS, SAMPLES, GIF], ids=["moments", "samples", "window"])
async def test_the_same_pictures(
    workbench: Bench, source: Path, tasks: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, whatever the container, codec, order of frames or first time stamp."""
    monkeypatch.setattr(worker, "WORTH_EXCERPT", float("inf"))
    whole = await pictures(workbench, source, tasks)
    monkeypatch.setattr(worker, "WORTH_EXCERPT", 0)
    found: list[Any] = []
    cut = type(workbench.worker.probe).excerpt

    async def spy(*args: Any, **more: Any) -> Any:
        found.append(await cut(*args, **more))
        return found[-1]

    monkeypatch.setattr(type(workbench.worker.probe), "excerpt", spy)
    assert await pictures(workbench, source, tasks) == whole
    assert found[-1] is not None, "no excerpt was cut, so nothing was compared"


async def test_a_turned_film_stays_turned(workbench: Bench, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The display matrix goes along."""
    upright = parts.make_clip(clips / "upright.mp4", "-g", "50", seconds=12, size="192x108")
    turned = clips / "turned.mp4"
    command = [
        parts.FFMPEG,
        "-v",
        "error",
        "-y",
        "-display_rotation",
        "90",
        "-i",
        str(upright),
        "-c",
        "copy",
        str(turned),
    ]
    subprocess.run(command, check=True)
    monkeypatch.setattr(worker, "WORTH_EXCERPT", float("inf"))
    whole = await pictures(workbench, turned, SNAPSHOTS)
    monkeypatch.setattr(worker, "WORTH_EXCERPT", 0)
    assert await pictures(workbench, turned, SNAPSHOTS) == whole


async def test_a_film_without_index_is_read_whole(
    workbench: Bench, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MPEG-TS has none: all is decoded, and the pictures are there."""
    path = parts.make_clip(clips / "no-index.ts", "-g", "50", seconds=12, size="192x108")
    monkeypatch.setattr(worker, "WORTH_EXCERPT", 0)
    assert len(await pictures(workbench, path, SNAPSHOTS)) == 6


async def test_sprites_get_along_with_key_frames(
    workbench: Bench, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where exact tiles would need most of the film, the key frame before each does."""
    path = parts.make_clip(clips / "sprite.mp4", "-g", "50", seconds=12, size="192x108")
    shutil.copy(path, workbench.root / "a.mp4")
    body = {"SampleType": "Time", "SampleInterval": 3, "RowCount": 2, "ColumnCount": 2, "Width": 160, "Height": 130}
    workbench.template("image_sprite", 200001, body)
    monkeypatch.setattr(worker, "WORTH_EXCERPT", 0)
    monkeypatch.setattr(excerpt, "MOST", 0.01)
    asked: list[bool] = []
    cut = type(workbench.worker.probe).excerpt

    async def spy(*args: Any, **more: Any) -> Any:
        asked.append(more.get("keys", False))
        return await cut(*args, **more)

    monkeypatch.setattr(type(workbench.worker.probe), "excerpt", spy)
    item = await workbench.one("a.mp4", ImageSpriteTaskSet=[{"Definition": 200001}])
    assert item["total_count"] == 4
    assert asked == [False, True]


async def test_a_far_film_is_read_in_parts(far: Bench, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture of a large object: a few blocks are read, and nothing is downloaded."""
    path = clips / "far.mp4"
    noise = ["-c:v", "libx264", "-preset", "ultrafast", "-b:v", "20M", "-minrate", "20M", "-bufsize", "20M"]
    parts.make_clip(path, *noise, "-x264-params", "nal-hrd=cbr", "-g", "25", seconds=40, size="640x360")
    size = path.stat().st_size
    assert size > 60 * 2**20
    await far.storage.put(path, "far.mp4", content_type="video/mp4", metadata={}, token="t")

    async def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("the whole object was fetched")

    monkeypatch.setattr(s3.S3Storage, "fetch", refused)
    task = {"Definition": 10, "ExtTimeOffsetSet": ["21.5s"]}
    with counted_reads() as moved:
        item = await far.one("far.mp4", SnapshotByTimeOffsetTaskSet=[task])
    assert len(item["pic_info_set"]) == 1
    assert 0 < sum(moved) < 0.1 * size


async def test_ranges_are_blocks() -> None:
    """Small reads, forth and back, cost one block; the end is short."""
    asked: list[tuple[int, int]] = []

    async def read(start: int, length: int) -> bytes:
        asked.append((start, length))
        return bytes(length)

    ranges = Ranges(BLOCK + 100, read)
    assert len(await ranges.get(10, 1000)) == 1000
    assert len(await ranges.get(0, 50)) == 50
    assert len(await ranges.get(BLOCK - 10, 1000)) == 110
    assert asked == [(0, BLOCK), (BLOCK, 100)]
    assert ranges.moved == BLOCK + 100
