"""A contained probe that is started before there is anything to probe: what remains to wait for is the probing.

Each process opens one file and ends, as hostile media wants it; the next one is started meanwhile. The file comes as an
open descriptor through a socket pair, so that the process needs no right to any path.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from watcher import log

_log = log.get("media")

Start = Callable[[int], Awaitable[asyncio.subprocess.Process]]
"""Starts a process that inherits a descriptor."""


@dataclass(frozen=True, slots=True)
class Spare:
    """A process that waits for its request, and our end of the socket pair."""

    process: asyncio.subprocess.Process
    connection: socket.socket

    def hand_over(self, descriptor: int) -> None:
        """Give it an open file."""
        socket.send_fds(self.connection, [b"f"], [descriptor])


class Spares:
    """At most one spare process."""

    def __init__(self) -> None:
        self._ready: Spare | None = None
        self._making: asyncio.Task[None] | None = None
        self._closed = False

    def take(self) -> Spare | None:
        """The spare process, if one is ready."""
        found, self._ready = self._ready, None
        if found is not None and found.process.returncode is not None:
            found.connection.close()
            return None
        return found

    def renew(self, start: Start) -> None:
        """Have another one made, unless there is one."""
        if self._ready is None and self._making is None and not self._closed:
            self._making = asyncio.create_task(self._make(start), name="spare probe")

    async def _make(self, start: Start) -> None:
        ours, theirs = socket.socketpair()
        try:
            process = await start(theirs.fileno())
        except OSError as error:
            _log.debug("no spare probe", error=str(error))
            ours.close()
        else:
            self._ready = Spare(process, ours)
        finally:
            theirs.close()
            self._making = None

    async def close(self) -> None:
        """End the spare process."""
        self._closed = True
        if self._making is not None:
            await asyncio.gather(self._making, return_exceptions=True)
        spare = self.take()
        if spare is not None:
            spare.connection.close()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(spare.process.pid, signal.SIGKILL)
            if spare.process.stdin is not None:
                spare.process.stdin.close()
            await spare.process.wait()
            for stream in (spare.process.stdout, spare.process.stderr):
                if stream is not None:
                    await stream.read()
