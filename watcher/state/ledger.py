"""Intake: object versions into the ledger, and from there into tasks, in one transaction.

This is the only way into the tasks table, for all sources. What is committed here may be acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or

from watcher.model.objects import ObjectInfo, Strange, format_lineage, key_digest, parse_lineage, version_digest
from watcher.model.order import TaskKind
from watcher.model.task import task_id_of
from watcher.state import schema
from watcher.state.database import Database
from watcher.state.quarantine import keep

SEEN, EXISTING, OWN_OUTPUT, ALIAS = 1, 2, 3, 4
CHUNK = 400


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
    object's own metadata, None when nobody looked. ``alias`` is a further digest under which the same version
    is listed (a listing of a versioned bucket knows no version id).
    """

    info: ObjectInfo
    matches: tuple[Match, ...]
    existing: bool = False
    notified: bool = False
    marker: tuple[int, ...] | None = None
    alias: bytes | None = None


@dataclass(slots=True)
class Tally:
    """What became of a batch of candidates."""

    new: int = 0
    duplicate: int = 0
    existing: int = 0
    own_output: int = 0
    unmatched: int = 0
    tasks: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count another batch too."""
        self.new += other.new
        self.duplicate += other.duplicate
        self.existing += other.existing
        self.own_output += other.own_output
        self.unmatched += other.unmatched
        self.tasks += other.tasks


class Ledger:
    """See the module. ``max_hops`` bounds chains of workflows that feed each other on purpose."""

    def __init__(self, database: Database, max_hops: int) -> None:
        self._database = database
        self._max_hops = max_hops

    async def known(self, ids: Sequence[bytes]) -> set[bytes]:
        """Those of the version digests that the ledger has."""
        return await self._database.run(lambda connection: set(_states(connection, ids)))

    async def state_of(self, version: bytes) -> tuple[int, float] | None:
        """The state of a version, by its digest, and when it was heard of; None when it never was."""
        table = schema.ledger
        query = select(table.c.state, table.c.seen).where(table.c.id == version)

        def find(connection: Connection) -> tuple[int, float] | None:
            row = connection.execute(query).one_or_none()
            return (int(row.state), float(row.seen)) if row is not None else None

        return await self._database.read(find)

    async def intake(self, candidates: Sequence[Candidate], now: float, strange: Sequence[Strange] = ()) -> Tally:
        """Commit a batch: new versions into the ledger, their tasks into the queue, what is strange into quarantine."""

        def commit(connection: Connection) -> Tally:
            keep(connection, strange, now)
            return self._intake(connection, candidates, now)

        return await self._database.run(commit)

    def _intake(self, connection: Connection, candidates: Sequence[Candidate], now: float) -> Tally:
        tally = Tally()
        fresh: dict[bytes, Candidate] = {}
        for candidate in candidates:
            fresh.setdefault(version_digest(candidate.info), candidate)
        tally.duplicate = len(candidates) - len(fresh)
        states = _states(connection, list(fresh))
        for known, state in states.items():
            if state == EXISTING and fresh[known].notified and not fresh[known].existing:
                continue  # there before we looked, but a notification says that it came meanwhile
            del fresh[known]
            tally.duplicate += 1
        if not fresh:
            return tally
        ours = _written_by_us(connection, fresh.values())
        rows: list[dict[str, Any]] = []
        tasks: list[dict[str, Any]] = []
        for digest, candidate in fresh.items():
            state = self._decide(candidate, ours.get(digest), tasks, tally, now)
            rows.append({"id": digest, "state": state, "seen": int(now)})
            if candidate.alias is not None and candidate.alias != digest:
                rows.append({"id": candidate.alias, "state": ALIAS, "seen": int(now)})
        connection.execute(insert(schema.ledger).prefix_with("OR REPLACE"), rows)
        if tasks:
            connection.execute(insert_or(schema.tasks).on_conflict_do_nothing(), tasks)
        return tally

    def _decide(
        self,
        candidate: Candidate,
        written: tuple[int, ...] | None,
        tasks: list[dict[str, Any]],
        tally: Tally,
        now: float,
    ) -> int:
        """The ledger state of a new version; appends its tasks."""
        lineage = candidate.marker or written
        matches = candidate.matches
        if candidate.existing:
            tally.existing += 1
            return EXISTING
        if lineage is not None:
            matches = tuple(
                match
                for match in matches
                if match.accepts_outputs and match.workflow_id not in lineage and len(lineage) < self._max_hops
            )
            if not matches:
                tally.own_output += 1
                return OWN_OUTPUT
        tally.new += 1
        if not matches:
            tally.unmatched += 1
        for match in matches:
            row = task_row(match, candidate.info, lineage or (), now)
            tasks.append(row)
            tally.tasks.append(row["task_id"])
        return SEEN


def task_row(match: Match, info: ObjectInfo, lineage: tuple[int, ...], now: float) -> dict[str, Any]:
    """A new row of the tasks table."""
    source = asdict(info)
    del source["metadata"]
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


def _states(connection: Connection, ids: Sequence[bytes]) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for start in range(0, len(ids), CHUNK):
        query = select(schema.ledger.c.id, schema.ledger.c.state).where(
            schema.ledger.c.id.in_(ids[start : start + CHUNK])
        )
        found.update((row.id, row.state) for row in connection.execute(query))
    return found


def _written_by_us(connection: Connection, candidates: Iterable[Candidate]) -> dict[bytes, tuple[int, ...]]:
    """Of the versions that match something: the lineage of those that we wrote, by version digest."""
    keys = {key_digest(c.info.storage, c.info.key): version_digest(c.info) for c in candidates if c.matches}
    found: dict[bytes, tuple[int, ...]] = {}
    ids = list(keys)
    table = schema.outputs
    for start in range(0, len(ids), CHUNK):
        query = select(table.c.id, table.c.version, table.c.lineage).where(table.c.id.in_(ids[start : start + CHUNK]))
        for row in connection.execute(query):
            if row.version == keys[row.id]:
                found[row.version] = parse_lineage(row.lineage)
    return found


class Outputs:
    """The registry of the objects that tasks write."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def intend(self, objects: Sequence[tuple[str, str]], task_id: str, lineage: tuple[int, ...]) -> None:
        """Say that (storage, key) pairs are about to be written, so that what a kill leaves can be found."""
        rows = [
            {
                "id": key_digest(storage, key),
                "storage": storage,
                "key": key,
                "task_id": task_id,
                "lineage": format_lineage(lineage),
                "version": None,
            }
            for storage, key in objects
        ]
        statement = insert(schema.outputs).prefix_with("OR REPLACE")
        await self._database.run(lambda connection: connection.execute(statement, rows))

    async def written(self, info: ObjectInfo) -> None:
        """Record the version that was written: intake recognises it by that."""
        table = schema.outputs
        statement = (
            update(table).where(table.c.id == key_digest(info.storage, info.key)).values(version=version_digest(info))
        )
        await self._database.run(lambda connection: connection.execute(statement))

    async def writer_of(self, info: ObjectInfo) -> str | None:
        """The task that wrote this very version, or None."""
        table = schema.outputs
        query = select(table.c.task_id).where(
            table.c.id == key_digest(info.storage, info.key), table.c.version == version_digest(info)
        )
        return await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())

    async def unfinished(self) -> list[tuple[str, str, str]]:
        """(storage, key, task id) of every output whose writing was begun and not recorded as done."""
        table = schema.outputs
        query = select(table.c.storage, table.c.key, table.c.task_id).where(table.c.version.is_(None))
        return await self._database.run(
            lambda connection: [(row.storage, row.key, row.task_id) for row in connection.execute(query)]
        )
