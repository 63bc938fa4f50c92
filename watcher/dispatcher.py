"""From object event to task row: resolve the version, match, commit in groups, acknowledge.

The only rule of acknowledgement: commit, then acknowledge. Everything after the commit is driven by the state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from watcher import log
from watcher.catalog import Catalog
from watcher.errors import AccessRefused, ObjectNotFound, PermanentError, TransientError, WatcherError
from watcher.model.objects import MARKER, ObjectEvent, ObjectInfo, parse_lineage, version_digest
from watcher.sources.base import Delivery, Source
from watcher.state.ledger import Candidate, Tally
from watcher.state.store import State
from watcher.storage.base import Storage

_log = log.get("dispatcher")

GROUP = 2000
"""Events that one commit takes at most."""
QUEUE = 64
"""Deliveries that wait for the commit at most; sources wait when there are more."""
HEADS = 32
"""Requests for an object's version at once."""
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds before a source that broke is tried again."""


@dataclass(slots=True)
class Counters:
    """What happened to object events since the start."""

    received: int = 0
    ignored: int = 0
    gone: int = 0
    released: int = 0
    quarantined: int = 0
    tally: Tally = field(default_factory=Tally)


class Dispatcher:
    """Takes deliveries from all sources; ``wake`` is called when new tasks were committed."""

    def __init__(self, state: State, storages: Mapping[str, Storage], wake: Callable[[], None]) -> None:
        self._state = state
        self._storages = storages
        self._wake = wake
        self._queue: asyncio.Queue[tuple[Delivery, list[Candidate]]] = asyncio.Queue(QUEUE)
        self._heads = asyncio.Semaphore(HEADS)
        self.catalog: Catalog | None = None
        self.counters = Counters()
        self.listening = asyncio.Event()
        """Set when each source listens, or was found to be unavailable."""
        self._silent: set[str] = set()
        self.progress = 0.0

    async def run(self, sources: Sequence[Source]) -> None:
        """Until cancelled."""
        self._silent = {source.name for source in sources}
        self._all_listen()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._commit_groups(), name="commit")
            for source in sources:
                group.create_task(self._listen(source), name=f"source {source.name}")

    async def _listen(self, source: Source) -> None:
        """Take deliveries from one source; one that breaks is tried again after a pause, others go on."""
        failures = 0
        cursor = SourceMemory(self._state, source.name)
        while True:
            try:
                resolving: set[asyncio.Task[None]] = set()
                async for delivery in source.deliveries(cursor):
                    failures = 0
                    self._heard_of(source)
                    await self._accept(delivery, resolving)
                return
            except WatcherError as error:
                pause = PAUSES[min(failures, len(PAUSES) - 1)]
                failures += 1
                self._heard_of(source)
                _log.warning("source unavailable", source=source.name, error=str(error), again_in=pause)
            await asyncio.sleep(pause)

    def _heard_of(self, source: Source) -> None:
        self._silent.discard(source.name)
        self._all_listen()

    def _all_listen(self) -> None:
        if not self._silent:
            self.listening.set()

    async def _accept(self, delivery: Delivery, resolving: set[asyncio.Task[None]]) -> None:
        """Deliveries that need questions to a storage don't hold up those that don't."""
        self.counters.received += len(delivery.events)
        self.counters.ignored += delivery.refused
        self.progress = time.monotonic()
        catalog = self.catalog
        assert catalog is not None  # noqa: S101  the daemon sets it before it starts this
        events = [event for event in delivery.events if _usable(event)]
        self.counters.ignored += len(delivery.events) - len(events)
        if all(self._is_complete(event) for event in events):
            await self._queue.put((delivery, [self._candidate(event, catalog) for event in events]))
            return
        while len(resolving) >= HEADS:
            await asyncio.wait(resolving, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(self._resolve(delivery, events, catalog))
        resolving.add(task)
        task.add_done_callback(resolving.discard)

    def _is_complete(self, event: ObjectEvent) -> bool:
        storage = self._storages.get(event.storage)
        return event.info is not None and (event.existing or storage is None or storage.exact_listing)

    @staticmethod
    def _candidate(event: ObjectEvent, catalog: Catalog) -> Candidate:
        assert event.info is not None  # noqa: S101
        matches = tuple(catalog.index.match(event.storage, event.key))
        return Candidate(event.info, matches, existing=event.existing, notified=event.notified)

    async def _resolve(self, delivery: Delivery, events: list[ObjectEvent], catalog: Catalog) -> None:
        """Ask the storage for the exact version of what matches and is not known yet."""
        try:
            known = await self._state.ledger.known([version_digest(e.info) for e in events if e.info is not None])
            found = await asyncio.gather(*(self._look(event, catalog, known) for event in events))
        except TransientError as error:
            self.counters.released += len(events)
            _log.warning("events released, a storage does not answer", error=str(error))
            await _quietly(delivery.release)
            return
        await self._queue.put((delivery, [candidate for candidate in found if candidate is not None]))

    async def _look(self, event: ObjectEvent, catalog: Catalog, known: set[bytes]) -> Candidate | None:
        matches = tuple(catalog.index.match(event.storage, event.key))
        listed = version_digest(event.info) if event.info is not None else None
        if event.info is not None and (not matches or listed in known):
            return Candidate(event.info, matches, existing=event.existing)
        if not matches:
            self.counters.tally.unmatched += 1
            return None
        try:
            info = await self._head(event)
        except ObjectNotFound:
            self.counters.gone += 1
            return None
        except AccessRefused as error:
            # A key pair can be mended: the event has to be there when it is.
            raise TransientError(str(error)) from error
        except PermanentError as error:
            self.counters.ignored += 1
            _log.warning("object can't be looked at", object=f"{event.storage}/{event.key}", error=str(error))
            return None
        marker = (info.metadata or {}).get(MARKER)
        return Candidate(
            replace(info, metadata=None),
            matches,
            existing=event.existing,
            notified=event.notified or event.info is None,
            marker=parse_lineage(marker) if marker is not None else None,
            alias=listed,
        )

    async def take(self, events: Sequence[ObjectEvent]) -> Tally:
        """Look at events and commit them, at once; raises TransientError when a storage does not answer."""
        catalog = self.catalog
        assert catalog is not None  # noqa: S101
        found = await asyncio.gather(*(self._look(event, catalog, set()) for event in events))
        candidates = [candidate for candidate in found if candidate is not None]
        return await self._state.ledger.intake(candidates, time.time())

    async def _head(self, event: ObjectEvent) -> ObjectInfo:
        async with self._heads:
            return await self._storages[event.storage].head(event.key, event.version_id)

    async def _commit_groups(self) -> None:
        """Whatever arrived while the last group was being committed is the next group."""
        while True:
            group = [await self._queue.get()]
            size = len(group[0][1])
            while size < GROUP and not self._queue.empty():
                group.append(self._queue.get_nowait())
                size += len(group[-1][1])
            await self._commit([delivery for delivery, _ in group], [c for _, found in group for c in found])

    async def _commit(self, deliveries: list[Delivery], candidates: list[Candidate]) -> None:
        try:
            strange = [item for delivery in deliveries for item in delivery.strange]
            if candidates or strange:
                tally = await self._state.ledger.intake(candidates, time.time(), strange)
                self.counters.quarantined += len(strange)
                self._account(tally)
        except TransientError as error:
            # The disk may be full: nothing is acknowledged, and receiving slows down to one try a second.
            self.counters.released += len(candidates)
            _log.error("events can't be committed, nothing is acknowledged", error=str(error))
            await asyncio.gather(*(_quietly(delivery.release) for delivery in deliveries))
            await asyncio.sleep(1.0)
            return
        await asyncio.gather(*(_quietly(delivery.acknowledge) for delivery in deliveries))
        self.progress = time.monotonic()

    def _account(self, tally: Tally) -> None:
        tasks, tally.tasks = tally.tasks, []
        self.counters.tally.add(tally)
        if tally.own_output:
            _log.debug("own outputs recognised", count=tally.own_output)
        if tasks:
            _log.debug("tasks committed", count=len(tasks), first=tasks[0])
            self._wake()


class SourceMemory:
    """A source's view of the state: its own cursor, and what the ledger knows."""

    def __init__(self, state: State, source: str) -> None:
        self._state = state
        self._source = source

    async def load(self) -> str | None:
        return await self._state.cursors.load(self._source)

    async def save(self, cursor: str) -> None:
        await self._state.cursors.save(self._source, cursor)

    async def unknown(self, infos: Sequence[ObjectInfo]) -> list[ObjectInfo]:
        known = await self._state.ledger.known([version_digest(info) for info in infos])
        return [info for info in infos if version_digest(info) not in known]


def _usable(event: ObjectEvent) -> bool:
    """Keys end up in databases, event bodies and file names: they have to be text."""
    try:
        event.key.encode("utf-8")
    except UnicodeEncodeError:
        _log.warning(
            "a name that is not UTF-8 is ignored; rename the object", object=repr(f"{event.storage}/{event.key}")
        )
        return False
    return True


async def _quietly(action: Callable[[], Awaitable[None]]) -> None:
    """An acknowledgement that fails means that the event comes again, and is a duplicate then."""
    try:
        await action()
    except Exception as error:
        _log.warning("acknowledgement failed", error=str(error))
