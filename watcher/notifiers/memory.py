"""Task events in a list: for tests and for trying things out."""

from __future__ import annotations

from watcher.notifiers.base import EventOptions, Message, Notifier


class Options(EventOptions):
    """Events stay as long as the process."""


class MemoryNotifier(Notifier):
    """``received`` holds what was published; ``fail_with``, when set, is raised instead."""

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.told(options)
        self.received: list[Message] = []
        self.fail_with: Exception | None = None

    async def publish(self, message: Message) -> None:
        if self.fail_with is not None:
            raise self.fail_with
        self.received.append(message)
