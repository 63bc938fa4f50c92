"""What a source remembers between two runs; a convenience of the source, never the only memory of an object."""

from __future__ import annotations

from sqlalchemy import Connection, select

from watcher.state import schema
from watcher.state.database import Database, upsert
from watcher.state.leases import Lease, check


class Cursors:
    """A text per source."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, source: str) -> str | None:
        """The text saved last, or None."""
        query = select(schema.sources.c.cursor).where(schema.sources.c.name == source)
        return await self._database.run(lambda connection: connection.execute(query).scalar_one_or_none())

    async def save(self, source: str, cursor: str, lease: Lease | None = None) -> None:
        """Remember a text; raises LeaseLostError when whoever wants it does not hold the lease any more."""

        def write(connection: Connection) -> None:
            if lease is not None:
                check(connection, lease)
            upsert(connection, schema.sources, [{"name": source, "cursor": cursor}])

        await self._database.run(write)
