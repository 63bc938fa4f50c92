"""Notifications of buckets from a queue of an AMQP 0-9-1 broker (RabbitMQ …): MinIO and Ceph have targets for it.

A message is acknowledged after the commit of what it said. aio-pika comes with ``pip install 'watcher[amqp]'``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Annotated

from pydantic import Field

from watcher.brokers import amqp
from watcher.brokers.base import require
from watcher.sources._messages import MessageOptions, Reader
from watcher.sources.base import Bucket, Cursor, Delivery, Source

AGAIN = 1.0
"""Seconds before a message that could not be committed is given back: the broker sends it again at once."""


class Options(amqp.AmqpOptions, MessageOptions):
    """A queue that event notifications arrive in."""

    queue: Annotated[str, Field(min_length=1)]
    """The queue; it exists."""
    prefetch: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Messages that may be on their way to their commit at once."""


class AmqpSource(Source):
    """See the module."""

    def __init__(self, name: str, options: Options, storages: Mapping[str, Bucket]) -> None:
        require("aio_pika", "amqp")
        self.name = name
        self.further = options.storages
        self._options = options
        self._reader = Reader(name, options, storages)

    async def deliveries(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        """A delivery per message."""
        where = f"{self._options.host}, queue {self._options.queue}"
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._options.timeout):
                    connection = await stack.enter_async_context(await amqp.connect(self._options))
                    channel = await connection.channel()
                    await channel.set_qos(prefetch_count=self._options.prefetch)
                    queue = await channel.get_queue(self._options.queue)
                    messages = await stack.enter_async_context(queue.iterator())
                yield Delivery(())
                async for message in messages:
                    delivery = self._reader.read(message.body)

                    async def release(reject=message.reject) -> None:  # type: ignore[no-untyped-def]
                        await asyncio.sleep(AGAIN)
                        await reject(requeue=True)

                    delivery.acknowledge, delivery.release = message.ack, release
                    yield delivery
            except Exception as error:
                raise amqp.translated(error, where) from error
        raise amqp.translated(ConnectionError("the connection was closed"), where)

    async def check(self) -> None:
        try:
            async with asyncio.timeout(self._options.timeout), await amqp.connect(self._options) as connection:
                channel = await connection.channel()
                await channel.get_queue(self._options.queue)
        except Exception as error:
            raise amqp.translated(error, f"{self._options.host}, queue {self._options.queue}") from error
