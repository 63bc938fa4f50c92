"""Objects that were heard of and can't be read yet: they are looked at again until they can, or are given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, case, delete, func, select

from watcher.state import schema
from watcher.state.database import Database, is_due, upsert

PAUSES = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0)
"""Seconds between two looks at an object that is not there (yet); after the last one it is taken for gone."""
RESTORE_PAUSE = 900.0
KEPT = 14 * 86_400.0
"""Seconds for which it is remembered that an object never came."""

Why = Literal["SETTLING", "ARCHIVED", "GONE"]


@dataclass(frozen=True, slots=True)
class Unready:
    """An object that can't be read: not there yet, archived, or given up. Times are seconds since 1970."""

    storage: str
    key: str
    state: Why
    source: str
    version_id: str | None = None
    mark: bytes | None = None
    since: float = 0.0
    not_before: float = 0.0
    tries: int = 0


def wait(connection: Connection, items: Sequence[Unready], now: float) -> None:
    """Remember them, in the caller's transaction; each with the time at which it is looked at again."""
    rows = []
    for item in items:
        state: Why = item.state
        if state == "SETTLING" and item.tries >= len(PAUSES):
            state = "GONE"
        pause = RESTORE_PAUSE if state == "ARCHIVED" else PAUSES[min(item.tries, len(PAUSES) - 1)]
        rows.append(
            {
                "storage": item.storage,
                "key": item.key.encode("utf-8", "surrogateescape"),
                "state": state,
                "source": item.source,
                "version_id": item.version_id or "",
                "mark": item.mark,
                "since": item.since or now,
                "not_before": now + pause,
                "tries": item.tries + 1,
            }
        )
    upsert(connection, schema.unready, rows)


class UnreadyObjects:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, now: float, limit: int = 200) -> list[Unready]:
        """Those to look at now."""
        table = schema.unready
        query = select(table).where(table.c.state != "GONE", is_due(table.c.not_before, now)).limit(limit)
        return await self._find(query)

    async def of_object(self, storage: str, key: str) -> Unready | None:
        """What is known of one object, if it is one of these."""
        table = schema.unready
        query = select(table).where(table.c.storage == storage, table.c.key == key.encode("utf-8", "surrogateescape"))
        return next(iter(await self._find(query)), None)

    async def _find(self, query: object) -> list[Unready]:
        def find(connection: Connection) -> list[Unready]:
            return [
                Unready(
                    row.storage,
                    row.key.decode("utf-8", "surrogateescape"),
                    row.state,
                    row.source,
                    row.version_id or None,
                    row.mark,
                    row.since,
                    row.not_before,
                    row.tries,
                )
                for row in connection.execute(query)  # type: ignore[call-overload]
            ]

        return await self._database.read(find)

    async def next_due(self, now: float) -> float | None:
        """When there is something to look at; None when there is nothing."""
        table = schema.unready
        when = case((is_due(table.c.not_before, now), 0.0), else_=table.c.not_before)
        query = select(func.min(when)).where(table.c.state != "GONE")
        return await self._database.read(lambda connection: connection.execute(query).scalar_one_or_none())

    async def remove(self, items: Sequence[Unready]) -> None:
        """They are what they should be."""
        table = schema.unready

        def drop(connection: Connection) -> None:
            for item in items:
                key = item.key.encode("utf-8", "surrogateescape")
                connection.execute(delete(table).where(table.c.storage == item.storage, table.c.key == key))

        await self._database.run(drop)

    async def purge(self, now: float) -> None:
        """Forget those that never came."""
        table = schema.unready
        statement = delete(table).where(table.c.state == "GONE", table.c.since < now - KEPT)
        await self._database.run(lambda connection: connection.execute(statement))

    async def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        table = schema.unready
        query = select(table.c.state, func.count()).group_by(table.c.state)
        return await self._database.read(
            lambda connection: {str(state): int(number) for state, number in connection.execute(query).all()}
        )
