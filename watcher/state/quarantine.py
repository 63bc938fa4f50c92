"""Messages of sources that nobody could read, kept as they came until a person has looked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote_plus

from sqlalchemy import Connection, delete, func, insert, select

from watcher.model.objects import ObjectInfo, Strange
from watcher.state import schema
from watcher.state.database import Database


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A message, where it came from, and why it was not read. ``heard`` is in seconds since 1970."""

    seq: int
    source: str
    reason: str
    body: bytes
    heard: float


def keep(connection: Connection, strange: Sequence[Strange], now: float) -> None:
    """Put messages in, in the caller's transaction."""
    rows = [{"source": item.source, "reason": item.reason, "body": item.body, "heard": now} for item in strange]
    if rows:
        connection.execute(insert(schema.quarantine), rows)


def chain_too_long(info: ObjectInfo, hops: int) -> Strange:
    """An output that would have started one workflow more than may feed each other, as a message that can be retried.

    Its bucket is the storage's name; a retry asks for the version that is there then.
    """
    about = {"bucket": {"name": info.storage}, "object": {"key": quote_plus(info.key)}}
    record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": about}
    reason = f"{info.uri} is the output of {hops} workflows in a row; raise max_hops if that is meant, and retry"
    return Strange("chain", reason, json.dumps({"Records": [record]}).encode())


class Quarantine:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, limit: int = 100) -> list[Quarantined]:
        """The newest first."""
        table = schema.quarantine
        query = select(table).order_by(table.c.seq.desc()).limit(limit)
        return await self._database.read(
            lambda connection: [
                Quarantined(row.seq, row.source, row.reason, row.body, row.heard) for row in connection.execute(query)
            ]
        )

    async def get(self, seq: int) -> Quarantined | None:
        """One of them."""
        query = select(schema.quarantine).where(schema.quarantine.c.seq == seq)

        def find(connection: Connection) -> Quarantined | None:
            row = connection.execute(query).one_or_none()
            return Quarantined(row.seq, row.source, row.reason, row.body, row.heard) if row is not None else None

        return await self._database.read(find)

    async def remove(self, seq: int) -> bool:
        """It was dealt with."""
        statement = delete(schema.quarantine).where(schema.quarantine.c.seq == seq)
        return await self._database.run(lambda connection: connection.execute(statement).rowcount == 1)

    async def count(self) -> int:
        """How many there are."""
        query = select(func.count()).select_from(schema.quarantine)
        return await self._database.read(lambda connection: int(connection.execute(query).scalar_one()))
