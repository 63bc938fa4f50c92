"""Workflows as the state knows them: an id for each, and every body one ever had."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or

from watcher.model.workflow import Workflow
from watcher.state import schema
from watcher.state.database import Database
from watcher.state.ledger import Match


@dataclass(frozen=True, slots=True)
class StoredWorkflow:
    """A workflow with the id it has in the state. ``origin`` is the file it comes from."""

    workflow_id: int
    plan: bytes
    origin: str
    workflow: Workflow

    @property
    def match(self) -> Match:
        """What intake needs to know of it."""
        body = self.workflow
        return Match(self.workflow_id, body.workflow_name, self.plan, body.task_priority, body.accept_outputs)


class Workflows:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, files: Sequence[tuple[str, Workflow]]) -> list[StoredWorkflow]:
        """Make the state hold exactly these workflows, given as (origin, workflow).

        A workflow that is gone and comes back under the same name gets a new id: it is another workflow.
        """
        return await self._database.run(lambda connection: _apply(connection, files))

    async def list(self) -> list[StoredWorkflow]:
        """All workflows, by id."""
        return await self._database.run(_load)


def _apply(connection: Connection, files: Sequence[tuple[str, Workflow]]) -> list[StoredWorkflow]:
    now = time.time()
    table = schema.workflows
    existing = {row.name: row for row in connection.execute(select(table)).all()}
    bodies: dict[bytes, dict[str, object]] = {}
    added: list[dict[str, object]] = []
    for origin, workflow in files:
        text = workflow.model_dump_json(exclude_none=True)
        plan = hashlib.blake2b(text.encode(), digest_size=16).digest()
        bodies[plan] = workflow.model_dump(mode="json", exclude_none=True)
        row = existing.pop(workflow.workflow_name, None)
        if row is None:
            added.append(
                {"name": workflow.workflow_name, "origin": origin, "plan": plan, "create_time": now, "update_time": now}
            )
        elif (row.plan, row.origin) != (plan, origin):
            connection.execute(
                update(table).where(table.c.id == row.id).values(plan=plan, origin=origin, update_time=now)
            )
    if bodies:
        rows = [{"id": plan, "body": body} for plan, body in bodies.items()]
        connection.execute(insert_or(schema.plans).on_conflict_do_nothing(), rows)
    for row in existing.values():
        connection.execute(delete(table).where(table.c.id == row.id))
    if added:
        connection.execute(insert(table), added)
    return _load(connection)


def _load(connection: Connection) -> list[StoredWorkflow]:
    table, plans = schema.workflows, schema.plans
    query = select(table, plans.c.body).join(plans, plans.c.id == table.c.plan).order_by(table.c.id)
    return [
        StoredWorkflow(row.id, row.plan, row.origin, Workflow.model_validate(row.body))
        for row in connection.execute(query).all()
    ]
