"""Notifications of buckets from a JetStream stream of NATS: MinIO has a target for it.

A message is acknowledged after the commit of what it said. nats-py comes with ``pip install 'watcher[nats]'``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from watcher.brokers import nats
from watcher.brokers.base import require
from watcher.sources._messages import MessageOptions, Reader
from watcher.sources.base import Bucket, Cursor, Delivery, Source

if TYPE_CHECKING:
    from nats.js.client import JetStreamContext

WAIT = 5.0
AGAIN = 1.0
"""Seconds after which a message that could not be committed comes again."""


class Options(nats.NatsOptions, MessageOptions):
    """A stream that event notifications arrive in."""

    stream: Annotated[str, Field(min_length=1)]
    """The stream; it exists."""
    subject: str = ""
    """Which of its messages are meant, with the wildcards of NATS; unset: all."""
    durable: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "watcher"
    """The name under which the stream knows how far this source is; it is made when it is not there."""
    prefetch: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Messages that are asked for at once."""


class NatsSource(Source):
    """See the module."""

    def __init__(self, name: str, options: Options, storages: Mapping[str, Bucket]) -> None:
        require("nats", "nats")
        self.name = name
        self.further = options.storages
        self._options = options
        self._reader = Reader(name, options, storages)

    @property
    def _where(self) -> str:
        return f"{self._options.host}, stream {self._options.stream}"

    async def _subscription(self, stream: JetStreamContext) -> Any:
        return await stream.pull_subscribe(
            self._options.subject, durable=self._options.durable, stream=self._options.stream
        )

    async def deliveries(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        """A delivery per message."""
        try:
            connection = await nats.connect(self._options)
        except Exception as error:
            raise nats.translated(error, self._where) from error
        try:
            subscription = await self._subscription(connection.jetstream())
            yield Delivery(())
            while True:
                messages: list[Any] = []
                with contextlib.suppress(TimeoutError):  # there was nothing
                    messages = await subscription.fetch(self._options.prefetch, timeout=WAIT)
                if not connection.is_connected:
                    raise ConnectionError("the connection was closed")
                for message in messages:
                    delivery = self._reader.read(message.data)
                    delivery.acknowledge, delivery.release = message.ack, partial(message.nak, delay=AGAIN)
                    yield delivery
        except Exception as error:
            raise nats.translated(error, self._where) from error
        finally:
            with contextlib.suppress(Exception):
                await asyncio.shield(connection.close())

    async def check(self) -> None:
        try:
            connection = await nats.connect(self._options)
            try:
                await connection.jetstream().stream_info(self._options.stream)
            finally:
                await connection.close()
        except Exception as error:
            raise nats.translated(error, self._where) from error
