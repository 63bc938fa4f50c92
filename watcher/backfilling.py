"""Starts what was there before: the objects of a prefix, page by page, for as long as not too many of them wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from watcher import log
from watcher.catalog import Catalog
from watcher.errors import PermanentError, WatcherError
from watcher.model.objects import ObjectEvent, ObjectInfo
from watcher.state.backfills import Backfill
from watcher.state.store import State
from watcher.storage.base import Page, Storage
from watcher.verifying import Verified, Verifier

_log = log.get("backfill")

MOST_WAITING = 2000
"""Tasks of backfills that may wait before the next page is looked at: the queue does not grow with the bucket."""
IDLE = 2.0


class Backfiller:
    """See the module. ``wake`` is called when tasks were committed."""

    def __init__(
        self,
        state: State,
        storages: Mapping[str, Storage],
        verifier: Verifier,
        catalog: Callable[[], Catalog],
        wake: Callable[[], None],
        leads: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._state = state
        self._storages = storages
        self._verifier = verifier
        self._catalog = catalog
        self._wake = wake
        self._leads = leads

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                for wanted in await self._state.backfills.open():
                    if await self._leads("backfill"):
                        await self.perform(wanted)
            except WatcherError as error:
                _log.warning("a backfill waits", error=str(error))
            await asyncio.sleep(IDLE)

    async def perform(self, wanted: Backfill, *, bounded: bool = True) -> Backfill:
        """One of them to its end, from where it was; raises TransientError when it has to wait for something."""
        storage = self._storages.get(wanted.storage)
        if storage is None:
            await self._state.backfills.end(wanted, f"there is no storage {wanted.storage!r} any more")
            return wanted
        try:
            async for page in storage.pages(wanted.prefix, wanted.position):
                if bounded:
                    await self._room()
                wanted = await self._page(wanted, page)
        except PermanentError as error:
            await self._state.backfills.end(wanted, str(error))
            _log.error("a backfill can't go on", storage=wanted.storage, prefix=wanted.prefix, error=str(error))
            return wanted
        await self._state.backfills.end(wanted)
        _log.info(
            "backfill done", storage=wanted.storage, prefix=wanted.prefix, listed=wanted.listed, tasks=wanted.made
        )
        return wanted

    async def _room(self) -> None:
        while await self._state.backfills.waiting(MOST_WAITING) >= MOST_WAITING:  # noqa: ASYNC110  it is in a database
            await asyncio.sleep(IDLE)

    async def _page(self, wanted: Backfill, page: Page) -> Backfill:
        catalog = self._catalog()
        chosen = [info for info in page.infos if _within(info, wanted) and self._matches(catalog, wanted, info)]
        exact = self._storages[wanted.storage].exact_listing
        events = [
            ObjectEvent(info.storage, info.key, "backfill", info=info if exact else None, notified=True)
            for info in chosen
        ]
        found = Verified()
        if events:
            found = self._verifier.at_once(events, catalog) or await self._verifier.verify(events, catalog)
        candidates = [
            replace(
                candidate,
                again=True,
                matches=tuple(m for m in candidate.matches if wanted.workflow_id in (0, m.workflow_id)),
            )
            for candidate in found.candidates
        ]
        # Where keys come in no order there is no position: what was interrupted begins anew then, and doubles nothing.
        position = page.last if self._storages[wanted.storage].ordered_listing else ""
        after = await self._state.backfills.advance(wanted, candidates, position, len(page.infos))
        if after.made > wanted.made:
            self._wake()
        return after

    @staticmethod
    def _matches(catalog: Catalog, wanted: Backfill, info: ObjectInfo) -> bool:
        return any(wanted.workflow_id in (0, m.workflow_id) for m in catalog.index.match(info.storage, info.key))


def _within(info: ObjectInfo, wanted: Backfill) -> bool:
    return (wanted.since is None or info.last_modified >= wanted.since) and (
        wanted.until is None or info.last_modified < wanted.until
    )
