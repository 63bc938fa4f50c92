"""MQTT brokers, by aiomqtt, which is imported when the first connection is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from watcher.brokers.base import BrokerOptions

if TYPE_CHECKING:
    import aiomqtt


class MqttOptions(BrokerOptions):
    """How an MQTT broker is reached; its usual ports are 1883, and 8883 with TLS."""

    client_id: str | None = None
    """The client's id; unset for one that the library makes."""
    version: Literal["3.1.1", "5"] = "5"
    """Protocol version. With 5, the event id is sent as the user property ``event_id`` too."""
    keepalive: Annotated[int, Field(ge=5)] = 60
    """Seconds between two signs of life."""


def client(options: MqttOptions, *, persistent: bool = False) -> aiomqtt.Client:
    """A client that is not connected yet; ``persistent``: the broker keeps its subscriptions and messages."""
    import aiomqtt  # noqa: PLC0415  see the module
    from paho.mqtt.packettypes import PacketTypes  # noqa: PLC0415
    from paho.mqtt.properties import Properties  # noqa: PLC0415

    tls = options.ssl
    five = options.version == "5"
    properties = None
    if persistent and five:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0xFFFFFFFF  # it never expires
    return aiomqtt.Client(
        hostname=options.host,
        port=options.port or (8883 if tls else 1883),
        username=options.username,
        password=options.secret,
        identifier=options.client_id,
        keepalive=options.keepalive,
        timeout=options.timeout,
        protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
        clean_session=None if five else not persistent,
        clean_start=not persistent if five else 3,
        properties=properties,
        tls_context=tls,
    )


def mqtt_error() -> type[Exception]:
    """What aiomqtt raises."""
    import aiomqtt  # noqa: PLC0415

    return aiomqtt.MqttError
