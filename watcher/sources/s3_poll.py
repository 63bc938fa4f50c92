"""Listing sweeps: the source that finds everything, sooner or later.

Each sweep lists all keys below the prefixes. There is no cursor to lose objects by: the ledger tells what is
new. The first sweep over a bucket records what is there without starting anything, unless told otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from watcher import log, plugin
from watcher.model.objects import ObjectEvent, ObjectInfo
from watcher.plugin import Seconds
from watcher.sources.base import Bucket, Cursor, Delivery, Outstanding, Source

_log = log.get("s3_poll")


class Options(plugin.Options):
    """Lists a bucket again and again."""

    storage: str
    """The storage whose bucket is listed."""
    prefixes: tuple[str, ...] = ("",)
    """Only keys that start with one of these."""
    interval: Annotated[Seconds, Field(gt=0)] = 60.0
    """Pause between two sweeps, e.g. ``30s``, ``5m``."""
    existing: Literal["ignore", "process"] = "ignore"
    """What to do with objects that the first sweep finds."""


class S3PollSource(Source):
    """See the module."""

    def __init__(self, name: str, options: Options, storages: Mapping[str, Bucket]) -> None:
        self.name = name
        self._options = options
        self._storage = storages[options.storage]

    async def deliveries(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        """A delivery per page of the listing; a sweep waits until its last page is committed."""
        yield Delivery(())
        first = await cursor.load() is None
        while True:
            baseline = first and self._options.existing == "ignore"
            listed = 0
            outstanding = Outstanding()
            for prefix in self._options.prefixes:
                async for page in self._storage.list(prefix):
                    events = tuple(self._event(info, baseline) for info in page if not info.key.endswith("/"))
                    listed += len(events)
                    yield outstanding.delivery(events)
            complete = await outstanding.settled()
            if first and complete:
                await cursor.save("swept")
                first = False
                if baseline and listed:
                    _log.info("first sweep", source=self.name, existing=listed, note="they start nothing")
            await asyncio.sleep(self._options.interval)

    def _event(self, info: ObjectInfo, baseline: bool) -> ObjectEvent:
        return ObjectEvent(info.storage, info.key, self.name, info=info, existing=baseline)

    async def check(self) -> None:
        await self._storage.check()
