"""Processes that models live in: started when something is to be found, ended when nothing was for a while.

Each configured provider has at most one. Requests to it wait for each other; a process that crashes fails the request
it was at, and the next request starts another.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from watcher import log
from watcher.errors import MediaError
from watcher.media import process
from watcher.media.containment import Containment, Limits, python_paths

_log = log.get("inference")

LOAD = 120.0
"""Seconds that a model may take until it has found the first thing."""


class _RefusedError(Exception):
    """The provider answered that it can't."""


class ModelProcess:
    """One provider's process. ``readable`` are the folders it may read: those of the work and of its own model."""

    def __init__(
        self,
        provider: str,
        options: str,
        containment: Containment,
        limits: Limits,
        readable: list[Path],
        *,
        network: bool = False,
        idle: float = 300.0,
        stall: float = 120.0,
    ) -> None:
        """``provider`` is its type, ``options`` are its options as JSON; ``idle`` and ``stall`` are in seconds."""
        self.provider = provider
        self._options = options
        self._containment = containment
        self._limits = limits
        self._readable = readable
        self._network = network
        self._idle = idle
        self._stall = stall
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._errors: deque[str] = deque(maxlen=20)
        self._reading: asyncio.Task[None] | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.returncode is None

    async def ask(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        """All that was found. Raises MediaError when the provider says no, is too slow, or crashes."""
        async with self._lock:
            if self._ending is not None:
                self._ending.cancel()
            try:
                return [found async for found in self._found(request)]
            except _RefusedError as error:  # it is ready for the next request
                raise MediaError("InternalError", f"{self.provider}: {error}") from None
            except BaseException:
                # What it would still answer belongs to nobody.
                await asyncio.shield(self._end())
                raise
            finally:
                self._ending = asyncio.get_running_loop().call_later(self._idle, self._end_idle)

    async def _found(self, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        child = await self._started()
        assert child.stdin is not None  # noqa: S101  it is piped
        assert child.stdout is not None  # noqa: S101
        with contextlib.suppress(ConnectionError):  # then its output has ended too
            child.stdin.write(json.dumps(request).encode() + b"\n")
            await child.stdin.drain()
        patience = LOAD
        while True:
            try:
                async with asyncio.timeout(max(patience, self._stall)):
                    line = await child.stdout.readline()
            except (TimeoutError, ValueError):
                message = f"{self.provider}: stopped: no answer for {max(patience, self._stall):.0f} s"
                raise MediaError("InternalError", message) from None
            if not line:
                raise await self._crashed(child)
            answer = json.loads(line)
            if "error" in answer:
                raise _RefusedError(process.printable(str(answer["error"])))
            if "done" in answer:
                return
            yield answer["found"]
            patience = 0.0

    async def _crashed(self, child: asyncio.subprocess.Process) -> MediaError:
        status = await child.wait()
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=1)
        failed = process.failure(self.provider, process.Result(status, tuple(self._errors)))
        return failed if isinstance(failed, MediaError) else MediaError("InternalError", str(failed))

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is not None and self.running:
            return self._process
        await self._end()
        self._errors.clear()
        # Libraries want a home; the sandbox is entered without an environment.
        command = self._containment.wrap(
            ["/usr/bin/env", "HOME=/tmp", sys.executable, "-m", "watcher.inference._child", self.provider],
            limits=self._limits,
            read=[*python_paths("watcher", "pydantic"), *self._readable],
            write=None,
            network=self._network,
        )
        self._process = await process.start(command, piped=True)
        self._reading = asyncio.create_task(self._read_errors(self._process), name=f"{self.provider} errors")
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.write(self._options.encode() + b"\n")
        _log.debug("model process started", provider=self.provider)
        return self._process

    async def _read_errors(self, child: asyncio.subprocess.Process) -> None:
        assert child.stderr is not None  # noqa: S101
        while True:
            try:
                line = await child.stderr.readline()
            except ValueError:  # longer than the buffer
                continue
            if not line:
                return
            self._errors.append(process.printable(line.decode("utf-8", "replace").strip()))

    def _end_idle(self) -> None:
        if not self._lock.locked():
            self._closing = asyncio.create_task(self.close(), name=f"{self.provider} idle")

    async def close(self) -> None:
        """End its process, and give back what the model took."""
        if self._ending is not None:
            self._ending.cancel()
        async with self._lock:
            await self._end()

    async def _end(self) -> None:
        child, self._process = self._process, None
        if child is None:
            return
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        if child.stdin is not None:
            child.stdin.close()
        await child.wait()
        if child.stdout is not None:
            with contextlib.suppress(ValueError):
                await child.stdout.read()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
