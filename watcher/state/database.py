"""One SQLite file, one thread that writes to it, and two that read.

Each operation is a plain function over a connection, run as one transaction in a thread of its own. So a
transaction can't be interleaved with another, and cancelling whoever waits for it never leaves it half done.
Operations that wait at the same time share one commit, each behind a savepoint of its own: the disk is waited for
once. See ``docs/decisions/0002-state-in-one-thread.md``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from watcher.errors import ConfigurationError, PermanentError, Problem, TransientError, WatcherError
from watcher.state import schema

T = TypeVar("T")
BATCH = 128
"""Operations that one commit takes at most."""
READERS = 2
READ_BATCH = 8
_MIGRATIONS = Path(__file__).parent / "migrations"


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


class Database:
    """The state's file. ``path`` is created, and migrated to the newest schema, by :meth:`open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writes = _Queue(1, "state", self._write_all, BATCH)
        self._reads = _Queue(READERS, "state-read", self._read_all, READ_BATCH)
        self._engine: Engine | None = None
        self._reading: Engine | None = None
        self._lock: int | None = None

    async def open(self) -> None:
        """Connect and migrate; raises ConfigurationError when the file can't be used."""
        await self._writes.submit(self._connect)

    def _connect(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))  # it holds callback keys
        except OSError as error:
            raise ConfigurationError([Problem("state", f"{self.path} can't be made: {error.strerror}")]) from None
        self._engine = create_engine(f"sqlite:///{self.path}", json_serializer=_dumps)
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        self._reading = create_engine(f"sqlite:///{self.path}", json_serializer=_dumps, pool_size=READERS)
        event.listen(self._reading, "connect", _prepare_reader)
        event.listen(self._reading, "begin", _begin_reading)
        try:
            self._migrate(self._engine)
        except DBAPIError as error:
            message = f"{self.path} can't be used as the state: {error.orig}"
            raise ConfigurationError([Problem("state", message)]) from None

    def _migrate(self, engine: Engine) -> None:
        with engine.connect() as connection:
            known = connection.execute(
                text("select count(*) from sqlite_master where type = 'table' and name = 'alembic_version'")
            ).scalar()
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
                command.upgrade(config, "head")
        except CommandError as error:
            message = f"{self.path} was made by a newer version of watcher ({version}): {error}"
            raise ConfigurationError([Problem("state", message)]) from None

    def lock(self) -> None:
        """Be the one daemon on this file until :meth:`close`; raises ConfigurationError when there is one already."""
        path = self.path.with_name(self.path.name + ".lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode().strip()
            os.close(descriptor)
            message = (
                f"another daemon (process {owner or 'unknown'}) already uses {self.path}; one file serves one daemon"
            )
            raise ConfigurationError([Problem("state", message)]) from None
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._lock = descriptor

    def owner(self) -> int | None:
        """The process id of the daemon that uses this file now, or None."""
        path = self.path.with_name(self.path.name + ".lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text_ = os.pread(descriptor, 32, 0).decode().strip()
            return int(text_) if text_.isdecimal() else None
        else:
            return None
        finally:
            os.close(descriptor)

    async def run(self, operation: Callable[[Connection], T]) -> T:
        """Run ``operation`` as one transaction; raises TransientError when the file is busy or the disk is full."""
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
            raise TransientError(f"the state {self.path}: {error.orig}") from error
        except DBAPIError as error:
            raise PermanentError(f"the state {self.path}: {error.orig}") from error

    async def close(self) -> None:
        """Finish what runs, then close the file and give up the lock."""
        if self._engine is not None:
            await self._writes.submit(self._engine.dispose)
        self._writes.close()
        self._reads.close()
        if self._reading is not None:
            self._reading.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, not where the driver guesses
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # commit, then acknowledge: a commit has to survive a power cut
        "busy_timeout=15000",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-4096",
    ):
        connection.execute(f"pragma {pragma}").close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("begin immediate")


def _prepare_reader(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("busy_timeout=15000", "query_only=ON", "temp_store=MEMORY", "cache_size=-4096"):
        connection.execute(f"pragma {pragma}").close()


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("begin")
