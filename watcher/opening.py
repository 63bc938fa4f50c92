"""The source of a unit: as much of it on this machine as is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from watcher.errors import AccessRefused, MediaError, ObjectNotFound, ObjectSuperseded, PermanentError
from watcher.media.graph import DEMUXERS
from watcher.media.probe import Probe
from watcher.media.ranges import Ranges
from watcher.model.media_info import MediaInfo
from watcher.model.objects import ObjectInfo
from watcher.storage.base import Storage

WORTH_RANGES = 8 * 1024 * 1024
"""Bytes from which on a far object is read in parts, where parts may do."""


def _nobody(fraction: float) -> None:
    pass


@dataclass(slots=True)
class Opening:
    """One version of an object; ``path`` is where all of it will be once :meth:`fetch` was called.

    ``on_fetched`` hears which part of it has come, from 0 to 1.
    """

    storage: Storage
    source: ObjectInfo
    probe: Probe
    path: Path
    on_fetched: Callable[[float], None] = _nobody
    demuxers: str = DEMUXERS
    """What it may be."""
    ranges: Ranges | None = field(default=None, init=False)
    """How parts of it are read, where that does."""
    _fetched: bool = field(default=False, init=False)

    @property
    def size(self) -> int:
        """Bytes, also where the storage did not say how many."""
        return self.source.size if self.source.size >= 0 else self.path.stat().st_size

    async def probed(self, *, parts: bool) -> MediaInfo:
        """What it is; ``parts`` says that it need not be here as a whole. MediaError means that it is of no use."""
        if self.source.size == 0:
            raise MediaError("SourceFileError", "the source object is empty (0 bytes)")
        if parts and self.storage.far and self.source.size >= WORTH_RANGES:
            self.ranges = Ranges(self.source.size, partial(self.storage.read, self.source))
            try:
                return await self.probe.source(self.ranges, self.demuxers)
            except MediaError:
                # What a probe says of a file that it has all of is to be believed.
                self.ranges = None
        await self.fetch()
        return await self.probe.source(self.path, self.demuxers)

    async def fetch(self) -> None:
        """Have all of it here, once."""
        moved = 0

        def on_bytes(count: int) -> None:
            nonlocal moved
            moved += count
            if self.source.size > 0:
                self.on_fetched(min(1.0, moved / self.source.size))

        if self._fetched:
            return
        try:
            await self.storage.fetch(self.source, self.path, on_bytes)
        except (ObjectSuperseded, ObjectNotFound):
            raise
        except AccessRefused as error:
            raise MediaError("SourceFileError", f"the source can't be read: {error}") from None
        except PermanentError as error:
            raise MediaError("SourceFileError", str(error)) from None
        self._fetched = True
