"""Task events as JSON files in a directory: no server needed, and easy to look at."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from watcher.errors import PermanentError, TransientError
from watcher.notifiers.base import EventOptions, Message, Notifier


class Options(EventOptions):
    """Writes a file for each task event."""

    path: Path
    """The directory; it is made when it is not there."""


class DirectoryNotifier(Notifier):
    """See the module. Sent again, an event replaces its own file."""

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.told(options)
        self._path = options.path.absolute()

    async def publish(self, message: Message) -> None:
        try:
            await asyncio.to_thread(self._write, message)
        except OSError as error:
            raise TransientError(f"{self._path}: {error.strerror}") from None

    def _write(self, message: Message) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^0-9A-Za-z_-]", "_", f"{message.task_id}-{message.event_id}")
        part = self._path / f".{name}.part"
        with part.open("wb") as file:
            file.write(message.body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path / f"{name}.json")

    async def check(self) -> None:
        parent = next(path for path in (self._path, *self._path.parents) if path.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise PermanentError(f"{self._path} can't be written: {parent} is no writable directory")
