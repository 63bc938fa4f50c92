"""Task events on their way out: stored with the change they tell of, sent later, in order per destination."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Select, func, select, update

from watcher.state import schema
from watcher.state.database import Database, each_value


@dataclass(frozen=True, slots=True)
class Pending:
    """An event for one destination that was not delivered yet."""

    seq: int
    event_id: str
    task_id: str
    destination: str
    body: dict[str, Any]
    attempts: int
    create_time: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an event of a task fares at one destination."""

    event_id: str
    destination: str
    status: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class Undelivered:
    """An event that did not reach its destination (yet)."""

    seq: int
    task_id: str
    destination: str
    status: str
    attempts: int
    error: str
    create_time: float


@cache
def _destinations() -> Select[Any]:
    found = each_value(schema.outbox, "destination", lambda of: of.c.status == "PENDING")
    return select(found.c.value).where(found.c.value.is_not(None))


class Outbox:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def destinations(self) -> set[str]:
        """Those that events wait for."""
        return await self._database.run(lambda connection: set(connection.execute(_destinations()).scalars()))

    async def next(self, destination: str, limit: int = 100) -> list[Pending]:
        """The oldest undelivered events of a destination, in order."""
        table = schema.outbox
        query = (
            select(table)
            .where(table.c.status == "PENDING", table.c.destination == destination)
            .order_by(table.c.seq)
            .limit(limit)
        )
        return await self._database.run(
            lambda connection: [
                Pending(r.seq, r.event_id, r.task_id, r.destination, r.body, r.attempts, r.create_time)
                for r in connection.execute(query)
            ]
        )

    async def delivered(self, seq: int) -> None:
        """The destination has it."""
        await self._set(seq, status="DELIVERED", error="")

    async def failed(self, seq: int, error: str, *, dead: bool) -> None:
        """An attempt failed; ``dead`` means that there will be no other until somebody retries."""
        await self._set(seq, status="DEAD" if dead else "PENDING", error=error[:500])

    async def _set(self, seq: int, **values: Any) -> None:
        table = schema.outbox
        statement = (
            update(table)
            .where(table.c.seq == seq)
            .values(attempts=table.c.attempts + 1, update_time=time.time(), **values)
        )
        await self._database.run(lambda connection: connection.execute(statement))

    async def of_task(self, task_id: str) -> list[Delivery]:
        """Where the events of a task went."""
        table = schema.outbox
        query = select(table).where(table.c.task_id == task_id).order_by(table.c.seq)
        return await self._database.run(
            lambda connection: [
                Delivery(r.event_id, r.destination, r.status, r.attempts, r.error) for r in connection.execute(query)
            ]
        )

    async def undelivered(self, limit: int, *, waiting: bool = False) -> list[Undelivered]:
        """Events that were given up, oldest first; ``waiting`` adds those that are still tried."""
        table = schema.outbox
        statuses = ["DEAD", "PENDING"] if waiting else ["DEAD"]
        query = select(table).where(table.c.status.in_(statuses)).order_by(table.c.seq).limit(limit)
        return await self._database.read(
            lambda connection: [
                Undelivered(r.seq, r.task_id, r.destination, r.status, r.attempts, r.error, r.create_time)
                for r in connection.execute(query)
            ]
        )

    async def revive(self, task_id: str | None = None, seq: int | None = None) -> int:
        """Give dead events another chance: those of a task, one of them, or all."""
        table = schema.outbox
        statement = (
            update(table).where(table.c.status == "DEAD").values(status="PENDING", attempts=0, create_time=time.time())
        )
        if task_id is not None:
            statement = statement.where(table.c.task_id == task_id)
        if seq is not None:
            statement = statement.where(table.c.seq == seq)
        return await self._database.run(lambda connection: connection.execute(statement).rowcount)

    async def backlog(self) -> dict[str, int]:
        """How many events there are of each status."""
        table = schema.outbox
        query = select(table.c.status, func.count()).group_by(table.c.status)
        return await self._database.run(
            lambda connection: {str(status): int(number) for status, number in connection.execute(query).all()}
        )
