"""What is laid over, put before and after, or measured: looked at in the decoded output, by its pixels and samples."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageChops

from tests import parts
from tests.workbench import AAC, Bench, raw
from watcher.media import fonts, loudness
from watcher.media.quality import CrfSearch

Pixels = np.ndarray[Any, Any]


def plain(path: Path, colour: str = "gray", seconds: float = 3, *more: str) -> Path:
    """A clip of one colour, with a tone."""
    sources = ["-f", "lavfi", "-i", f"color={colour}:size=320x180:rate=25", "-f", "lavfi", "-i", "sine=frequency=440"]
    encode = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2", *more]
    subprocess.run([parts.FFMPEG, "-v", "error", "-y", *sources, "-t", str(seconds), *encode, str(path)], check=True)
    return path


def frames(path: Path) -> list[Pixels]:
    """All frames as RGB."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


def is_red(pixels: Pixels) -> bool:
    """Whether a patch is red."""
    red, green, blue = pixels.reshape(-1, 3).mean(axis=0)
    return bool(red > 150 and green < 90 and blue < 90)


def square() -> str:
    """A red picture, as base64."""
    data = io.BytesIO()
    Image.new("RGB", (40, 20), (255, 0, 0)).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def cos(key: str) -> dict[str, Any]:
    """An object of the bucket as an input."""
    return {"Type": "COS", "CosInputInfo": {"Bucket": "b", "Region": "r", "Object": key}}


CORNERS = {"TopLeft": (10, 20), "TopRight": (320 - 10 - 64, 20), "BottomLeft": (10, 180 - 20 - 32)}
CORNERS["BottomRight"] = (320 - 10 - 64, 180 - 20 - 32)


@pytest.mark.parametrize("origin", CORNERS)
async def test_the_origin_is_a_corner(workbench: Bench, origin: str) -> None:
    """20 % of the width, in proportion; the distances count from the corner that is named."""
    plain(workbench.root / "a.mp4")
    image = {"ImageContent": square(), "Width": "20%"}
    body = {"Type": "image", "CoordinateOrigin": origin, "XPos": "10px", "YPos": "20px", "ImageTemplate": image}
    workbench.template("watermark", 300001, body)
    item = await workbench.one(
        "a.mp4", TranscodeTaskSet=[raw("mp4", {"Codec": "h264"}, AAC, WatermarkSet=[{"Definition": 300001}])]
    )
    x, y = CORNERS[origin]
    (first, *_) = frames(workbench.path(item["path"]))
    assert is_red(first[y + 2 : y + 30, x + 2 : x + 62])
    red = (first[..., 0] > 180) & (first[..., 1] < 80)
    assert red.sum() == pytest.approx(64 * 32, rel=0.1)


async def test_pictures_carry_watermarks_too(workbench: Bench) -> None:
    """Snapshots of both kinds; their result names the template."""
    plain(workbench.root / "a.mp4")
    workbench.template("watermark", 300001, {"Type": "image", "ImageTemplate": {"ImageContent": square()}})
    task = {"Definition": 10, "WatermarkSet": [{"Definition": 300001, "StartTimeOffset": 2}]}
    outcome = await workbench.run(
        "a.mp4",
        SnapshotByTimeOffsetTaskSet=[task | {"ExtTimeOffsetSet": ["1s"]}],
        SampleSnapshotTaskSet=[task],
    )
    for result in outcome.results:
        assert result.status == "SUCCESS", result.message
        assert "300001" in str(result.output)
    for path in (workbench.root / "out").glob("*.jpg"):
        assert is_red(np.array(Image.open(path).convert("RGB"))[2:14, 2:30])


async def test_a_mosaic_hides_and_leaves_the_rest(workbench: Bench, clip: Path) -> None:
    """In its box, for its time, and nowhere else."""
    shutil.copy(clip, workbench.root / "a.mp4")
    box = {"XPos": "50%", "YPos": "50%", "Width": "40%", "Height": "40%", "StartTimeOffset": 1, "EndTimeOffset": 2}
    quality = {"Codec": "h264", "Vcrf": 1}
    both = [raw("mp4", quality, None), raw("mkv", quality, None, MosaicSet=[box])]
    outcome = await workbench.run("a.mp4", TranscodeTaskSet=both)
    before, after = (frames(workbench.path((result.output or {})["path"])) for result in outcome.results)
    difference = [np.abs(one - two) for one, two in zip(before, after, strict=True)]
    assert difference[30][92:160, 164:284].mean() > 15
    assert difference[30][:86].mean() < 3
    assert difference[10].mean() < 3
    assert difference[60].mean() < 3


async def test_clips_before_and_after(workbench: Bench) -> None:
    """In their order, each as long as it is, whatever their size, rate and sound."""
    plain(workbench.root / "a.mp4", "green", 2)
    plain(workbench.root / "red.mp4", "red", 1, "-r", "10")
    plain(workbench.root / "blue.mkv", "blue", 1, "-an", "-s", "160x120")
    around = {"HeadSet": [cos("/red.mp4")], "TailSet": [cos("/blue.mkv"), cos("/red.mp4")]}
    item = await workbench.one("a.mp4", TranscodeTaskSet=[raw("mp4", {"Codec": "h264"}, AAC, HeadTailParameter=around)])
    found = frames(workbench.path(item["path"]))
    assert len(found) == 125
    colours = ["rgb"[int(found[number][80:100, 150:170].mean(axis=(0, 1)).argmax())] for number in (12, 50, 87, 112)]
    assert colours == ["r", "g", "b", "r"]
    facts = parts.probe(workbench.path(item["path"]))
    assert facts["audio"]["frames"] * 1024 / 44100 == pytest.approx(5, abs=0.2)


async def test_subtitles_are_burnt_in_for_their_time(workbench: Bench) -> None:
    """White words low in the picture, a backdrop behind them, nothing before and after."""
    plain(workbench.root / "a.mp4", "gray", 3)
    (workbench.root / "w.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nWWWWW {\\b1}\n", encoding="utf-16")
    words = {"SubtitleFileInput": cos("/w.srt"), "FontSize": "20px", "BoardY": "2%", "BoardAlpha": 1}
    item = await workbench.one("a.mp4", TranscodeTaskSet=[raw("mp4", {"Codec": "h264"}, AAC, SubtitleTemplate=words)])
    found = frames(workbench.path(item["path"]))
    assert found[40][140:].max() > 220
    assert found[40][150:170, 40:280].min() < 30
    assert np.abs(found[10] - found[60]).mean() < 2
    assert np.abs(found[40][:120] - found[10][:120]).mean() < 2


async def test_subtitles_as_a_track(workbench: Bench, clip: Path) -> None:
    """Beside the picture, with language and title."""
    shutil.copy(clip, workbench.root / "a.mp4")
    (workbench.root / "w.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nWords\n")
    words = {"Type": "subtitle-stream", "Subtitle": cos("/w.vtt"), "SubtitleName": "English", "SubtitleLanguage": "eng"}
    workbench.template(
        "transcode", 200001, {"Container": "mp4", "VideoTemplate": {"Codec": "h264"}, "AudioTemplate": AAC}
    )
    task = {"Definition": 200001, "OverrideParameter": {"AddOnSubtitles": [words], "AddonAudioStream": [cos("/a.mp4")]}}
    item = await workbench.one("a.mp4", TranscodeTaskSet=[task])
    with av.open(str(workbench.path(item["path"]))) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio", "audio", "subtitle"]
        assert container.streams.subtitles[0].metadata["language"] == "eng"
        assert b"Words" in b"".join(bytes(packet) for packet in container.demux(subtitles=0))


async def test_texts_need_their_characters(workbench: Bench, clip: Path, tmp_path: Path) -> None:
    """A font that lacks them is not drawn with boxes: the sub-task says what to install."""
    shutil.copy(clip, workbench.root / "a.mp4")
    text = {"FontType": "simkai.ttf", "FontSize": "20px", "TextContent": "\U0001f9ff\U0001fae0 \U00020000"}
    workbench.template("watermark", 300001, {"Type": "text", "TextTemplate": text})
    marked = raw("mp4", {"Codec": "h264"}, AAC, WatermarkSet=[{"Definition": 300001}])
    message = await workbench.refused("a.mp4", TranscodeTaskSet=[marked])
    assert "no font that is installed has all the characters" in message
    own = tmp_path / "fonts"
    own.mkdir()
    shutil.copy(fonts.find("arial.ttf", "A", None), own / "Mine.TTF")
    assert fonts.find("mine.ttf", "A", own) == own / "Mine.TTF"


async def test_hostile_texts_are_drawn_as_they_are(workbench: Bench, clip: Path) -> None:
    """Nothing of a text is syntax: not to the filter graph, not to the drawing filter."""
    shutil.copy(clip, workbench.root / "a.mp4")
    text = {"FontType": "arial.ttf", "FontSize": "20px", "TextContent": "%{pts} ':,;[]\\ %{eif:1:d}\n-i x"}
    workbench.template("watermark", 300001, {"Type": "text", "TextTemplate": text})
    await workbench.one(
        "a.mp4", TranscodeTaskSet=[raw("mp4", {"Codec": "h264"}, AAC, WatermarkSet=[{"Definition": 300001}])]
    )


async def test_loudness_meets_its_level(workbench: Bench) -> None:
    """A quiet source comes out at −16 LUFS, by a gain alone."""
    plain(workbench.root / "a.mp4", "gray", 6, "-af", "volume=0.05")
    config = {"AudioEnhance": {"VolumeBalance": {"Type": "loudNorm"}}}
    item = await workbench.one("a.mp4", TranscodeTaskSet=[raw("mp4", {"Codec": "h264"}, AAC, EnhanceConfig=config)])
    path = workbench.path(item["path"])
    media = await workbench.worker.probe.source(path)
    (workbench.root / "scratch").mkdir()
    measured = await loudness.measure(workbench.worker.ffmpeg, path, media, workbench.root / "scratch")
    assert measured is not None
    assert measured[0] == pytest.approx(-16, abs=0.7)


@pytest.mark.parametrize("mode", [{"Mode": "ABR", "TwoPass": 1}, {"Mode": "CBR"}, {"Mode": "ABR"}])
async def test_bit_rates_are_met(workbench: Bench, clips: Path, mode: dict[str, Any]) -> None:
    """Within a few percent, over some seconds."""
    shutil.copy(parts.make_clip(clips / "rate.mp4", seconds=10, size="640x360"), workbench.root / "a.mp4")
    workbench.worker = replace(workbench.worker, encoder=replace(workbench.worker.encoder, speed="veryfast"))
    item = await workbench.one("a.mp4", TranscodeTaskSet=[raw("mp4", {"Codec": "h264", "Bitrate": 600} | mode, None)])
    assert item["bitrate"] == pytest.approx(600_000, rel=0.12)


async def test_a_quality_is_searched_and_reported(workbench: Bench, clips: Path) -> None:
    """The largest CRF that reaches the aim: the report says that it did, and not by far."""
    shutil.copy(parts.make_clip(clips / "vmaf.mp4", seconds=14, size="320x180"), workbench.root / "a.mp4")
    video = {"Codec": "h264", "TargetVmaf": 80}
    item = await workbench.one("a.mp4", TranscodeTaskSet=[raw("mp4", video, None, QualityReport=1)])
    assert 79 <= item["quality"]["vmaf"] < 90
    assert item["quality"]["vmaf_low"] <= item["quality"]["vmaf"]
    assert 0.5 < item["quality"]["ssim"] <= 1


@pytest.mark.parametrize("true_crf", [12, 20, 33, 51])
def test_the_search_finds_it(true_crf: int) -> None:
    """In a few rounds, where scores fall with CRF."""
    search = CrfSearch(90.0, 12, 51, {})
    rounds = 0
    while (crf := search.ask()) is not None:
        search.tell(crf, 90.0 + (true_crf - crf) * 0.8)
        rounds += 1
    assert search.best == true_crf
    assert rounds <= 7


async def test_a_gif_keeps_its_colours(workbench: Bench, clip: Path) -> None:
    """Near to the frames it shows, which a fixed palette would not be."""
    shutil.copy(clip, workbench.root / "a.mp4")
    workbench.template("animated_graphic", 200001, {"Fps": 5, "Quality": 75})
    item = await workbench.one(
        "a.mp4", AnimatedGraphicTaskSet=[{"Definition": 200001, "StartTimeOffset": 1, "EndTimeOffset": 2}]
    )
    frame = Image.fromarray(frames(clip)[25].astype("uint8"))
    with Image.open(workbench.path(item["path"])) as image:
        assert getattr(image, "n_frames", 1) == 5
        assert image.info.get("loop") == 0
        difference = np.array(ImageChops.difference(image.convert("RGB"), frame))
    assert difference.mean() < 12


async def test_a_waveform_is_as_tall_as_it_is_loud(workbench: Bench) -> None:
    """The second half is silent."""
    plain(workbench.root / "a.mp4", "gray", 4, "-af", "volume=5,volume=0:enable='gte(t,2)'")
    workbench.template("waveform", 200001, {"Width": 400, "Height": 100, "Color": "0xFF0000"})
    item = await workbench.one("a.mp4", WaveformTaskSet=[{"Definition": 200001}])
    pixels = np.array(Image.open(workbench.path(item["path"])).convert("RGBA"))
    drawn = pixels[..., 3] > 0
    assert drawn[:, 50:150].mean() > 0.2
    assert drawn[:, 250:390].mean() < 0.05


async def test_a_command_of_the_configuration(workbench: Bench, clip: Path) -> None:
    """Its files are results; it sees its input and its folder, and no network."""
    shutil.copy(clip, workbench.root / "a.mp4")
    script = 'mkdir "$2/deep"; wc -c < "$1" > "$2/size.txt"; echo x > "$2/deep/y.vtt"; ln -s /etc/passwd "$2/link"'
    command = ["/bin/sh", "-c", script, "sh", "{input}", "{output}"]
    item = await workbench.one("a.mp4", CommandTaskSet=[{"Command": command, "Name": "facts"}])
    assert item["path_set"] == ["/out/a_facts/deep/y.vtt", "/out/a_facts/size.txt"]
    assert int(workbench.path("out/a_facts/size.txt").read_text()) == clip.stat().st_size


@pytest.mark.parametrize(
    ("command", "more", "says"),
    [
        (["/bin/sh", "-c", "echo out of luck >&2; exit 3"], {}, "out of luck"),
        (["/bin/sleep", "60"], {"Timeout": 1}, "stopped"),
        (["/no/such/program"], {}, "no/such/program"),
    ],
)
async def test_commands_that_fail(
    workbench: Bench, clip: Path, command: list[str], more: dict[str, Any], says: str
) -> None:
    """The sub-task fails with what the program said."""
    shutil.copy(clip, workbench.root / "a.mp4")
    message = await workbench.refused("a.mp4", CommandTaskSet=[{"Command": command} | more])
    assert says in message


async def test_several_tracks_keep_their_languages(workbench: Bench) -> None:
    """All of them into Matroska, one into FLV, the second when it is asked for."""
    tones = [item for hertz in (440, 880) for item in ("-f", "lavfi", "-i", f"sine=frequency={hertz}")]
    names = ["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=deu"]
    picture = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]
    command = [parts.FFMPEG, "-v", "error", *picture, *tones, "-map", "0", "-map", "1", "-map", "2", *names]
    subprocess.run([*command, "-t", "2", "-c:v", "libx264", "-c:a", "aac", str(workbench.root / "a.mkv")], check=True)
    copy = {"Codec": "copy"}
    outcome = await workbench.run(
        "a.mkv",
        TranscodeTaskSet=[
            raw("mkv", copy, AAC), raw("flv", copy, AAC), raw("mp4", copy, AAC | {"StreamSelects": [1]}),
        ],
    )  # fmt: skip
    found = []
    for result in outcome.results:
        assert result.status == "SUCCESS", result.message
        with av.open(str(workbench.path((result.output or {})["path"]))) as container:
            found.append([stream.metadata.get("language", "") for stream in container.streams.audio])
    assert [len(tracks) for tracks in found] == [2, 1, 1]
    assert found[0] == ["eng", "deu"]
    assert found[2] == ["deu"]
    tracks = raw("mp4", copy, AAC | {"StreamSelects": [5]})
    assert "the source has 2" in await workbench.refused("a.mkv", TranscodeTaskSet=[tracks])


async def test_what_is_fine_is_copied(workbench: Bench) -> None:
    """A source that already is what the template asks for is not encoded again."""
    plain(workbench.root / "a.mp4")
    asked = {"Codec": "h264", "Bitrate": 5000}
    item = await workbench.one("a.mp4", TranscodeTaskSet=[raw("mp4", asked, AAC | {"Bitrate": 200})])

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(video=0)]

    assert packets(workbench.path(item["path"])) == packets(workbench.root / "a.mp4")
    item = await workbench.one("a.mp4", TranscodeTaskSet=[raw("mp4", asked | {"Height": 128}, AAC)])
    assert packets(workbench.path(item["path"])) != packets(workbench.root / "a.mp4")


async def test_the_first_to_play_is_published_first(workbench: Bench, clip: Path) -> None:
    """It is there, with its result, before anything else is."""
    shutil.copy(clip, workbench.root / "a.mp4")
    small = raw("mp4", {"Codec": "h264", "Height": 128}, AAC, PublishFirst=1)
    outcome = await workbench.run(
        "a.mp4",
        SampleSnapshotTaskSet=[{"Definition": 10}],
        TranscodeTaskSet=[raw("mkv", {"Codec": "h264"}, AAC), small],
    )
    assert [result.status for result in outcome.results] == ["SUCCESS"] * 3
    states = [[result.status for result in report] for report in workbench.reports]
    assert ["PROCESSING", "SUCCESS", "PROCESSING"] in states
    keys = [info.key for info in workbench.registry.versions]
    assert keys[0].endswith(".mp4")
    assert len(keys) == 12


async def test_manifests_come_last(workbench: Bench, clip: Path) -> None:
    """Whoever reads a manifest finds all that it names."""
    shutil.copy(clip, workbench.root / "a.mp4")
    await workbench.one("a.mp4", AdaptiveDynamicStreamingTaskSet=[{"Definition": 10}])
    kinds = [info.key.rpartition(".")[2] for info in workbench.registry.versions]
    assert kinds == ["ts", "m3u8", "m3u8"]


async def test_a_further_track_beside_joined_clips(workbench: Bench) -> None:
    """It is the sound of its own file, not that of the clips once more."""
    plain(workbench.root / "a.mp4", "green", 2)
    plain(workbench.root / "red.mp4", "red", 1)
    plain(workbench.root / "silent.mp4", "blue", 2, "-af", "volume=0")
    template = {"Container": "mp4", "VideoTemplate": {"Codec": "h264"}, "AudioTemplate": AAC}
    workbench.template("transcode", 200001, template)
    task = {
        "Definition": 200001,
        "HeadTailParameter": {"HeadSet": [cos("/red.mp4")]},
        "OverrideParameter": {"AddonAudioStream": [cos("/silent.mp4")]},
    }
    item = await workbench.one("a.mp4", TranscodeTaskSet=[task])
    loud = []
    for number in range(2):
        with av.open(str(workbench.path(item["path"]))) as container:
            samples = [frame.to_ndarray() for frame in container.decode(audio=number)]
        loud.append(max(float(np.abs(part).max()) for part in samples))
    assert loud[0] > 0.05
    assert loud[1] < 0.01
