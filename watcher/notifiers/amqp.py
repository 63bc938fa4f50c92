"""Task events to an AMQP 0-9-1 broker (RabbitMQ, LavinMQ …): persistent messages, with the broker's confirmation.

aio-pika comes with ``pip install 'watcher[amqp]'`` and is imported when the first connection is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import ssl
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator

from watcher import plugin
from watcher.errors import AccessRefused, PermanentError, TransientError, WatcherError
from watcher.notifiers.base import Message, Notifier, check_places
from watcher.plugin import Seconds

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection, AbstractExchange


class Options(plugin.Options):
    """Publishes each task event to an exchange."""

    host: str
    """The broker."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """Unset: 5672, or 5671 with TLS."""
    virtual_host: str = "/"
    """The virtual host."""
    username: str = "guest"
    """User name."""
    password: SecretStr = SecretStr("guest")
    """Its password."""
    tls: bool = False
    """Whether TLS is spoken."""
    ca_file: str | None = None
    """Certificates to trust; unset for those of the system."""
    exchange: str = ""
    """The exchange, which exists; empty for the one that reaches queues by their names."""
    routing_key: str
    """The routing key, or the name of a queue; ``{task_id}``, ``{workflow}`` and ``{event_id}`` are filled in."""
    timeout: Annotated[Seconds, Field(gt=0)] = 10.0
    """How long the broker may take to confirm."""
    mode: Literal["Finish", "Change"] = "Finish"
    """``Finish``: one event when a task ends. ``Change``: also one for each change of a sub-task."""

    @field_validator("routing_key")
    @classmethod
    def _can_be_filled_in(cls, value: str) -> str:
        return check_places(value)


class AmqpNotifier(Notifier):
    """See the module. A message that no queue would get is not taken for delivered."""

    def __init__(self, name: str, options: Options) -> None:
        if importlib.util.find_spec("aio_pika") is None:
            raise ValueError("needs aio-pika: pip install 'watcher[amqp]'")
        self.name = name
        self.mode = options.mode
        self._options = options
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):  # it is broken, or it is closed
                await connection.close()

    async def _opened(self) -> AbstractExchange:
        import aio_pika  # noqa: PLC0415  see the module

        if self._connection is None or self._connection.is_closed or self._exchange is None:
            await self._disconnect()
            options = self._options
            context = ssl.create_default_context(cafile=options.ca_file) if options.tls else None
            self._connection = await aio_pika.connect(
                host=options.host,
                port=options.port or (5671 if options.tls else 5672),
                login=options.username,
                password=options.password.get_secret_value(),
                virtualhost=options.virtual_host,
                ssl=options.tls,
                ssl_context=context,
                timeout=options.timeout,
            )
            channel = await self._connection.channel(publisher_confirms=True)
            if options.exchange:
                self._exchange = await channel.get_exchange(options.exchange)
            else:
                self._exchange = channel.default_exchange
        return self._exchange

    async def publish(self, message: Message) -> None:
        import aio_pika  # noqa: PLC0415

        options = self._options
        key = options.routing_key.format(task_id=message.task_id, workflow=message.workflow, event_id=message.event_id)
        body = aio_pika.Message(
            message.body,
            content_type="application/json",
            message_id=message.event_id,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        try:
            async with asyncio.timeout(options.timeout):
                exchange = await self._opened()
                confirmed = await exchange.publish(body, routing_key=key, mandatory=True)
        except Exception as error:
            await self._disconnect()
            raise self._translated(error) from error
        if type(confirmed).__name__ != "Ack":
            raise TransientError(f"{options.host}: no queue gets messages with the routing key {key!r}")

    async def check(self) -> None:
        try:
            async with asyncio.timeout(self._options.timeout):
                await self._opened()
        except Exception as error:
            await self._disconnect()
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> WatcherError:
        from aio_pika import exceptions  # noqa: PLC0415

        where = f"{self._options.host}: {error or type(error).__name__}"
        refused: tuple[Any, ...] = (exceptions.AuthenticationError, exceptions.ProbableAuthenticationError)
        if isinstance(error, refused):
            return AccessRefused(where)
        if isinstance(error, exceptions.ChannelNotFoundEntity):
            return PermanentError(where)
        if isinstance(error, OSError | TimeoutError | exceptions.AMQPError):
            return TransientError(where)
        raise error
