"""The listener: an address, TLS, and who may call."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from watcher import log
from watcher.api.base import Caller, Rights, Service
from watcher.errors import ConfigurationError, Problem
from watcher.settings import ApiSettings

if TYPE_CHECKING:
    from aiohttp import web

_log = log.get("api")

IDLE = 75.0
"""Seconds that a connection without a request is kept."""
FIRST_REQUEST = 20.0
"""Seconds within which a connection has to say what it wants."""
CONNECTIONS = 1000
"""At the same time; more are closed at once."""
LONGEST_LINE = 40 * 1024
SHUTDOWN = 5.0


class Callers:
    """Key pairs, of the settings and of the state, by SecretId."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: dict[str, Caller] = {}

    async def load(self) -> None:
        """Read those of the state anew."""
        known: dict[str, Caller] = {}
        for stored in await self._service.state.credentials.list():
            rights = Rights[stored.rights.upper()]
            known[stored.secret_id] = Caller(stored.secret_id, stored.secret_key, rights, stored.buckets)
        for given in self._service.settings.api.credentials:
            key, rights = given.secret_key.get_secret_value(), Rights[given.rights.upper()]
            known[given.secret_id] = Caller(given.secret_id, key, rights, tuple(given.buckets))
        self._known = known

    def find(self, secret_id: str) -> Caller | None:
        """The key pair with this SecretId."""
        return self._known.get(secret_id)

    def __len__(self) -> int:
        return len(self._known)


def tls(settings: ApiSettings) -> ssl.SSLContext | None:
    """How TLS is spoken, where it is; raises ConfigurationError."""
    if settings.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.certificate, settings.certificate_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError([Problem("api.certificate", f"can't be used: {error}")]) from None
    return context


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


class _Refused(asyncio.Protocol):
    """What a connection gets that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _Doorkeeper:
    """Makes the protocols of connections: not too many, and none that stays without saying a word.

    ``silent`` holds those that have not sent a request yet; whoever handles requests takes them out.
    """

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
async def serving(service: Service, callers: Callers) -> AsyncIterator[None]:
    """Serve the API while the context lasts, where the settings say so; raises ConfigurationError if it can't be."""
    settings = service.settings.api
    if settings.listen is None:
        yield
        return
    # A third of a second, for those who serve.
    from aiohttp import web  # noqa: PLC0415

    from watcher.api.server import Api  # noqa: PLC0415

    host, _, port = settings.listen.rpartition(":")
    context = tls(settings)
    await callers.load()
    api = Api(service, callers.find)
    server = web.Server(api.handle, keepalive_timeout=IDLE, max_line_size=LONGEST_LINE, max_field_size=LONGEST_LINE)
    loop = asyncio.get_running_loop()
    doorkeeper = _Doorkeeper(server, api.silent)
    try:
        listener = await loop.create_server(doorkeeper, host.strip("[]"), int(port), ssl=context)
    except (OSError, OverflowError) as error:
        raise ConfigurationError([Problem("api.listen", f"{settings.listen} can't be listened on: {error}")]) from None
    scheme = "https" if context is not None else "http"
    _log.info("serving the API", address=f"{scheme}://{settings.listen}", credentials=len(callers))
    if context is None and not _is_loopback(host.strip("[]")):
        _log.warning("the API is not on loopback and speaks no TLS: put a proxy before it, or set api.certificate")
    if not len(callers):
        _log.warning("no credentials: nobody can call the API; make some with `watcher credentials create`")
    try:
        yield
    finally:
        listener.close()
        await server.shutdown(SHUTDOWN)
        await listener.wait_closed()
