"""Task events to a subject of NATS that a JetStream stream takes: published when the stream has confirmed it.

nats-py comes with ``pip install 'watcher[nats]'`` and is imported when the first connection is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from types import TracebackType
from typing import TYPE_CHECKING

from pydantic import field_validator

from watcher.brokers import nats
from watcher.brokers.base import require
from watcher.errors import TransientError
from watcher.notifiers.base import EventOptions, Message, Notifier, check_places

if TYPE_CHECKING:
    from nats.aio.client import Client


class Options(nats.NatsOptions, EventOptions):
    """Publishes each task event to a subject."""

    subject: str = "watcher.tasks.{task_id}"
    """The subject; ``{task_id}``, ``{workflow}`` and ``{event_id}`` are filled in. A stream has to take it."""

    @field_validator("subject")
    @classmethod
    def _can_be_published_to(cls, value: str) -> str:
        check_places(value)
        if not value or "*" in value or ">" in value or re.search(r"\s", value):
            raise ValueError("a subject to publish to can't be empty and can't hold '*', '>' or blanks")
        return value


class NatsNotifier(Notifier):
    """See the module. The event id is the message's id too, so that the stream keeps one that comes twice once."""

    def __init__(self, name: str, options: Options) -> None:
        require("nats", "nats")
        self.name = name
        self.told(options)
        self._options = options
        self._connection: Client | None = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # it is broken, or it is closed
                await connection.close()

    async def _connected(self) -> Client:
        if self._connection is None or not self._connection.is_connected:
            await self._disconnect()
            self._connection = await nats.connect(self._options)
        return self._connection

    def subject_of(self, message: Message) -> str:
        """The subject of an event; what NATS gives a meaning to is taken out of the names filled in."""
        values = message.places
        return re.sub(r"\{([^}]*)\}", lambda match: re.sub(r"[*>.\s\0]", "_", values[match[1]]), self._options.subject)

    async def publish(self, message: Message) -> None:
        from nats.js.errors import NoStreamResponseError  # noqa: PLC0415

        subject = self.subject_of(message)
        try:
            async with asyncio.timeout(self._options.timeout):
                stream = (await self._connected()).jetstream()
                headers = {"Nats-Msg-Id": message.event_id, "Content-Type": self.content_type}
                await stream.publish(subject, message.body, headers=headers)
        except NoStreamResponseError:
            raise TransientError(f"{self._options.host}: no stream takes the subject {subject!r}") from None
        except Exception as error:
            await self._disconnect()
            raise nats.translated(error, self._options.host) from error

    async def check(self) -> None:
        try:
            async with asyncio.timeout(self._options.timeout):
                await (await self._connected()).flush()
        except Exception as error:
            await self._disconnect()
            raise nats.translated(error, self._options.host) from error
