"""Task events to an MQTT broker: QoS 1, so a publish returns when the broker has confirmed it.

aiomqtt is imported when the first connection is made, so that it does not delay the start of the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from watcher import plugin
from watcher.errors import TransientError
from watcher.notifiers.base import Message, Notifier, check_places
from watcher.plugin import Seconds

if TYPE_CHECKING:
    import aiomqtt
    from paho.mqtt.properties import Properties


class Tls(plugin.Options):
    """TLS of a connection."""

    ca_file: str | None = None
    """Certificates to trust; unset for those of the system."""
    certificate: str | None = None
    """Our own certificate, where the broker asks for one."""
    key: str | None = None
    """The private key of ``certificate``."""


class Options(plugin.Options):
    """Publishes each task event to a topic."""

    host: str
    """The broker."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """Unset: 1883, or 8883 with TLS."""
    topic: str = "watcher/tasks/{task_id}"
    """The topic; ``{task_id}``, ``{workflow}`` and ``{event_id}`` are filled in."""
    username: str | None = None
    """User name, where the broker asks for one."""
    password: SecretStr | None = None
    """Its password."""
    client_id: str | None = None
    """The client's id; unset for one that the library makes."""
    tls: Tls | None = None
    """Set it (to ``{}`` at least) to use TLS."""
    retain: bool = False
    """Whether the broker keeps the last event of each topic for later subscribers."""
    version: Literal["3.1.1", "5"] = "5"
    """Protocol version. With 5, the event id is sent as the user property ``event_id`` too."""
    keepalive: Annotated[int, Field(ge=5)] = 60
    """Seconds between two signs of life."""
    timeout: Annotated[Seconds, Field(gt=0)] = 10.0
    """How long the broker may take to confirm."""
    mode: Literal["Finish", "Change"] = "Finish"
    """``Finish``: one event when a task ends. ``Change``: also one for each change of a sub-task."""

    @field_validator("topic")
    @classmethod
    def _topic_can_be_published_to(cls, value: str) -> str:
        check_places(value)
        if not value or "#" in value or "+" in value:
            raise ValueError("a topic to publish to can't be empty and can't hold '#' or '+'")
        return value


class MqttNotifier(Notifier):
    """See the module. The connection is made at the first event and made again after it broke."""

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.mode = options.mode
        self._options = options
        self._client: aiomqtt.Client | None = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._disconnect()

    def _new_client(self) -> aiomqtt.Client:
        import aiomqtt  # noqa: PLC0415  see the module

        options = self._options
        tls = None
        if options.tls is not None:
            tls = ssl.create_default_context(cafile=options.tls.ca_file)
            if options.tls.certificate is not None:
                tls.load_cert_chain(options.tls.certificate, options.tls.key)
        return aiomqtt.Client(
            hostname=options.host,
            port=options.port or (8883 if tls else 1883),
            username=options.username,
            password=options.password.get_secret_value() if options.password else None,
            identifier=options.client_id,
            keepalive=options.keepalive,
            timeout=options.timeout,
            protocol=aiomqtt.ProtocolVersion.V5 if options.version == "5" else aiomqtt.ProtocolVersion.V311,
            tls_context=tls,
        )

    async def _connected(self) -> aiomqtt.Client:
        if self._client is None:
            client = self._new_client()
            await client.__aenter__()
            self._client = client
        return self._client

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(_mqtt_error()):  # it may be broken already
                await client.__aexit__(None, None, None)

    def topic_of(self, message: Message) -> str:
        """The topic of an event; what MQTT gives a meaning to is taken out of the names filled in."""
        values = {"task_id": message.task_id, "workflow": message.workflow, "event_id": message.event_id}
        return re.sub(r"\{([^}]*)\}", lambda match: re.sub(r"[#+/\0]", "_", values[match[1]]), self._options.topic)

    async def publish(self, message: Message) -> None:
        try:
            client = await self._connected()
            await client.publish(
                self.topic_of(message),
                message.body,
                qos=1,
                retain=self._options.retain,
                properties=self._properties(message),
            )
        except (_mqtt_error(), OSError, ssl.SSLError) as error:
            # Even refused credentials are worth another try: somebody may mend the broker meanwhile.
            await self._disconnect()
            raise TransientError(f"broker {self._options.host}: {error}") from None
        except asyncio.CancelledError:
            await self._disconnect()
            raise

    def _properties(self, message: Message) -> Properties | None:
        if self._options.version != "5":
            return None
        from paho.mqtt.packettypes import PacketTypes  # noqa: PLC0415
        from paho.mqtt.properties import Properties  # noqa: PLC0415

        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = [("event_id", message.event_id)]
        properties.ContentType = "application/json"
        return properties

    async def check(self) -> None:
        try:
            async with self._new_client():
                return
        except (_mqtt_error(), OSError, ssl.SSLError) as error:
            raise TransientError(f"broker {self._options.host} can't be reached: {error}") from None


def _mqtt_error() -> type[Exception]:
    import aiomqtt  # noqa: PLC0415

    return aiomqtt.MqttError
