"""New files in a directory: inotify gives hints, a scan gives the truth.

A file starts when it is complete. Complete is: it was closed after writing, or renamed into place (hints); or
its size and time stayed the same for ``settle`` and no process on this machine has it open for writing (scan).
Hints get lost in a burst, so what they say is only ever a reason to look sooner; when the kernel reports that
its queue ran over, everything is scanned again.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import re
import stat as stats
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import Field

from watcher import log, plugin
from watcher.errors import TransientError
from watcher.model.listed import Listed
from watcher.model.objects import ObjectEvent, ObjectInfo, Part, file_version
from watcher.plugin import Seconds
from watcher.sources._inotify import Hints, Observer, observe, open_for_writing, stop
from watcher.sources.base import Bucket, Cursor, Delivery, Outstanding, Source, is_doubtful
from watcher.together import is_set

_log = log.get("folder")

BATCH = 500
LONG_AGO = 3600.0
"""Seconds. A file untouched for this long is complete without being watched for a while."""
INVENTORY = 86_400.0
"""Seconds between two comparisons of what is known with what is there, so that the ledger forgets what is not."""

MORE_WATCHES = "raise fs.inotify.max_user_watches (or max_user_instances) with sysctl"


class Options(plugin.Options):
    """Watches the directory of a local storage."""

    storage: str
    """The storage, of type local, whose directory is watched."""
    settle: Annotated[Seconds, Field(ge=0.05)] = 2.0
    """How long size and time of a file have to stay the same when nothing told that it was closed.
    Raise it for network file systems, where writers on other machines can't be seen."""
    rescan: Annotated[Seconds, Field(gt=0)] = 60.0
    """Pause between two scans of everything."""
    hints: bool = True
    """Whether to use inotify; switch it off where it does not work (network file systems)."""
    ignore: tuple[str, ...] = (
        ".*", "*~", "*.part", "*.partial", "*.tmp", "*.temp", "*.crdownload", "*.download", "*.filepart",
    )  # fmt: skip
    """Names (of files or directories) that are left alone."""
    existing: Literal["ignore", "process"] = "ignore"
    """What to do with files that the first scan finds."""


@dataclass(slots=True)
class _Pending:
    """A file that may still be growing: what it looked like, and since when (monotonic seconds).

    ``notified`` says that a hint spoke of it while the first scan ran.
    """

    version: tuple[int, int]
    since: float
    notified: bool = False


class FolderSource(Source):
    """See the module."""

    def __init__(self, name: str, options: Options, storages: Mapping[str, Bucket]) -> None:
        self.name = name
        self._options = options
        self._storage = storages[options.storage]
        self._root = cast("Path | None", getattr(self._storage, "root", None))
        if self._root is None:
            raise ValueError(
                f"the storage {options.storage!r} is no directory: a folder source needs one of type local"
            )
        # A pattern that can't match anything stands for an empty list.
        self._ignored = re.compile("|".join(map(fnmatch.translate, options.ignore)) or r"(?!)").match
        self._pending: dict[str, _Pending] = {}
        self._next_inventory = 0.0
        self._unwatched = 0

    @property
    def root(self) -> Path:
        """The directory that is watched."""
        assert self._root is not None  # noqa: S101
        return self._root

    async def check(self) -> None:
        await self._storage.check()

    async def deliveries(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        """A delivery per batch of complete files."""
        hints = Hints(asyncio.get_running_loop(), asyncio.Event())
        # While it is held open its inode is not given to another directory, which would then look the same.
        held = await asyncio.to_thread(self._hold_root)
        self._pending.clear()
        observer: Observer | None = None
        try:
            identity = await asyncio.to_thread(self._root_identity)
            if self._options.hints:
                observer = await asyncio.to_thread(self._observe, hints)
            yield Delivery(())
            # A file that is dropped while the first scan runs is listed as existing, and yet it is new.
            during_first_scan = await cursor.load() is None
            async for delivery in self._first_scan(cursor):
                yield delivery
            next_scan = time.monotonic() + self._options.rescan
            while True:
                await self._wait(hints, next_scan)
                if await asyncio.to_thread(self._root_identity) != identity:
                    raise TransientError(f"the directory {self.root} was replaced; watching it anew")
                self._say_what_is_not_watched(hints)
                taken = hints.take()
                for batch in _batches(await asyncio.to_thread(self._look, taken, during_first_scan)):
                    yield Delivery(batch)
                during_first_scan = False
                if taken.overflow:
                    _log.warning("hints were lost in a burst, scanning everything", source=self.name)
                if taken.overflow or time.monotonic() >= next_scan:
                    await self._scan(cursor)
                    await self._inventory_if_due(cursor)
                    next_scan = time.monotonic() + self._options.rescan
                for batch in _batches(await asyncio.to_thread(self._settled)):
                    yield Delivery(batch)
        finally:
            os.close(held)
            if observer is not None:
                await asyncio.shield(asyncio.to_thread(stop, observer))

    def _hold_root(self) -> int:
        try:
            return os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise TransientError(f"the directory {self.root} can't be watched: {error.strerror}") from None

    def _root_identity(self) -> tuple[int, int]:
        try:
            status = self.root.stat()
        except OSError as error:
            raise TransientError(f"the directory {self.root} can't be watched: {error.strerror}") from None
        return status.st_dev, status.st_ino

    def _observe(self, hints: Hints) -> Observer | None:
        try:
            return observe(hints, self.root)
        except OSError as error:
            _log.warning(
                "no inotify for this folder, new files are found by scanning only",
                source=self.name,
                error=error.strerror,
                advice=MORE_WATCHES,
            )
            return None

    def _say_what_is_not_watched(self, hints: Hints) -> None:
        if hints.unwatched > self._unwatched:
            _log.warning(
                "the kernel has no watches left: new files in some directories are found by scanning only",
                source=self.name,
                directories=hints.unwatched,
                scans_every=self._options.rescan,
                advice=MORE_WATCHES,
            )
            self._unwatched = 2 * hints.unwatched  # the next word is due when it got much worse

    async def _wait(self, hints: Hints, next_scan: float) -> None:
        now = time.monotonic()
        due = min([next_scan, *(item.since + self._options.settle for item in self._pending.values())])
        if self._pending:
            due = max(due, now + min(0.25, self._options.settle / 2))  # many files settle in one look
        await is_set(hints.wake, due - now)

    async def _first_scan(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        """What is there already is recorded and starts nothing, the first time ever; later it is a usual scan."""
        if await cursor.load() is not None:
            await self._scan(cursor)
            return
        if self._options.existing == "process":
            await self._scan(cursor)
            await cursor.save("scanned")
            return
        outstanding, found = Outstanding(), 0
        async for page in self._storage.list():
            events = tuple(self._event(info, existing=True) for info in page if self._wanted(info.key))
            found += len(events)
            yield outstanding.delivery(events)
        if await outstanding.settled():
            await cursor.save("scanned")
            if found:
                _log.info("first scan", source=self.name, existing=found, note="they start nothing")

    async def _scan(self, cursor: Cursor) -> None:
        """Whatever the ledger does not know goes among the pending files."""
        now, long_ago = time.monotonic(), time.time() - LONG_AGO
        async for page in self._storage.list():
            wanted = [info for info in page if self._wanted(info.key) and info.key not in self._pending]
            for info in await cursor.unknown(wanted) if wanted else []:
                old = info.last_modified < long_ago
                self._pending[info.key] = _Pending(_version(info), now - self._options.settle if old else now)

    async def _inventory_if_due(self, cursor: Cursor) -> None:
        if time.monotonic() >= self._next_inventory:
            self._next_inventory = time.monotonic() + INVENTORY
            await self._inventory(cursor)

    async def _inventory(self, cursor: Cursor) -> None:
        """Note what is known and not there; what was not there the last time either is forgotten, in the end."""
        if not await cursor.lead(f"inventory/{self._options.storage}"):
            return
        there = gone = 0
        async for _, found, keys in self._known(cursor):
            there, gone = there + len(found), gone + len(keys) - len({info.key for info in found})
        if is_doubtful(there, gone) or (gone and not there):  # an empty directory is perhaps where a disk was
            _log.warning("so much is not there that it is not believed", source=self.name, there=there, gone=gone)
            return
        began = int(time.time())
        async for after, found, keys in self._known(cursor):
            await cursor.merge(Part(self._options.storage, "", after, keys[-1]), Listed.of(found), began, confirm=True)

    async def _known(self, cursor: Cursor) -> AsyncIterator[tuple[str, list[ObjectInfo], list[str]]]:
        """Pages of the keys that are known: the key before, those files that are there, all keys. Pages with one that
        can't be seen are left out: it may be there."""
        after = ""
        while keys := await cursor.keys(self._options.storage, after, BATCH):
            try:
                found = await asyncio.to_thread(lambda: [self._exact_stat(key) for key in keys])
            except OSError:
                pass
            else:
                yield after, [info for info in found if info is not None], keys
            after = keys[-1]

    def _wanted(self, key: str) -> bool:
        return not any(map(self._ignored, key.split("/")))

    def _event(self, info: ObjectInfo, *, existing: bool = False, notified: bool = False) -> ObjectEvent:
        return ObjectEvent(info.storage, info.key, self.name, info=info, existing=existing, notified=notified)

    def _key(self, path: str) -> str:
        return os.path.relpath(path, self.root)

    def _stat(self, key: str) -> ObjectInfo | None:
        """The file as it is now; None when it is gone, can't be seen, or is no regular file."""
        try:
            return self._exact_stat(key)
        except OSError:
            return None

    def _exact_stat(self, key: str) -> ObjectInfo | None:
        """As before; raises OSError for what can't be seen."""
        try:
            status = os.lstat(self.root / key)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return file_version(self._storage.name, key, status) if stats.S_ISREG(status.st_mode) else None

    def _look(self, hints: Hints, notified: bool) -> list[ObjectEvent]:
        """The files that hints say are complete; others that they speak of go among the pending ones."""
        complete = [self._key(path) for path in hints.complete]
        for tree in hints.moved_trees:  # a rename is atomic: all that is inside is complete
            complete.extend(self._files_below(tree))
        begun = [self._key(path) for path in hints.begun]
        for tree in hints.new_trees:
            begun.extend(self._files_below(tree))
        now = time.monotonic()
        events: list[ObjectEvent] = []
        for key in dict.fromkeys(complete):
            info = self._stat(key) if self._wanted(key) else None
            if info is not None and info.size > 0:
                self._pending.pop(key, None)
                events.append(self._event(info, notified=notified))
            elif info is not None:  # empty: perhaps only touched, to be written next
                self._pending[key] = _Pending(_version(info), now, notified)
        for key in begun:
            if key not in self._pending and key not in complete and self._wanted(key):
                info = self._stat(key)
                if info is not None:
                    self._pending[key] = _Pending(_version(info), now, notified)
        return events

    def _files_below(self, tree: str) -> Iterator[str]:
        for folder, _, files in os.walk(tree):
            for name in files:
                yield self._key(os.path.join(folder, name))

    def _settled(self) -> list[ObjectEvent]:
        """Pending files that are complete by now."""
        now = time.monotonic()
        due = [key for key, item in self._pending.items() if now - item.since >= self._options.settle]
        if not due:
            return []
        events: list[ObjectEvent] = []
        writing = open_for_writing()
        for key in due:
            info, item = self._stat(key), self._pending[key]
            if info is None:
                del self._pending[key]
            elif _version(info) != item.version or _file_id(self.root / key) in writing:
                self._pending[key] = _Pending(_version(info), now, item.notified)
            else:
                del self._pending[key]
                events.append(self._event(info, notified=item.notified))
        return events


def _version(info: ObjectInfo) -> tuple[int, int]:
    return int(info.etag, 16), info.size


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _batches(events: list[ObjectEvent]) -> Iterable[tuple[ObjectEvent, ...]]:
    return (tuple(events[start : start + BATCH]) for start in range(0, len(events), BATCH))
