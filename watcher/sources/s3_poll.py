"""Listing sweeps: the source that finds everything, sooner or later.

A sweep lists all keys below the prefixes and merges them with the ledger, which lies in the same order: what is new
is told of, what is not there any more is noted, and about the rest nothing is written. There is no cursor to lose
objects by. The first sweep over a prefix records what is there without starting anything, unless told otherwise.

Between two sweeps a fast lane asks for keys behind the largest one, less a few. It finds new names soon where they
grow; it never stands for the sweep.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from operator import lt
from typing import Annotated, Literal

from pydantic import Field

from watcher import log, plugin
from watcher.errors import TransientError, WatcherError
from watcher.model.listed import Listed, Merged
from watcher.model.objects import ObjectEvent, ObjectInfo, Part, key_bytes, key_text
from watcher.plugin import Seconds
from watcher.sources._page_memory import PageMemory, Same
from watcher.sources._sweep_state import PrefixState, Range, SweepState
from watcher.sources.base import Bucket, Cursor, Delivery, Outstanding, Page, Source, is_doubtful
from watcher.together import is_set

_log = log.get("s3_poll")

MONTH = 30 * 86_400.0
LOOK_BACK = 100
"""Keys before the largest one that the fast lane lists again."""
BATCH = 250
"""Objects of one delivery: what the event loop takes in one go."""
SAVE_EVERY = 25
"""Pages after which a range notes how far it is."""
PAGES = "pages"
"""What the memory of pages is kept as."""
LEAD = 15.0
"""Seconds after which a sweep makes sure that no other daemon took over."""
IDLE = 5.0
"""Seconds between two looks whether there is something to watch."""


class Options(plugin.Options):
    """Lists a bucket again and again."""

    storage: str
    """The storage whose bucket is listed."""
    prefixes: tuple[str, ...] = ("",)
    """Only keys that start with one of these; an empty list: what enabled workflows watch."""
    interval: Annotated[Seconds, Field(gt=0)] = 60.0
    """Pause between two sweeps, e.g. ``30s``, ``5m``; longer where ``requests_per_month`` asks for it."""
    requests_per_month: Annotated[int, Field(ge=0)] = 10_000_000
    """LIST requests that may be made in a month; sweeps of large buckets become rarer for it. 0: no limit."""
    ranges: Annotated[int, Field(ge=1, le=64)] = 8
    """How many ranges of keys are listed at once."""
    fast: bool = True
    """Whether the end of the listing is looked at between two sweeps, each ``interval``."""
    existing: Literal["ignore", "process"] = "ignore"
    """What to do with objects that the first sweep finds."""


@dataclass(slots=True)
class Spend:
    """What a source did, for the metrics."""

    requests: int = 0
    listed: int = 0
    sweeps: int = 0
    keys: int = 0
    missing: int = 0
    seconds: float = 0.0
    held: bool = False
    finished: float = 0.0
    running: str | None = None
    """The prefix that is being swept."""


async def _committed(outstanding: Outstanding) -> None:
    if not await outstanding.settled():
        raise TransientError("what a sweep found could not be committed")


class _Unordered(Exception):  # noqa: N818  not an error: a way out of a range
    """Keys do not come in order, so that there is nothing to merge."""


class S3PollSource(Source):
    """See the module."""

    def __init__(self, name: str, options: Options, storages: Mapping[str, Bucket]) -> None:
        self.name = name
        self.sweeps = options.storage
        self.spend = Spend()
        self._options = options
        self._storage = storages[options.storage]
        self._hurry = asyncio.Event()
        self._tails: dict[str, deque[str]] = {}
        """The last keys of each prefix, for the fast lane; none where keys don't come in order."""
        self.memory = PageMemory()

    def hurry(self) -> None:
        """Sweep now: something changed, and nobody can say what."""
        self._hurry.set()

    async def check(self) -> None:
        await self._storage.check()

    async def deliveries(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        """A delivery per page with something new; a sweep waits until its last page is committed."""
        state = SweepState.load(await cursor.load())
        if not state.since:
            state.since = time.time()
            await cursor.save(state.dump())
        self.memory.load(await cursor.recall(PAGES))
        yield Delivery(())
        while True:
            if not await cursor.lead(f"sweep/{self.sweeps}"):
                await asyncio.sleep(min(IDLE, self._options.interval))
                state = SweepState.load(await cursor.load())
                continue
            watched = self._watched(cursor, state.since)
            if self._hurry.is_set():
                self._hurry.clear()
                for prefix in watched:
                    state.of(prefix).finished = 0.0
            for prefix, since in watched.items():
                if not state.of(prefix).is_due(time.time(), self._pause(state.of(prefix))):
                    continue
                async for delivery in self._sweep(prefix, since, state, cursor):
                    yield delivery
            async for delivery in self._until_next(state, cursor, watched):
                yield delivery

    def _watched(self, cursor: Cursor, began: float) -> dict[str, float]:
        """The prefixes to list, each with the time since when it is watched."""
        if self._options.prefixes:
            return dict.fromkeys(self._options.prefixes, began)
        return dict(cursor.watched(self.sweeps))

    def _pause(self, state: PrefixState) -> float:
        """Seconds between the ends of two sweeps of a prefix: what the budget allows, three quarters of it."""
        budget = self._options.requests_per_month
        if not budget:
            return self._options.interval
        return max(self._options.interval, MONTH * state.pages / (budget * 0.75))

    async def _until_next(
        self, state: SweepState, cursor: Cursor, watched: Mapping[str, float]
    ) -> AsyncIterator[Delivery]:
        """Wait for the next sweep; what the fast lane finds meanwhile."""
        budget = self._options.requests_per_month
        lanes = [prefix for prefix in watched if self._options.fast and self._tails.get(prefix)]
        look = max(self._options.interval, MONTH * len(lanes) / (budget * 0.25)) if budget else self._options.interval
        while True:
            now = time.time()
            due = [state.of(prefix).due(self._pause(state.of(prefix))) for prefix in watched]
            wait = min(
                [*(moment - now for moment in due), look if lanes else MONTH, MONTH if self._options.prefixes else IDLE]
            )
            if await is_set(self._hurry, wait):
                return
            if not due or time.time() >= min(due) or not lanes:
                return
            for prefix in lanes:
                async for delivery in self._look_behind(prefix, state, cursor):
                    yield delivery

    async def _look_behind(self, prefix: str, state: SweepState, cursor: Cursor) -> AsyncIterator[Delivery]:
        tail = self._tails[prefix]
        async for page in self._storage.pages(prefix, tail[0] if len(tail) > 1 else ""):
            self.spend.requests += 1
            state.count(time.time())
            fresh = await cursor.unknown(_files(page.infos))
            last = key_bytes(tail[-1])
            tail.extend(key_text(key) for key in page.infos.keys if key > last)
            if fresh:
                yield Delivery(tuple(self.event(info, None) for info in fresh))

    async def _sweep(self, prefix: str, since: float, state: SweepState, cursor: Cursor) -> AsyncIterator[Delivery]:
        sweep = _Sweep(self, self._storage, prefix, since, state, cursor)
        async for delivery in sweep.run():
            yield delivery

    def event(self, info: ObjectInfo, baseline: int | None) -> ObjectEvent:
        """``baseline`` is the time before which objects count as there before; None where none do."""
        existing = baseline is not None and info.last_modified < baseline
        return ObjectEvent(info.storage, info.key, self.name, info=info if info.etag else None, existing=existing)

    @property
    def options(self) -> Options:
        """How it is set."""
        return self._options

    def keep_tail(self, prefix: str, keys: Sequence[str] | None) -> None:
        """Where the fast lane begins; None where keys don't come in order, a single one where the end is as it was."""
        if keys is None:
            self._tails.pop(prefix, None)
        elif len(keys) > 1 or prefix not in self._tails:
            self._tails[prefix] = deque(keys, maxlen=LOOK_BACK)


class _Sweep:
    """One sweep of one prefix, in ranges of keys that are listed side by side."""

    def __init__(
        self, source: S3PollSource, storage: Bucket, prefix: str, since: float, state: SweepState, cursor: Cursor
    ) -> None:
        self._source = source
        self._storage = storage
        self._prefix = prefix
        self._since = since
        self._state = state
        self._of = state.of(prefix)
        self._cursor = cursor
        self._found: asyncio.Queue[Delivery | None] = asyncio.Queue(2 * source.options.ranges)
        self._listed = self._missing = self._told = 0
        self._lasts: list[str] = []
        self._tail: deque[str] = deque(maxlen=LOOK_BACK)
        self._ordered = True
        self._led = time.monotonic()

    async def run(self) -> AsyncIterator[Delivery]:
        """Its deliveries. A sweep that breaks begins again where its ranges were."""
        started = time.monotonic()
        self._of.begin(time.time(), self._source.options.ranges)
        self._source.spend.running, self._source.spend.listed = self._prefix, 0
        lister = asyncio.create_task(self._list(), name=f"{self._source.name} sweep")
        try:
            while (delivery := await self._next(lister)) is not None:
                yield delivery
            await lister
        except WatcherError:
            await self._save()
            raise
        finally:
            lister.cancel()
            await asyncio.gather(lister, return_exceptions=True)
            self._source.spend.running = None
        await self._end(time.monotonic() - started)

    async def _next(self, lister: asyncio.Task[None]) -> Delivery | None:
        """The next delivery; None when the listing has ended, well or not."""
        getter = asyncio.ensure_future(self._found.get())
        await asyncio.wait({getter, lister}, return_when=asyncio.FIRST_COMPLETED)
        if getter.done():
            return getter.result()
        getter.cancel()
        return None if self._found.empty() else self._found.get_nowait()

    async def _list(self) -> None:
        try:
            try:
                async with asyncio.TaskGroup() as group:
                    for keys in self._of.ranges:
                        group.create_task(self._range(keys))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
        except _Unordered:
            _log.info(
                "keys are not listed in order: no fast lane, and what is gone is not noticed", prefix=self._prefix
            )
            self._ordered = False
            await self._list_unordered()

    async def _range(self, keys: Range) -> None:
        """List and merge from ``keys.position``, which moves on, up to ``keys.last``."""
        if keys.done:
            return  # before the sweep was interrupted
        after, last = keys.position, keys.last
        pages, ended = 0, False
        outstanding = Outstanding()

        def expected(after: str) -> tuple[bytes, str] | None:
            same = self._source.memory.find(self._prefix, after, last)
            return (same.digest, same.last) if same is not None else None

        async for page in _ahead(self._storage.pages(self._prefix, after, expected, last)):
            await self._count(page.time)
            ended = last is not None and page.last >= last
            after = await self._page(page, after, last, outstanding)
            pages += 1
            self._lasts.append(after)
            if ended:
                break
            if pages % SAVE_EVERY == 0:
                await _committed(outstanding)
                keys.position = after
                await self._save()
        if not ended:
            await self._merge(after, last, Listed(), outstanding)
        await _committed(outstanding)
        keys.position, keys.done = after, True

    async def _page(self, page: Page, after: str, last: str | None, outstanding: Outstanding) -> str:
        """Merge the page behind ``after``, cut at ``last``; returns the key behind which the next one begins."""
        listed, until = page.infos, page.last or after
        if not _in_order(key_bytes(after), listed.keys):
            raise _Unordered
        if last is not None and page.last > last:
            listed, until = listed[: bisect_right(listed.keys, key_bytes(last))], last
        if page.same:
            same = self._source.memory.find(self._prefix, after, last)
            self._listed += same.listed if same is not None else 0
            self._missing += same.missing if same is not None else 0
        elif until != after:
            merged = await self._merge(after, until, listed, outstanding)
            self._remember(page, after, until, merged)
        if last is None:  # the end of the listing
            if page.same:
                self._tail.clear()
            self._tail.extend([page.last] if page.same else map(key_text, listed.keys[-LOOK_BACK:]))
        return until

    def _remember(self, page: Page, after: str, until: str, merged: tuple[int, Merged]) -> None:
        listed, found = merged
        if page.digest is not None and found.settled:
            same = Same(page.digest, page.last, until, listed, found.missing, time.time())
            self._source.memory.keep(self._prefix, after, same)
        else:
            self._source.memory.drop(self._prefix, after)

    async def _merge(
        self, after: str, last: str | None, listed: Listed, outstanding: Outstanding
    ) -> tuple[int, Merged]:
        """Compare with the ledger what is listed behind ``after`` up to ``last``; None is the end of the prefix.

        Returns the number of objects, and what came of it.
        """
        files = _files(listed)
        part = Part(self._source.sweeps, self._prefix, after, last)
        merged = await self._cursor.merge(
            part, files, int(self._of.began), confirm=self._of.believable, baseline=self._baseline
        )
        self._listed += len(files)
        self._told += merged.recorded
        self._missing += merged.missing
        await self._tell(merged.unknown, outstanding)
        return len(files), merged

    async def _tell(self, infos: Sequence[ObjectInfo], outstanding: Outstanding) -> None:
        for start in range(0, len(infos), BATCH):
            events = tuple(self._source.event(info, self._baseline) for info in infos[start : start + BATCH])
            self._told += sum(event.existing for event in events)
            delivery = outstanding.delivery(events)
            delivery.bulk = True
            await self._found.put(delivery)

    async def _list_unordered(self) -> None:
        outstanding = Outstanding()
        self._lasts.clear()
        async for page in self._storage.pages(self._prefix):
            await self._count(page.time)
            files = _files(page.infos)
            self._lasts.append(page.last)
            self._listed += len(files)
            await self._tell(await self._cursor.unknown(files), outstanding)
        await _committed(outstanding)

    @property
    def _baseline(self) -> int | None:
        first = not self._of.swept and self._source.options.existing == "ignore"
        return self._of.baseline if first else None

    async def _count(self, server_time: int | None) -> None:
        """One request more. What is older than the watch was there before, by the clock that dates objects."""
        self._source.spend.requests += 1
        self._source.spend.listed = self._listed
        self._state.count(time.time())
        if time.monotonic() - self._led > LEAD:
            if not await self._cursor.lead(f"sweep/{self._source.sweeps}"):
                raise TransientError("another daemon has begun to sweep")
            self._led = time.monotonic()
        if self._of.baseline is None:
            watched = max(0.0, time.time() - self._since)
            self._of.baseline = 1 << 62 if server_time is None else int(server_time - watched)

    async def _save(self) -> None:
        await self._cursor.save(self._state.dump())

    async def _end(self, seconds: float) -> None:
        of, spend = self._of, self._source.spend
        doubtful = is_doubtful(self._listed, self._missing)
        if doubtful:
            _log.warning(
                "a listing lacks so much that it is not believed: nothing is forgotten",
                source=self._source.name, prefix=self._prefix, listed=self._listed, missing=self._missing,
            )  # fmt: skip
        if not of.swept and self._told:
            _log.info(
                "first sweep", source=self._source.name, prefix=self._prefix, existing=self._told,
                note="they start nothing; `watcher replay` starts them",
            )  # fmt: skip
        of.end(time.time(), sorted(self._lasts), believable=self._ordered and not doubtful)
        self._source.keep_tail(self._prefix, sorted(self._tail) if self._ordered else None)
        spend.sweeps += 1
        spend.keys, spend.missing, spend.seconds, spend.held = self._listed, self._missing, seconds, doubtful
        spend.finished = time.time()
        await self._save()
        pages = self._source.memory.dump()
        if pages is not None:
            await self._cursor.remember(PAGES, pages)


async def _ahead(pages: AsyncIterator[Page]) -> AsyncGenerator[Page, None]:
    """The pages; the next one is read while one is being worked on."""
    read = asyncio.create_task(_following(pages))
    try:
        while (page := await read) is not None:
            read = asyncio.create_task(_following(pages))
            yield page
    finally:
        read.cancel()
        await asyncio.gather(read, return_exceptions=True)
        if isinstance(pages, AsyncGenerator):
            await pages.aclose()


async def _following(pages: AsyncIterator[Page]) -> Page | None:
    return await anext(pages, None)


def _in_order(after: bytes, keys: Sequence[bytes]) -> bool:
    return not keys or (after < keys[0] and all(map(lt, keys, keys[1:])))


def _files(listed: Listed) -> Listed:
    """Without the markers of directories."""
    return listed.chosen([place for place, key in enumerate(listed.keys) if not key.endswith(b"/")])
