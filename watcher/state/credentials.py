"""Key pairs that ``watcher credentials`` made. A signature needs the key itself, so it can't be kept as a hash."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from sqlalchemy import delete, insert, select

from watcher.state import schema
from watcher.state.database import Database


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A key pair, what it may do, and the patterns of the buckets it may name."""

    secret_id: str
    secret_key: str = field(repr=False)
    rights: str
    buckets: tuple[str, ...]
    create_time: float = 0.0


class Credentials:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> list[StoredCredential]:
        """All of them, oldest first."""
        table = schema.credentials
        query = select(table).order_by(table.c.create_time)
        return await self._database.run(
            lambda connection: [
                StoredCredential(row.secret_id, row.secret_key, row.rights, tuple(row.buckets), row.create_time)
                for row in connection.execute(query)
            ]
        )

    async def add(self, credential: StoredCredential) -> None:
        """Keep a new one."""
        values = {
            "secret_id": credential.secret_id,
            "secret_key": credential.secret_key,
            "rights": credential.rights,
            "buckets": list(credential.buckets),
            "create_time": time.time(),
        }
        statement = insert(schema.credentials).values(values)
        await self._database.run(lambda connection: connection.execute(statement))

    async def revoke(self, secret_id: str) -> bool:
        """Forget one."""
        statement = delete(schema.credentials).where(schema.credentials.c.secret_id == secret_id)
        return await self._database.run(lambda connection: connection.execute(statement).rowcount == 1)
