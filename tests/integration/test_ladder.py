"""Adaptive bitrate streaming: manifests, aligned cuts, audio renditions, encryption, as the files have it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import av
import pytest

from tests import parts
from tests.workbench import Bench
from watcher.steps import _hls

VIDEO = {"Codec": "h264", "Fps": 25, "Gop": 25}
SOUND = {"Codec": "aac", "Bitrate": 64, "SampleRate": 44100}
LADDER = [
    {"Video": VIDEO | {"Height": 180, "Bitrate": 300, "HlsTime": 1}, "Audio": SOUND},
    {"Video": VIDEO | {"Height": 128, "Bitrate": 150, "HlsTime": 1}, "Audio": SOUND},
]


@pytest.fixture
def ladder(workbench: Bench, clip: Path) -> Bench:
    """A bench with a clip of three seconds as ``a.mp4``."""
    shutil.copy(clip, workbench.root / "a.mp4")
    return workbench


async def made(bench: Bench, body: dict[str, Any], **task: Any) -> Path:
    """The master manifest of a ladder over ``a.mp4``."""
    bench.template("adaptive_dynamic_streaming", 200001, {"Format": "HLS", "StreamInfos": LADDER} | body)
    item = await bench.one("a.mp4", AdaptiveDynamicStreamingTaskSet=[{"Definition": 200001} | task])
    return bench.path(item["path"])


def starts(playlist: Path) -> list[float]:
    """When the segments of a media playlist begin."""
    lengths = [float(text) for text in re.findall(r"#EXTINF:([\d.]+)", playlist.read_text())]
    return [round(sum(lengths[:index]), 2) for index in range(len(lengths))]


def key_frames(path: Path) -> list[float]:
    """Presentation times of the key frames of a file."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.pts is not None and packet.is_keyframe]
        return [round(float(packet.pts * stream.time_base), 3) for packet in packets]


@pytest.mark.parametrize("kind", ["ts-segment", "ts-byterange", "mp4-segment", "mp4-byterange"])
async def test_sound_in_the_variants(ladder: Bench, kind: str) -> None:
    """Each variant holds both, whatever its segments are, and plays to its end."""
    master = await made(ladder, {"SegmentType": kind})
    text = master.read_text()
    assert master.name == "a_adaptiveDynamicStreaming_200001.m3u8"
    assert text.count("#EXT-X-STREAM-INF") == 2
    assert "RESOLUTION=320x180" in text
    assert 'CODECS="avc1.' in text
    assert "mp4a.40.2" in text
    assert "FRAME-RATE=25.000" in text
    assert "#EXT-X-MEDIA:TYPE=AUDIO" not in text
    for number in range(2):
        playlist = master.with_name(f"a_adaptiveDynamicStreaming_200001_{number}.m3u8")
        facts = parts.probe(playlist)
        assert (facts["video"]["frames"], facts["audio"]["codec"]) == (75, "aac")
        assert starts(playlist) == [0.0, 1.0, 2.0]
        assert ("#EXT-X-BYTERANGE" in playlist.read_text()) == kind.endswith("byterange")
        assert ("#EXT-X-MAP" in playlist.read_text()) == kind.startswith("mp4")
    segments = [path.name for path in master.parent.iterdir() if path.suffix in (".ts", ".m4s")]
    assert len(segments) == (2 if kind.endswith("byterange") else 6)


@pytest.mark.parametrize("kind", ["ts-ts-segment", "ts-ts-byterange", "mp4-mp4-segment", "mp4-mp4-byterange"])
async def test_sound_on_its_own(ladder: Bench, kind: str) -> None:
    """The same sound for both variants is one rendition, which both refer to."""
    master = await made(ladder, {"SegmentType": kind})
    text = master.read_text()
    assert text.count("#EXT-X-MEDIA:TYPE=AUDIO") == 1
    assert 'DEFAULT=YES,URI="a_adaptiveDynamicStreaming_200001_2.m3u8"' in text
    assert text.count('AUDIO="audio"') == 2
    assert parts.probe(master.with_name("a_adaptiveDynamicStreaming_200001_0.m3u8"))["audio"] is None
    assert parts.probe(master.with_name("a_adaptiveDynamicStreaming_200001_2.m3u8"))["video"] is None


async def test_renditions_cut_at_the_same_frames(ladder: Bench) -> None:
    """A player may switch at any segment: all of them begin with a key frame at the same time."""
    await made(ladder, {"SegmentType": "mp4-byterange"})
    found = [key_frames(ladder.path(f"out/a_adaptiveDynamicStreaming_200001_{number}.m3u8")) for number in range(2)]
    assert found[0] == found[1]
    assert len(found[0]) == 3


async def test_bandwidth_is_measured(ladder: Bench) -> None:
    """The peak of the variant is that of its largest segment."""
    master = await made(ladder, {})
    peak = int(re.findall(r"BANDWIDTH=(\d+),AVERAGE", master.read_text())[0])
    sizes = [
        ladder.path(f"out/a_adaptiveDynamicStreaming_200001_0_{number}.ts").stat().st_size * 8 for number in range(3)
    ]
    assert peak == pytest.approx(max(sizes), rel=0.05)


async def test_dash(ladder: Bench) -> None:
    """One indexed file for each rendition, sound apart, and byte ranges that are right."""
    master = await made(ladder, {"Format": "MPEG-DASH"})
    assert master.suffix == ".mpd"
    space = {"d": "urn:mpeg:dash:schema:mpd:2011"}
    root = ElementTree.parse(master).getroot()
    sets = root.findall("d:Period/d:AdaptationSet", space)
    assert [item.get("contentType") for item in sets] == ["video", "audio"]
    assert [item.get("height") for item in sets[0].findall("d:Representation", space)] == ["180", "128"]
    for item in root.iter("{urn:mpeg:dash:schema:mpd:2011}Representation"):
        name = item.findtext("d:BaseURL", namespaces=space)
        index = item.find("d:SegmentBase", space)
        assert name is not None
        assert index is not None
        first, last = (int(part) for part in str(index.get("indexRange")).split("-"))
        data = (master.parent / name).read_bytes()[first : last + 1]
        assert data[4:8] == b"sidx"
        assert int.from_bytes(data[:4], "big") == len(data)


async def test_nothing_above_the_source(ladder: Bench) -> None:
    """Larger or faster variants than the source are left out when the template says so; one always stays."""
    tall = [{"Video": VIDEO | {"Height": height, "Bitrate": 300}, "Audio": SOUND} for height in (1080, 720)]
    both = [*LADDER, *tall]
    assert (await made(ladder, {"StreamInfos": both})).read_text().count("STREAM-INF") == 4
    body = {"StreamInfos": both, "DisableHigherVideoResolution": 1}
    assert (await made(ladder, body)).read_text().count("STREAM-INF") == 2
    kept = (await made(ladder, {"StreamInfos": tall, "DisableHigherVideoResolution": 1})).read_text()
    assert "RESOLUTION=1280x720" in kept
    assert "RESOLUTION=1920x1080" not in kept
    fast = [LADDER[0], {"Video": VIDEO | {"Height": 180, "Bitrate": 90_000}, "Audio": SOUND}]
    assert (await made(ladder, {"StreamInfos": fast, "DisableHigherVideoBitrate": 1})).read_text().count(
        "INF:BAND"
    ) == 1


async def test_encryption(ladder: Bench) -> None:
    """Segments are AES-128 under the key given, and the playlist names the address given."""
    key, vector = "00112233445566778899aabbccddeeff", "0f" * 16
    drm = {"Type": "simpleaes", "SimpleAesDrm": {"Uri": "https://keys.example/k?id=1", "Key": key, "Vector": vector}}
    master = await made(ladder, {}, DrmInfo=drm)
    playlist = master.with_name("a_adaptiveDynamicStreaming_200001_0.m3u8").read_text()
    assert f'#EXT-X-KEY:METHOD=AES-128,URI="https://keys.example/k?id=1",IV=0x{vector}' in playlist
    segment = master.with_name("a_adaptiveDynamicStreaming_200001_0_0.ts").read_bytes()
    plain = subprocess.run(
        ["openssl", "aes-128-cbc", "-d", "-K", key, "-iv", vector], input=segment, capture_output=True, check=True
    ).stdout
    assert segment[0] != 0x47
    assert plain[0] == 0x47
    assert plain[188] == 0x47
    assert not list(ladder.root.rglob("*key*"))
    assert key not in str(ladder.reports[-1][0].input)


async def test_preset_12_wants_a_key(ladder: Bench) -> None:
    """The preset that encrypts is not made in the clear."""
    message = await ladder.refused("a.mp4", AdaptiveDynamicStreamingTaskSet=[{"Definition": 12}])
    assert "give DrmInfo" in message


async def test_names(ladder: Bench) -> None:
    """Names of one's own; renditions never overwrite each other."""
    task = {
        "OutputObjectPath": "/tv/{inputName}/master.{format}",
        "SubStreamObjectName": "level.{format}",
        "SegmentObjectName": "s/{segmentNumber}.{format}",
    }
    master = await made(ladder, {"SegmentType": "mp4-segment"}, **task)
    assert master == ladder.root / "tv/a/master.m3u8"
    names = {str(path.relative_to(master.parent)) for path in master.parent.rglob("*") if path.is_file()}
    assert {"level_0.m3u8", "level_1.m3u8", "s/0_0.m4s", "s/init_1.mp4", "s/2_1.m4s"} <= names
    assert parts.probe(master.with_name("level_1.m3u8"))["video"]["frames"] == 75


async def test_forced_cuts(ladder: Bench) -> None:
    """KeyPTSList: a key frame and a cut at each of these times, beside the regular ones."""
    master = await made(ladder, {}, KeyPTSList=[480, 1520])
    for number in range(2):
        playlist = master.with_name(f"a_adaptiveDynamicStreaming_200001_{number}.m3u8")
        assert starts(playlist) == [0.0, 0.48, 1.0, 1.52, 2.0]


async def test_sound_only(ladder: Bench) -> None:
    """A ladder of bit rates of sound."""
    streams = [{"RemoveVideo": 1, "Audio": SOUND | {"Bitrate": rate}} for rate in (48, 128)]
    master = await made(ladder, {"PureAudio": 1, "StreamInfos": streams, "SegmentType": "mp4-segment"})
    text = master.read_text()
    assert "RESOLUTION" not in text
    assert text.count("STREAM-INF") == 2
    assert parts.probe(master.with_name("a_adaptiveDynamicStreaming_200001_1.m3u8"))["audio"]["codec"] == "aac"


async def test_further_tracks(ladder: Bench) -> None:
    """Sound and subtitles from other objects are renditions of their own, in HLS and DASH."""
    parts.make_clip(ladder.root / "en.m4a", "-map", "1:a", seconds=3)
    (ladder.root / "en.srt").write_text("1\n00:00:00,500 --> 00:00:02,000\nHello & <b>you</b>\n")
    place = {"Type": "COS", "CosInputInfo": {"Bucket": "b", "Region": "r"}}
    sound = {"InputInfo": place | {"CosInputInfo": place["CosInputInfo"] | {"Object": "/en.m4a"}}}  # type: ignore[operator]
    words = {"Subtitle": place | {"CosInputInfo": place["CosInputInfo"] | {"Object": "/en.srt"}}}  # type: ignore[operator]
    task = {
        "AddOnAudios": [sound | {"AudioName": "English", "AudioLanguage": "eng", "DefaultTrack": True}],
        "AddOnSubtitles": [words | {"Type": "subtitle-stream", "SubtitleName": "English", "SubtitleLanguage": "eng"}],
    }
    master = await made(ladder, {}, **task)
    text = master.read_text()
    assert 'NAME="main",AUTOSELECT=YES,DEFAULT=NO' in text
    assert 'NAME="English",LANGUAGE="eng",AUTOSELECT=YES,DEFAULT=YES' in text
    assert '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subtitles",NAME="English",LANGUAGE="eng"' in text
    assert text.count('SUBTITLES="subtitles"') == 2
    vtt = master.with_name("a_adaptiveDynamicStreaming_200001_3.vtt").read_text()
    assert vtt.startswith("WEBVTT")
    assert "00:00:00.500 --> 00:00:02.000" in vtt
    manifest = (await made(ladder, {"Format": "MPEG-DASH"}, **task)).read_text()
    assert 'mimeType="text/vtt"' in manifest
    assert manifest.count('contentType="audio"') == 2
    assert "<Label>English</Label>" in manifest


async def test_each_variant_has_the_sound_of_its_template(ladder: Bench) -> None:
    """Different sounds are groups of their own in HLS, and one set to choose from in DASH."""
    streams = [LADDER[0], LADDER[1] | {"Audio": SOUND | {"Bitrate": 32}}]
    text = (await made(ladder, {"StreamInfos": streams, "SegmentType": "mp4-mp4-segment"})).read_text()
    assert 'GROUP-ID="audio",NAME="main"' in text
    assert 'GROUP-ID="audio1",NAME="main"' in text
    assert re.findall(r'AUDIO="(\w+)"', text) == ["audio", "audio1"]
    manifest = (await made(ladder, {"StreamInfos": streams, "Format": "MPEG-DASH"})).read_text()
    assert manifest.count('contentType="audio"') == 1
    assert manifest.count("audioSamplingRate") == 2


async def test_renditions_that_cut_apart_are_not_published(ladder: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ladder that players could not switch in is a failure, not an output."""
    seen: list[Path] = []
    good = _hls.starts

    def late(playlist: Path) -> list[float]:
        seen.append(playlist)
        return [start + 0.2 * (len(seen) - 1) for start in good(playlist)]

    monkeypatch.setattr(_hls, "starts", late)
    ladder.template("adaptive_dynamic_streaming", 200001, {"Format": "HLS", "StreamInfos": LADDER})
    message = await ladder.refused("a.mp4", AdaptiveDynamicStreamingTaskSet=[{"Definition": 200001}])
    assert "do not cut at the same times" in message
    assert not (ladder.root / "out").exists()
