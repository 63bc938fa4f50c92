"""Counters that outlive the process, and that daemons on one state share."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select

from watcher.errors import WatcherError
from watcher.state import schema
from watcher.state.database import Database, inserting


class CatalogChangedError(WatcherError):
    """Another daemon changed workflows or templates since this one read them."""


def count(connection: Connection, name: str, by: float = 1.0) -> None:
    """Add to a counter, in the caller's transaction."""
    table = schema.meters
    new = inserting(connection, table).values(name=name, value=by)
    connection.execute(new.on_conflict_do_update(index_elements=[table.c.name], set_={"value": table.c.value + by}))


def changed(connection: Connection) -> None:
    """Count a change of workflows or templates, so that other daemons read them again."""
    count(connection, schema.CATALOG)


def changes(connection: Connection) -> int:
    """How many changes of workflows and templates there were."""
    query = select(schema.meters.c.value).where(schema.meters.c.name == schema.CATALOG)
    return int(connection.execute(query).scalar_one_or_none() or 0)


class Meters:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, values: Mapping[str, float]) -> None:
        """Add to counters."""

        def write(connection: Connection) -> None:
            for name, by in sorted(values.items()):
                count(connection, name, by)

        if values:
            await self._database.run(write)

    async def all(self) -> dict[str, float]:
        """All counters."""
        query = select(schema.meters)
        return await self._database.read(lambda connection: {row.name: row.value for row in connection.execute(query)})
