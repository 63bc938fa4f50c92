"""Kafka, by aiokafka, which is imported when the first connection is made."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from watcher.brokers.base import BrokerOptions
from watcher.errors import AccessRefused, PermanentError, TransientError, WatcherError


class KafkaOptions(BrokerOptions):
    """How a Kafka cluster is reached; the usual port of its brokers is 9092."""

    servers: tuple[str, ...] = ()
    """Further brokers of the cluster, as ``host:port``, to begin with where ``host`` does not answer."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How ``username`` and ``password`` are told to the brokers."""


def connection(options: KafkaOptions) -> dict[str, Any]:
    """What the library's producer and consumer want to know of a connection."""
    wanted: dict[str, Any] = {
        "bootstrap_servers": [f"{options.host}:{options.port or 9092}", *options.servers],
        "client_id": "watcher",
        "request_timeout_ms": int(options.timeout * 1000),
        "security_protocol": ("SASL_" if options.username else "") + ("SSL" if options.tls else "PLAINTEXT"),
        "ssl_context": options.ssl,
    }
    if options.username:
        wanted |= {
            "sasl_mechanism": options.mechanism,
            "sasl_plain_username": options.username,
            "sasl_plain_password": options.secret or "",
        }
    return wanted


async def closed() -> None:
    """To be awaited when a producer or consumer was stopped: the library leaves its sockets to the event loop."""
    await asyncio.sleep(0)


def translated(error: Exception, where: str) -> WatcherError:
    """An error of the library in this project's terms; what is not one is raised."""
    from aiokafka import errors  # noqa: PLC0415  see the module

    where = f"{where}: {error or type(error).__name__}"
    refused = (
        errors.TopicAuthorizationFailedError,
        errors.GroupAuthorizationFailedError,
        errors.ClusterAuthorizationFailedError,
        errors.AuthenticationFailedError,
        errors.SaslAuthenticationFailed,
    )
    if isinstance(error, refused):
        return AccessRefused(where)
    if isinstance(error, errors.InvalidTopicError | errors.MessageSizeTooLargeError | errors.UnsupportedVersionError):
        return PermanentError(where)
    if isinstance(error, errors.KafkaError | OSError | TimeoutError):
        return TransientError(where)
    raise error
