"""Drop a file in a bucket, get its outputs and its events: over directories, by polling, by notifications."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import boto3
import pytest

from tests import parts

ALL_STEPS = {
    "TranscodeTaskSet": [
        {"Definition": 100010, "OverrideParameter": {"VideoTemplate": {"Codec": "h265"}}},
        {"Definition": 100210, "SegmentObjectName": "seg/{inputName}_{number}.{format}"},
        {"Definition": 1120},
        {"Definition": 875},
    ],
    "SnapshotByTimeOffsetTaskSet": [{"Definition": 10, "ExtTimeOffsetSet": ["1s", "50%"]}],
    "SampleSnapshotTaskSet": [{"Definition": 10}],
    "ImageSpriteTaskSet": [{"Definition": 200001}],
}
TEMPLATES = """
ImageSpriteTemplateSet:
  - {Definition: 200001, SampleType: Time, SampleInterval: 1, RowCount: 1, ColumnCount: 2, Width: 160, Height: 90}
"""
EXPECTED = {
    "done/my clip_transcode_100010.mp4",
    "done/my clip_transcode_100210.m3u8",
    "done/seg/my clip_0.ts",
    "done/my clip_transcode_1120.m4a",
    "done/my clip_transcode_875.mp4",
    "done/my clip_snapshotByTimeOffset_10_0.jpg",
    "done/my clip_snapshotByTimeOffset_10_1.jpg",
    *(f"done/my clip_sampleSnapshot_10_{number}.jpg" for number in range(10)),
    "done/my clip_imageSprite_200001_0.jpg",
    "done/my clip_imageSprite_200001_1.jpg",
    "done/my clip_imageSprite_200001.vtt",
}


def add_template(daemon: parts.Daemon) -> None:
    (daemon.root / "templates").mkdir(exist_ok=True)
    (daemon.root / "templates" / "own.yaml").write_text(TEMPLATES)


def check_outputs(root: Path) -> None:
    """Every output is there, nothing else is, and each is what it claims to be: seen by an independent decoder."""
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert found == EXPECTED
    done = root / "done"
    hevc = parts.probe(done / "my clip_transcode_100010.mp4")
    assert hevc["video"] == {"codec": "hevc", "frames": 75, "width": 640, "height": 360, "fps": 25.0}
    assert hevc["audio"]["codec"] == "aac"
    assert hevc["audio"]["rate"] == 44100
    assert hevc["duration"] == pytest.approx(3.0, abs=0.1)
    hls = parts.probe(local_playlist(done / "my clip_transcode_100210.m3u8"))
    assert hls["video"]["codec"] == "h264"
    assert hls["video"]["frames"] == 75
    sound = parts.probe(done / "my clip_transcode_1120.m4a")
    assert sound["video"] is None
    assert sound["audio"]["codec"] == "aac"
    copy = parts.probe(done / "my clip_transcode_875.mp4")
    assert copy["video"] == {"codec": "h264", "frames": 75, "width": 320, "height": 180, "fps": 25.0}
    picture = parts.probe(done / "my clip_snapshotByTimeOffset_10_1.jpg")
    assert (picture["video"]["width"], picture["video"]["height"]) == (320, 180)
    sheet = parts.probe(done / "my clip_imageSprite_200001_0.jpg")
    assert (sheet["video"]["width"], sheet["video"]["height"]) == (320, 90)
    check_vtt(done / "my clip_imageSprite_200001.vtt")


def local_playlist(path: Path) -> Path:
    """A copy with decoded names: in a playlist they are URIs, and a demuxer of local files takes them literally."""
    lines = path.read_text().splitlines()
    copy = path.parents[2] / "local.m3u8"
    names = [line if line.startswith("#") else str(path.parent / unquote(line)) for line in lines]
    copy.write_text("\n".join(names) + "\n")
    return copy


def check_vtt(path: Path) -> None:
    """Cues follow each other without a gap, and each names a tile inside a sheet that exists."""
    blocks = path.read_text().strip().split("\n\n")
    assert blocks[0] == "WEBVTT"
    cues = [block.split("\n") for block in blocks[1:]]
    assert [times for times, _ in cues] == [
        "00:00:00.000 --> 00:00:01.000",
        "00:00:01.000 --> 00:00:02.000",
        "00:00:02.000 --> 00:00:03.000",
    ]
    places = [place.rpartition("#xywh=") for _, place in cues]
    assert [area for _, _, area in places] == ["0,0,160,90", "160,0,160,90", "0,0,160,90"]
    for name, _, _ in places:
        assert (path.parent / unquote(name)).is_file()


def check_event(event: dict[str, Any], key: str) -> None:
    """The MPS event body, as a client reads it."""
    assert event["EventType"] == "WorkflowTask"
    task = event["WorkflowTaskEvent"]
    assert (task["Status"], task["ErrCode"]) == ("FINISH", 0)
    place = task["InputInfo"]["CosInputInfo"] or task["InputInfo"]["S3InputInfo"]
    assert place.get("Object", place.get("S3Object")) == f"/{key}"
    assert task["MetaData"]["Width"] == 320
    kinds = [result["Type"] for result in task["MediaProcessResultSet"]]
    assert kinds == ["Transcode"] * 4 + ["SnapshotByTimeOffset", "SampleSnapshot", "ImageSprites"]
    for result in task["MediaProcessResultSet"]:
        (member,) = [value for name, value in result.items() if name != "Type" and value is not None]
        assert member["Status"] == "SUCCESS"
        assert member["ErrCodeExt"] == ""
    assert task["MediaProcessResultSet"][0]["TranscodeTask"]["Output"]["Path"] == "/done/my clip_transcode_100010.mp4"


class Subscriber:
    """A real MQTT client that keeps what it gets."""

    def __init__(self, port: int, topic: str) -> None:
        import paho.mqtt.client as mqtt

        self.messages: list[tuple[str, dict[str, Any]]] = []
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _c, _u, message: self.messages.append(
            (message.topic, json.loads(message.payload))
        )
        self._client.connect("127.0.0.1", port)
        subscribed: list[bool] = []
        self._client.on_subscribe = lambda *_: subscribed.append(True)
        self._client.loop_start()
        self._client.subscribe(topic, qos=1)
        parts.wait_for(lambda: subscribed, what="the subscription")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_directories_with_mqtt_and_callbacks(
    daemon: Callable[..., parts.Daemon],
    folders: dict[str, Any],
    tmp_path: Path,
    clip: Path,
    receiver: parts.HttpReceiver,
) -> None:
    """A clip dropped into a directory: outputs in the other one, an event at the broker and one at the callback."""
    with parts.mosquitto(tmp_path) as port:
        subscriber = Subscriber(port, "events/#")
        notify = {"NotifyType": "URL", "NotifyUrl": f"{receiver.url}/mps", "NotifyKey": "s3cret"}
        service = daemon(
            folders
            | {
                "notifiers": {
                    "broker": {
                        "type": "mqtt",
                        "host": "127.0.0.1",
                        "port": port,
                        "topic": "events/{workflow}/{task_id}",
                    }
                }
            },
            parts.workflow(
                "inbox-1250000000",
                OutputStorage={"Type": "COS", "CosOutputStorage": {"Bucket": "outbox-1250000000"}},
                OutputDir="/done/",
                MediaProcessTask=ALL_STEPS,
                TaskNotifyConfig=notify,
            ),
        )
        add_template(service)
        service.start()
        (tmp_path / "inbox" / "up").mkdir()
        shutil.copy(clip, tmp_path / "inbox" / "up" / "my clip.mp4")
        (task,) = service.finished(1)
        assert not task["failed"], task
        check_outputs(tmp_path / "outbox")
        parts.wait_for(lambda: subscriber.messages and receiver.requests, what="both events")
        subscriber.close()
        assert service.stop() == 0
    (topic, event), (request,) = subscriber.messages[0], receiver.requests
    assert topic == f"events/clips/{task['task_id']}"
    check_event(event, "up/my clip.mp4")
    check_event(request.event, "up/my clip.mp4")
    assert request.path == "/mps"
    assert request.headers["X-Watcher-Event-Id"] == event["EventId"] == request.event["EventId"]
    assert "Sign" in request.event
    assert "Sign" not in event
    assert not list((service.root / "work").iterdir())


def s3(address: str, service: str = "s3") -> Any:
    return boto3.client(
        service, endpoint_url=address, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )


def s3_settings(address: str, *buckets: str) -> dict[str, Any]:
    keys = {"endpoint_url": address, "access_key": "k", "secret_key": "s", "addressing": "path"}
    return {"storages": {bucket: {"type": "s3", **keys} for bucket in buckets}}


def s3_workflow(bucket: str, out: str) -> dict[str, Any]:
    rule = {"S3Bucket": bucket, "S3Region": "us-east-1", "Dir": "/up/", "Formats": ["mp4"]}
    return parts.workflow(
        bucket,
        Trigger={"Type": "AwsS3FileUpload", "AwsS3FileUploadTrigger": rule},
        OutputStorage={"Type": "AWS-S3", "S3OutputStorage": {"S3Bucket": out, "S3Region": "us-east-1"}},
        OutputDir="/done/",
        MediaProcessTask=ALL_STEPS,
    )


def download(client: Any, bucket: str, target: Path) -> None:
    for entry in client.list_objects_v2(Bucket=bucket).get("Contents", []):
        path = target / entry["Key"]
        path.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(bucket, entry["Key"], str(path))


def test_s3_by_polling(
    daemon: Callable[..., parts.Daemon], moto: str, tmp_path: Path, clip: Path, receiver: parts.HttpReceiver
) -> None:
    """A clip put into a bucket is found by listing; what was there before the first sweep starts nothing."""
    client = s3(moto)
    for bucket in ("poll-in", "poll-out"):
        client.create_bucket(Bucket=bucket)
    client.upload_file(str(clip), "poll-in", "up/old.mp4")
    time.sleep(2.1)  # listings tell times in whole seconds: what is younger than two may be new, and is taken as new
    settings = s3_settings(moto, "poll-in", "poll-out")
    settings["sources"] = {"sweep": {"type": "s3_poll", "storage": "poll-in", "interval": "300ms"}}
    settings["notifiers"] = {"hook": {"type": "webhook", "url": receiver.url}}
    service = daemon(settings, s3_workflow("poll-in", "poll-out"))
    add_template(service)
    service.start()
    parts.wait_for(lambda: service.query("select * from sources"), what="the first sweep")
    client.upload_file(str(clip), "poll-in", "up/my clip.mp4")
    client.upload_file(str(clip), "poll-in", "elsewhere/not.mp4")
    (task,) = service.finished(1)
    assert not task["failed"], task
    download(client, "poll-out", tmp_path / "got")
    check_outputs(tmp_path / "got")
    parts.wait_for(lambda: receiver.requests, what="the event")
    check_event(receiver.requests[0].event, "up/my clip.mp4")
    marker = client.head_object(Bucket="poll-out", Key="done/my clip_transcode_875.mp4")["Metadata"]
    assert marker == {"watcher-lineage": "10001", "watcher-task": task["task_id"]}
    assert service.query("select count(*) from tasks") == [(1,)]


def test_s3_by_notifications(
    daemon: Callable[..., parts.Daemon], moto: str, tmp_path: Path, clip: Path, receiver: parts.HttpReceiver
) -> None:
    """Multipart uploads notify twice, other keys notify too: one task, and an empty queue in the end."""
    client, queues = s3(moto), s3(moto, "sqs")
    for bucket in ("sqs-in", "sqs-out"):
        client.create_bucket(Bucket=bucket)
    queue = queues.create_queue(QueueName="events")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client.put_bucket_notification_configuration(
        Bucket="sqs-in",
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    settings = s3_settings(moto, "sqs-in", "sqs-out")
    keys = {"endpoint_url": moto, "access_key": "k", "secret_key": "s"}
    settings["sources"] = {"events": {"type": "sqs", "queue_url": queue, **keys}}
    settings["notifiers"] = {"hook": {"type": "webhook", "url": receiver.url}}
    service = daemon(settings, s3_workflow("sqs-in", "sqs-out"))
    add_template(service)
    service.start()
    client.put_object(Bucket="sqs-in", Key="up/notes.txt", Body=b"no video")
    multipart = boto3.s3.transfer.TransferConfig(multipart_threshold=1, multipart_chunksize=5 * 1024 * 1024)
    client.upload_file(str(clip), "sqs-in", "up/my clip.mp4", Config=multipart)
    (task,) = service.finished(1)
    assert not task["failed"], task
    download(client, "sqs-out", tmp_path / "got")
    check_outputs(tmp_path / "got")
    parts.wait_for(lambda: receiver.requests, what="the event")
    check_event(receiver.requests[0].event, "up/my clip.mp4")

    def left() -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    parts.wait_for(lambda: left() == 0, what="the queue to be empty")
    assert service.query("select count(*) from tasks") == [(1,)]


def test_an_event_for_each_change(
    daemon: Callable[..., parts.Daemon],
    folders: dict[str, Any],
    tmp_path: Path,
    clip: Path,
    receiver: parts.HttpReceiver,
) -> None:
    """With NotifyMode Change each sub-task's change is told, in order, and the end comes last."""
    steps = {
        "TranscodeTaskSet": [{"Definition": 875}, {"Definition": 424242}],
        "SampleSnapshotTaskSet": [{"Definition": 10}],
    }
    notify = {"NotifyType": "URL", "NotifyUrl": receiver.url, "NotifyMode": "Change"}
    service = daemon(
        folders, parts.workflow("inbox-1250000000", OutputDir="/o/", MediaProcessTask=steps, TaskNotifyConfig=notify)
    )
    service.start()
    shutil.copy(clip, tmp_path / "inbox" / "a.mp4")
    service.finished(1)
    parts.wait_for(lambda: len(receiver.requests) == 3, what="three events")
    told = []
    for request in receiver.requests:
        task = request.event["WorkflowTaskEvent"]
        members = [next(v for k, v in r.items() if k != "Type" and v) for r in task["MediaProcessResultSet"]]
        told.append((task["Status"], [member["Status"] for member in members]))
    assert told == [
        ("PROCESSING", ["SUCCESS", "FAIL", "PROCESSING"]),
        ("PROCESSING", ["SUCCESS", "FAIL", "SUCCESS"]),
        ("FINISH", ["SUCCESS", "FAIL", "SUCCESS"]),
    ]
    assert len({request.event["EventId"] for request in receiver.requests}) == 3
