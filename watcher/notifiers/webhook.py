"""Task events as HTTP POST requests (contract tasks.md, section 8.3).

2xx means accepted. 408, 425, 429 and 5xx are tried again; any other answer will not change and is given up.
"""

from __future__ import annotations

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


class WebhookNotifier(Notifier):
    """See the module. Redirects are not followed: an event goes where the configuration says, or nowhere."""

    def __init__(self, name: str, options: Options, guard: Guard | None = None) -> None:
        """``guard`` decides which addresses may be reached; None allows all, for those that the settings name."""
        self.name = name
        self.told(options)
        self._options = options
        self._guard = guard
        self._session: aiohttp.ClientSession | None = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        """aiohttp is imported when the first event is sent: it takes a fifth of a second to load."""
        import ssl  # noqa: PLC0415

        import aiohttp  # noqa: PLC0415

        if self._session is None:
            context = ssl.create_default_context(cafile=self._options.ca_file)
            guarded = self._guard.connector(ssl=context) if self._guard else None
            self._session = aiohttp.ClientSession(
                connector=guarded or aiohttp.TCPConnector(ssl=context),
                timeout=aiohttp.ClientTimeout(total=self._options.timeout),
            )
        return self._session

    async def publish(self, message: Message) -> None:
        import aiohttp  # noqa: PLC0415

        if self._guard is not None:
            self._guard.check(str(self._options.url))
        headers = {name: value.get_secret_value() for name, value in self._options.headers.items()}
        headers |= {
            "Content-Type": self.content_type,
            "X-Watcher-Event-Id": message.event_id,
            "User-Agent": "watcher",
        }
        try:
            async with self._opened().post(
                str(self._options.url), data=message.body, headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
                text = (await answer.content.read(200)).decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            refused = forbidden(error)
            if refused is not None:
                raise PermanentError(str(refused)) from None
            raise TransientError(f"{self._options.url}: {error or type(error).__name__}") from None
        if 200 <= status < 300:
            return
        reason = f"{self._options.url} answered {status}: {text}"
        if status in _TRY_AGAIN or status >= 500:
            raise TransientError(reason)
        raise PermanentError(reason)
