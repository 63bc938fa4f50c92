"""What an operator asks at three in the morning: why did this object not start, and what was that message?"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests import parts

KEYS: dict[str, Any] = {"region_name": "us-east-1", "aws_access_key_id": "k", "aws_secret_access_key": "s"}


def watcher(daemon: parts.Daemon, *arguments: str) -> tuple[int, str]:
    """Exit status and output of a command, on one line."""
    command = [sys.executable, "-m", "watcher", *arguments, "--config", str(daemon.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def record(key: str, bucket: str) -> dict[str, Any]:
    return {
        "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key}},
    }  # fmt: skip


def test_strange_messages_are_kept_and_read_again(tmp_path: Path, moto: str, clip: Path) -> None:
    """Acknowledged only once it is kept; shown as it came; read again when the settings know its bucket."""
    s3, sqs = (boto3.client(name, endpoint_url=moto, **KEYS) for name in ("s3", "sqs"))
    for bucket in ("why-a", "why-b"):
        s3.create_bucket(Bucket=bucket)
    queue = sqs.create_queue(QueueName="why")["QueueUrl"]
    access = {"endpoint_url": moto, "region": "us-east-1", "access_key": "k", "secret_key": "s"}
    settings: dict[str, Any] = {
        "storages": {"why-a": {"type": "s3", **access}},
        "sources": {"q": {"type": "sqs", "queue_url": queue, **access}},
    }

    def rule(bucket: str) -> dict[str, Any]:
        return {"Type": "AwsS3FileUpload", "AwsS3FileUploadTrigger": {"S3Bucket": bucket, "S3Region": "us-east-1"}}

    first = parts.workflow("why-a", OutputDir="/out/", Trigger=rule("why-a"))
    daemon = parts.Daemon(tmp_path / "daemon", settings, [first])
    daemon.start()
    try:
        s3.put_object(Bucket="why-b", Key="in/x.mp4", Body=clip.read_bytes())
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"Records": [record("in/x.mp4", "why-b")]}))
        sqs.send_message(QueueUrl=queue, MessageBody="what is this?")
        parts.wait_for(lambda: daemon.query("select count(*) from quarantine")[0][0] == 2)
        attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

        def left() -> int:
            found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=attributes)["Attributes"]
            return sum(int(value) for value in found.values())

        parts.wait_for(lambda: left() == 0, 20, "the messages to be deleted")
        status, text = watcher(daemon, "quarantine", "list")
        assert status == 0
        assert "no storage for the bucket 'why-b'" in text
        assert "the message is not JSON" in text
        rows = {reason: seq for seq, reason in daemon.query("select seq, reason from quarantine")}
        other = next(seq for reason, seq in rows.items() if "why-b" in reason)
        nonsense = next(seq for reason, seq in rows.items() if "JSON" in reason)
        assert "what is this?" in watcher(daemon, "quarantine", "show", str(nonsense))[1]
        assert watcher(daemon, "quarantine", "retry", str(nonsense))[0] == 1
        assert "no message 99" in watcher(daemon, "quarantine", "show", "99")[1]
        assert watcher(daemon, "quarantine", "retry", str(other))[0] == 1
        daemon.stop()
        settings["storages"]["why-b"] = {"type": "s3", **access}
        daemon.write_settings(settings)
        daemon.write_workflow(
            "b.yaml", parts.workflow("why-b", WorkflowName="b", OutputDir="/out/", Trigger=rule("why-b"))
        )
        daemon.start()
        status, text = watcher(daemon, "quarantine", "retry", str(other))
        assert (status, "1 objects, 1 tasks" in text) == (0, True), text
        (task,) = daemon.finished(1)
        assert (task["key"], task["failed"]) == ("in/x.mp4", 0)
        assert daemon.query("select seq from quarantine") == [(nonsense,)]
        assert "matches" in watcher(daemon, "explain", "why-b/in/x.mp4")[1]
    finally:
        daemon.close()


@pytest.mark.parametrize("running", [True, False])
def test_explain(running: bool, tmp_path: Path, clip: Path) -> None:
    """Each reason that an object may have for starting nothing, in words; and what it started."""
    root = tmp_path / "in"
    root.mkdir()
    (root / "before.mp4").write_bytes(clip.read_bytes())
    settings = {
        "storages": {"in": {"type": "local", "root": str(root)}},
        "sources": {"s": {"type": "folder", "storage": "in"}},
    }
    body = parts.workflow("in", OutputDir="/out/")
    other = parts.workflow("in", WorkflowName="other", Enabled=False, OutputDir="/out/")
    daemon = parts.Daemon(tmp_path / "daemon", settings, [body, other])
    daemon.start()
    try:
        (root / "a.mp4").write_bytes(clip.read_bytes())
        (root / "b.txt").write_text("no film")
        daemon.finished(1)
        parts.wait_for(lambda: daemon.query("select count(*) from ledger")[0][0] >= 4, 20)
        if not running:
            daemon.stop()
        status, text = watcher(daemon, "explain", "in/a.mp4")
        assert status == 0
        assert "it was heard of" in text
        assert "clips matches" in text
        assert "other does not match: it is not enabled" in text
        assert "FINISH" in text
        assert ("no service is running" in text) is not running
        status, text = watcher(daemon, "explain", "in/b.txt")
        assert status == 1
        assert "clips does not match: Formats: txt among" in text
        assert "no task was ever made of it" in text
        text = watcher(daemon, "explain", "in/before.mp4")[1]
        assert "it was there before the source looked" in text
        (made,) = (root / "out").iterdir()
        text = watcher(daemon, "explain", f"in/out/{made.name}")[1]
        assert "watcher wrote it" in text
        assert "there is no such object now" in watcher(daemon, "explain", "in/gone.mp4")[1]
        assert "is no object of a storage" in watcher(daemon, "explain", "nowhere/x.mp4")[1]
    finally:
        daemon.close()


@dataclass
class Night:
    """A bucket with three old objects that tells nobody, a queue, and a service that is not started yet."""

    daemon: parts.Daemon
    s3: Any
    bucket: str
    port: int

    def enable(self) -> None:
        """Switch the workflow on, and wait for the first sweep."""
        watcher(self.daemon, "workflows", "enable", "thumbs")
        parts.wait_for(lambda: self.daemon.query("select count(*) from ledger")[0][0] == 3, 40, "the first sweep")


@pytest.fixture
def night(tmp_path: Path, moto: str, clip: Path, receiver: parts.HttpReceiver) -> Iterator[Night]:
    s3, sqs = (boto3.client(name, endpoint_url=moto, **KEYS) for name in ("s3", "sqs"))
    bucket, port = f"night-{uuid.uuid4().hex[:8]}", parts.free_port()
    s3.create_bucket(Bucket=bucket)
    queue = sqs.create_queue(QueueName=bucket)["QueueUrl"]
    for number in range(3):
        s3.put_object(Bucket=bucket, Key=f"in/old-{number}.mp4", Body=clip.read_bytes())
    access = {"endpoint_url": moto, "region": "us-east-1", "access_key": "k", "secret_key": "s"}
    settings: dict[str, Any] = {
        "storages": {"night": {"type": "s3", "bucket": bucket, **access}},
        "sources": {"q": {"type": "sqs", "queue_url": queue, **access}},
        "notifiers": {"hook": {"type": "webhook", "url": receiver.url, "format": "cloudevents"}},
        "discovery": {"sweep_interval": 1},
        "metrics": {"listen": f"127.0.0.1:{port}"},
    }
    bucket_of = {"S3Bucket": "night", "S3Region": "us-east-1", "Dir": "/in/"}
    rule = {"Type": "AwsS3FileUpload", "AwsS3FileUploadTrigger": bucket_of}
    body = parts.workflow("night", WorkflowName="thumbs", OutputDir="/out/", Trigger=rule, Enabled=False)
    daemon = parts.Daemon(tmp_path / "daemon", settings, [body])
    yield Night(daemon, s3, bucket, port)
    daemon.close()


def test_objects_that_were_there_before(night: Night) -> None:
    """Counted, explained, and started when it is asked for: one, all that have no task, those of a time."""
    daemon = night.daemon
    status, said = watcher(daemon, "dry-run", "thumbs")
    assert status == 0
    assert "3 objects listed, 3 match thumbs" in said
    time.sleep(2.1)  # stores tell times in whole seconds
    daemon.start()
    night.enable()
    status, said = watcher(daemon, "explain", "night/in/old-0.mp4")
    assert status == 1
    assert "was there before the source looked" in said
    status, said = watcher(daemon, "replay", "night/in/old-0.mp4")
    assert (status, "1 objects listed, 1 tasks" in said) == (0, True), said
    daemon.finished(1)
    status, said = watcher(daemon, "replay", "night/in/", "--missing", "--workflow", "thumbs")
    assert "2 tasks" in said, said
    daemon.finished(3)
    assert watcher(daemon, "replay", "night/in/", "--since", "2100-01-01")[0] == 1
    assert "is no time" in watcher(daemon, "replay", "night/in/", "--since", "yesterday")[1]
    status, said = watcher(daemon, "workflows", "enable", "thumbs", "--existing", "preview")
    assert "3 has a task already" in said
    watcher(daemon, "workflows", "disable", "thumbs")
    assert "is not enabled" in watcher(daemon, "replay", "night/in/", "--workflow", "thumbs")[1]
    daemon.stop()
    status, said = watcher(daemon, "replay", "night")
    assert status == 1, "nothing is enabled, so nothing matches"


def test_a_bucket_that_does_not_tell(night: Night, clip: Path, receiver: parts.HttpReceiver) -> None:
    """It is noticed and mended; and an event that was refused is shown, and sent again."""
    daemon = night.daemon
    receiver.answers = [400]
    time.sleep(2.1)
    daemon.start()
    night.enable()
    assert "nothing is told to the queue" in watcher(daemon, "check")[1]
    status, said = watcher(daemon, "check", "--apply")
    assert (status, "configured now" in said) == (0, True), said
    assert "buckets tell of what enabled workflows wait for" in watcher(daemon, "check")[1]
    for number in range(2):
        night.s3.put_object(Bucket=night.bucket, Key=f"in/new-{number}.mp4", Body=clip.read_bytes())
    daemon.finished(2)
    parts.wait_for(lambda: len(receiver.requests) >= 2, 20)
    parts.wait_for(lambda: 'watcher_task_events{status="DEAD"} 1.0' in metrics(night.port), 20)
    assert "dead" in watcher(daemon, "events", "list")[1]
    assert "1 events are sent again" in watcher(daemon, "events", "retry")[1]
    parts.wait_for(lambda: len(receiver.requests) >= 3, 20)
    event = json.loads(receiver.requests[-1].body)
    assert (event["specversion"], event["type"]) == ("1.0", "watcher.WorkflowTask")
    assert receiver.requests[-1].headers["Content-Type"] == "application/cloudevents+json"
    assert watcher(daemon, "events", "retry")[0] == 1
    found = metrics(night.port)
    wanted = ('watcher_tasks{status="FINISH"} 2.0', "watcher_quarantine 0.0", 'watcher_source_up{source="q"} 1.0')
    assert [line for line in wanted if line not in found] == []
    for path in ("readyz", "healthz"):
        assert urllib.request.urlopen(f"http://127.0.0.1:{night.port}/{path}").status == 200


def metrics(port: int) -> str:
    """The page that Prometheus reads."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())
