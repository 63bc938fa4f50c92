"""What an operator asks at three in the morning: why did this object not start, and what was that message?"""

from __future__ import annotations

import json
import subprocess
import sys
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
        parts.wait_for(lambda: daemon.query("select count(*) from quarantine")[0][0] == 2, 30)
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
