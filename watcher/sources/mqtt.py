"""Notifications of buckets from an MQTT broker: MinIO has a target for it.

A message is acknowledged to the broker after the commit of what it said. The broker keeps what was not acknowledged
for this client's id, and sends it again on the next connection; so the id is required, and no other client may have it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from pydantic import Field

from watcher.brokers import mqtt
from watcher.errors import TransientError
from watcher.sources._messages import MessageOptions, Reader
from watcher.sources.base import Bucket, Cursor, Delivery, Source


class Options(mqtt.MqttOptions, MessageOptions):
    """Topics that event notifications arrive in."""

    topics: tuple[str, ...] = Field(min_length=1)
    """What is subscribed to, with the wildcards of MQTT."""
    client_id: str | None = Field(min_length=1)
    """The id under which the broker keeps what was not acknowledged; no other client may have it."""


class MqttSource(Source):
    """See the module."""

    def __init__(self, name: str, options: Options, storages: Mapping[str, Bucket]) -> None:
        self.name = name
        self.further = options.storages
        self._options = options
        self._storages = storages

    async def deliveries(self, cursor: Cursor) -> AsyncIterator[Delivery]:
        """A delivery per message. One that could not be committed ends the connection: then it comes again."""
        reader = Reader(self.name, self._options, self._storages)
        client = mqtt.client(self._options, persistent=True)
        paho = client._client  # aiomqtt has no other way to acknowledge by hand
        paho.manual_ack_set(True)
        released = asyncio.create_task(reader.broken.wait())
        try:
            async with client:
                for topic in self._options.topics:
                    await client.subscribe(topic, qos=1)
                yield Delivery(())
                messages = aiter(client.messages)
                while True:
                    following = asyncio.ensure_future(anext(messages))
                    await asyncio.wait({following, released}, return_when=asyncio.FIRST_COMPLETED)
                    if released.done():
                        following.cancel()
                        await asyncio.gather(following, return_exceptions=True)
                        raise TransientError("a message was not committed; it comes again on a new connection")
                    message = following.result()
                    delivery = reader.read(bytes(message.payload or b""))

                    async def acknowledge(mid: int = message.mid, qos: int = message.qos) -> None:
                        paho.ack(mid, qos)

                    async def release() -> None:
                        reader.broken.set()

                    delivery.acknowledge, delivery.release = acknowledge, release
                    yield delivery
        except (mqtt.mqtt_error(), OSError) as error:
            raise TransientError(f"broker {self._options.host}: {error}") from None
        finally:
            released.cancel()

    async def check(self) -> None:
        # Under the source's own id this would throw out the daemon that runs.
        probe = self._options.model_copy(update={"client_id": None})
        try:
            async with mqtt.client(probe):
                return
        except (mqtt.mqtt_error(), OSError) as error:
            raise TransientError(f"broker {self._options.host} can't be reached: {error}") from None
