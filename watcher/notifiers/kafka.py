"""Task events to a topic of Kafka: published when all replicas in sync have them.

aiokafka comes with ``pip install 'watcher[kafka]'`` and is imported when the first connection is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from types import TracebackType
from typing import TYPE_CHECKING

from pydantic import field_validator

from watcher.brokers import kafka
from watcher.brokers.base import require
from watcher.notifiers.base import EventOptions, Message, Notifier, check_places

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

LARGEST = 1_048_576
"""Bytes of a message that brokers take as they are set by default."""


class Options(kafka.KafkaOptions, EventOptions):
    """Publishes each task event to a topic."""

    topic: str = "watcher.tasks"
    """The topic; ``{task_id}``, ``{workflow}`` and ``{event_id}`` are filled in."""

    key: str = "{task_id}"
    """The key of a message, filled in likewise: events of one key go to one partition, and stay in order."""

    @field_validator("key")
    @classmethod
    def _can_be_filled_in(cls, value: str) -> str:
        return check_places(value)

    @field_validator("topic")
    @classmethod
    def _can_be_a_topic(cls, value: str) -> str:
        check_places(value)
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", re.sub(r"\{[^}]*\}", "x", value)):
            raise ValueError("a topic has 1 to 249 characters out of A–Z, a–z, 0–9, '.', '_' and '-'")
        return value


class KafkaNotifier(Notifier):
    """See the module. The headers ``event_id`` and ``content-type`` go with a message."""

    def __init__(self, name: str, options: Options) -> None:
        require("aiokafka", "kafka")
        self.name = name
        self.told(options)
        self._options = options
        self._producer: AIOKafkaProducer | None = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._disconnect()

    async def _disconnect(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(Exception):  # it is broken, or it is closed
                async with asyncio.timeout(self._options.timeout):
                    await producer.stop()
            await kafka.closed()

    async def _connected(self) -> AIOKafkaProducer:
        from aiokafka import AIOKafkaProducer  # noqa: PLC0415

        if self._producer is None:
            self._producer = AIOKafkaProducer(acks="all", max_request_size=LARGEST, **kafka.connection(self._options))
            await self._producer.start()
        return self._producer

    def topic_of(self, message: Message) -> str:
        """The topic of an event; what can't be in a topic's name is taken out of the names filled in."""
        values = {place: re.sub(r"[^A-Za-z0-9._-]", "_", value) for place, value in message.places.items()}
        return self._options.topic.format_map(values)[:249]

    async def publish(self, message: Message) -> None:
        headers = [("event_id", message.event_id.encode()), ("content-type", self.content_type.encode())]
        topic, key = self.topic_of(message), self._options.key.format_map(message.places).encode()
        try:
            async with asyncio.timeout(self._options.timeout):
                producer = await self._connected()
                await producer.send_and_wait(topic, message.body, key=key, headers=headers)
        except Exception as error:
            await self._disconnect()
            raise kafka.translated(error, f"{self._options.host}, {topic}") from error

    async def check(self) -> None:
        try:
            async with asyncio.timeout(self._options.timeout):
                producer = await self._connected()
                await producer.client.force_metadata_update()
        except Exception as error:
            await self._disconnect()
            raise kafka.translated(error, self._options.host) from error
