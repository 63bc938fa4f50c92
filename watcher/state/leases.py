"""What one daemon does for all: held for a while, renewed, and numbered, so that whoever slept through its end is told.

Times are the database's own: the clocks of the daemons may differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Float, cast, delete, func, literal_column, select, update

from watcher.errors import PermanentError
from watcher.state import schema
from watcher.state.database import Database, inserting


class LeaseLostError(PermanentError):
    """Somebody else holds the lease since; what this owner has to say no longer counts."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that was taken: each taking by another owner has a larger epoch."""

    name: str
    owner: str
    epoch: int


def now_of(connection: Connection) -> ColumnElement[float]:
    """The database's clock, in seconds since 1970."""
    if connection.dialect.name == "postgresql":
        return cast(func.extract("epoch", func.clock_timestamp()), Float)
    return literal_column("((julianday('now') - 2440587.5) * 86400.0)", Float)


def check(connection: Connection, lease: Lease) -> None:
    """Raise LeaseLostError unless the lease is still held, in the caller's transaction."""
    table = schema.leases
    held = select(table.c.epoch).where(table.c.name == lease.name, table.c.owner == lease.owner)
    if connection.dialect.name == "postgresql":
        held = held.with_for_update()
    if connection.execute(held).scalar_one_or_none() != lease.epoch:
        raise LeaseLostError(f"{lease.name} was taken over by another daemon")


def is_held(connection: Connection, prefix: str) -> ColumnElement[bool]:
    """Of a lease whose name begins so: whether somebody holds it now."""
    return schema.leases.c.name.startswith(prefix) & (schema.leases.c.expires > now_of(connection))


class Leases:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, name: str, owner: str, seconds: float) -> Lease | None:
        """Take or renew a lease; None when another owner holds it."""
        table = schema.leases

        def take(connection: Connection) -> Lease | None:
            now = now_of(connection)
            new = inserting(connection, table).values(name=name, owner=owner, epoch=1, expires=now + seconds)
            connection.execute(new.on_conflict_do_nothing())
            free = (table.c.owner == owner) | (table.c.expires < now)
            statement = (
                update(table)
                .where(table.c.name == name, free)
                .values(
                    epoch=table.c.epoch + (table.c.owner != owner).cast(table.c.epoch.type),
                    owner=owner,
                    expires=now + seconds,
                )
                .returning(table.c.epoch)
            )
            epoch = connection.execute(statement).scalar_one_or_none()
            return Lease(name, owner, epoch) if epoch is not None else None

        return await self._database.run(take)

    async def give_up(self, lease: Lease) -> None:
        """Let others have it at once; its epochs go on."""
        table = schema.leases
        mine = (table.c.name == lease.name) & (table.c.owner == lease.owner)
        await self._database.run(lambda connection: connection.execute(update(table).where(mine).values(expires=0.0)))

    async def alive(self, prefix: str) -> set[str]:
        """The owners of the leases that are held now, of those whose names begin so."""
        table = schema.leases

        def find(connection: Connection) -> set[str]:
            return set(connection.execute(select(table.c.owner).where(is_held(connection, prefix))).scalars())

        return await self._database.read(find)

    async def purge(self, prefix: str, seconds: float) -> None:
        """Forget those that ran out long ago."""
        table = schema.leases

        def drop(connection: Connection) -> None:
            old = table.c.name.startswith(prefix) & (table.c.expires < now_of(connection) - seconds)
            connection.execute(delete(table).where(old))

        await self._database.run(drop)
