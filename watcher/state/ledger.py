"""Intake: object versions into the ledger, and from there into tasks, in one transaction.

This is the only way into the tasks table, for all sources. What is committed here may be acknowledged.

The rows of a storage lie in the order in which S3 lists keys, so that a sweep is a merge of two sorted streams: it
finds what is new and what is not there any more, a page at a time, and writes nothing about what is as it was.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, delete, func, select, update

from watcher.model.listed import UNTOLD, Listed, Merged
from watcher.model.objects import (
    SEQUENCED,
    ObjectInfo,
    Part,
    Strange,
    format_lineage,
    listed_of,
    place_of,
    storage_prefix,
    version_digest,
    version_of,
)
from watcher.model.order import TaskKind
from watcher.model.task import task_id_of
from watcher.state import schema
from watcher.state.database import CHUNK, Database, insert_new, insert_pairs, upsert
from watcher.state.meters import CatalogChangedError, changes
from watcher.state.outputs import lineages
from watcher.state.quarantine import chain_too_long, keep
from watcher.state.unready import Unready, wait

TOMBSTONE = 14 * 86_400
"""Seconds for which a version that is gone is remembered: the longest time that a message can wait in SQS."""
PREFIX = 6
"""Bytes of a place that stand for the storage."""


class State(IntEnum):
    """What became of an object version."""

    SEEN = 1
    EXISTING = 2
    """It was there before the source looked for the first time."""
    OWN_OUTPUT = 3
    STALE = 5
    """It was overwritten before it was heard of."""
    IGNORED = 6
    """It is empty, or the marker of a directory."""
    ARCHIVED = 7
    """Its bytes have to be restored first; it starts what it matches then."""


@dataclass(frozen=True, slots=True)
class Match:
    """A workflow whose trigger an object matches, as it was when it matched."""

    workflow_id: int
    name: str
    plan: bytes
    priority: int
    accepts_outputs: bool
    kind: TaskKind = "WorkflowTask"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An object version and the workflows it would start.

    ``notified`` says that a notification spoke of it, not only a listing. ``marker`` is the lineage in the
    object's own metadata, None when nobody looked. ``verdict`` is what is known of it besides. ``again`` is of a
    backfill: versions that are known start what they did not start. ``ordered`` False lets it count although a later
    change of its key is known.
    """

    info: ObjectInfo
    matches: tuple[Match, ...]
    existing: bool = False
    notified: bool = False
    marker: tuple[int, ...] | None = None
    mark: bytes | None = None
    verdict: State = State.SEEN
    again: bool = False
    ordered: bool = True


@dataclass(slots=True)
class Tally:
    """What became of a batch of candidates: each counts once, down to ``unmatched``, which are new ones.

    ``found`` counts the new ones that only a listing told of, ``made`` the tasks that were not there before.
    """

    new: int = 0
    duplicate: int = 0
    existing: int = 0
    own_output: int = 0
    stale: int = 0
    ignored: int = 0
    archived: int = 0
    unmatched: int = 0
    found: int = 0
    made: int = 0
    tasks: list[str] = field(default_factory=list)
    endless: list[ObjectInfo] = field(default_factory=list)
    """Own outputs that would have gone on in a chain of workflows which is as long as it may be."""
    fresh: list[tuple[bool, ObjectInfo]] = field(default_factory=list)
    """The new versions that match something, each with whether a notification told of it."""

    def add(self, other: Tally) -> None:
        """Count another batch too."""
        for name in (
            "new",
            "duplicate",
            "existing",
            "own_output",
            "stale",
            "ignored",
            "archived",
            "unmatched",
            "found",
            "made",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.tasks += other.tasks


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger has of one version.

    ``alias`` is a second digest by which it is known: a version with an id has one by which it is listed.
    ``missing`` is since when listings don't show it, negative as long as only one sweep says so.
    """

    version: bytes
    alias: bytes | None
    state: State
    seen: int
    mark: bytes | None
    missing: int | None

    def is_of(self, version: bytes, listed: bytes | None) -> bool:
        """Whether it is the version of these digests; ``listed`` is the one of listings, where that is another."""
        return version in (self.version, self.alias) or (self.alias is None and listed == self.version)


Places = dict[bytes, list[Known]]


class Ledger:
    """See the module. ``max_hops`` bounds chains of workflows that feed each other on purpose."""

    def __init__(self, database: Database, max_hops: int) -> None:
        self._database = database
        self._max_hops = max_hops

    async def look_up(self, places: Sequence[bytes]) -> Places:
        """The versions that are known of some objects."""
        return await self._database.read(lambda connection: _look_up(connection, places))

    async def versions(self, storage: str, key: str) -> list[Known]:
        """The versions that are known of one object, the newest first."""
        found = await self.look_up([place_of(storage, key)])
        return sorted((known for rows in found.values() for known in rows), key=lambda known: -known.seen)

    async def unknown(self, infos: Sequence[ObjectInfo]) -> list[ObjectInfo]:
        """Those of the versions that the ledger does not have."""
        found = await self.look_up([place_of(info.storage, info.key) for info in infos])
        fresh = [info for info in infos if _find(found, info) is None]
        return await self._not_before(fresh)

    async def _not_before(self, infos: list[ObjectInfo]) -> list[ObjectInfo]:
        if not infos or not self._database.has_old_ledger:
            return infos
        old = await self._database.read(lambda connection: _old_states(connection, infos))
        return [info for info in infos if version_digest(info) not in old]

    async def merge(
        self, part: Part, listed: Listed, began: int, *, confirm: bool, baseline: int | None = None
    ) -> Merged:
        """Compare a part of a listing with the ledger.

        ``listed`` is what was listed there; ``began`` is when the sweep did, in seconds since 1970. What was
        known before and is not there is noted; ``confirm`` says that what an earlier sweep missed too is gone. What is
        older than ``baseline`` and not known was there before anybody looked: it is recorded, and that is all.
        """
        table = schema.ledger
        below = place_of(part.storage, part.prefix)
        # One bound at each side: of two, SQLite may take the wider one, and read the prefix from its beginning.
        place, after = table.c.place, place_of(part.storage, part.after) if part.after else b""
        query = select(table).where(place > after if after >= below else place >= below)
        if part.last is not None and part.last.startswith(part.prefix):
            query = query.where(place <= place_of(part.storage, part.last))
        else:
            query = query.where(place < _following(below))

        def compare(connection: Connection) -> tuple[Listed, list[_Seen], list[_Seen]]:
            return _compare(_seen(connection, query), storage_prefix(part.storage), listed)

        unknown, absent, back = await self._database.read(compare)
        if self._database.has_old_ledger:
            unknown = Listed.of(await self._not_before(list(unknown)))
        missed = [row for row in absent if row.missing is None and row.seen < began]
        gone = [row for row in absent if row.missing is not None and -began < row.missing < 0]
        old = [row for row in absent if row.missing is not None and 0 < row.missing < began - TOMBSTONE]
        changes: dict[int | None, list[_Seen]] = {-began: missed, None: back}
        if confirm:
            changes[began] = gone
        forgotten = old if confirm else []
        existing = Listed()
        if baseline is not None:
            existing, unknown = _split(unknown, baseline)
        if any(changes.values()) or forgotten or existing:
            known = [(storage_prefix(part.storage) + key, version) for key, version in existing.names()]
            await self._database.run(lambda connection: _note(connection, changes, forgotten, known))
        settled = not (unknown or missed or back or gone or old)
        return Merged(unknown, len(absent), len(forgotten), settled, len(existing))

    async def keys(self, storage: str, after: str, limit: int) -> list[str]:
        """Keys of a storage that are known, behind one, in their order."""
        table = schema.ledger
        end = _following(place_of(storage, ""))
        query = select(table.c.place).where(table.c.place > place_of(storage, after), table.c.place < end)
        query = query.distinct().order_by(table.c.place).limit(limit)
        places = await self._database.read(lambda connection: connection.execute(query).scalars().all())
        return [place[PREFIX:].decode("utf-8", "surrogateescape") for place in places]

    async def intake(
        self,
        candidates: Sequence[Candidate],
        now: float,
        strange: Sequence[Strange] = (),
        unready: Sequence[Unready] = (),
        *,
        lane: int = 0,
        revision: int | None = None,
    ) -> Tally:
        """Commit a batch: new versions into the ledger, their tasks into the queue, what is strange into quarantine.

        ``unready`` are objects that can't be read yet; they are looked at again. Raises CatalogChangedError when the
        workflows are not those of ``revision`` any more, which the candidates were matched against.
        """

        def commit(connection: Connection) -> Tally:
            if revision is not None and changes(connection) != revision:
                raise CatalogChangedError("workflows were changed by another daemon")
            keep(connection, strange, now)
            wait(connection, unready, now)
            return self.take_in(connection, candidates, now, lane)

        return await self._database.run(commit)

    def take_in(self, connection: Connection, candidates: Sequence[Candidate], now: float, lane: int = 0) -> Tally:
        """As :meth:`intake`, in the caller's transaction."""
        tally = Tally()
        places = [place_of(candidate.info.storage, candidate.info.key) for candidate in candidates]
        known = _look_up(connection, places)
        ours = lineages(connection, (c.info for c in candidates if c.matches))
        old = _old_states(connection, [c.info for c in candidates]) if self._database.has_old_ledger else {}
        rows: dict[tuple[bytes, bytes], dict[str, Any]] = {}
        tasks: list[dict[str, Any]] = []
        for place, candidate in zip(places, candidates, strict=True):
            before = _find(known, candidate.info, place)
            if before is None and version_digest(candidate.info) in old:
                before = Known(version_of(candidate.info), listed_of(candidate.info), State.SEEN, int(now), None, None)
                rows[place, before.version] = _row(place, before)
                known[place].append(before)
            if before is not None and not _reopens(before, candidate):
                tally.duplicate += 1
                after = _updated(before, candidate)
            else:
                written = ours.get(version_digest(candidate.info)) if ours else None
                state = self._decide(candidate, known[place], written, tasks, tally, now, lane)
                version = before.version if before is not None else version_of(candidate.info)
                after = Known(version, listed_of(candidate.info), state, int(now), candidate.mark, None)
            if after != before:
                rows[place, after.version] = _row(place, after)
                if before is not None:
                    known[place].remove(before)
                known[place].append(after)
        upsert(connection, schema.ledger, list(rows.values()))
        keep(connection, [chain_too_long(info, self._max_hops) for info in tally.endless], now)
        tally.made = insert_new(connection, schema.tasks, tasks)
        return tally

    def _decide(
        self,
        candidate: Candidate,
        others: Sequence[Known],
        written: tuple[int, ...] | None,
        tasks: list[dict[str, Any]],
        tally: Tally,
        now: float,
        lane: int,
    ) -> State:
        """The ledger state of a new version; appends its tasks."""
        if candidate.existing:
            tally.existing += 1
            return State.EXISTING
        if candidate.verdict is State.STALE or (candidate.ordered and overtaken(candidate.mark, others)):
            tally.stale += 1
            return State.STALE
        if candidate.verdict is State.IGNORED:
            tally.ignored += 1
            return State.IGNORED
        matches, lineage = candidate.matches, candidate.marker or written
        if lineage is not None:
            matches = tuple(match for match in matches if match.accepts_outputs and match.workflow_id not in lineage)
            if matches and len(lineage) >= self._max_hops:
                tally.endless.append(candidate.info)
                matches = ()
            if not matches:
                tally.own_output += 1
                return State.OWN_OUTPUT
        if candidate.verdict is State.ARCHIVED and matches:
            tally.archived += 1
            return State.ARCHIVED
        tally.new += 1
        tally.found += not candidate.notified
        if matches:
            tally.fresh.append((candidate.notified, candidate.info))
        else:
            tally.unmatched += 1
        for match in matches:
            row = task_row(match, candidate.info, lineage or (), now) | {"lane": lane}
            tasks.append(row)
            tally.tasks.append(row["task_id"])
        return State.SEEN


def task_row(match: Match, info: ObjectInfo, lineage: tuple[int, ...], now: float) -> dict[str, Any]:
    """A new row of the tasks table."""
    source = asdict(info)
    del source["metadata"], source["archived"]
    return {
        "task_id": task_id_of(match.workflow_id, info, match.kind),
        "workflow_id": match.workflow_id,
        "workflow_name": match.name,
        "kind": match.kind,
        "plan": match.plan,
        "storage": info.storage,
        "key": info.key,
        "source": source,
        "status": "WAITING",
        "priority": match.priority,
        "lineage": format_lineage(lineage),
        "create_time": now,
        "not_before": 0.0,
        "epoch": 0,
        "attempts": 0,
        "abort": False,
        "failed": False,
        "code": 0,
        "message": "",
        "results": [],
    }


def _row(place: bytes, known: Known) -> dict[str, Any]:
    return {
        "place": place, "version": known.version, "state": int(known.state), "seen": known.seen,
        "alias": known.alias, "mark": known.mark, "missing": known.missing,
    }  # fmt: skip


def _look_up(connection: Connection, places: Sequence[bytes]) -> Places:
    found: Places = defaultdict(list)
    table = schema.ledger
    wanted = list(dict.fromkeys(places))
    for start in range(0, len(wanted), CHUNK):
        for row in _seen(connection, select(table).where(table.c.place.in_(wanted[start : start + CHUNK]))):
            known = Known(row.version, row.alias, State(row.state), row.seen, row.mark, row.missing)
            found[row.place].append(known)
    return found


def _find(found: Places, info: ObjectInfo, place: bytes | None = None) -> Known | None:
    """What is known of this very version."""
    rows = found.get(place or place_of(info.storage, info.key))
    if not rows:
        return None
    version, listed = version_of(info), listed_of(info)
    return next((known for known in rows if known.is_of(version, listed)), None)


def _reopens(known: Known, candidate: Candidate) -> bool:
    """Whether a version that is known is to be looked at as if it were not."""
    if candidate.again and candidate.verdict is State.SEEN:  # whose output it is decides it again
        return known.state in (State.SEEN, State.EXISTING, State.STALE, State.OWN_OUTPUT)
    if known.state is State.EXISTING:  # there before we looked, but a notification says that it came meanwhile
        return candidate.notified and not candidate.existing
    return known.state is State.ARCHIVED and candidate.verdict is State.SEEN and not candidate.existing


def _updated(known: Known, candidate: Candidate) -> Known:
    """With what a duplicate tells besides: its mark, its id, and that the version is there again."""
    mark = candidate.mark if known.mark is None else known.mark
    alias = known.alias
    if alias is None and listed_of(candidate.info) == known.version:
        alias = version_of(candidate.info)
    return Known(known.version, alias, known.state, known.seen, mark, None)


def overtaken(mark: bytes | None, others: Iterable[Known]) -> bool:
    """Whether a later change of the same key is known than the one of this mark."""
    if mark is None or not mark.startswith(SEQUENCED):
        return False
    return any(known.mark is not None and known.mark.startswith(SEQUENCED) and known.mark > mark for known in others)


def _following(prefix: bytes) -> bytes:
    """The first place behind all that begin with a prefix."""
    whole = prefix.rstrip(b"\xff")
    return whole[:-1] + bytes((whole[-1] + 1,))


class _Seen(NamedTuple):
    """A row as it is."""

    place: bytes
    version: bytes
    alias: bytes | None
    state: int
    seen: int
    mark: bytes | None
    missing: int | None


def _seen(connection: Connection, query: Select[Any]) -> list[_Seen]:
    """Rows of the ledger.

    SQLite gives up the interpreter's lock at each row, and gets it back when another thread pleases: a page of a
    thousand rows would take a second beside a busy event loop. So it makes one value of them.
    """
    row = query.subquery().c
    if connection.dialect.name != "sqlite":
        plain = select(row.place, row.version, row.alias, row.state, row.seen, row.mark, row.missing)
        return [_Seen(*found) for found in connection.execute(plain)]
    array = func.json_array(
        func.hex(row.place), func.hex(row.version), func.hex(row.alias), row.state, row.seen, func.hex(row.mark),
        row.missing,
    )  # fmt: skip
    text = connection.execute(select(func.json_group_array(array))).scalar_one()
    unhex = bytes.fromhex
    return [
        _Seen(
            unhex(place), unhex(version), unhex(alias) if alias else None, state, seen, unhex(mark) if mark else None,
            missing,
        )
        for place, version, alias, state, seen, mark, missing in json.loads(text)
    ]  # fmt: skip


def _compare(rows: Sequence[_Seen], prefix: bytes, listed: Listed) -> tuple[Listed, list[_Seen], list[_Seen]]:
    """What is listed and not known, what is known and not listed, and what is listed again."""
    if not rows:
        return listed, [], []
    known: dict[bytes, list[_Seen]] = defaultdict(list)
    for row in rows:
        known[row.place].append(row)
    unknown: list[int] = []
    back: list[_Seen] = []
    for number, (key, version) in enumerate(listed.names()):
        place = prefix + key
        of_key = known.get(place, ())
        for row in of_key:
            if version in (row.version, row.alias):
                if row.missing is not None:
                    back.append(row)
                if len(of_key) == 1:
                    del known[place]
                else:
                    known[place] = [other for other in of_key if other is not row]
                break
        else:
            unknown.append(number)
    return listed.chosen(unknown), [row for left in known.values() for row in left], back


def _split(listed: Listed, baseline: int) -> tuple[Listed, Listed]:
    """Those that are older than the watch; and the others, and those of which more has to be asked."""
    if (
        max(listed.modified, default=0) < baseline
        and UNTOLD not in listed.versions
        and b"\0" not in b"".join(listed.keys)
    ):
        return listed, Listed()
    places: tuple[list[int], list[int]] = [], []
    for place, (key, version) in enumerate(listed.names()):
        older = listed.modified[place] < baseline and version != UNTOLD and b"\0" not in key
        places[not older].append(place)
    return listed.chosen(places[0]), listed.chosen(places[1])


def _note(
    connection: Connection,
    changes: dict[int | None, list[_Seen]],
    forgotten: Sequence[_Seen],
    existing: Sequence[tuple[bytes, bytes]],
) -> None:
    """Write what a comparison told; ``existing`` are places and versions."""
    table = schema.ledger
    if existing:
        same = int(State.EXISTING), int(time.time())
        insert_pairs(connection, table, ("place", "version", "state", "seen"), existing, *same)
    for missing, rows in changes.items():
        for row in rows:
            this = (table.c.place == row.place) & (table.c.version == row.version)
            connection.execute(update(table).where(this).values(missing=missing))
    for row in forgotten:
        connection.execute(delete(table).where(table.c.place == row.place, table.c.version == row.version))


def _old_states(connection: Connection, infos: Sequence[ObjectInfo]) -> set[bytes]:
    """The digests of those versions that the ledger had when it held digests only."""
    table = schema.ledger_before
    ids = [version_digest(info) for info in infos]
    found: set[bytes] = set()
    for start in range(0, len(ids), CHUNK):
        found.update(connection.execute(select(table.c.id).where(table.c.id.in_(ids[start : start + CHUNK]))).scalars())
    return found
