"""Going out to addresses that strangers named: what they may reach, decided for each connection.

The address that was checked is the one that is connected to, so that a name which answers differently the next
moment (DNS rebinding) gains nothing. Redirects are followed by hand, each checked like the first address.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from watcher.errors import AccessRefused, ObjectNotFound, PermanentError, TransientError

if TYPE_CHECKING:
    import aiohttp

REDIRECTS = 5
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_MOVED = frozenset({301, 302, 303, 307, 308})
_LATER = frozenset({408, 425, 429})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ForbiddenAddressError(OSError):
    """The address is not one that strangers may have this machine talk to."""


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


@dataclass(frozen=True, slots=True)
class Guard:
    """Public addresses are allowed, and what ``allow`` names: networks, addresses, host names."""

    allow: Sequence[str] = ()
    _networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = field(init=False)
    _hosts: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        hosts: set[str] = set()
        for item in self.allow:
            try:
                networks.append(ipaddress.ip_network(item, strict=False))
            except ValueError:
                hosts.add(item.lower())
        object.__setattr__(self, "_networks", tuple(networks))
        object.__setattr__(self, "_hosts", frozenset(hosts))

    def permits(self, host: str, address: str) -> bool:
        """Whether ``host``, which is at ``address``, may be connected to."""
        if host.lower() in self._hosts:
            return True
        found = _inner(ipaddress.ip_address(address.partition("%")[0]))
        if any(found.version == network.version and found in network for network in self._networks):
            return True
        return found.is_global and not found.is_multicast

    def check(self, url: str) -> None:
        """Raise PermanentError when an address is none, or names a place by number that is not allowed.

        Names are checked when they are looked up, by :meth:`connector`.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PermanentError(f"{_shown(url)} is no http:// or https:// address")
        with contextlib.suppress(ValueError):
            number = ipaddress.ip_address(parts.hostname)
            if not self.permits(parts.hostname, str(number)):
                raise PermanentError(refusal(parts.hostname))

    def connector(self, **options: Any) -> aiohttp.TCPConnector:
        """A connector that connects to allowed addresses only."""
        import aiohttp  # noqa: PLC0415  it takes a fifth of a second to load

        guard = self

        class Resolver(aiohttp.abc.AbstractResolver):
            def __init__(self) -> None:
                self._resolver = aiohttp.ThreadedResolver()

            async def resolve(
                self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
            ) -> list[aiohttp.abc.ResolveResult]:
                found = await self._resolver.resolve(host, port, family)
                if not all(guard.permits(host, item["host"]) for item in found):
                    raise ForbiddenAddressError(refusal(host))
                return found

            async def close(self) -> None:
                await self._resolver.close()

        return aiohttp.TCPConnector(resolver=Resolver(), **options)


def forbidden(error: Exception) -> ForbiddenAddressError | None:
    """The reason that a connection failed for, if it is that the address is not allowed."""
    for cause in (error, getattr(error, "os_error", None), error.__cause__):
        if isinstance(cause, ForbiddenAddressError):
            return cause
    return None


def refusal(host: str) -> str:
    """Why a host is not connected to."""
    return f"{host} is at a private address; name it in the settings, under `outside.allow`, if that is meant"


def _shown(url: str) -> str:
    """An address without its query, which may hold a secret."""
    return url.partition("?")[0][:200]


class Fetcher:
    """Gets what is at an address. ``timeout`` is in seconds, for each wait; opened and closed by its owner."""

    def __init__(self, guard: Guard, timeout: float) -> None:
        self.guard = guard
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp  # noqa: PLC0415

        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=self._timeout)
            self._session = aiohttp.ClientSession(
                connector=self.guard.connector(limit=32),
                timeout=timeout,
                auto_decompress=False,  # what is stored is what is fetched; and no bomb unfolds
                headers={"User-Agent": "watcher", "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    @contextlib.asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer of a GET, 200 or 206; raises what a storage raises."""
        import aiohttp  # noqa: PLC0415

        for _ in range(REDIRECTS + 1):
            self.guard.check(url)
            try:
                async with self._opened().get(url, headers=dict(headers), allow_redirects=False) as answer:
                    if answer.status not in _MOVED:
                        _raise_for(answer.status, url)
                        yield answer
                        return
                    url = urljoin(url, answer.headers.get("Location", ""))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise _translated(error, url) from error
            except (ValueError, asyncio.IncompleteReadError) as error:
                raise PermanentError(f"{_shown(url)}: {error}") from error
        raise PermanentError(f"{_shown(url)}: it redirects more than {REDIRECTS} times")


def _raise_for(status: int, url: str) -> None:
    if status in (200, 206):
        return
    said = f"{_shown(url)} answers {status}"
    if status in (404, 410):
        raise ObjectNotFound(said)
    if status in (401, 403, 407):
        raise AccessRefused(said)
    if status in _LATER or status >= 500:
        raise TransientError(said)
    raise PermanentError(said)


def _translated(error: Exception, url: str) -> Exception:
    """A client's error for the one who asked; a forbidden address will be forbidden the next time too."""
    refused = forbidden(error)
    if refused is not None:
        return PermanentError(str(refused))
    return TransientError(f"{_shown(url)}: {error or type(error).__name__}")
