"""The registry of the objects that tasks write: the loop guard, and the clean-up after a kill."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select, update

from watcher.model.objects import ObjectInfo, format_lineage, key_digest, parse_lineage, version_digest
from watcher.state import schema
from watcher.state.database import CHUNK, Database, upsert


def lineages(connection: Connection, infos: Iterable[ObjectInfo]) -> dict[bytes, tuple[int, ...]]:
    """Of some versions: the lineage of those that we wrote, by version digest."""
    keys = {key_digest(info.storage, info.key): version_digest(info) for info in infos}
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
    """See the module."""

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
        await self._database.run(lambda connection: upsert(connection, schema.outputs, rows))

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
