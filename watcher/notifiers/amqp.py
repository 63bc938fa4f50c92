"""Task events to an AMQP 0-9-1 broker (RabbitMQ, LavinMQ …): persistent messages, with the broker's confirmation.

aio-pika comes with ``pip install 'watcher[amqp]'`` and is imported when the first connection is made.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import TYPE_CHECKING

from pydantic import field_validator

from watcher.brokers import amqp
from watcher.brokers.base import require
from watcher.errors import TransientError
from watcher.notifiers.base import EventOptions, Message, Notifier, check_places

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection, AbstractExchange


class Options(amqp.AmqpOptions, EventOptions):
    """Publishes each task event to an exchange."""

    exchange: str = ""
    """The exchange, which exists; empty for the one that reaches queues by their names."""
    routing_key: str
    """The routing key, or the name of a queue; ``{task_id}``, ``{workflow}`` and ``{event_id}`` are filled in."""

    @field_validator("routing_key")
    @classmethod
    def _can_be_filled_in(cls, value: str) -> str:
        return check_places(value)


class AmqpNotifier(Notifier):
    """See the module. A message that no queue would get is not taken for delivered."""

    def __init__(self, name: str, options: Options) -> None:
        require("aio_pika", "amqp")
        self.name = name
        self.told(options)
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
        if self._connection is None or self._connection.is_closed or self._exchange is None:
            await self._disconnect()
            options = self._options
            self._connection = await amqp.connect(options)
            channel = await self._connection.channel(publisher_confirms=True)
            if options.exchange:
                self._exchange = await channel.get_exchange(options.exchange)
            else:
                self._exchange = channel.default_exchange
        return self._exchange

    async def publish(self, message: Message) -> None:
        import aio_pika  # noqa: PLC0415

        options = self._options
        key = options.routing_key.format_map(message.places)
        body = aio_pika.Message(
            message.body,
            content_type=self.content_type,
            message_id=message.event_id,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        try:
            async with asyncio.timeout(options.timeout):
                exchange = await self._opened()
                confirmed = await exchange.publish(body, routing_key=key, mandatory=True)
        except Exception as error:
            await self._disconnect()
            raise amqp.translated(error, self._options.host) from error
        if type(confirmed).__name__ != "Ack":
            raise TransientError(f"{options.host}: no queue gets messages with the routing key {key!r}")

    async def check(self) -> None:
        try:
            async with asyncio.timeout(self._options.timeout):
                await self._opened()
        except Exception as error:
            await self._disconnect()
            raise amqp.translated(error, self._options.host) from error
