"""Running one contained child process: progress, stall and time limits, cancellation, a clear error."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watcher.errors import MediaError, TransientError

MAX_ERROR_LINES = 40


@dataclass(frozen=True, slots=True)
class Result:
    """How a process ended; ``errors`` are the last lines it wrote to standard error, made printable."""

    status: int
    errors: tuple[str, ...]


@dataclass(slots=True)
class _Child:
    """One process while it runs."""

    process: asyncio.subprocess.Process
    on_line: Callable[[str], bool]
    timeout: float
    stall: float
    started: float = field(default_factory=time.monotonic)
    last_progress: float = field(default_factory=time.monotonic)
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_ERROR_LINES))

    async def feed(self, data: bytes | None) -> None:
        """Write standard input, if there is any."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.process.stdin.write(data or b"")
                await self.process.stdin.drain()
            self.process.stdin.close()

    async def read_output(self) -> None:
        """Hand on each line of standard output."""
        async for line in _lines(self.process.stdout):
            if self.on_line(line):
                self.last_progress = time.monotonic()

    async def read_errors(self) -> None:
        """Keep the last lines of standard error."""
        async for line in _lines(self.process.stderr):
            self.errors.append(printable(line))

    async def watch(self) -> None:
        """Raise MediaError when it takes too long; otherwise never end."""
        while True:
            await asyncio.sleep(min(1.0, self.stall / 4))
            now = time.monotonic()
            if now - self.started > self.timeout:
                raise MediaError("InternalError", f"stopped after {self.timeout:.0f} s: the time limit of one unit")
            if now - self.last_progress > self.stall:
                raise MediaError("InternalError", f"stopped: no progress for {self.stall:.0f} s")


async def start(
    command: list[str],
    *,
    piped: bool,
    environment: dict[str, str] | None = None,
    directory: Path | None = None,
    descriptors: tuple[int, ...] = (),
) -> asyncio.subprocess.Process:
    """Start a command in a process group of its own, to be given to :func:`run`; ``piped`` if it has an input."""
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE if piped else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
        start_new_session=True,
        cwd=directory,
        pass_fds=descriptors,
        env={"PATH": os.defpath, "LANG": "C.UTF-8"} if environment is None else environment,
    )


async def run(
    command: list[str],
    *,
    on_line: Callable[[str], bool],
    timeout: float,
    stall: float,
    stdin: bytes | None = None,
    environment: dict[str, str] | None = None,
    directory: Path | None = None,
    descriptors: tuple[int, ...] = (),
    started: asyncio.subprocess.Process | None = None,
) -> Result:
    """Run a command in a process group of its own, or take over one that was ``started``.

    ``on_line`` gets each line of standard output and says whether it shows progress; without progress for
    ``stall`` seconds, or after ``timeout`` seconds in all, the group is killed and MediaError raised.
    Cancelling the caller kills the group too. ``descriptors`` are handed on to the command under their numbers.
    """
    process = started or await start(
        command, piped=stdin is not None, environment=environment, directory=directory, descriptors=descriptors
    )
    child = _Child(process, on_line, timeout, stall)
    watching = asyncio.ensure_future(child.watch())
    working = asyncio.gather(child.feed(stdin), child.read_output(), child.read_errors(), process.wait())
    both: set[asyncio.Future[Any]] = {watching, working}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        await working
    finally:
        watching.cancel()
        await _end(process)
        working.cancel()
        await asyncio.gather(*both, return_exceptions=True)
    return Result(process.returncode or 0, tuple(child.errors))


async def _lines(stream: asyncio.StreamReader | None) -> AsyncIterator[str]:
    """Lines without their end; one that is longer than the reader's buffer is cut rather than fatal."""
    while stream is not None:
        try:
            line = await stream.readline()
        except ValueError:
            continue
        if not line:
            return
        yield line.decode("utf-8", "replace").rstrip("\r\n")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of the group and wait for it; what was being written is thrown away anyway."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await asyncio.shield(process.wait())


def printable(line: str) -> str:
    """A line that can't play tricks with a terminal or a log: media can write into error messages."""
    return "".join(char if char.isprintable() else "�" for char in line)[:500]


def failure(what: str, result: Result, *, source: str = "") -> MediaError | TransientError:
    """The error that a failed process means."""
    text = " · ".join(result.errors[-3:]).replace(source, "the input") if source else " · ".join(result.errors[-3:])
    if "No space left on device" in text:
        return TransientError(f"{what}: no space left on the device of the work directory")
    number = -result.status if result.status < 0 else result.status - 128
    if number in set(signal.Signals):  # ffmpeg's own statuses go beyond 128 too
        name = signal.Signals(number).name
        reason = {
            "SIGXCPU": "the CPU time limit of one unit was reached",
            "SIGXFSZ": "the file size limit of one unit was reached",
            "SIGKILL": "killed, perhaps for lack of memory",
        }.get(name, f"ended by {name}")
        return MediaError("InternalError", f"{what}: {reason}{f' ({text})' if text else ''}")
    if any(hint in text for hint in _SOURCE_HINTS):
        return MediaError("SourceFileError", f"{what}: {text}")
    return MediaError("InternalError", f"{what}: {text or f'exit status {result.status}'}")


_SOURCE_HINTS = (
    "Invalid data found when processing input",
    "moov atom not found",
    "Error opening input",
    "End of file",
    "not on the whitelist",
    "not allowed",
)
