"""Notifications of buckets from an SQS queue: sent there by the bucket, or through SNS, EventBridge or another
service; any dialect of ``_dialects``.

A message is deleted after the commit of what it said, never after the work. What is in the queue but is no
object event (test events, removals) is acknowledged and counted; what nobody can read goes into quarantine first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from watcher import aws, log
from watcher.errors import WatcherError
from watcher.sources._reading import read_message, storages_by_bucket
from watcher.sources.base import Bucket, Cursor, Delivery, Source

_log = log.get("sqs")
WAIT_SECONDS = 20
GATHER = 0.01
"""Seconds that a deletion waits for others: ten go in one request."""
GIVE_BACK = 3.0
"""Seconds that messages which were not settled may take to go back at the end."""


class Options(aws.ClientOptions):
    """A queue that S3 event notifications arrive in."""

    queue_url: str
    """The address of the queue."""
    receivers: Annotated[int, Field(ge=1, le=64)] = 4
    """How many receive calls run at once; each takes up to ten messages."""
    visibility_timeout: Annotated[int, Field(ge=10, le=43_200)] = 60
    """Seconds after which a message that was not committed is delivered again."""
    storages: dict[str, str] = Field(default_factory=dict)
    """Names of storages by bucket name, where the two differ."""


class SqsSource(Source):
    """See the module."""

    def __init__(self, name: str, options: Options, storages: Mapping[str, Bucket]) -> None:
        self.name = name
        self._options = options
        self.further = options.storages
        self._storages = storages_by_bucket(storages, options.storages)
        self._held: dict[str, Mapping[str, str]] = {}
        """Messages that were received and are not settled, by receipt."""

    async def deliveries(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        """A delivery per message, from several receivers at once."""
        found: asyncio.Queue[Delivery] = asyncio.Queue(maxsize=10 * self._options.receivers)
        # Long polls hold connections; deleting must never wait for one.
        receive = aws.client("sqs", self._options.model_copy(update={"read_timeout": WAIT_SECONDS + 30}), pool=64)
        async with receive as receiver, aws.client("sqs", self._options) as deleter:
            deletions = _Deletions(deleter, self._options.queue_url)
            tasks = [
                asyncio.create_task(self._receive(receiver, deletions, found), name=f"{self.name} receiver {number}")
                for number in range(self._options.receivers)
            ]
            tasks.append(asyncio.create_task(deletions.run(self._options.receivers), name=f"{self.name} deletions"))
            try:
                yield Delivery(())
                while True:
                    yield await _next(found, tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await asyncio.shield(self._give_back_all(deletions))

    async def _receive(self, client: Any, deletions: _Deletions, found: asyncio.Queue[Delivery]) -> None:
        while True:
            try:
                answer = await client.receive_message(
                    QueueUrl=self._options.queue_url,
                    MaxNumberOfMessages=10,
                    WaitTimeSeconds=WAIT_SECONDS,
                    VisibilityTimeout=self._options.visibility_timeout,
                )
            except Exception as error:
                raise aws.translated(error, f"queue {self._options.queue_url}") from error
            for message in answer.get("Messages", []):
                await found.put(self._delivery(message, deletions))

    async def _give_back_all(self, deletions: _Deletions) -> None:
        """Whoever receives next should not have to wait for what this source did not get to."""
        held, self._held = list(self._held.values()), {}
        try:
            async with asyncio.timeout(GIVE_BACK):
                await asyncio.gather(*(deletions.give_back(message, 0) for message in held))
        except TimeoutError:
            _log.warning("messages not given back; they come again after the visibility timeout", count=len(held))

    def _delivery(self, message: Mapping[str, str], deletions: _Deletions) -> Delivery:
        receipt = message["ReceiptHandle"]
        self._held[receipt] = message

        async def acknowledge() -> None:
            await deletions.put(message)
            self._held.pop(receipt, None)

        async def release() -> None:
            self._held.pop(receipt, None)
            await deletions.give_back(message)

        read = read_message(message.get("Body", ""), self.name, self._storages)
        return read.delivery(acknowledge, release)

    async def check(self) -> None:
        await self.attributes()

    async def attributes(self) -> dict[str, str]:
        """What the queue says of itself."""
        async with aws.client("sqs", self._options) as client:
            try:
                answer = await client.get_queue_attributes(QueueUrl=self._options.queue_url, AttributeNames=["All"])
            except Exception as error:
                raise aws.translated(error, f"queue {self._options.queue_url}") from error
        found: dict[str, str] = answer["Attributes"]
        return found


async def _next(found: asyncio.Queue[Delivery], tasks: list[asyncio.Task[None]]) -> Delivery:
    """The next delivery; raises what ended a task, rather than waiting for ever on a dead one."""
    if not found.empty() and not any(task.done() for task in tasks):
        return found.get_nowait()
    getter = asyncio.ensure_future(found.get())
    try:
        await asyncio.wait({getter, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        return await getter
    finally:
        getter.cancel()


class _Deletions:
    """Deletes messages ten at a time; whoever puts one in need not wait for the round trip."""

    def __init__(self, client: Any, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url
        self._waiting: asyncio.Queue[Mapping[str, str]] = asyncio.Queue(maxsize=1000)

    async def put(self, message: Mapping[str, str]) -> None:
        await self._waiting.put(message)

    async def give_back(self, message: Mapping[str, str], after: int = 5) -> None:
        """Let somebody else, or ourselves a little later, have it: sooner than the visibility timeout."""
        try:
            await self._client.change_message_visibility(
                QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=after
            )
        except Exception as error:
            _log.warning("message not given back", error=str(error))

    async def run(self, at_once: int) -> None:
        """Until cancelled, with so many requests at once at most. One gathers for all of them, or batches are small."""
        room = asyncio.Semaphore(at_once)
        async with asyncio.TaskGroup() as group:
            while True:
                batch = [await self._waiting.get()]
                if self._waiting.qsize() < 9:
                    await asyncio.sleep(GATHER)
                await room.acquire()
                while len(batch) < 10 and not self._waiting.empty():
                    batch.append(self._waiting.get_nowait())
                group.create_task(self._delete(batch)).add_done_callback(lambda _: room.release())

    async def _delete(self, batch: list[Mapping[str, str]]) -> None:
        entries = [{"Id": str(number), "ReceiptHandle": item["ReceiptHandle"]} for number, item in enumerate(batch)]
        try:
            answer = await self._client.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)
        except Exception as error:
            # Not deleted means delivered again, and a duplicate then: no harm, and no reason to stop.
            failure: WatcherError = aws.translated(error, "deleting messages")
            _log.warning("messages not deleted", count=len(batch), error=str(failure))
            return
        for failed in answer.get("Failed", []):
            _log.warning("message not deleted", code=failed.get("Code"), error=failed.get("Message"))
