"""From what a source said to what is true: the version an event is about, asked of the storage where it has to be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from watcher import log
from watcher.catalog import Catalog
from watcher.errors import AccessRefused, ObjectNotFound, PermanentError, TransientError
from watcher.model.objects import (
    MARKER,
    ObjectEvent,
    ObjectInfo,
    listed_of,
    parse_lineage,
    place_of,
    short_digest,
    version_of,
)
from watcher.state.ledger import Candidate, Known, Ledger, Match, Places, State, overtaken
from watcher.state.store import State as Store
from watcher.state.unready import Unready
from watcher.storage.base import Storage

_log = log.get("verifying")

HEADS = 32
"""Requests for an object's version at once, for each storage."""
FOLDER_MARKS = ("/", "_$folder$")
"""What the names of markers of directories end with; Hadoop's has dollar signs."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as an object to process."""

    min_size: int = 1
    versions: Literal["latest", "every"] = "latest"


@dataclass(slots=True)
class Verified:
    """What some events came to. ``further`` counts candidates that no event was about."""

    candidates: list[Candidate] = field(default_factory=list)
    unready: list[Unready] = field(default_factory=list)
    ignored: int = 0
    duplicate: int = 0
    stale: int = 0
    further: int = 0


class _Lookups:
    """What the ledger knows: whoever asks while a question is on its way is asked for together with the others."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[tuple[Sequence[bytes], asyncio.Future[Places]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def __call__(self, places: Sequence[bytes]) -> Places:
        """The versions that are known at some places, and at others."""
        future: asyncio.Future[Places] = asyncio.get_running_loop().create_future()
        self._waiting.append((places, future))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="look up")
        return await future

    async def _ask(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                found = await self._ledger.look_up([place for places, _ in waiting for place in places])
            except Exception as error:
                for _, future in waiting:
                    if not future.done():
                        future.set_exception(error)
                continue
            for _, future in waiting:
                if not future.done():  # whoever waited may have been cancelled
                    future.set_result(found)


class Verifier:
    """See the module."""

    def __init__(self, state: Store, storages: Mapping[str, Storage], rules: Rules) -> None:
        self._state = state
        self.storages = storages
        self._rules = rules
        self._look_up = _Lookups(state.ledger)
        self._heads = {name: asyncio.Semaphore(HEADS) for name in storages}

    def at_once(self, events: Sequence[ObjectEvent], catalog: Catalog) -> Verified | None:
        """What events come to that need no question; None when one of them does."""
        if not all(self._is_complete(event) for event in events):
            return None
        found = Verified()
        for event in events:
            assert event.info is not None  # noqa: S101
            # What was there before starts nothing, whatever it matches.
            matches = () if event.existing else tuple(catalog.index.match(event.storage, event.key))
            self._judge(event, event.info, matches, None, found)
        return found

    def _is_complete(self, event: ObjectEvent) -> bool:
        storage = self.storages.get(event.storage)
        return event.info is not None and (event.existing or storage is None or storage.exact_listing)

    async def verify(
        self,
        events: Sequence[ObjectEvent],
        catalog: Catalog,
        before: Mapping[tuple[str, str], Unready] | None = None,
        *,
        again: bool = False,
    ) -> Verified:
        """Ask what has to be asked; raises TransientError when a storage does not answer.

        ``before`` are the objects that are looked at because they were not ready before; ``again`` is for what a
        person asked for: what is known is looked at, and decided, once more.
        """
        found = Verified()
        known = await self._look_up([place_of(event.storage, event.key) for event in events])
        outcomes = await asyncio.gather(
            *(
                self._verify(
                    event,
                    catalog,
                    known.get(place_of(event.storage, event.key), []),
                    (before or {}).get((event.storage, event.key)),
                    found,
                    again=again,
                )
                for event in events
            ),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        if again:
            found.candidates = [replace(candidate, again=True) for candidate in found.candidates]
        return found

    async def _verify(
        self,
        event: ObjectEvent,
        catalog: Catalog,
        known: list[Known],
        before: Unready | None,
        found: Verified,
        *,
        again: bool,
    ) -> None:
        matches = tuple(catalog.index.match(event.storage, event.key))
        if event.info is not None:
            if not matches or event.existing or await self._is_known(event.info, known):
                self._judge(event, event.info, matches, None, found)
                return
        elif not matches or event.key.endswith(FOLDER_MARKS):
            found.ignored += 1
            return
        elif not again and _is_repeated(event, known):
            found.duplicate += 1
            return
        elif self._rules.versions == "latest" and overtaken(event.mark, known):
            self._overtaken(event, found)
            return
        await self._ask(event, matches, before, found)

    async def _is_known(self, info: ObjectInfo, known: Sequence[Known]) -> bool:
        """Whether the ledger has the version that a listing shows."""
        if any(row.is_of(version_of(info), listed_of(info)) for row in known):
            return True
        return self._state.database.has_old_ledger and not await self._state.ledger.unknown([info])

    async def _ask(
        self, event: ObjectEvent, matches: tuple[Match, ...], before: Unready | None, found: Verified
    ) -> None:
        latest = self._rules.versions == "latest"
        try:
            async with self._heads[event.storage]:
                info = await self.storages[event.storage].head(event.key, None if latest else event.version_id)
        except ObjectNotFound:
            found.unready.append(self._unready(event, "SETTLING", before))
            return
        except AccessRefused as error:
            # A key pair can be mended: the event has to be there when it is.
            raise TransientError(str(error)) from error
        except PermanentError as error:
            found.ignored += 1
            _log.warning("object can't be looked at", object=f"{event.storage}/{event.key}", error=str(error))
            return
        if event.version_id is not None and info.version_id not in (None, event.version_id):
            self._overtaken(event, found)  # and the version that overtook it is worth no less
            found.further += 1
            event = replace(event, version_id=info.version_id, mark=None)
        self._judge(event, info, matches, before, found)

    def _overtaken(self, event: ObjectEvent, found: Verified) -> None:
        if event.version_id is None:
            found.stale += 1
        else:
            info = replace(ObjectInfo.named(event.storage, event.key), version_id=event.version_id)
            found.candidates.append(Candidate(info, (), notified=True, mark=event.mark, verdict=State.STALE))

    def _judge(
        self,
        event: ObjectEvent,
        info: ObjectInfo,
        matches: tuple[Match, ...],
        before: Unready | None,
        found: Verified,
    ) -> None:
        marker = (info.metadata or {}).get(MARKER)
        verdict = State.SEEN
        if 0 <= info.size < self._rules.min_size or info.key.endswith(FOLDER_MARKS):
            verdict = State.IGNORED
        elif info.archived and matches and not event.existing:
            verdict = State.ARCHIVED
            found.unready.append(self._unready(event, "ARCHIVED", before))
        found.candidates.append(
            Candidate(
                replace(info, metadata=None) if info.metadata else info,
                matches,
                existing=event.existing,
                notified=event.notified or event.info is None,
                marker=parse_lineage(marker) if marker is not None else None,
                mark=event.mark,
                verdict=verdict,
                ordered=self._rules.versions == "latest",
            )
        )

    @staticmethod
    def _unready(event: ObjectEvent, state: Literal["SETTLING", "ARCHIVED"], before: Unready | None) -> Unready:
        since, tries = (before.since, before.tries) if before is not None else (0.0, 0)
        return Unready(event.storage, event.key, state, event.source, event.version_id, event.mark, since, 0.0, tries)


def _is_repeated(event: ObjectEvent, known: Sequence[Known]) -> bool:
    """Whether this very notification was heard, or another one of the same version: then nothing need be asked."""
    version = short_digest(f"v:{event.version_id}") if event.version_id is not None else None
    return any(
        (version is not None and row.is_of(version, None)) or (event.mark is not None and event.mark == row.mark)
        for row in known
        if row.state not in (State.EXISTING, State.ARCHIVED)
    )
