"""Real ffmpeg: contained, watched, and checked; one decode for everything a task asks for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from tests import parts
from tests.workbench import AAC, H264, LIMITS, Bench, raw
from watcher.errors import MediaError, TransientError
from watcher.media import containment, ffmpeg, hardware, process
from watcher.media.containment import Containment, Limits
from watcher.media.ffmpeg import FFmpeg
from watcher.media.probe import Probe
from watcher.media.workdir import WorkRoot
from watcher.mps import wire
from watcher.steps._encoders import EncoderOptions


@pytest_asyncio.fixture(params=["auto", "limits"])
async def contained(request: pytest.FixtureRequest) -> Containment:
    """The strongest containment of this machine, and the one that is always there."""
    return await containment.detect(request.param)


@pytest_asyncio.fixture
async def bench(tmp_path: Path, contained: Containment) -> AsyncIterator[Bench]:
    """A worker under each containment."""
    yield Bench(tmp_path / "bucket", contained)
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(
    ("container", "video", "audio", "codecs"),
    [
        ("mp4", H264, AAC, ("h264", "aac")),
        ("mov", {"Codec": "h265", "Height": 128}, {"Codec": "pcm16"}, ("hevc", "pcm_s16le")),
        ("mkv", H264 | {"BitDepth": 10}, {"Codec": "opus", "Bitrate": 64}, ("h264", "opus")),
        ("flv", H264, {"Codec": "mp3", "SampleRate": 44100}, ("h264", "mp3")),
        ("ts", H264, {"Codec": "mp2", "Bitrate": 128}, ("h264", "mp2")),
        ("mp4", {"Codec": "copy"}, {"Codec": "copy"}, ("h264", "aac")),
        ("mp4", {"Codec": "copy"}, {"Codec": "ac3", "Bitrate": 96}, ("h264", "ac3")),
        ("mp3", None, {"Codec": "mp3", "Bitrate": 128, "AudioChannel": 1}, (None, "mp3")),
        ("flac", None, {"Codec": "flac"}, (None, "flac")),
        ("ogg", None, {"Codec": "opus", "Bitrate": 48}, (None, "opus")),
        ("wav", None, {"Codec": "pcm24"}, (None, "pcm_s24le")),
        ("m4a", None, AAC, (None, "aac")),
        ("mp4", H264, None, ("h264", None)),
    ],
)
async def test_containers_and_codecs(
    tmp_path: Path, clip: Path, container: str, video: Any, audio: Any, codecs: tuple[str | None, str | None]
) -> None:
    """Each container with its codecs, seen by an independent decoder."""
    bench = Bench(tmp_path / "bucket", await containment.detect())
    shutil.copy(clip, bench.root / "a.mp4")
    outcome = await bench.run("a.mp4", TranscodeTaskSet=[raw(container, video, audio)])
    (result,) = outcome.results
    assert result.status == "SUCCESS", result.message
    assert result.output is not None
    facts = parts.probe(bench.root / result.output["path"].lstrip("/"))
    assert tuple(facts[kind]["codec"] if facts[kind] else None for kind in ("video", "audio")) == codecs
    assert facts["duration"] == pytest.approx(3.0, abs=0.2)


@pytest.mark.parametrize(
    ("fields", "check"),
    [
        ({"Fps": 10}, lambda f: f["video"]["frames"] == 30),
        ({"Width": 200, "Height": 200, "FillType": "black"}, lambda f: f["video"]["width"] == 200),
        ({"Width": 200, "Height": 200, "FillType": "gauss"}, lambda f: f["video"]["height"] == 200),
        ({"Width": 130, "Height": 0, "ResolutionAdaptive": "close"}, lambda f: f["video"]["width"] == 130),
    ],
)
async def test_fields_change_the_output(tmp_path: Path, clip: Path, fields: dict[str, Any], check: Any) -> None:
    """A field that is accepted does something."""
    bench = Bench(tmp_path / "bucket", await containment.detect())
    shutil.copy(clip, bench.root / "a.mp4")
    outcome = await bench.run("a.mp4", TranscodeTaskSet=[raw("mp4", {"Codec": "h264"} | fields, None)])
    assert outcome.results[0].output is not None, outcome.results[0].message
    facts = parts.probe(bench.root / outcome.results[0].output["path"].lstrip("/"))
    assert check(facts), facts


async def test_windows(bench: Bench, clip: Path) -> None:
    """Offsets from the beginning and from the end, beside each other in one task."""
    shutil.copy(clip, bench.root / "a.mp4")
    sets = [
        {"Definition": 100010, "StartTimeOffset": 1, "OutputObjectPath": "/out/a.mp4"},
        {"Definition": 100010, "EndTimeOffset": -1.5, "OutputObjectPath": "/out/b.mp4"},
        {"Definition": 100010, "StartTimeOffset": 0.5, "EndTimeOffset": 1, "OutputObjectPath": "/out/c.mp4"},
    ]
    outcome = await bench.run("a.mp4", TranscodeTaskSet=sets)
    assert [result.status for result in outcome.results] == ["SUCCESS"] * 3, outcome.results
    durations = [result.output["duration"] for result in outcome.results if result.output]
    assert durations == pytest.approx([2.0, 1.5, 0.5], abs=0.1)


async def test_portrait_and_rotated_sources(bench: Bench, clip: Path) -> None:
    """A phone's clip is turned upright, and its short side is what the template's Height means."""
    command = [parts.FFMPEG, "-v", "error", "-display_rotation", "90", "-i", str(clip), "-c", "copy"]
    subprocess.run([*command, str(bench.root / "p.mp4")], check=True)
    outcome = await bench.run(
        "p.mp4", TranscodeTaskSet=[{"Definition": 100010}], SampleSnapshotTaskSet=[{"Definition": 10}]
    )
    assert outcome.metadata is not None
    assert (outcome.metadata["width"], outcome.metadata["height"]) == (180, 320)
    assert outcome.results[0].output is not None
    assert (outcome.results[0].output["width"], outcome.results[0].output["height"]) == (360, 640)
    with Image.open(bench.root / "out" / "p_sampleSnapshot_10_0.jpg") as picture:
        assert picture.size == (180, 320)


async def test_recordings_without_a_duration(bench: Bench, clip: Path) -> None:
    """A stream that was never closed has no duration in its header: it is measured, not taken for nothing."""
    command = [parts.FFMPEG, "-v", "error", "-i", str(clip), "-c", "copy", "-f", "matroska", "-live", "1", "pipe:1"]
    live = subprocess.run(command, check=True, capture_output=True).stdout
    (bench.root / "live.mkv").write_bytes(live)
    outcome = await bench.run(
        "live.mkv", SampleSnapshotTaskSet=[{"Definition": 10}], TranscodeTaskSet=[{"Definition": 875}]
    )
    assert [result.status for result in outcome.results] == ["SUCCESS"] * 2, outcome.results
    assert outcome.metadata is not None
    assert outcome.metadata["duration"] == pytest.approx(3.0, abs=0.1)
    assert len(list((bench.root / "out").glob("*.jpg"))) == 10


async def test_pictures_show_their_time(tmp_path: Path) -> None:
    """A clip whose brightness rises with time: each picture and tile is the frame of its time."""
    bench = Bench(tmp_path / "bucket", await containment.detect())
    ramp = "color=black:size=320x180:rate=10,geq=lum='20*floor(T)+10':cb=128:cr=128"
    command = [parts.FFMPEG, "-v", "error", "-f", "lavfi", "-i", ramp, "-t", "10", "-c:v", "libx264", "-qp", "0"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(bench.root / "r.mp4")], check=True)
    bench.templates["image_sprite", 200001] = replace_template(bench, RowCount=2, ColumnCount=3, SampleInterval=2)
    outcome = await bench.run(
        "r.mp4",
        SnapshotByTimeOffsetTaskSet=[{"Definition": 10, "ExtTimeOffsetSet": ["7.5s", "0s", "50%", "10s", "7.5s"]}],
        SampleSnapshotTaskSet=[{"Definition": 10}],
        ImageSpriteTaskSet=[{"Definition": 200001}],
    )
    assert [result.status for result in outcome.results] == ["SUCCESS"] * 3, outcome.results
    out = bench.root / "out"

    def second(name: str, x: int, y: int) -> int:
        with Image.open(out / name) as image:
            value = image.convert("L").getpixel((x, y))
        assert isinstance(value, int)
        # Pictures have full range, the clip had limited range: 10 + 20 a second, at least black.
        return 0 if value < 15 else round((value * 219 / 255 + 16 - 10) / 20)

    times = [second(f"r_snapshotByTimeOffset_10_{n}.jpg", 160, 90) for n in range(5)]
    assert times == [7, 0, 5, 9, 7]
    samples = [second(f"r_sampleSnapshot_10_{n}.jpg", 160, 90) for n in range(10)]
    assert samples == list(range(10))
    sheet = "r_imageSprite_200001_0.jpg"
    tiles = [second(sheet, 142 * (n % 3) + 71, 80 * (n // 3) + 40) for n in range(5)]
    assert tiles == [0, 2, 4, 6, 8]


def replace_template(bench: Bench, **fields: Any) -> Any:
    base = {"SampleType": "Time", "SampleInterval": 1, "RowCount": 1, "ColumnCount": 1, "Width": 142, "Height": 80}
    from watcher.model.templates import ImageSpriteTemplate

    assert bench
    return wire.decode(ImageSpriteTemplate, base | fields)


async def test_one_bad_member_of_a_merged_run_fails_alone(
    bench: Bench, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The merged process fails, its members run again alone, and only the guilty one fails."""
    shutil.copy(clip, bench.root / "a.mp4")
    from watcher.steps import _encoders

    good = _encoders.arguments

    def broken(video: Any, *rest: Any) -> list[str]:
        arguments = good(video, *rest)
        return [*arguments, "-no_such_option", "1"] if video.height == 720 else arguments

    monkeypatch.setattr(_encoders, "arguments", broken)
    outcome = await bench.run(
        "a.mp4",
        TranscodeTaskSet=[{"Definition": 100010}, {"Definition": 100030}],
        SampleSnapshotTaskSet=[{"Definition": 10}],
    )
    assert [(result.status, result.code) for result in outcome.results] == [
        ("SUCCESS", ""),
        ("FAIL", "InternalError"),
        ("SUCCESS", ""),
    ]
    assert "no_such_option" in outcome.results[1].message
    assert not (bench.root / "out" / "a_transcode_100030.mp4").exists()


async def test_outputs_are_announced_before_they_are_written(bench: Bench, clip: Path) -> None:
    """And their versions told before they are visible; progress only rises."""
    shutil.copy(clip, bench.root / "a.mp4")
    outcome = await bench.run("a.mp4", TranscodeTaskSet=[{"Definition": 100210}])
    assert outcome.results[0].status == "SUCCESS"
    assert bench.registry.intended == [("b", "out/a_transcode_100210_0.ts"), ("b", "out/a_transcode_100210.m3u8")]
    assert [info.key for info in bench.registry.versions] == [key for _, key in bench.registry.intended]
    progress = [results[0].progress for results in bench.reports]
    assert progress == sorted(progress)
    assert progress[-1] == 100


async def test_a_truncated_output_is_never_published(bench: Bench, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ffmpeg says that all is well, and the file is cut short: it is seen before it is published."""
    shutil.copy(clip, bench.root / "a.mp4")
    run = FFmpeg.run

    async def cutting(self: FFmpeg, renders: Any, media: Any, source: Path, out: Path, *rest: Any) -> None:
        await run(self, renders, media, source, out, *rest)
        for path in out.rglob("main.*"):
            os.truncate(path, path.stat().st_size // 2)

    monkeypatch.setattr(FFmpeg, "run", cutting)
    outcome = await bench.run("a.mp4", TranscodeTaskSet=[{"Definition": 100010}, {"Definition": 1120}])
    assert [result.status for result in outcome.results] == ["FAIL", "FAIL"], outcome.results
    assert not (bench.root / "out").exists()


@pytest.mark.parametrize(
    ("small", "text"),
    [
        (Limits(memory=8 * 2**30, cpu=600, file_size=10_000), "limit|File too large"),
        (Limits(memory=300 * 2**20, cpu=600, file_size=2**33), "memory|allocate|ended by|thread|exit status"),
    ],
    ids=["file size", "memory"],
)
async def test_limits_end_a_process(tmp_path: Path, clip: Path, small: Limits, text: str) -> None:
    """A limit that is reached fails the sub-task with a word about it, and nothing else."""
    contained = await containment.detect()
    bench = Bench(tmp_path / "bucket", contained)
    bench.worker = replace(bench.worker, ffmpeg=replace(bench.worker.ffmpeg, limits=small))
    shutil.copy(clip, bench.root / "a.mp4")
    outcome = await bench.run("a.mp4", TranscodeTaskSet=[{"Definition": 100030}])
    assert outcome.results[0].status == "FAIL"
    assert re.search(text, outcome.results[0].message), outcome.results[0].message


async def test_hangs_are_ended(contained: Containment, tmp_path: Path) -> None:
    """No progress for the stall time, or too long in all: killed, with a sentence, within seconds."""
    command = contained.wrap(["/bin/sleep", "60"], limits=LIMITS, read=[], write=tmp_path)
    for timeout, stall, text in ((60, 0.3, "no progress"), (0.3, 60, "time limit")):
        started = time.monotonic()
        with pytest.raises(MediaError, match=text):
            await process.run(command, on_line=lambda _: True, timeout=timeout, stall=stall)
        assert time.monotonic() - started < 10


async def test_cancelling_kills_the_whole_group(contained: Containment, tmp_path: Path) -> None:
    """A child's children too."""
    script = f"sleep 61.{os.getpid()} & sleep 61.{os.getpid()}"
    command = contained.wrap(["/bin/sh", "-c", script], limits=LIMITS, read=[], write=tmp_path)
    task = asyncio.create_task(process.run(command, on_line=lambda _: True, timeout=60, stall=60))
    needle = "sleep\0" + f"61.{os.getpid()}"

    def alive() -> bool:
        commands = []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    commands.append(Path(f"/proc/{entry.name}/cmdline").read_text(errors="replace"))
        return any(needle in command for command in commands)

    async with asyncio.timeout(30):
        while not alive():
            await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    parts.wait_for(lambda: not alive(), 5, "the group to die")


async def test_bubblewrap_hides_files_and_network(tmp_path: Path, receiver: parts.HttpReceiver) -> None:
    """Where it works, a contained process sees neither our files nor the network, and writes in one place only."""
    contained = await containment.detect()
    if contained.kind != "bubblewrap":
        assert contained.kind == "limits"
        return
    secret = tmp_path / "secret"
    secret.write_text("secret")
    out = tmp_path / "out"
    out.mkdir()
    port = receiver.url.rpartition(":")[2]
    script = (
        f"import os, socket\nassert not os.path.exists({str(secret)!r})\nassert not os.path.exists('/etc/passwd')\n"
        f"open({str(out / 'made')!r}, 'w').close()\n"
        "try: open('/usr/made', 'w'); raise SystemExit('wrote outside')\nexcept OSError: pass\n"
        f"try: socket.create_connection(('127.0.0.1', {port}), 2); raise SystemExit('reached the network')\n"
        "except OSError: pass\nprint('contained')\n"
    )
    lines: list[str] = []
    command = contained.wrap(
        [sys.executable, "-I", "-c", script], limits=LIMITS, read=containment.python_paths(), write=out
    )

    def on_line(line: str) -> bool:
        lines.append(line)
        return True

    result = await process.run(command, on_line=on_line, timeout=20, stall=20)
    assert (lines, result.status) == (["contained"], 0), result.errors
    assert (out / "made").exists()


async def test_probe_of_hostile_and_odd_files(contained: Containment, tmp_path: Path, clip: Path) -> None:
    """Garbage is an answer, not a crash; several files are answered in order."""
    probe = Probe(contained, LIMITS)
    (tmp_path / "garbage").write_bytes(os.urandom(100_000))
    with pytest.raises(MediaError) as caught:
        await probe.source(tmp_path / "garbage")
    assert caught.value.code == "SourceFileError"
    assert str(tmp_path) not in caught.value.message
    shutil.copy(clip, tmp_path / "a.mp4")
    good, bad = await probe.outputs([tmp_path / "a.mp4", tmp_path / "garbage"], tmp_path)
    assert not isinstance(good, str)
    assert good.video[0].frames == 75
    assert isinstance(bad, str)


def test_failures_are_told_apart() -> None:
    """What ffmpeg's exit means: the disk, a limit, the source, or something else; and its words are made printable."""
    assert isinstance(process.failure("ffmpeg", process.Result(1, ("No space left on device",))), TransientError)
    cases = [
        (process.Result(1, ("Invalid data found when processing input",)), "SourceFileError"),
        (process.Result(-24, ()), "InternalError"),
        (process.Result(137, ()), "InternalError"),
        (process.Result(1, ("odd",)), "InternalError"),
    ]
    for result, code in cases:
        error = process.failure("ffmpeg", result)
        assert isinstance(error, MediaError)
        assert error.code == code
    assert "CPU time" in str(process.failure("ffmpeg", cases[1][0]))
    assert process.printable("a\x1b[31mb\x07") == "a�[31mb�"


async def test_capabilities() -> None:
    """The ffmpeg that comes along can do all that is needed; another program is found out."""
    version, missing = await ffmpeg.capabilities(ffmpeg.locate(None))
    assert missing == []
    assert version
    _, missing = await ffmpeg.capabilities(Path("/bin/true"))
    assert "encoder libx264" in missing


def test_work_directories_of_a_killed_daemon_are_removed(tmp_path: Path) -> None:
    """And nothing else that may be in the same folder."""
    (tmp_path / "task-old" / "out").mkdir(parents=True)
    (tmp_path / "holiday").mkdir()
    assert WorkRoot(tmp_path).prepare() == 1
    assert [path.name for path in tmp_path.iterdir()] == ["holiday"]


async def test_hardware_that_fails_gives_way_to_software(bench: Bench, clip: Path) -> None:
    """An encoder that does not work here: the sub-task is encoded in software, and succeeds."""
    shutil.copy(clip, bench.root / "a.mp4")
    bench.worker = replace(bench.worker, encoder=EncoderOptions("ultrafast", "nvenc"))
    item = await bench.one("a.mp4", TranscodeTaskSet=[raw("mp4", H264, AAC)])
    assert parts.probe(bench.path(item["path"]))["video"]["codec"] == "h264"


async def test_no_hardware_is_found_here() -> None:
    """What is asked for and does not work is not used."""
    program = ffmpeg.locate(None)
    if not Path("/dev/nvidia0").exists():
        assert await hardware.detect(program, "nvenc") == ""
    assert await hardware.detect(program, "off") == ""
