"""kill -9 at the worst moments: nothing is lost, nothing is done twice, nothing is left lying about."""

from __future__ import annotations

import random
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3

from tests import parts

DIE = "import os, signal\nasync def die(*_a, **_k): os.kill(os.getpid(), signal.SIGKILL)\n"


def strays(root: Path) -> list[str]:
    """Files that nobody should ever see."""
    return [str(path) for path in root.rglob("*") if path.name.endswith(".watcher-part")]


def transcode(**changes: Any) -> dict[str, Any]:
    return parts.workflow(
        "inbox-1250000000",
        OutputStorage={"Type": "COS", "CosOutputStorage": {"Bucket": "outbox-1250000000"}},
        MediaProcessTask={"TranscodeTaskSet": [{"Definition": 100030}, {"Definition": 100010}]},
        **changes,
    )


def test_killed_in_the_middle_of_a_transcode(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path, long_clip: Path
) -> None:
    """ffmpeg dies with the daemon; after the restart there is one task with all its outputs."""
    service = daemon(folders, transcode())
    service.start()
    shutil.copy(long_clip, tmp_path / "inbox" / "film.mp4")
    work = service.root / "work"
    parts.wait_for(lambda: any(path.stat().st_size for path in work.rglob("main.mp4")), what="ffmpeg to write")
    assert parts.ffmpegs(work)
    service.kill()
    parts.wait_for(lambda: not parts.ffmpegs(work), 5, "ffmpeg to die with the daemon")
    assert service.query("select status from tasks") == [("PROCESSING",)]

    service.start()
    (task,) = service.finished(1, timeout=120)
    assert not task["failed"], task
    assert task["attempts"] == 2
    assert service.query("select count(*) from tasks") == [(1,)]
    outputs = sorted(path.name for path in (tmp_path / "outbox").rglob("*") if path.is_file())
    assert outputs == ["film_transcode_100010.mp4", "film_transcode_100030.mp4"]
    assert parts.probe(tmp_path / "outbox" / "film_transcode_100030.mp4")["video"]["frames"] == 1000
    assert not list(work.iterdir())
    assert service.stop() == 0


def test_killed_while_an_output_is_published(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path, clip: Path
) -> None:
    """The half-published file is removed at the next start, and the task runs again."""
    service = daemon(folders, parts.workflow("inbox-1250000000", OutputDir="/done/"))
    fault = DIE + "from watcher.storage import local\nkill = lambda *_: os.kill(os.getpid(), 9)\n"
    fault += "local.LocalStorage._publish = staticmethod(kill)\n"
    service.start(fault=fault)
    shutil.copy(clip, tmp_path / "inbox" / "a.mp4")
    service.process.wait(30)
    assert strays(tmp_path / "inbox")

    service.start()
    (task,) = service.finished(1)
    assert not task["failed"], task
    assert not strays(tmp_path)
    assert (tmp_path / "inbox" / "done" / "a_snapshotByTimeOffset_10_0.jpg").is_file()


def test_killed_between_the_end_of_a_task_and_its_event(
    daemon: Callable[..., parts.Daemon],
    folders: dict[str, Any],
    tmp_path: Path,
    clip: Path,
    receiver: parts.HttpReceiver,
) -> None:
    """The event waits in the outbox and goes out after the restart, the task does not run again."""
    settings = folders | {"notifiers": {"hook": {"type": "webhook", "url": receiver.url}}}
    service = daemon(settings, parts.workflow("inbox-1250000000", OutputDir="/done/"))
    service.start(fault=DIE + "from watcher.notifiers import webhook\nwebhook.WebhookNotifier.publish = die\n")
    shutil.copy(clip, tmp_path / "inbox" / "a.mp4")
    service.process.wait(30)
    assert service.query("select status, attempts from tasks") == [("FINISH", 1)]
    assert not receiver.requests

    service.start()
    parts.wait_for(lambda: receiver.requests, what="the event")
    assert receiver.requests[0].event["WorkflowTaskEvent"]["Status"] == "FINISH"
    assert service.query("select status, attempts from tasks") == [("FINISH", 1)]


def test_killed_between_publish_and_mark(
    daemon: Callable[..., parts.Daemon],
    folders: dict[str, Any],
    tmp_path: Path,
    clip: Path,
    receiver: parts.HttpReceiver,
) -> None:
    """The event is sent twice then, with the same id."""
    settings = folders | {"notifiers": {"hook": {"type": "webhook", "url": receiver.url}}}
    service = daemon(settings, parts.workflow("inbox-1250000000", OutputDir="/done/"))
    service.start(fault=DIE + "from watcher.state import outbox\noutbox.Outbox.delivered = die\n")
    shutil.copy(clip, tmp_path / "inbox" / "a.mp4")
    service.process.wait(30)
    service.start()
    parts.wait_for(lambda: len(receiver.requests) == 2, what="the second delivery")
    first, second = (request.headers["X-Watcher-Event-Id"] for request in receiver.requests)
    assert first == second


def test_killed_between_commit_and_acknowledge(daemon: Callable[..., parts.Daemon], moto: str, clip: Path) -> None:
    """The message comes again after the restart; it is a duplicate, and there is one task."""
    keys: dict[str, Any] = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    client, queues = (boto3.client(name, endpoint_url=moto, **keys) for name in ("s3", "sqs"))
    client.create_bucket(Bucket="kill-in")
    queue = queues.create_queue(QueueName="kill")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client.put_bucket_notification_configuration(
        Bucket="kill-in",
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:Put"]}]},
    )
    queues.purge_queue(QueueUrl=queue)  # of the test event, whose deletion would be the first to die at
    ours = {"endpoint_url": moto, "access_key": "k", "secret_key": "s"}
    settings = {
        "storages": {"kill-in": {"type": "s3", "addressing": "path", **ours}},
        "sources": {"events": {"type": "sqs", "queue_url": queue, "visibility_timeout": 10, **ours}},
        "executor": {"type": "embedded", "slots": 0},
    }
    rule = {"S3Bucket": "kill-in", "S3Region": "us-east-1", "Formats": ["mp4"]}
    body = parts.workflow(
        "kill-in", Trigger={"Type": "AwsS3FileUpload", "AwsS3FileUploadTrigger": rule}, OutputDir="/done/"
    )
    service = daemon(settings, body)
    service.start(fault=DIE + "from watcher.sources import sqs\nsqs._Deletions._delete = die\n")
    client.put_object(Bucket="kill-in", Key="a.mp4", Body=clip.read_bytes())
    service.process.wait(30)
    assert service.query("select count(*) from tasks") == [(1,)]

    service.write_settings(settings | {"executor": {"type": "embedded", "slots": 1}})
    service.start()
    (task,) = service.finished(1)
    assert not task["failed"], task

    def left() -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    parts.wait_for(lambda: left() == 0, 60, "the message to be delivered again and deleted")
    assert service.query("select count(*) from tasks") == [(1,)]


def test_terminated_while_a_task_runs(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path, long_clip: Path
) -> None:
    """SIGTERM waits no longer than the drain, puts the task back without counting the attempt, and leaves no file."""
    service = daemon(folders | {"drain": "200ms"}, transcode())
    service.start()
    shutil.copy(long_clip, tmp_path / "inbox" / "film.mp4")
    work = service.root / "work"
    parts.wait_for(lambda: any(path.stat().st_size for path in work.rglob("main.mp4")), what="ffmpeg to write")
    assert service.stop(timeout=15) == 0
    assert service.query("select status, attempts from tasks") == [("WAITING", 0)]
    assert not list(work.iterdir())
    assert not parts.ffmpegs(work)


def test_killed_again_and_again(
    daemon: Callable[..., parts.Daemon],
    folders: dict[str, Any],
    tmp_path: Path,
    clip: Path,
    receiver: parts.HttpReceiver,
) -> None:
    """Files keep arriving while the service is killed at random: one task each, with its outputs and its event."""
    settings = folders | {
        "notifiers": {"hook": {"type": "webhook", "url": receiver.url}},
        "executor": {"type": "embedded", "slots": 2},
    }
    steps = {"TranscodeTaskSet": [{"Definition": 875}], "SampleSnapshotTaskSet": [{"Definition": 10}]}
    service = daemon(settings, parts.workflow("inbox-1250000000", OutputDir="/out/", MediaProcessTask=steps))
    chance = random.Random(20261121)
    inbox, names = tmp_path / "inbox", [f"{number}.mp4" for number in range(24)]
    service.start()
    for number, name in enumerate(names):
        shutil.copy(clip, inbox / name)
        if number % 4 == 3:
            parts.time.sleep(chance.uniform(0.0, 0.6))
            service.kill()
            service.start()
    tasks = service.finished(len(names), timeout=120)
    assert sorted(task["key"] for task in tasks) == sorted(names)
    assert [task["key"] for task in tasks if task["failed"]] == []
    assert service.query("select count(*) from tasks") == [(len(names),)]
    assert not strays(tmp_path)
    outputs = {path.name for path in (inbox / "out").iterdir()}
    assert len(outputs) == 11 * len(names)

    def told() -> set[str]:
        return {request.event["WorkflowTaskEvent"]["TaskId"] for request in receiver.requests}

    parts.wait_for(lambda: told() == {task["task_id"] for task in tasks}, what="an event for each task")
    ids: dict[str, set[str]] = {}
    for request in receiver.requests:
        ids.setdefault(request.event["WorkflowTaskEvent"]["TaskId"], set()).add(request.event["EventId"])
    assert all(len(found) == 1 for found in ids.values())
    assert service.stop() == 0
    assert not list((service.root / "work").iterdir())


def test_killed_while_an_output_is_sent(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path, moto: str
) -> None:
    """Half of a growing file is in the far storage: after the restart it is whole, and no upload is left open."""
    name = f"sent-{uuid.uuid4().hex[:8]}-1250000000"
    client = boto3.client(
        "s3", endpoint_url=moto, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    client.create_bucket(Bucket=name)
    far = {"type": "s3", "region": "us-east-1", "endpoint_url": moto, "access_key": "k", "secret_key": "s"}
    settings = folders | {"storages": folders["storages"] | {name: far | {"addressing": "path"}}}
    video = {"Codec": "h264", "Mode": "CBR", "Bitrate": 30_000}
    raw = {"Container": "mp4", "VideoTemplate": video, "RemoveAudio": 1}
    service = daemon(
        settings,
        parts.workflow(
            "inbox-1250000000",
            OutputStorage={"Type": "AWS-S3", "S3OutputStorage": {"S3Bucket": name}},
            MediaProcessTask={"TranscodeTaskSet": [{"Definition": 0, "RawParameter": raw}]},
        ),
    )
    small = "from watcher.storage import s3\ns3.PART = 5 * 1024 * 1024\n"
    small += "from watcher.media import growing\ngrowing.INTERVAL = 0.05\n"
    # It dies when the first part has arrived, which is the second of the file.
    dying = small + DIE + "send = s3.S3Upload._send_part\n"
    dying += "async def once(self, path, number):\n    await send(self, path, number)\n    await die()\n"
    service.start(fault=dying + "s3.S3Upload._send_part = once\n")
    parts.make_clip(tmp_path / "inbox" / "a.mp4", seconds=12, size="640x360")
    service.process.wait(60)
    assert client.list_multipart_uploads(Bucket=name).get("Uploads"), "it died before anything was sent"
    assert not client.list_objects_v2(Bucket=name).get("Contents")

    service.start(fault=small)
    (task,) = service.finished(1)
    assert not task["failed"], task
    (found,) = client.list_objects_v2(Bucket=name)["Contents"]
    client.download_file(name, found["Key"], str(tmp_path / "got.mp4"))
    assert parts.probe(tmp_path / "got.mp4")["video"]["frames"] == 300
    assert not client.list_multipart_uploads(Bucket=name).get("Uploads")
