"""The state's database: one thread that writes to it, and two that read.

Each operation is a plain function over a connection, run as one transaction in a thread of its own. So a
transaction can't be interleaved with another of this process, and cancelling whoever waits for it never leaves it half
done. Operations that wait at the same time share one commit, each behind a savepoint of its own: the disk is waited
for once. See ``docs/decisions/0002-state-in-one-thread.md``.

What is different between an SQLite file, which serves one daemon, and PostgreSQL, which serves several, is in
``_sqlite`` and ``_postgresql``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import CTE, ColumnElement, Connection, Engine, FromClause, Table, func, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError

from watcher.errors import ConfigurationError, PermanentError, Problem, TransientError, WatcherError
from watcher.state import schema

T = TypeVar("T")
BATCH = 128
"""Operations that one commit takes at most."""
READERS = 2
READ_BATCH = 8
CHUNK = 400
"""Values that one ``IN`` names at most."""
_MIGRATIONS = Path(__file__).parent / "migrations"


class Backend(Protocol):
    """Where the tables are. Its methods block."""

    where: str
    """For messages; without a password."""
    shared: bool
    """Whether several daemons may use it."""

    @property
    def exists(self) -> bool:
        """Whether there may be tables already."""

    def connect(self, readers: int) -> tuple[Engine, Engine]:
        """An engine to write with, and one to read with; raises ConfigurationError when it can't be used."""

    def lock(self) -> None:
        """Be the one daemon on it; raises ConfigurationError when there is one already. Nothing where it is shared."""

    def owner(self) -> int | None:
        """The process id of the daemon that uses it now, where that is known."""

    def close(self) -> None:
        """Give up the lock."""


def inserting(connection: Connection, table: Table) -> Any:
    """An INSERT that knows ON CONFLICT, of the database's dialect."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, in place of those with the same primary key."""
    if rows:
        statement = inserting(connection, table)
        values = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
        conflict = statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=values)
        connection.execute(conflict, list(rows))


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Add the rows that are not there; returns how many were added."""
    if not rows:
        return 0
    return max(0, connection.execute(inserting(connection, table).on_conflict_do_nothing(), list(rows)).rowcount)


def insert_pairs(
    connection: Connection, table: Table, columns: Sequence[str], pairs: Sequence[tuple[Any, Any]], *same: Any
) -> None:
    """Add the rows that are not there: two values each, and behind them those that are the ``same`` in all of them.

    Other columns are null. It goes past SQLAlchemy, whose preparation of a row takes longer than the insert; and SQLite
    gets many rows with one statement, during which other threads can run.
    """
    head = f"insert into {table.name} ({', '.join(columns)}) values"
    if connection.dialect.name == "postgresql":
        marks = ", ".join(["%s"] * len(columns))
        connection.exec_driver_sql(f"{head} ({marks}) on conflict do nothing", [(*pair, *same) for pair in pairs])
        return
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        connection.exec_driver_sql(f"{head} {_rows(len(part), len(same))}", (*same, *chain.from_iterable(part)))


@lru_cache
def _rows(count: int, same: int) -> str:
    """The values of rows whose first two have marks of their own, behind those of what is the ``same`` in all."""
    shared = "".join(f", ?{number}" for number in range(1, same + 1))
    values = ", ".join(f"(?{place}, ?{place + 1}{shared})" for place in range(same + 1, same + 1 + 2 * count, 2))
    return f"{values} on conflict do nothing"


Operation = Callable[[Connection], Any]
Outcome = tuple[Any, BaseException | None]
"""A result, or why there is none."""


def _outcome(run: Callable[[Operation], Any], operation: Operation) -> Outcome:
    try:
        return run(operation), None
    except BaseException as error:
        return None, error


class _Queue:
    """Operations on their way to threads and back. Whatever waits when a thread is free is taken together.

    One that nobody waits for any more is run all the same.
    """

    def __init__(
        self, threads: int, name: str, run: Callable[[Sequence[Operation]], list[Outcome]], batch: int
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._run = run
        self._batch = batch
        self._waiting: deque[tuple[Operation, asyncio.Future[Any]]] = deque()
        self._called = False

    async def ask(self, operation: Callable[[Connection], T]) -> T:
        """The result of an operation."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future))
        if not self._called:
            self._called = True
            self._threads.submit(self._work)
        return await future

    def _work(self) -> None:
        self._called = False  # who comes from now on calls again
        while self._waiting:
            taken: list[tuple[Operation, asyncio.Future[Any]]] = []
            with contextlib.suppress(IndexError):  # another thread was quicker
                while len(taken) < self._batch:
                    taken.append(self._waiting.popleft())
            if taken:
                outcomes = self._run([operation for operation, _ in taken])
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                    taken[0][1].get_loop().call_soon_threadsafe(_answer, taken, outcomes)

    def submit(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run something else in a thread of these."""
        return asyncio.get_running_loop().run_in_executor(self._threads, function)

    def close(self) -> None:
        """Finish what was asked for."""
        self._threads.shutdown()


def _answer(taken: Sequence[tuple[Operation, asyncio.Future[Any]]], outcomes: Sequence[Outcome]) -> None:
    for (_, future), (result, error) in zip(taken, outcomes, strict=True):
        if future.done():  # cancelled meanwhile
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


LONGEST_PAUSE = 3600.0
"""Seconds: nothing is put off for longer, so that what seems to be was put off before the clock was set back."""


def each_value(table: Table, column: str, wanted: Callable[[FromClause], ColumnElement[bool]]) -> CTE:
    """The values that a column has in the rows that are wanted, each once, as ``value``; and NULL at their end.

    It jumps from value to value in an index that begins with what ``wanted`` asks for and goes on with the column, so
    that it does not matter how many rows there are of each.
    """
    others = table.alias()
    values = select(func.min(table.c[column]).label("value")).where(wanted(table)).cte(recursive=True)
    following = select(func.min(others.c[column])).where(wanted(others), others.c[column] > values.c.value)
    return values.union_all(select(following.scalar_subquery()).where(values.c.value.is_not(None)))


def is_due(not_before: ColumnElement[float], now: float | ColumnElement[float]) -> ColumnElement[bool]:
    """Whether something that was put off is to be looked at now."""
    return (not_before <= now) | (not_before > now + LONGEST_PAUSE)


def _create(connection: Connection) -> None:
    """All tables at once: no PostgreSQL is older than the schema of 0004."""
    schema.metadata.create_all(connection)
    for table, (column, first) in schema.FIRST_NUMBERS.items():
        connection.execute(text(f"alter sequence {table}_{column}_seq restart with {first}"))


def _how_to_rebuild(error: DBAPIError) -> str:
    """What to do about a damaged file: an empty one in its place would start everything again, or nothing."""
    if not any(text in str(error.orig) for text in ("malformed", "not a database")):
        return ""
    return (
        ". Restore it from a backup; or move it away and start: what is in the buckets counts as there before then, "
        "and `watcher replay STORAGE/ --since TIME` starts what came since"
    )


class Database:
    """The state's database. It is made, and migrated to the newest schema, by :meth:`open`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._writes = _Queue(1, "state", self._write_all, BATCH)
        self._reads = _Queue(READERS, "state-read", self._read_all, READ_BATCH)
        self._engine: Engine | None = None
        self._reading: Engine | None = None
        self.has_old_ledger = False
        """Whether some of the ledger is in the form that it had once."""

    @property
    def shared(self) -> bool:
        """Whether several daemons may use it."""
        return self._backend.shared

    async def open(self) -> None:
        """Connect and migrate; raises ConfigurationError when it can't be used."""
        await self._writes.submit(self._connect)

    def _connect(self) -> None:
        self._engine, self._reading = self._backend.connect(READERS)
        try:
            self._migrate(self._engine)
            with self._reading.begin() as connection:
                old = connection.execute(select(schema.ledger_before.c.id).limit(1)).first()
            self.has_old_ledger = old is not None
        except DBAPIError as error:
            message = f"{self._backend.where} can't be used as the state: {error.orig}{_how_to_rebuild(error)}"
            raise ConfigurationError([Problem("state", message)]) from None

    def _migrate(self, engine: Engine) -> None:
        with engine.connect() as connection:
            known = inspect(connection).has_table("alembic_version")
            version = connection.execute(text("select version_num from alembic_version")).scalar() if known else None
        if version == schema.HEAD:
            return
        from alembic import command  # noqa: PLC0415  only needed when there is something to migrate
        from alembic.config import Config  # noqa: PLC0415
        from alembic.util import CommandError  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        try:
            with engine.begin() as connection:
                config.attributes["connection"] = connection
                if connection.dialect.name == "postgresql":
                    connection.execute(text("select pg_advisory_xact_lock(7762)"))  # several daemons may start at once
                    if not inspect(connection).has_table("alembic_version"):
                        _create(connection)
                        command.stamp(config, "head")
                        return
                command.upgrade(config, "head")
        except CommandError as error:
            message = f"{self._backend.where} was made by a newer version of watcher ({version}): {error}"
            raise ConfigurationError([Problem("state", message)]) from None

    def lock(self) -> None:
        """Be the one daemon on it until :meth:`close`; raises ConfigurationError when there is one already."""
        self._backend.lock()

    def owner(self) -> int | None:
        """The process id of the daemon that uses it now, or None."""
        return self._backend.owner()

    async def run(self, operation: Callable[[Connection], T]) -> T:
        """Run ``operation`` as one transaction; raises TransientError when the database is busy, full or away."""
        return await self._writes.ask(operation)

    async def read(self, operation: Callable[[Connection], T]) -> T:
        """Run ``operation``, which changes nothing, beside what is being written: it sees what was committed."""
        return await self._reads.ask(operation)

    def _write_all(self, batch: Sequence[Operation]) -> list[Outcome]:
        """One commit. Each operation fails or succeeds for itself, unless the database is at fault: then each alone."""
        if len(batch) == 1:
            return [_outcome(self._transaction, batch[0])]
        outcomes: list[Outcome] = []
        try:
            with self._engine_open().begin() as connection:
                for operation in batch:
                    try:
                        with connection.begin_nested():
                            outcomes.append((operation(connection), None))
                    except WatcherError as error:
                        outcomes.append((None, error))
        except Exception:
            return [_outcome(self._transaction, operation) for operation in batch]
        return outcomes

    def _read_all(self, batch: Sequence[Operation]) -> list[Outcome]:
        return [_outcome(self._read, operation) for operation in batch]

    def _transaction(self, operation: Callable[[Connection], T]) -> T:
        with self._translated(), self._engine_open().begin() as connection:
            return operation(connection)

    def _read(self, operation: Callable[[Connection], T]) -> T:
        assert self._reading is not None, "open() comes first"  # noqa: S101
        with self._translated(), self._reading.begin() as connection:
            return operation(connection)

    def _engine_open(self) -> Engine:
        assert self._engine is not None, "open() comes first"  # noqa: S101
        return self._engine

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            raise TransientError(f"the state {self._backend.where}: {error.orig}") from error
        except DBAPIError as error:
            raise PermanentError(f"the state {self._backend.where}: {error.orig}") from error

    async def close(self) -> None:
        """Finish what runs, then close the file and give up the lock."""
        if self._engine is not None:
            await self._writes.submit(self._engine.dispose)
        self._writes.close()
        self._reads.close()
        if self._reading is not None:
            self._reading.dispose()
        self._backend.close()
