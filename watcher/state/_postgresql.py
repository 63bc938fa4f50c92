"""The state in PostgreSQL, for several daemons. Needs psycopg: ``pip install 'watcher[postgresql]'``."""

from __future__ import annotations

import importlib.util
import os
import socket

from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from watcher.errors import ConfigurationError, Problem
from watcher.state import schema
from watcher.state._sqlite import dumps
from watcher.state.schema import DAEMON


class PostgresqlBackend:
    """``url`` is ``postgresql://user:password@host:port/database``."""

    shared = True

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise ConfigurationError([Problem("state", "is no address of a PostgreSQL database")]) from None
        self.where = parsed.render_as_string(hide_password=True)
        self._url = parsed.set(drivername="postgresql+psycopg")
        self._reading: Engine | None = None
        if importlib.util.find_spec("psycopg") is None:
            raise ConfigurationError([Problem("state", "needs psycopg: pip install 'watcher[postgresql]'")])

    @property
    def exists(self) -> bool:
        """See Backend."""
        return True

    def connect(self, readers: int) -> tuple[Engine, Engine]:
        """See Backend. A connection that broke is noticed before it is used, and made again."""
        arguments = {"connect_timeout": 10, "application_name": "watcher"}
        writing, self._reading = (
            create_engine(self._url, json_serializer=dumps, pool_pre_ping=True, pool_size=size, connect_args=arguments)
            for size in (1, readers)
        )
        try:
            with writing.connect():
                pass
        except DBAPIError as error:
            message = f"{self.where} can't be used as the state: {str(error.orig).strip()}"
            raise ConfigurationError([Problem("state", message)]) from None
        return writing, self._reading

    def lock(self) -> None:
        """See Backend: there may be others."""

    def owner(self) -> int | None:
        """See Backend: a daemon on this machine; -1 for one on another."""
        assert self._reading is not None, "connect() comes first"  # noqa: S101
        table = schema.leases
        alive = select(table.c.name).where(
            table.c.name.startswith(DAEMON), table.c.expires > func.extract("epoch", func.clock_timestamp())
        )
        with self._reading.connect() as connection:
            names = [str(name).split("/") for name in connection.execute(alive).scalars()]
        here = [int(name[2]) for name in names if name[1] == socket.gethostname() and int(name[2]) != os.getpid()]
        return here[0] if here else (-1 if names else None)

    def close(self) -> None:
        """See Backend."""
