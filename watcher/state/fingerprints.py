"""What films of one directory may have in common: the fingerprints of their beginnings and ends."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select

from watcher.model.objects import place_of
from watcher.model.samples import FilmEnds
from watcher.state import schema
from watcher.state.database import Database, upsert

MOST = 16
"""Films that another one is compared with: those that came last."""


class Fingerprints:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, storage: str, key: str, ends: FilmEnds, now: float) -> None:
        """Remember a film."""
        row = {
            "directory": _directory(storage, key),
            "name": key.rpartition("/")[2].encode("utf-8", "surrogateescape"),
            "head": _packed(ends.head),
            "tail": _packed(ends.tail),
            "duration": ends.duration,
            "made": now,
        }
        await self._database.run(lambda connection: upsert(connection, schema.fingerprints, [row]))

    async def siblings(self, storage: str, key: str) -> tuple[FilmEnds, ...]:
        """The other films of the same directory."""
        table = schema.fingerprints
        name = key.rpartition("/")[2].encode("utf-8", "surrogateescape")
        query = (
            select(table)
            .where(table.c.directory == _directory(storage, key), table.c.name != name)
            .order_by(table.c.made.desc(), table.c.name)
            .limit(MOST)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return tuple(FilmEnds(_unpacked(row.head), _unpacked(row.tail), row.duration) for row in rows)

    async def purge(self, before: float) -> None:
        """Forget films that were seen before a time, in seconds since 1970."""
        table = schema.fingerprints
        await self._database.run(lambda connection: connection.execute(delete(table).where(table.c.made < before)))


def _directory(storage: str, key: str) -> bytes:
    return place_of(storage, key.rpartition("/")[0])


def _packed(values: Sequence[int]) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


def _unpacked(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[index : index + 4], "little") for index in range(0, len(data), 4))
