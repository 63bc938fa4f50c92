"""The ffmpeg program: where it is, what it can do, and one run of it over a group of renders."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import ConfigurationError, Problem
from watcher.media import graph, process
from watcher.media.containment import Containment, Limits
from watcher.media.render import Render
from watcher.model.media_info import MediaInfo

REQUIRED_ENCODERS = ("libx264", "libx265", "aac", "libmp3lame", "flac", "libopus", "mjpeg", "png", "libwebp")
REQUIRED_FILTERS = (
    "scale",
    "fps",
    "tile",
    "select",
    "split",
    "pad",
    "overlay",
    "gblur",
    "trim",
    "tpad",
    "settb",
    "setsar",
)


def locate(configured: str | None) -> Path:
    """The ffmpeg named in the settings, else the one that imageio-ffmpeg brings along."""
    if configured:
        path = Path(configured)
        if not os.access(path, os.X_OK):
            raise ConfigurationError([Problem("media.ffmpeg", f"{path} is not a program")])
        return path
    import imageio_ffmpeg  # noqa: PLC0415  only needed when no program is named

    return Path(str(imageio_ffmpeg.get_ffmpeg_exe()))  # type: ignore[no-untyped-call,attr-defined]


async def _listing(program: Path, what: str) -> str:
    child = await asyncio.create_subprocess_exec(
        str(program), "-hide_banner", f"-{what}",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    output, _ = await child.communicate()
    return output.decode("utf-8", "replace")


async def capabilities(program: Path) -> tuple[str, list[str]]:
    """The version, and what this project needs but the program lacks."""
    version, encoders, filters = await asyncio.gather(
        *(_listing(program, w) for w in ("version", "encoders", "filters"))
    )
    have_encoders = {line.split()[1] for line in encoders.splitlines() if len(line.split()) > 1}
    have_filters = {line.split()[1] for line in filters.splitlines() if len(line.split()) > 1}
    missing = [f"encoder {name}" for name in REQUIRED_ENCODERS if name not in have_encoders]
    missing += [f"filter {name}" for name in REQUIRED_FILTERS if name not in have_filters]
    first = version.partition("\n")[0].split()
    return first[2] if len(first) > 2 else "unknown", missing


@dataclass(frozen=True, slots=True)
class FFmpeg:
    """Runs groups of renders under one containment. ``stall`` is in seconds."""

    program: Path
    containment: Containment
    limits: Limits
    threads: int
    timeout: float | None = None
    stall: float = 120.0

    async def run(
        self,
        renders: Sequence[Render],
        media: MediaInfo,
        source: Path,
        out: Path,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Make the files of renders that share a window, below ``out``; ``on_progress`` gets 0.0 … 1.0.

        Raises MediaError when ffmpeg fails, TransientError when the disk is full.
        """
        for render in renders:
            # A run that failed before may have left pictures or segments that this one does not make.
            shutil.rmtree(out / render.name, ignore_errors=True)
            (out / render.name).mkdir(parents=True)
        length = renders[0].window.length(media.duration)

        def on_line(line: str) -> bool:
            key, _, value = line.partition("=")
            if key != "out_time_us" or not value.lstrip("-").isdigit():
                return key in ("frame", "total_size", "progress")
            if on_progress is not None and length > 0:
                on_progress(max(0.0, min(1.0, int(value) / 1e6 / length)))
            return True

        arguments = graph.command(renders, media, str(source), ".", threads=self.threads)
        command = self.containment.wrap(
            [str(self.program), *arguments], limits=self.limits, read=[self.program, source], write=out
        )
        result = await process.run(
            command,
            on_line=_only_changes(on_line),
            timeout=self.timeout or max(1800.0, 60 * length),
            stall=self.stall,
            directory=out,
        )
        if result.status != 0:
            raise process.failure("ffmpeg", result, source=str(source))


def _only_changes(on_line: Callable[[str], bool]) -> Callable[[str], bool]:
    """ffmpeg repeats its numbers while it hangs; only a number that changed is progress."""
    last: dict[str, str] = {}

    def changed(line: str) -> bool:
        key, _, value = line.partition("=")
        moved = last.get(key) != value
        last[key] = value
        return on_line(line) and moved

    return changed
