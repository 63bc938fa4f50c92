"""What every notifier promises: an event arrives whole and confirmed, or an error says whether to try again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
import aiomqtt
import boto3
import nats
import pytest
import pytest_asyncio
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pydantic import HttpUrl, SecretStr

from tests import parts
from watcher.errors import AccessRefused, PermanentError, TransientError
from watcher.notifiers import amqp, directory, memory, mqtt, sqs, webhook
from watcher.notifiers import kafka as kafka_notifier
from watcher.notifiers import nats as nats_notifier
from watcher.notifiers import redis as redis_notifier
from watcher.notifiers.base import Message, Notifier

MESSAGE = Message("event-1", "1250000000-WorkflowTask-abc", "clips", json.dumps({"EventId": "event-1"}).encode())


@dataclass
class Case:
    """A notifier and a way to see what arrived."""

    notifier: Notifier
    arrived: Callable[[], list[bytes]]


@contextlib.asynccontextmanager
async def over_nats(tmp_path: Path) -> AsyncIterator[Case]:
    with parts.nats_server(tmp_path) as port:
        client = await nats.connect(f"nats://127.0.0.1:{port}")
        await client.jetstream().add_stream(name="TASKS", subjects=["watcher.>"])
        heard: list[bytes] = []

        async def hear(message: Any) -> None:
            heard.append(message.data)

        await client.subscribe("watcher.tasks.*", cb=hear)
        async with nats_notifier.NatsNotifier("n", nats_notifier.Options(host="127.0.0.1", port=port)) as subject:
            yield Case(subject, lambda: heard)
        await client.close()


@contextlib.asynccontextmanager
async def over_kafka() -> AsyncIterator[Case]:
    with parts.kafka() as port:
        heard: list[bytes] = []
        keys: set[bytes] = set()
        consumer = AIOKafkaConsumer(
            "watcher.tasks", bootstrap_servers=f"127.0.0.1:{port}", auto_offset_reset="earliest"
        )

        async def hear() -> None:
            async for message in consumer:
                keys.add(message.key)
                assert dict(message.headers)["event_id"].startswith(b"event-")
                heard.append(message.value)

        options = kafka_notifier.Options(host="127.0.0.1", port=port, key="{workflow}")
        async with kafka_notifier.KafkaNotifier("k", options) as topic:
            async with AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{port}") as producer:
                await producer.partitions_for("watcher.tasks")  # which makes it
            await consumer.start()
            hearing = asyncio.create_task(hear())
            yield Case(topic, lambda: heard)
            hearing.cancel()
            await asyncio.wait([hearing])
            await consumer.stop()
        assert keys in ({b"w"}, {MESSAGE.workflow.encode()}, set())


@contextlib.asynccontextmanager
async def over_redis(tmp_path: Path) -> AsyncIterator[Case]:
    with parts.redis_server(tmp_path) as port:
        reached = redis.Redis(port=port)
        async with redis_notifier.RedisNotifier("r", redis_notifier.Options(host="127.0.0.1", port=port)) as stream:
            yield Case(stream, lambda: [fields[b"body"] for _, fields in reached.xrange("watcher:tasks")])
        reached.close()


@contextlib.asynccontextmanager
async def over_mqtt(tmp_path: Path, version: str) -> AsyncIterator[Case]:
    with parts.mosquitto(tmp_path) as port:
        got: list[bytes] = []

        async def listen(ready: asyncio.Event) -> None:
            async with aiomqtt.Client("127.0.0.1", port) as client:
                await client.subscribe("watcher/#", qos=1)
                ready.set()
                async for message in client.messages:
                    assert isinstance(message.payload, bytes)
                    got.append(message.payload)

        ready = asyncio.Event()
        listener = asyncio.create_task(listen(ready))
        await ready.wait()
        options = mqtt.Options.model_validate({"host": "127.0.0.1", "port": port, "version": version})
        async with mqtt.MqttNotifier("q", options) as broker:
            yield Case(broker, lambda: got)
        listener.cancel()
        await asyncio.wait([listener])


@pytest_asyncio.fixture(
    params=["memory", "directory", "webhook", "mqtt-5", "mqtt-3.1.1", "sqs", "amqp", "nats", "kafka", "redis"]
)
async def case(
    request: pytest.FixtureRequest, tmp_path: Path, receiver: parts.HttpReceiver, moto: str, rabbit: int
) -> AsyncIterator[Case]:
    """Each implementation in turn, with a real other side."""
    kind, _, version = request.param.partition("-")
    if kind == "memory":
        made = memory.MemoryNotifier("m", memory.Options())
        yield Case(made, lambda: [message.body for message in made.received])
    elif kind == "directory":
        async with directory.DirectoryNotifier("d", directory.Options(path=tmp_path / "new" / "events")) as files:
            yield Case(files, lambda: [path.read_bytes() for path in sorted(tmp_path.rglob("*.json"))])
    elif kind == "webhook":
        async with webhook.WebhookNotifier("w", webhook.Options(url=HttpUrl(receiver.url))) as hook:
            yield Case(hook, lambda: [request_.body for request_ in receiver.requests])
    elif kind == "sqs":
        queue = boto3.client("sqs", endpoint_url=moto, **SQS).create_queue(QueueName="q.fifo", Attributes=FIFO)
        url = str(queue["QueueUrl"])
        options = sqs.Options(queue_url=url, endpoint_url=moto, access_key="k", secret_key=SecretStr("s"))
        async with sqs.SqsNotifier("s", options) as sender:
            taken: list[bytes] = []
            yield Case(sender, lambda: _taken(moto, url, taken))
        boto3.client("sqs", endpoint_url=moto, **SQS).delete_queue(QueueUrl=url)
    elif kind == "amqp":
        read: list[bytes] = []
        connection = await aio_pika.connect(port=rabbit)
        channel = await connection.channel()
        queue_of = await channel.declare_queue("events", durable=True)

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            read.append(message.body)
            await message.ack()

        await queue_of.consume(take)
        given = amqp.Options(host="127.0.0.1", port=rabbit, routing_key="events")
        async with amqp.AmqpNotifier("a", given) as publisher:
            yield Case(publisher, lambda: read)
        await connection.close()
    elif kind == "nats":
        async with over_nats(tmp_path) as made_:
            yield made_
    elif kind == "kafka":
        async with over_kafka() as made_:
            yield made_
    elif kind == "redis":
        async with over_redis(tmp_path) as made_:
            yield made_
    else:
        async with over_mqtt(tmp_path, version) as made_:
            yield made_


SQS: dict[str, Any] = {"region_name": "us-east-1", "aws_access_key_id": "k", "aws_secret_access_key": "s"}
FIFO = {"FifoQueue": "true"}


def _taken(moto: str, url: str, taken: list[bytes]) -> list[bytes]:
    """What came to a queue so far."""
    client = boto3.client("sqs", endpoint_url=moto, **SQS)
    for message in client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        taken.append(message["Body"].encode())
        client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return taken


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def test_an_event_arrives_whole(case: Case) -> None:
    """The body, byte for byte."""
    await case.notifier.check()
    await case.notifier.publish(MESSAGE)
    await until(lambda: case.arrived() == [MESSAGE.body])


async def test_several_events_arrive_in_order(case: Case) -> None:
    """Published one after another, they come one after another."""
    bodies = [str(number).encode() for number in range(5)]
    for number, body in enumerate(bodies):
        await case.notifier.publish(Message(f"event-{number}", f"task-{number}", "w", body))
    await until(lambda: case.arrived() == bodies)


# What only some of them can show.


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, TransientError), (503, TransientError), (429, TransientError), (408, TransientError),
     (400, PermanentError), (404, PermanentError), (302, PermanentError)],
)  # fmt: skip
async def test_webhook_answers(receiver: parts.HttpReceiver, status: int, error: type[Exception]) -> None:
    """Which answers are worth another try; a redirect is not followed."""
    receiver.answers = [status]
    async with webhook.WebhookNotifier("w", webhook.Options(url=HttpUrl(receiver.url))) as hook:
        with pytest.raises(error, match=str(status)):
            await hook.publish(MESSAGE)
        await hook.publish(MESSAGE)
    assert len(receiver.requests) == 2


async def test_webhook_headers_and_absence(receiver: parts.HttpReceiver) -> None:
    """The event id and the configured headers are sent; a server that is away is a transient error."""
    options = webhook.Options(url=HttpUrl(receiver.url), headers={"Authorization": SecretStr("Bearer x")})
    async with webhook.WebhookNotifier("w", options) as hook:
        await hook.publish(MESSAGE)
    headers = receiver.requests[0].headers
    assert headers["Authorization"] == "Bearer x"
    assert headers["X-Watcher-Event-Id"] == "event-1"
    assert headers["Content-Type"] == "application/json"
    assert "Bearer" not in repr(options)
    async with webhook.WebhookNotifier("w", webhook.Options(url=HttpUrl("http://127.0.0.1:1/"))) as hook:
        with pytest.raises(TransientError):
            await hook.publish(MESSAGE)


async def test_mqtt_comes_back_after_the_broker_did(tmp_path: Path) -> None:
    """While the broker is away publishing is a transient error; afterwards it works, without a restart of ours."""
    port = parts.free_port()
    options = mqtt.Options(host="127.0.0.1", port=port, timeout=2)
    async with mqtt.MqttNotifier("q", options) as broker:
        with parts.mosquitto(tmp_path, port=port):
            await broker.publish(MESSAGE)
        with pytest.raises(TransientError):
            await broker.publish(MESSAGE)
        with pytest.raises(TransientError):
            await broker.check()
        with parts.mosquitto(tmp_path, port=port):
            await broker.publish(MESSAGE)


# paho leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_mqtt_with_tls_and_a_password(tmp_path: Path) -> None:
    """The broker's certificate is checked, and a user name and password are sent."""
    for name, subject in (("ca", "/CN=test ca"), ("broker", "/CN=localhost")):
        extra = ["-x509", "-days", "2"] if name == "ca" else []
        command = ["openssl", "req", *extra, "-newkey", "rsa:2048", "-nodes", "-subj", subject]
        command += ["-keyout", f"{name}.key", "-out", f"{name}.{'crt' if name == 'ca' else 'csr'}"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    sign = "openssl x509 -req -in broker.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2"
    sign += " -extfile names -out broker.crt"
    subprocess.run(sign.split(), cwd=tmp_path, check=True, capture_output=True)
    for name in ("broker.key", "ca.key"):
        (tmp_path / name).chmod(0o644)  # the broker drops to a user of its own
    tmp_path.chmod(0o755)
    passwords = tmp_path / "passwords"
    tool = str(Path(parts.mosquitto_program()).parent.parent / "bin" / "mosquitto_passwd")
    subprocess.run([tool, "-b", "-c", str(passwords), "watcher", "s3cret"], check=True, capture_output=True)
    passwords.chmod(0o644)
    port = parts.free_port()
    lines = [
        f"listener {port} 127.0.0.1", f"cafile {tmp_path}/ca.crt", f"certfile {tmp_path}/broker.crt",
        f"keyfile {tmp_path}/broker.key", "allow_anonymous false", f"password_file {passwords}", "user root",
    ]  # fmt: skip
    with parts.mosquitto(tmp_path, *lines, port=port):
        tls = {"ca_file": str(tmp_path / "ca.crt")}
        base = {"host": "localhost", "port": port, "tls": tls, "username": "watcher", "timeout": 5}
        right = mqtt.Options.model_validate(base | {"password": "s3cret"})
        async with mqtt.MqttNotifier("q", right) as broker:
            await broker.publish(MESSAGE)
        wrong = mqtt.Options.model_validate(base | {"password": "guess"})
        async with mqtt.MqttNotifier("q", wrong) as broker:
            with pytest.raises(TransientError, match="[Nn]ot authori[sz]ed"):
                await broker.publish(MESSAGE)
        stranger = mqtt.Options.model_validate(base | {"password": "s3cret", "tls": {}})
        async with mqtt.MqttNotifier("q", stranger) as broker:
            with pytest.raises(TransientError, match="certificate"):
                await broker.publish(MESSAGE)


def test_mqtt_topics() -> None:
    """Names filled into a topic can't change its levels; an unknown place is refused."""
    options = mqtt.Options(host="h", topic="a/{workflow}/{task_id}")
    made = mqtt.MqttNotifier("q", options).topic_of(Message("e", "t", "x/#+y", b""))
    assert made == "a/x___y/t"
    with pytest.raises(ValueError, match="there is no"):
        mqtt.Options(host="h", topic="{nope}")
    with pytest.raises(ValueError, match="topic to publish"):
        mqtt.Options(host="h", topic="a/#")


async def test_directory_writes_an_event_once(tmp_path: Path) -> None:
    """The same event sent again replaces its own file; nothing half-written is ever seen."""
    made = directory.DirectoryNotifier("d", directory.Options(path=tmp_path))
    await made.publish(MESSAGE)
    await made.publish(MESSAGE)
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / "file").touch()
    broken = directory.DirectoryNotifier("d", directory.Options(path=tmp_path / "file" / "below"))
    with pytest.raises(TransientError):
        await broken.publish(MESSAGE)
    with pytest.raises(PermanentError):
        await broken.check()


async def test_amqp_exchanges_and_routing_keys(rabbit: int) -> None:
    """A key that no queue listens to may be listened to later; an exchange that is not there will not come."""
    nobody = amqp.Options(host="127.0.0.1", port=rabbit, routing_key="nobody.{workflow}")
    async with amqp.AmqpNotifier("a", nobody) as publisher:
        with pytest.raises(TransientError, match=r"no queue gets messages with the routing key 'nobody\.clips'"):
            await publisher.publish(MESSAGE)
    connection = await aio_pika.connect(port=rabbit)
    channel = await connection.channel()
    exchange = await channel.declare_exchange("tasks", aio_pika.ExchangeType.TOPIC)
    queue = await channel.declare_queue("clips only")
    await queue.bind(exchange, "task.clips")
    given = amqp.Options(host="127.0.0.1", port=rabbit, exchange="tasks", routing_key="task.{workflow}")
    async with amqp.AmqpNotifier("a", given) as publisher:
        await publisher.publish(MESSAGE)
    message = await queue.get(timeout=10)
    assert message is not None
    assert (message.body, message.message_id) == (MESSAGE.body, MESSAGE.event_id)
    await message.ack()
    await connection.close()
    absent = amqp.Options(host="127.0.0.1", port=rabbit, exchange="absent", routing_key="x")
    async with amqp.AmqpNotifier("a", absent) as publisher:
        with pytest.raises(PermanentError, match="no exchange 'absent'"):
            await publisher.publish(MESSAGE)


async def test_amqp_that_can_not_be_reached(rabbit: int) -> None:
    """Away, or with a wrong password."""
    away = amqp.Options(host="127.0.0.1", port=1, routing_key="x")
    async with amqp.AmqpNotifier("a", away) as publisher:
        with pytest.raises(TransientError):
            await publisher.check()
    wrong = amqp.Options(host="127.0.0.1", port=rabbit, routing_key="x", password=SecretStr("wrong"))
    async with amqp.AmqpNotifier("a", wrong) as publisher:
        with pytest.raises(AccessRefused):
            await publisher.check()
    with pytest.raises(ValueError, match="there is no {colour}"):
        amqp.Options(host="x", routing_key="{colour}")


async def test_sqs_that_refuses(moto: str) -> None:
    """A queue that is not there, and an event that is larger than a message may be."""
    options = sqs.Options(
        queue_url=f"{moto}/123456789012/absent", endpoint_url=moto, access_key="k", secret_key=SecretStr("s")
    )
    async with sqs.SqsNotifier("s", options) as sender:
        with pytest.raises(PermanentError):
            await sender.check()
        with pytest.raises(PermanentError):
            await sender.publish(MESSAGE)
        with pytest.raises(PermanentError, match="more than a message"):
            await sender.publish(Message("e", "t", "w", b"x" * (sqs.LARGEST + 1)))


async def test_nats_kafka_and_redis_say_what_is_wrong(tmp_path: Path) -> None:
    """A server that is away may come back; so may a stream that takes a subject."""
    port = parts.free_port()
    for notifier in (
        nats_notifier.NatsNotifier("n", nats_notifier.Options(host="127.0.0.1", port=port, timeout=2)),
        redis_notifier.RedisNotifier("r", redis_notifier.Options(host="127.0.0.1", port=port, timeout=2)),
        kafka_notifier.KafkaNotifier("k", kafka_notifier.Options(host="127.0.0.1", port=port, timeout=2)),
    ):
        with pytest.raises(TransientError):
            await notifier.publish(MESSAGE)
        with pytest.raises(TransientError):
            await notifier.check()
        await notifier.__aexit__(None, None, None)
    with parts.nats_server(tmp_path, port):
        options = nats_notifier.Options(host="127.0.0.1", port=port, subject="nobody.{workflow}")
        async with nats_notifier.NatsNotifier("n", options) as subject:
            with pytest.raises(TransientError, match=r"no stream takes the subject 'nobody\.clips'"):
                await subject.publish(MESSAGE)
            assert subject.subject_of(Message("e", "t", "a.b *>", b"")) == "nobody.a_b___"
    with pytest.raises(ValueError, match="subject to publish"):
        nats_notifier.Options(host="h", subject="a.>")
    options = kafka_notifier.Options(host="h", topic="tasks.{workflow}")
    assert kafka_notifier.KafkaNotifier("k", options).topic_of(Message("e", "t", "a b/é", b"")) == "tasks.a_b__"
    with pytest.raises(ValueError, match="a topic has"):
        kafka_notifier.Options(host="h", topic="a b")
