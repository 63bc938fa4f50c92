"""The queue of tasks and their results.

A claim raises the task's epoch; every later write names it. A write with an older epoch comes from an owner that
lost the task, and is refused.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or

from watcher.errors import PermanentError
from watcher.model.objects import ObjectInfo, parse_lineage
from watcher.model.task import Status, StepResult, Task
from watcher.model.workflow import Workflow
from watcher.state import schema
from watcher.state.database import Database
from watcher.state.ledger import Match, task_row

MAX_ATTEMPTS = 10
"""Starts of one task, by retries and by daemons that died with it, before it is taken for the cause."""


class StaleOwnerError(PermanentError):
    """The task was claimed by somebody else since; what this owner has to say no longer counts."""


@dataclass(frozen=True, slots=True)
class OutgoingEvent:
    """A task event and the destinations it has to reach, committed with the change that it tells of."""

    event_id: str
    destinations: tuple[str, ...]
    body: dict[str, Any]


class Tasks:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recover(self) -> int:
        """Put back what a daemon that is gone was working on; for the one owner of the state, at its start."""
        table = schema.tasks
        statement = update(table).where(table.c.status == "PROCESSING").values(status="WAITING")
        return await self._database.run(lambda connection: connection.execute(statement).rowcount)

    async def claim(self, only: str | None = None) -> Task | None:
        """Take the next task, highest priority first, then oldest; None when nothing (or not ``only``) is due."""

        def take(connection: Connection) -> Task | None:
            table = schema.tasks
            now = time.time()
            chosen = (
                select(table.c.seq)
                .where(table.c.status == "WAITING", (table.c.not_before <= now) | table.c.abort)
                .order_by(table.c.priority.desc(), table.c.seq)
                .limit(1)
            )
            if only is not None:
                chosen = chosen.where(table.c.task_id == only)
            statement = (
                update(table)
                .where(table.c.seq == chosen.scalar_subquery())
                .values(
                    status="PROCESSING",
                    epoch=table.c.epoch + 1,
                    attempts=table.c.attempts + 1,
                    begin_time=func.coalesce(table.c.begin_time, now),
                )
                .returning(table)
            )
            row = connection.execute(statement).one_or_none()
            return _task(connection, row) if row is not None else None

        return await self._database.run(take)

    async def update(
        self,
        task: Task,
        results: Sequence[StepResult],
        *,
        metadata: dict[str, Any] | None = None,
        events: Sequence[OutgoingEvent] = (),
    ) -> None:
        """Record how the sub-tasks stand, with the events that tell of it."""
        values: dict[str, Any] = {"results": [asdict(result) for result in results]}
        if metadata is not None:
            values["metadata"] = metadata
        await self._write(task, values, events)

    async def finish(self, task: Task, events: Sequence[OutgoingEvent]) -> None:
        """Record the end of a task, as ``task`` has it, with its events: one commit."""
        values = {
            "status": "FINISH",
            "finish_time": task.finish_time,
            "code": task.code,
            "message": task.message,
            "failed": task.failed,
            "metadata": task.metadata,
            "results": [asdict(result) for result in task.results],
        }
        await self._write(task, values, events)

    async def put_back(self, task: Task, *, delay: float = 0.0, message: str = "", counted: bool = True) -> None:
        """Let the task wait again, ``delay`` seconds; ``counted`` False gives the attempt back."""
        values = {
            "status": "WAITING",
            "not_before": time.time() + delay if delay else 0.0,
            "message": message,
            "attempts": task.attempts - (0 if counted else 1),
        }
        await self._write(task, values, ())

    async def _write(self, task: Task, values: dict[str, Any], events: Sequence[OutgoingEvent]) -> None:
        def write(connection: Connection) -> None:
            table = schema.tasks
            owned = (table.c.task_id == task.task_id) & (table.c.epoch == task.epoch) & (table.c.status == "PROCESSING")
            if connection.execute(update(table).where(owned).values(**values)).rowcount != 1:
                raise StaleOwnerError(f"task {task.task_id} was taken over or retried meanwhile")
            add_events(connection, task.task_id, events)

        await self._database.run(write)

    async def to_abort(self) -> set[str]:
        """Ids of tasks being processed that somebody wants to end."""
        table = schema.tasks
        query = select(table.c.task_id).where(table.c.status == "PROCESSING", table.c.abort)
        return await self._database.run(lambda connection: {row.task_id for row in connection.execute(query)})

    async def request_abort(self, task_id: str) -> Status | None:
        """Ask for the end of a task; returns its status, or None when there is no such task."""
        table = schema.tasks

        def mark(connection: Connection) -> Status | None:
            connection.execute(
                update(table).where(table.c.task_id == task_id, table.c.status != "FINISH").values(abort=True)
            )
            status: Status | None = connection.execute(
                select(table.c.status).where(table.c.task_id == task_id)
            ).scalar_one_or_none()
            return status

        return await self._database.run(mark)

    async def retry(self, task_id: str) -> bool:
        """Queue a finished task again; False when it is not finished or does not exist."""
        table = schema.tasks
        statement = update(table).where(table.c.task_id == task_id, table.c.status == "FINISH").values(**_FRESH)
        return await self._database.run(lambda connection: connection.execute(statement).rowcount == 1)

    async def submit(self, match: Match, info: ObjectInfo, now: float) -> str:
        """Queue a task for an object now, even if the same task ran before; returns its id."""
        row = task_row(match, info, (), now)
        table = schema.tasks

        def put(connection: Connection) -> str:
            connection.execute(insert_or(table).values(row).on_conflict_do_nothing())
            again = update(table).where(table.c.task_id == row["task_id"], table.c.status == "FINISH")
            connection.execute(again.values(**_FRESH, plan=match.plan))
            return str(row["task_id"])

        return await self._database.run(put)

    async def get(self, task_id: str) -> Task | None:
        """One task with its plan; the beginning of an id is enough when it is unique."""
        table = schema.tasks

        def load(connection: Connection) -> Task | None:
            exact = connection.execute(select(table).where(table.c.task_id == task_id)).one_or_none()
            if exact is not None:
                return _task(connection, exact)
            pattern = f"%{_escape(task_id)}%"
            rows = connection.execute(select(table).where(table.c.task_id.like(pattern, escape="\\")).limit(2)).all()
            return _task(connection, rows[0]) if len(rows) == 1 else None

        return await self._database.run(load)

    async def list(self, *, status: Status | None = None, limit: int = 50) -> list[Task]:
        """The newest tasks first."""
        table = schema.tasks
        query = select(table).order_by(table.c.seq.desc()).limit(limit)
        if status is not None:
            query = query.where(table.c.status == status)
        return await self._database.run(
            lambda connection: [_task(connection, row) for row in connection.execute(query).all()]
        )

    async def counts(self) -> dict[str, int]:
        """How many tasks there are of each status, and ``failed`` ones."""
        table = schema.tasks

        def count(connection: Connection) -> dict[str, int]:
            rows = connection.execute(select(table.c.status, func.count()).group_by(table.c.status)).all()
            failed = connection.execute(select(func.count()).where(table.c.failed)).scalar() or 0
            return {**{str(status): int(number) for status, number in rows}, "failed": failed}

        return await self._database.run(count)

    async def purge(self, before: float) -> int:
        """Forget tasks that finished before a time, and their delivered events; the ledger still knows the objects."""
        tasks, outbox = schema.tasks, schema.outbox

        def remove(connection: Connection) -> int:
            connection.execute(delete(outbox).where(outbox.c.status == "DELIVERED", outbox.c.update_time < before))
            return connection.execute(delete(tasks).where(tasks.c.finish_time < before)).rowcount

        return await self._database.run(remove)


_FRESH: dict[str, Any] = {
    "status": "WAITING", "begin_time": None, "finish_time": None, "not_before": 0.0, "attempts": 0, "abort": False,
    "failed": False, "code": 0, "message": "", "results": [],
}  # fmt: skip


def add_events(connection: Connection, task_id: str, events: Sequence[OutgoingEvent]) -> None:
    """Put events into the outbox, in the caller's transaction; one that is there already stays as it is."""
    now = time.time()
    rows = [
        {
            "event_id": event.event_id,
            "task_id": task_id,
            "destination": destination,
            "body": event.body,
            "status": "PENDING",
            "attempts": 0,
            "create_time": now,
            "update_time": now,
            "error": "",
        }
        for event in events
        for destination in event.destinations
    ]
    if rows:
        connection.execute(insert(schema.outbox).prefix_with("OR IGNORE"), rows)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _task(connection: Connection, row: Row[Any]) -> Task:
    plan = connection.execute(select(schema.plans.c.body).where(schema.plans.c.id == row.plan)).scalar_one()
    return Task(
        task_id=row.task_id,
        workflow_id=row.workflow_id,
        workflow=Workflow.model_validate(plan),
        source=ObjectInfo(**row.source),
        status=row.status,
        priority=row.priority,
        lineage=parse_lineage(row.lineage),
        create_time=row.create_time,
        begin_time=row.begin_time,
        finish_time=row.finish_time,
        epoch=row.epoch,
        attempts=row.attempts,
        abort=row.abort,
        code=row.code,
        message=row.message,
        metadata=row.metadata,
        results=tuple(StepResult(**result) for result in row.results),
    )
