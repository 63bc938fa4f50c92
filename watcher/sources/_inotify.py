"""Hints from the kernel: what inotify tells of a folder, gathered by watchdog's thread for the event loop.

Hints may be lost, come twice or be wrong by the time they are looked at. :mod:`watcher.sources.folder` takes them
only as a reason to look.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat as stats
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyFullEmitter
from watchdog.observers.inotify_c import CallbackId, InotifyEvent, InotifyFD, Mask, WatchCallback, WatchDescriptor

# watchdog says so when a directory is seen twice while it is being filled; nothing is lost by it.
warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)


Kind = Literal["complete", "begun", "moved_trees", "new_trees"]


@dataclass(slots=True)
class Hints:
    """What the kernel told since the last look. Filled by watchdog's thread, emptied by the event loop."""

    loop: asyncio.AbstractEventLoop
    wake: asyncio.Event
    complete: dict[str, None] = field(default_factory=dict)
    begun: dict[str, None] = field(default_factory=dict)
    moved_trees: dict[str, None] = field(default_factory=dict)
    new_trees: dict[str, None] = field(default_factory=dict)
    overflow: bool = False
    unwatched: int = 0
    """Directories for which the kernel had no watch left, since the start."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: Kind, path: bytes | str) -> None:
        """One hint of a kind; called by watchdog's thread."""
        with self.lock:
            first = not (self.complete or self.begun or self.moved_trees or self.new_trees or self.overflow)
            gathered: dict[str, None] = getattr(self, kind)  # under the lock: take() puts other dicts in place
            gathered[os.fsdecode(path)] = None
        if first:
            self._signal()

    def overflowed(self) -> None:
        """The kernel's queue ran over; called by watchdog's thread."""
        with self.lock:
            self.overflow = True
        self._signal()

    def not_watched(self) -> None:
        """A directory could not be watched; called by watchdog's thread."""
        with self.lock:
            self.unwatched += 1
        self._signal()

    def _signal(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the service is ending
            self.loop.call_soon_threadsafe(self.wake.set)

    def take(self) -> Hints:
        """All hints so far; from now on they gather anew."""
        with self.lock:
            taken = Hints(
                self.loop, self.wake, self.complete, self.begun, self.moved_trees, self.new_trees, self.overflow
            )
            self.complete, self.begun, self.moved_trees, self.new_trees = {}, {}, {}, {}
            self.overflow = False
        self.wake.clear()
        return taken


class _Handler(FileSystemEventHandler):
    def __init__(self, hints: Hints) -> None:
        self._hints = hints

    def on_any_event(self, event: FileSystemEvent) -> None:
        hints = self._hints
        if isinstance(event, FileClosedEvent):
            hints.note("complete", event.src_path)
        elif isinstance(event, FileMovedEvent) and event.dest_path:
            hints.note("complete", event.dest_path)
        elif isinstance(event, FileCreatedEvent):
            hints.note("begun", event.src_path)
        elif isinstance(event, DirMovedEvent) and event.dest_path:
            hints.note("moved_trees", event.dest_path)
        elif isinstance(event, DirCreatedEvent):
            hints.note("new_trees", event.src_path)


_WANTED: list[type[FileSystemEvent]] = [
    FileClosedEvent, FileMovedEvent, FileCreatedEvent, DirMovedEvent, DirCreatedEvent,
]  # fmt: skip


class NoticingInotifyFD(InotifyFD):
    """Watchdog's reader, which heals its watches after an overflow; ours says so, for the scan."""

    def __init__(self, hints: Hints) -> None:
        super().__init__()
        self._hints = hints

    def add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
        """Watchdog leaves out a directory below the first one that can't be watched, and tells nobody."""
        try:
            return super().add_callback(path, mask, callback, id_)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self._hints.not_watched()
            raise

    def handle_event(self, event: InotifyEvent) -> None:
        super().handle_event(event)
        if event.is_queue_overflow:
            self._hints.overflowed()


class Observer(BaseObserver):
    """Watchdog's observer with our reader, and with moves from outside told apart from creations."""

    def __init__(self, hints: Hints) -> None:
        self._inotify_fd = NoticingInotifyFD(hints)
        self._inotify_fd.start()
        super().__init__(InotifyFullEmitter, inotify_fd=self._inotify_fd)

    def on_thread_stop(self) -> None:
        super().on_thread_stop()
        self._inotify_fd.stop()
        self._inotify_fd.join()


def observe(hints: Hints, root: Path) -> Observer:
    """Watch everything below a folder; raises OSError where inotify can't be had."""
    observer = Observer(hints)
    observer.schedule(_Handler(hints), str(root), recursive=True, event_filter=_WANTED)
    observer.start()
    return observer


def stop(observer: Observer) -> None:
    """End the observer's threads."""
    observer.stop()
    observer.join(5)


def open_for_writing() -> set[tuple[int, int]]:
    """(device, inode) of the files that processes of this machine have open for writing, as far as we may see."""
    found: set[tuple[int, int]] = set()
    with os.scandir("/proc") as processes:
        for process in processes:
            if process.name.isdigit():
                with contextlib.suppress(OSError):  # gone meanwhile, or not ours to look at
                    found.update(_written_by(process.name))
    return found


def _written_by(process: str) -> Iterator[tuple[int, int]]:
    with os.scandir(f"/proc/{process}/fd") as descriptors:
        for descriptor in descriptors:
            # One that was closed meanwhile says nothing of the others.
            with contextlib.suppress(OSError):
                if descriptor.stat(follow_symlinks=False).st_mode & stats.S_IWUSR:  # /proc shows the mode of the open
                    status = descriptor.stat()
                    if stats.S_ISREG(status.st_mode):
                        yield status.st_dev, status.st_ino
