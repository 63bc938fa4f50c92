"""Notifications of buckets from topics of Kafka: MinIO and Ceph have a target for it.

Kafka counts how far a consumer group is in each partition, one number, so the number told to it is that before which
every message was committed here. What is behind it comes again when the source starts, or when a partition was
another consumer's meanwhile. aiokafka comes with ``pip install 'watcher[kafka]'``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from watcher.brokers import kafka
from watcher.brokers.base import require
from watcher.errors import PermanentError
from watcher.sources._messages import MessageOptions, Reader
from watcher.sources.base import Bucket, Cursor, Delivery, Source

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

WAIT = 0.5
"""Seconds to wait for messages, and so between two times that Kafka is told how far the group is."""
AGAIN = 1.0
"""Seconds after which messages that could not be committed come again."""


class Options(kafka.KafkaOptions, MessageOptions):
    """Topics that event notifications arrive in."""

    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    """The topics."""
    group: Annotated[str, Field(min_length=1)] = "watcher"
    """The consumer group; it begins with the oldest message. Several daemons share the partitions of a topic."""
    prefetch: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Messages that are taken at once."""


class Progress:
    """How far one partition is: messages may be committed here in any order."""

    def __init__(self) -> None:
        self._open: deque[int] = deque()
        self._done: set[int] = set()
        self.told: int | None = None
        """The offset that Kafka was told last."""
        self.position: int | None = None
        """The offset before which everything is committed here; None as long as nothing is."""

    def given(self, offset: int) -> None:
        """A message was handed over. Offsets grow, with gaps where a topic was compacted."""
        self._open.append(offset)

    def done(self, offset: int) -> None:
        """Its events are committed."""
        self._done.add(offset)
        while self._open and self._open[0] in self._done:
            first = self._open.popleft()
            self._done.discard(first)
            self.position = first + 1

    def back(self) -> int | None:
        """Begin anew with the first message that is not committed; its offset, None where all are."""
        first = self._open[0] if self._open else None
        self._open.clear()
        self._done.clear()
        return first


class KafkaSource(Source):
    """See the module."""

    def __init__(self, name: str, options: Options, storages: Mapping[str, Bucket]) -> None:
        require("aiokafka", "kafka")
        self.name = name
        self.further = options.storages
        self._options = options
        self._reader = Reader(name, options, storages)
        self._partitions: dict[Any, Progress] = {}
        self._again: set[Any] = set()
        """Partitions with messages that could not be committed."""

    @property
    def _where(self) -> str:
        return f"{self._options.host}, {', '.join(self._options.topics)}"

    def _consumer(self) -> AIOKafkaConsumer:
        from aiokafka import AIOKafkaConsumer  # noqa: PLC0415

        return AIOKafkaConsumer(
            group_id=self._options.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **kafka.connection(self._options),
        )

    async def deliveries(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        """A delivery per message."""
        consumer = self._consumer()
        self._partitions.clear()
        self._again.clear()
        try:
            consumer.subscribe(self._options.topics, listener=self._rebalanced(consumer))
            await consumer.start()
            yield Delivery(())
            while True:
                if self._again:
                    await asyncio.sleep(AGAIN)
                    self._seek_back(consumer)
                found = await consumer.getmany(timeout_ms=int(WAIT * 1000), max_records=self._options.prefetch)
                for partition, messages in found.items():
                    progress = self._partitions.setdefault(partition, Progress())
                    for message in messages:
                        yield self._delivery(partition, progress, message)
                await self._tell(consumer)
        except Exception as error:
            raise kafka.translated(error, self._where) from error
        finally:
            with contextlib.suppress(Exception):
                await asyncio.shield(self._close(consumer))

    def _delivery(self, partition: Any, progress: Progress, message: Any) -> Delivery:
        progress.given(message.offset)
        delivery = self._reader.read(message.value or b"")

        async def acknowledge() -> None:
            progress.done(message.offset)

        async def release() -> None:
            self._again.add(partition)

        delivery.acknowledge, delivery.release = acknowledge, release
        return delivery

    def _seek_back(self, consumer: AIOKafkaConsumer) -> None:
        for partition in self._again & consumer.assignment() & self._partitions.keys():
            first = self._partitions[partition].back()
            if first is not None:
                consumer.seek(partition, first)
        self._again.clear()

    async def _tell(self, consumer: AIOKafkaConsumer) -> None:
        """Tell Kafka how far the group is, in the partitions that are still this consumer's."""
        from aiokafka.errors import CommitFailedError, IllegalStateError  # noqa: PLC0415

        owned = consumer.assignment()
        moved = {
            partition: progress.position
            for partition, progress in self._partitions.items()
            if partition in owned and progress.position is not None and progress.position != progress.told
        }
        if not moved:
            return
        with contextlib.suppress(CommitFailedError, IllegalStateError):  # partitions are being handed out anew
            await consumer.commit(moved)
            for partition, position in moved.items():
                self._partitions[partition].told = position

    def _rebalanced(self, consumer: AIOKafkaConsumer) -> Any:
        from aiokafka import ConsumerRebalanceListener  # noqa: PLC0415

        source = self

        class Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
            async def on_partitions_revoked(self, revoked: Any) -> None:
                # What can't be told any more is delivered to the next owner once more, and known there.
                with contextlib.suppress(Exception):
                    await source._tell(consumer)
                source._partitions.clear()
                source._again.clear()

            async def on_partitions_assigned(self, assigned: Any) -> None:
                pass

        return Listener()

    async def _close(self, consumer: AIOKafkaConsumer) -> None:
        with contextlib.suppress(Exception):
            await self._tell(consumer)
        await consumer.stop()
        await kafka.closed()

    async def check(self) -> None:
        from aiokafka.admin import AIOKafkaAdminClient  # noqa: PLC0415

        admin = AIOKafkaAdminClient(**kafka.connection(self._options))
        try:
            await admin.start()
            there = await admin.list_topics()
        except Exception as error:
            raise kafka.translated(error, self._where) from error
        finally:
            await admin.close()
            await kafka.closed()
        if missing := [topic for topic in self._options.topics if topic not in there]:
            raise PermanentError(f"{self._options.host}: there is no topic {missing[0]!r}")
