"""Task events to a Redis (or Valkey) stream. redis-py comes with ``pip install 'watcher[redis]'``."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from watcher.brokers import redis
from watcher.brokers.base import require
from watcher.notifiers.base import EventOptions, Message, Notifier, check_places

if TYPE_CHECKING:
    from redis.asyncio import Redis


class Options(redis.RedisOptions, EventOptions):
    """Adds each task event to a stream, as the fields ``event_id``, ``task_id`` and ``body``."""

    stream: Annotated[str, Field(min_length=1)] = "watcher:tasks"
    """The stream; ``{task_id}``, ``{workflow}`` and ``{event_id}`` are filled in."""
    length: Annotated[int, Field(ge=0)] = 0
    """About how many events the stream keeps; 0: all."""

    @field_validator("stream")
    @classmethod
    def _can_be_filled_in(cls, value: str) -> str:
        return check_places(value)


class RedisNotifier(Notifier):
    """See the module."""

    def __init__(self, name: str, options: Options) -> None:
        require("redis", "redis")
        self.name = name
        self.told(options)
        self._options = options
        self._client: Redis | None = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            with contextlib.suppress(Exception):
                await self._client.aclose()

    def _opened(self) -> Redis:
        if self._client is None:
            self._client = redis.client(self._options)
        return self._client

    async def publish(self, message: Message) -> None:
        options = self._options
        stream = options.stream.format_map(message.places)
        fields: dict[Any, Any] = {"event_id": message.event_id, "task_id": message.task_id, "body": message.body}
        try:
            await self._opened().xadd(stream, fields, maxlen=options.length or None, approximate=True)
        except Exception as error:
            raise redis.translated(error, options.host) from error

    async def check(self) -> None:
        try:
            await self._opened().ping()
        except Exception as error:
            raise redis.translated(error, self._options.host) from error
