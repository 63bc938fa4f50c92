"""One SQLite file, one thread that talks to it.

Each operation is a plain function over a connection, run as one transaction in a thread of its own. So a
transaction can't be interleaved with another, and cancelling whoever waits for it never leaves it half done.
See ``docs/decisions/0002-state-in-one-thread.md``.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError

from watcher.errors import ConfigurationError, PermanentError, Problem, TransientError
from watcher.state import schema

T = TypeVar("T")
_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """The state's file. ``path`` is created, and migrated to the newest schema, by :meth:`open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._engine: Engine | None = None
        self._lock: int | None = None

    async def open(self) -> None:
        """Connect and migrate; raises ConfigurationError when the file can't be used."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._connect)

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
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._thread, self._transaction, operation))

    def _transaction(self, operation: Callable[[Connection], T]) -> T:
        assert self._engine is not None, "open() comes first"  # noqa: S101
        try:
            with self._engine.begin() as connection:
                return operation(connection)
        except OperationalError as error:
            raise TransientError(f"the state {self.path}: {error.orig}") from error
        except DBAPIError as error:
            raise PermanentError(f"the state {self.path}: {error.orig}") from error

    async def close(self) -> None:
        """Finish what runs, then close the file and give up the lock."""
        loop = asyncio.get_running_loop()
        if self._engine is not None:
            await loop.run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown()
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
