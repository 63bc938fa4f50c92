"""Redis and Valkey, by redis-py, which is imported when the first connection is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from watcher.brokers.base import BrokerOptions
from watcher.errors import AccessRefused, PermanentError, TransientError, WatcherError

if TYPE_CHECKING:
    from redis.asyncio import Redis


class RedisOptions(BrokerOptions):
    """How a Redis server is reached; its usual port is 6379."""

    database: Annotated[int, Field(ge=0)] = 0
    """The number of the database."""


def client(options: RedisOptions, *, wait: float = 0.0) -> Redis:
    """A client; ``wait`` is how long it may have to wait for an answer besides."""
    from redis.asyncio import Redis  # noqa: PLC0415  see the module

    tls = options.tls
    secure: dict[str, Any] = {}
    if tls is not None:
        secure = {"ssl": True, "ssl_ca_certs": tls.ca_file, "ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
    return Redis(
        host=options.host,
        port=options.port or 6379,
        db=options.database,
        username=options.username,
        password=options.secret,
        socket_connect_timeout=options.timeout,
        socket_timeout=options.timeout + wait,
        protocol=2,  # answers have one form, whatever the version
        **secure,
    )


def translated(error: Exception, where: str) -> WatcherError:
    """An error of the library in this project's terms; what is not one is raised."""
    from redis import exceptions  # noqa: PLC0415

    where = f"{where}: {error or type(error).__name__}"
    if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError):
        return AccessRefused(where)
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError | TimeoutError):
        return TransientError(where)
    if isinstance(error, exceptions.ResponseError):
        # A server that is loading, full or read-only says so in an answer.
        text = str(error)
        return PermanentError(where) if text.startswith(("WRONGTYPE", "ERR ")) else TransientError(where)
    raise error
