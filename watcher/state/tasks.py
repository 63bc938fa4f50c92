"""The queue of tasks and their results.

A claim raises the task's epoch; every later write names it. A write with an older epoch comes from an owner that
lost the task, and is refused.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    FromClause,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    true,
    update,
)

from watcher.errors import PermanentError
from watcher.model.objects import ObjectInfo, digest, parse_lineage
from watcher.model.order import Order
from watcher.model.orders import parse_order
from watcher.model.task import Status, StepResult, Task, new_task_id
from watcher.state import schema
from watcher.state.database import Database, each_value, insert_new, is_due, upsert
from watcher.state.ledger import Match, task_row

SESSION_WINDOW = 3 * 86_400.0
"""Seconds within which a SessionId can be used once (contract tasks.md, section 1.1)."""
LONGEST_SESSION_WINDOW = 30 * 86_400.0
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


class SessionUsedError(PermanentError):
    """A request with this SessionId was made not long ago."""


@dataclass(frozen=True, slots=True)
class NewRequest:
    """What a request asks for, besides its order. ``source`` may be known by name only."""

    order: Order
    source: ObjectInfo
    session_id: str = ""
    session_context: str = ""
    offline: bool = False


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks are wanted. ``storages`` are those of the sources that may be seen; None is all."""

    status: Status | None = None
    failed: bool | None = None
    start: float | None = None
    end: float | None = None
    storages: tuple[str, ...] | None = None
    pictures: bool | None = None
    """Whether tasks about pictures are wanted, or the others; None is both."""

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """As parts of a query."""
        table = schema.tasks
        if self.status is not None:
            yield table.c.status == self.status
        if self.failed is not None:
            yield table.c.failed == self.failed
        if self.start is not None:
            yield table.c.create_time >= self.start
        if self.end is not None:
            yield table.c.create_time <= self.end
        if self.storages is not None:
            yield table.c.storage.in_(self.storages)
        if self.pictures is not None:
            yield (table.c.kind == "ImageTask") if self.pictures else (table.c.kind != "ImageTask")


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Some tasks, where the next page begins (None: there is none), and how many there are in all."""

    tasks: list[Task]
    following: int | None
    total: int


class Tasks:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._totals: dict[TaskFilter, tuple[int, float]] = {}
        self._counting = 0.0
        """Seconds that the last count took."""

    async def recover(self, alive: Collection[str] = ()) -> set[str]:
        """Put back what daemons that are gone were working on; ``alive`` are the owners that are not."""
        table = schema.tasks
        lost = (table.c.status == "PROCESSING") & table.c.owner.not_in(alive)
        statement = update(table).where(lost).values(status="WAITING").returning(table.c.task_id)
        return await self._database.run(lambda connection: set(connection.execute(statement).scalars()))

    async def claim(
        self, only: str | None = None, *, owner: str = "", limits: Mapping[int, int] | None = None
    ) -> Task | None:
        """Take the next task; None when nothing (or not ``only``) is due.

        What was asked for by hand goes first, then what just came, then backfills; among those higher priorities,
        then the storage and the workflow of which the fewest tasks run, then the oldest. Offline tasks are taken when
        no other one waits or runs. ``limits`` says how many tasks of a workflow may run at once, by its id.
        """

        def take(connection: Connection) -> Task | None:
            now = time.time()
            if only is not None:
                seq = connection.execute(select(schema.tasks.c.seq).where(_due(now), schema.tasks.c.task_id == only))
                return _claim(connection, seq.scalar_one_or_none(), now, owner)
            while (seq_ := _next(connection, now, limits or {})) is not None:
                task = _claim(connection, seq_, now, owner)
                if task is not None:  # else another daemon was quicker
                    return task
            return None

        return await self._database.run(take)

    async def submit_request(self, request: NewRequest, now: float, *, session_window: float = SESSION_WINDOW) -> str:
        """Queue the task of a request; returns its id. Raises SessionUsedError, and makes no task."""
        order, source = request.order, request.source
        task_id = new_task_id(source, order.kind)
        plan = digest("request", task_id)  # no other task has it, so that it can go when the task goes
        match = Match(0, order.name, plan, order.priority, False, order.kind)
        row = task_row(match, source, (), now) | {
            "task_id": task_id,
            "session_id": request.session_id,
            "session_context": request.session_context,
            "offline": request.offline,
        }
        body = order.model_dump(mode="json", exclude_none=True)

        def put(connection: Connection) -> str:
            if request.session_id:
                _use_session(connection, request.session_id, now, session_window)
            connection.execute(insert(schema.plans).values(id=plan, body=body))
            connection.execute(insert(schema.tasks).values(row))
            return task_id

        return await self._database.run(put)

    async def resolve(self, task: Task, info: ObjectInfo) -> Task:
        """Record the version of the source that the task is about, so that a later attempt takes the same."""
        known = replace(info, metadata=None)
        source = asdict(known)
        del source["metadata"]
        await self._write(task, {"source": source}, ())
        return replace(task, source=known)

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
        return await self._mark(task_id, schema.tasks.c.status != "FINISH", abort=True)

    async def abort_waiting(self, task_id: str) -> Status | None:
        """Ask for the end of a task if it waits; returns its status, or None when there is no such task."""
        return await self._mark(task_id, schema.tasks.c.status == "WAITING", abort=True)

    async def set_priority(self, task_id: str, priority: int) -> Status | None:
        """Change the priority of a task if it waits; returns its status, or None when there is no such task."""
        return await self._mark(task_id, schema.tasks.c.status == "WAITING", priority=priority)

    async def _mark(self, task_id: str, condition: ColumnElement[bool], **values: Any) -> Status | None:
        """Change a task where the condition holds; returns its status, which that does not change."""
        table = schema.tasks

        def mark(connection: Connection) -> Status | None:
            connection.execute(update(table).where(table.c.task_id == task_id, condition).values(**values))
            status: Status | None = connection.execute(
                select(table.c.status).where(table.c.task_id == task_id)
            ).scalar_one_or_none()
            return status

        return await self._database.run(mark)

    async def retry(self, task_id: str) -> bool:
        """Queue a finished task again; False when it is not finished or does not exist."""
        table = schema.tasks
        statement = (
            update(table).where(table.c.task_id == task_id, table.c.status == "FINISH").values(**FRESH, lane=BY_HAND)
        )
        return await self._database.run(lambda connection: connection.execute(statement).rowcount == 1)

    async def submit(self, match: Match, info: ObjectInfo, now: float) -> str:
        """Queue a task for an object now, even if the same task ran before; returns its id."""
        row = task_row(match, info, (), now) | {"lane": BY_HAND}
        table = schema.tasks

        def put(connection: Connection) -> str:
            insert_new(connection, table, [row])
            again = update(table).where(table.c.task_id == row["task_id"], table.c.status == "FINISH")
            connection.execute(again.values(**FRESH, plan=match.plan, lane=BY_HAND))
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

    async def load(self, task_id: str) -> Task | None:
        """One task with its plan, by its whole id; read beside what is being written."""
        query = select(schema.tasks).where(schema.tasks.c.task_id == task_id)

        def find(connection: Connection) -> Task | None:
            row = connection.execute(query).one_or_none()
            return _task(connection, row) if row is not None else None

        return await self._database.read(find)

    async def of_object(self, storage: str, key: str, limit: int = 20) -> list[Task]:
        """The tasks over an object, newest first."""
        table = schema.tasks
        query = select(table).where(table.c.storage == storage, table.c.key == key).order_by(table.c.seq.desc())
        return await self._database.read(
            lambda connection: [_task(connection, row) for row in connection.execute(query.limit(limit)).all()]
        )

    async def list(self, *, status: Status | None = None, limit: int = 50) -> list[Task]:
        """The newest tasks first."""
        return (await self.page(TaskFilter(status=status), limit=limit)).tasks

    async def page(self, wanted: TaskFilter, *, before: int | None = None, limit: int = 50) -> TaskPage:
        """Tasks, newest first: those made before the one that ``before`` stands for."""
        table = schema.tasks
        query = select(table).where(*wanted.conditions()).order_by(table.c.seq.desc()).limit(limit + 1)
        if before is not None:
            query = query.where(table.c.seq < before)

        def find(connection: Connection) -> TaskPage:
            rows = connection.execute(query).all()
            tasks = [_task(connection, row) for row in rows[:limit]]
            following = int(rows[limit - 1].seq) if len(rows) > limit else None
            return TaskPage(tasks, following, self._total(connection, wanted))

        return await self._database.read(find)

    def _total(self, connection: Connection, wanted: TaskFilter) -> int:
        """How many there are. Counting takes long where there are many, so a number is kept for ten times as long."""
        # A window that moves with the clock is the same one within a minute.
        key = replace(wanted, start=wanted.start and wanted.start // 60)
        found, then = self._totals.get(key, (0, 0.0))
        started = time.monotonic()
        if started - then < self._counting * 10:
            return found
        count = select(func.count()).select_from(schema.tasks).where(*wanted.conditions())
        found = int(connection.execute(count).scalar_one())
        self._counting = time.monotonic() - started
        if len(self._totals) > KEPT_TOTALS:
            self._totals.clear()
        self._totals[key] = found, time.monotonic()
        return found

    async def oldest_waiting(self) -> float | None:
        """When the oldest task that waits was made; None when none does."""
        table = schema.tasks
        oldest = select(table.c.create_time).where(table.c.status == "WAITING").order_by(table.c.seq).limit(1)
        return await self._database.read(lambda connection: connection.execute(oldest).scalar_one_or_none())

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
        tasks, outbox, plans, sessions = schema.tasks, schema.outbox, schema.plans, schema.sessions
        old = tasks.c.finish_time < before

        def remove(connection: Connection) -> int:
            connection.execute(delete(outbox).where(outbox.c.status == "DELIVERED", outbox.c.update_time < before))
            requested = select(tasks.c.plan).where(old, tasks.c.workflow_id == 0)
            connection.execute(delete(plans).where(plans.c.id.in_(requested)))
            return connection.execute(delete(tasks).where(old)).rowcount

        removed = await self._database.run(remove)
        forgotten = delete(sessions).where(sessions.c.used < time.time() - LONGEST_SESSION_WINDOW)
        await self._database.run(lambda connection: connection.execute(forgotten))
        return removed

    async def hurry(self, before: float) -> int:
        """Offline tasks that were made before a time have waited long enough: they become like all others."""
        table = schema.tasks
        statement = update(table).where(
            table.c.status == "WAITING", table.c.offline == true(), table.c.create_time < before
        )
        return await self._database.run(lambda connection: connection.execute(statement.values(offline=False)).rowcount)


FRESH: dict[str, Any] = {
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
    insert_new(connection, schema.outbox, rows)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _due(now: float) -> ColumnElement[bool]:
    table = schema.tasks
    return (table.c.status == "WAITING") & (is_due(table.c.not_before, now) | table.c.abort)


BY_HAND, JUST_CAME, BACKFILL = LANES = (-1, 0, 1)
"""Asked for by hand; just come; there before. Tasks of an earlier lane go first."""


def _next(connection: Connection, now: float, limits: Mapping[int, int]) -> int | None:
    """The task that is to be taken next."""
    table = schema.tasks
    count = (
        select(table.c.workflow_id, table.c.storage, table.c.offline, func.count())
        .where(table.c.status == "PROCESSING")
        .group_by(table.c.workflow_id, table.c.storage, table.c.offline)
    )
    running = connection.execute(count).all()
    of_workflow: Counter[int] = Counter()
    of_storage: Counter[str] = Counter()
    for workflow_id, storage, _, number in running:
        of_workflow[workflow_id] += number
        of_storage[storage] += number
    full = {workflow_id for workflow_id, limit in limits.items() if of_workflow[workflow_id] >= limit}
    for offline in (False, True):
        if offline and any(not row.offline for row in running):
            return None
        for lane in LANES:
            heads = [
                row
                for row in connection.execute(first_of_each(offline, lane), {"now": now})
                if row.workflow_id not in full
            ]
            if heads:
                best = min(
                    heads,
                    key=lambda row: (-row.priority, of_storage[row.storage], of_workflow[row.workflow_id], row.seq),
                )
                return int(best.seq)
    return None


@cache
def first_of_each(offline: bool, lane: int) -> Select[Any]:
    """The first task that is due (at the parameter ``now``) of each workflow that has one. To put the statement
    together takes longer than to run it."""
    now = bindparam("now", type_=Float)
    task = schema.tasks.alias()

    def queue(of: FromClause) -> ColumnElement[bool]:
        found: ColumnElement[bool] = (of.c.status == "WAITING") & (of.c.offline == offline) & (of.c.lane == lane)
        return found

    workflow = each_value(schema.tasks, "workflow_id", queue)
    head = (
        select(task.c.seq)
        .where(queue(task), task.c.workflow_id == workflow.c.value, is_due(task.c.not_before, now) | task.c.abort)
        .order_by(task.c.priority.desc(), task.c.seq)
        .limit(1)
    )
    seqs = select(head.scalar_subquery()).where(workflow.c.value.is_not(None))
    final = schema.tasks.alias()
    return select(final.c.seq, final.c.workflow_id, final.c.storage, final.c.priority).where(final.c.seq.in_(seqs))


def _claim(connection: Connection, seq: int | None, now: float, owner: str) -> Task | None:
    """Take a task, unless somebody else has it."""
    table = schema.tasks
    statement = (
        update(table)
        .where(table.c.seq == seq, table.c.status == "WAITING")
        .values(
            status="PROCESSING",
            epoch=table.c.epoch + 1,
            attempts=table.c.attempts + 1,
            begin_time=func.coalesce(table.c.begin_time, now),
            owner=owner,
        )
        .returning(table)
    )
    row = connection.execute(statement).one_or_none()
    return _task(connection, row) if row is not None else None


def _use_session(connection: Connection, session_id: str, now: float, window: float) -> None:
    table = schema.sessions
    key = digest("session", session_id)
    used = connection.execute(select(table.c.used).where(table.c.id == key)).scalar_one_or_none()
    if used is not None and used > now - window:
        raise SessionUsedError("a request with this SessionId was made not long ago")
    upsert(connection, table, [{"id": key, "used": now}])


KEPT_TOTALS = 256
_KEPT_ORDERS = 512
_orders: OrderedDict[bytes, Order] = OrderedDict()
"""Orders read lately, by plan: a plan never changes, and reading one takes longer than finding its row."""


def _order(connection: Connection, plan: bytes) -> Order:
    known = _orders.get(plan)
    if known is not None:
        return known
    order = parse_order(connection.execute(select(schema.plans.c.body).where(schema.plans.c.id == plan)).scalar_one())
    _orders[plan] = order
    while len(_orders) > _KEPT_ORDERS:
        with contextlib.suppress(KeyError):  # another thread was quicker
            _orders.popitem(last=False)
    return order


def _task(connection: Connection, row: Row[Any]) -> Task:
    return Task(
        task_id=row.task_id,
        workflow_id=row.workflow_id,
        order=_order(connection, row.plan),
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
        session_id=row.session_id,
        session_context=row.session_context,
        offline=row.offline,
        lane=row.lane,
        results=tuple(StepResult(**result) for result in row.results),
    )
