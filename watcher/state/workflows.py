"""Workflows and schedules as the state knows them: an id for each, and every body one ever had."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Update, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from watcher.errors import ConfigurationError, PermanentError, Problem
from watcher.model.order import TaskKind
from watcher.model.orders import parse_triggered
from watcher.model.workflow import Triggered
from watcher.state import schema
from watcher.state.database import Database, insert_new, inserting
from watcher.state.ledger import Match
from watcher.state.meters import changed, changes


class NameTakenError(PermanentError):
    """Another workflow (or schedule) is called so."""


class TooManyError(PermanentError):
    """There are as many as there may be."""


@dataclass(frozen=True, slots=True)
class StoredWorkflow:
    """A workflow or schedule with the id it has in the state. ``origin`` is the file it comes from, empty for none."""

    workflow_id: int
    plan: bytes
    origin: str
    workflow: Triggered
    create_time: float = 0.0
    update_time: float = 0.0

    @property
    def match(self) -> Match:
        """What intake needs to know of it."""
        body = self.workflow
        return Match(self.workflow_id, body.name, self.plan, body.priority, body.accept_outputs, body.kind)


class Workflows:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, files: Sequence[tuple[str, Triggered]]) -> list[StoredWorkflow]:
        """Make the state hold exactly these of files, given as (origin, body), beside those that requests made.

        A workflow that is gone and comes back under the same name gets a new id: it is another workflow. Raises
        ConfigurationError where a request made one of the same name before.
        """
        return await self._database.run(lambda connection: _apply(connection, files))

    async def list(self) -> list[StoredWorkflow]:
        """All of them, by id."""
        return await self._database.run(_load)

    async def create(self, body: Triggered, limit: int) -> StoredWorkflow:
        """Add one that a request describes; raises NameTakenError or TooManyError."""
        now = time.time()
        plan, plain = _plan(body)
        table = schema.workflows
        row = {"kind": body.kind, "name": body.name, "origin": "", "plan": plan, "create_time": now, "update_time": now}

        def add(connection: Connection) -> StoredWorkflow:
            # Ids only grow, so that the count is needed but near the limit.
            newest = connection.execute(select(func.max(table.c.id))).scalar() or 0
            if newest - FIRST_ID > limit and connection.execute(select(func.count(table.c.id))).scalar_one() >= limit:
                raise TooManyError(f"there are {limit} workflows and schedules already, which is the limit")
            insert_new(connection, schema.plans, [{"id": plan, "body": plain}])
            statement = inserting(connection, table).values(row).on_conflict_do_nothing().returning(table.c.id)
            made = connection.execute(statement).scalar_one_or_none()
            if made is None:
                raise NameTakenError(f"there is another one called {body.name!r}; names are unique")
            changed(connection)
            return StoredWorkflow(made, plan, "", body, now, now)

        return await self._database.run(add)

    async def replace(self, workflow_id: int, body: Triggered) -> StoredWorkflow | None:
        """Give one another body; None when there is none of this id. Raises NameTakenError."""
        now = time.time()
        plan, plain = _plan(body)
        table = schema.workflows

        def change(connection: Connection) -> StoredWorkflow | None:
            insert_new(connection, schema.plans, [{"id": plan, "body": plain}])
            statement = (
                update(table)
                .where(table.c.id == workflow_id, table.c.kind == body.kind)
                .values(name=body.name, plan=plan, update_time=now)
                .returning(table)
            )
            try:
                with connection.begin_nested():
                    row = connection.execute(statement).one_or_none()
                changed(connection)
            except IntegrityError:
                raise NameTakenError(f"there is another one called {body.name!r}; names are unique") from None
            return StoredWorkflow(row.id, plan, row.origin, body, row.create_time, now) if row is not None else None

        return await self._database.run(change)

    async def delete(self, workflow_id: int) -> bool:
        """Remove one; its tasks go on."""
        statement = delete(schema.workflows).where(schema.workflows.c.id == workflow_id)

        def remove(connection: Connection) -> bool:
            changed(connection)
            return connection.execute(statement).rowcount == 1

        return await self._database.run(remove)

    async def changes(self) -> int:
        """How many changes of workflows and templates there were, by any daemon."""
        return await self._database.read(changes)


FIRST_ID = 10_000
"""Ids are larger than this."""


def _plan(body: Triggered) -> tuple[bytes, dict[str, object]]:
    text = body.model_dump_json(exclude_none=True)
    return hashlib.blake2b(text.encode(), digest_size=16).digest(), body.model_dump(mode="json", exclude_none=True)


def _of_files(connection: Connection, files: Sequence[tuple[str, Triggered]]) -> dict[tuple[TaskKind, str], Row[Any]]:
    """Those that files described so far; raises ConfigurationError where a request made one of the same name."""
    existing: dict[tuple[TaskKind, str], Row[Any]] = {}
    taken: set[tuple[TaskKind, str]] = set()
    for row in connection.execute(select(schema.workflows)).all():
        if row.origin:
            existing[row.kind, row.name] = row
        else:
            taken.add((row.kind, row.name))
    problems = [
        Problem(origin, f"{body.name!r} is already the name of one that was made through the API; call it otherwise")
        for origin, body in files
        if (body.kind, body.name) in taken
    ]
    if problems:
        raise ConfigurationError(problems)
    return existing


def _apply(connection: Connection, files: Sequence[tuple[str, Triggered]]) -> list[StoredWorkflow]:
    now = time.time()
    table = schema.workflows
    existing = _of_files(connection, files)
    bodies: dict[bytes, dict[str, object]] = {}
    added: list[dict[str, object]] = []
    updates: list[Update] = []
    for origin, body in files:
        plan, plain = _plan(body)
        bodies[plan] = plain
        known = existing.pop((body.kind, body.name), None)
        if known is None:
            named = {"kind": body.kind, "name": body.name, "origin": origin}
            added.append({**named, "plan": plan, "create_time": now, "update_time": now})
        elif (known.plan, known.origin) != (plan, origin):
            updates.append(
                update(table).where(table.c.id == known.id).values(plan=plan, origin=origin, update_time=now)
            )
    insert_new(connection, schema.plans, [{"id": plan, "body": body} for plan, body in bodies.items()])
    for statement in updates:
        connection.execute(statement)
    for gone in existing.values():
        connection.execute(delete(table).where(table.c.id == gone.id))
    if added:
        connection.execute(insert(table), added)
    if added or updates or existing:
        changed(connection)
    return _load(connection)


def _load(connection: Connection) -> list[StoredWorkflow]:
    table, plans = schema.workflows, schema.plans
    query = select(table, plans.c.body).join(plans, plans.c.id == table.c.plan).order_by(table.c.id)
    return [
        StoredWorkflow(row.id, row.plan, row.origin, parse_triggered(row.body), row.create_time, row.update_time)
        for row in connection.execute(query).all()
    ]
