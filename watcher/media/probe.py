"""Facts about media files, from a contained child process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from watcher import log
from watcher.errors import MediaError
from watcher.media import process
from watcher.media.containment import Containment, Limits, module_folder, python_paths
from watcher.media.excerpt import Excerpt, Wish
from watcher.media.graph import DEMUXERS, MAX_PIXELS, MAX_STREAMS, OPEN_OPTIONS
from watcher.media.ranges import Ranges
from watcher.media.spare import Spare, Spares
from watcher.model.media_info import AudioStream, MediaInfo, VideoStream

_log = log.get("media")

_CHILD = Path(__file__).with_name("media_child.py")
_NAMES = {
    "primaries": {1: "bt709", 5: "bt470bg", 6: "smpte170m", 9: "bt2020", 12: "smpte432"},
    "space": {0: "gbr", 1: "bt709", 5: "bt470bg", 6: "smpte170m", 9: "bt2020nc", 10: "bt2020c"},
    "transfer": {1: "bt709", 4: "gamma22", 6: "smpte170m", 13: "iec61966-2-1", 14: "bt2020-10", 16: "smpte2084",
                 18: "arib-std-b67"},
}  # fmt: skip
"""Names of the code points of ITU-T H.273, as ffprobe prints them; what is not here is left empty."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Opens media with PyAV in child processes; ``timeout`` is in seconds, for one call."""

    containment: Containment
    limits: Limits
    timeout: float = 120.0
    spares: Spares | None = None
    """Where the next process is kept ready; None: each is started when it is needed."""

    async def source(self, source: Path | Ranges, demuxers: str = DEMUXERS) -> MediaInfo:
        """What an input holds; raises MediaError ``SourceFileError`` when it can't be opened as media.

        Of ranges, only as much is read as is needed.
        """
        options = OPEN_OPTIONS | {"format_whitelist": demuxers}
        spare = self.spares.take() if self.spares is not None and isinstance(source, Path) else None
        if spare is not None and isinstance(source, Path):
            return await self._by_spare(spare, source, options)
        self.prepare()
        async with _opened(source) as (item, readable, descriptor):
            request = {"files": [item | {"count": False}], "options": options}
            (answer,) = await self._call(request, readable, descriptor, None, 1)
        return _usable(_decode(answer, source if isinstance(source, Path) else None))

    def prepare(self) -> None:
        """Have a process made ready for the next source."""
        if self.spares is not None:
            self.spares.renew(self._start)

    async def _start(self, descriptor: int) -> asyncio.subprocess.Process:
        command = self._command([], None, str(descriptor))
        return await process.start(command, piped=True, environment=_environment(), descriptors=(descriptor,))

    async def _by_spare(self, spare: Spare, source: Path, options: dict[str, str]) -> MediaInfo:
        try:
            file = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = os.fstat(file).st_size
                spare.hand_over(file)
            finally:
                os.close(file)
            item = {"name": source.name, "size": size, "count": False}
            (answer,) = await self._call({"files": [item], "options": options}, [], None, None, 1, spare.process)
        finally:
            spare.connection.close()
            self.prepare()
        return _usable(_decode(answer, source))

    async def excerpt(
        self, wish: Wish, source: Path | Ranges, media: MediaInfo, output: Path, *, keys: bool = False
    ) -> Excerpt | None:
        """Write what is wished for into ``output``; None when that is not worth it, or not possible."""
        request = wish.request(output, media.container, keys=keys)
        async with _opened(source) as (item, readable, descriptor):
            call = {"excerpt": request | item, "options": OPEN_OPTIONS}
            (answer,) = await self._call(call, readable, descriptor, output.parent, 1)
        if "packets" in answer:
            return Excerpt(output, float(answer["begin"]))
        _log.debug("everything is read", reason=answer.get("unsuitable") or answer.get("error"))
        output.unlink(missing_ok=True)
        return None

    async def join(self, paths: list[Path], output: Path) -> tuple[list[int], float]:
        """Put chunks together; how many frames each had, and when the first is shown. Raises MediaError."""
        call = {"join": {"paths": [str(path) for path in paths], "output": str(output)}}
        (answer,) = await self._call(call, [path.parent for path in paths], None, output.parent, 1)
        if "error" in answer:
            raise MediaError("InternalError", f"chunks can't be joined: {answer['error']}")
        return list(answer["counts"]), float(answer["first"])

    async def outputs(self, paths: Sequence[Path], directory: Path) -> list[MediaInfo | str]:
        """What we wrote, every packet counted; a text in place of facts says why a file can't be read."""
        if not paths:
            return []
        request = {"files": [{"path": str(path), "count": True} for path in paths], "options": {}}
        answers = await self._call(request, [directory], None, None, len(paths))
        return [_decode(answer, path) for answer, path in zip(answers, paths, strict=True)]

    async def ask(
        self, program: Path, request: dict[str, Any], readable: list[Path], *, timeout: float
    ) -> dict[str, Any]:
        """One answer of another program like the child."""
        call = replace(self, timeout=timeout, spares=None)
        (answer,) = await call._call(request, readable, None, None, 1, program=program)
        return answer

    def _command(self, readable: list[Path], write: Path | None, *arguments: str, program: Path = _CHILD) -> list[str]:
        return self.containment.wrap(
            [sys.executable, "-I", str(program), *arguments],
            limits=self.limits,
            read=[*python_paths("av"), program, *readable],
            write=write,
        )

    async def _call(
        self,
        request: dict[str, Any],
        readable: list[Path],
        descriptor: int | None,
        write: Path | None,
        expected: int,
        started: asyncio.subprocess.Process | None = None,
        program: Path = _CHILD,
    ) -> list[dict[str, Any]]:
        """One run of the child; ``expected`` answers, errors in place of those that did not come."""
        answers: list[dict[str, Any]] = []

        def on_line(line: str) -> bool:
            try:
                answer = json.loads(line)
            except ValueError:
                answer = None
            answers.append(answer if isinstance(answer, dict) else {"error": "the probe answered nonsense"})
            return True

        result = await process.run(
            self._command(readable, write, program=program),
            on_line=on_line,
            timeout=self.timeout,
            stall=self.timeout,
            stdin=json.dumps(request).encode(),
            descriptors=() if descriptor is None else (descriptor,),
            environment=_environment(),
            started=started,
        )
        missing = expected - len(answers)
        if missing > 0:
            reason = result.errors[-1] if result.errors else f"exit status {result.status}"
            answers += [{"error": f"the probe ended early ({reason})"}] * missing
        return answers[:expected]


def _environment() -> dict[str, str]:
    return {"WATCHER_PROBE_PATH": json.dumps([str(module_folder("av"))]), "PATH": os.defpath, "LANG": "C.UTF-8"}


@contextlib.asynccontextmanager
async def _opened(source: Path | Ranges) -> AsyncIterator[tuple[dict[str, Any], list[Path], int | None]]:
    """How a request names a source, which files the child may read for it, and which descriptor it gets."""
    if isinstance(source, Path):
        yield {"path": str(source)}, [source], None
        return
    async with source.served() as descriptor:
        yield {"fd": descriptor, "size": source.size}, [], descriptor
    if source.error is not None:
        raise source.error


def _usable(found: MediaInfo | str) -> MediaInfo:
    """An input that can be worked on, or the contract's error."""
    if isinstance(found, str):
        raise MediaError("SourceFileError", f"the source can't be opened as media: {found}")
    if len(found.video) + len(found.audio) + found.other_streams >= MAX_STREAMS:
        # The demuxer stops there, so that nobody knows how many there are.
        raise MediaError("SourceFileError", f"the source has {MAX_STREAMS} streams or more")
    if any(stream.width * stream.height > MAX_PIXELS for stream in found.video):
        raise MediaError("SourceFileError", f"the source has a picture of more than {MAX_PIXELS} pixels")
    if not found.video and not found.audio:
        raise MediaError("SourceFileError", "the source has neither a video nor an audio stream")
    return found


def _decode(facts: dict[str, Any], path: Path | None) -> MediaInfo | str:
    try:
        if "error" not in facts:
            return _media_info(facts)
        return str(facts["error"]).replace(str(path), "the file") if path is not None else str(facts["error"])
    except (ValueError, KeyError, TypeError) as error:
        return f"the probe answered nonsense: {error}"


def _media_info(facts: dict[str, Any]) -> MediaInfo:
    duration = float(facts["duration"])
    return MediaInfo(
        container=str(facts["container"]),
        duration=duration
        or max((float(stream["duration"]) for stream in facts["video"] + facts["audio"]), default=0.0),
        bitrate=int(facts["bitrate"]),
        size=int(facts["size"]),
        video=tuple(_video(stream) for stream in facts["video"]),
        audio=tuple(_audio(stream) for stream in facts["audio"]),
        other_streams=int(facts["other"]),
    )


def _video(stream: dict[str, Any]) -> VideoStream:
    turned = stream["rotate"] % 180 == 90
    width, height = int(stream["width"]), int(stream["height"])
    numerator, denominator = stream["fps"]
    shape = Fraction(stream["sar"][0] or 1, stream["sar"][1] or 1)
    primaries, space, transfer = stream["color"]
    return VideoStream(
        index=int(stream["index"]),
        codec=str(stream["codec"]),
        width=height if turned else width,
        height=width if turned else height,
        fps=Fraction(numerator, denominator or 1),
        bitrate=int(stream["bitrate"]),
        duration=float(stream["duration"]),
        pixel_format=str(stream["pixel_format"]),
        bit_depth=int(stream["bit_depth"]),
        rotate=int(stream["rotate"]) % 360,
        frames=int(stream["frames"]),
        color_primaries=_NAMES["primaries"].get(primaries, ""),
        color_space=_NAMES["space"].get(space, ""),
        color_transfer=_NAMES["transfer"].get(transfer, ""),
        profile=str(stream["profile"]),
        level=int(stream["level"]),
        attached_picture=bool(stream["picture"]),
        sar=1 / shape if turned else shape,
        start=float(stream["start"]),
    )


def _audio(stream: dict[str, Any]) -> AudioStream:
    return AudioStream(
        index=int(stream["index"]),
        codec=str(stream["codec"]),
        sample_rate=int(stream["sample_rate"]),
        channels=int(stream["channels"]),
        bitrate=int(stream["bitrate"]),
        duration=float(stream["duration"]),
        profile=str(stream["profile"]),
        language=str(stream["language"]),
    )
