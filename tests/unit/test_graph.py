"""From renders to ffmpeg's arguments: whole command lines, pure."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.errors import MediaError
from watcher.media import graph
from watcher.media.render import Copy, Interval, Moments, Picture, Render, Size, Sound, Steady, Window, fit
from watcher.model.inputs import OverrideTranscodeParameter
from watcher.model.media_info import AudioStream, MediaInfo, VideoStream
from watcher.model.templates import TranscodeTemplate
from watcher.model.video import VideoTemplate
from watcher.mps import wire
from watcher.steps import _encoders
from watcher.steps._encoders import EncoderOptions
from watcher.steps.base import offsets, sampling
from watcher.steps.image_sprite import web_vtt

TWO = graph.Machine(2)


def media(width: int = 1280, height: int = 720, duration: float = 10.0, fps: int = 25) -> MediaInfo:
    return MediaInfo(
        container="mov,mp4,m4a,3gp,3g2,mj2",
        duration=duration,
        bitrate=1_000_000,
        size=1_000_000,
        video=(VideoStream(0, "h264", width, height, Fraction(fps), 900_000, duration),),
        audio=(AudioStream(1, "aac", 48_000, 2, 100_000, duration),),
    )


def video(name: str, width: int, height: int, fps: int | None = 25, fill: str = "stretch", **changes: Any) -> Render:
    inner = changes.pop("inner", (width, height))
    picture = Picture(
        Steady(Fraction(fps) if fps else None),
        Size(width, height, inner, fill),
        "h264",
        ("-c:v", "libx264"),
        "yuv420p",
        threaded=True,
    )
    sound = Sound("aac", (("c", "aac"), ("b", "64k")))
    return Render(name, changes.pop("window", Window()), picture, (sound,), "main.mp4", ("-f", "mp4"))


def filters(*renders: Render, source: MediaInfo | None = None) -> list[str]:
    arguments = graph.command(renders, source or media(), "/work/source", ".", TWO)
    return arguments[arguments.index("-filter_complex") + 1].split(";")


def test_one_rendition() -> None:
    """The whole command line, safe options first."""
    found = graph.command([video("s0", 640, 360)], media(), "/work/source", ".", TWO)
    assert found == [
        *("-nostdin", "-hide_banner", "-v", "error", "-nostats", "-progress", "pipe:1", "-stats_period", "0.5"),
        *(
            "-filter_complex_threads",
            "2",
            "-protocol_whitelist",
            "file",
            "-format_whitelist",
            graph.DEMUXERS,
            "-max_streams",
            "64",
        ),
        *("-max_pixels", str(8192 * 8192), "-i", "file:/work/source"),
        "-filter_complex",
        "[0:0]fps=25,scale=640:360:flags=bicubic,setsar=1,format=yuv420p[s0]",
        *("-map", "[s0]", "-c:v", "libx264", "-threads:v", "3", "-map", "0:1", "-c:a:0", "aac"),
        *(
            "-b:a:0",
            "64k",
            "-map_metadata",
            "-1",
            "-max_muxing_queue_size",
            "9999",
            "-f",
            "mp4",
            "-y",
            "file:./s0/main.mp4",
        ),
    ]


def test_nothing_that_refers_elsewhere_is_opened() -> None:
    """No demuxer that opens other files or addresses is on the list."""
    for name in ("hls", "dash", "concat", "image2", "sdp", "rtsp", "imf", "lavfi", "tty", "webm_dash_manifest"):
        assert name not in graph.DEMUXERS.split(",")


def test_cascade() -> None:
    """One decode, one split; each picture is scaled from the next larger one."""
    found = filters(video("a", 640, 360), video("b", 1280, 720), video("c", 320, 180))
    assert found == [
        "[0:0]fps=25,split=2[n1][n2]",
        "[n1]setsar=1,format=yuv420p[b]",
        "[n2]scale=640:360:flags=bicubic,split=2[n3][n4]",
        "[n3]setsar=1,format=yuv420p[a]",
        "[n4]scale=320:180:flags=bicubic,setsar=1,format=yuv420p[c]",
    ]


def test_pictures_are_sampled_before_they_are_scaled() -> None:
    """A sprite beside a rendition: its branch drops frames first."""
    tiles = Picture(Interval(Fraction(5), 2), Size(142, 80, (142, 80)), "mjpeg", ("-c:v", "mjpeg"), tile=(10, 10))
    sprite = Render("sp", Window(), tiles, (), "f%d.jpg", ("-f", "image2"))
    found = filters(video("a", 640, 360), sprite)
    assert found[2] == (
        "[n2]fps=fps=1/5:start_time=0:round=up,tpad=stop_mode=clone:stop=1,trim=end_frame=2,"
        "scale=142:80:flags=bicubic,setsar=1,tile=10x10[sp]"
    )


def test_moments_are_named_by_their_time() -> None:
    """Pictures at given times carry the time in their file name, so that a missing one is noticed."""
    picture = Picture(Moments((1000, 3500)), Size(1280, 720, (1280, 720)), "mjpeg", ("-c:v", "mjpeg"))
    arguments = graph.command([Render("p", Window(), picture, (), "f%d.jpg")], media(), "in", ".", graph.Machine(1))
    text = " ".join(arguments)
    terms = [
        f"{since}*lte({at},pts)" for since, at in (("isnan({})", 1000), ("gt(1000,{})", 1000), ("gt(3500,{})", 3500))
    ]
    assert f"select='{'+'.join(terms)}'".replace("{}", "prev_selected_pts") in text
    assert "-fps_mode passthrough -enc_time_base 1:1000 -frame_pts 1" in text


def test_fills() -> None:
    """Bars, and a blurred copy behind."""
    padded = video("a", 640, 360, fill="white", inner=(480, 360))
    assert "pad=640:360:(ow-iw)/2:(oh-ih)/2:color=white" in filters(padded)[0]
    blurred = filters(video("a", 640, 360, fill="gauss", inner=(480, 360)))
    assert len(blurred) == 4
    assert "gblur" in blurred[1]
    assert "overlay" in blurred[2]


def test_windows_are_processes() -> None:
    """What reads the same window shares a process, what reads another has its own, with an exact seek."""
    late = video("b", 640, 360, window=Window(2.5, 4.0))
    groups = graph.groups([video("a", 640, 360), late, video("c", 320, 180)])
    assert [[render.name for render in group] for group in groups] == [["a", "c"], ["b"]]
    arguments = graph.command([late], media(), "in", ".", graph.Machine(1))
    place = arguments.index("-ss")
    assert arguments[place : place + 6] == ["-ss", "2.5", "-t", "1.5", "-i", "file:in"]


def test_a_remux_decodes_nothing() -> None:
    """Streams are copied, and there is no filter graph."""
    remux = Render("r", Window(), Copy("h264"), (Copy("aac"),), "main.mp4")
    arguments = graph.command([remux], media(), "in", ".", TWO)
    assert "-filter_complex" not in arguments
    assert arguments[arguments.index("-c:v") + 1] == "copy"


def test_encoder_threads_are_shared() -> None:
    """By their pixels, so that the largest does not run on alone; never less than one."""
    four = graph.command([video(name, 640, 360) for name in "abcd"], media(), "in", ".", TWO)
    assert [four[i + 1] for i, item in enumerate(four) if item == "-threads:v"] == ["1"] * 4
    ladder = [video("a", 1920, 1080), video("b", 1280, 720), video("c", 640, 360)]
    found = graph.command(ladder, media(1920, 1080), "in", ".", graph.Machine(8))
    assert [found[i + 1] for i, item in enumerate(found) if item == "-threads:v"] == ["8", "3", "1"]


@given(sizes=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=6))
def test_every_render_gets_its_picture(sizes: list[tuple[int, int]]) -> None:
    """Whatever the sizes: each label is made once, each intermediate one is used once."""
    renders = [video(f"r{number}", width * 32, height * 32) for number, (width, height) in enumerate(sizes)]
    text = ";".join(filters(*renders))
    for render in renders:
        assert text.count(f"[{render.name}]") == 1
    for number in range(1, text.count("[n") + 1):
        assert text.count(f"[n{number}]") in (0, 2)


@pytest.mark.parametrize(
    ("source", "asked", "adaptive", "fill", "expected"),
    [
        ((1920, 1080), (0, 360), "open", "stretch", Size(640, 360, (640, 360))),
        ((1080, 1920), (0, 360), "open", "stretch", Size(360, 640, (360, 640))),
        ((1080, 1920), (0, 360), "close", "stretch", Size(202, 360, (202, 360))),
        ((1920, 1080), (320, 0), "close", "black", Size(320, 180, (320, 180))),
        ((1920, 1080), (0, 0), "open", "black", Size(1920, 1080, (1920, 1080))),
        ((1921, 1081), (0, 0), "open", "black", Size(1920, 1080, (1920, 1080))),
        ((1440, 1080), (1280, 720), "open", "black", Size(1280, 720, (960, 720), "black")),
        ((1440, 1080), (1280, 720), "open", "stretch", Size(1280, 720, (1280, 720))),
        ((1080, 1440), (1280, 720), "open", "gauss", Size(720, 1280, (720, 960), "gauss")),
    ],
)
def test_fit(source: tuple[int, int], asked: tuple[int, int], adaptive: str, fill: str, expected: Size) -> None:
    """Sizes of templates over sources: proportion, long and short side, bars."""
    assert fit(source, *asked, adaptive=adaptive, fill=fill) == expected


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 0, Window()),
        (2, 0, Window(2.0)),
        (0, 5, Window(0.0, 5.0)),
        (-3, 0, Window(7.0)),
        (0, -3, Window(0.0, 7.0)),
        (2, 20, Window(2.0)),
    ],
)
def test_offsets(start: float, end: float, expected: Window) -> None:
    """The offset rules of the contract, over ten seconds (pipelines.md, section 2.1)."""
    assert offsets(start, end, 10.0) == expected


@pytest.mark.parametrize(("start", "end"), [(10, 0), (11, 0), (5, 3), (-11, 0), (0, -10)])
def test_offsets_outside(start: float, end: float) -> None:
    """A part that is not there is the contract's error."""
    with pytest.raises(MediaError) as caught:
        offsets(start, end, 10.0)
    assert caught.value.code == "InvalidInput.InvalidTimeOffset"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"Mode": "ABR", "Bitrate": 400}, ["-b:v", "400k"]),
        ({"Bitrate": 400}, ["-b:v", "400k", "-maxrate", "800k", "-bufsize", "1600k"]),
        ({"Bitrate": 400, "Vcrf": 20}, ["-crf", "20", "-maxrate", "400k", "-bufsize", "800k"]),
        ({"Bitrate": 400, "Vcrf": 100}, ["-b:v", "400k", "-maxrate", "800k"]),
        ({}, ["-crf", "23"]),
        ({"Codec": "h265"}, ["-crf", "28"]),
        ({"Mode": "VCRF", "Vcrf": 30, "Bitrate": 400}, ["-crf", "30"]),
        ({"Mode": "CBR", "Bitrate": 400}, ["-minrate", "400k"]),
        ({"Gop": 2, "GopUnit": "second"}, ["-g", "50"]),
        ({"Gop": 48}, ["-g", "48"]),
        ({"Bframes": 0}, ["-bf", "0"]),
        ({"VideoProfile": "baseline"}, ["-profile:v", "baseline"]),
        ({"VideoLevel": "3.1"}, ["-level:v", "3.1"]),
        ({"Codec": "h265", "VideoLevel": "4.1"}, ["-x265-params", "level-idc=4.1:log-level=error"]),
    ],
)
def test_encoder_arguments(fields: dict[str, Any], expected: list[str]) -> None:
    """Each field of the template does something to the command line."""
    template = wire.decode(VideoTemplate, {"Codec": "h264"} | fields)
    rate = _encoders.rate_of(template, media(), None)
    text = " ".join(_encoders.arguments(template, rate, Fraction(25), "mp4", None, EncoderOptions()))
    assert " ".join(expected) in text


def test_override_replaces_members() -> None:
    """Every member given replaces the template's; what no longer fits together is a mistake."""
    template = wire.decode(
        TranscodeTemplate,
        {
            "Container": "mp4",
            "VideoTemplate": {"Codec": "h264", "Fps": 25, "Bitrate": 400, "Height": 360},
            "AudioTemplate": {"Codec": "aac", "Bitrate": 64},
        },
    )
    change = wire.decode(
        OverrideTranscodeParameter,
        {"Container": "hls", "VideoTemplate": {"Height": 720}, "AudioTemplate": {"AudioChannel": 1}},
    )
    changed = change.apply(template)
    assert changed.video_template is not None
    assert changed.audio_template is not None
    assert (changed.container, changed.video_template.height, changed.video_template.bitrate) == ("hls", 720, 400)
    assert (changed.audio_template.audio_channel, changed.audio_template.bitrate) == (1, 64)
    with pytest.raises(ValueError, match="does not go into flac"):
        wire.decode(OverrideTranscodeParameter, {"Container": "flac"}).apply(template)


@pytest.mark.parametrize(
    ("kind", "interval", "duration", "expected"),
    [
        ("Time", 1, 3.0, Interval(Fraction(1), 3)),
        ("Time", 10, 10.0, Interval(Fraction(10), 1)),
        ("Time", 10, 10.5, Interval(Fraction(10), 2)),
        ("Percent", 10, 3.0, Interval(Fraction(3, 10), 10)),
        ("Percent", 100, 3.0, Interval(Fraction(3), 1)),
        ("Percent", 30, 10.0, Interval(Fraction(3), 4)),
        ("Time", 5, 0.04, Interval(Fraction(5), 1)),
    ],
)
def test_sampling(kind: str, interval: int, duration: float, expected: Interval) -> None:
    """From 0 up to, and without, the end; never less than one picture."""
    assert sampling(kind, interval, media(duration=duration)) == expected


def test_too_many_pictures_are_refused() -> None:
    """A day of video each second would be 86 400 files."""
    with pytest.raises(MediaError, match="use a longer interval"):
        sampling("Time", 1, media(duration=86_400))


@given(count=st.integers(1, 40), columns=st.integers(1, 4), rows=st.integers(1, 4), step=st.fractions(0.1, 60))
def test_web_vtt(count: int, columns: int, rows: int, step: Fraction) -> None:
    """Cues follow each other without gaps, and no two of them show the same tile."""
    duration = float(step * count)
    sheets = [f"s{number}.jpg" for number in range(-(-count // (columns * rows)))]
    text = web_vtt(Interval(step, count), duration, sheets, (160, 90), columns, rows)
    blocks = text.strip().split("\n\n")[1:]
    times = [block.split("\n")[0].split(" --> ") for block in blocks]
    assert len(blocks) == count
    assert times[0][0] == "00:00:00.000"
    assert all(end == following for (_, end), (following, _) in itertools.pairwise(times))
    assert len({block.split("\n")[1] for block in blocks}) == count
