"""A film encoded as chunks is the film encoded whole: frame by frame, with the same times and the same sound."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import parts
from tests.workbench import Bench
from watcher.media import chunks

VIDEO = {"Codec": "h264", "Height": 128, "Vcrf": 12}
SOUND = {"Codec": "aac", "Bitrate": 64, "SampleRate": 44100}
CASES: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "the source's rate": ([], {}, "mp4"),
    "another rate": ([], {"Fps": 30}, "mp4"),
    "a slower rate": ([], {"Fps": 10}, "mkv"),
    "29.97": (["-r", "30000/1001"], {"Fps": 30000, "FpsDenominator": 1001}, "mp4"),
    "variable": (["-vf", "select='not(mod(n,3))+lt(mod(n,50),20)'", "-fps_mode", "passthrough"], {}, "mp4"),
    "a late picture": (["-output_ts_offset", "0.7"], {}, "mp4"),
    "h265": ([], {"Codec": "h265"}, "mp4"),
}


def frames(path: Path) -> tuple[list[float], np.ndarray[Any, Any], list[int]]:
    """Times and small grey pictures of all frames, and the sizes of the packets of sound."""
    times, pictures, sound = [], [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            times.append(float(frame.pts * frame.time_base))
            pictures.append(frame.reformat(width=64, height=36, format="gray").to_ndarray().astype(np.int16))
    with av.open(str(path)) as container:
        sound = [packet.size for packet in container.demux(audio=0) if packet.size]
    return times, np.stack(pictures), sound


@pytest.mark.parametrize("name", CASES)
async def test_the_same_film(workbench: Bench, clips: Path, name: str) -> None:
    """No frame is dropped, doubled or moved at a joint, and the sound is not touched."""
    arguments, video, container = CASES[name]
    source = clips / f"chunks-{name.replace(' ', '-')}.mp4"
    parts.make_clip(source, "-preset", "fast", "-g", "30", *arguments, seconds=9.3, size="192x108")
    shutil.copy(source, workbench.root / "a.mp4")
    template = {"Container": container, "VideoTemplate": VIDEO | video, "AudioTemplate": SOUND}
    workbench.template("transcode", 200001, template)
    whole = await workbench.one("a.mp4", TranscodeTaskSet=[{"Definition": 200001, "OutputObjectPath": "/whole"}])
    ran: list[int] = []
    run = chunks.Chunked.run

    async def counted(self: Any, renders: Any, seconds: float, on_progress: Any = None) -> None:
        ran.append(len(chunks.plan(self.media.duration, seconds)))
        await run(self, renders, seconds, on_progress)

    workbench.worker = replace(workbench.worker, chunks=2.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks.Chunked, "run", counted)
        cut = await workbench.one("a.mp4", TranscodeTaskSet=[{"Definition": 200001, "OutputObjectPath": "/cut"}])
    assert ran == [5]
    times, pictures, sound = frames(workbench.path(whole["path"]))
    cut_times, cut_pictures, cut_sound = frames(workbench.path(cut["path"]))
    assert len(cut_times) == len(times)
    assert np.abs(np.array(cut_times) - np.array(times)).max() < 0.002
    # A frame that was dropped or doubled would show the clock of the one beside it.
    assert np.abs(cut_pictures - pictures).mean(axis=(1, 2)).max() < 4
    assert cut_sound == sound


async def test_pictures_beside_chunks(workbench: Bench, clips: Path) -> None:
    """What does not suit is made as ever, in the same task."""
    source = parts.make_clip(clips / "chunks-beside.mp4", seconds=9, size="192x108")
    shutil.copy(source, workbench.root / "a.mp4")
    workbench.template("transcode", 200001, {"Container": "mp4", "VideoTemplate": VIDEO, "AudioTemplate": SOUND})
    workbench.worker = replace(workbench.worker, chunks=2.0)
    outcome = await workbench.run(
        "a.mp4",
        TranscodeTaskSet=[{"Definition": 200001}, {"Definition": 100210}],
        SampleSnapshotTaskSet=[{"Definition": 10}],
    )
    assert [result.status for result in outcome.results] == ["SUCCESS"] * 3, [r.message for r in outcome.results]


async def test_a_layer_shows_when_it_should(workbench: Bench, clips: Path) -> None:
    """Times of layers are those of the film, in whatever chunk they fall."""
    source = parts.make_clip(clips / "chunks-layer.mp4", seconds=8, size="192x108")
    shutil.copy(source, workbench.root / "a.mp4")
    workbench.template("transcode", 200001, {"Container": "mp4", "VideoTemplate": VIDEO, "AudioTemplate": SOUND})
    text = {"FontType": "arial.ttf", "FontSize": "60px", "TextContent": "████"}
    workbench.template("watermark", 200001, {"Type": "text", "TextTemplate": text})
    mark = {"Definition": 200001, "StartTimeOffset": 5, "EndTimeOffset": 6}
    task = {"Definition": 200001, "WatermarkSet": [mark]}
    results = []
    for seconds in (0.0, 2.0):
        workbench.worker = replace(workbench.worker, chunks=seconds)
        item = await workbench.one("a.mp4", TranscodeTaskSet=[task | {"OutputObjectPath": f"/{seconds}"}])
        results.append(frames(workbench.path(item["path"]))[1])
    assert np.abs(results[0] - results[1]).mean(axis=(1, 2)).max() < 4
    assert np.abs(results[0][100] - results[0][130]).mean() > 10


async def test_a_missing_frame_is_noticed(workbench: Bench, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk that is not what it has to be is not joined; the film is encoded whole instead."""
    source = parts.make_clip(clips / "chunks-missing.mp4", seconds=8, size="192x108")
    shutil.copy(source, workbench.root / "a.mp4")
    workbench.template(
        "transcode", 200001, {"Container": "mp4", "VideoTemplate": VIDEO | {"Fps": 25}, "AudioTemplate": SOUND}
    )
    workbench.worker = replace(workbench.worker, chunks=2.0)
    monkeypatch.setattr(chunks, "MARGIN", -0.2)
    item = await workbench.one("a.mp4", TranscodeTaskSet=[{"Definition": 200001}])
    assert parts.probe(workbench.path(item["path"]))["video"]["frames"] == 200


@given(duration=st.floats(0.1, 100_000), seconds=st.floats(0.5, 600))
def test_chunks_follow_each_other(duration: float, seconds: float) -> None:
    """They cover the film, each begins where the one before ends, and none is a sliver."""
    found = chunks.plan(duration, seconds)
    assert found[0].start == 0
    assert found[-1].end is None
    assert all(left.end == right.start for left, right in itertools.pairwise(found))
    assert len(found) == 1 or duration - found[-1].start >= 0.49 * seconds
