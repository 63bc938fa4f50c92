"""Notifications of one bucket of MinIO, as a stream that is asked for: nothing has to be set up at the store.

What happens while nobody listens is not told afterwards. So each connection begins with a sweep of the bucket, and
what the stream says is only ever the quicker way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import Field

from watcher.errors import AccessRefused, PermanentError, TransientError
from watcher.plugin import Seconds
from watcher.sources._messages import MessageOptions, Reader
from watcher.sources.base import Bucket, Cursor, Delivery, Source

LONGEST_LINE = 1024 * 1024


class Options(MessageOptions):
    """Listens to a bucket of a MinIO server."""

    storage: str
    """The storage, of type s3, whose bucket is listened to."""
    prefix: str = ""
    """Only keys that start with it."""
    silence: Annotated[Seconds, Field(gt=0)] = 30.0
    """The server sends blank lines all the time; when it has sent nothing for so long, the stream is asked for anew."""


class MinioListenSource(Source):
    """See the module."""

    def __init__(self, name: str, options: Options, storages: Mapping[str, Bucket]) -> None:
        self.name = name
        self._options = options
        self._storage: Any = storages[options.storage]
        if not hasattr(self._storage, "signed"):
            raise ValueError(f"the storage {options.storage!r} is no bucket: this source needs one of type s3")
        self._reader = Reader(name, options, storages)

    async def deliveries(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        """A delivery per line; nothing is acknowledged, for there is nobody to tell."""
        import aiohttp  # noqa: PLC0415  it takes a tenth of a second to load
        from yarl import URL  # noqa: PLC0415

        query = urlencode({"events": "s3:ObjectCreated:*", "prefix": self._options.prefix, "suffix": "", "ping": "5"})
        url, headers = await self._storage.signed("GET", query)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self._options.silence)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, read_bufsize=LONGEST_LINE) as session,
                session.get(URL(url, encoded=True), headers=headers) as answer,
            ):
                if answer.status != 200:
                    raise _refusal(answer.status, (await answer.content.read(300)).decode("utf-8", "replace"))
                yield Delivery((), sweep=(self._options.storage,))
                async for line in answer.content:
                    if line.strip() and line.strip() != b'{"Records":null}':
                        yield self._reader.read(line, streamed=True)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TransientError(f"{self._options.storage}: {error or type(error).__name__}") from None
        raise TransientError(f"{self._options.storage}: the stream ended")

    async def check(self) -> None:
        await self._storage.check()


def _refusal(status: int, text: str) -> Exception:
    if status in (401, 403):
        return AccessRefused(f"the store answered {status}: {text}")
    kind = TransientError if status >= 500 else PermanentError
    return kind(f"the store answered {status} to ListenNotification: {text}")
