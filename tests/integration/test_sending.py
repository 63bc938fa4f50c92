"""Outputs are sent to a far storage while they are being encoded, and are what they would have been."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests import parts
from tests.workbench import Bench
from watcher.errors import TransientError
from watcher.media import growing
from watcher.media.ffmpeg import FFmpeg
from watcher.storage import s3

MIB = 1024 * 1024
FAST = {"Codec": "h264", "Mode": "CBR", "Bitrate": 30_000, "Fps": 25}
SOUND = {"Codec": "aac", "Bitrate": 128, "SampleRate": 44100}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts as small as S3 takes them, so that a clip of seconds has several."""
    monkeypatch.setattr(s3, "PART", 5 * MIB)
    monkeypatch.setattr(growing, "INTERVAL", 0.05)


async def uploaded(bench: Bench, container: str, tmp_path: Path) -> tuple[Path, list[str]]:
    """Transcode a clip in a far bucket; the output, and in which order parts were begun and ffmpeg ended."""
    order: list[str] = []
    run, send = FFmpeg.run, s3.S3Upload._send_part

    async def running(self: Any, *args: Any, **more: Any) -> None:
        await run(self, *args, **more)
        order.append("encoded")

    async def sending(self: Any, path: Path, number: int) -> None:
        order.append(f"part {number}")
        await send(self, path, number)

    clip = parts.make_clip(tmp_path / "clip.mp4", seconds=12, size="640x360")
    await bench.storage.put(clip, "a.mp4", content_type="video/mp4", metadata={}, token="t")
    bench.template("transcode", 200001, {"Container": container, "VideoTemplate": FAST, "AudioTemplate": SOUND})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FFmpeg, "run", running)
        patch.setattr(s3.S3Upload, "_send_part", sending)
        item = await bench.one("a.mp4", TranscodeTaskSet=[{"Definition": 200001}])
    info = await bench.storage.head(item["path"].removeprefix("/"))
    assert info.metadata is not None
    assert info.metadata["watcher-task"] == "t-1"
    assert info.size == item["size"]
    assert bench.registry.versions == [info]
    await bench.storage.fetch(info, tmp_path / f"got.{container}")
    return tmp_path / f"got.{container}", order


async def nothing_left(bench: Bench) -> None:
    """No upload is open."""
    storage = bench.storage
    assert isinstance(storage, s3.S3Storage)
    found = await storage.client.list_multipart_uploads(Bucket=storage.bucket)
    assert not found.get("Uploads")


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("container", ["mp4", "ts"])
async def test_parts_go_out_while_it_is_encoded(far: Bench, tmp_path: Path, container: str) -> None:
    """The first part is the last; an MP4 has its index in front all the same."""
    path, order = await uploaded(far, container, tmp_path)
    assert order.index("part 2") < order.index("encoded")
    assert order.index("part 1") > order.index("encoded")
    assert parts.probe(path)["video"]["frames"] == 300
    if container == "mp4":
        data = path.read_bytes()
        assert 0 < data.index(b"moov") < data.index(b"mdat")
    await nothing_left(far)


@pytest.mark.usefixtures("small_parts")
async def test_an_index_that_outgrows_its_room(far: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encode is made again in the usual way, and the upload that was begun is gone."""
    monkeypatch.setattr(growing, "PER_SAMPLE", 0)
    monkeypatch.setattr(growing, "FIXED", 100)
    path, order = await uploaded(far, "mp4", tmp_path)
    assert parts.probe(path)["video"]["frames"] == 300
    assert order[0] != "encoded" or order.count("encoded") == 1
    await nothing_left(far)


@pytest.mark.usefixtures("small_parts")
async def test_a_failure_to_send_ends_the_encode(far: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit is told to run again later, at once and not after the last frame; nothing is left."""

    async def broken(self: Any, path: Path, number: int) -> None:
        raise TransientError("the network is gone")

    monkeypatch.setattr(s3.S3Upload, "_send_part", broken)
    with pytest.raises(TransientError, match="the network is gone"):
        await uploaded_with(far, tmp_path)
    await nothing_left(far)


async def uploaded_with(bench: Bench, tmp_path: Path) -> None:
    """Transcode without spying."""
    clip = parts.make_clip(tmp_path / "clip.mp4", seconds=12, size="640x360")
    await bench.storage.put(clip, "a.mp4", content_type="video/mp4", metadata={}, token="t")
    bench.template("transcode", 200001, {"Container": "mp4", "VideoTemplate": FAST, "AudioTemplate": SOUND})
    await bench.one("a.mp4", TranscodeTaskSet=[{"Definition": 200001}])


async def test_cancelling_from_outside_stays_cancelling() -> None:
    """The helper that ends a context by cancelling it does not swallow anybody else's."""

    async def fine() -> None:
        pass

    async def work() -> None:
        async with growing.repeated(fine):
            await asyncio.sleep(10)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("ladder", [False, True], ids=["transcode", "ladder"])
async def test_segments_go_out_as_they_close(far: Bench, tmp_path: Path, ladder: bool) -> None:
    """Most of them before the last frame; none is to be seen before the playlist was checked."""
    clip = parts.make_clip(tmp_path / "clip.mp4", seconds=20, size="1280x720")
    await far.storage.put(clip, "a.mp4", content_type="video/mp4", metadata={}, token="t")
    video = {"Codec": "h265", "HlsTime": 1}
    far.template("transcode", 200001, {"Container": "hls", "VideoTemplate": video, "AudioTemplate": SOUND})
    body = {"Format": "HLS", "StreamInfos": [{"Video": video, "Audio": SOUND}]}
    far.template("adaptive_dynamic_streaming", 200001, body)
    order: list[str] = []
    run, closed = FFmpeg.run, s3.S3Upload.closed

    async def running(self: Any, *args: Any, **more: Any) -> None:
        await run(self, *args, **more)
        order.append("encoded")
        seen = [info.key async for page in far.storage.list() for info in page]
        assert seen == ["a.mp4"]

    async def sending(self: Any, path: Path) -> None:
        order.append(path.name)
        await closed(self, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FFmpeg, "run", running)
        patch.setattr(s3.S3Upload, "closed", sending)
        sets = "AdaptiveDynamicStreamingTaskSet" if ladder else "TranscodeTaskSet"
        item = await far.one("a.mp4", **{sets: [{"Definition": 200001}]})
    assert order.index("encoded") > 5, order
    keys = {info.key async for page in far.storage.list() for info in page}
    assert item["path"].removeprefix("/") in keys
    assert sum(1 for key in keys if key.endswith(".ts")) == 20
    await nothing_left(far)
