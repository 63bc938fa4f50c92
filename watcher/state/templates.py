"""Templates that requests made."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from watcher.errors import PermanentError
from watcher.state import schema
from watcher.state.database import Database
from watcher.state.meters import changed


class TooManyTemplatesError(PermanentError):
    """There are as many of the family as there may be."""


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """A template as the state has it: ``body`` is the model's plain data."""

    definition: int
    family: str
    body: Mapping[str, Any]
    create_time: float
    update_time: float


class Templates:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> list[StoredTemplate]:
        """All of them, by definition."""
        table = schema.templates
        query = select(table).order_by(table.c.definition)
        return await self._database.run(
            lambda connection: [
                StoredTemplate(row.definition, row.family, row.body, row.create_time, row.update_time)
                for row in connection.execute(query)
            ]
        )

    async def create(self, family: str, body: Mapping[str, Any], limit: int) -> StoredTemplate:
        """Add one; raises TooManyTemplatesError when the family has ``limit`` of them."""
        now = time.time()
        table = schema.templates

        def add(connection: Connection) -> StoredTemplate:
            count = connection.execute(select(func.count()).select_from(table).where(table.c.family == family))
            if count.scalar_one() >= limit:
                raise TooManyTemplatesError(f"there are {limit} templates of this kind already, which is the limit")
            values = {"family": family, "body": dict(body), "create_time": now, "update_time": now}
            definition = connection.execute(insert(table).values(values).returning(table.c.definition)).scalar_one()
            changed(connection)
            return StoredTemplate(definition, family, body, now, now)

        return await self._database.run(add)

    async def replace(self, family: str, definition: int, body: Mapping[str, Any]) -> StoredTemplate | None:
        """Give one another body; None when there is none."""
        now = time.time()
        table = schema.templates
        statement = (
            update(table)
            .where(table.c.definition == definition, table.c.family == family)
            .values(body=dict(body), update_time=now)
            .returning(table.c.create_time)
        )

        def change(connection: Connection) -> StoredTemplate | None:
            made = connection.execute(statement).scalar_one_or_none()
            changed(connection)
            return StoredTemplate(definition, family, body, made, now) if made is not None else None

        return await self._database.run(change)

    async def delete(self, family: str, definition: int) -> bool:
        """Remove one; sub-tasks that name it fail from now on."""
        table = schema.templates
        statement = delete(table).where(table.c.definition == definition, table.c.family == family)

        def remove(connection: Connection) -> bool:
            changed(connection)
            return connection.execute(statement).rowcount == 1

        return await self._database.run(remove)
