"""The API over a daemon: whole lives, rights, limits, schedules, inputs from outside, and what survives a kill."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from tests import parts
from tests.benchmarks.api import signed
from tests.clients import Endpoint, Fault, PythonClient
from tests.e2e.test_api_clients import SNAPSHOT, graph

IN, OUT = "in-1250000000", "out-1250000000"
ADMIN = {"secret_id": "AKIDadmin", "secret_key": "the-key-of-the-admin"}
OPERATOR = {"secret_id": "AKIDoperator", "secret_key": "the-key-of-the-operator", "rights": "operator"}
READER = {"secret_id": "AKIDreader", "secret_key": "the-key-of-the-reader", "rights": "read"}
LOCKED = {"secret_id": "AKIDlocked", "secret_key": "the-key-of-nobody-now", "rights": "none"}
NARROW = {"secret_id": "AKIDnarrow", "secret_key": "the-key-of-one-bucket", "buckets": ["in-*"]}

PAIR = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
ACCESS = {"access_key": "key", "secret_key": "secret"}


class Service:
    """A daemon with an API over two folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = parts.free_port()
        for name in ("in", "out"):
            (root / name).mkdir(parents=True)
        self.settings: dict[str, Any] = {
            "storages": {
                IN: {"type": "local", "root": str(root / "in")},
                OUT: {"type": "local", "root": str(root / "out")},
            },
            "sources": {"in": {"type": "folder", "storage": IN}},
            "notifiers": {"events": {"type": "directory", "path": str(root / "events")}},
            "api": {
                "listen": f"127.0.0.1:{self.port}",
                "credentials": [ADMIN, OPERATOR, READER, LOCKED, NARROW],
            },
        }
        self.daemon: parts.Daemon | None = None

    def start(self, *workflows: dict[str, Any]) -> PythonClient:
        """Start the daemon; returns a client with all rights."""
        self.daemon = parts.Daemon(self.root / "daemon", self.settings, list(workflows))
        self.daemon.start()
        return self.client()

    def client(self, pair: dict[str, Any] = ADMIN) -> PythonClient:
        return PythonClient(Endpoint(self.port, pair["secret_id"], pair["secret_key"]))

    def finished(self, client: PythonClient, task_id: str, timeout: float = 60) -> dict[str, Any]:
        parts.wait_for(lambda: client.call("DescribeTaskDetail", TaskId=task_id)["Status"] == "FINISH", timeout)
        return client.call("DescribeTaskDetail", TaskId=task_id)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path / "service")
    yield made
    if made.daemon is not None:
        made.daemon.close()
        assert "unexpected error" not in made.daemon.text()


def refused(client: PythonClient, action: str, **body: Any) -> str:
    with pytest.raises(Fault) as caught:
        client.call(action, **body)
    return caught.value.code


def source(key: str = "/clip.mp4") -> dict[str, Any]:
    return {"Type": "COS", "CosInputInfo": {"Bucket": IN, "Region": "r", "Object": key}}


def to(bucket: str = OUT) -> dict[str, Any]:
    return {"Type": "COS", "CosOutputStorage": {"Bucket": bucket, "Region": "r"}}


def test_the_whole_life_of_a_workflow(
    tmp_path: Path, moto: str, receiver: parts.HttpReceiver, clips: Path, clip: Path
) -> None:
    """From a template to a parsed event, over S3 buckets, uploads by two SDKs, outputs probed."""
    s3 = boto3.client("s3", endpoint_url=moto, region_name="us-east-1", **PAIR)
    for bucket in (IN, OUT):
        s3.create_bucket(Bucket=bucket)
    service = Service(tmp_path / "service")
    access = {"endpoint_url": moto, "region": "us-east-1", **ACCESS}
    service.settings["storages"] = {name: {"type": "s3", **access} for name in (IN, OUT)}
    service.settings["sources"] = {"in": {"type": "s3_poll", "storage": IN, "interval": "300ms"}}
    service.settings["outside"] = {"allow": ["127.0.0.1"]}
    client = service.start()
    assert service.daemon
    try:
        definition = client.call(
            "CreateTranscodeTemplate", Container="mp4", Name="small",
            VideoTemplate={"Codec": "h264", "Fps": 0, "Bitrate": 200, "Height": 144},
            AudioTemplate={"Codec": "aac", "Bitrate": 64, "SampleRate": 44100},
        )["Definition"]  # fmt: skip
        rule = {"Bucket": IN, "Region": "us-east-1", "Dir": "/upload/"}
        workflow = client.call(
            "CreateWorkflow", WorkflowName="life", Trigger={"Type": "CosFileUpload", "CosFileUploadTrigger": rule},
            OutputStorage=to() | {"CosOutputStorage": {"Bucket": OUT, "Region": "us-east-1"}}, OutputDir="/done/",
            MediaProcessTask={"TranscodeTaskSet": [{"Definition": definition}]},
            TaskNotifyConfig={"NotifyType": "URL", "NotifyUrl": f"{receiver.url}/hook", "NotifyKey": "k3y"},
        )["WorkflowId"]  # fmt: skip
        s3.upload_file(str(clip), IN, "upload/before.mp4")
        time.sleep(1.0)
        assert client.call("DescribeTasks", Status="FINISH")["TotalCount"] == 0  # not enabled yet
        client.call("EnableWorkflow", WorkflowId=workflow)
        _upload_by_cos(moto, clip, "upload/one.mp4")
        s3.put_object(Bucket=IN, Key="elsewhere/two.mp4", Body=clip.read_bytes())
        parts.wait_for(lambda: receiver.requests, 60, "the event")
        event = receiver.requests[0].event
        task = event["WorkflowTaskEvent"]
        parsed = client.typed("ParseNotification", Content=json.dumps(event))
        assert parsed.WorkflowTaskEvent.TaskId == task["TaskId"]
        assert parsed.WorkflowTaskEvent.MediaProcessResultSet[0].TranscodeTask.Output.Path == "/done/one_transcode_" + (
            f"{definition}.mp4"
        )
        assert parsed.Sign == event["Sign"]
        detail = client.call("DescribeTaskDetail", TaskId=task["TaskId"])
        assert detail["WorkflowTask"]["MediaProcessResultSet"][0]["TranscodeTask"]["Status"] == "SUCCESS"
        assert detail["TaskNotifyConfig"]["NotifyUrl"] == f"{receiver.url}/hook"
        assert detail["TaskNotifyConfig"]["NotifyKey"] == ""
        made = tmp_path / "made.mp4"
        s3.download_file(OUT, f"done/one_transcode_{definition}.mp4", str(made))
        assert parts.probe(made)["video"]["height"] == 144
        s3.upload_file(str(clip), IN, "upload/two.mp4")
        parts.wait_for(lambda: len(receiver.requests) == 2, 60, "the second event")
        client.call("DisableWorkflow", WorkflowId=workflow)
        s3.upload_file(str(clip), IN, "upload/after.mp4")
        time.sleep(1.0)
        client.call("DeleteWorkflow", WorkflowId=workflow)
        assert client.call("DescribeTasks", Status="FINISH")["TotalCount"] == 2
        assert client.call("DescribeTaskDetail", TaskId=task["TaskId"])["Status"] == "FINISH"
    finally:
        service.daemon.close()


def _upload_by_cos(address: str, path: Path, key: str) -> None:
    """By the SDK of COS. The server knows neither its host names nor its signatures, so it goes without both."""
    from qcloud_cos import CosConfig, CosS3Client

    config = CosConfig(Region="ap-guangzhou", Anonymous=True, Scheme="http", Domain=address.removeprefix("http://"))
    CosS3Client(config).put_object(Bucket=IN, Key=f"{IN}/{key}", Body=path.read_bytes())


def test_rights_and_buckets(service: Service, clip: Path) -> None:
    """Each key pair may do what it is for, and neither names nor sees other buckets than its own."""
    (service.root / "in" / "clip.mp4").write_bytes(clip.read_bytes())
    admin = service.start()
    operator, reader, locked, narrow = (service.client(pair) for pair in (OPERATOR, READER, LOCKED, NARROW))
    rule = {"Type": "CosFileUpload", "CosFileUploadTrigger": {"Bucket": OUT, "Region": "r"}}
    body = {"WorkflowName": "w", "Trigger": rule, "MediaProcessTask": SNAPSHOT}
    assert refused(operator, "CreateWorkflow", **body) == "UnauthorizedOperation"
    assert refused(narrow, "CreateWorkflow", **body) == "UnauthorizedOperation"
    assert refused(locked, "DescribeWorkflows") == "FailedOperation.InvalidMpsUser"
    number = admin.call("CreateWorkflow", **body)["WorkflowId"]
    assert refused(reader, "EnableWorkflow", WorkflowId=number) == "UnauthorizedOperation"
    operator.call("EnableWorkflow", WorkflowId=number)
    assert reader.call("DescribeWorkflows")["TotalCount"] == 1
    assert narrow.call("DescribeWorkflows")["TotalCount"] == 0
    assert refused(narrow, "DisableWorkflow", WorkflowId=number) == "ResourceNotFound.TemplateNotExist"
    asked = {"InputInfo": source(), "MediaProcessTask": SNAPSHOT}
    assert refused(narrow, "ProcessMedia", **asked, OutputStorage=to()) == "UnauthorizedOperation"
    hidden = {"SampleSnapshotTaskSet": [{"Definition": 10, "OutputStorage": to()}]}
    assert refused(narrow, "ProcessMedia", **asked | {"MediaProcessTask": hidden}) == "UnauthorizedOperation"
    task = operator.call("ProcessMedia", **asked, OutputDir="/o/")["TaskId"]
    service.finished(reader, task)
    assert narrow.call("DescribeTaskDetail", TaskId=task)["Status"] == "FINISH"
    # The snapshot of this one lies in the other bucket, but what decides is its source.
    other = {"Type": "COS", "CosInputInfo": {"Bucket": OUT, "Region": "r", "Object": "/absent.mp4"}}
    foreign = operator.call("ProcessMedia", **asked | {"InputInfo": other})["TaskId"]
    service.finished(reader, foreign)
    assert refused(narrow, "DescribeTaskDetail", TaskId=foreign) == "UnauthorizedOperation"
    assert refused(narrow, "ManageTask", TaskId=foreign, OperationType="Abort") == "InvalidParameterValue.TaskId"
    assert narrow.call("DescribeTasks", Status="FINISH")["TotalCount"] == 1
    assert reader.call("DescribeTasks", Status="FINISH")["TotalCount"] == 2
    assert refused(narrow, "DescribeMediaMetaData", InputInfo=other) == "UnauthorizedOperation"
    command = {"CommandTaskSet": [{"Command": ["/bin/true"]}]}
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://127.0.0.1:{service.port}/elsewhere")
    assert raw(service, "ProcessMedia", **asked | {"MediaProcessTask": command}) == "UnauthorizedOperation"
    assert raw(service, "CreateWorkflow", **body | {"WorkflowName": "x", "Enabled": True}) == "UnknownParameter"
    assert raw(service, "CreateWorkflow", **body | {"WorkflowName": "x", "Trusted": True}) == "UnknownParameter"
    assert raw(service, "DescribeWorkflows", Colour="red") == "UnknownParameter"
    assert raw(service, "DescribeWorkflows", Limit="many") == "InvalidParameter"
    assert raw(service, "DescribeWorkflows", Limit="5") == ""
    assert raw(service, "Dance") == "InvalidAction"


def raw(service: Service, action: str, **body: Any) -> str:
    """The code of a call whose body no client would send; empty when it works."""
    request = signed(service.port, action, body, ADMIN["secret_id"], ADMIN["secret_key"])
    return code_of(send(service.port, request))


def send(port: int, request: bytes, timeout: float = 20.0) -> bytes:
    """One request on a connection of its own; the answer with its head."""
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = connection.recv(65536)
            if not part:
                return answer
            answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        while len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body


def code_of(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), answer
    assert b"content-type: application/json\r\n" in head.lower() + b"\r\n"
    response = json.loads(body)["Response"]
    assert response["RequestId"]
    return str(response.get("Error", {}).get("Code", ""))


def test_limits_and_replays(service: Service) -> None:
    """So many calls a second for each key pair; and a signature that changed something is good once."""
    service.settings["api"]["limits"] = {"DescribeWorkflows": 3}
    client = service.start()
    codes = [refused_or_ok(client, "DescribeWorkflows") for _ in range(5)]
    assert codes[:3] == ["", "", ""]
    assert codes[-1] == "RequestLimitExceeded"
    assert refused_or_ok(service.client(READER), "DescribeWorkflows") == ""
    time.sleep(1.1)
    assert refused_or_ok(client, "DescribeWorkflows") == ""

    pair = ADMIN["secret_id"], ADMIN["secret_key"]
    body = {"SampleType": "Time", "SampleInterval": 1, "RowCount": 2, "ColumnCount": 3}
    request = signed(service.port, "CreateImageSpriteTemplate", body, *pair)
    asking = signed(service.port, "DescribeImageSpriteTemplates", {}, *pair)
    assert code_of(send(service.port, request)) == ""
    assert code_of(send(service.port, asking)) == ""
    time.sleep(2.2)
    assert code_of(send(service.port, asking)) == ""
    assert code_of(send(service.port, request)) == "AuthFailure.SignatureFailure"
    assert client.call("DescribeImageSpriteTemplates", Type="Custom")["TotalCount"] == 1


def refused_or_ok(client: PythonClient, action: str, **body: Any) -> str:
    try:
        client.call(action, **body)
    except Fault as fault:
        return fault.code
    return ""


def node(kind: str, *successors: int, **parameters: Any) -> dict[str, Any]:
    """One of a graph."""
    return {"ActivityType": kind, "ReardriveIndex": list(successors), "ActivityPara": parameters}


def test_schedules_run_as_graphs(service: Service, clip: Path) -> None:
    """By their trigger and by hand; branches, a node that reads what another made, and rules that choose."""
    client = service.start()
    video, audio = {"Codec": "h264", "Fps": 0, "Bitrate": 0, "Height": 144}, {"Codec": "aac", "Bitrate": 64}
    small = client.call(
        "CreateTranscodeTemplate", Container="mp4", VideoTemplate=video, AudioTemplate=audio | {"SampleRate": 44100}
    )["Definition"]
    large = {"Id": "large", "Conditions": [{"Key": "Resolution-1", "Value": ">=720"}], "RearDriveIndexs": [4]}
    both = [{"Key": "Resolution", "Value": "<720"}, {"Key": "HasAudio", "Value": "1"}]
    little = {"Id": "small", "Linker": "&&", "Conditions": both, "RearDriveIndexs": [5]}
    nodes = [
        node("input", 1, 2),
        node("action-trans", 3, TranscodeTask={"Definition": small}),
        node("action-exec-rules", 4, 5, ExecRulesTask={"Rules": [large, little]}),
        node("action-snapshotByTimeOffset", 6, SnapshotByTimeOffsetTask=SNAPSHOT["SnapshotByTimeOffsetTaskSet"][0]),
        node("action-samplesnapshot", 6, SampleSnapshotTask={"Definition": 10}),
        node("action-image-sprite", 6, ImageSpriteTask={"Definition": 10}),
        node("output"),
    ]
    rule = {"Bucket": IN, "Region": "r", "Dir": "/a/"}
    schedule = client.call(
        "CreateSchedule", ScheduleName="graph", Activities=nodes, OutputStorage=to(), OutputDir="/s/",
        Trigger={"Type": "CosFileUpload", "CosFileUploadTrigger": rule},
        TaskNotifyConfig={"NotifyType": "CMQ", "CmqModel": "Queue", "CmqRegion": "gz", "QueueName": "events"},
    )["ScheduleId"]  # fmt: skip
    client.call("EnableSchedule", ScheduleId=schedule)
    (service.root / "in" / "a").mkdir()
    (service.root / "in" / "a" / "x.mp4").write_bytes(clip.read_bytes())
    (found,) = parts.wait_for(lambda: client.call("DescribeTasks", Status="FINISH")["TaskSet"], 60)
    assert found["TaskType"] == "ScheduleTask"
    assert "-ScheduleTask-" in found["TaskId"]
    assert found["SubTaskTypes"][:2] == ["Transcode", "ExecRules"]
    detail = client.typed("DescribeTaskDetail", TaskId=found["TaskId"])
    assert detail.WorkflowTask is None
    results = detail.ScheduleTask.ActivityResultSet
    assert [item.ActivityType for item in results] == [
        "Transcode", "ExecRules", "SnapshotByTimeOffset", "ImageSprites",
    ]  # fmt: skip
    assert results[1].ActivityResItem.ExecRuleTask.Output.RearDriveIndex == [5]
    assert {member.Status for item in results for member in vars(item.ActivityResItem).values() if member} == {
        "SUCCESS"
    }
    transcoded = service.root / "out" / "s" / f"x_transcode_{small}.mp4"
    assert parts.probe(transcoded)["video"]["height"] == 144
    # The snapshot is of what the transcode made, and so is its name.
    (picture,) = results[2].ActivityResItem.SnapshotByTimeOffsetTask.Output.PicInfoSet
    assert picture.Path == f"/s/x_transcode_{small}_snapshotByTimeOffset_10_0.jpg"
    from PIL import Image

    with Image.open(service.root / "out" / picture.Path.lstrip("/")) as image:
        assert image.size == (256, 144)
    event = parts.wait_for(lambda: list((service.root / "events").glob("*")))
    told = json.loads(event[0].read_text())
    assert (told["EventType"], told["WorkflowTaskEvent"]) == ("ScheduleTask", None)
    assert told["ScheduleTaskEvent"]["TaskId"] == found["TaskId"]

    # By hand: the request's places go before the schedule's, its trigger and state play no part.
    client.call("DisableSchedule", ScheduleId=schedule)
    by_hand = client.call("ProcessMedia", InputInfo=source("/a/x.mp4"), ScheduleId=schedule, OutputDir="/hand/")
    shown = service.finished(client, by_hand["TaskId"])
    assert shown["TaskType"] == "ScheduleTask"
    assert (service.root / "out" / "hand" / f"x_transcode_{small}.mp4").is_file()
    # A graph of the request's own.
    own = client.call(
        "ProcessMedia", InputInfo=source("/a/x.mp4"), OutputStorage=to(), OutputDir="/own/", Activities=graph()
    )
    assert len(service.finished(client, own["TaskId"])["ScheduleTask"]["ActivityResultSet"]) == 2


def test_a_node_that_fails(service: Service, clip: Path) -> None:
    """Those behind it fail with it, the other branches go on."""
    (service.root / "in" / "clip.mp4").write_bytes(clip.read_bytes())
    client = service.start()
    nodes = graph()
    nodes[0]["ReardriveIndex"] = [1, 2]
    nodes[1] = node("action-trans", 4, TranscodeTask={"Definition": 899_999})
    behind = node("action-samplesnapshot", 3, SampleSnapshotTask={"Definition": 10})
    task = client.call("ProcessMedia", InputInfo=source(), OutputStorage=to(), Activities=[*nodes, behind])["TaskId"]
    shown = service.finished(client, task)["ScheduleTask"]
    found = {
        item["ActivityType"]: next(part for part in item["ActivityResItem"].values() if part)
        for item in shown["ActivityResultSet"]
    }
    assert shown["ErrCode"] == 0
    assert found["Transcode"]["ErrCodeExt"] == "InvalidInput.DefinitionNotExist"
    assert found["SampleSnapshot"]["Status"] == "FAIL"
    assert "before it failed" in found["SampleSnapshot"]["Message"]
    assert found["ImageSprites"]["Status"] == "SUCCESS"


def test_inputs_from_outside(service: Service, clip: Path, receiver: parts.HttpReceiver) -> None:
    """A URL is fetched where the settings allow it; what leads inside is refused in the result, and never asked."""
    receiver.files["/film%20one.mp4"] = clip.read_bytes()
    service.settings["outside"] = {"allow": ["localhost"]}
    client = service.start()

    def url(text: str) -> dict[str, Any]:
        return {"Type": "URL", "UrlInputInfo": {"Url": text}}

    place = receiver.url.replace("127.0.0.1", "localhost")
    asked = {"OutputStorage": to(), "OutputDir": "/web/", "MediaProcessTask": SNAPSHOT}
    assert refused(client, "ProcessMedia", InputInfo=url(f"{place}/x"), MediaProcessTask=SNAPSHOT) == "MissingParameter"
    assert refused(client, "ProcessMedia", InputInfo=url("file:///etc/passwd"), **asked) == "InvalidParameterValue"
    task = client.call("ProcessMedia", InputInfo=url(f"{place}/film%20one.mp4?token=x"), **asked)["TaskId"]
    shown = service.finished(client, task)["WorkflowTask"]
    assert shown["InputInfo"]["Type"] == "URL"
    snapshot = shown["MediaProcessResultSet"][0]["SnapshotByTimeOffsetTask"]
    assert snapshot["Output"]["PicInfoSet"][0]["Path"] == "/web/film one_snapshotByTimeOffset_10_0.jpg"
    assert client.call("DescribeMediaMetaData", InputInfo=url(f"{place}/film%20one.mp4"))["MetaData"]["Width"] == 320
    before = receiver.asked
    inside = client.call("ProcessMedia", InputInfo=url(f"{receiver.url}/film%20one.mp4"), **asked)["TaskId"]
    failed = service.finished(client, inside)["WorkflowTask"]
    assert failed["ErrCode"] == 70000
    assert "private address" in failed["Message"]
    assert receiver.asked == before
    assert refused(client, "DescribeMediaMetaData", InputInfo=url(f"{receiver.url}/film%20one.mp4")) == (
        "InvalidParameterValue.SrcFile"
    )
    # A callback of a request is guarded in the same way; one of a file on this machine is not.
    port = receiver.url.rpartition(":")[2]
    for address in (receiver.url, f"http://[::1]:{port}"):
        by_number = {"NotifyType": "URL", "NotifyUrl": f"{address}/hook"}
        code = refused(client, "ProcessMedia", InputInfo=source(), **asked, TaskNotifyConfig=by_number)
        assert code == "InvalidParameterValue"
    nobody = {"NotifyType": "CMQ", "CmqModel": "Queue", "CmqRegion": "gz", "QueueName": "nobody"}
    code = refused(client, "ProcessMedia", InputInfo=source(), **asked, TaskNotifyConfig=nobody)
    assert code == "InvalidParameterValue"
    hook = {"NotifyType": "URL", "NotifyUrl": f"http://127.1:{port}/hook"}  # a name, for all that it looks like
    (service.root / "in" / "clip.mp4").write_bytes(clip.read_bytes())
    silent = client.call("ProcessMedia", InputInfo=source(), **asked, TaskNotifyConfig=hook)["TaskId"]
    service.finished(client, silent)
    assert service.daemon
    parts.wait_for(lambda: "private address" in service.daemon.text())
    assert receiver.requests == []


def test_sessions_and_tasks_survive_a_kill(service: Service, clip: Path) -> None:
    """What was answered is there after the daemon died: workflows, templates, samples, sessions, tasks."""
    (service.root / "in" / "clip.mp4").write_bytes(clip.read_bytes())
    client = service.start()
    assert service.daemon
    definition = client.call("CreateAnimatedGraphicsTemplate", Fps=3)["Definition"]
    rule = {"Type": "CosFileUpload", "CosFileUploadTrigger": {"Bucket": IN, "Region": "r", "Dir": "/in/"}}
    asked = {"Trigger": rule, "OutputStorage": to()}
    gif = {"AnimatedGraphicTaskSet": [{"Definition": definition, "StartTimeOffset": 0, "EndTimeOffset": 1}]}
    workflow = client.call("CreateWorkflow", WorkflowName="kept", MediaProcessTask=gif, **asked)["WorkflowId"]
    client.call("EnableWorkflow", WorkflowId=workflow)
    client.call("CreateWordSamples", Usages=["All"], Words=[{"Keyword": "kept"}])
    again = {"InputInfo": source(), "MediaProcessTask": gif, "OutputStorage": to(), "SessionId": "once"}
    task = client.call("ProcessMedia", **again, TaskType="Offline")["TaskId"]
    service.daemon.kill()
    service.daemon.start()
    assert service.finished(client, task)["WorkflowTask"]["ErrCode"] == 0
    assert refused(client, "ProcessMedia", **again) == "InvalidParameterValue.SessionId"
    assert client.call("DescribeWordSamples")["TotalCount"] == 1
    assert client.call("DescribeWorkflows", Status="Enabled")["TotalCount"] == 1
    (service.root / "in" / "in").mkdir()
    (service.root / "in" / "in" / "y.mp4").write_bytes(clip.read_bytes())
    parts.wait_for(lambda: client.call("DescribeTasks", Status="FINISH")["TotalCount"] == 2, 60)
    assert (service.root / "out" / "in" / f"y_animatedGraphic_{definition}.gif").is_file()
    # A reload reads the files anew and keeps what requests made.
    service.daemon.process.send_signal(1)
    parts.wait_for(lambda: "reloaded" in service.daemon.text())
    assert client.call("DescribeWorkflows", Status="Enabled")["TotalCount"] == 1
    newer = client.call("CreateAnimatedGraphicsTemplate", Fps=4)["Definition"]
    client.call("DeleteAnimatedGraphicsTemplate", Definition=newer)
    assert client.call("CreateAnimatedGraphicsTemplate", Fps=4)["Definition"] == newer + 1  # never given twice
    for _ in range(14):
        client.call("CreateAnimatedGraphicsTemplate", Fps=4)
    assert refused(client, "CreateAnimatedGraphicsTemplate", Fps=4) == "LimitExceeded.TooMuchTemplate"


@pytest.mark.parametrize("key", ["/../outside.mp4", "/a/../../outside.mp4", "//etc/passwd", "/a\x00.mp4", "/./in.mp4"])
def test_keys_stay_in_their_storage(key: str, service: Service, clip: Path) -> None:
    """Whatever is named, nothing outside is read, and nothing is written there."""
    (service.root / "outside.mp4").write_bytes(clip.read_bytes())
    client = service.start()
    asked = {"InputInfo": source(key), "OutputStorage": to(), "MediaProcessTask": SNAPSHOT}
    try:
        task = client.call("ProcessMedia", **asked)["TaskId"]
    except Fault as fault:
        assert fault.code.startswith("InvalidParameter")
        return
    shown = service.finished(client, task)["WorkflowTask"]
    assert shown["ErrCode"] == 70000
    assert list((service.root / "out").rglob("*")) == []
    for directory in ("/../x/", "/a/../../x/", "//x/", "x/", "/./"):
        assert refused(client, "ProcessMedia", **asked, OutputDir=directory) == "InvalidParameterValue"
    up = {"SampleSnapshotTaskSet": [{"Definition": 10, "OutputObjectPath": "../up_{number}.{format}"}]}
    assert refused(client, "ProcessMedia", **asked | {"MediaProcessTask": up}) == "InvalidParameterValue"
    assert not (service.root / "up_0.jpg").exists()


def test_waiting_tasks_are_managed(service: Service, clip: Path) -> None:
    """Priorities decide, offline tasks come last, and one that waits can be ended while all slots are busy."""
    (service.root / "in" / "clip.mp4").write_bytes(clip.read_bytes())
    parts.make_clip(service.root / "in" / "long.mp4", seconds=60, size="640x360")
    service.settings["executor"] = {"type": "embedded", "slots": 1}
    service.settings["media"] = {"speed": "veryslow"}
    client = service.start()
    slow = {"TranscodeTaskSet": [{"Definition": 100020}]}
    first = client.call("ProcessMedia", InputInfo=source("/long.mp4"), OutputStorage=to(), MediaProcessTask=slow)[
        "TaskId"
    ]
    parts.wait_for(lambda: client.call("DescribeTaskDetail", TaskId=first)["Status"] == "PROCESSING")

    def queue(name: str, **more: Any) -> str:
        asked = {"InputInfo": source(), "OutputStorage": to(), "OutputDir": f"/{name}/", "MediaProcessTask": SNAPSHOT}
        return str(client.call("ProcessMedia", **asked, **more)["TaskId"])

    offline = queue("offline", TaskType="Offline", TasksPriority=10)
    low, high, raised, unwanted = queue("low"), queue("high", TasksPriority=5), queue("raised"), queue("unwanted")
    assert raw(service, "ManageTask", OperationType="SetTaskPriority", TaskId=raised, TasksPriority=9) == ""
    assert raw(service, "ManageTask", OperationType="SetTaskPriority", TaskId=raised) == "MissingParameter"
    client.call("ManageTask", OperationType="Abort", TaskId=unwanted)
    shown = service.finished(client, unwanted, 10)["WorkflowTask"]
    assert client.call("DescribeTaskDetail", TaskId=first)["Status"] == "PROCESSING"
    assert "aborted" in shown["Message"]
    assert (
        refused(client, "ManageTask", OperationType="Abort", TaskId=first) == "InvalidParameterValue.NotProcessingTask"
    )
    assert client.call("DescribeTasks", Status="WAITING")["TotalCount"] == 4
    assert service.daemon
    done = subprocess.run(
        [sys.executable, "-m", "watcher", "tasks", "abort", first, "--config", str(service.daemon.config)],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    for task in (offline, low, high, raised):
        service.finished(client, task, 60)
    began = {
        name: service.daemon.query("select begin_time from tasks where task_id = ?", task)[0][0]
        for name, task in (("offline", offline), ("low", low), ("high", high), ("raised", raised))
    }
    assert sorted(began, key=began.__getitem__) == ["raised", "high", "low", "offline"]


def test_files_and_requests_side_by_side(service: Service, clip: Path) -> None:
    """Those of files are shown and can't be changed by a request; a name is taken only once."""
    client = service.start(parts.workflow(IN, WorkflowName="of a file", OutputDir="/out/"))
    assert service.daemon
    (info,) = client.call("DescribeWorkflows")["WorkflowInfoSet"]
    assert (info["WorkflowName"], info["Status"]) == ("of a file", "Enabled")
    number = info["WorkflowId"]
    for action in ("DisableWorkflow", "DeleteWorkflow"):
        assert refused(client, action, WorkflowId=number) == "FailedOperation"
    rule = {"Type": "CosFileUpload", "CosFileUploadTrigger": {"Bucket": IN, "Region": "r"}}
    body = {"Trigger": rule, "MediaProcessTask": SNAPSHOT}
    assert refused(client, "CreateWorkflow", WorkflowName="of a file", **body) == "InvalidParameterValue"
    client.call("CreateWorkflow", WorkflowName="of a request", **body)
    # A schedule may be a file too, and a file that takes the name of a request's is refused as a whole.
    (service.daemon.root / "workflows" / "s.yaml").write_text(
        yaml.safe_dump({"ScheduleName": "of a file", "Trigger": rule, "Activities": graph(), "OutputDir": "/o/"})
    )
    service.daemon.process.send_signal(1)
    parts.wait_for(lambda: client.call("DescribeSchedules")["TotalCount"] == 1)
    service.daemon.write_workflow("taken.yaml", parts.workflow(IN, WorkflowName="of a request"))
    service.daemon.process.send_signal(1)
    parts.wait_for(lambda: "made through the API" in service.daemon.text())
    assert client.call("DescribeWorkflows")["TotalCount"] == 2
    (service.root / "in" / "x.mp4").write_bytes(clip.read_bytes())
    parts.wait_for(lambda: client.call("DescribeTasks", Status="FINISH")["TotalCount"] == 1)


def test_requests_and_the_command_line(service: Service) -> None:
    """What requests made is listed, matched and switched by the commands too."""
    client = service.start()
    assert service.daemon
    rule = {"Type": "CosFileUpload", "CosFileUploadTrigger": {"Bucket": IN, "Region": "r"}}
    number = client.call("CreateWorkflow", WorkflowName="asked", Trigger=rule, MediaProcessTask=SNAPSHOT)["WorkflowId"]

    def watcher(*arguments: str) -> str:
        command = [sys.executable, "-m", "watcher", "workflows", *arguments, "--config", str(service.daemon.config)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    assert f"request, {number}" in " ".join(watcher("list").split())
    assert "it is not enabled" in watcher("match", f"{IN}/a.mp4")
    assert "in the state; the running service reads it now" in " ".join(watcher("enable", "asked").split())
    parts.wait_for(lambda: client.call("DescribeWorkflows", Status="Enabled")["TotalCount"] == 1)
    assert "asked would start" in watcher("match", f"{IN}/a.mp4")
    assert "already" in watcher("enable", "asked")


def test_the_page_for_those_who_move(service: Service) -> None:
    """Its program runs, with its own address and key pair in the place of those."""
    client = service.start()
    client.call("CreateWordSamples", Usages=["All"], Words=[{"Keyword": "w"}])
    page = (Path(__file__).parents[2] / "docs" / "moving-from-mps.md").read_text()
    program = page.partition("```python\n")[2].partition("```")[0]
    program = program.replace("127.0.0.1:8080", f"127.0.0.1:{service.port}")
    program = program.replace('"AKID…", "…"', f'"{ADMIN["secret_id"]}", "{ADMIN["secret_key"]}"')
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["TotalCount"] == 0, done.stderr


def test_key_pairs_come_and_go(service: Service) -> None:
    """`watcher credentials` makes them for a service that runs, and takes them away again."""
    service.settings["api"]["credentials"] = [READER]
    service.start()
    assert service.daemon

    def watcher(*arguments: str) -> str:
        command = [sys.executable, "-m", "watcher", "credentials", *arguments, "--config", str(service.daemon.config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    made = watcher("create", "--rights", "operator", "--bucket", "in-*")
    words = made.split()
    pair = {"secret_id": words[words.index("SecretId") + 1], "secret_key": words[words.index("SecretKey") + 1]}
    client = service.client(pair)
    parts.wait_for(lambda: refused_or_ok(client, "DescribeWorkflows") == "")
    shown = watcher("list")
    assert pair["secret_id"] in shown
    assert pair["secret_key"] not in shown
    assert "operator" in shown
    assert "AKIDreader" in shown
    assert "is in the settings" in watcher("revoke", "AKIDreader")
    assert "there is no key pair" in watcher("revoke", "AKIDnobody")
    assert "is not one of" in watcher("create", "--rights", "king")
    assert "is revoked" in watcher("revoke", pair["secret_id"])
    parts.wait_for(lambda: refused_or_ok(client, "DescribeWorkflows") == "AuthFailure.SecretIdNotFound")
    assert (service.daemon.database.stat().st_mode & 0o777) == 0o600


def test_events_go_to_a_queue(tmp_path: Path, moto: str, clip: Path) -> None:
    """AWS-SQS names a notifier of the settings; the message is the event that ParseNotification takes."""
    sqs = boto3.client("sqs", endpoint_url=moto, region_name="us-east-1", **PAIR)
    queue = sqs.create_queue(QueueName="results")["QueueUrl"]
    service = Service(tmp_path / "service")
    service.settings["notifiers"] = {"results": {"type": "sqs", "queue_url": queue, "endpoint_url": moto, **ACCESS}}
    (service.root / "in" / "clip.mp4").write_bytes(clip.read_bytes())
    client = service.start()
    assert service.daemon
    try:
        notify = {"NotifyType": "AWS-SQS", "AwsSQS": {"SQSRegion": "us-east-1", "SQSQueueName": "results"}}
        task = client.call(
            "ProcessMedia", InputInfo=source(), OutputStorage=to(), MediaProcessTask=SNAPSHOT, TaskNotifyConfig=notify
        )["TaskId"]  # fmt: skip
        messages = parts.wait_for(
            lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []), 30
        )
        parsed = client.call("ParseNotification", Content=messages[0]["Body"])
        assert parsed["WorkflowTaskEvent"]["TaskId"] == task
    finally:
        service.daemon.close()


def test_pictures_have_signed_addresses(service: Service) -> None:
    """The picture of a watermark is shown to who was given its address, for a while, and to nobody else."""
    from tests.e2e.test_api_clients import picture

    client = service.start()
    body = {"Type": "image", "ImageTemplate": {"ImageContent": picture(), "Width": "20%"}}
    url = client.call("CreateWatermarkTemplate", **body)["ImageUrl"]
    with urllib.request.urlopen(url) as answer:
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.read(8) == b"\x89PNG\r\n\x1a\n"
    for wrong in (url.partition("?")[0], url[:-4] + "0000", url.replace("expires=", "expires=9")):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(wrong)
    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/healthz") as answer:
        assert answer.read() == b"ok\n"
    for content in ("aGVsbG8=", "not base64!"):
        wrong_body = {"Type": "image", "ImageTemplate": {"ImageContent": content, "Width": "20%"}}
        assert refused(client, "CreateWatermarkTemplate", **wrong_body) == "InvalidParameterValue.ImageContent"


def test_many_callers_at_once(service: Service) -> None:
    """Names stay unique, ids are given once, and nothing that was answered is missing."""
    service.settings["api"]["limits"] = {"CreateWorkflow": 10_000, "DeleteWorkflow": 10_000, "EnableWorkflow": 10_000}
    client = service.start()
    rule = {"Type": "CosFileUpload", "CosFileUploadTrigger": {"Bucket": IN, "Region": "r", "Dir": "/x/"}}

    def make(number: int) -> int | str:
        own = service.client()
        try:
            made = own.call(
                "CreateWorkflow", WorkflowName=f"w{number % 40}", Trigger=rule, MediaProcessTask=SNAPSHOT
            )["WorkflowId"]  # fmt: skip
        except Fault as fault:
            return fault.code
        if number % 2:
            own.call("EnableWorkflow", WorkflowId=made)
        return int(made)

    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(make, range(120)))
    ids = [result for result in results if isinstance(result, int)]
    assert len(ids) == len(set(ids)) == 40
    assert set(results) - set(ids) == {"InvalidParameterValue"}
    shown = client.call("DescribeWorkflows", Limit=100)
    assert shown["TotalCount"] == 40
    assert {info["WorkflowId"] for info in shown["WorkflowInfoSet"]} == set(ids)
    assert [info["WorkflowId"] for info in shown["WorkflowInfoSet"]] == sorted(ids, reverse=True)


def test_what_can_not_be_served(service: Service, daemon: Callable[..., parts.Daemon]) -> None:
    """Mistakes in the settings are sentences with their place, before anything starts."""
    service.start()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"listen": f"127.0.0.1:{service.port}"}, "api.listen: 127.0.0.1"),
        ({"listen": "8080"}, "api.listen"),
        ({"listen": "127.0.0.1:0", "certificate": "/nowhere.pem"}, "api.certificate: can't be used"),
        ({"listen": "127.0.0.1:0", "credentials": [{"secret_id": "a", "secret_key": "short"}]}, "at least 16"),
        ({"listen": "127.0.0.1:0", "credentials": [ADMIN, ADMIN]}, "is there twice"),
    ]
    for api, expected in cases:
        settings = {key: value for key, value in service.settings.items() if key != "sources"} | {"api": api}
        other = daemon(settings)
        done = subprocess.run(
            [sys.executable, "-m", "watcher", "run", "--config", str(other.config)],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 2, done
        assert expected in done.stdout + done.stderr
        with contextlib.suppress(FileNotFoundError):
            other.database.unlink()
