"""Hostile and broken files: each ends in a proper code or a correct output, inside its limits, reading nothing else.

The rows of the security table are what a bare ffmpeg lets through: playlists and scripts that name other files and
addresses. They run under both containments, because the weaker one has no walls to fall back on.
"""

from __future__ import annotations

import base64
import io
import os
import random
import re
import shutil
import struct
import subprocess
import time
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from tests import parts
from tests.workbench import AAC, H264, Bench, raw
from watcher.media import containment, filters
from watcher.media.render import Moments

FUZZ_SECONDS = 15.0
CODES = {"", "SourceFileError", "SourceFileError.NoVideoMedia", "SourceFileError.NoVideoResolution", "InternalError"}
CODES |= {"InvalidInput", "InvalidInput.InvalidTimeOffset"}
EVERYTHING: dict[str, Any] = {
    "TranscodeTaskSet": [raw("mp4", H264, AAC)],
    "SnapshotByTimeOffsetTaskSet": [{"Definition": 10, "ExtTimeOffsetSet": ["50%"]}],
}


@pytest_asyncio.fixture(params=["auto", "limits"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """A worker under each containment."""
    yield Bench(tmp_path / "bucket", await containment.detect(request.param))
    assert list((tmp_path / "work").iterdir()) == []


def made(path: Path, *arguments: str) -> Path:
    """A file by ffmpeg."""
    subprocess.run([parts.FFMPEG, "-nostdin", "-v", "error", "-y", *arguments, str(path)], check=True)
    return path


def picture(seconds: float = 1, size: str = "192x108") -> list[str]:
    """An input: moving picture."""
    return ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration={seconds}"]


async def outcome(bench: Bench, key: str, **tasks: Any) -> list[tuple[str, str, str]]:
    """Status, code and message of each sub-task; every end is a proper one."""
    found = await bench.run(key, **(tasks or EVERYTHING))
    assert all(result.status in ("SUCCESS", "FAIL") for result in found.results)
    assert {result.code for result in found.results} <= CODES
    assert all(result.message for result in found.results if result.status == "FAIL")
    return [(result.status, result.code, result.message) for result in found.results]


TEXTS: dict[str, Callable[[Path, str], tuple[str, str]]] = {
    "a script of a sibling": lambda root, url: ("x.mp4", "ffconcat version 1.0\nfile secret.mp4\n"),
    "a script of an absolute path": lambda root, url: ("x.mp4", f"ffconcat version 1.0\nfile {root}/secret.mp4\n"),
    "a playlist of an address": lambda root, url: ("x.mp4", f"#EXTM3U\n#EXTINF:1,\n{url}/a.ts\n#EXT-X-ENDLIST\n"),
    "a playlist, named so": lambda root, url: ("x.m3u8", f"#EXTM3U\n#EXTINF:1,\n{url}/a.ts\n#EXT-X-ENDLIST\n"),
    "a playlist with a key": lambda root, url: (
        "x.m3u8",
        f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}/k"\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n',
    ),
    "a playlist of a sibling": lambda root, url: ("x.m3u8", "#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n"),
    "a manifest": lambda root, url: (
        "x.mpd",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        f'<Representation id="0" bandwidth="1"><BaseURL>{url}/a.mp4</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>",
    ),
    "a session description": lambda root, url: ("x.sdp", "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
}


@pytest.mark.parametrize("name", TEXTS)
async def test_what_names_other_files_is_refused(bench: Bench, clip: Path, name: str) -> None:
    """No other file is opened and no address is asked, whatever the object says."""
    shutil.copy(clip, bench.root / "secret.mp4")
    receiver = parts.HttpReceiver()
    try:
        key, text = TEXTS[name](bench.root, receiver.url)
        (bench.root / key).write_text(text)
        found = await outcome(bench, key)
        assert {code for _, code, _ in found} == {"SourceFileError"}
        assert receiver.asked == 0
    finally:
        receiver.close()


@pytest.mark.parametrize("key", ["img%03d.mp4", "http:a.mp4", "-i.mp4", "a'b;$(id).mp4", "concat:a|b.mp4", "pipe:0"])
async def test_names_mean_nothing(bench: Bench, clip: Path, key: str) -> None:
    """A key is never taken for a pattern, an address, an option or a command."""
    shutil.copy(clip, bench.root / key)
    assert [status for status, _, _ in await outcome(bench, key)] == ["SUCCESS", "SUCCESS"]


def truncated(path: Path, clip: Path) -> None:
    path.write_bytes(clip.read_bytes()[: clip.stat().st_size * 6 // 10])


def truncated_after_its_index(path: Path, clip: Path) -> None:
    whole = made(path.with_name("whole.mp4"), "-i", str(clip), "-c", "copy", "-movflags", "+faststart")
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])


def no_streams(path: Path, clip: Path) -> None:
    words = path.with_name("words.srt")
    words.write_text("1\n00:00:00,000 --> 00:00:01,000\nx\n")
    made(path, "-i", str(words), "-f", "matroska")


def many_tracks(path: Path, clip: Path) -> None:
    tracks = [item for _ in range(100) for item in ("-map", "0:a")]
    made(path, "-i", str(clip), "-map", "0:v", *tracks, "-c", "copy", "-f", "matroska")


def enormous(path: Path, clip: Path) -> None:
    """A VP8 key frame that says it is 16383 × 16383."""
    small = made(path.with_name("small.ivf"), *picture(0.2), "-c:v", "libvpx", "-deadline", "realtime")
    data = bytearray(small.read_bytes())
    data[12:16] = struct.pack("<HH", 16383, 16383)
    data[32 + 12 + 6 : 32 + 12 + 10] = struct.pack("<HH", 16383, 16383)
    path.write_bytes(data)


def nothing(path: Path, clip: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path, clip: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(200_000))


def text(path: Path, clip: Path) -> None:
    path.write_text("This is no film.\n" * 1000)


BROKEN = [truncated, truncated_after_its_index, no_streams, many_tracks, enormous, nothing, noise, text]


@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
async def test_broken_files_are_told_from_failures_of_ours(
    bench: Bench, clip: Path, tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    """The transcode says that it is the source's fault, and says so soon."""
    (tmp_path / "made").mkdir()
    make(tmp_path / "made" / "a.mp4", clip)
    shutil.copy(tmp_path / "made" / "a.mp4", bench.root / "a.mp4")
    started = time.monotonic()
    found = await outcome(bench, "a.mp4", TranscodeTaskSet=EVERYTHING["TranscodeTaskSet"])
    assert found[0][0] == "FAIL"
    assert found[0][1].startswith("SourceFileError"), found
    assert time.monotonic() - started < 30


def _facts(bench: Bench, found: list[tuple[str, str, str]]) -> dict[str, Any]:
    assert [status for status, _, _ in found] == ["SUCCESS", "SUCCESS"], found
    (path,) = (bench.root / "out").glob("*.mp4")
    return parts.probe(path)


STRANGE: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "wrong extension": ("mp4", [*picture(), "-c:v", "libx264", "-f", "matroska"], {"width": 228, "frames": 25}),
    "one frame": ("mp4", [*picture(), "-frames:v", "1", "-c:v", "libx264"], {"width": 228, "frames": 1}),
    "variable rate": (
        "mkv",
        [*picture(2), "-vf", "select='not(mod(n,7))+lt(n,10)'", "-fps_mode", "passthrough", "-c:v", "libx264"],
        {"width": 228},
    ),
    "negative times": (
        "mkv",
        [*picture(), "-c:v", "libx264", "-output_ts_offset", "-0.4", "-avoid_negative_ts", "0"],
        {},
    ),
    "odd size": (  # in both directions
        "mkv",
        [*picture(), "-vf", "format=yuv444p,scale=193:109,setsar=1", "-c:v", "libx264"],
        {"width": 226},
    ),
    "ten bits": ("mkv", [*picture(), "-pix_fmt", "yuv420p10le", "-c:v", "libx264"], {"width": 228, "frames": 25}),
    "alpha": ("mov", [*picture(), "-vf", "format=rgba,colorchannelmixer=aa=0.5", "-c:v", "png"], {"width": 228}),
    "rotated": ("mp4", [*picture(), "-c:v", "libx264"], {"width": 128, "height": 228}),
    "anamorphic": ("mkv", [*picture(), "-vf", "setsar=2", "-c:v", "libx264"], {"width": 456}),
    "interlaced": ("mkv", [*picture(), "-vf", "tinterlace", "-flags", "+ilme+ildct", "-c:v", "mpeg2video"], {}),
    "grey": ("mkv", [*picture(), "-pix_fmt", "gray", "-c:v", "ffv1"], {"width": 228}),
    "motion JPEG": ("avi", [*picture(), "-c:v", "mjpeg"], {"width": 228, "frames": 25}),
}


@pytest.mark.parametrize("name", STRANGE)
async def test_strange_files_work(workbench: Bench, tmp_path: Path, name: str) -> None:
    """What is unusual, but media: the output is right, and so is a picture of it."""
    extension, arguments, expected = STRANGE[name]
    path = made(tmp_path / f"x.{extension}", *arguments)
    if name == "rotated":
        path = made(tmp_path / "turned.mp4", "-display_rotation", "90", "-i", str(path), "-c", "copy")
    shutil.copy(path, workbench.root / f"a.{extension}")
    found = await outcome(
        workbench,
        f"a.{extension}",
        TranscodeTaskSet=[raw("mp4", H264 | {"ResolutionAdaptive": "open"}, AAC)],
        SnapshotByTimeOffsetTaskSet=EVERYTHING["SnapshotByTimeOffsetTaskSet"],
    )
    facts = _facts(workbench, found)
    assert expected.items() <= facts["video"].items()


def test_times_that_go_back_choose_no_moment_twice(tmp_path: Path) -> None:
    """A moment that comes round again is not taken again: encoders refuse it, now and then, by their threads."""
    extension, arguments, _ = STRANGE["negative times"]
    path = made(tmp_path / f"x.{extension}", *arguments)

    def times(*chain: str) -> list[int]:
        shown = ",".join([*chain, "showinfo=checksum=0"])
        command = [parts.FFMPEG, "-nostdin", "-i", str(path), "-vf", shown, "-f", "null", "-"]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
        return [int(time) for time in re.findall(r" pts: *(-?\d+) ", told)]

    everything = times("settb=1/1000")
    assert everything != sorted(everything)
    assert times(*filters.sampling(Moments((100, 300, 450)))) == [120, 320, 480]


async def test_high_dynamic_range_becomes_standard(workbench: Bench, tmp_path: Path) -> None:
    """A picture of PQ is mapped to BT.709, in films and in stills: neither washed out nor black."""
    pq = ["-pix_fmt", "yuv420p10le", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc"]
    source = ["-f", "lavfi", "-i", "color=0x949494:size=192x108:rate=25:duration=1"]
    params = "log-level=error:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"
    made(workbench.root / "a.mp4", *source, *pq, "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", params)
    found = await workbench.run(
        "a.mp4",
        TranscodeTaskSet=[raw("mp4", H264, None), raw("mkv", {"Codec": "h265", "Height": 128, "BitDepth": 10}, None)],
        SnapshotByTimeOffsetTaskSet=[{"Definition": 10, "ExtTimeOffsetSet": ["0.5s"]}],
    )
    assert [result.status for result in found.results] == ["SUCCESS"] * 3, [r.message for r in found.results]
    streams = [(result.output or {})["video_stream_set"][0] for result in found.results[:2]]
    assert [stream["hdr_type"] for stream in streams] == ["sdr", "hdr10"]
    (still,) = (workbench.root / "out").glob("*.jpg")
    level = Image.open(still).convert("L").getpixel((96, 54))
    # 0x94 of PQ is about 200 cd/m²: reference white is 203, so that it is bright, and not at the stop.
    assert isinstance(level, int)
    assert 120 < level < 250


def bomb() -> bytes:
    """A PNG of a few bytes that says it is 40000 × 40000."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (bomb(), "pixels"),
        (b"#EXTM3U\nhttp://127.0.0.1/a.png\n", "can't be opened"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "can't be opened"),
        (b"no picture", "can't be opened"),
    ],
    ids=["a bomb", "a playlist", "a drawing", "words"],
)
async def test_pictures_of_watermarks_are_hostile_too(bench: Bench, clip: Path, content: bytes, says: str) -> None:
    """They are opened like a source: as a few kinds of picture, up to a size."""
    shutil.copy(clip, bench.root / "a.mp4")
    image = {"ImageContent": base64.b64encode(content).decode()}
    bench.template("watermark", 200001, {"Type": "image", "ImageTemplate": image})
    marked = raw("mp4", H264, AAC, WatermarkSet=[{"Definition": 200001}])
    message = await bench.refused("a.mp4", TranscodeTaskSet=[marked])
    assert message.startswith("InvalidInput: ")
    assert says in message


async def test_drawings_reach_nothing(bench: Bench, clip: Path) -> None:
    """An SVG that includes a file or an address is drawn without them."""
    shutil.copy(clip, bench.root / "a.mp4")
    secret = io.BytesIO()
    Image.new("RGB", (40, 20), (255, 0, 255)).save(secret, "PNG")
    (bench.root / "secret.png").write_bytes(secret.getvalue())
    receiver = parts.HttpReceiver()
    try:
        drawing = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="40" height="20">'
            f'<image xlink:href="file://{bench.root}/secret.png" width="40" height="20"/>'
            f'<image xlink:href="{receiver.url}/x.png" width="40" height="20"/></svg>'
        )
        bench.template("watermark", 200001, {"Type": "svg", "SvgTemplate": {"Width": "40px"}})
        marks = [{"Definition": 200001, "SvgContent": drawing}]
        item = await bench.one("a.mp4", TranscodeTaskSet=[raw("mp4", {"Codec": "h264"}, AAC, WatermarkSet=marks)])
        frame = made(bench.root / "frame.png", "-i", str(bench.path(item["path"])), "-frames:v", "1")
        pixel = Image.open(frame).convert("RGB").getpixel((20, 10))
        assert isinstance(pixel, tuple)
        assert not (pixel[0] > 200 and pixel[1] < 80 and pixel[2] > 200), "the file was drawn"
        assert receiver.asked == 0
    finally:
        receiver.close()


async def test_mutated_clips(workbench: Bench, clip: Path, clips: Path) -> None:
    """For a while: bytes of real clips are changed, cut out, doubled; every end is a proper one."""
    seeds = [
        clip,
        made(clips / "seed.mkv", "-i", str(clip), "-c", "copy"),
        made(clips / "seed.ts", "-i", str(clip), "-c", "copy"),
    ]
    chance = random.Random(int(os.environ.get("WATCHER_FUZZ_SEED", "20261121")))
    deadline = time.monotonic() + FUZZ_SECONDS
    rounds = 0
    while time.monotonic() < deadline:
        seed = chance.choice(seeds)
        key = f"m{seed.suffix}"
        (workbench.root / key).write_bytes(mutated(seed.read_bytes(), chance))
        await outcome(workbench, key)
        rounds += 1
    assert rounds > 5


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A few changes, most of them near the beginning, where the headers are."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 3, 30))):
        place = chance.randrange(min(len(changed), chance.choice((200, 4000, len(changed)))))
        match chance.randrange(4):
            case 0:
                changed[place] ^= 1 << chance.randrange(8)
            case 1:
                changed[place : place + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
            case 2:
                del changed[place : place + chance.randrange(1, 64)]
            case _:
                changed[place:place] = changed[place : place + chance.randrange(1, 64)]
    return bytes(changed)
