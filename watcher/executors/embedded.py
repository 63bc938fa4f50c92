"""Units run as bounded child processes of the daemon."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from pydantic import Field

from watcher import plugin
from watcher.errors import MediaError
from watcher.executors.base import Executor
from watcher.plugin import Bytes, Seconds

T = TypeVar("T")


class Options(plugin.Options):
    """Runs ffmpeg on this machine."""

    slots: Annotated[int, Field(ge=0, le=1024)] = max(1, (os.cpu_count() or 1) // 4)
    """How many units run at once; 0 accepts tasks but starts none. Each unit uses its share of the processors."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """Encoder threads of one unit; 0 divides the processors among the slots."""
    memory: Annotated[Bytes, Field(ge=256 * 1024 * 1024)] = 8 * 1024**3
    """Address space that one process may use, e.g. ``8GiB``."""
    output_size: Annotated[Bytes, Field(ge=1024 * 1024)] = 256 * 1024**3
    """Largest file that one process may write."""
    cpu_time: Annotated[Seconds, Field(gt=0)] = 7 * 86_400.0
    """CPU time of one process."""
    timeout: Annotated[Seconds, Field(gt=0)] | None = None
    """How long one unit may take; unset: 30 minutes, or sixty times the length of the media if that is longer."""
    stall: Annotated[Seconds, Field(gt=0)] = 120.0
    """A process without progress for so long is ended."""

    @property
    def threads_per_unit(self) -> int:
        """Encoder threads of one unit."""
        return self.threads or max(1, (os.cpu_count() or 1) // max(1, self.slots))


class EmbeddedExecutor(Executor):
    """See the module."""

    def __init__(self, options: Options) -> None:
        self.slots = options.slots
        self._timeout = options.timeout
        self._free = asyncio.Semaphore(max(1, options.slots))

    async def run(self, unit_id: str, work: Callable[[], Awaitable[T]]) -> T:
        async with self._free:
            try:
                async with asyncio.timeout(self._timeout) as limit:
                    return await work()
            except TimeoutError:
                if limit.expired():
                    raise MediaError("InternalError", f"{unit_id}: stopped after {self._timeout:.0f} s") from None
                raise
