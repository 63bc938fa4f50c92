"""What lies on web servers, to be read only. A key is an address; who may be asked is the guard's matter."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from watcher.errors import ObjectSuperseded, PermanentError, TransientError
from watcher.model.objects import URL, ObjectInfo
from watcher.outside import Fetcher
from watcher.storage.base import Before, Progress, Storage

if TYPE_CHECKING:
    import aiohttp

CHUNK = 1024 * 1024
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)\Z")


class UrlStorage(Storage):
    """See the module. ``max_size`` is in bytes, ``timeout`` in seconds for a whole fetch."""

    def __init__(self, fetcher: Fetcher, *, max_size: int, timeout: float) -> None:
        self.name = URL
        self._fetcher = fetcher
        self._max_size = max_size
        self._timeout = timeout

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._fetcher.close()

    async def head(self, key: str, version_id: str | None = None) -> ObjectInfo:
        """By a GET of one byte: servers that sign addresses for GET refuse a HEAD."""
        async with self._fetcher.get(key, {"Range": "bytes=0-0"}) as answer:
            info = _info(key, answer)
        if info.size > self._max_size:
            raise PermanentError(f"{info.uri} has {info.size} bytes, more than `outside.max_size` allows")
        return info

    async def fetch(self, info: ObjectInfo, path: Path, progress: Progress | None = None) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                moved = await self._fetch(info, path, progress)
        except TimeoutError:
            raise PermanentError(f"{info.uri} takes longer than `outside.timeout` allows") from None
        if info.size >= 0 and moved != info.size:
            raise TransientError(f"{info.uri}: the connection ended early, after {moved} of {info.size} bytes")

    async def _fetch(self, info: ObjectInfo, path: Path, progress: Progress | None) -> int:
        moved = 0
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            async with self._fetcher.get(info.key, {}) as answer:
                _check_same(info, answer)
                async for chunk in answer.content.iter_chunked(CHUNK):
                    moved += len(chunk)
                    if moved > self._max_size:
                        raise PermanentError(f"{info.uri} is larger than `outside.max_size` allows")
                    await asyncio.to_thread(os.write, descriptor, chunk)
                    if progress is not None:
                        progress(len(chunk))
        finally:
            os.close(descriptor)
        return moved

    async def read(self, info: ObjectInfo, start: int, length: int) -> bytes:
        wanted = {"Range": f"bytes={start}-{start + length - 1}"}
        async with self._fetcher.get(info.key, wanted) as answer:
            _check_same(info, answer)
            if answer.status != 206:
                raise PermanentError(f"{info.uri}: the server gives no parts of it")
            return await answer.content.read(length) if length else b""

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
        before: Before | None = None,
    ) -> ObjectInfo:
        raise PermanentError("nothing can be written to an address")

    async def discard(self, key: str, token: str) -> None:
        """Nothing was ever put."""

    async def list(self, prefix: str = "") -> AsyncIterator[list[ObjectInfo]]:
        raise PermanentError("addresses can't be listed")
        yield []

    async def delete(self, key: str) -> None:
        raise PermanentError("nothing can be removed from an address")

    async def check(self) -> None:
        """There is nothing to reach."""


def _info(key: str, answer: aiohttp.ClientResponse) -> ObjectInfo:
    headers = answer.headers
    size = -1
    if answer.status == 206:
        match = _TOTAL.match(headers.get("Content-Range", ""))
        size = int(match[1]) if match else -1
    elif headers.get("Content-Length", "").isdecimal():
        size = int(headers["Content-Length"])
    return ObjectInfo(URL, key, size, _etag(answer), _modified(headers.get("Last-Modified")), metadata={})


def _etag(answer: aiohttp.ClientResponse) -> str:
    return answer.headers.get("ETag", "") or "-"


def _modified(text: str | None) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp()) if text else 0
    except ValueError:
        return 0


def _check_same(info: ObjectInfo, answer: aiohttp.ClientResponse) -> None:
    if _etag(answer) != info.etag or _modified(answer.headers.get("Last-Modified")) != info.last_modified:
        raise ObjectSuperseded(f"{info.uri} changed since it was looked at")
