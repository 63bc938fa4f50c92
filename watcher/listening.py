"""Listening for HTTP requests of strangers: not too many at once, none that stays silent, none that says too much."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watcher import log

if TYPE_CHECKING:
    from aiohttp import web

    Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_log = log.get("listening")

FIRST_REQUEST = 20.0
"""Seconds within which a connection has to say what it wants."""
CONNECTIONS = 1000
"""At the same time; more are closed at once."""
RENEWAL = 30.0
"""Seconds between two looks at the files of a certificate."""


def host_and_port(listen: str) -> tuple[str, int]:
    """``127.0.0.1:8080`` or ``[::1]:8080`` in its two parts."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


async def read_body(request: web.BaseRequest, largest: int) -> bytes | None:
    """The body of a request; None when it has more than ``largest`` bytes."""
    if request.headers.get("Expect", "").lower() == "100-continue":  # curl waits for it before a large body
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    parts: list[bytes] = []
    size = 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > largest:
            return None
        parts.append(part)
    return b"".join(parts)


class Certificate:
    """How TLS is spoken: with a certificate (chain) and a key in PEM files, which are read anew when they change.

    Connections that are open keep the old one. Raises OSError or ssl.SSLError for files that can't be used.
    """

    def __init__(self, chain: Path, key: Path | None = None) -> None:
        self._files = (chain, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._times = self._changed()
        self.context.load_cert_chain(*self._files)

    def _changed(self) -> list[int]:
        return [file.stat().st_mtime_ns for file in self._files if file is not None]

    def renew(self) -> bool:
        """Read the files if they changed; whether they did."""
        times = self._changed()
        if times == self._times:
            return False
        self.context.load_cert_chain(*self._files)
        self._times = times
        return True

    async def follow(self) -> None:
        """Renew it whenever it changes, until cancelled."""
        while True:
            await asyncio.sleep(RENEWAL)
            try:
                if await asyncio.to_thread(self.renew):
                    _log.info("certificate read anew", file=str(self._files[0]))
            except (OSError, ssl.SSLError) as error:  # half of it may be there: it is looked at again
                _log.warning(
                    "a certificate can't be read, the old one stays", file=str(self._files[0]), error=str(error)
                )


class _Refused(asyncio.Protocol):
    """What a connection gets that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _Doorkeeper:
    """Makes the protocols of connections, and closes those that have not sent a request after a while."""

    def __init__(self, server: web.Server, silent: set[asyncio.BaseProtocol]) -> None:
        self._server = server
        self._silent = silent

    def __call__(self) -> asyncio.Protocol:
        if len(self._server.connections) >= CONNECTIONS:
            return _Refused()
        protocol = self._server()
        self._silent.add(protocol)
        asyncio.get_running_loop().call_later(FIRST_REQUEST, self._close_if_silent, protocol)
        return protocol

    def _close_if_silent(self, protocol: web.RequestHandler) -> None:
        if protocol in self._silent:
            self._silent.discard(protocol)
            if protocol.transport is not None:
                protocol.transport.close()


@asynccontextmanager
async def listening(
    handler: Handler, listen: str, *, tls: Certificate | None = None, shutdown: float, **options: Any
) -> AsyncIterator[None]:
    """Hand requests to ``handler`` while the context lasts; raises OSError or OverflowError when that can't be.

    ``shutdown`` is how many seconds requests may still take at the end; ``options`` are those of aiohttp's server.
    """
    from aiohttp import web  # noqa: PLC0415  a tenth of a second, for those who listen

    silent: set[asyncio.BaseProtocol] = set()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        silent.discard(request.protocol)
        return await handler(request)

    server = web.Server(handle, **options)
    host, port = host_and_port(listen)
    loop = asyncio.get_running_loop()
    context = tls.context if tls is not None else None
    listener = await loop.create_server(_Doorkeeper(server, silent), host, port, ssl=context)
    renewals = asyncio.create_task(tls.follow(), name=f"certificate of {listen}") if tls is not None else None
    try:
        yield
    finally:
        if renewals is not None:
            renewals.cancel()
        listener.close()
        await server.shutdown(shutdown)
        await listener.wait_closed()
