"""Intelligent tasks: how much faster than the film plays, each alone and all of them in one task."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

import nudenet

from tests import parts
from tests.benchmarks.figures import Figure
from tests.truth import CHINESE, LATIN, photographs, recordings
from tests.workbench import Bench
from watcher.media import containment
from watcher.media.inference import ModelProcess
from watcher.model.samples import KnownPerson, Person, Word

SECONDS = 60
ON = {"Switch": "ON"}
NETWORK = Path(nudenet.__file__).with_name("320n.onnx")
PROVIDERS: dict[str, Any] = {
    "text": "rapidocr", "speech": "pocketsphinx", "faces": "dlib", "nudity": "nudenet", "codes": "zxing",
    "cuts": "scenedetect", "objects": ("onnx", {"model": str(NETWORK), "classes": {1: "face", 12: "face"}}),
}  # fmt: skip
ALONE: dict[str, dict[str, Any]] = {
    "text": {"AiRecognitionTask": {"OcrFullTextConfigure": ON, "OcrWordsConfigure": ON}},
    "speech": {"AiRecognitionTask": {"AsrFullTextConfigure": ON, "AsrWordsConfigure": ON}},
    "faces": {"AiRecognitionTask": {"FaceConfigure": ON}},
    "objects": {"AiRecognitionTask": {"ObjectConfigure": ON}},
    "nudity": {"AiContentReviewTask": {"PornConfigure": {"ImgReviewInfo": ON}}},
    "codes": {"AiQualityControlTask": {"QualityControlItemSet": [{"Type": "QRCode"}]}},
    "quality": {"AiQualityControlTask": {"QualityControlItemSet": [{"Type": "Blur"}, {"Type": "NoVoice"}]}},
    "diagnosis": {
        "AiQualityControlTask": {"QualityControlItemSet": [{"Type": "PtsJitter"}, {"Type": "VideoDecodeFailed"}]}
    },
    "splitting": {"AiAnalysisTask": {"SegmentConfigure": ON}},
    "highlights": {"AiAnalysisTask": {"HighlightConfigure": ON}},
    "opening": {"AiAnalysisTask": {"HeadTailConfigure": ON}},
    "cover": {"AiAnalysisTask": {"CoverConfigure": ON}},
}
TOGETHER: dict[str, Any] = {
    "AiRecognitionTask": {
        member: configure
        for name in ("text", "speech", "faces", "objects")
        for member, configure in ALONE[name]["AiRecognitionTask"].items()
    },
    "AiAnalysisTask": {
        member: configure
        for name in ("splitting", "highlights", "opening", "cover")
        for member, configure in ALONE[name]["AiAnalysisTask"].items()
    },
    "AiContentReviewTask": {
        "PornConfigure": {"ImgReviewInfo": ON, "OcrReviewInfo": ON, "AsrReviewInfo": ON},
    },
    "AiQualityControlTask": {
        "QualityControlItemSet": [{"Type": t} for t in ("QRCode", "Blur", "NoVoice", "PtsJitter", "VideoDecodeFailed")]
    },
}
FAMILIES = {
    "AiRecognitionTask": "ai_recognition", "AiContentReviewTask": "content_review",
    "AiQualityControlTask": "quality_control", "AiAnalysisTask": "ai_analysis",
}  # fmt: skip


def _film(path: Path) -> Path:
    """A minute of 720p in which everything moves, with two titles and somebody who reads."""
    titles = ",".join(
        f"drawtext=fontfile={font}:text='{text}':fontsize=44:fontcolor=white:x=80:y={y}"
        for font, text, y in ((LATIN, "Breaking news", 80), (CHINESE, "晚间新闻", 600))
    )
    read = [item for speech in recordings() for item in ("-i", str(speech.file))]
    voices = "".join(f"[{n}:a]" for n in range(1, len(recordings()) + 1))
    graph = f"[0:v]{titles}[v];{voices}concat=n={len(recordings())}:v=0:a=1,aloop=-1:size=2e6[a]"
    command = [parts.FFMPEG, "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", "mandelbrot=size=1280x720:rate=25"]
    command += [
        *read,
        "-filter_complex",
        graph,
        "-map",
        "[v]",
        "-map",
        "[a]",
        "-t",
        str(SECONDS),
        "-pix_fmt",
        "yuv420p",
    ]
    subprocess.run([*command, "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", str(path)], check=True)
    return path


async def _run(root: Path) -> list[Figure]:
    bench = Bench(root / "bucket", await containment.detect("auto"))
    bench.serve(readable=[NETWORK.parent], **PROVIDERS)
    face = (photographs(root) / "obama.jpg").read_bytes()
    bench.persons = [KnownPerson(Person("p", "p", "", ("Recognition.Face",), ()), (("f", face),))]
    bench.words = [Word("news", ("Recognition.Ocr", "Review.Ocr", "Review.Asr", "Recognition.Asr"), ())]
    film = _film(bench.root / "film.mp4")
    short = bench.root / "short.mp4"
    subprocess.run(
        [parts.FFMPEG, "-v", "error", "-y", "-i", str(film), "-t", "2", "-c", "copy", str(short)], check=True
    )

    async def seconds(key: str, wanted: dict[str, Any]) -> float:
        tasks: dict[str, Any] = {}
        for number, (member, template) in enumerate(wanted.items(), 50001):
            bench.template(FAMILIES[member], number, {"Name": "n", **template})
            tasks[member] = {"Definition": number}
        started = time.perf_counter()
        outcome = await bench.run(key, **tasks)
        assert all(result.status == "SUCCESS" for result in outcome.results), outcome.results
        return time.perf_counter() - started

    try:
        await seconds("short.mp4", TOGETHER)  # loads the models
        alone = {name: await seconds("film.mp4", wanted) for name, wanted in ALONE.items()}
        together = await seconds("film.mp4", TOGETHER)
        memory = {name: _memory(process) for name, process in bench.worker.models.processes.items()}
    finally:
        await bench.worker.models.close()
    figures = [
        Figure(f"{name} of {SECONDS} s of 720p", f"{took:.1f} s, {SECONDS / took:.1f} × real time")
        for name, took in alone.items()
    ]
    figures.append(Figure("all of them in one task", f"{together:.1f} s, {SECONDS / together:.1f} × real time"))
    figures += [Figure(f"largest memory of the process for {name}", f"{mib:.0f} MiB") for name, mib in memory.items()]
    figures.append(Figure("memory of all of them", f"{sum(memory.values()):.0f} MiB"))
    ratio = together / sum(alone.values())
    figures.append(Figure("all of them / the sum of each alone", f"{ratio:.2f}", "< 0.7", ratio < 0.7))
    return figures


def _memory(process: ModelProcess) -> float:
    """The most that the process and what it started had resident, in MiB."""
    child = process._process
    waiting, most = [child.pid] if child is not None else [], 0.0
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        waiting += [int(pid) for pid in (folder / f"task/{folder.name}/children").read_text().split()]
        lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        most += int(lines["VmHWM"].split()[0]) / 1024
    return most


def run(root: Path) -> list[Figure]:
    """Each capability alone, and all of them in one task, with the models loaded."""
    return asyncio.run(_run(root))
