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
from watcher.media.assets import FOLDER
from watcher.media.containment import Containment, Limits
from watcher.media.render import Picture, Render
from watcher.model.media_info import MediaInfo

REQUIRED_ENCODERS = (
    "libx264", "libx265", "libsvtav1", "libvpx", "libvpx-vp9", "aac", "libmp3lame", "flac", "libopus", "libvorbis",
    "mjpeg", "png", "libwebp", "libwebp_anim", "gif", "mpeg2video", "dnxhd",
)  # fmt: skip
REQUIRED_FILTERS = (
    "scale", "fps", "tile", "select", "split", "pad", "overlay", "gblur", "trim", "tpad", "settb", "setsar", "concat",
    "zscale", "tonemap", "drawtext", "subtitles", "crop", "pixelize", "palettegen", "paletteuse", "loudnorm",
    "libvmaf", "showwavespic", "signalstats", "blurdetect", "blockdetect", "cropdetect", "metadata", "ebur128",
    "ametadata", "astats", "asetnsamples", "aresample",
)  # fmt: skip


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
    before: tuple[str, ...] = ()
    """Options in front of the inputs: those that an encoder in hardware needs."""

    async def run(
        self,
        renders: Sequence[Render],
        media: MediaInfo,
        source: Path,
        out: Path,
        on_progress: Callable[[float], None] | None = None,
        *,
        on_clock: bool = False,
    ) -> None:
        """Make the files of renders of one group, below ``out``; ``on_progress`` gets 0.0 … 1.0.

        ``on_clock`` keeps the source's own times: those of an excerpt. Raises MediaError when ffmpeg fails,
        TransientError when the disk is full.
        """
        for render in renders:
            # A run that failed before may have left pictures or segments that this one does not make.
            shutil.rmtree(out / render.name, ignore_errors=True)
            (out / render.name).mkdir(parents=True)
            if render.key is not None:
                _write_key(out / render.name, *render.key)
        length = renders[0].length(media)
        twice = any(isinstance(render.video, Picture) and render.video.two_pass for render in renders)
        passes: tuple[graph.Pass, ...] = (1, 2) if twice else (0,)
        for index, number in enumerate(passes):

            def part(fraction: float, index: int = index) -> None:
                if on_progress is not None:
                    on_progress((index + fraction) / len(passes))

            machine = graph.Machine(self.threads, (*self.before, *(("-copyts",) if on_clock else ())))
            arguments = graph.command(renders, media, str(source), ".", machine, number)
            await self.execute(arguments, source, out, length=length, on_progress=part)

    async def execute(
        self,
        arguments: list[str],
        source: Path,
        out: Path,
        *,
        length: float,
        on_progress: Callable[[float], None] | None = None,
    ) -> tuple[str, ...]:
        """One contained run in the folder ``out``, which it may write; returns the last lines it logged."""

        def on_line(line: str) -> bool:
            key, _, value = line.partition("=")
            if key != "out_time_us" or not value.lstrip("-").isdigit():
                return key in ("frame", "total_size", "progress")
            if on_progress is not None and length > 0:
                on_progress(max(0.0, min(1.0, int(value) / 1e6 / length)))
            return True

        read = [self.program, source]
        if (assets := out.parent / FOLDER).is_dir():
            read.append(assets)
        command = self.containment.wrap([str(self.program), *arguments], limits=self.limits, read=read, write=out)
        result = await process.run(
            command,
            on_line=_only_changes(on_line),
            timeout=self.timeout or max(1800.0, 60 * length),
            stall=self.stall,
            directory=out,
        )
        if result.status != 0:
            raise process.failure("ffmpeg", result, source=str(source))
        return result.errors


def _write_key(folder: Path, key: str, vector: str) -> None:
    """The files that the HLS muxer reads its key from; the address in them is ours, to be replaced later."""
    name = "main.key.ts"  # when the output is read back, keys of other extensions are refused
    (folder / name).write_bytes(bytes.fromhex(key))
    (folder / "main.keyinfo").write_text(f"{name}\n{folder.name}/{name}\n{vector}\n", encoding="ascii")


def _only_changes(on_line: Callable[[str], bool]) -> Callable[[str], bool]:
    """ffmpeg repeats its numbers while it hangs; only a number that changed is progress."""
    last: dict[str, str] = {}

    def changed(line: str) -> bool:
        key, _, value = line.partition("=")
        moved = last.get(key) != value
        last[key] = value
        return on_line(line) and moved

    return changed
