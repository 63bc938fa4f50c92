"""The state in one SQLite file, for one daemon."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

from watcher.errors import ConfigurationError, Problem

BUSY = 15_000
"""Milliseconds for which a lock of another program is waited for: somebody who looks, or a backup."""


class SqliteBackend:
    """``path`` is made when it is not there."""

    shared = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)
        self._lock: int | None = None

    @property
    def exists(self) -> bool:
        """See Backend."""
        return self.path.exists()

    def connect(self, readers: int) -> tuple[Engine, Engine]:
        """See Backend."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))  # it holds callback keys
        except OSError as error:
            raise ConfigurationError([Problem("state", f"{self.path} can't be made: {error.strerror}")]) from None
        writing = create_engine(f"sqlite:///{self.path}", json_serializer=dumps)
        event.listen(writing, "connect", _prepare)
        event.listen(writing, "begin", _begin)
        reading = create_engine(f"sqlite:///{self.path}", json_serializer=dumps, pool_size=readers)
        event.listen(reading, "connect", _prepare_reader)
        event.listen(reading, "begin", _begin_reading)
        return writing, reading

    @property
    def _lock_file(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def lock(self) -> None:
        """See Backend."""
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode().strip()
            os.close(descriptor)
            message = (
                f"another daemon (process {owner or 'unknown'}) already uses {self.path}; one file serves one daemon, "
                "several share a PostgreSQL state"
            )
            raise ConfigurationError([Problem("state", message)]) from None
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._lock = descriptor

    def owner(self) -> int | None:
        """See Backend."""
        try:
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(descriptor, 32, 0).decode().strip()
            return int(text) if text.isdecimal() else None
        else:
            return None
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """See Backend."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.close(self._lock)
            self._lock = None


def dumps(value: Any) -> str:
    """JSON columns, in ASCII."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, not where the driver guesses
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # commit, then acknowledge: a commit has to survive a power cut
        f"busy_timeout={BUSY}",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-4096",
    ):
        connection.execute(f"pragma {pragma}").close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("begin immediate")


def _prepare_reader(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    for pragma in (f"busy_timeout={BUSY}", "query_only=ON", "temp_store=MEMORY", "cache_size=-4096"):
        connection.execute(f"pragma {pragma}").close()


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("begin")
