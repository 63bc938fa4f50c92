"""AMQP 0-9-1 brokers (RabbitMQ, LavinMQ …), by aio-pika, which is imported when the first connection is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from watcher.brokers.base import BrokerOptions
from watcher.errors import AccessRefused, PermanentError, TransientError, WatcherError

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection


class AmqpOptions(BrokerOptions):
    """How an AMQP broker is reached; its usual ports are 5672, and 5671 with TLS."""

    virtual_host: str = "/"
    """The virtual host."""
    username: str | None = "guest"
    """User name."""
    password: SecretStr | None = SecretStr("guest")
    """Its password."""


async def connect(options: AmqpOptions) -> AbstractConnection:
    """A connection."""
    import aio_pika  # noqa: PLC0415  see the module

    return await aio_pika.connect(
        host=options.host,
        port=options.port or (5671 if options.tls else 5672),
        login=options.username or "",
        password=options.secret or "",
        virtualhost=options.virtual_host,
        ssl=options.tls is not None,
        ssl_context=options.ssl,
        timeout=options.timeout,
    )


def translated(error: Exception, where: str) -> WatcherError:
    """An error of the library in this project's terms; what is not one is raised."""
    from aio_pika import exceptions  # noqa: PLC0415

    where = f"{where}: {error or type(error).__name__}"
    refused: tuple[Any, ...] = (exceptions.AuthenticationError, exceptions.ProbableAuthenticationError)
    if isinstance(error, refused):
        return AccessRefused(where)
    if isinstance(error, exceptions.ChannelNotFoundEntity):
        return PermanentError(where)
    if isinstance(error, OSError | TimeoutError | exceptions.AMQPError):
        return TransientError(where)
    raise error
