"""Notifications of buckets from a Redis (or Valkey) stream.

A consumer group knows which messages were given to this source and not acknowledged; they are taken again when the
source starts, and those of a consumer that is gone after a while. A message is acknowledged after the commit of what
it said. redis-py comes with ``pip install 'watcher[redis]'``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from watcher.brokers import redis
from watcher.brokers.base import require
from watcher.plugin import Seconds
from watcher.sources._messages import MessageOptions, Reader
from watcher.sources.base import Bucket, Cursor, Delivery, Source

WAIT = 2.0
AGAIN = 1.0
"""Seconds after which a message that could not be committed comes again."""


class Options(redis.RedisOptions, MessageOptions):
    """A stream that event notifications arrive in."""

    stream: Annotated[str, Field(min_length=1)]
    """The stream; it is made when it is not there."""
    group: Annotated[str, Field(min_length=1)] = "watcher"
    """The consumer group; it is made when it is not there, and begins with the oldest message."""
    consumer: Annotated[str, Field(min_length=1)] = "watcher"
    """What this consumer is called in the group; several daemons need several names."""
    field: str = ""
    """The field of a message that holds the notification; unset: its only one, or ``body``."""
    prefetch: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Messages that are asked for at once."""
    take_over: Annotated[Seconds, Field(gt=0)] = 300.0
    """Messages that another consumer has not acknowledged for so long are taken from it."""


class RedisSource(Source):
    """See the module."""

    def __init__(self, name: str, options: Options, storages: Mapping[str, Bucket]) -> None:
        require("redis", "redis")
        self.name = name
        self.further = options.storages
        self._options = options
        self._reader = Reader(name, options, storages)
        self._again = asyncio.Event()

    @property
    def _where(self) -> str:
        return f"{self._options.host}, stream {self._options.stream}"

    async def deliveries(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        """A delivery per message."""
        options = self._options
        client = redis.client(options, wait=WAIT)
        try:
            await self._group(client)
            yield Delivery(())
            position, looked = "0", time.monotonic()  # first what was given to us before, then what is new
            while True:
                if self._again.is_set():
                    self._again.clear()
                    await asyncio.sleep(AGAIN)
                    position = "0"
                found = await client.xreadgroup(
                    options.group, options.consumer, {options.stream: position}, options.prefetch, int(WAIT * 1000)
                )
                messages = _messages(found)
                if position != ">":
                    position = messages[-1][0] if messages else ">"
                if time.monotonic() - looked > options.take_over / 2:
                    looked = time.monotonic()
                    messages += await self._orphans(client)
                for number, fields in messages:
                    yield self._delivery(client, number, fields)
        except Exception as error:
            raise redis.translated(error, self._where) from error
        finally:
            with contextlib.suppress(Exception):
                await asyncio.shield(client.aclose())

    async def _group(self, client: Any) -> None:
        from redis.exceptions import ResponseError  # noqa: PLC0415

        try:
            await client.xgroup_create(self._options.stream, self._options.group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _orphans(self, client: Any) -> list[tuple[Any, dict[bytes, bytes]]]:
        options = self._options
        answer = await client.xautoclaim(
            options.stream, options.group, options.consumer, int(options.take_over * 1000), count=options.prefetch
        )
        return [(number, fields) for number, fields in answer[1] if fields]

    def _delivery(self, client: Any, number: Any, fields: Mapping[bytes, bytes]) -> Delivery:
        name = self._options.field.encode() or (next(iter(fields)) if len(fields) == 1 else b"body")
        delivery = self._reader.read(fields.get(name, b""))

        async def acknowledge() -> None:
            await client.xack(self._options.stream, self._options.group, number)

        async def release() -> None:
            self._again.set()

        delivery.acknowledge, delivery.release = acknowledge, release
        return delivery

    async def check(self) -> None:
        client = redis.client(self._options)
        try:
            await client.ping()
        except Exception as error:
            raise redis.translated(error, self._where) from error
        finally:
            await client.aclose()


def _messages(found: Any) -> list[tuple[Any, dict[bytes, bytes]]]:
    """Of an answer to XREADGROUP; those that were removed from the stream have no fields."""
    return [(number, fields or {}) for _, messages in found or [] for number, fields in messages]
