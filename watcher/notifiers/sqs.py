"""Task events as messages of an SQS queue, at AWS or any service that speaks its protocol."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from watcher import aws
from watcher.errors import PermanentError
from watcher.notifiers.base import EventOptions, Message, Notifier

LARGEST = 1024 * 1024
"""Bytes that one message may have."""


class Options(aws.ClientOptions, EventOptions):
    """Sends each task event to a queue."""

    queue_url: str
    """The address of the queue. In a FIFO queue the events of a task stay in order."""


class SqsNotifier(Notifier):
    """See the module."""

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.told(options)
        self._options = options
        self._context: Any = None
        self._client: Any = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._context is not None:
            await self._context.__aexit__(kind, error, trace)
            self._context = self._client = None

    async def _opened(self) -> Any:
        if self._client is None:
            self._context = aws.client("sqs", self._options)
            self._client = await self._context.__aenter__()
        return self._client

    async def publish(self, message: Message) -> None:
        if len(message.body) > LARGEST:
            raise PermanentError(f"the event has {len(message.body)} bytes, more than a message of SQS can have")
        where = self._options.queue_url
        rest: dict[str, Any] = {}
        if where.endswith(".fifo"):
            rest = {"MessageGroupId": message.task_id[:128], "MessageDeduplicationId": message.event_id}
        try:
            client = await self._opened()
            await client.send_message(QueueUrl=where, MessageBody=message.body.decode(), **rest)
        except Exception as error:
            raise aws.translated(error, where) from error

    async def check(self) -> None:
        try:
            client = await self._opened()
            await client.get_queue_attributes(QueueUrl=self._options.queue_url, AttributeNames=["QueueArn"])
        except Exception as error:
            raise aws.translated(error, self._options.queue_url) from error
