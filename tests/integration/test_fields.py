"""Every field that a template or a sub-task accepts does something: change it, and the output changes.

The table below holds, for each field, what it is set to and beside what. The test fails for a field that is missing
in it, so that none can be accepted and ignored. Both outputs come from one task, encoded alike but for the field.
"""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests import parts
from tests.workbench import AAC, Bench
from watcher.model import dress, enhance, inputs, templates
from watcher.model.audio import AudioTemplate
from watcher.model.video import SegmentSpecificInfo, TehdConfig, VideoTemplate
from watcher.mps import wire

Body = dict[str, Any]

CHEAP = {"Codec": "h264", "Height": 128}
NO_EFFECT_ALONE = {"Name", "Comment"}
"""Words for people."""


def logo() -> str:
    """A picture as base64: red on the left, blue on the right."""
    image = Image.new("RGB", (60, 40), (255, 0, 0))
    image.paste((0, 0, 255), (30, 0, 60, 40))
    data = io.BytesIO()
    image.save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def moving_logo() -> str:
    """A GIF of two frames, the second one green, that ends within the clip."""
    data = io.BytesIO()
    frames = [Image.new("RGB", (60, 40), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:], duration=[200, 200], loop=0)
    return base64.b64encode(data.getvalue()).decode()


def cos(key: str) -> Body:
    """An object of the bucket as an input."""
    return {"Type": "COS", "CosInputInfo": {"Bucket": "b", "Region": "r", "Object": key}}


SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20"><rect width="40" height="20" fill="lime"/></svg>'

VIDEO: dict[str, tuple[Body, Body]] = {
    # field: the template without it, and what it is set to
    "Codec": ({}, {"Codec": "h265"}),
    "Fps": ({}, {"Fps": 10}),
    "FpsDenominator": ({"Fps": 20}, {"FpsDenominator": 2}),
    "Bitrate": ({}, {"Bitrate": 128}),
    "ResolutionAdaptive": ({"Width": 320, "Height": 160}, {"ResolutionAdaptive": "close"}),
    "Width": ({}, {"Width": 128}),
    "Height": ({}, {"Height": 140}),
    "Gop": ({}, {"Gop": 5}),
    "GopUnit": ({"Gop": 2}, {"GopUnit": "second"}),
    "FillType": ({"Width": 320, "Height": 128}, {"FillType": "white"}),
    "Vcrf": ({}, {"Vcrf": 40}),
    "HlsTime": ({}, {"HlsTime": 1}),
    "SegmentType": ({}, {"SegmentType": 2}),
    "Mode": ({"Bitrate": 200, "Vcrf": 20}, {"Mode": "VCRF"}),
    "VideoProfile": ({"Bframes": 2}, {"VideoProfile": "baseline"}),
    "VideoLevel": ({}, {"VideoLevel": "4"}),
    "Bframes": ({}, {"Bframes": 2}),
    "BitDepth": ({}, {"BitDepth": 10}),
    "Sar": ({}, {"Sar": "2:1"}),
    "NoScenecut": ({"Gop": 60}, {"NoScenecut": 1}),
    "RawPts": ({"Fps": 10}, {"RawPts": 1}),
    "Compress": ({}, {"Compress": 30}),
    "SegmentSpecificInfo": ({}, {"SegmentSpecificInfo": {"Switch": "on", "FragmentTime": 0.5, "FragmentEndNum": 2}}),
    "TargetVmaf": ({}, {"TargetVmaf": 70}),
    "TwoPass": ({"Bitrate": 128, "Mode": "ABR"}, {"TwoPass": 1}),
}
AUDIO: dict[str, tuple[Body, Body]] = {
    "Codec": ({}, {"Codec": "mp3"}),
    "Bitrate": ({}, {"Bitrate": 32}),
    "SampleRate": ({}, {"SampleRate": 22050}),
    "AudioChannel": ({}, {"AudioChannel": 1}),
    "StreamSelects": ({}, {"StreamSelects": [1]}),
}
LADDER_AUDIO: dict[str, tuple[Body, Body]] = {
    "AudioName": ({}, {"AudioName": "English"}),
    "AudioLanguage": ({}, {"AudioLanguage": "eng"}),
    "DefaultTrack": ({}, {"DefaultTrack": True}),
}
TRANSCODE: dict[str, tuple[Body, Body]] = {
    "Container": ({}, {"Container": "mkv"}),
    "RemoveVideo": ({}, {"RemoveVideo": 1}),
    "RemoveAudio": ({}, {"RemoveAudio": 1}),
    "VideoTemplate": ({}, {"VideoTemplate": CHEAP | {"Vcrf": 45}}),
    "AudioTemplate": ({}, {"AudioTemplate": AAC | {"Bitrate": 32}}),
    "TEHDConfig": (
        {"VideoTemplate": CHEAP | {"Bitrate": 300}}, {"TEHDConfig": {"Type": "TEHD-100", "MaxVideoBitrate": 500}},
    ),
    "EnhanceConfig": ({}, {"EnhanceConfig": {"VideoEnhance": {"Denoise": {"Type": "strong"}}}}),
    "SubtitleTemplate": ({}, {"SubtitleTemplate": {"SubtitleFileInput": cos("/words.srt")}}),
    "QualityReport": ({}, {"QualityReport": 1}),
}  # fmt: skip
VIDEO_ENHANCE: dict[str, Body] = {
    "Denoise": {"Denoise": {"Type": "strong"}},
    "ArtifactRepair": {"ArtifactRepair": {"Type": "strong"}},
    "FrameRate": {"FrameRate": {"Fps": 50}},
    "FrameRateWithDen": {"FrameRateWithDen": {"FpsNum": 50, "FpsDen": 1}},
}
AUDIO_ENHANCE: dict[str, Body] = {
    "Denoise": {"Denoise": {"Switch": "ON"}},
    "Beautify": {"Beautify": {"Types": ["declick", "deesser"]}},
    "VolumeBalance": {"VolumeBalance": {"Type": "loudNorm"}},
}
SUBTITLES: dict[str, tuple[Body, Body]] = {
    "FontFileInput": ({}, {"FontFileInput": cos("/mono.ttf")}),
    "FontType": ({}, {"FontType": "DejaVuSans-Bold.ttf"}),
    "FontSize": ({}, {"FontSize": "40px"}),
    "FontColor": ({}, {"FontColor": "0xFF0000"}),
    "FontAlpha": ({}, {"FontAlpha": 0.3}),
    "YPos": ({}, {"YPos": "40%"}),
    "BoardY": ({}, {"BoardY": "10%"}),
    "BoardWidth": ({"BoardY": "10%"}, {"BoardWidth": 50}),
    "BoardWidthUnit": ({"BoardY": "10%", "BoardWidth": 60}, {"BoardWidthUnit": 1}),
    "BoardHeight": ({"BoardY": "10%"}, {"BoardHeight": 20}),
    "BoardHeightUnit": ({"BoardY": "10%", "BoardHeight": 30}, {"BoardHeightUnit": 1}),
    "BoardColor": ({"BoardY": "10%"}, {"BoardColor": "0x00FF00"}),
    "BoardAlpha": ({"BoardY": "10%"}, {"BoardAlpha": 0.2}),
    "OutlineWidth": ({}, {"OutlineWidth": 4}),
    "OutlineWidthUnit": ({"OutlineWidth": 3}, {"OutlineWidthUnit": 1}),
    "OutlineColor": ({"OutlineWidth": 3}, {"OutlineColor": "0xFF0000"}),
    "OutlineAlpha": ({"OutlineWidth": 3}, {"OutlineAlpha": 0}),
    "ShadowWidth": ({}, {"ShadowWidth": 5}),
    "ShadowWidthUnit": ({"ShadowWidth": 2}, {"ShadowWidthUnit": 1}),
    "ShadowColor": ({"ShadowWidth": 5}, {"ShadowColor": "0xFF0000"}),
    "ShadowAlpha": ({"ShadowWidth": 5}, {"ShadowAlpha": 0.1}),
    "Alignment": ({}, {"Alignment": "top"}),
    "StreamIndex": ({}, {"StreamIndex": 3, "SubtitleFileInput": None}),
    "SubtitleFileInput": ({}, {"SubtitleFileInput": cos("/other.srt")}),
}
MARK = {"Type": "image", "ImageTemplate": {"ImageContent": logo(), "Width": "30%"}}
TEXT = {"FontType": "arial.ttf", "FontSize": "20px", "TextContent": "Watcher"}
WORDS = {"Type": "text", "TextTemplate": TEXT}
DRAWING = {"Type": "svg", "SvgTemplate": {"Width": "50px"}}
WATERMARK: dict[str, tuple[Body, Body]] = {
    "Type": (MARK, WORDS | {"ImageTemplate": None}),
    "CoordinateOrigin": (MARK, {"CoordinateOrigin": "BottomRight"}),
    "XPos": (MARK, {"XPos": "20%"}),
    "YPos": (MARK, {"YPos": "40px"}),
    "ImageTemplate": (MARK, {"ImageTemplate": {"ImageContent": logo(), "Width": "30%", "Height": "10px"}}),
    "TextTemplate": (WORDS, {"TextTemplate": TEXT | {"FontColor": "0xFF0000"}}),
    "SvgTemplate": (DRAWING, {"SvgTemplate": {"Width": "20W%", "Height": "50H%"}}),
}
WATERMARK_IMAGE: dict[str, tuple[Body, Body]] = {
    "Width": ({}, {"Width": "60%"}),
    "Height": ({}, {"Height": "90px"}),
    "RepeatType": ({"ImageContent": moving_logo()}, {"RepeatType": "once"}),
    "ImageContent": ({}, {"ImageContent": moving_logo(), "RepeatType": "repeat_last_frame"}),
}
WATERMARK_TEXT: dict[str, tuple[Body, Body]] = {
    "FontType": ({}, {"FontType": "DejaVuSans-Bold.ttf"}),
    "FontSize": ({}, {"FontSize": "0.3px"}),
    "FontColor": ({}, {"FontColor": "0x00FF00"}),
    "FontAlpha": ({}, {"FontAlpha": 0.3}),
    "TextContent": ({}, {"TextContent": "Other"}),
}
WATERMARK_INPUT: dict[str, tuple[Body, Body]] = {
    "Definition": ({"Definition": 300001}, {"Definition": 300002}),
    "RawParameter": (
        {"Definition": 300001},
        {"Definition": 0, "RawParameter": {"Type": "image", "ImageTemplate": {"ImageContent": cos("/logo.png")}}},
    ),
    "TextContent": ({"Definition": 300002}, {"TextContent": "Other"}),
    "SvgContent": ({"Definition": 300003, "SvgContent": SVG}, {"SvgContent": SVG.replace("lime", "navy")}),
    "StartTimeOffset": ({"Definition": 300001}, {"StartTimeOffset": 1}),
    "EndTimeOffset": ({"Definition": 300001}, {"EndTimeOffset": 0.8}),
}
MOSAIC: dict[str, tuple[Body, Body]] = {
    "CoordinateOrigin": ({}, {"CoordinateOrigin": "TopLeft", "XPos": "60px"}),  # the only value there is
    "XPos": ({}, {"XPos": "50%"}),
    "YPos": ({}, {"YPos": "40px"}),
    "Width": ({}, {"Width": "60%"}),
    "Height": ({}, {"Height": "80px"}),
    "StartTimeOffset": ({}, {"StartTimeOffset": 1}),
    "EndTimeOffset": ({}, {"EndTimeOffset": 1}),
}
TASK: dict[str, tuple[Body, Body]] = {
    "Definition": ({"Definition": 100010}, {"Definition": 100210}),
    "RawParameter": ({"Definition": 100010}, {"Definition": 0, "RawParameter": {
        "Container": "mp4", "VideoTemplate": CHEAP, "AudioTemplate": AAC}}),
    "OverrideParameter": ({"Definition": 100010}, {"OverrideParameter": {"VideoTemplate": {"Height": 128}}}),
    "StartTimeOffset": ({"Definition": 200001}, {"StartTimeOffset": 1}),
    "EndTimeOffset": ({"Definition": 200001}, {"EndTimeOffset": -1}),
    "WatermarkSet": ({"Definition": 200001}, {"WatermarkSet": [{"Definition": 300001}]}),
    "MosaicSet": ({"Definition": 200001}, {"MosaicSet": [{}]}),
    "HeadTailParameter": ({"Definition": 200001}, {"HeadTailParameter": {
        "HeadSet": [cos("/intro.mp4")], "TailSet": [cos("/intro.mp4")]}}),
}  # fmt: skip
OVERRIDE: dict[str, Body] = {
    "Container": {"Container": "mkv"},
    "RemoveVideo": {"RemoveVideo": 1},
    "RemoveAudio": {"RemoveAudio": 1},
    "VideoTemplate": {"VideoTemplate": {"Fps": 10}},
    "AudioTemplate": {"AudioTemplate": {"AudioChannel": 1}},
    "TEHDConfig": {"TEHDConfig": {"Type": "TEHD-100", "MaxVideoBitrate": 128}},
    "SubtitleTemplate": {"SubtitleTemplate": {"SubtitleFileInput": cos("/words.srt")}},
    "AddonAudioStream": {"AddonAudioStream": [cos("/intro.mp4")]},
    "AddOnSubtitles": {"AddOnSubtitles": [{"Type": "subtitle-stream", "Subtitle": cos("/words.srt")}]},
}
STILL: dict[str, tuple[Body, Body]] = {
    "Width": ({}, {"Width": 128}),
    "Height": ({}, {"Height": 128}),
    "ResolutionAdaptive": ({"Width": 256, "Height": 128}, {"ResolutionAdaptive": "close"}),
    "Format": ({}, {"Format": "png"}),
    "FillType": ({"Width": 320, "Height": 128}, {"FillType": "stretch"}),
}
SAMPLE: dict[str, tuple[Body, Body]] = STILL | {
    "SampleType": ({"SampleInterval": 2}, {"SampleType": "Percent", "SampleInterval": 50}),
    "SampleInterval": ({}, {"SampleInterval": 2}),
}
SPRITE: dict[str, tuple[Body, Body]] = SAMPLE | {
    "RowCount": ({}, {"RowCount": 3}),
    "ColumnCount": ({}, {"ColumnCount": 3}),
}
ANIMATED: dict[str, tuple[Body, Body]] = {
    "Fps": ({}, {"Fps": 10}),
    "Width": ({}, {"Width": 128}),
    "Height": ({}, {"Height": 128}),
    "ResolutionAdaptive": ({"Width": 256, "Height": 128}, {"ResolutionAdaptive": "close"}),
    "Format": ({}, {"Format": "webp"}),
    "Quality": ({}, {"Quality": 20}),
}
WAVEFORM: dict[str, tuple[Body, Body]] = {
    "Width": ({}, {"Width": 400}),
    "Height": ({}, {"Height": 100}),
    "Format": ({}, {"Format": "jpg"}),
    "Color": ({}, {"Color": "0xFF0000"}),
    "SplitChannels": ({}, {"SplitChannels": 1}),
}


def fields(model: type) -> set[str]:
    """The fields of a model, as the wire has them, that are more than words."""
    return {wire.to_wire(name) for name in model.model_fields} - NO_EFFECT_ALONE  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("model", "covered"),
    [
        (VideoTemplate, VIDEO),
        (AudioTemplate, AUDIO | LADDER_AUDIO),
        (templates.TranscodeTemplate, TRANSCODE),
        (enhance.VideoEnhance, VIDEO_ENHANCE),
        (enhance.AudioEnhance, AUDIO_ENHANCE),
        (dress.SubtitleTemplate, SUBTITLES),
        (dress.WatermarkTemplate, WATERMARK),
        (dress.TemplateImage, WATERMARK_IMAGE),
        (dress.WatermarkText, WATERMARK_TEXT),
        (dress.WatermarkInput, WATERMARK_INPUT),
        (dress.MosaicInput, MOSAIC),
        (inputs.OverrideTranscodeParameter, OVERRIDE),
        (templates.SnapshotByTimeOffsetTemplate, STILL),
        (templates.SampleSnapshotTemplate, SAMPLE),
        (templates.ImageSpriteTemplate, SPRITE),
        (templates.AnimatedGraphicTemplate, ANIMATED),
        (templates.WaveformTemplate, WAVEFORM),
        (TehdConfig, {"Type": 0, "MaxVideoBitrate": 0}),
        (SegmentSpecificInfo, {"Switch": 0, "FragmentTime": 0, "FragmentEndNum": 0}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_no_field_is_forgotten(model: type, covered: dict[str, Any]) -> None:
    """A field that is accepted has a row in a table of this file."""
    assert fields(model) == set(covered)


@pytest.fixture
def bench(workbench: Bench, clip: Path, clips: Path) -> Bench:
    """A bench with a clip of one and a half seconds and two sounds as ``a.mkv``, and files to lay over it."""
    root = workbench.root
    (root / "words.srt").write_text("1\n00:00:00,000 --> 00:00:05,000\nSome words\n")
    (root / "other.srt").write_text("1\n00:00:00,000 --> 00:00:05,000\nOther words\n")
    source = clips / "fields.mkv"
    if not source.exists():
        sounds = [item for hertz in (440, 3000) for item in ("-f", "lavfi", "-i", f"sine=frequency={hertz}")]
        tracks = [item for number in range(4) for item in ("-map", str(number))]
        cut = ["-vf", "negate=enable='gte(t,0.8)'"]  # a change of scene
        encode = [*cut, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2"]
        picture = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]
        command = [parts.FFMPEG, "-nostdin", "-v", "error", *picture, *sounds, "-i", str(root / "words.srt")]
        command += [*tracks, *encode, "-af:1", "volume=0.1", "-c:s", "ass", "-t", "1.6", str(source)]
        subprocess.run(command, check=True)
        parts.make_clip(clips / "intro.mp4", seconds=0.8, size="160x120", rate=10)
        parts.make_clip(clips / "tall.mp4", seconds=1.6, size="180x320")
    shutil.copy(source, root / "a.mkv")
    shutil.copy(clips / "intro.mp4", root / "intro.mp4")
    shutil.copy(clips / "tall.mp4", root / "tall.mp4")
    shutil.copy("/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf", root / "mono.ttf")
    (root / "logo.png").write_bytes(base64.b64decode(logo()))
    workbench.template("watermark", 300001, MARK)
    workbench.template("watermark", 300002, WORDS)
    workbench.template("watermark", 300003, DRAWING)
    cheap = {"Container": "mp4", "VideoTemplate": CHEAP, "AudioTemplate": AAC}
    workbench.template("transcode", 200001, cheap)
    return workbench


def changed(before: Body, more: Body) -> Body:
    """A body with members set; None takes one away."""
    return {name: value for name, value in (before | more).items() if value is not None}


async def differs(bench: Bench, tasks: str, before: Body, after: Body, key: str = "a.mkv") -> None:
    """Both succeed, and what they write is not the same; the unchanged one comes out the same twice."""
    bodies = [
        body | {"OutputObjectPath": f"/{place}/{{inputName}}_{{number}}.{{format}}"}
        for place, body in (("one", before), ("two", after), ("three", before))
    ]
    if tasks == "ImageSpriteTaskSet":
        bodies = [body | {"WebVttObjectName": f"{place}.vtt"} for place, body in zip("123", bodies, strict=True)]
    outcome = await bench.run(key, **{tasks: bodies})
    assert [result.status for result in outcome.results] == ["SUCCESS"] * 3, [r.message for r in outcome.results]
    places = zip(("one", "two", "three"), outcome.results, strict=True)
    one, two, three = (contents(bench, place, result.output) for place, result in places)
    assert one == three, "the same twice is not the same: nothing could be concluded from a difference"
    assert one != two


def source_for(name: str) -> str:
    """Which side is the long one shows over a picture that is taller than wide only."""
    return "tall.mp4" if name == "ResolutionAdaptive" else "a.mkv"


def contents(bench: Bench, place: str, item: Body | None) -> list[Any]:
    """The names and bytes of the files of a sub-task, and what its result says of the quality."""
    found = sorted((bench.root / place).rglob("*"))
    return [(p.name, p.read_bytes()) for p in found if p.is_file()] + [(item or {}).get("quality")]


def transcode(template: Body) -> Body:
    """A sub-task with its template inside."""
    return {"Definition": 0, "RawParameter": template}


BASE = {"Container": "mp4", "VideoTemplate": CHEAP, "AudioTemplate": AAC}


@pytest.mark.parametrize("name", VIDEO)
async def test_video_template(bench: Bench, name: str) -> None:
    before, more = VIDEO[name]
    container = "hls" if name in ("HlsTime", "SegmentType", "SegmentSpecificInfo") else "mp4"
    base = {"Container": container, "RemoveAudio": 1}
    one, two = CHEAP | before, changed(CHEAP | before, more)
    await differs(
        bench, "TranscodeTaskSet",
        transcode(base | {"VideoTemplate": one}), transcode(base | {"VideoTemplate": two}), key=source_for(name),
    )  # fmt: skip


@pytest.mark.parametrize("name", AUDIO)
async def test_audio_template(bench: Bench, name: str) -> None:
    before, more = AUDIO[name]
    base = {"Container": "mp4", "RemoveVideo": 1}
    one, two = AAC | before, AAC | before | more
    await differs(
        bench, "TranscodeTaskSet",
        transcode(base | {"AudioTemplate": one}), transcode(base | {"AudioTemplate": two}),
    )  # fmt: skip


@pytest.mark.parametrize("name", LADDER_AUDIO)
async def test_audio_of_a_ladder(bench: Bench, name: str) -> None:
    before, more = LADDER_AUDIO[name]
    streams = [{"Video": CHEAP, "Audio": AAC, "AudioList": [AAC | body]} for body in (before, before | more)]
    for number, stream in enumerate(streams):
        bench.template("adaptive_dynamic_streaming", 200001 + number, {"Format": "HLS", "StreamInfos": [stream]})
    tasks = "AdaptiveDynamicStreamingTaskSet"
    first = await bench.one("a.mkv", **{tasks: [{"Definition": 200001, "OutputObjectPath": "/one.m3u8"}]})
    second = await bench.one("a.mkv", **{tasks: [{"Definition": 200002, "OutputObjectPath": "/two.m3u8"}]})
    texts = [bench.path(item["path"]).read_text().replace("200002", "200001") for item in (first, second)]
    assert texts[0] != texts[1]


@pytest.mark.parametrize("name", TRANSCODE)
async def test_transcode_template(bench: Bench, name: str) -> None:
    before, more = TRANSCODE[name]
    await differs(bench, "TranscodeTaskSet", transcode(BASE | before), transcode(BASE | before | more))


@pytest.mark.parametrize("name", VIDEO_ENHANCE)
async def test_video_enhance(bench: Bench, name: str) -> None:
    config = {"EnhanceConfig": {"VideoEnhance": VIDEO_ENHANCE[name]}}
    await differs(bench, "TranscodeTaskSet", transcode(BASE), transcode(BASE | config))


@pytest.mark.parametrize("name", AUDIO_ENHANCE)
async def test_audio_enhance(bench: Bench, name: str) -> None:
    config = {"EnhanceConfig": {"AudioEnhance": AUDIO_ENHANCE[name]}}
    await differs(bench, "TranscodeTaskSet", transcode(BASE), transcode(BASE | config))


@pytest.mark.parametrize("name", SUBTITLES)
async def test_subtitle_template(bench: Bench, name: str) -> None:
    before, more = SUBTITLES[name]
    words = {"SubtitleFileInput": cos("/words.srt")} | before
    if name == "StreamIndex":
        words = {"SubtitleFileInput": cos("/other.srt")}
    one, two = BASE | {"SubtitleTemplate": words}, BASE | {"SubtitleTemplate": changed(words, more)}
    await differs(bench, "TranscodeTaskSet", transcode(one), transcode(two))


@pytest.mark.parametrize("name", WATERMARK)
async def test_watermark_template(bench: Bench, name: str) -> None:
    before, more = WATERMARK[name]
    bench.template("watermark", 300004, before)
    bench.template("watermark", 300005, changed(before, more))
    drawing = {"SvgContent": SVG} if before is DRAWING else {}
    marks = [{"WatermarkSet": [{"Definition": number} | drawing]} for number in (300004, 300005)]
    await differs(bench, "TranscodeTaskSet", {"Definition": 200001} | marks[0], {"Definition": 200001} | marks[1])


@pytest.mark.parametrize("name", WATERMARK_IMAGE)
async def test_watermark_image(bench: Bench, name: str) -> None:
    before, more = WATERMARK_IMAGE[name]
    image = {"ImageContent": logo(), "Width": "30%"} | before
    bench.template("watermark", 300004, {"Type": "image", "ImageTemplate": image})
    bench.template("watermark", 300005, {"Type": "image", "ImageTemplate": image | more})
    marks = [{"WatermarkSet": [{"Definition": number}]} for number in (300004, 300005)]
    await differs(bench, "TranscodeTaskSet", {"Definition": 200001} | marks[0], {"Definition": 200001} | marks[1])


@pytest.mark.parametrize("name", WATERMARK_TEXT)
async def test_watermark_text(bench: Bench, name: str) -> None:
    before, more = WATERMARK_TEXT[name]
    bench.template("watermark", 300004, {"Type": "text", "TextTemplate": TEXT | before})
    bench.template("watermark", 300005, {"Type": "text", "TextTemplate": TEXT | before | more})
    marks = [{"WatermarkSet": [{"Definition": number}]} for number in (300004, 300005)]
    await differs(bench, "TranscodeTaskSet", {"Definition": 200001} | marks[0], {"Definition": 200001} | marks[1])


@pytest.mark.parametrize("name", WATERMARK_INPUT)
async def test_watermark_input(bench: Bench, name: str) -> None:
    before, more = WATERMARK_INPUT[name]
    marks = [{"WatermarkSet": [body]} for body in (before, before | more)]
    await differs(bench, "TranscodeTaskSet", {"Definition": 200001} | marks[0], {"Definition": 200001} | marks[1])


@pytest.mark.parametrize("name", MOSAIC)
async def test_mosaic_input(bench: Bench, name: str) -> None:
    before, more = MOSAIC[name]
    sets = [{"MosaicSet": [body]} for body in (before, before | more)]
    await differs(bench, "TranscodeTaskSet", {"Definition": 200001} | sets[0], {"Definition": 200001} | sets[1])


@pytest.mark.parametrize("name", TASK)
async def test_transcode_input(bench: Bench, name: str) -> None:
    before, more = TASK[name]
    await differs(bench, "TranscodeTaskSet", before, before | more)


@pytest.mark.parametrize("name", OVERRIDE)
async def test_override_parameter(bench: Bench, name: str) -> None:
    one, two = {"Definition": 200001}, {"Definition": 200001, "OverrideParameter": OVERRIDE[name]}
    await differs(bench, "TranscodeTaskSet", one, two)


PICTURES: dict[str, tuple[str, Body, Body, dict[str, tuple[Body, Body]]]] = {
    "snapshot_by_time_offset": ("SnapshotByTimeOffsetTaskSet", {}, {"ExtTimeOffsetSet": ["1s"]}, STILL),
    "sample_snapshot": ("SampleSnapshotTaskSet", {"SampleType": "Time", "SampleInterval": 1}, {}, SAMPLE),
    "image_sprite": (
        "ImageSpriteTaskSet",
        {"SampleType": "Time", "SampleInterval": 1, "RowCount": 2, "ColumnCount": 2, "Width": 160, "Height": 130},
        {},
        SPRITE,
    ),
    "animated_graphic": ("AnimatedGraphicTaskSet", {"Fps": 5}, {"StartTimeOffset": 0, "EndTimeOffset": 1}, ANIMATED),
    "waveform": ("WaveformTaskSet", {}, {}, WAVEFORM),
}  # fmt: skip


@pytest.mark.parametrize(("family", "name"), [(family, name) for family, row in PICTURES.items() for name in row[3]])
async def test_picture_templates(bench: Bench, family: str, name: str) -> None:
    tasks, base, task, table = PICTURES[family]
    before, more = table[name]
    bench.template(family, 200001, base | before)
    bench.template(family, 200002, base | before | more)
    await differs(bench, tasks, task | {"Definition": 200001}, task | {"Definition": 200002}, key=source_for(name))


STREAM: dict[str, Any] = {"Video": CHEAP | {"Fps": 25, "HlsTime": 1}, "Audio": AAC}
LADDER: dict[str, Any] = {"Format": "HLS", "StreamInfos": [STREAM]}
LADDER_TEMPLATE: dict[str, tuple[Body, Body]] = {
    "Format": ({}, {"Format": "MPEG-DASH"}),
    "StreamInfos": ({}, {"StreamInfos": [STREAM | {"Video": CHEAP | {"Vcrf": 40}}]}),
    "SegmentType": ({}, {"SegmentType": "mp4-segment"}),
    "PureAudio": ({}, {"PureAudio": 1, "StreamInfos": [{"RemoveVideo": 1, "Audio": AAC}]}),
    "DisableHigherVideoResolution": (
        {"StreamInfos": [STREAM, STREAM | {"Video": CHEAP | {"Height": 360}}]}, {"DisableHigherVideoResolution": 1},
    ),
    "DisableHigherVideoBitrate": (
        {"StreamInfos": [STREAM, STREAM | {"Video": CHEAP | {"Bitrate": 50_000}}]}, {"DisableHigherVideoBitrate": 1},
    ),
}  # fmt: skip
LADDER_STREAM: dict[str, tuple[Body, Body]] = {
    "Video": ({}, {"Video": CHEAP | {"Vcrf": 40}}),
    "Audio": ({}, {"Audio": AAC | {"Bitrate": 32}}),
    "RemoveAudio": ({}, {"RemoveAudio": 1}),
    "AudioList": ({}, {"AudioList": [AAC | {"Bitrate": 32}]}),
}
DRM = {"Type": "simpleaes", "SimpleAesDrm": {"Uri": "k", "Key": "0f" * 16, "Vector": "0f" * 16}}
LADDER_TASK: dict[str, tuple[Body, Body]] = {
    "WatermarkSet": ({}, {"WatermarkSet": [{"Definition": 300001}]}),
    "SubStreamObjectName": ({}, {"SubStreamObjectName": "level_{subStreamNumber}"}),
    "SegmentObjectName": ({}, {"SegmentObjectName": "s_{subStreamNumber}_{segmentNumber}"}),
    "AddOnSubtitles": ({}, {"AddOnSubtitles": [{"Type": "subtitle-stream", "Subtitle": cos("/words.srt")}]}),
    "DrmInfo": ({}, {"DrmInfo": DRM}),
    "DefinitionType": ({}, {"DefinitionType": "PureAudio"}),
    "SubtitleTemplate": ({}, {"SubtitleTemplate": {"SubtitleFileInput": cos("/words.srt")}}),
    "KeyPTSList": ({}, {"KeyPTSList": [480]}),
    "AddOnAudios": ({}, {"AddOnAudios": [{"InputInfo": cos("/intro.mp4")}]}),
    "StdExtStreamInfos": ({}, {"StdExtStreamInfos": [STREAM | {"Video": CHEAP | {"Height": 140}}]}),
}
ELSEWHERE = {
    "Definition",
    "OutputStorage",
    "OutputObjectPath",
    "ObjectNumberFormat",
    "SegmentObjectName",
    "PublishFirst",
}
"""Fields of sub-tasks that decide on names, places and order, and have tests of their own; RemoveVideo and Encryption
are looked at with PureAudio and preset 12."""


def test_no_field_of_a_sub_task_is_forgotten() -> None:
    """Each has a row here, or is one of those that are tested where names and places are."""
    assert fields(inputs.TranscodeInput) - ELSEWHERE == set(TASK) - ELSEWHERE
    assert fields(inputs.AdaptiveDynamicStreamingInput) - ELSEWHERE == set(LADDER_TASK) - ELSEWHERE
    assert fields(templates.AdaptiveDynamicStreamingTemplate) == {*LADDER_TEMPLATE, "Encryption"}
    assert fields(templates.AdaptiveStreamTemplate) == {*LADDER_STREAM, "RemoveVideo"}


async def ladders_differ(bench: Bench, one: tuple[Body, Body], two: tuple[Body, Body]) -> None:
    """Templates and sub-tasks of two ladders: what they write is not the same."""
    found = []
    for template, task in (one, two):
        bench.template("adaptive_dynamic_streaming", 200001, template)
        shutil.rmtree(bench.root / "out", ignore_errors=True)
        await bench.one("a.mkv", AdaptiveDynamicStreamingTaskSet=[task | {"Definition": 200001}])
        found.append(sorted((path.name, path.read_bytes()) for path in (bench.root / "out").iterdir()))
    assert found[0] != found[1]


@pytest.mark.parametrize("name", LADDER_TEMPLATE)
async def test_ladder_template(bench: Bench, name: str) -> None:
    before, more = LADDER_TEMPLATE[name]
    await ladders_differ(bench, (LADDER | before, {}), (LADDER | before | more, {}))


@pytest.mark.parametrize("name", LADDER_STREAM)
async def test_ladder_stream(bench: Bench, name: str) -> None:
    before, more = LADDER_STREAM[name]
    bodies = [LADDER | {"StreamInfos": [STREAM | body]} for body in (before, before | more)]
    await ladders_differ(bench, (bodies[0], {}), (bodies[1], {}))


@pytest.mark.parametrize("name", LADDER_TASK)
async def test_ladder_task(bench: Bench, name: str) -> None:
    before, more = LADDER_TASK[name]
    await ladders_differ(bench, (LADDER, before), (LADDER, before | more))
