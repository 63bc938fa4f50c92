"""How much of a picture an encode keeps: VMAF, SSIM and PSNR, and the search for the CRF that keeps enough.

Compared frame by frame, aligned by presentation time: a clip of variable frame rate scores as any other. A search
judges by the worst of its samples, because a mean hides the scene that falls apart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import MediaError
from watcher.media import filters, graph
from watcher.media.ffmpeg import FFmpeg
from watcher.media.render import Picture, Render, Window
from watcher.model.media_info import MediaInfo

SAMPLES = 4
SAMPLE_SECONDS = 3.0
SUBSAMPLE = 3
"""Every so many frames are scored in a report."""
TOLERANCE = 0.3
"""A search ends when it is this near to its aim, in points of VMAF."""
ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Score:
    """Means over the frames, and the VMAF that 95 % of them reach."""

    vmaf: float
    low: float
    ssim: float
    psnr: float


async def compare(
    ffmpeg: FFmpeg,
    encoded: Path,
    source: Path,
    media: MediaInfo,
    out: Path,
    *,
    window: Window,
    size: tuple[int, int],
    tone_map: bool = False,
    every: int = 1,
) -> Score:
    """Score an encode of ``window`` of the source against it, at the encode's size."""
    assert media.picture is not None  # noqa: S101
    log = "vmaf.json"
    (out / log).unlink(missing_ok=True)
    mapped = [*filters.TONE_MAP] if tone_map else []
    reference = ",".join([f"scale={size[0]}:{size[1]}:flags=bicubic", *mapped, "format=yuv420p", "settb=AVTB", _BEGIN])
    chain = (
        f"[1:{media.picture.index}]{reference}[r];[0:v:0]format=yuv420p,settb=AVTB,{_BEGIN}[e];"
        f"[e][r]libvmaf=log_fmt=json:log_path={log}:feature=name=float_ssim|name=psnr"
        f":n_subsample={every}:n_threads={max(1, ffmpeg.threads)}"
    )
    arguments = [*graph.start(), "-i", f"file:{encoded.relative_to(out)}", *_part(window), "-i", f"file:{source}"]
    arguments += ["-filter_complex", chain, "-an", "-f", "null", "-"]
    await ffmpeg.execute(arguments, source, out, length=window.length(media.duration))
    return _score(out / log)


_BEGIN = "setpts=PTS-STARTPTS"


def _part(window: Window) -> list[str]:
    arguments = graph.open_arguments(graph.OPEN_OPTIONS)
    if window.start:
        arguments += ["-ss", filters.seconds(window.start)]
    if window.end is not None:
        arguments += ["-t", filters.seconds(window.end - window.start)]
    return arguments


def _score(log: Path) -> Score:
    try:
        data = json.loads(log.read_text(encoding="utf-8"))
        frames = sorted(float(frame["metrics"]["vmaf"]) for frame in data["frames"])
        means = {name: float(value["mean"]) for name, value in data["pooled_metrics"].items()}
        return Score(means["vmaf"], frames[int(0.05 * len(frames))], means["float_ssim"], means["psnr_y"])
    except (OSError, ValueError, KeyError, IndexError):
        raise MediaError("InternalError", "the quality of an output can't be measured") from None


async def report(
    ffmpeg: FFmpeg, render: Render, encoded: Path, source: Path, media: MediaInfo, out: Path
) -> dict[str, float]:
    """The score of a finished output, in the words of the result."""
    picture = render.video
    assert isinstance(picture, Picture)  # noqa: S101  copies have no report
    size = (picture.size.width, picture.size.height)
    score = await compare(
        ffmpeg, encoded, source, media, out, window=render.window, size=size, tone_map=picture.tone_map, every=SUBSAMPLE
    )
    return {
        "vmaf": round(score.vmaf, 2),
        "vmaf_low": round(score.low, 2),
        "ssim": round(score.ssim, 5),
        "psnr": round(score.psnr, 2),
    }


@dataclass(frozen=True, slots=True)
class Search:
    """A quality that is aimed at: the ``vmaf`` that the worst sample has to reach, at ``size``.

    CRFs from ``lowest`` to ``highest`` are tried; ``encoder`` gives an encoder's arguments for one.
    """

    vmaf: float
    lowest: int
    highest: int
    size: tuple[int, int]
    encoder: Callable[[int], list[str]]


def samples(duration: float) -> list[Window]:
    """Parts of the source that stand for all of it: evenly spread, never the very beginning or end of a long one."""
    if duration <= SAMPLES * SAMPLE_SECONDS:
        return [Window()]
    step = duration / SAMPLES
    starts = [step * (index + 0.5) - SAMPLE_SECONDS / 2 for index in range(SAMPLES)]
    return [Window(round(start, 3), round(start + SAMPLE_SECONDS, 3)) for start in starts]


@dataclass(slots=True)
class CrfSearch:
    """The largest CRF that still reaches an aim, by interpolated bisection. Feed it scores, it asks for CRFs."""

    aim: float
    lowest: int
    highest: int
    known: dict[int, float]

    def ask(self) -> int | None:
        """The next CRF to try, or None when the search is over."""
        good = [crf for crf, score in self.known.items() if score >= self.aim]
        bad = [crf for crf, score in self.known.items() if score < self.aim]
        low, high = max(good, default=self.lowest - 1), min(bad, default=self.highest + 1)
        near = any(0 <= self.known[crf] - self.aim <= TOLERANCE for crf in good)
        if near or high - low <= 1 or len(self.known) >= ROUNDS:
            return None
        if good and bad:
            fraction = (self.known[low] - self.aim) / max(0.01, self.known[low] - self.known[high])
            return min(high - 1, max(low + 1, low + round(fraction * (high - low))))
        return min(high - 1, max(low + 1, (low + high) // 2))

    def tell(self, crf: int, score: float) -> None:
        """What a CRF scored."""
        self.known[crf] = score

    @property
    def best(self) -> int:
        """The largest CRF that reached the aim; the lowest tried when none did."""
        good = [crf for crf, score in self.known.items() if score >= self.aim]
        return max(good) if good else min(self.known, default=self.lowest)


async def find_crf(ffmpeg: FFmpeg, source: Path, media: MediaInfo, out: Path, wanted: Search) -> int:
    """The largest CRF at which the worst sample still reaches what is wanted."""
    search = CrfSearch(wanted.vmaf, wanted.lowest, wanted.highest, known={})
    parts = samples(media.duration)
    while (crf := search.ask()) is not None:
        encoder = wanted.encoder(crf)
        scores = [await _sample(ffmpeg, source, media, out, part, wanted.size, encoder) for part in parts]
        search.tell(crf, min(scores))
    return search.best


async def _sample(
    ffmpeg: FFmpeg,
    source: Path,
    media: MediaInfo,
    out: Path,
    part: Window,
    size: tuple[int, int],
    encoder: Sequence[str],
) -> float:
    assert media.picture is not None  # noqa: S101
    tone_map = media.picture.is_hdr
    chain = [f"scale={size[0]}:{size[1]}:flags=bicubic", *(filters.TONE_MAP if tone_map else ()), "format=yuv420p"]
    encoded = out / "sample.mkv"
    arguments = [*graph.start(), *_part(part), "-i", f"file:{source}", "-map", f"0:{media.picture.index}"]
    arguments += ["-vf", ",".join(chain), "-fps_mode", "passthrough", *encoder, "-threads:v", str(ffmpeg.threads)]
    await ffmpeg.execute([*arguments, "-y", f"file:{encoded.name}"], source, out, length=part.length(media.duration))
    score = await compare(ffmpeg, encoded, source, media, out, window=part, size=size, tone_map=tone_map)
    encoded.unlink()
    return score.vmaf if math.isfinite(score.vmaf) else 0.0
