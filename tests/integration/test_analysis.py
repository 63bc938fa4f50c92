"""Analysis: covers of films in which it is known what is good, and labels by a server of models."""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from tests import parts
from tests.conftest import Measured
from tests.truth import photographs, slides
from tests.workbench import Bench

ON = {"Switch": "ON"}


async def analysed(bench: Bench, source: Path, **template: Any) -> dict[str, dict[str, Any]]:
    """The parts of an analysis by their type."""
    (bench.root / source.name).write_bytes(source.read_bytes())
    bench.template("ai_analysis", 50001, {"Name": "n"} | template)
    (result,) = (await bench.run(source.name, AiAnalysisTask={"Definition": 50001})).results
    assert result.output is not None, result.message
    return {part["type"]: part for part in result.output["parts"]}


async def test_covers_are_of_what_is_good(workbench: Bench, tmp_path: Path) -> None:
    """Of a film that is black, blurred, dark and grey but for two stretches, the covers are from these."""
    plain = "mandelbrot=size=640x360:rate=25:start_scale=1.5"
    wrong = ("drawbox=color=black:t=fill", "gblur=sigma=9", "eq=brightness=-0.4", "drawbox=color=gray:t=fill")
    # Each for three seconds, and what is fine from 3 to 6 and from 12 to 15 seconds; that is red at its edge.
    chain = ",".join(
        f"{name}:enable='between(t,{start},{start + 2.99})'" for name, start in zip(wrong, (0, 6, 9, 15), strict=True)
    )
    fine = "+".join(f"between(t,{start},{start + 2.99})" for start in (3, 12))
    graph = f"{plain},format=yuv420p,{chain},drawbox=color=red:w=40:h=ih:t=fill:enable='{fine}'"
    source = tmp_path / "film.mp4"
    subprocess.run([parts.FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", graph, "-t", "18", str(source)], check=True)
    found = await analysed(workbench, source, CoverConfigure=ON)
    output = found["Cover"]["output"]
    covers = output["cover_set"]
    assert len(covers) >= 2
    assert [cover["confidence"] for cover in covers] == sorted((c["confidence"] for c in covers), reverse=True)
    for cover in covers[:2]:
        with Image.open(workbench.path(cover["cover_path"])) as picture:
            red, green, _ = picture.convert("RGB").getpixel((20, 180))  # type: ignore[misc]
            assert red > 150 > green, cover
    assert covers[0]["cover_path"] == "/out/film_cover_50001_0.jpg"
    assert output["output_storage"]["cos_output_storage"]["bucket"] == "b"
    bars = tmp_path / "bars.mp4"
    graph = "smptebars=size=640x360:rate=25:d=6[a];mandelbrot=size=640x360:rate=25,trim=duration=3[b];[a][b]concat"
    subprocess.run([parts.FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", graph, str(bars)], check=True)
    chosen = (await analysed(workbench, bars, CoverConfigure=ON))["Cover"]["output"]["cover_set"]
    with Image.open(workbench.path(chosen[0]["cover_path"])) as picture:
        first = picture.convert("RGB").getpixel((20, 10))
        assert not all(150 < value < 210 for value in first), "the first of the bars is grey"  # type: ignore[union-attr]
    assert chosen[0]["confidence"] > 0
    blind = await analysed(workbench, parts.make_clip(tmp_path / "blind.m4a", "-vn", seconds=1), CoverConfigure=ON)
    assert blind["Cover"]["code"] == "SourceFileError.NoVideoMedia"
    one = await analysed(workbench, parts.make_clip(tmp_path / "one.mp4", "-frames:v", "1"), CoverConfigure=ON)
    assert len(one["Cover"]["output"]["cover_set"]) == 1


async def test_a_face_makes_a_better_cover(workbench: Bench, tmp_path: Path) -> None:
    """Of a photograph and the same upside down, in which nobody sees a face, it is the first."""
    upright = photographs(tmp_path) / "obama2.jpg"
    turned = tmp_path / "turned.png"
    with Image.open(upright) as picture:
        picture.rotate(180).save(turned)
    source = slides(tmp_path / "film.mp4", [turned, upright, turned])
    without = (await analysed(workbench, source, CoverConfigure=ON))["Cover"]["output"]["cover_set"]
    workbench.serve(faces="dlib")
    try:
        found = (await analysed(workbench, source, CoverConfigure=ON))["Cover"]["output"]["cover_set"]
    finally:
        await workbench.worker.models.close()
    assert found[0]["confidence"] > without[0]["confidence"] + 5
    assert found[1]["confidence"] <= without[0]["confidence"] or len(found) > 2
    with Image.open(workbench.path(found[0]["cover_path"])) as cover, Image.open(upright) as picture:
        small = [image.convert("L").resize((64, 36)) for image in (cover, ImageOps.pad(picture, cover.size))]
        same, other = (
            sum(abs(a - b) for a, b in zip(small[0].tobytes(), image.tobytes(), strict=True))
            for image in (small[1], small[1].rotate(180))
        )
        assert same < other / 2


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any]]]:
    """One that says of red pictures that they are red, and of others that they are blue; or what it is told to say."""
    state: list[Any] = [None]

    def respond(path: str, authorization: str, body: bytes) -> tuple[int, bytes]:
        asked = json.loads(body)
        state.append((path, authorization, asked["model"]))
        address = asked["messages"][0]["content"][1]["image_url"]["url"]
        data = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
        return 200, json.dumps({"choices": [{"message": {"content": state[0] or _said(data)}}]}).encode()

    with parts.model_server(respond) as url:
        yield url, state


def _said(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as picture:
        red, _, blue = picture.convert("RGB").resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
    name, kind = ("fire", "drama") if red > blue else ("sea", "nature")
    return json.dumps({"category": kind, "tags": [{"name": name, "confidence": 90}]})


async def test_labels_by_a_server(workbench: Bench, server: tuple[str, list[Any]], tmp_path: Path) -> None:
    """Classes, tags and tags by time are made of what it says of some pictures; a lie fails those parts only."""
    url, state = server
    source = tmp_path / "film.mp4"
    graph = "color=red:size=320x180:d=2[a];color=blue:size=320x180:d=6[b];[a][b]concat"
    subprocess.run([parts.FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", graph, str(source)], check=True)
    workbench.serve(vision=("openai", {"url": url, "model": "llava", "api_key": "k3y", "pictures": 8}))
    wanted = dict.fromkeys(("ClassificationConfigure", "TagConfigure", "FrameTagConfigure", "CoverConfigure"), ON)
    try:
        found = await analysed(workbench, source, **wanted)
        assert {part["status"] for part in found.values()} == {"SUCCESS"}
        assert found["Classification"]["output"]["classification_set"] == [
            {"classification": "nature", "confidence": 75.0}, {"classification": "drama", "confidence": 25.0},
        ]  # fmt: skip
        assert [tag["tag"] for tag in found["Tag"]["output"]["tag_set"]] == ["sea", "fire"]
        segments = found["FrameTag"]["output"]["segment_set"]
        times = [(s["start_time_offset"], s["end_time_offset"], s["tag_set"][0]["tag"]) for s in segments]
        assert times == [(0.0, 2.0, "fire"), (2.0, 8.0, "sea")]
        assert state[1:] == [("/v1/chat/completions", "Bearer k3y", "llava")] * 8
        for lie in ("I see the sea", '{"tags": []}', '{"category": "a", "tags": [{"name": "b", "confidence": "NaN"}]}'):
            state[0] = lie
            found = await analysed(workbench, source, **wanted)
            assert "not the JSON that was asked for" in found["Tag"]["message"]
            assert found["Cover"]["status"] == "SUCCESS"
    finally:
        await workbench.worker.models.close()


SCENES = ("testsrc2=size=640x360:rate=25", "mandelbrot=size=640x360:rate=25:start_scale=1.5",
          "smptehdbars=size=640x360:rate=25", "life=size=640x360:rate=25:mold=10:ratio=0.2:random_seed=7")  # fmt: skip
LENGTHS = (5.0, 4.0, 5.0, 6.0)
CUTS = (5.0, 9.0, 14.0)


def scenes(path: Path, sound: str) -> Path:
    """Four scenes, which meet at ``CUTS``; ``sound`` is a source of it, or nothing."""
    inputs = [item for scene in SCENES for item in ("-f", "lavfi", "-i", scene)]
    parts_ = "".join(
        f"[{n}:v]trim=duration={length},setpts=PTS-STARTPTS,format=yuv420p[v{n}];" for n, length in enumerate(LENGTHS)
    )
    graph = parts_ + "".join(f"[v{n}]" for n in range(4)) + "concat=n=4[v]"
    heard = ["-f", "lavfi", "-i", f"{sound},atrim=duration=20", "-map", "4:a", "-c:a", "aac"] if sound else []
    command = [
        parts.FFMPEG,
        "-v",
        "error",
        "-y",
        *inputs,
        *heard[:4],
        "-filter_complex",
        graph,
        "-map",
        "[v]",
        *heard[4:],
    ]
    subprocess.run([*command, "-preset", "ultrafast", "-crf", "24", str(path)], check=True)
    return path


async def test_splitting(workbench: Bench, tmp_path: Path, measured: Measured) -> None:
    """At cuts in a pause of the sound, and at all of them where there is none; to a picture of the small film."""
    workbench.serve(cuts="scenedetect")
    try:
        silent = await analysed(workbench, scenes(tmp_path / "silent.mp4", ""), SegmentConfigure=ON)
        found = [
            (s["start_time_offset"], s["end_time_offset"])
            for s in silent["SegmentRecognition"]["output"]["segment_set"]
        ]
        truth = list(zip((0.0, *CUTS), (*CUTS, 20.0), strict=True))
        assert len(found) == len(truth)
        off = max(abs(a - b) for one, other in zip(found, truth, strict=True) for a, b in zip(one, other, strict=True))
        measured("cuts, scenedetect", 3, 3, len(found) - 4, f"{off:.2f} s")
        assert off <= 0.1
        # A pause at the second and the third cut, and one where there is no cut.
        quiet = "+".join(f"between(t,{start},{start + 0.6})" for start in (8.7, 13.8, 17.0))
        sound = f"anoisesrc=amplitude=0.3:seed=3,volume=0:enable='{quiet}'"
        spoken = await analysed(workbench, scenes(tmp_path / "spoken.mp4", sound), SegmentConfigure=ON)
        starts = [s["start_time_offset"] for s in spoken["SegmentRecognition"]["output"]["segment_set"]]
        assert [round(start) for start in starts] == [0, 9, 14]
        loud = await analysed(workbench, scenes(tmp_path / "loud.mp4", "anoisesrc=amplitude=0.3"), SegmentConfigure=ON)
        starts = [s["start_time_offset"] for s in loud["SegmentRecognition"]["output"]["segment_set"]]
        assert [round(start) for start in starts] == [0, 5, 9, 14], "sound without a pause says nothing"
        blind = parts.make_clip(tmp_path / "blind.m4a", "-vn", seconds=1)
        assert (await analysed(workbench, blind, SegmentConfigure=ON))["SegmentRecognition"]["status"] == "FAIL"
        one = parts.make_clip(tmp_path / "one.mp4", "-frames:v", "1")
        assert (
            len((await analysed(workbench, one, SegmentConfigure=ON))["SegmentRecognition"]["output"]["segment_set"])
            == 1
        )
    finally:
        await workbench.worker.models.close()


async def test_highlights(workbench: Bench, tmp_path: Path, measured: Measured) -> None:
    """Where most moves and it is loudest; a clip and a picture of each; none of a film in which nothing stands out."""
    calm = "color=gray:size=640x360:rate=25,drawbox=x=100+20*sin(t):w=80:h=80:t=fill:color=blue"
    wild = "life=size=640x360:rate=25:mold=10:ratio=0.4:random_seed=3:life_color=white"
    graph = f"{calm}[a];{wild}[b];[a][b]overlay=enable='between(t,12,17)':shortest=1,format=yuv420p"
    sound = "anoisesrc=amplitude=0.02:seed=3,volume=10:enable='between(t,12,17)'"
    source = tmp_path / "film.mp4"
    command = [parts.FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", graph, "-f", "lavfi", "-i", sound, "-t", "30"]
    subprocess.run([*command, "-preset", "ultrafast", "-c:a", "aac", str(source)], check=True)
    found = (await analysed(workbench, source, HighlightConfigure=ON))["Highlight"]
    assert found["status"] == "SUCCESS", found
    (highlight,) = found["output"]["highlight_set"]
    (span,) = highlight["segment_set"]
    assert abs(span["start_time_offset"] - 12) <= 1
    assert abs(span["end_time_offset"] - 17) <= 1
    off = max(abs(span["start_time_offset"] - 12), abs(span["end_time_offset"] - 17))
    measured("highlights", 1, 1, 0, f"{off:.2f} s")
    clip = parts.probe(workbench.path(highlight["highlight_path"]))
    assert abs(clip["duration"] - highlight["duration"]) < 0.1
    assert (clip["video"]["codec"], clip["audio"]["codec"]) == ("h264", "aac")
    with Image.open(workbench.path(highlight["cov_img_path"])) as picture:
        assert picture.size == (640, 360)
    calmer = tmp_path / "calm.mp4"
    subprocess.run([parts.FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", calm, "-t", "20", str(calmer)], check=True)
    assert (await analysed(workbench, calmer, HighlightConfigure=ON))["Highlight"]["output"]["highlight_set"] == []
