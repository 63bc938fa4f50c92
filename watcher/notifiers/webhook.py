"""Task events as HTTP POST requests (contract tasks.md, section 8.3).

2xx means accepted. 408, 425, 429 and 5xx are tried again; any other answer will not change and is given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, HttpUrl, SecretStr

from watcher.errors import PermanentError, TransientError
from watcher.notifiers.base import EventOptions, Message, Notifier
from watcher.outside import Guard, forbidden
from watcher.plugin import Seconds

if TYPE_CHECKING:
    import aiohttp

_TRY_AGAIN = frozenset({408, 425, 429})


class Options(EventOptions):
    """Posts each task event to a URL."""

    url: HttpUrl
    """Where events are sent."""
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """Further headers, e.g. ``Authorization``."""
    timeout: Annotated[Seconds, Field(gt=0)] = 10.0
    """How long an answer may take."""
    ca_file: str | None = None
    """Certificates to trust, when the receiver's is not signed by a public authority."""


class Poster:
    """Posts to any number of addresses over one pool of connections, which is opened with the first of them."""

    def __init__(self, guard: Guard | None = None, ca_file: str | None = None) -> None:
        """``guard`` decides which addresses may be reached; None allows all, for those that the settings name."""
        self._guard = guard
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        """aiohttp is imported when the first event is sent: it takes a fifth of a second to load."""
        import ssl  # noqa: PLC0415

        import aiohttp  # noqa: PLC0415

        if self._session is None:
            context = ssl.create_default_context(cafile=self._ca_file)
            guarded = self._guard.connector(ssl=context) if self._guard else None
            self._session = aiohttp.ClientSession(
                connector=guarded or aiohttp.TCPConnector(ssl=context), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> tuple[int, str]:
        """The status and the beginning of the answer; raises TransientError or PermanentError when there is none.

        Redirects are not followed: an event goes where the configuration says, or nowhere.
        """
        import aiohttp  # noqa: PLC0415

        if self._guard is not None:
            self._guard.check(url)
        limit = aiohttp.ClientTimeout(total=timeout)
        try:
            async with self._opened().post(
                url, data=body, headers=headers, allow_redirects=False, timeout=limit
            ) as answer:
                return answer.status, (await answer.content.read(200)).decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            refused = forbidden(error)
            if refused is not None:
                raise PermanentError(str(refused)) from None
            raise TransientError(f"{url}: {error or type(error).__name__}") from None


class WebhookNotifier(Notifier):
    """See the module."""

    def __init__(self, name: str, options: Options, poster: Poster | None = None) -> None:
        """``poster`` is one that others use too; it is theirs to close."""
        self.name = name
        self.told(options)
        self._options = options
        self._own = poster is None
        self._poster = poster or Poster(ca_file=options.ca_file)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own:
            await self._poster.close()

    async def publish(self, message: Message) -> None:
        given = self._options
        headers = {name: value.get_secret_value() for name, value in given.headers.items()}
        headers |= {
            "Content-Type": self.content_type,
            "X-Watcher-Event-Id": message.event_id,
            "User-Agent": "watcher",
        }
        status, text = await self._poster.post(str(given.url), message.body, headers, given.timeout)
        if 200 <= status < 300:
            return
        reason = f"{given.url} answered {status}: {text}"
        if status in _TRY_AGAIN or status >= 500:
            raise TransientError(reason)
        raise PermanentError(reason)
