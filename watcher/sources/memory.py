"""Object events from a queue in memory: for tests and for trying things out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from watcher import plugin
from watcher.model.objects import ObjectEvent
from watcher.sources.base import Bucket, Cursor, Delivery, Source


class Options(plugin.Options):
    """Events are put in by whoever holds the object."""


class MemorySource(Source):
    """See the module. ``acknowledged`` and ``released`` hold what became of the events."""

    def __init__(self, name: str, options: Options, storages: Mapping[str, Bucket]) -> None:
        self.name = name
        self.acknowledged: list[ObjectEvent] = []
        self.released: list[ObjectEvent] = []
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()

    def put(self, *events: ObjectEvent) -> None:
        """Deliver these events, in one delivery."""

        async def acknowledge() -> None:
            self.acknowledged.extend(events)

        async def release() -> None:
            self.released.extend(events)

        self._queue.put_nowait(Delivery(events, acknowledge, release))

    async def deliveries(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        yield Delivery(())
        while True:
            yield await self._queue.get()
