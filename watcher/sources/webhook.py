"""Notifications of buckets as HTTP POST requests: from MinIO, Ceph, COS functions, CloudEvents, SNS; any dialect.

A request is answered with 200 when what it said is committed; where that takes longer than a moment, when the message
is kept on disk. 503 says that neither can be done now, so that the sender keeps it. What nobody can read goes into
quarantine and is answered with 200: sent again it would be no clearer, and it would fill the sender's queue.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qs

from pydantic import Field, SecretStr

from watcher import log, plugin
from watcher.errors import TransientError
from watcher.listening import Certificate, listening, read_body
from watcher.plugin import Seconds
from watcher.sources._dialects import MAX_BODY
from watcher.sources._reading import Read, read_message, storages_by_bucket
from watcher.sources._spooled import Spooled
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
    """Requests at once, and messages in memory; more requests are answered with 503, and come again."""
    kept: Annotated[int, Field(ge=0)] = 100_000
    """Messages on disk at most that wait to be committed, because a storage is slow or away; 0 keeps none."""
    timeout: Annotated[Seconds, Field(gt=0)] = 10.0
    """How long a request may take to come, and to be committed or kept."""


class WebhookSource(Source):
    """See the module."""

    def __init__(self, name: str, options: Options, storages: Mapping[str, Bucket]) -> None:
        self.name = name
        self.further = options.storages
        self._options = options
        self._storages = storages_by_bucket(storages, options.storages)
        self._waiting = 0

    async def deliveries(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        """A delivery per request."""
        given = self._options
        spooled = Spooled(self.name, cursor.spool, self._read, given.waiting, given.kept)
        await spooled.adopt()
        async with AsyncExitStack() as stack:
            try:
                handle = partial(self._handle, spooled)
                listener = listening(handle, given.listen, tls=self._certificate(), shutdown=1.0)
                await stack.enter_async_context(listener)
            except OSError as error:  # ssl.SSLError is one
                raise TransientError(f"{given.listen} can't be listened on: {error}") from error
            yield Delivery(())
            async with aclosing(spooled.deliveries()) as deliveries:
                async for delivery in deliveries:
                    yield delivery

    def _read(self, body: bytes) -> Read:
        return read_message(body, self.name, self._storages)

    def _certificate(self) -> Certificate | None:
        given = self._options
        if given.certificate is None:
            return None
        return Certificate(Path(given.certificate), Path(given.certificate_key) if given.certificate_key else None)

    async def _handle(self, spooled: Spooled, request: web.BaseRequest) -> web.StreamResponse:
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
                body = await read_body(request, MAX_BODY)
                safe = body is not None and await spooled.accept(body)
        except TimeoutError:
            return web.Response(status=503, text="this took too long; come again\n")
        finally:
            self._waiting -= 1
        if body is None:
            return web.Response(status=413, text=f"a message has at most {MAX_BODY} bytes\n")
        return web.Response(text="") if safe else web.Response(status=503, text="not committed; come again\n")

    def _is_known(self, authorization: str, query: str) -> bool:
        """Whoever has the token; looked at before anything of the body is."""
        given = parse_qs(query).get("token", [""])[0] or authorization.removeprefix("Bearer ").strip()
        expected = self._options.token.get_secret_value()
        return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
