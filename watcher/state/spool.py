"""Messages that were taken from whoever does not ask twice, and are not committed yet.

Each belongs to the daemon that took it; those of daemons that are gone go to the next that asks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from watcher.state import schema
from watcher.state.database import CHUNK, Database
from watcher.state.leases import is_held


@dataclass(frozen=True, slots=True)
class Kept:
    """A message, as it came."""

    seq: int
    body: bytes


class SourceSpool:
    """The messages of one source and one daemon."""

    def __init__(self, database: Database, source: str, owner: str) -> None:
        self._database = database
        self._source = source
        self._owner = owner

    async def adopt(self) -> int:
        """Take what daemons left that are not alive any more; how many messages this one has now."""
        table, leases = schema.spool, schema.leases
        mine = table.c.source == self._source

        def take(connection: Connection) -> int:
            alive = select(leases.c.owner).where(is_held(connection, schema.DAEMON))
            left = (table.c.owner != self._owner) & table.c.owner.not_in(alive)
            connection.execute(update(table).where(mine & left).values(owner=self._owner))
            own = select(func.count()).select_from(table).where(mine, table.c.owner == self._owner)
            return int(connection.execute(own).scalar_one())

        return await self._database.run(take)

    async def keep(self, body: bytes) -> int:
        """Commit a message; returns its number."""
        new = insert(schema.spool).values(source=self._source, owner=self._owner, body=body)
        new = new.returning(schema.spool.c.seq)
        return await self._database.run(lambda connection: int(connection.execute(new).scalar_one()))

    async def kept(self, behind: int, limit: int, besides: Collection[int] = ()) -> list[Kept]:
        """Messages behind a number, the oldest first, but for some; at most ``limit``."""
        table = schema.spool
        own = (table.c.source == self._source) & (table.c.owner == self._owner) & (table.c.seq > behind)
        numbers = select(table.c.seq).where(own).order_by(table.c.seq).limit(limit + len(besides))

        def find(connection: Connection) -> list[Kept]:
            chosen = [seq for seq in connection.execute(numbers).scalars() if seq not in besides][:limit]
            query = select(table.c.seq, table.c.body).where(table.c.seq.in_(chosen)).order_by(table.c.seq)
            return [Kept(row.seq, row.body) for row in connection.execute(query)]

        return await self._database.read(find)

    async def drop(self, numbers: Sequence[int]) -> None:
        """They are committed elsewhere."""
        table = schema.spool

        def remove(connection: Connection) -> None:
            for start in range(0, len(numbers), CHUNK):
                connection.execute(delete(table).where(table.c.seq.in_(numbers[start : start + CHUNK])))

        await self._database.run(remove)


class Spool:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, source: str, owner: str) -> SourceSpool:
        """The messages of one source and one daemon."""
        return SourceSpool(self._database, source, owner)

    async def counts(self) -> dict[str, int]:
        """How many messages are kept, by source."""
        query = select(schema.spool.c.source, func.count()).group_by(schema.spool.c.source)
        return await self._database.read(
            lambda connection: {name: int(count) for name, count in connection.execute(query)}
        )
