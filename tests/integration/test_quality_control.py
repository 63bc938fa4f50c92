"""Quality control over films in which it is known what is wrong, and when."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy
import pytest
import pytest_asyncio
import zxingcpp
from PIL import Image

from tests import parts
from tests.conftest import Measured
from tests.workbench import Bench
from watcher.model.findings import Findings, Look
from watcher.steps import _detectors as detectors

PLAIN = "mandelbrot=size=640x360:rate=25:start_scale=1.5"
WRONG = {
    "BlackScreen": "drawbox=color=black:t=fill",
    "FreezeScreen": "",
    "Blur": "gblur=sigma=8",
    "Noise": "noise=alls=50:allf=t",
    "Mosaic": "scale=80:45:flags=area,scale=640:360:flags=neighbor",
    "LowLighting": "eq=brightness=-0.35",
    "HighLighting": "eq=brightness=0.5",
    "BlackWhiteEdge": "scale=640:240,pad=640:360:0:60",
    "SolidColorScreen": "drawbox=color=green:t=fill",
}
"""A filter that does it, for each kind of thing that is wrong with a picture."""
SOUNDS = {
    "NoVoice": ("volume=0", 0.15),
    "LowVoice": ("volume=-28dB", 0.15),
    "HighVoice": ("volume=9dB", 0.15),
    "Clipping": ("volume=40dB", 0.15),
}
"""The same for sound, with how exact the times are."""


@dataclass(frozen=True)
class Wrong:
    """Something that is wrong for a while, in seconds."""

    kind: str
    start: float
    end: float


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Wrong], list[Wrong]]:
    """Two seconds of each thing that can be wrong, with 1.6 seconds without anything between them."""
    pictures = [Wrong(kind, round(1.6 + 3.6 * n, 2), round(3.6 + 3.6 * n, 2)) for n, kind in enumerate(WRONG)]
    sounds = [Wrong(kind, 2.0 + 5 * n, 5.0 + 5 * n) for n, kind in enumerate(SOUNDS)]
    length = pictures[-1].end + 1.6
    frozen = next(wrong for wrong in pictures if wrong.kind == "FreezeScreen")  # the frame before is held
    first, last = round(frozen.start * 25), round(frozen.end * 25) - 1
    branches = [wrong for wrong in pictures if WRONG[wrong.kind]]
    graph = f"[0:v]format=yuv420p,split[m][r];[m][r]freezeframes=first={first}:last={last}:replace={first - 1}"
    graph += f",split={len(branches) + 1}[p0]" + "".join(f"[b{n}]" for n in range(len(branches)))
    for n, wrong in enumerate(branches):
        graph += f";[b{n}]{WRONG[wrong.kind]}[w{n}]"
        between = f"between(t,{wrong.start - 0.001},{wrong.end - 0.021})"
        graph += f";[p{n}][w{n}]overlay=enable='{between}':format=yuv420[p{n + 1}]"
    # Noise without high peaks is as loud as speech, at every moment.
    volume = ",".join(f"{SOUNDS[w.kind][0]}:enable='between(t,{w.start},{w.end - 0.0001})'" for w in sounds)
    graph += f";[1:a]volume=14dB,alimiter=limit=0.3:level=0:attack=0.5:release=5,{volume}[a]"
    path = tmp_path_factory.mktemp("wrong") / "film.mp4"
    subprocess.run(
        [
            parts.FFMPEG, "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", PLAIN, "-f", "lavfi", "-i",
            "anoisesrc=c=pink:r=48000:a=0.5:seed=7", "-filter_complex", graph, "-map", f"[p{len(branches)}]",
            "-map", "[a]", "-t", str(length), "-c:v", "libx264", "-preset", "ultrafast", "-crf", "14",
            "-c:a", "pcm_s16le", "-f", "mov", str(path),
        ],
        check=True,
    )  # fmt: skip
    return path, pictures, sounds


@pytest_asyncio.fixture
async def served(workbench: Bench) -> AsyncIterator[Bench]:
    workbench.serve(codes="zxing")
    yield workbench
    await workbench.worker.models.close()


def items(*kinds: str, **more: Any) -> dict[str, Any]:
    """A template."""
    return {"Name": "n", "QualityControlItemSet": [{"Type": kind, **more} for kind in kinds]}


async def controlled(bench: Bench, source: Path, template: dict[str, Any]) -> dict[str, Any]:
    """The output."""
    (bench.root / source.name).write_bytes(source.read_bytes())
    bench.template("quality_control", 50001, template)
    outcome = await bench.run(source.name, AiQualityControlTask={"Definition": 50001})
    (result,) = outcome.results
    assert result.status == "SUCCESS", result.message
    assert result.output is not None
    output: dict[str, Any] = result.output["parts"][0]["output"]
    return output


def found_in(output: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    return {
        entry["type"]: [(i["start_time_offset"], i["end_time_offset"]) for i in entry["quality_control_items"]]
        for entry in output["quality_control_result_set"]
    }


async def test_what_is_wrong_is_found_when_it_is(
    served: Bench, film: tuple[Path, list[Wrong], list[Wrong]], measured: Measured
) -> None:
    """Each thing once, and nothing else: pictures to a fifth of a second."""
    path, pictures, sounds = film
    output = await controlled(served, path, items(*WRONG, *SOUNDS))
    found = found_in(output)
    # A black or green screen is a solid one, and a black one is dark.
    allowed = {"SolidColorScreen": {"BlackScreen"}, "LowLighting": {"BlackScreen", "SolidColorScreen"}}
    allowed["HighVoice"] = {"Clipping"}
    for wrong in (*pictures, *sounds):
        exact = SOUNDS[wrong.kind][1] if wrong.kind in SOUNDS else 0.2
        others = [w for w in (*pictures, *sounds) if w.kind in allowed.get(wrong.kind, ())]
        mine = [
            stretch for stretch in found.get(wrong.kind, [])
            if not any(_meets(stretch, other, 0.5) for other in others)
        ]  # fmt: skip
        assert len(mine) == 1, (wrong, found.get(wrong.kind))
        off = max(abs(mine[0][0] - wrong.start), abs(mine[0][1] - wrong.end))
        measured(f"quality: {wrong.kind}", 1, 1, len(mine) - 1, f"{off:.2f} s")
        assert abs(mine[0][0] - wrong.start) <= exact + 0.001, (wrong, mine)
        assert abs(mine[0][1] - wrong.end) <= exact + 0.001, (wrong, mine)
    assert not output["no_audio"]
    assert not output["no_video"]
    assert 30 < output["quality_evaluation_score"] < 90
    report = json.loads(served.path("out/film_quality_control_50001.json").read_text())
    assert report[0]["Output"]["NoAudio"] is False
    chart = ElementTree.fromstring(served.path("out/film_quality_50001.svg").read_text())
    assert len(chart.findall(".//{http://www.w3.org/2000/svg}polyline")) == 4
    titles = [title.text or "" for title in chart.iterfind(".//{http://www.w3.org/2000/svg}title")]
    assert len(titles) == sum(len(stretches) for stretches in found.values())


def _meets(stretch: tuple[float, float], wrong: Wrong, more: float) -> bool:
    return stretch[0] < wrong.end + more and stretch[1] > wrong.start - more


async def test_threshold_duration_and_interval(served: Bench, film: tuple[Path, list[Wrong], list[Wrong]]) -> None:
    """What the template says of an item is what counts."""
    path, pictures, _ = film
    wanted = [
        {"Type": "Blur", "Duration": 3000},  # it lasts two seconds
        {"Type": "Mosaic", "Duration": 1500},
        {"Type": "LowLighting", "Threshold": "90"},  # only the black one is so dark
        {"Type": "HighLighting", "IntervalTime": 1000},
        {"Type": "Noise", "Switch": "OFF"},
    ]
    found = found_in(await controlled(served, path, {"Name": "n", "QualityControlItemSet": wanted}))
    assert found.keys() == {"Mosaic", "LowLighting", "HighLighting"}
    assert len(found["Mosaic"]) == 1
    assert [round(start) for start, _ in found["LowLighting"]] == [2]
    (bright,) = found["HighLighting"]
    truth = next(wrong for wrong in pictures if wrong.kind == "HighLighting")
    assert abs(bright[0] - truth.start) <= 1
    assert abs(bright[1] - truth.end) <= 1


async def test_a_film_without_faults(served: Bench, tmp_path: Path) -> None:
    """Nothing is found, and the score is high."""
    graph = ["-f", "lavfi", "-i", PLAIN, "-f", "lavfi", "-i", "anoisesrc=c=pink:r=48000:a=0.2:seed=7"]
    path = tmp_path / "fine.mp4"
    subprocess.run([parts.FFMPEG, "-v", "error", "-y", *graph, "-t", "6", "-pix_fmt", "yuv420p", str(path)], check=True)
    output = await controlled(served, path, items(*WRONG, *SOUNDS, "QRCode", "BarCode", "LowEvaluation"))
    assert found_in(output) == {}
    assert output["quality_evaluation_score"] > 90
    assert output["quality_evaluation_mean_opinion_score"] > 4.5


async def test_streams_that_lack(served: Bench, tmp_path: Path) -> None:
    """No sound, no picture: said, and the rest is measured."""
    kinds = ("AudioStreamLack", "VideoStreamLack", "NoVoice", "Blur")
    mute = await controlled(served, parts.make_clip(tmp_path / "mute.mp4", "-an", seconds=2), items(*kinds))
    assert (mute["no_audio"], mute["no_video"]) == (True, False)
    assert [entry["type"] for entry in mute["container_diagnose_result_set"]] == ["AudioStreamLack"]
    blind = await controlled(served, parts.make_clip(tmp_path / "blind.m4a", "-vn", seconds=2), items(*kinds))
    assert (blind["no_audio"], blind["no_video"], blind["quality_evaluation_score"]) == (False, True, None)
    assert [entry["type"] for entry in blind["container_diagnose_result_set"]] == ["VideoStreamLack"]
    frame = await controlled(served, parts.make_clip(tmp_path / "f.mp4", "-frames:v", "1", "-an"), items(*kinds))
    assert found_in(frame) == {}


async def test_codes(served: Bench, tmp_path: Path, measured: Measured) -> None:
    """A QR code and a bar code, each for two seconds, with their places."""
    pictures = []
    for text, kind in (
        ("https://example.com/watch", zxingcpp.BarcodeFormat.QRCode),
        ("4006381333931", zxingcpp.BarcodeFormat.EAN13),
    ):
        made = zxingcpp.write_barcode_to_image(zxingcpp.create_barcode(text, kind), scale=3)
        code = Image.fromarray(numpy.array(made)).convert("L")
        sheet = Image.new("L", (640, 360), 180)
        sheet.paste(code, (300, 80))
        pictures.append(tmp_path / f"{kind.name}.png")
        sheet.save(pictures[-1])
    empty = tmp_path / "empty.png"
    Image.new("L", (640, 360), 180).save(empty)
    inputs = [
        item for picture in (empty, pictures[0], empty, pictures[1], empty)
        for item in ("-loop", "1", "-t", "2", "-r", "25", "-i", str(picture))
    ]  # fmt: skip
    path = tmp_path / "codes.mp4"
    graph = "".join(f"[{n}:v]" for n in range(5)) + "concat=n=5,format=yuv420p"
    subprocess.run([parts.FFMPEG, "-v", "error", "-y", *inputs, "-filter_complex", graph, str(path)], check=True)
    output = await controlled(served, path, items("QRCode", "BarCode"))
    assert found_in(output) == {"QRCode": [(2.0, 4.0)], "BarCode": [(6.0, 8.0)]}
    measured("codes, zxing", 2, 2, 0, "0.00 s")
    place = output["quality_control_result_set"][0]["quality_control_items"][0]["area_coord_set"]
    assert 290 < place[0] < place[2] < 550
    assert 70 < place[1] < place[3] < 260


async def test_what_nothing_detects_is_refused(workbench: Bench) -> None:
    """Not passed over in silence."""
    parts.make_clip(workbench.root / "a.mp4", seconds=1)
    for template, said in (
        (items("CrashScreen"), "nothing detects CrashScreen"),
        (items("Blur") | {"RecordFormat": "PNG"}, "RecordFormat"),
        (items("Blur") | {"Strategy": {"StrategyType": "TimeSpotCheck"}}, "Strategy"),
    ):
        workbench.template("quality_control", 50001, template)
        (result,) = (await workbench.run("a.mp4", AiQualityControlTask={"Definition": 50001})).results
        assert (result.status, result.code) == ("FAIL", "InvalidInput")
        assert said in result.message


# Detectors, without media.


def test_stretches() -> None:
    """One that is fine is passed over, two are not; what is too short does not count; the end is an end."""
    limits = detectors.Limits(50, 0.6)

    def found(severities: list[int]) -> list[tuple[float, float]]:
        samples = [(0.2 * n, float(severity), None) for n, severity in enumerate(severities)]
        return [(s.start, s.end) for s in detectors.stretches(samples, 0.2, limits)]

    assert found([]) == []
    assert found([60, 60]) == []
    assert found([60, 60, 60]) == [(0.0, 0.6)]
    assert found([0, 60, 0, 60, 60, 0, 0, 90, 90, 90]) == [(0.2, 1.0), (1.4, 2.0)]
    assert found([49] * 10) == []


def test_a_measure_that_is_no_number_is_nothing() -> None:
    """Of a picture without any edge ffmpeg's measures are not numbers."""
    look = Look(0.0, 16.0, 0.0, 0.0, 0.0, 0.0, 0.0, (0, 0, 1, 1))
    assert detectors.PICTURE["Mosaic"](look) == 0
    assert detectors.score(Findings(looks=(look,))) == 0  # it is black


@pytest.mark.parametrize("bars", ["smptehdbars", "smptebars", "pal75bars", "pal100bars"])
async def test_colour_bars(workbench: Bench, tmp_path: Path, bars: str, measured: Measured) -> None:
    """Of all the usual kinds, when they are there; a picture of many colours is none."""
    graph = f"testsrc2=size=640x360:rate=25:d=4[a];{bars}=size=640x360:rate=25:d=3[b];rgbtestsrc=size=640x360:d=3[c];"
    graph += "[a][b][c]concat=n=3,format=yuv420p,noise=alls=6"
    source = tmp_path / "bars.mp4"
    command = [parts.FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", graph, "-preset", "ultrafast", str(source)]
    subprocess.run(command, check=True)
    found = found_in(await controlled(workbench, source, items("ColorBars")))
    ((start, end),) = found["ColorBars"]
    measured(f"quality: {bars}", 1, 1, 0, f"{max(abs(start - 4), abs(end - 7)):.2f} s")
    assert abs(start - 4) <= 0.2
    assert abs(end - 7) <= 0.2


FAULTS = (
    "VideoDecodeFailed", "AudioDecodeFailed", "PtsJitter", "DtsJitter", "TimestampFallback", "PtsLessThanDts",
    "VideoDroppingFrames", "AudioDroppingFrames", "AVTimestampInterleave", "FpsJitter", "VideoFirstFrameNotIdr",
    "VideoResolutionChanged", "AudioSampleRateChanged", "AudioChannelsChanged", "VideoRotation",
)  # fmt: skip


async def diagnosed(bench: Bench, source: Path) -> dict[str, list[float]]:
    """The faults of the streams, each with its first and its last time."""
    (bench.root / source.name).write_bytes(source.read_bytes())
    items = [{"Type": kind} for kind in FAULTS]
    bench.template("quality_control", 70001, {"Name": "n", "QualityControlItemSet": items})
    (result,) = (await bench.run(source.name, AiQualityControlTask={"Definition": 70001})).results
    assert result.output is not None, result.message
    (part,) = result.output["parts"]
    found = part["output"]["container_diagnose_result_set"]
    return {item["type"]: [item["timestamp_set"][0], item["timestamp_set"][-1]] for item in found}


async def test_faults_of_the_streams(workbench: Bench, tmp_path: Path) -> None:
    """Each at its time, and nothing of a file that is fine."""

    def changed(name: str, *arguments: str) -> Path:
        path = tmp_path / name
        command = [parts.FFMPEG, "-v", "error", "-y", "-i", str(fine), *arguments, str(path)]
        subprocess.run(command, check=True)
        return path

    x264 = ("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "copy")
    fine = parts.make_clip(tmp_path / "fine.ts", "-g", "25", seconds=12)
    assert await diagnosed(workbench, fine) == {}
    assert await diagnosed(workbench, parts.make_clip(tmp_path / "b.mp4", "-bf", "2", seconds=6)) == {}
    data = bytearray(fine.read_bytes())
    chance = random.Random(1)
    half = len(data) // 2 // 188 * 188
    for place in range(half, half + 40 * 188):
        if place % 188 > 8:
            data[place] = chance.randrange(256)
    (tmp_path / "broken.ts").write_bytes(data)
    found = await diagnosed(workbench, tmp_path / "broken.ts")
    assert abs(found["VideoDecodeFailed"][0] - 6) < 0.3, found
    uneven = "setpts='PTS+if(between(N,100,150),0.016*mod(N,2)/TB,0)'"
    found = await diagnosed(
        workbench, changed("uneven.mkv", "-vf", uneven, "-fps_mode", "vfr", "-enc_time_base", "1:1000", *x264)
    )
    assert set(found) <= {"PtsJitter", "DtsJitter"}
    assert abs(found["PtsJitter"][0] - 4) < 0.1
    assert abs(found["PtsJitter"][1] - 6) < 0.1
    found = await diagnosed(
        workbench, changed("gap.mkv", "-vf", "select='not(between(n,100,112))'", "-fps_mode", "vfr", *x264)
    )
    assert set(found) == {"VideoDroppingFrames", "FpsJitter"}
    assert found["VideoDroppingFrames"] == pytest.approx([4, 4], abs=0.05)
    (tmp_path / "twice.ts").write_bytes(fine.read_bytes() * 2)
    found = await diagnosed(workbench, tmp_path / "twice.ts")
    assert found["TimestampFallback"][0] == pytest.approx(12, abs=0.1)
    found = await diagnosed(workbench, changed("open.ts", "-ss", "0.5", "-copyinkf", "-c", "copy"))
    assert set(found) == {"VideoFirstFrameNotIdr"}
    turned = tmp_path / "turned.mp4"
    command = [parts.FFMPEG, "-v", "error", "-y", "-display_rotation", "90", "-i", str(fine), "-c", "copy", str(turned)]
    subprocess.run(command, check=True)
    assert await diagnosed(workbench, turned) == {"VideoRotation": [0.0, 0.0]}
