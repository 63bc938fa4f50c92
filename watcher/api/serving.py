"""The listener: an address, TLS, and who may call."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from watcher import log
from watcher.api.base import Caller, Rights, Service
from watcher.errors import ConfigurationError, Problem
from watcher.listening import Certificate, host_and_port, listening
from watcher.sections import ApiSettings

_log = log.get("api")

IDLE = 75.0
"""Seconds that a connection without a request is kept."""
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


def tls(settings: ApiSettings) -> Certificate | None:
    """How TLS is spoken, where it is; raises ConfigurationError."""
    if settings.certificate is None:
        return None
    try:
        return Certificate(settings.certificate, settings.certificate_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError([Problem("api.certificate", f"can't be used: {error}")]) from None


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


@asynccontextmanager
async def serving(service: Service, callers: Callers) -> AsyncIterator[None]:
    """Serve the API while the context lasts, where the settings say so; raises ConfigurationError if it can't be."""
    settings = service.settings.api
    if settings.listen is None:
        yield
        return
    # A tenth of a second, for those who serve.
    from watcher.api.server import Api  # noqa: PLC0415

    certificate = tls(settings)
    await callers.load()
    api = Api(service, callers.find)
    lines = {"max_line_size": LONGEST_LINE, "max_field_size": LONGEST_LINE}
    listener = listening(
        api.handle, settings.listen, tls=certificate, shutdown=SHUTDOWN, keepalive_timeout=IDLE, **lines
    )
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(listener)
        except (OSError, OverflowError) as error:
            message = f"{settings.listen} can't be listened on: {error}"
            raise ConfigurationError([Problem("api.listen", message)]) from None
        scheme = "https" if certificate is not None else "http"
        _log.info("serving the API", address=f"{scheme}://{settings.listen}", credentials=len(callers))
        if certificate is None and not _is_loopback(host_and_port(settings.listen)[0]):
            _log.warning("the API is not on loopback and speaks no TLS: put a proxy before it, or set api.certificate")
        if not len(callers):
            _log.warning("no credentials: nobody can call the API; make some with `watcher credentials create`")
        yield
