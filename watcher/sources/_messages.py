"""Options and steps that all sources over message brokers share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from pydantic import Field

from watcher import plugin
from watcher.sources._reading import read_message, storages_by_bucket
from watcher.sources.base import Bucket, Delivery


class MessageOptions(plugin.Options):
    """What is said of messages, whichever broker they come through."""

    storages: dict[str, str] = Field(default_factory=dict)
    """Names of storages by bucket name, where the two differ."""


class Reader:
    """Reads the messages of one source; ``broken`` is set when one has to be delivered again."""

    def __init__(self, name: str, options: MessageOptions, storages: Mapping[str, Bucket]) -> None:
        self._name = name
        self._storages = storages_by_bucket(storages, options.storages)
        self.broken = asyncio.Event()

    def read(self, body: str | bytes, *, streamed: bool = False) -> Delivery:
        """What a message says; nobody is told yet of what becomes of it."""
        read = read_message(body, self._name, self._storages, streamed=streamed)
        return Delivery(read.events, refused=read.irrelevant, strange=read.strange, sweep=read.sweep)
