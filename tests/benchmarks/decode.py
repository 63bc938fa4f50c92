"""N renditions, a sprite and snapshots: in one decode by us, by N processes, by the best command written by hand."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests import parts
from tests.benchmarks.figures import Figure, paired_ratio
from watcher.catalog import preset_directory
from watcher.media import containment, ffmpeg, graph
from watcher.media.containment import Limits
from watcher.media.ffmpeg import FFmpeg
from watcher.media.probe import Probe
from watcher.media.render import Render
from watcher.media.workdir import WorkRoot
from watcher.model.inputs import MediaProcessTask
from watcher.model.media_info import MediaInfo
from watcher.model.objects import ObjectInfo
from watcher.model.unit import PlannedStep, Unit
from watcher.mps import files, wire
from watcher.steps._encoders import EncoderOptions
from watcher.storage import local
from watcher.worker import Worker, make_step

ROUNDS = 5
SECONDS = 20
TASK = {
    "TranscodeTaskSet": [{"Definition": number} for number in (100010, 100020, 100030, 100040)],
    "SnapshotByTimeOffsetTaskSet": [{"Definition": 10, "ExtTimeOffsetSet": ["1s", "25%", "50%", "75%"]}],
    "SampleSnapshotTaskSet": [{"Definition": 10}],
    "ImageSpriteTaskSet": [{"Definition": 10}],
}
BY_HAND = (
    "[0:v]split=4[r][sp][sa][sn];[r]fps=25,scale=1920:1080,split=2[v1080][x1];[x1]scale=1280:720,split=2[v720][x2];"
    "[x2]scale=960:540,split=2[v540][x3];[x3]scale=640:360[v360];[sp]fps=1/10:round=up,scale=142:80,tile=10x10[sprite];"
    f"[sa]fps=10/{SECONDS}:round=up[sample];"
    "[sn]select='gt(1,prev_t)*lte(1,t)+gt(5,prev_t)*lte(5,t)+gt(10,prev_t)*lte(10,t)+gt(15,prev_t)*lte(15,t)'[snap]"
)


class _Registry:
    """Hears everything and keeps nothing."""

    def progress(self, *_: object) -> None:
        pass

    async def changed(self, *_: object) -> None:
        pass

    async def intend(self, objects: list[tuple[str, str]], task_id: str, lineage: tuple[int, ...]) -> None:
        pass

    async def written(self, info: ObjectInfo) -> None:
        pass


def by_hand(source: Path, out: Path) -> list[str]:
    """What an expert would type: the same outputs, the same encoder settings, one thread an encoder."""
    command = [parts.FFMPEG, "-nostdin", "-v", "error", "-y", "-i", str(source), "-filter_complex", BY_HAND]
    for size, rate, sound in ((360, 400, 64), (540, 1000, 64), (720, 1800, 128), (1080, 2500, 128)):
        command += ["-map", f"[v{size}]", "-map", "0:a", "-c:v", "libx264", "-preset", "veryfast", "-b:v", f"{rate}k"]
        command += [
            "-threads:v",
            "1",
            "-pix_fmt",
            "yuv420p",
            "-c:a",
            "aac",
            "-b:a",
            f"{sound}k",
            "-ar",
            "44100",
            "-ac",
            "2",
        ]
        command += ["-movflags", "+faststart", str(out / f"{size}.mp4")]
    for name in ("sprite", "sample", "snap"):
        command += ["-map", f"[{name}]", "-fps_mode", "passthrough", "-q:v", "3", str(out / f"{name}%d.jpg")]
    return command


async def _prepare(root: Path) -> tuple[Worker, Unit, MediaInfo, list[Render], FFmpeg]:
    contained = await containment.detect()
    limits = Limits(8 * 2**30, 3600, 2**36)
    storage = local.LocalStorage("b", local.Options(root=root / "bucket"))
    work = WorkRoot(root / "work")
    work.prepare()
    probe = Probe(contained, limits)
    runner = FFmpeg(ffmpeg.locate(None), contained, limits, threads=2)
    worker = Worker({"b": storage}, work, probe, runner, EncoderOptions())
    templates, _ = files.load_templates([preset_directory()])
    steps = wire.decode(MediaProcessTask, TASK).steps
    planned = tuple(PlannedStep(s, templates[s.kind, s.definition], "b", {}, "/out/") for s in steps)
    info = await storage.head("clip.mp4")
    media = await probe.source(storage.root / "clip.mp4")
    renders = [r for n, p in enumerate(planned) for r in make_step(n, p, info.key, EncoderOptions()).renders(media)]
    return worker, Unit("bench", info, planned, (1,)), media, renders, runner


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def run(root: Path) -> list[Figure]:
    """Alternate the contestants, so that a noisy machine disturbs all of them alike."""
    source = parts.make_clip(root / "bucket" / "clip.mp4", "-g", "50", seconds=SECONDS, size="1920x1080", rate=30)
    worker, unit, media, renders, runner = asyncio.run(_prepare(root))
    merged = [runner.program, *graph.command(renders, media, str(source), ".", threads=2)]
    single = [[runner.program, *graph.command([r], media, str(source), ".", threads=2)] for r in renders]
    out = root / "out"
    for render in renders:
        (out / render.name).mkdir(parents=True)

    def call(command: list[object]) -> None:
        subprocess.run([str(item) for item in command], check=True, cwd=out, stdout=subprocess.DEVNULL)

    ours: list[float] = []
    hand: list[float] = []
    apart: list[float] = []
    whole: list[float] = []
    for _ in range(ROUNDS):
        hand.append(_timed(lambda: call(list(by_hand(source, out)))))
        ours.append(_timed(lambda: call(list(merged))))
        apart.append(_timed(lambda: [call(list(command)) for command in single]))
        whole.append(_timed(lambda: asyncio.run(worker.perform(unit, _Registry(), _Registry()))))
    count = len(renders)
    against_hand = paired_ratio(ours, hand)
    return [
        Figure(
            f"{count} outputs in one decode / best command by hand",
            f"{against_hand:.3f}",
            "≤ 1.05",
            against_hand <= 1.05,
        ),
        Figure(f"{count} outputs in one decode / {count} processes", f"{paired_ratio(ours, apart):.3f}"),
        Figure(
            "the whole unit (probe, encode, check, publish) / best command by hand", f"{paired_ratio(whole, hand):.3f}"
        ),
        Figure("one decode, wall", f"{statistics.median(ours):.2f} s for {SECONDS} s of 1080p"),
    ]
