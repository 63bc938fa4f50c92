"""What every source promises: each object is told of, again until it is acknowledged, and nothing else is."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import mmap
import os
import shutil
import ssl
import subprocess
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote_plus

import aio_pika
import aiohttp
import aiomqtt
import boto3
import nats
import pytest
import pytest_asyncio
from aiohttp import web
from aiokafka import AIOKafkaProducer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.asyncio import Redis

from tests import parts
from watcher import listening
from watcher.dispatcher import SourceMemory
from watcher.errors import PermanentError, TransientError
from watcher.model.listed import Listed, Merged
from watcher.model.objects import ObjectEvent, ObjectInfo, Part, file_version
from watcher.sources import _inotify, _spooled, amqp, folder, memory, minio_listen, mqtt, s3_poll, sqs, webhook
from watcher.sources import kafka as kafka_source
from watcher.sources import nats as nats_source
from watcher.sources import redis as redis_source
from watcher.sources._dialects import MAX_BODY
from watcher.sources._reading import read_message, storages_by_bucket
from watcher.sources.base import Delivery, Source
from watcher.state.ledger import TOMBSTONE, Candidate
from watcher.state.store import State
from watcher.storage import local, s3


@dataclass
class Item:
    """A message that is kept."""

    seq: int
    body: bytes


class MemorySpool:
    """Messages that are kept, as the state does it."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.taken = 0
        self.full = False

    async def adopt(self) -> int:
        return len(self.items)

    async def keep(self, body: bytes) -> int:
        if self.full:
            raise TransientError("the disk is full")
        self.taken += 1
        self.items.append(Item(self.taken, body))
        return self.taken

    async def kept(self, behind: int, limit: int, besides: Collection[int] = ()) -> list[Item]:
        return [item for item in self.items if item.seq > behind and item.seq not in besides][:limit]

    async def drop(self, numbers: Sequence[int]) -> None:
        self.items = [item for item in self.items if item.seq not in numbers]


class Ledger:
    """The memory a source is given, with all that was acknowledged."""

    def __init__(self) -> None:
        self.cursor: str | None = None
        self.known: set[tuple[str, str]] = set()
        self.spool = MemorySpool()

    async def load(self) -> str | None:
        return self.cursor

    async def save(self, cursor: str) -> None:
        self.cursor = cursor

    async def recall(self, what: str) -> str | None:
        return None

    async def remember(self, what: str, text: str) -> None:
        pass

    async def unknown(self, infos: Sequence[ObjectInfo]) -> list[ObjectInfo]:
        return [info for info in infos if (info.key, info.identity) not in self.known]

    async def keys(self, storage: str, after: str, limit: int) -> list[str]:
        return []

    async def merge(
        self, part: Part, listed: Listed, began: int, *, confirm: bool, baseline: int | None = None
    ) -> Merged:
        return Merged(Listed.of(await self.unknown(listed)))

    async def lead(self, name: str) -> bool:
        return True

    def watched(self, storage: str) -> dict[str, float]:
        return {}


class Case(ABC):
    """A source, and a way to make objects that it hears of."""

    source: Source

    @abstractmethod
    async def add(self, key: str) -> None:
        """Put an object where the source looks."""

    async def again(self) -> None:
        """Have what was not acknowledged delivered again, where that takes some help."""


class MemoryCase(Case):
    def __init__(self) -> None:
        self.source = self._memory = memory.MemorySource("m", memory.Options(), {})
        self._events: list[ObjectEvent] = []

    async def add(self, key: str) -> None:
        self._events.append(ObjectEvent("b", key, "m", ObjectInfo("b", key, 1, "e", 1)))
        self._memory.put(self._events[-1])

    async def again(self) -> None:
        self._memory.put(*self._events)


class FolderCase(Case):
    def __init__(self, root: Path) -> None:
        root.mkdir()
        self._root = root
        storage = local.LocalStorage("b", local.Options(root=root))
        options = folder.Options(storage="b", settle=0.2, rescan=0.5)
        self.source = folder.FolderSource("f", options, {"b": storage})

    async def add(self, key: str) -> None:
        (self._root / key).parent.mkdir(parents=True, exist_ok=True)
        (self._root / key).write_bytes(b"x")


class PollCase(Case):
    def __init__(self, client: Any, bucket: str, storage: s3.S3Storage) -> None:
        self._client, self._bucket = client, bucket
        client.create_bucket(Bucket=bucket)
        options = s3_poll.Options(storage=bucket, interval=0.2)
        self.source = s3_poll.S3PollSource("p", options, {bucket: storage})

    async def add(self, key: str) -> None:
        self._client.put_object(Bucket=self._bucket, Key=key, Body=b"x")


class SqsCase(Case):
    def __init__(self, client: Any, queues: Any, bucket: str, address: str) -> None:
        self._client, self._bucket, self._queues = client, bucket, queues
        client.create_bucket(Bucket=bucket)
        self.url = queues.create_queue(QueueName=bucket)["QueueUrl"]
        arn = queues.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        rules = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
        client.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=rules)
        storage = s3.S3Storage(bucket, s3.Options())
        options = sqs.Options(
            queue_url=self.url, endpoint_url=address, access_key="k", secret_key="s", visibility_timeout=10
        )
        self.source = sqs.SqsSource("q", options, {bucket: storage})

    async def add(self, key: str) -> None:
        self._client.put_object(Bucket=self._bucket, Key=key, Body=b"x")


class WebhookCase(Case):
    """Whoever posts keeps what was not taken, and posts it again."""

    def __init__(self) -> None:
        port = parts.free_port()
        options = webhook.Options(listen=f"127.0.0.1:{port}", token=SecretStr("t0ken"), path="/hook")
        self.url = f"http://127.0.0.1:{port}/hook"
        self.source = webhook.WebhookSource("w", options, {"videos": s3.S3Storage("videos", s3.Options())})
        self.statuses: list[int] = []
        self._bodies: list[bytes] = []
        self._posting: set[asyncio.Task[int]] = set()

    async def post(self, body: bytes, **headers: str) -> int:
        given = headers or {"Authorization": "Bearer t0ken"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url, data=io.BytesIO(body), headers=given) as answer,
        ):
            self.statuses.append(answer.status)
            return answer.status

    def _begin(self, body: bytes) -> None:
        task = asyncio.create_task(self.post(body))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def add(self, key: str) -> None:
        self._bodies.append(json.dumps({"Records": [record(quote_plus(key))]}).encode())
        self._begin(self._bodies[-1])

    async def again(self) -> None:
        for body in self._bodies:
            self._begin(body)


BUCKETS: Any = {"videos": s3.S3Storage("videos", s3.Options())}


def notification(key: str) -> bytes:
    return json.dumps({"Records": [record(quote_plus(key))]}).encode()


class MqttCase(Case):
    def __init__(self, port: int) -> None:
        self._port = port
        options = mqtt.Options(host="127.0.0.1", port=port, topics=("minio/#",), client_id="watcher", timeout=5)
        self.source = mqtt.MqttSource("m", options, BUCKETS)

    async def add(self, key: str) -> None:
        async with aiomqtt.Client("127.0.0.1", self._port) as client:
            await client.publish("minio/events", notification(key), qos=1)


class AmqpCase(Case):
    def __init__(self, port: int, queue: str) -> None:
        self._port, self._queue = port, queue
        options = amqp.Options(host="127.0.0.1", port=port, queue=queue)
        self.source = amqp.AmqpSource("a", options, BUCKETS)

    async def add(self, key: str) -> None:
        async with await aio_pika.connect(port=self._port) as connection:
            channel = await connection.channel()
            await channel.default_exchange.publish(aio_pika.Message(notification(key)), routing_key=self._queue)


class NatsCase(Case):
    def __init__(self, client: Any, port: int) -> None:
        self._client = client
        options = nats_source.Options(host="127.0.0.1", port=port, stream="EVENTS", subject="bucket.>")
        self.source = nats_source.NatsSource("n", options, BUCKETS)

    async def add(self, key: str) -> None:
        await self._client.jetstream().publish("bucket.videos", notification(key))


class KafkaCase(Case):
    def __init__(self, producer: Any, port: int) -> None:
        self._producer = producer
        options = kafka_source.Options(host="127.0.0.1", port=port, topics=("events",))
        self.source = kafka_source.KafkaSource("k", options, BUCKETS)

    async def add(self, key: str) -> None:
        await self._producer.send_and_wait("events", notification(key))


class RedisCase(Case):
    def __init__(self, client: Any, port: int) -> None:
        self._client = client
        options = redis_source.Options(host="127.0.0.1", port=port, stream="events")
        self.source = redis_source.RedisSource("r", options, BUCKETS)

    async def add(self, key: str) -> None:
        await self._client.xadd("events", {"body": notification(key)})


@contextlib.asynccontextmanager
async def over_a_broker(kind: str, directory: Path, rabbit: int) -> AsyncIterator[Case]:
    """A case whose messages come through a real broker."""
    if kind == "mqtt":
        with parts.mosquitto(directory) as port:
            yield MqttCase(port)
    elif kind == "amqp":
        queue = uuid.uuid4().hex
        async with await aio_pika.connect(port=rabbit) as connection:
            await (await connection.channel()).declare_queue(queue, durable=True)
        yield AmqpCase(rabbit, queue)
    elif kind == "nats":
        with parts.nats_server(directory) as port:
            client = await nats.connect(f"nats://127.0.0.1:{port}")
            await client.jetstream().add_stream(name="EVENTS", subjects=["bucket.>"])
            yield NatsCase(client, port)
            await client.close()
    elif kind == "kafka":
        with parts.kafka() as port:
            async with AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{port}") as producer:
                await producer.partitions_for("events")  # which makes it
                yield KafkaCase(producer, port)
    else:
        with parts.redis_server(directory) as port:
            reached = Redis(port=port)
            yield RedisCase(reached, port)
            await reached.aclose()


@pytest_asyncio.fixture(
    params=["memory", "folder", "s3_poll", "sqs", "webhook", "mqtt", "amqp", "nats", "kafka", "redis"]
)
async def case(request: pytest.FixtureRequest, tmp_path: Path, moto: str, rabbit: int) -> AsyncIterator[Case]:
    """Each implementation in turn, over a real other side."""
    if request.param in ("mqtt", "amqp", "nats", "kafka", "redis"):
        async with over_a_broker(request.param, tmp_path, rabbit) as made:
            yield made
        return
    keys: dict[str, Any] = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    client, queues = (boto3.client(name, endpoint_url=moto, **keys) for name in ("s3", "sqs"))
    name = f"src-{uuid.uuid4().hex[:12]}"
    if request.param == "memory":
        yield MemoryCase()
    elif request.param == "folder":
        yield FolderCase(tmp_path / "root")
    elif request.param == "sqs":
        yield SqsCase(client, queues, name, moto)
    elif request.param == "webhook":
        yield WebhookCase()
    else:
        options = s3.Options(endpoint_url=moto, access_key="k", secret_key="s", addressing="path")
        async with s3.S3Storage(name, options) as storage:
            yield PollCase(client, name, storage)


class Reader:
    """Reads a source in the background, acknowledges or releases, and keeps what it was told."""

    def __init__(self, source: Source, ledger: Ledger, *, acknowledge: bool = True) -> None:
        self.seen: list[ObjectEvent] = []
        self._acknowledge = acknowledge
        self._ledger = ledger
        self._source = source
        self.listening = asyncio.Event()
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for delivery in self._source.deliveries(self._ledger):
            self.listening.set()
            self.seen += delivery.events
            if self._acknowledge:
                self._ledger.known |= {(e.key, e.info.identity) for e in delivery.events if e.info is not None}
                await delivery.acknowledge()
            else:
                await delivery.release()

    def keys(self, *, existing: bool = False) -> set[str]:
        return {event.key for event in self.seen if event.existing is existing}

    async def until(self, condition: Callable[[], bool], timeout: float = 40) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert not self._task.done(), self._task.exception()
            assert time.monotonic() < deadline, f"saw only {self.seen}"
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


async def test_each_object_is_told_of(case: Case) -> None:
    """Awkward keys too, byte for byte."""
    reader = Reader(case.source, Ledger())
    await asyncio.wait_for(reader.listening.wait(), 30)
    keys = {"a.mp4", "deep/er/b c.mp4", "a+b.mp4", "a%2Bb.mp4", "\u00e9/日本.mp4"}
    for key in sorted(keys):
        await case.add(key)
    await reader.until(lambda: reader.keys() >= keys)
    assert reader.keys() == keys
    await reader.close()


async def test_what_was_not_acknowledged_comes_again(case: Case) -> None:
    """After a restart, or by itself."""
    ledger = Ledger()
    reader = Reader(case.source, ledger, acknowledge=False)
    await asyncio.wait_for(reader.listening.wait(), 30)
    await case.add("a.mp4")
    await reader.until(lambda: "a.mp4" in {event.key for event in reader.seen})
    await reader.close()
    ledger.cursor = "swept"
    second = Reader(case.source, ledger)
    await asyncio.wait_for(second.listening.wait(), 30)
    await case.again()
    # The test's SQS goes on with the long polls of whoever left: they may take it for 20 s, for 10 s each time.
    await second.until(lambda: "a.mp4" in second.keys())
    await second.close()


@pytest.mark.parametrize("case", ["folder", "s3_poll"], indirect=True)  # a queue holds no old objects
async def test_what_was_there_before_is_marked(case: Case) -> None:
    """The first look ever tells existing objects apart from new ones."""
    await case.add("old.mp4")
    await asyncio.sleep(2.1)  # stores tell times in whole seconds, and what came in this one counts as new
    ledger = Ledger()
    reader = Reader(case.source, ledger)
    await reader.until(lambda: ledger.cursor is not None)
    await case.add("new.mp4")
    await reader.until(lambda: "new.mp4" in reader.keys())
    assert reader.keys(existing=True) == {"old.mp4"}
    await reader.close()


async def test_check_passes(case: Case) -> None:
    """What is there can be reached."""
    await case.source.check()


# Folders.


async def test_folder_survives_the_replacement_of_its_root(tmp_path: Path) -> None:
    """Deleted and made anew: the source says so once and is watched anew when it is tried again."""
    made = FolderCase(tmp_path / "root")
    ledger = Ledger()
    ledger.cursor = "scanned"
    deliveries = made.source.deliveries(ledger)
    await anext(deliveries)
    shutil.rmtree(tmp_path / "root")
    (tmp_path / "root").mkdir()
    with pytest.raises(TransientError, match="was replaced"):
        async with asyncio.timeout(30):
            async for _ in deliveries:
                pass
    reader = Reader(made.source, ledger)
    await reader.listening.wait()
    await made.add("a.mp4")
    await reader.until(lambda: reader.keys() == {"a.mp4"})
    await reader.close()


async def test_folder_rescans_after_an_overflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the kernel's queue really runs over, a scan finds what the hints lost."""
    go_on, overflows = threading.Event(), []
    read, overflowed = _inotify.NoticingInotifyFD.read_events, _inotify.Hints.overflowed

    def held_up(reader_: Any, **options: Any) -> Any:
        go_on.wait()
        return read(reader_, **options)

    def counted(hints: _inotify.Hints) -> None:
        overflows.append(hints)
        overflowed(hints)

    monkeypatch.setattr(_inotify.NoticingInotifyFD, "read_events", held_up)
    monkeypatch.setattr(_inotify.Hints, "overflowed", counted)
    made = FolderCase(tmp_path / "root")
    options = folder.Options(storage="b", settle=0.2, rescan=3600)
    made.source = folder.FolderSource(
        "f", options, {"b": local.LocalStorage("b", local.Options(root=tmp_path / "root"))}
    )
    ledger = Ledger()
    ledger.cursor = "scanned"
    reader = Reader(made.source, ledger)
    await reader.listening.wait()
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    # The reader is held up while more happens than the queue takes.
    script = f"import pathlib\nroot = pathlib.Path({str(tmp_path / 'root')!r})\n"
    script += f"for n in range({limit}): (root / f'{{n}}.mp4').write_bytes(b'x')\n"
    process = await asyncio.create_subprocess_exec("python3", "-c", script)
    await process.wait()
    go_on.set()
    await reader.until(lambda: len(reader.keys()) == limit, timeout=60)
    assert overflows
    await reader.close()


async def test_folder_forgets_what_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two inventories and two weeks after it went; but a directory that lacks almost all is not believed."""
    root = tmp_path / "root"
    root.mkdir()
    storage = local.LocalStorage("b", local.Options(root=root))
    source = folder.FolderSource("f", folder.Options(storage="b"), {"b": storage})
    names = [f"{number:03}.mp4" for number in range(60)]
    for name in names:
        (root / name).write_bytes(b"x")
    now = time.time()
    async with State(tmp_path / "s.db") as state:
        memory = SourceMemory(state, "f", lambda: None, "")  # type: ignore[arg-type, return-value]
        infos = [info async for page in storage.list() for info in page]
        await state.ledger.intake([Candidate(info, ()) for info in infos], now)

        async def known() -> list[str]:
            return await state.ledger.keys("b", "", 100)

        async def inventories() -> None:
            for later in (10, 20, TOMBSTONE + 30):
                monkeypatch.setattr(folder.time, "time", lambda: now + later)  # noqa: B023
                await source._inventory(memory)

        assert await known() == names
        (root / "007.mp4").unlink()
        await inventories()
        names.remove("007.mp4")
        assert await known() == names
        root.rename(tmp_path / "elsewhere")
        root.mkdir()
        await inventories()
        assert await known() == names


async def test_folder_works_without_inotify(tmp_path: Path) -> None:
    """Scans alone find everything, a little later."""
    (tmp_path / "root").mkdir()
    storage = local.LocalStorage("b", local.Options(root=tmp_path / "root"))
    options = folder.Options(storage="b", settle=0.1, rescan=0.2, hints=False)
    reader = Reader(folder.FolderSource("f", options, {"b": storage}), Ledger())
    await reader.listening.wait()
    await asyncio.sleep(0.3)
    (tmp_path / "root" / "a.mp4").write_bytes(b"x")
    await reader.until(lambda: reader.keys() == {"a.mp4"})
    await reader.close()


async def test_folder_of_writers_that_nobody_sees(tmp_path: Path) -> None:
    """D23: over NFS or SMB there is no hint and no process that has the file open; what is left is that it rests."""
    root = tmp_path / "root"
    root.mkdir()
    storage = local.LocalStorage("b", local.Options(root=root))
    options = folder.Options(storage="b", settle=2.0, rescan=0.2, hints=False)
    reader = Reader(folder.FolderSource("f", options, {"b": storage}), Ledger())
    await reader.listening.wait()
    await asyncio.sleep(0.3)
    for _ in range(10):
        with (root / "far.mp4").open("ab") as file:
            file.write(b"x" * 100)
        await asyncio.sleep(0.3)
    await reader.until(lambda: reader.keys() == {"far.mp4"})
    assert {event.info.size for event in reader.seen if event.info is not None} == {1000}
    await reader.close()


async def test_folder_zoo(tmp_path: Path) -> None:
    """Links, pipes, hard links, a rename over an existing file, a tree moved in: files once, the rest never."""
    made = FolderCase(tmp_path / "root")
    root = tmp_path / "root"
    reader = Reader(made.source, Ledger())
    await reader.listening.wait()
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(b"x")
    (root / "link.mp4").symlink_to(outside)
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.mp4")
    os.link(outside, root / "hard.mp4")
    (tmp_path / "tree" / "in").mkdir(parents=True)
    (tmp_path / "tree" / "in" / "t.mp4").write_bytes(b"x")
    (tmp_path / "tree").rename(root / "tree")
    await reader.until(lambda: reader.keys() >= {"hard.mp4", "tree/in/t.mp4"})
    (tmp_path / "new").write_bytes(b"other")
    (tmp_path / "new").rename(root / "hard.mp4")
    await reader.until(lambda: len([event for event in reader.seen if event.key == "hard.mp4"]) >= 2)
    await asyncio.sleep(0.8)
    assert reader.keys() == {"hard.mp4", "tree/in/t.mp4"}
    await reader.close()


def test_a_file_that_is_open_is_seen_beside_those_that_come_and_go(tmp_path: Path) -> None:
    """A writer that opens and closes other files meanwhile hides none."""
    ended = threading.Event()

    def busy() -> None:
        while not ended.is_set():
            others = [open(os.devnull, "w") for _ in range(20)]  # noqa: SIM115
            for other in others:
                other.close()

    lower = [open(os.devnull, "w") for _ in range(20)]  # noqa: SIM115  the places of those that come and go
    with (tmp_path / "film.mp4").open("wb") as film:
        for other in lower:
            other.close()
        status = os.fstat(film.fileno())
        thread = threading.Thread(target=busy)
        thread.start()
        try:
            for _ in range(60):
                assert (status.st_dev, status.st_ino) in _inotify.open_for_writing()
        finally:
            ended.set()
            thread.join()
    assert (status.st_dev, status.st_ino) not in _inotify.open_for_writing()


async def test_folder_writers(tmp_path: Path) -> None:
    """D23: slow, with pauses longer than a file has to rest; over a memory map; preallocated; under another name first:
    each is told of when it is closed, and only as it is then."""
    made = FolderCase(tmp_path / "root")
    root = tmp_path / "root"
    reader = Reader(made.source, Ledger())
    await reader.listening.wait()

    async def slow() -> None:
        with (root / "slow.mp4").open("wb", 0) as file:
            for _ in range(4):
                file.write(b"x" * 100)
                await asyncio.sleep(0.7)
        (root / "slow.done").touch()

    async def mapped() -> None:
        with (root / "mapped.mp4").open("w+b") as file:
            file.truncate(4096)
            with mmap.mmap(file.fileno(), 4096) as memory:
                for place in range(0, 4096, 1024):
                    memory[place : place + 4] = b"data"
                    memory.flush()
                    await asyncio.sleep(0.6)

    async def preallocated() -> None:
        with (root / "sparse.mp4").open("wb", 0) as file:
            os.posix_fallocate(file.fileno(), 0, 1 << 20)
            await asyncio.sleep(1.5)
            file.write(b"x" * (1 << 20))

    async def renamed() -> None:
        (root / "film.mp4.part").write_bytes(b"x")
        await asyncio.sleep(1.5)
        with (root / "film.mp4.part").open("ab") as file:
            file.write(b"y")
        (root / "film.mp4.part").rename(root / "film.mp4")

    writers = {"slow.mp4": 400, "mapped.mp4": 4096, "sparse.mp4": 1 << 20, "film.mp4": 2}
    await asyncio.gather(slow(), mapped(), preallocated(), renamed())
    await reader.until(lambda: reader.keys() >= writers.keys())
    await asyncio.sleep(1.0)
    # What the first scan came across is recorded as it was, and starts nothing. A hint that comes after a scan has seen
    # the same tells the same version again, which the ledger takes once.
    told = {
        (event.key, event.info.etag, event.info.size)
        for event in reader.seen
        if event.key in writers and event.info is not None and not event.existing
    }
    files = (file_version("here", key, (root / key).lstat()) for key in writers)
    assert told == {(info.key, info.etag, info.size) for info in files}
    assert {(key, size) for key, _, size in told} == writers.items()
    await reader.close()


# SQS.


BUCKETS = {"videos": "videos", "real-bucket": "videos"}


def record(key: str, name: str = "ObjectCreated:Put", bucket: str = "videos", **fields: Any) -> dict[str, Any]:
    return {
        "eventSource": "aws:s3",
        "eventName": name,
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1, "eTag": "e", **fields}},
    }


def test_buckets_and_storages() -> None:
    """A storage may be called otherwise than its bucket; what the settings say goes before."""
    named = s3.S3Storage("videos", s3.Options(bucket="real"))
    assert storages_by_bucket({"videos": named, "b": object()}, {"other": "videos"}) == {
        "real": "videos", "b": "b", "other": "videos",
    }  # fmt: skip


def test_messages_and_their_records() -> None:
    """Versions, other bucket names, several records in one message, and what of it is kept for a person."""
    records = [
        record("a.mp4", versionId="v1"),
        record("b.mp4", "ObjectCreated:CompleteMultipartUpload", "real-bucket", versionId="null"),
        record("c.mp4", "ObjectRemoved:Delete"),
        record("d.mp4", bucket="strange"),
        {"nonsense": True},
    ]
    body = json.dumps({"Records": records})
    for text in (body, json.dumps({"Type": "Notification", "Message": body})):
        found = read_message(text, "q", BUCKETS)
        assert [(event.storage, event.key, event.version_id) for event in found.events] == [
            ("videos", "a.mp4", "v1"), ("videos", "b.mp4", None),
        ]  # fmt: skip
        assert found.irrelevant == 1
        (kept,) = found.strange
        assert kept.body == text.encode()
        assert "no storage for the bucket 'strange'" in kept.reason


async def test_webhook_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 after the commit; strangers are told nothing, and nothing of theirs is read."""
    monkeypatch.setattr(_spooled, "SOON", 60.0)
    case = WebhookCase()
    body = json.dumps({"Records": [record("a.mp4")]}).encode()
    ledger = Ledger()
    source = case.source.deliveries(ledger)
    await anext(source)
    for headers in ({"Authorization": "Bearer wrong"}, {"X": "y"}):
        assert await case.post(b"x" * 100, **headers) == 401
    posting = asyncio.create_task(case.post(body))
    delivery = await anext(source)
    await asyncio.sleep(0.1)
    assert not posting.done()
    await delivery.acknowledge()
    assert await posting == 200
    posting = asyncio.create_task(case.post(b"what is this?"))
    delivery = await anext(source)
    assert delivery.strange[0].body == b"what is this?"
    await delivery.acknowledge()
    assert await posting == 200
    assert await case.post(b"x" * (MAX_BODY + 1)) == 413
    case.url += "?token=t0ken"
    posting = asyncio.create_task(case.post(body, X="y"))
    await (await anext(source)).acknowledge()
    assert await posting == 200
    case.url = case.url.replace("/hook", "/else")
    assert await case.post(body) == 404
    assert ledger.spool.taken == 0
    await source.aclose()  # type: ignore[attr-defined]


async def test_webhook_keeps_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 when it is on disk; it is dropped from there when it is committed, and comes again when it is not."""
    monkeypatch.setattr(_spooled, "PAUSES", (0.05,))
    case, ledger = WebhookCase(), Ledger()
    source = case.source.deliveries(ledger)
    await anext(source)
    body = json.dumps({"Records": [record("a.mp4")]}).encode()
    assert await case.post(body) == 200
    assert [item.body for item in ledger.spool.items] == [body]
    delivery = await anext(source)
    await delivery.release()
    again = await anext(source)
    assert again.events == delivery.events
    await again.acknowledge()
    posting = asyncio.create_task(case.post(body))
    await (await anext(source)).release()  # before it is kept
    assert await posting == 200
    await (await anext(source)).acknowledge()
    async with asyncio.timeout(30):
        while ledger.spool.items:
            await asyncio.sleep(0.01)
    await source.aclose()  # type: ignore[attr-defined]


class SlowSpool(MemorySpool):
    """What is asked is done a while later, and answered another while later."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self._chance = chance

    async def _while(self) -> None:
        await asyncio.sleep(self._chance.choice((0, 0.001, 0.005)))

    async def keep(self, body: bytes) -> int:
        await self._while()
        if self._chance.random() < 0.05:
            raise TransientError("the disk is full")
        seq = await super().keep(body)
        await self._while()
        return seq

    async def kept(self, behind: int, limit: int, besides: Collection[int] = ()) -> list[Item]:
        await self._while()
        found = await super().kept(behind, limit, besides)
        await self._while()
        return found


@pytest.mark.parametrize("seed", range(8))
async def test_what_is_accepted_is_delivered_soon(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Whatever is being written, read, committed or given up meanwhile: nothing that is on disk is forgotten there."""
    for name, value in {"SOON": 0.001, "PAUSES": (0.001,), "BATCH": 4}.items():
        monkeypatch.setattr(_spooled, name, value)
    chance = Random(seed)
    spool = SlowSpool(chance)
    spooled = _spooled.Spooled("w", spool, lambda body: read_message(body, "w", BUCKETS), 6, 1000)
    await spooled.adopt()
    committed: set[str] = set()

    async def settle(delivery: Delivery) -> None:
        await asyncio.sleep(chance.choice((0, 0.001, 0.01)))
        if chance.random() < 0.2:
            await delivery.release()
        else:
            committed.update(event.key for event in delivery.events)
            await delivery.acknowledge()

    async def take(group: asyncio.TaskGroup) -> None:
        async with contextlib.aclosing(spooled.deliveries()) as deliveries:
            async for delivery in deliveries:
                group.create_task(settle(delivery))

    async def send(key: str) -> str | None:
        await asyncio.sleep(chance.random() / 5)
        body = json.dumps({"Records": [record(key)]}).encode()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.choice((0.003, 1, 1, 1))):  # some go away
                return key if await spooled.accept(body) else None
        return None

    async with asyncio.TaskGroup() as group:
        taking = group.create_task(take(group))
        accepted = {key for key in await asyncio.gather(*(send(f"{n:03}.mp4") for n in range(120))) if key}
        assert len(accepted) > 60
        async with asyncio.timeout(30):
            while not committed >= accepted or spool.items:
                await asyncio.sleep(0.005)
        taking.cancel()


async def test_webhook_when_nothing_can_be_kept() -> None:
    """503, so that the sender keeps it; unless it is committed all the same."""
    case, ledger = WebhookCase(), Ledger()
    ledger.spool.full = True
    source = case.source.deliveries(ledger)
    await anext(source)
    body = json.dumps({"Records": [record("a.mp4")]}).encode()
    posting = asyncio.create_task(case.post(body))
    delivery = await anext(source)
    await asyncio.sleep(0.2)
    assert not posting.done()
    await delivery.release()
    assert await posting == 503
    posting = asyncio.create_task(case.post(body))
    await asyncio.sleep(0.2)
    await (await anext(source)).acknowledge()
    assert await posting == 200
    await source.aclose()  # type: ignore[attr-defined]


async def test_webhook_renews_its_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its files change, for the connections that come then; half a file changes nothing."""
    monkeypatch.setattr(listening, "RENEWAL", 0.05)
    for name in ("old", "new"):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-days", "2"]
        command += ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        (tmp_path / f"{name}.pem").write_bytes((tmp_path / f"{name}.key").read_bytes())
        with (tmp_path / f"{name}.pem").open("ab") as file:
            file.write((tmp_path / f"{name}.crt").read_bytes())
    used, port = tmp_path / "used.pem", parts.free_port()
    shutil.copy(tmp_path / "old.pem", used)
    options = webhook.Options(listen=f"127.0.0.1:{port}", token=SecretStr("t"), certificate=str(used))
    source = webhook.WebhookSource("w", options, {}).deliveries(Ledger())
    await anext(source)

    async def shown() -> bytes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return bytes(found)

    old, new = (ssl.PEM_cert_to_DER_cert((tmp_path / f"{name}.crt").read_text()) for name in ("old", "new"))
    assert await shown() == old
    used.write_bytes((tmp_path / "new.pem").read_bytes()[:500])
    await asyncio.sleep(0.2)
    assert await shown() == old
    shutil.copy(tmp_path / "new.pem", used)
    async with asyncio.timeout(30):
        while await shown() != new:
            await asyncio.sleep(0.05)
    await source.aclose()  # type: ignore[attr-defined]


async def test_webhook_under_load() -> None:
    """What does not fit into memory goes to the disk, until that is full too; then they are told to come again. After a
    restart all of it is told of, and what was committed is not."""
    case = WebhookCase()
    limits = {"waiting": 3, "kept": 10, "timeout": 0.5}
    case.source._options = case.source._options.model_copy(update=limits)  # type: ignore[attr-defined]
    ledger = Ledger()
    source = case.source.deliveries(ledger)
    await anext(source)
    bodies = [json.dumps({"Records": [record(f"{number}.mp4")]}).encode() for number in range(14)]
    statuses = [await case.post(body) for body in bodies]
    assert statuses == [200] * 10 + [503] * 4
    assert set(await asyncio.gather(*(case.post(bodies[0]) for _ in range(8)))) == {503}
    told: list[str] = []

    async def commit(deliveries: AsyncIterator[Delivery]) -> None:
        for _ in range(5):
            delivery = await anext(deliveries)
            told.extend(event.key for event in delivery.events)
            await delivery.acknowledge()

    await commit(source)
    async with asyncio.timeout(30):
        while len(ledger.spool.items) > 5:
            await asyncio.sleep(0.01)
    await source.aclose()  # type: ignore[attr-defined]
    again = case.source.deliveries(ledger)
    await anext(again)
    await commit(again)
    assert told == [f"{number}.mp4" for number in range(10)]
    await again.aclose()  # type: ignore[attr-defined]


async def test_what_sqs_can_not_read_is_handed_over(moto: str) -> None:
    """With its body, before it is deleted from the queue."""
    client = boto3.client(
        "sqs", endpoint_url=moto, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    url = client.create_queue(QueueName=f"strange-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    options = sqs.Options(queue_url=url, endpoint_url=moto, access_key="k", secret_key="s", visibility_timeout=10)
    source = sqs.SqsSource("q", options, {})
    client.send_message(QueueUrl=url, MessageBody="what is this?")
    async with asyncio.timeout(20):
        async for delivery in source.deliveries(Ledger()):
            if delivery.strange:
                assert delivery.strange[0].body == b"what is this?"
                await delivery.acknowledge()
                break


async def test_a_missing_queue_is_transient_or_permanent_but_never_silent(moto: str) -> None:
    """Reading a queue that is not there raises, in words."""
    options = sqs.Options(queue_url=f"{moto}/123/none", endpoint_url=moto, access_key="k", secret_key="s")
    source = sqs.SqsSource("q", options, {})
    with pytest.raises(Exception, match="the queue does not exist"):
        await source.check()
    with pytest.raises(Exception, match="the queue does not exist"):
        async for delivery in source.deliveries(Ledger()):
            assert isinstance(delivery, Delivery)


async def test_minio_is_listened_to_and_swept(tmp_path: Path) -> None:
    """Its stream has raw keys and blank lines, tells of nothing that was before, and ends whenever it likes."""
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    asked: list[Any] = []

    async def stream(request: web.Request) -> web.StreamResponse:
        asked.append((request.raw_path, request.headers.get("Authorization", "")))
        if len(asked) == 1:
            return web.Response(status=503)
        answer = web.StreamResponse()
        await answer.prepare(request)
        while (line := await lines.get()) != b"end":
            await answer.write(line)
        return answer

    app = web.Application()
    app.router.add_get("/videos", stream)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    port = parts.free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    storage = s3.S3Storage(
        "videos", s3.Options(endpoint_url=f"http://127.0.0.1:{port}", access_key="k", secret_key="s")
    )
    source = minio_listen.MinioListenSource("l", minio_listen.Options(storage="videos"), {"videos": storage})
    with pytest.raises(TransientError, match="503"):
        await anext(source.deliveries(Ledger()))
    told = source.deliveries(Ledger())
    assert (await anext(told)).sweep == ("videos",), "what happened before is nobody's but a sweep's"
    raw = {"Records": [{**record("a+b c.mp4"), "eventSource": "minio:s3"}]}
    for line in (b"\n", json.dumps(raw).encode() + b"\n", b"not json\n", b"end"):
        lines.put_nowait(line)
    assert [event.key for event in (await anext(told)).events] == ["a+b c.mp4"]
    assert len((await anext(told)).strange) == 1
    with pytest.raises(TransientError, match="ended"):
        await anext(told)
    assert "events=s3%3AObjectCreated" in asked[1][0]
    assert asked[1][1].startswith("AWS4-HMAC-SHA256 Credential=k/")
    await runner.cleanup()
    with pytest.raises(ValueError, match="no bucket"):
        minio_listen.MinioListenSource("l", minio_listen.Options(storage="d"), {"d": object()})  # type: ignore[dict-item]


# Kafka.


@given(st.sets(st.integers(0, 40), min_size=1), st.randoms(use_true_random=False))
def test_kafka_is_told_of_what_lies_before_all_that_is_open(offsets: set[int], random: Random) -> None:
    """Whatever the order in which messages are committed here, and whichever gaps their offsets have."""
    progress = kafka_source.Progress()
    for offset in sorted(offsets):
        progress.given(offset)
    still_open = sorted(offsets)
    for offset in random.sample(still_open, len(still_open)):
        progress.done(offset)
        still_open.remove(offset)
        told = -1 if progress.position is None else progress.position - 1
        assert told == max((each for each in offsets if each < min(still_open, default=99)), default=-1)
    assert progress.back() is None


def test_kafka_begins_anew_with_the_first_open_message() -> None:
    """What was committed behind it comes twice, which is known."""
    progress = kafka_source.Progress()
    for offset in (3, 4, 7):
        progress.given(offset)
    progress.done(3)
    progress.done(7)
    assert (progress.position, progress.back()) == (4, 4)
    for offset in (4, 7):
        progress.given(offset)
    progress.done(4)
    assert progress.position == 5
    progress.done(7)
    assert progress.position == 8


async def test_kafka_check_names_the_topic_that_is_missing() -> None:
    """And a cluster that is away may come back."""
    with parts.kafka() as port:
        options = kafka_source.Options(host="127.0.0.1", port=port, topics=("absent",), timeout=5)
        with pytest.raises(PermanentError, match="no topic 'absent'"):
            await kafka_source.KafkaSource("k", options, BUCKETS).check()
    with pytest.raises(TransientError):
        await kafka_source.KafkaSource("k", options, BUCKETS).check()
    with pytest.raises(TransientError):
        await anext(kafka_source.KafkaSource("k", options, BUCKETS).deliveries(Ledger()))
