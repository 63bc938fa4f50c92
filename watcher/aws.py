"""Sessions, clients and errors of AWS-style services, for every part that talks to one.

aiobotocore is imported when the first client is made: it takes a third of a second, and a configuration with
directories only never needs it.
"""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import Field, SecretStr

from watcher import __version__, plugin
from watcher.credentials import renewed
from watcher.errors import AccessRefused, ObjectNotFound, ObjectSuperseded, PermanentError, TransientError, WatcherError


class ClientOptions(plugin.Options):
    """How a service is reached. Without a key pair the usual chain applies: environment, profile, instance role."""

    region: str = "us-east-1"
    """The region of the bucket or queue."""
    endpoint_url: str | None = None
    """The address of a compatible service (MinIO, Ceph …); unset for AWS itself."""
    access_key: str | None = None
    """Access key id."""
    secret_key: SecretStr | None = None
    """Secret access key; write it as ``${credential:name}`` or ``${env:NAME}``."""
    session_token: SecretStr | None = None
    """Session token of temporary credentials."""
    connect_timeout: float = Field(default=10, gt=0)
    """Seconds to wait for a connection."""
    read_timeout: float = Field(default=60, gt=0)
    """Seconds to wait for an answer."""


AGENT = f"watcher/{__version__}"
"""Who asks, for the logs of whoever is asked. botocore's own answer is put together anew for each request."""


def client(
    service: str, options: ClientOptions, *, pool: int = 50, addressing: str = "auto"
) -> AbstractAsyncContextManager[Any]:
    """A client of ``service`` (``s3``, ``sqs``), as an async context manager.

    ``pool`` has to exceed the calls in flight: botocore's default of 10 lets long polls starve everything else.
    """
    from aiobotocore.config import AioConfig  # noqa: PLC0415  see the module
    from aiobotocore.session import get_session  # noqa: PLC0415

    config = AioConfig(
        max_pool_connections=pool,
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
        retries={"mode": "standard", "total_max_attempts": 4},
        s3={"addressing_style": addressing},
        user_agent=AGENT,
        # The newer checksums are sent in trailers, which Ceph, COS and older MinIO do not understand.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
    if options.access_key and options.secret_key:
        session._credentials = _key_pair(options)  # type: ignore[attr-defined]
    made: AbstractAsyncContextManager[Any] = session.create_client(
        service, region_name=options.region, endpoint_url=options.endpoint_url, config=config
    )
    return made


RENEWAL = 5.0
"""Seconds for which a key pair is used before its files are looked at again."""


def _key_pair(options: ClientOptions) -> Any:
    """The key pair of the settings, as botocore asks for it before each request; renewed when its files are."""
    from aiobotocore.credentials import AioCredentials  # noqa: PLC0415  see the module
    from botocore.credentials import ReadOnlyCredentials  # noqa: PLC0415

    class Renewed(AioCredentials):
        """Static, as long as what they were read from says the same."""

        def __init__(self) -> None:
            super().__init__(*_keys(options), method="settings")
            self._until = time.monotonic() + RENEWAL

        async def get_frozen_credentials(self) -> ReadOnlyCredentials:  # type: ignore[override]
            if time.monotonic() >= self._until:
                self.access_key, self.secret_key, self.token = _keys(options)
                self._until = time.monotonic() + RENEWAL
            return ReadOnlyCredentials(self.access_key, self.secret_key, self.token)

    return Renewed()


def _keys(options: ClientOptions) -> tuple[str, str, str | None]:
    secrets = (options.secret_key, options.session_token)
    secret, token = (renewed(found.get_secret_value()) if found is not None else None for found in secrets)
    return renewed(options.access_key or ""), secret or "", token


async def signed(options: ClientOptions, method: str, url: str) -> tuple[str, dict[str, str]]:
    """A request to S3 with its headers signed (SigV4), by the credentials that a client would use."""
    from aiobotocore.session import get_session  # noqa: PLC0415
    from botocore.auth import S3SigV4Auth  # noqa: PLC0415
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import ReadOnlyCredentials  # noqa: PLC0415

    if options.access_key and options.secret_key:
        keys = ReadOnlyCredentials(*_keys(options))
    else:
        found = await get_session().get_credentials()
        if found is None:
            raise AccessRefused("there is no key pair to sign a request with")
        keys = await found.get_frozen_credentials()
    request = AWSRequest(method=method, url=url)
    S3SigV4Auth(keys, "s3", options.region).add_auth(request)
    return url, dict(request.headers.items())


RAW = "RawBody"
"""Where the answer to ListObjectsV2 is, unread: ``storage/_listing.py`` reads it, not on the event loop."""


def pay(client: Any) -> None:
    """Have a client of S3 say with each request that whoever asks pays for it, as buckets of others may want it."""

    def say(request: Any, **_: Any) -> None:
        request.headers["x-amz-request-payer"] = "requester"

    client.meta.events.register("before-sign.s3", say)


def leave_listings(client: Any) -> None:
    """Have a client of S3, which is used for listings only, hand over their pages unread; errors are read as ever.

    botocore would parse each page twice: once to see whether it is an error in disguise, which the reader notices too.
    """
    from botocore import handlers  # noqa: PLC0415  see the module

    def take(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
        if response_dict["status_code"] == 200:
            customized_response_dict[RAW], response_dict["body"] = response_dict["body"], b""

    disguised = getattr(handlers, "_handle_200_error", None)
    if disguised is not None:
        client.meta.events.unregister("before-parse.s3.*", disguised)
    client.meta.events.register_first("before-parse.s3.*", take)


def _timestamp(value: Any) -> Any:
    """Times are nearly always as ISO 8601 or as RFC 9110 has them, which the standard library reads twenty to fifty
    times faster than botocore's parser."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(value)
        except (TypeError, ValueError, IndexError):
            continue
        if moment.tzinfo is not None:
            return moment
    from botocore.utils import parse_timestamp  # noqa: PLC0415

    return parse_timestamp(value)


_NETWORK = {"botocore", "aiobotocore", "aiohttp"}
_NOT_FOUND = {"404", "NoSuchKey", "NoSuchVersion", "NotFound", "NoSuchUpload"}
_SUPERSEDED = {"412", "PreconditionFailed", "ConditionalRequestConflict"}
_REFUSED = {
    "401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
    "RequestTimeTooSkewed", "AuthFailure", "InvalidClientTokenId", "AccountProblem", "AllAccessDisabled",
}  # fmt: skip
_BUSY = {
    "SlowDown", "RequestTimeout", "RequestThrottled", "RequestThrottledException", "Throttling", "ThrottlingException",
    "ThrottledException", "TooManyRequests", "TooManyRequestsException", "RequestLimitExceeded",
    "BandwidthLimitExceeded", "OverLimit", "KmsThrottled", "KMS.ThrottlingException", "OperationAborted",
}  # fmt: skip
"""What a service says that has too much to do: SQS with the status of a refusal, others with that of a mistake."""
_SKEW = 300.0
"""Seconds by which clocks may differ before requests are refused for it; AWS takes fifteen minutes."""
_GONE = {
    "NoSuchBucket": "the bucket does not exist",
    "AWS.SimpleQueueService.NonExistentQueue": "the queue does not exist",
    "QueueDoesNotExist": "the queue does not exist",
}


def translated(error: Exception, what: str) -> WatcherError:
    """The project's error for one of botocore's (or of the network below it).

    Anything else is a mistake of ours, not the service's: it is raised as it is.
    """
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
            return AccessRefused(f"{what}: no credentials were found; set access_key and secret_key")
        if isinstance(error, OSError | TimeoutError) or type(error).__module__.partition(".")[0] in _NETWORK:
            return TransientError(f"{what}: {error or type(error).__name__}")
        raise error
    code = str(response.get("Error", {}).get("Code", ""))
    message = str(response.get("Error", {}).get("Message", "")) or code
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _BUSY:
        return TransientError(f"{what}: {message}")
    if code in _GONE:
        return PermanentError(f"{what}: {_GONE[code]}")
    if code in _NOT_FOUND:
        return ObjectNotFound(f"{what} does not exist")
    if code in _SUPERSEDED or status == 412:
        return ObjectSuperseded(f"{what} was overwritten since it was seen")
    if code in _REFUSED or status in (401, 403):
        return AccessRefused(f"{what}: {message}; {_what_to_check(response)}")
    if status in (0, 429, 500, 502, 503, 504):
        return TransientError(f"{what}: {message}")
    return PermanentError(f"{what}: {message}")


def _what_to_check(response: dict[str, Any]) -> str:
    """What a person can do about a refusal; a wrong clock is told by the time that the answer names."""
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        ahead = time.time() - parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return "check the key pair, its permissions and this machine's clock"
    if abs(ahead) < _SKEW:
        return "check the key pair and its permissions"
    way = "ahead of" if ahead > 0 else "behind"
    return f"this machine's clock is {timedelta(seconds=round(abs(ahead)))} {way} the service's; set it"
