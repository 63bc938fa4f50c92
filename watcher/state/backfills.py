"""Objects that were there before, to be started all the same: how far each such run is, page by page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from watcher.state import schema
from watcher.state.database import CHUNK, Database
from watcher.state.ledger import Candidate, Ledger
from watcher.state.tasks import BACKFILL, FRESH


@dataclass(frozen=True, slots=True)
class Backfill:
    """One run over the objects of a prefix. Times are seconds since 1970.

    ``workflow_id`` 0 means all that match; ``again`` runs tasks that ended once more. ``since`` and ``until`` are about
    LastModified. ``position`` is the key up to which it is done.
    """

    seq: int
    storage: str
    prefix: str
    workflow_id: int = 0
    again: bool = False
    since: float | None = None
    until: float | None = None
    position: str = ""
    listed: int = 0
    made: int = 0
    create_time: float = 0.0
    finish_time: float | None = None
    error: str = ""


class Backfills:
    """See the module."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    async def add(self, wanted: Backfill) -> int:
        """Ask for one; returns its number."""
        values = {
            "storage": wanted.storage, "prefix": wanted.prefix, "workflow_id": wanted.workflow_id,
            "again": wanted.again, "since": wanted.since, "until": wanted.until, "position": b"", "listed": 0,
            "made": 0, "create_time": time.time(), "error": "",
        }  # fmt: skip
        statement = insert(schema.backfills).values(values).returning(schema.backfills.c.seq)
        return await self._database.run(lambda connection: int(connection.execute(statement).scalar_one()))

    async def get(self, seq: int) -> Backfill | None:
        """One of them."""
        query = select(schema.backfills).where(schema.backfills.c.seq == seq)

        def find(connection: Connection) -> Backfill | None:
            row = connection.execute(query).one_or_none()
            return _backfill(row) if row is not None else None

        return await self._database.read(find)

    async def open(self) -> list[Backfill]:
        """Those that are not done, oldest first."""
        query = (
            select(schema.backfills).where(schema.backfills.c.finish_time.is_(None)).order_by(schema.backfills.c.seq)
        )
        return await self._database.read(lambda connection: [_backfill(row) for row in connection.execute(query)])

    async def waiting(self, limit: int) -> int:
        """How many tasks of backfills wait, counted up to ``limit``."""
        table = schema.tasks
        some = select(table.c.seq).where(table.c.status == "WAITING", table.c.lane == BACKFILL).limit(limit).subquery()
        query = select(func.count()).select_from(some)
        return await self._database.read(lambda connection: int(connection.execute(query).scalar_one()))

    async def advance(self, done: Backfill, candidates: Sequence[Candidate], position: str, listed: int) -> Backfill:
        """Take in a page, and note that it is done: one commit."""
        now = time.time()

        def write(connection: Connection) -> Backfill:
            tally = self._ledger.take_in(connection, candidates, now, BACKFILL)
            made = tally.made
            if done.again:
                made += _again(connection, tally.tasks, now)
            after = replace(done, position=position, listed=done.listed + listed, made=done.made + made)
            key = position.encode("utf-8", "surrogateescape")
            statement = update(schema.backfills).where(schema.backfills.c.seq == done.seq)
            connection.execute(statement.values(position=key, listed=after.listed, made=after.made))
            return after

        return await self._database.run(write)

    async def end(self, done: Backfill, error: str = "") -> None:
        """It is done, or it can't be."""
        statement = update(schema.backfills).where(schema.backfills.c.seq == done.seq)
        values = {"finish_time": time.time(), "error": error[:500]}
        await self._database.run(lambda connection: connection.execute(statement.values(values)))


def _again(connection: Connection, task_ids: Sequence[str], now: float) -> int:
    """Queue those that ended once more; those that were made just now wait already."""
    table = schema.tasks
    count = 0
    for start in range(0, len(task_ids), CHUNK):
        ended = (table.c.task_id.in_(task_ids[start : start + CHUNK])) & (table.c.status == "FINISH")
        count += connection.execute(update(table).where(ended).values(**FRESH, lane=BACKFILL, create_time=now)).rowcount
    return count


def _backfill(row: Any) -> Backfill:
    return Backfill(
        row.seq, row.storage, row.prefix, row.workflow_id, row.again, row.since, row.until,
        row.position.decode("utf-8", "surrogateescape"), row.listed, row.made, row.create_time, row.finish_time,
        row.error,
    )  # fmt: skip
