"""From object event to task row: resolve the version, match, commit in groups, acknowledge.

The only rule of acknowledgement: commit, then acknowledge. Everything after the commit is driven by the state.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from watcher import log
from watcher.catalog import Catalog
from watcher.errors import TransientError, WatcherError
from watcher.model.listed import Listed, Merged
from watcher.model.objects import ObjectEvent, ObjectInfo, Part, Strange
from watcher.sources.base import Delivery, Source, Spool
from watcher.sources.s3_poll import S3PollSource
from watcher.state.leases import Lease
from watcher.state.ledger import Candidate, Tally
from watcher.state.meters import CatalogChangedError
from watcher.state.store import State
from watcher.state.unready import Unready
from watcher.storage.base import Storage
from watcher.together import is_set
from watcher.verifying import HEADS, Rules, Verified, Verifier

_log = log.get("dispatcher")

GROUP = 2000
"""Events that one commit takes at most."""
QUEUE = 64
"""Deliveries that wait for the commit at most; sources wait when there are more."""
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds before a source that broke is tried again."""
LOOK = 0.5
"""Seconds between two looks for objects that were not ready, where there are some."""
LOOK_IDLE = 5.0
LEASE = 60.0
"""Seconds for which one daemon does what only one should, before it says so again."""


@dataclass(slots=True)
class Counters:
    """What happened to object events since the start.

    ``received`` is the sum of what they came to: ``ignored``, ``settling``, ``quarantined``, ``released`` and the
    counts of ``tally``, but for what is on its way.
    """

    received: int = 0
    ignored: int = 0
    settling: int = 0
    released: int = 0
    quarantined: int = 0
    tally: Tally = field(default_factory=Tally)
    told: Counter[str] = field(default_factory=Counter)
    """New objects that a notification told of, by storage."""
    untold: Counter[str] = field(default_factory=Counter)
    """Those that only a listing told of."""
    delay: dict[str, float] = field(default_factory=dict)
    """Seconds between LastModified and commit of the newest one, by storage; by two clocks, so to look at only."""


class _Waiting:
    """Deliveries that wait for their commit. What just happened goes before what a listing found."""

    def __init__(self) -> None:
        self._live: deque[tuple[Delivery, Verified]] = deque()
        self._bulk: deque[tuple[Delivery, Verified]] = deque()
        self._changed = asyncio.Condition()

    async def put(self, delivery: Delivery, found: Verified) -> None:
        """Wait for room, then for the commit."""
        lane = self._bulk if delivery.bulk else self._live
        async with self._changed:
            await self._changed.wait_for(lambda: len(lane) < QUEUE)
            lane.append((delivery, found))
            self._changed.notify_all()

    async def group(self) -> list[tuple[Delivery, Verified]]:
        """Whatever is there, up to GROUP candidates; of a listing only where there is room."""
        taken: list[tuple[Delivery, Verified]] = []
        size = 0
        async with self._changed:
            await self._changed.wait_for(lambda: self._live or self._bulk)
            for lane in (self._live, self._bulk):
                while lane and (size < GROUP or not taken):
                    taken.append(lane.popleft())
                    size += len(taken[-1][1].candidates)
            self._changed.notify_all()
        return taken


class Dispatcher:
    """Takes deliveries from all sources; ``wake`` is called when new tasks were committed."""

    def __init__(
        self,
        state: State,
        storages: Mapping[str, Storage],
        wake: Callable[[], None],
        rules: Rules | None = None,
        owner: str = "",
    ) -> None:
        """``owner`` is what this daemon is called among those that share the state."""
        self._state = state
        self._owner = owner
        self.verifier = Verifier(state, storages, rules or Rules())
        self._wake = wake
        self._waiting = _Waiting()
        self._unready = asyncio.Event()
        self.catalog: Catalog | None = None
        self.refresh: Callable[[], Awaitable[None]] = _nothing_to_do
        """Reads the catalog again, when another daemon changed it."""
        self.counters = Counters()
        self.listening = asyncio.Event()
        """Set when each source listens, or was found to be unavailable."""
        self._sources: Sequence[Source] = ()
        self._silent: set[str] = set()
        self.troubles: dict[str, str] = {}
        """Why sources are unavailable now, by name."""
        self.progress = 0.0

    async def run(self, sources: Sequence[Source]) -> None:
        """Until cancelled."""
        self._sources = sources
        self._silent = {source.name for source in sources}
        self._all_listen()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._commit_groups(), name="commit")
            group.create_task(self._look_again(), name="unready objects")
            for source in sources:
                group.create_task(self._listen(source), name=f"source {source.name}")

    async def _listen(self, source: Source) -> None:
        """Take deliveries from one source; one that breaks is tried again after a pause, others go on."""
        failures = 0
        cursor = SourceMemory(self._state, source.name, self.in_force, self._owner, self.counters)
        while True:
            resolving: set[asyncio.Task[None]] = set()
            try:
                async with _closing(source.deliveries(cursor)) as deliveries:
                    async for delivery in deliveries:
                        failures = 0
                        self.troubles.pop(source.name, None)
                        self._heard_of(source)
                        await self._accept(delivery, resolving)
                return
            except WatcherError as error:
                pause = PAUSES[min(failures, len(PAUSES) - 1)]
                failures += 1
                self.troubles[source.name] = str(error)
                self._heard_of(source)
                _log.warning("source unavailable", source=source.name, error=str(error), again_in=pause)
            finally:  # what is not resolved by now was given back, and comes again
                for task in resolving:
                    task.cancel()
            await asyncio.sleep(pause)

    def _heard_of(self, source: Source) -> None:
        self._silent.discard(source.name)
        self._all_listen()

    def _all_listen(self) -> None:
        if not self._silent:
            self.listening.set()

    async def _accept(self, delivery: Delivery, resolving: set[asyncio.Task[None]]) -> None:
        """Deliveries that need questions to a storage don't hold up those that don't."""
        self.counters.received += len(delivery.events) + delivery.refused + len(delivery.strange)
        self.counters.ignored += delivery.refused
        self.progress = time.monotonic()
        for storage in delivery.sweep:
            self.sweep(storage)
        catalog = self.in_force()
        events = [event for event in delivery.events if _usable(event)]
        self.counters.ignored += len(delivery.events) - len(events)
        found = self.verifier.at_once(events, catalog)
        if found is not None:
            await self._waiting.put(delivery, found)
            return
        while len(resolving) >= HEADS:
            await asyncio.wait(resolving, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(self._resolve(delivery, events, catalog))
        resolving.add(task)
        task.add_done_callback(resolving.discard)

    def sweep(self, storage: str) -> None:
        """List a storage soon: something changed in it, and nobody can say what."""
        for source in self._sources:
            if isinstance(source, S3PollSource) and source.sweeps == storage:
                source.hurry()

    def sweeping(self) -> dict[str, int]:
        """How many keys were listed so far of what is being swept, by storage and prefix."""
        sweeps = [source for source in self._sources if isinstance(source, S3PollSource)]
        running = [(s.sweeps, s.spend.running, s.spend.listed) for s in sweeps]
        return {f"{storage}/{prefix}": listed for storage, prefix, listed in running if prefix is not None}

    def in_force(self) -> Catalog:
        """The workflows that are matched against."""
        assert self.catalog is not None, "the daemon sets it before it starts this"  # noqa: S101
        return self.catalog

    async def _resolve(self, delivery: Delivery, events: list[ObjectEvent], catalog: Catalog) -> None:
        """Ask the storage for the exact version of what matches and is not known yet."""
        try:
            found = await self.verifier.verify(events, catalog)
        except TransientError as error:
            self.counters.released += len(events) + len(delivery.strange)
            _log.warning("events released, a storage does not answer", error=str(error))
            await _quietly(delivery.release)
        else:
            await self._waiting.put(delivery, found)

    async def take(self, events: Sequence[ObjectEvent]) -> Tally:
        """Look at events and commit them, at once; raises TransientError when a storage does not answer.

        What is known is decided again: a person asked for it.
        """
        found = await self.verifier.verify(events, self.in_force(), again=True)
        return await self._intake(found.candidates, (), found.unready)

    async def _commit_groups(self) -> None:
        """Whatever arrived while the last group was being committed is the next group."""
        while True:
            await self._commit(await self._waiting.group())

    async def _commit(self, group: list[tuple[Delivery, Verified]]) -> None:
        candidates = [candidate for _, found in group for candidate in found.candidates]
        strange = [item for delivery, _ in group for item in delivery.strange]
        unready = [item for _, found in group for item in found.unready]
        try:
            if candidates or strange or unready:
                tally = await self._intake(candidates, strange, unready)
                self.counters.quarantined += len(strange)
                self._account(tally, [found for _, found in group])
            else:
                self._account(Tally(), [found for _, found in group])
        except TransientError as error:
            # The disk may be full: nothing is acknowledged, and receiving slows down to one try a second.
            self.counters.released += sum(len(delivery.events) + len(delivery.strange) for delivery, _ in group)
            _log.error("events can't be committed, nothing is acknowledged", error=str(error))
            await asyncio.gather(*(_quietly(delivery.release) for delivery, _ in group))
            await asyncio.sleep(1.0)
            return
        if unready:
            self._unready.set()
        await asyncio.gather(*(_quietly(delivery.acknowledge) for delivery, _ in group))
        self.progress = time.monotonic()

    async def _intake(
        self, candidates: Sequence[Candidate], strange: Sequence[Strange], unready: Sequence[Unready]
    ) -> Tally:
        """Commit; what was matched against workflows that another daemon changed is matched again."""
        while True:
            revision = self.in_force().revision
            try:
                return await self._state.ledger.intake(candidates, time.time(), strange, unready, revision=revision)
            except CatalogChangedError:
                await self.refresh()
                index = self.in_force().index
                candidates = [
                    replace(item, matches=tuple(index.match(item.info.storage, item.info.key))) for item in candidates
                ]

    def _account(self, tally: Tally, found: Sequence[Verified]) -> None:
        tasks, tally.tasks = tally.tasks, []
        for told, info in tally.fresh:
            (self.counters.told if told else self.counters.untold)[info.storage] += 1
            if told:
                self.counters.delay[info.storage] = max(0.0, time.time() - info.last_modified)
        tally.fresh = []
        for info in tally.endless:
            _log.error("a chain of workflows is too long, see `watcher quarantine list`", object=info.uri)
        tally.endless = []
        for item in found:
            tally.duplicate += item.duplicate
            tally.stale += item.stale
            self.counters.ignored += item.ignored
            self.counters.settling += sum(1 for unready in item.unready if unready.state == "SETTLING")
            self.counters.received += item.further
        self.counters.tally.add(tally)
        if tally.own_output:
            _log.debug("own outputs recognised", count=tally.own_output)
        if tasks:
            _log.debug("tasks committed", count=len(tasks), first=tasks[0])
            self._wake()

    async def _look_again(self) -> None:
        """Objects that could not be read are looked at again, until they can or are given up."""
        while True:
            due: float | None = None
            try:
                due = await self._state.unready.next_due(time.time())
                if due is not None and not await self.leads("unready"):
                    due = None  # another daemon looks
                if due is not None and due <= time.time():
                    await self._look_at_unready()
                    continue
            except WatcherError as error:
                _log.warning("objects that were not ready can't be looked at", error=str(error))
            if await is_set(self._unready, LOOK_IDLE if due is None else LOOK):
                self._unready.clear()

    async def leads(self, name: str) -> bool:
        """Whether this daemon is the one that does something for all that share the state."""
        if not self._state.database.shared:
            return True
        return await self._state.leases.take(name, self._owner, LEASE) is not None

    async def _look_at_unready(self) -> None:
        items = await self._state.unready.due(time.time())
        before = {(item.storage, item.key): item for item in items}
        events = [
            ObjectEvent(item.storage, item.key, item.source, version_id=item.version_id, mark=item.mark)
            for item in items
            if item.storage in self.verifier.storages
        ]
        try:
            found = await self.verifier.verify(events, self.in_force(), before)
        except TransientError:
            await asyncio.sleep(LOOK_IDLE)
            return
        tally = await self._intake(found.candidates, (), found.unready)
        still = {(item.storage, item.key) for item in found.unready}
        await self._state.unready.remove([item for place, item in before.items() if place not in still])
        self.counters.received += len(items)
        self._account(tally, [found])


class SourceMemory:
    """A source's view of the state: its own cursor, and what the ledger knows."""

    def __init__(
        self, state: State, source: str, catalog: Callable[[], Catalog], owner: str, counters: Counters | None = None
    ) -> None:
        """``counters`` count what is recorded without a delivery."""
        self._state = state
        self._source = source
        self._counters = counters or Counters()
        self._catalog = catalog
        self._owner = owner
        self._lease: Lease | None = None

    @property
    def spool(self) -> Spool:
        return self._state.spool.of(self._source, self._owner)

    async def load(self) -> str | None:
        return await self._state.cursors.load(self._source)

    async def save(self, cursor: str) -> None:
        await self._state.cursors.save(self._source, cursor, self._lease)

    async def recall(self, what: str) -> str | None:
        return await self._state.cursors.load(f"{self._source}#{what}")

    async def remember(self, what: str, text: str) -> None:
        await self._state.cursors.save(f"{self._source}#{what}", text, self._lease)

    async def unknown(self, infos: Sequence[ObjectInfo]) -> list[ObjectInfo]:
        return await self._state.ledger.unknown(infos)

    async def keys(self, storage: str, after: str, limit: int) -> list[str]:
        return await self._state.ledger.keys(storage, after, limit)

    async def merge(
        self, part: Part, listed: Listed, began: int, *, confirm: bool, baseline: int | None = None
    ) -> Merged:
        found = await self._state.ledger.merge(part, listed, began, confirm=confirm, baseline=baseline)
        self._counters.received += found.recorded
        self._counters.tally.existing += found.recorded
        return found

    async def lead(self, name: str) -> bool:
        if not self._state.database.shared:
            return True
        self._lease = await self._state.leases.take(name, self._owner, LEASE)
        return self._lease is not None

    def watched(self, storage: str) -> Mapping[str, float]:
        return self._catalog().watched(storage)


def _usable(event: ObjectEvent) -> bool:
    """Keys end up in databases, event bodies and file names: they have to be text."""
    try:
        event.key.encode("utf-8")
        if "\0" not in event.key:
            return True
    except UnicodeEncodeError:
        pass
    _log.warning(
        "a name that is not UTF-8 text is ignored; rename the object", object=repr(f"{event.storage}/{event.key}")
    )
    return False


@asynccontextmanager
async def _closing(deliveries: AsyncIterator[Delivery]) -> AsyncIterator[AsyncIterator[Delivery]]:
    """Have a source give back what it holds as soon as nobody listens, not when it is collected."""
    try:
        yield deliveries
    finally:
        if isinstance(deliveries, AsyncGenerator):
            await deliveries.aclose()


async def _nothing_to_do() -> None:
    return None


async def _quietly(action: Callable[[], Awaitable[None]]) -> None:
    """An acknowledgement that fails means that the event comes again, and is a duplicate then."""
    try:
        await action()
    except Exception as error:
        _log.warning("acknowledgement failed", error=str(error))
