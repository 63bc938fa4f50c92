"""NATS with JetStream, by nats-py, which is imported when the first connection is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcher.brokers.base import BrokerOptions
from watcher.errors import AccessRefused, PermanentError, TransientError, WatcherError

if TYPE_CHECKING:
    from nats.aio.client import Client


class NatsOptions(BrokerOptions):
    """How a NATS server is reached; its usual port is 4222."""


async def _silent(_: Exception) -> None:
    """Whoever uses the connection gets the errors; the library would print them too."""


async def connect(options: NatsOptions) -> Client:
    """A connection that ends when it breaks: whoever uses it makes a new one."""
    import nats  # noqa: PLC0415  see the module

    scheme = "tls" if options.tls is not None else "nats"
    return await nats.connect(
        f"{scheme}://{options.host}:{options.port or 4222}",
        user=options.username,
        password=options.secret,
        tls=options.ssl,
        connect_timeout=max(1, int(options.timeout)),
        allow_reconnect=False,
        error_cb=_silent,
    )


def translated(error: Exception, where: str) -> WatcherError:
    """An error of the library in this project's terms; what is not one is raised."""
    from nats import errors  # noqa: PLC0415
    from nats.js import errors as stream_errors  # noqa: PLC0415

    where = f"{where}: {error or type(error).__name__}"
    if isinstance(error, errors.AuthorizationError):
        return AccessRefused(where)
    if isinstance(error, stream_errors.NotFoundError | stream_errors.BadRequestError):
        return PermanentError(where)
    if isinstance(error, OSError | TimeoutError | errors.Error):
        return TransientError(where)
    raise error
