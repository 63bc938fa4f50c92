"""From the moment a file is complete to the moment its ffmpeg starts, in a daemon of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import threading
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
from aiobotocore.session import get_session

from tests import parts
from tests.benchmarks.figures import Figure

ROUNDS = 20
# The daemon writes down when it starts an ffmpeg, just before it does.
MARK = """
import time
from watcher.media import process
_run = process.run
async def run(command, **options):
    if "-progress" in command:
        with open({file!r}, "a") as f: f.write(f"{{time.time()}}\\n")
    return await _run(command, **options)
process.run = run
"""


def _measure(daemon: parts.Daemon, marks: Path, drop: Any) -> list[float]:
    daemon.start(fault=MARK.format(file=str(marks)))
    waits: list[float] = []
    for number in range(ROUNDS + 1):
        dropped = drop(number)
        parts.wait_for(lambda: marks.exists() and len(marks.read_text().split()) > number, what="ffmpeg to start")  # noqa: B023
        waits.append(float(marks.read_text().split()[number]) - dropped)
        daemon.finished(number + 1)
        time.sleep(0.5)  # objects come now and then: what the last one left to do is done
    daemon.stop()
    return waits[1:]  # the first one pays for imports


def _folder(root: Path, clip: Path) -> list[float]:
    (root / "in").mkdir()
    settings = {
        "storages": {"b": {"type": "local", "root": str(root / "in")}},
        "sources": {"s": {"type": "folder", "storage": "b"}},
    }
    daemon = parts.Daemon(root / "folder", settings, [parts.workflow("b", OutputDir="/out/")])

    def drop(number: int) -> float:
        shutil.copy(clip, root / "part")
        moment = time.time()
        os.rename(root / "part", root / "in" / f"{number}.mp4")
        return moment

    try:
        return _measure(daemon, root / "marks-folder", drop)
    finally:
        daemon.close()


KEYS: dict[str, Any] = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
TRIGGER = {
    "Type": "AwsS3FileUpload",
    "AwsS3FileUploadTrigger": {"S3Bucket": "bench", "S3Region": "us-east-1", "Formats": ["mp4"]},
}


def _bucket(address: str, queue: str) -> tuple[Any, Any, str]:
    """A bucket that tells a queue of what is put into it; clients of both, and the queue's address."""
    client, queues = (boto3.client(name, endpoint_url=address, **KEYS) for name in ("s3", "sqs"))
    client.create_bucket(Bucket="bench")
    url = queues.create_queue(QueueName=queue)["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rules = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:Put"]}]}
    client.put_bucket_notification_configuration(Bucket="bench", NotificationConfiguration=rules)
    return client, queues, url


def _transport(clip: Path) -> list[float]:
    """What the queue alone takes: from the answer to a put to the answer to a long poll of boto3."""
    waits: list[float] = []
    with parts.moto_server() as address:
        client, queues, url = _bucket(address, "bare")
        for number in range(ROUNDS + 1):
            heard: list[float] = []

            def listen(heard: list[float] = heard) -> None:
                messages: list[Any] = []  # the first one is of the configuration
                while not any("Put" in message["Body"] for message in messages):
                    messages = queues.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages", [])
                heard.append(time.time())
                for message in messages:
                    queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

            thread = threading.Thread(target=listen)
            thread.start()
            time.sleep(0.2)
            client.put_object(Bucket="bench", Key=f"{number}.mp4", Body=clip.read_bytes())
            put = time.time()
            thread.join()
            waits.append(heard[0] - put)
    return waits[1:]


def _storage(clip: Path) -> list[float]:
    """What the storage alone takes: a HEAD and a GET of the object by aiobotocore, one after the other, which is what
    has to be asked of it before a film can be decoded."""

    async def ask(address: str) -> list[float]:
        waits: list[float] = []
        async with get_session().create_client("s3", endpoint_url=address, **KEYS) as client:
            for number in range(ROUNDS + 1):
                key = f"{number}.mp4"
                await client.put_object(Bucket="bench", Key=key, Body=clip.read_bytes())
                await asyncio.sleep(0.2)
                began = time.time()
                found = await client.head_object(Bucket="bench", Key=key)
                answer = await client.get_object(Bucket="bench", Key=key, IfMatch=found["ETag"])
                await answer["Body"].read()
                waits.append(time.time() - began)
        return waits

    with parts.moto_server() as address:
        _bucket(address, "bare")
        return asyncio.run(ask(address))[1:]


def _s3(root: Path, clip: Path, name: str) -> list[float]:
    """Objects in a bucket, heard of by its queue, or by a webhook that is called as soon as an object is there."""
    with parts.moto_server() as address:
        client, _, url = _bucket(address, "q")
        ours = {"endpoint_url": address, "access_key": "k", "secret_key": "s"}
        port = parts.free_port()
        hook = {"type": "webhook", "listen": f"127.0.0.1:{port}", "token": "t", "path": "/"}
        settings = {
            "storages": {"bench": {"type": "s3", "addressing": "path", **ours}},
            "sources": {"s": {"type": "sqs", "queue_url": url, **ours} if name == "sqs" else hook},
        }
        daemon = parts.Daemon(root / name, settings, [parts.workflow("bench", Trigger=TRIGGER, OutputDir="/out/")])
        data = clip.read_bytes()

        def drop(number: int) -> float:
            answer = client.put_object(Bucket="bench", Key=f"{number}.mp4", Body=data)
            moment = time.time()
            if name == "webhook":
                found = {"bucket": {"name": "bench"}, "object": {"key": f"{number}.mp4", "eTag": answer["ETag"][1:-1]}}
                record = {"eventVersion": "2.0", "eventSource": "minio:s3", "eventName": "s3:ObjectCreated:Put"}
                body = json.dumps({"Records": [{**record, "s3": found}]}).encode()
                headers = {"Authorization": "Bearer t"}
                with urlopen(Request(f"http://127.0.0.1:{port}/", body, headers)) as answered:
                    assert answered.status < 300
            return moment

        try:
            return _measure(daemon, root / f"marks-{name}", drop)
        finally:
            daemon.close()


def run(root: Path) -> list[Figure]:
    """By a rename into a folder, by a put with a notification in a queue, by a put with a call of a webhook."""
    clip = parts.make_clip(root / "clip.mp4")
    transport = statistics.median(_transport(clip)) * 1000
    storage = statistics.median(_storage(clip)) * 1000
    figures = [
        Figure("a queue alone: put answered → long poll answered", f"p50 {transport:.0f} ms"),
        Figure("the storage alone: HEAD, then GET", f"p50 {storage:.0f} ms"),
    ]
    for name, waits, own in (
        ("folder: renamed into place → ffmpeg started", _folder(root, clip), 0.0),
        ("webhook: put answered → ffmpeg started", _s3(root, clip, "webhook"), storage),
        ("SQS: put answered → ffmpeg started", _s3(root, clip, "sqs"), storage + transport),
    ):
        ordered = sorted(waits)
        middle, worst = statistics.median(ordered) * 1000, ordered[int(len(ordered) * 0.95)] * 1000
        over = middle - own
        aim = f"p50 < {50 + own:.0f} ms" if own else "p50 < 50 ms"
        figures.append(Figure(name, f"p50 {middle:.0f} ms, p95 {worst:.0f} ms", aim, over < 50))
    return figures
