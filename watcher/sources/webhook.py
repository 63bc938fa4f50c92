"""Notifications of buckets as HTTP POST requests: from MinIO, Ceph, COS functions, CloudEvents, SNS; any dialect.

A request is answered when what it said is committed: 200 then, 503 when it can't be committed now, so that the sender
keeps it. Nothing has to be spooled for that. What nobody can read is kept in quarantine and answered with 200: sent
again it would be no clearer, and it would fill the sender's queue.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qs

from pydantic import Field, SecretStr

from watcher import log, plugin
from watcher.errors import TransientError
from watcher.listening import Certificate, listening, read_body
from watcher.plugin import Seconds
from watcher.sources._dialects import MAX_BODY
from watcher.sources._reading import read_message, storages_by_bucket
from watcher.sources.base import Bucket, Cursor, Delivery, Source

if TYPE_CHECKING:
    from aiohttp import web

_log = log.get("webhook")


class Options(plugin.Options):
    """Takes event notifications that a store (or a function beside it) posts."""

    listen: Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$")]
    """Address and port, e.g. ``127.0.0.1:8091``. Put TLS before it, or name a certificate, if it is not loopback."""
    certificate: str | None = None
    """A certificate (chain) in PEM form: TLS is spoken. It is read anew when it changes."""
    certificate_key: str | None = None
    """Its key; unset: in the same file."""
    token: SecretStr
    """What senders prove themselves with: ``Authorization: Bearer …``, or ``?token=…`` in the address."""
    path: str = "/"
    """The path that is posted to."""
    storages: dict[str, str] = Field(default_factory=dict)
    """Names of storages by bucket name, where the two differ."""
    waiting: Annotated[int, Field(ge=1, le=10_000)] = 256
    """Requests that may wait for their commit at once; more are answered with 503, and come again."""
    timeout: Annotated[Seconds, Field(gt=0)] = 10.0
    """How long a request may take to come, and to be committed."""


class WebhookSource(Source):
    """See the module."""

    def __init__(self, name: str, options: Options, storages: Mapping[str, Bucket]) -> None:
        self.name = name
        self.further = options.storages
        self._options = options
        self._storages = storages_by_bucket(storages, options.storages)
        self._found: asyncio.Queue[Delivery] = asyncio.Queue()
        self._waiting = 0

    async def deliveries(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        """A delivery per request."""
        async with AsyncExitStack() as stack:
            try:
                certificate = self._certificate()
                listener = listening(self._handle, self._options.listen, tls=certificate, shutdown=1.0)
                await stack.enter_async_context(listener)
            except OSError as error:  # ssl.SSLError is one
                raise TransientError(f"{self._options.listen} can't be listened on: {error}") from error
            yield Delivery(())
            while True:
                yield await self._found.get()

    def _certificate(self) -> Certificate | None:
        given = self._options
        if given.certificate is None:
            return None
        return Certificate(Path(given.certificate), Path(given.certificate_key) if given.certificate_key else None)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web  # noqa: PLC0415

        path, _, query = request.raw_path.partition("?")
        if path != self._options.path:
            return web.Response(status=404, text="there is nothing here\n")
        if not self._is_known(request.headers.get("Authorization", ""), query):
            return web.Response(status=401, text="the token is missing or wrong\n")
        if request.method in ("GET", "HEAD"):
            return web.Response(text="notifications are posted here\n")
        if request.method != "POST":
            return web.Response(status=405, text="notifications are posted\n")
        if (request.content_length or 0) > MAX_BODY:
            return web.Response(status=413, text=f"a message has at most {MAX_BODY} bytes\n")
        if self._waiting >= self._options.waiting:
            return web.Response(status=503, text="too many notifications at once; come again\n")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._options.timeout):
                committed = await self._commit(await read_body(request, MAX_BODY))
        except TimeoutError:
            committed = False
        finally:
            self._waiting -= 1
        if committed is None:
            return web.Response(status=413, text=f"a message has at most {MAX_BODY} bytes\n")
        return web.Response(text="") if committed else web.Response(status=503, text="not committed; come again\n")

    def _is_known(self, authorization: str, query: str) -> bool:
        """Whoever has the token; looked at before anything of the body is."""
        given = parse_qs(query).get("token", [""])[0] or authorization.removeprefix("Bearer ").strip()
        expected = self._options.token.get_secret_value()
        return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())

    async def _commit(self, body: bytes | None) -> bool | None:
        """Whether the message is committed; None when there is too much of it."""
        if body is None:
            return None
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def acknowledge() -> None:
            _settle(done, True)

        async def release() -> None:
            _settle(done, False)

        read = read_message(body, self.name, self._storages)
        await self._found.put(read.delivery(acknowledge, release))
        return await done


def _settle(done: asyncio.Future[bool], committed: bool) -> None:
    if not done.done():  # whoever sent it may have gone meanwhile
        done.set_result(committed)
