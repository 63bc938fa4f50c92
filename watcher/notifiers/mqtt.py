"""Task events to an MQTT broker: QoS 1, so a publish returns when the broker has confirmed it.

aiomqtt is imported when the first connection is made, so that it does not delay the start of the service.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from types import TracebackType
from typing import TYPE_CHECKING

from pydantic import field_validator

from watcher.brokers import mqtt
from watcher.errors import TransientError
from watcher.notifiers.base import EventOptions, Message, Notifier, check_places

if TYPE_CHECKING:
    import aiomqtt
    from paho.mqtt.properties import Properties


class Options(mqtt.MqttOptions, EventOptions):
    """Publishes each task event to a topic."""

    topic: str = "watcher/tasks/{task_id}"
    """The topic; ``{task_id}``, ``{workflow}`` and ``{event_id}`` are filled in."""
    retain: bool = False
    """Whether the broker keeps the last event of each topic for later subscribers."""

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
        self.told(options)
        self._options = options
        self._client: aiomqtt.Client | None = None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._disconnect()

    async def _connected(self) -> aiomqtt.Client:
        if self._client is None:
            client = mqtt.client(self._options)
            await client.__aenter__()
            self._client = client
        return self._client

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(mqtt.mqtt_error()):  # it may be broken already
                await client.__aexit__(None, None, None)

    def topic_of(self, message: Message) -> str:
        """The topic of an event; what MQTT gives a meaning to is taken out of the names filled in."""
        values = message.places
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
        except (mqtt.mqtt_error(), OSError, ssl.SSLError) as error:
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
        properties.ContentType = self.content_type
        return properties

    async def check(self) -> None:
        try:
            async with mqtt.client(self._options):
                return
        except (mqtt.mqtt_error(), OSError, ssl.SSLError) as error:
            raise TransientError(f"broker {self._options.host} can't be reached: {error}") from None
