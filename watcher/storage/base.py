"""The contract of a storage: objects by key, read in one exact version, written whole or not at all.

A key has no leading slash. Every method raises ObjectNotFound, ObjectSuperseded, AccessRefused (all of them
permanent) or TransientError, whatever the vendor's library raised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from watcher.model.listed import Listed
from watcher.model.objects import Expected, ObjectInfo, nothing_expected

Progress = Callable[[int], None]
"""Called with the number of bytes moved since the last call."""


Before = Callable[[ObjectInfo], Awaitable[None]]
"""Awaited with a version just before it becomes visible."""


class Upload(ABC):
    """An object that is being written while its file still grows; nothing of it is visible before the end."""

    @abstractmethod
    async def grown(self, path: Path, size: int) -> None:
        """All below ``size`` is final but for the first :data:`HEAD` bytes, which may be written anew until the end."""

    @abstractmethod
    async def closed(self, path: Path) -> None:
        """The file is complete: all of it can be sent, though it is not to be seen yet."""

    @abstractmethod
    async def finish(self, path: Path, before: Before | None = None) -> ObjectInfo:
        """The file is complete: write what is left of it, and make the object visible."""

    @abstractmethod
    async def abort(self) -> None:
        """Leave nothing behind."""


HEAD = 16 * 1024 * 1024
"""Bytes at the beginning of a growing file that are sent last."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing: its objects, its last key, and the storage's own time in seconds since 1970, if it told."""

    infos: Listed
    last: str
    time: int | None
    digest: bytes | None = None
    """Of the text of its entries, where there is one."""
    same: bool = False
    """The digest is the one expected, so that ``infos`` were not read."""


class Storage(ABC):
    """One bucket. Opened and closed as an async context manager by whoever made it."""

    name: str
    region: str | None = None
    """None when objects have no region (a directory): such a storage fits a trigger of any region."""
    exact_listing: bool = False
    """Whether a listing is as good as a HEAD: it needs no look at the object's metadata before launch."""
    ordered_listing: bool = False
    """Whether listings come in the order of keys, so that one that was interrupted can go on behind a key."""
    far: bool = True
    """Whether fetching an object moves its bytes, so that reading a part of it may be cheaper."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    @abstractmethod
    async def head(self, key: str, version_id: str | None = None) -> ObjectInfo:
        """The object as it is now, or the given version of it, with its metadata."""

    @abstractmethod
    async def fetch(self, info: ObjectInfo, path: Path, progress: Progress | None = None) -> None:
        """Put exactly this version at ``path``, which does not exist: a copy, or a link to it.

        Raises ObjectSuperseded when the storage holds another version by now.
        """

    @abstractmethod
    async def read(self, info: ObjectInfo, start: int, length: int) -> bytes:
        """A part of exactly this version. Raises ObjectSuperseded when the storage holds another one by now."""

    @abstractmethod
    async def verify(self, info: ObjectInfo) -> None:
        """Raise ObjectSuperseded or ObjectNotFound unless what was fetched is still exactly this version.

        Free for a storage whose ``fetch`` made a copy.
        """

    @abstractmethod
    async def put(
        self,
        path: Path,
        key: str,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        token: str,
        before: Before | None = None,
    ) -> ObjectInfo:
        """Write a whole file as an object, replacing any of that key, and return the version that was made.

        The object is never visible in part. ``token`` names the writer, so that :meth:`discard` can find what a
        killed one left. ``before`` is awaited with the version just before it becomes visible, where the
        storage can know it by then.
        """

    async def begin(self, key: str, *, content_type: str, metadata: Mapping[str, str]) -> Upload | None:
        """Start to write an object whose file still grows; None where nothing would be gained by it.

        :meth:`discard` finds what a killed writer left of it.
        """
        return None

    @abstractmethod
    async def discard(self, key: str, token: str) -> None:
        """Remove what an interrupted :meth:`put` of this key by this token left behind; nothing if nothing."""

    @abstractmethod
    def list(self, prefix: str = "") -> AsyncIterator[list[ObjectInfo]]:
        """All objects whose key starts with ``prefix``, in any order, in pages of bounded size."""

    async def pages(
        self, prefix: str = "", after: str = "", expected: Expected = nothing_expected, until: str | None = None
    ) -> AsyncIterator[Page]:
        """The same, in the order of keys where the storage has one, and only keys behind ``after``.

        Pages that are as ``expected`` need not be read, and none has to follow the one that reaches ``until``.
        """
        async for infos in self.list(prefix):
            behind = [info for info in infos if info.key > after]
            yield Page(Listed.of(behind), max((info.key for info in infos), default=""), None)

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Remove an object; no error when there is none."""

    @abstractmethod
    async def check(self) -> None:
        """Raise a WatcherError, in words for a person, unless the storage can be reached and read."""
