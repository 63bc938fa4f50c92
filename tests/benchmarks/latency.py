"""From the moment a file is complete to the moment its ffmpeg starts, in a daemon of its own."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import boto3

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


def _sqs(root: Path, clip: Path) -> list[float]:
    with parts.moto_server() as address:
        keys: dict[str, Any] = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
        client, queues = (boto3.client(name, endpoint_url=address, **keys) for name in ("s3", "sqs"))
        client.create_bucket(Bucket="bench")
        url = queues.create_queue(QueueName="q")["QueueUrl"]
        arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        rules = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:Put"]}]}
        client.put_bucket_notification_configuration(Bucket="bench", NotificationConfiguration=rules)
        ours = {"endpoint_url": address, "access_key": "k", "secret_key": "s"}
        settings = {
            "storages": {"bench": {"type": "s3", "addressing": "path", **ours}},
            "sources": {"s": {"type": "sqs", "queue_url": url, **ours}},
        }
        trigger = {
            "Type": "AwsS3FileUpload",
            "AwsS3FileUploadTrigger": {"S3Bucket": "bench", "S3Region": "us-east-1", "Formats": ["mp4"]},
        }
        daemon = parts.Daemon(root / "sqs", settings, [parts.workflow("bench", Trigger=trigger, OutputDir="/out/")])
        data = clip.read_bytes()

        def drop(number: int) -> float:
            client.put_object(Bucket="bench", Key=f"{number}.mp4", Body=data)
            return time.time()

        try:
            return _measure(daemon, root / "marks-sqs", drop)
        finally:
            daemon.close()


def run(root: Path) -> list[Figure]:
    """By a rename into a folder, and by a put with a notification."""
    clip = parts.make_clip(root / "clip.mp4")
    figures = []
    for name, waits in (
        ("folder: renamed into place → ffmpeg started", _folder(root, clip)),
        ("SQS: put answered → ffmpeg started", _sqs(root, clip)),
    ):
        ordered = sorted(waits)
        worst = ordered[int(len(ordered) * 0.95)]
        figures.append(Figure(name, f"p50 {statistics.median(ordered) * 1000:.0f} ms, p95 {worst * 1000:.0f} ms"))
    return figures
