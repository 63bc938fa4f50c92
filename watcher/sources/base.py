"""The contract of a source: object events, each with its acknowledgement.

A source yields deliveries and keeps what it yielded until it is acknowledged or released. It has no memory of
its own that matters: everything may be yielded again, and the ledger tells what is new.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from watcher.model.listed import Listed, Merged
from watcher.model.objects import Expected, ObjectEvent, ObjectInfo, Part, Strange, nothing_expected


async def _nothing() -> None:
    return None


@dataclass(slots=True)
class Delivery:
    """Some object events that are acknowledged together.

    ``acknowledge`` is awaited once, after their commit. ``release`` is awaited instead when they could not be
    committed: the source will deliver them again. ``refused`` counts records that were not object events;
    ``strange`` holds what could not be read, to be kept before it is acknowledged. ``bulk`` says that a listing
    found them: what just happened goes first. ``sweep`` names storages that are worth a sweep now.
    """

    events: tuple[ObjectEvent, ...]
    acknowledge: Callable[[], Awaitable[None]] = field(default=_nothing)
    release: Callable[[], Awaitable[None]] = field(default=_nothing)
    refused: int = 0
    strange: tuple[Strange, ...] = ()
    bulk: bool = False
    sweep: tuple[str, ...] = ()


class Kept(Protocol):
    """A message that is kept on disk, with its number."""

    @property
    def seq(self) -> int: ...

    @property
    def body(self) -> bytes: ...


class Spool(Protocol):
    """Where a source keeps messages that are not committed yet; see ``watcher.state.spool``."""

    async def adopt(self) -> int:
        """Take over what was left; how many messages are kept now."""

    async def keep(self, body: bytes) -> int:
        """Commit a message; returns its number."""

    async def kept(self, behind: int, limit: int, besides: Collection[int] = ()) -> Sequence[Kept]:
        """Messages behind a number, the oldest first, but for some."""

    async def drop(self, numbers: Sequence[int]) -> None:
        """They are committed elsewhere."""


class Cursor(Protocol):
    """What a source may remember between two runs, and ask of the ledger; losing it costs time, never an object."""

    @property
    def spool(self) -> Spool:
        """For messages of whoever does not ask twice."""

    async def load(self) -> str | None:
        """The text saved last."""

    async def save(self, cursor: str) -> None:
        """Remember a text."""

    async def recall(self, what: str) -> str | None:
        """The text that was remembered last under a name."""

    async def remember(self, what: str, text: str) -> None:
        """Keep a text under a name."""

    async def unknown(self, infos: Sequence[ObjectInfo]) -> list[ObjectInfo]:
        """Those of the object versions that the ledger does not have."""

    async def keys(self, storage: str, after: str, limit: int) -> list[str]:
        """Keys of a storage that the ledger has, behind one, in their order."""

    async def merge(
        self, part: Part, listed: Listed, began: int, *, confirm: bool, baseline: int | None = None
    ) -> Merged:
        """Compare a part of a listing with the ledger; see ``Ledger.merge``."""

    async def lead(self, name: str) -> bool:
        """Whether this daemon is the one that does what ``name`` says; to be asked again and again meanwhile."""

    def watched(self, storage: str) -> Mapping[str, float]:
        """The prefixes that enabled workflows watch in a storage, each with the time since when."""


class Page(Protocol):
    """A page of a listing, with its last key, and the storage's own time if it told it."""

    @property
    def infos(self) -> Listed: ...

    @property
    def last(self) -> str: ...

    @property
    def time(self) -> int | None: ...

    @property
    def digest(self) -> bytes | None: ...

    @property
    def same(self) -> bool: ...


DOUBT, DOUBT_SHARE = 20, 0.5


def is_doubtful(there: int, gone: int) -> bool:
    """Whether so much of what is known is not there that the listing is not believed: more than a few objects, and
    more than half of them. A bucket may have been made anew, a directory may not be mounted."""
    return gone > DOUBT and gone > DOUBT_SHARE * (there + gone)


class Bucket(Protocol):
    """What a source needs of the storage it watches."""

    name: str

    def list(self, prefix: str = "") -> AsyncIterator[list[ObjectInfo]]:
        """All objects whose key starts with ``prefix``, in pages."""

    def pages(
        self, prefix: str = "", after: str = "", expected: Expected = nothing_expected, until: str | None = None
    ) -> AsyncIterator[Page]:
        """The same in the order of keys, where the storage has one, and only keys behind ``after``, to ``until``."""

    async def check(self) -> None:
        """Raise a WatcherError unless the storage can be read."""


class Outstanding:
    """Counts deliveries on their way, so that a sweep can wait for the commit of all of them."""

    def __init__(self) -> None:
        self._open = 0
        self._released = False
        self._changed = asyncio.Event()

    def delivery(self, events: tuple[ObjectEvent, ...]) -> Delivery:
        """A delivery that is counted until it is acknowledged or released."""
        self._open += 1

        async def acknowledge() -> None:
            self._open -= 1
            self._changed.set()

        async def release() -> None:
            self._released = True
            await acknowledge()

        return Delivery(events, acknowledge, release)

    async def settled(self) -> bool:
        """Wait for all of them; whether none was released."""
        while self._open:
            self._changed.clear()
            await self._changed.wait()
        return not self._released


class Source(ABC):
    """One place where object events come from."""

    name: str

    @abstractmethod
    def deliveries(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        """Deliveries for as long as the service runs; closing the iterator ends what the source holds open.

        The first delivery, which may be empty, says that the source is listening: nothing that appears from then
        on is taken for something that was there before.

        Raises TransientError when its other side is away: whoever iterates comes back after a pause.
        """

    async def check(self) -> None:  # noqa: B027  most can be checked, those that need nothing can stay as they are
        """Raise a WatcherError, in words for a person, unless the source can be reached."""
