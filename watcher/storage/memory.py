"""A bucket in memory: for tests and for trying things out. It keeps versions when told to."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

from watcher import plugin
from watcher.errors import ObjectNotFound, ObjectSuperseded
from watcher.model.objects import ObjectInfo
from watcher.storage.base import Progress, Storage


class Options(plugin.Options):
    """Objects live as long as the process."""

    versioned: bool = False
    """Whether every write makes a version of its own."""


class MemoryStorage(Storage):
    """See the module."""

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self._versioned = options.versioned
        self._writes = 0
        self._objects: dict[str, list[tuple[ObjectInfo, bytes]]] = {}

    def _current(self, key: str, version_id: str | None = None) -> tuple[ObjectInfo, bytes]:
        for info, data in reversed(self._objects.get(key, [])):
            if version_id in (None, info.version_id):
                return info, data
        raise ObjectNotFound(f"{self.name}/{key} does not exist")

    async def head(self, key: str, version_id: str | None = None) -> ObjectInfo:
        return self._current(key, version_id)[0]

    async def fetch(self, info: ObjectInfo, path: Path, progress: Progress | None = None) -> None:
        found, data = self._current(info.key, info.version_id)
        if found.identity != info.identity:
            raise ObjectSuperseded(f"{info.uri} was overwritten since it was seen")
        path.write_bytes(data)
        if progress is not None:
            progress(len(data))

    async def read(self, info: ObjectInfo, start: int, length: int) -> bytes:
        found, data = self._current(info.key, info.version_id)
        if found.identity != info.identity:
            raise ObjectSuperseded(f"{info.uri} was overwritten since it was seen")
        return data[start : start + length]

    async def verify(self, info: ObjectInfo) -> None:
        """A copy was fetched, so nothing can have changed."""

    async def put(
        self,
        path: Path,
        key: str,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        token: str,
        before: Callable[[ObjectInfo], Awaitable[None]] | None = None,
    ) -> ObjectInfo:
        data = path.read_bytes()
        self._writes += 1
        info = ObjectInfo(
            storage=self.name,
            key=key,
            size=len(data),
            etag=hashlib.sha256(data).hexdigest()[:32],
            last_modified=1_700_000_000 + self._writes,
            version_id=str(self._writes) if self._versioned else None,
            metadata={**metadata, "content-type": content_type},
        )
        if before is not None:
            await before(info)
        versions = self._objects.setdefault(key, [])
        if not self._versioned:
            versions.clear()
        versions.append((info, data))
        return info

    async def discard(self, key: str, token: str) -> None:
        """Nothing is ever left behind."""

    async def list(self, prefix: str = "") -> AsyncIterator[list[ObjectInfo]]:
        page = [versions[-1][0] for key, versions in sorted(self._objects.items()) if key.startswith(prefix)]
        if page:
            yield page

    async def delete(self, key: str) -> None:
        self._objects.pop(key, None)

    async def check(self) -> None:
        """Memory is always there."""
