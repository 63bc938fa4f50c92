"""Every action through every official client: what works, what is refused, and how the answers are typed."""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests import clients, parts
from tests.clients import Client, Endpoint, Fault, PythonClient
from watcher.api.table import ACTIONS, KNOWN

IN, OUT = "in-1250000000", "out-1250000000"
ID, KEY = "AKIDtests", "a-secret-key-for-tests"


@dataclass
class Served:
    """A daemon with its API over HTTP, and the same over TLS beside it."""

    plain: Endpoint
    secure: Endpoint
    root: Path
    daemons: tuple[parts.Daemon, parts.Daemon]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert)]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-days", "2", *names], check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Iterator[Served]:
    """One daemon for all clients: they do not see each other's things but for the lists."""
    root = tmp_path_factory.mktemp("api")
    cert, key = certificate(root)
    for name in ("in", "out"):
        (root / name).mkdir()
    parts.make_clip(root / "in" / "clip.mp4", seconds=2)
    Image.new("RGB", (120, 80), "teal").save(root / "in" / "picture.png")
    ports = parts.free_port(), parts.free_port()
    daemons = []
    for number, (port, tls) in enumerate(zip(ports, (False, True), strict=True)):
        api: dict[str, Any] = {
            "listen": f"127.0.0.1:{port}",
            "credentials": [{"secret_id": ID, "secret_key": KEY}],
            "limits": dict.fromkeys(ACTIONS, 1000),
        }
        if tls:
            api |= {"certificate": str(cert), "certificate_key": str(key)}
        settings = {
            "storages": {
                IN: {"type": "local", "root": str(root / "in")},
                OUT: {"type": "local", "root": str(root / "out")},
            },
            "notifiers": {"events": {"type": "directory", "path": str(root / "events")}},
            "api": api,
        }
        daemons.append(parts.Daemon(root / f"daemon{number}", settings, []))
    for daemon in daemons:
        daemon.start()
    plain, secure = (Endpoint(port, ID, KEY, ca) for port, ca in zip(ports, (None, cert), strict=True))
    yield Served(plain, secure, root, (daemons[0], daemons[1]))
    for daemon in daemons:
        daemon.close()
        assert "unexpected error" not in daemon.text()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where clients are kept that are not installed."""
    return tmp_path_factory.mktemp("clients")


@dataclass
class Caller:
    """A client that remembers what was called, and whose faults can be asked for.

    ``quick`` asks for most faults in its place: tccli takes a second for each call.
    """

    client: Client
    quick: Client | None = None
    faults: int = 0
    called: set[str] = field(default_factory=set)

    def __call__(self, action: str, **body: Any) -> dict[str, Any]:
        self.called.add(action)
        answer = self.client.call(action, **body)
        assert answer["RequestId"]
        return answer

    def refused(self, action: str, **body: Any) -> str:
        """The code of a call that has to fail; its message has to say something."""
        client = self.quick if self.quick is not None and self.faults % 20 else self.client
        self.faults += 1
        with pytest.raises(Fault) as caught:
            client.call(action, **body)
        assert len(caught.value.message) > 10
        return caught.value.code


def picture(size: tuple[int, int] = (240, 240), colour: str = "navy", form: str = "PNG") -> str:
    """A picture as base64."""
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, form)
    return base64.b64encode(data.getvalue()).decode()


def trigger(**rule: Any) -> dict[str, Any]:
    return {
        "Type": "CosFileUpload",
        "CosFileUploadTrigger": {"Bucket": IN, "Region": "ap-guangzhou", "Dir": "/never/", **rule},
    }


SNAPSHOT = {"SnapshotByTimeOffsetTaskSet": [{"Definition": 10, "ExtTimeOffsetSet": ["1s"]}]}
SOURCE = {"Type": "COS", "CosInputInfo": {"Bucket": IN, "Region": "ap-guangzhou", "Object": "/clip.mp4"}}
TO = {"Type": "COS", "CosOutputStorage": {"Bucket": OUT, "Region": "ap-guangzhou"}}


def conform(call: Caller, name: str, wait: Callable[..., dict[str, Any]]) -> None:
    """All actions, each with what it is for and with what it refuses."""
    workflows(call, name)
    schedules(call, name)
    tasks(call, name, wait)
    pictures(call, name, wait)
    templates(call, name)
    samples(call, name)


def workflows(call: Caller, name: str) -> None:
    body = {"WorkflowName": f"w-{name}", "Trigger": trigger(), "MediaProcessTask": SNAPSHOT}
    number = call("CreateWorkflow", **body, OutputStorage=TO, OutputDir="/x/", TaskPriority=3)["WorkflowId"]
    assert number > 10_000
    assert call.refused("CreateWorkflow", **body) == "InvalidParameterValue"  # the name is taken
    other = body | {"WorkflowName": f"v-{name}"}
    elsewhere = {**body, "Trigger": trigger(Bucket="absent-1250000000")}
    assert call.refused("CreateWorkflow", **elsewhere) == "ResourceNotFound.CosBucketNotExist"
    assert call.refused("CreateWorkflow", **{**body, "Trigger": trigger(Bucket="a b")}) == (
        "ResourceNotFound.CosBucketNameInvalid"
    )
    assert call.refused("CreateWorkflow", **{**other, "OutputDir": "x"}) == "InvalidParameterValue"
    assert call.refused("CreateWorkflow", **{**other, "TaskPriority": 11}) == "InvalidParameterValue"
    assert call.refused("CreateWorkflow", Trigger=trigger(), MediaProcessTask=SNAPSHOT) == "MissingParameter"

    (info,) = call("DescribeWorkflows", WorkflowIds=[number])["WorkflowInfoSet"]
    assert (info["Status"], info["TaskPriority"], info["OutputDir"]) == ("Disabled", 3, "/x/")
    assert info["Trigger"]["CosFileUploadTrigger"]["Bucket"] == IN
    assert not info["Trigger"].get("AwsS3FileUploadTrigger")
    assert info["MediaProcessTask"]["SnapshotByTimeOffsetTaskSet"][0]["ExtTimeOffsetSet"] == ["1s"]
    assert info["MediaProcessTask"]["TranscodeTaskSet"] == []

    call("EnableWorkflow", WorkflowId=number)
    call("EnableWorkflow", WorkflowId=number)
    assert call("DescribeWorkflows", WorkflowIds=[number], Status="Disabled")["TotalCount"] == 0
    assert call("DescribeWorkflows", WorkflowIds=[number], Status="Enabled")["TotalCount"] == 1
    assert call.refused("ResetWorkflow", WorkflowId=number, **body) == "FailedOperation"
    assert call.refused("DeleteWorkflow", WorkflowId=number) == "FailedOperation"
    call("DisableWorkflow", WorkflowId=number)
    call("ResetWorkflow", WorkflowId=number, **other)
    (info,) = call("DescribeWorkflows", WorkflowIds=[number])["WorkflowInfoSet"]
    assert (info["WorkflowName"], info["TaskPriority"], info["OutputDir"]) == (f"v-{name}", 0, "")
    call("DeleteWorkflow", WorkflowId=number)
    for action in ("EnableWorkflow", "DisableWorkflow", "DeleteWorkflow"):
        assert call.refused(action, WorkflowId=number) == "ResourceNotFound.TemplateNotExist"
    assert call("DescribeWorkflows", WorkflowIds=[number])["WorkflowInfoSet"] == []


def graph(definition: int = 10) -> list[dict[str, Any]]:
    return [
        {"ActivityType": "input", "ReardriveIndex": [1, 2]},
        {
            "ActivityType": "action-snapshotByTimeOffset",
            "ReardriveIndex": [3],
            "ActivityPara": {"SnapshotByTimeOffsetTask": {"Definition": definition, "ExtTimeOffsetSet": ["1s"]}},
        },
        {
            "ActivityType": "action-image-sprite",
            "ReardriveIndex": [3],
            "ActivityPara": {"ImageSpriteTask": {"Definition": 10}},
        },
        {"ActivityType": "output", "ActivityPara": {}},
    ]


def schedules(call: Caller, name: str) -> None:
    body = {"ScheduleName": f"s-{name}", "Trigger": trigger(), "Activities": graph(), "OutputDir": "/s/"}
    number = call("CreateSchedule", **body)["ScheduleId"]
    circle = graph()
    circle[1]["ReardriveIndex"] = [2]
    circle[2]["ReardriveIndex"] = [1]
    assert call.refused("CreateSchedule", **{**body, "Activities": circle}) == "InvalidParameterValue"
    (info,) = call("DescribeSchedules", ScheduleIds=[number])["ScheduleInfoSet"]
    assert (info["Status"], info["Type"]) == ("Disabled", "Custom")
    assert [activity["PredriveIndex"] for activity in info["Activities"]] == [[], [0], [0], [1, 2]]
    call("ModifySchedule", ScheduleId=number, ScheduleName=f"r-{name}", OutputDir="")
    (info,) = call("DescribeSchedules", ScheduleIds=[number], TriggerType="CosFileUpload")["ScheduleInfoSet"]
    assert (info["ScheduleName"], info["OutputDir"], len(info["Activities"])) == (f"r-{name}", "", 4)
    call("EnableSchedule", ScheduleId=number)
    assert call("DescribeSchedules", ScheduleIds=[number], Status="Enabled")["TotalCount"] == 1
    call("DisableSchedule", ScheduleId=number)
    call("DeleteSchedule", ScheduleId=number)
    for action in ("EnableSchedule", "DisableSchedule", "DeleteSchedule", "ModifySchedule"):
        assert call.refused(action, ScheduleId=number) == "ResourceNotFound.TemplateNotExist"


def tasks(call: Caller, name: str, wait: Callable[..., dict[str, Any]]) -> None:
    asked = {"InputInfo": SOURCE, "OutputStorage": TO, "MediaProcessTask": SNAPSHOT}
    once = {"SessionId": f"session-{name}", "SessionContext": "order 42 ✓"}
    task = call("ProcessMedia", **asked, **once, OutputDir=f"/{name}/", TasksPriority=2)["TaskId"]
    assert call.refused("ProcessMedia", **asked, **once) == "InvalidParameterValue.SessionId"
    assert call.refused("ProcessMedia", **asked, SessionId="x" * 51) == "InvalidParameterValue.SessionIdTooLong"
    assert call.refused("ProcessMedia", **asked, SessionContext="x" * 1001) == (
        "InvalidParameterValue.SessionContextTooLong"
    )
    assert call.refused("ProcessMedia", InputInfo=SOURCE) == "InvalidParameter"
    assert call.refused("ProcessMedia", **asked, ScheduleId=99) == "InvalidParameter"

    detail = wait(task)
    assert (detail["TaskType"], detail["Status"], detail["TasksPriority"]) == ("WorkflowTask", "FINISH", 2)
    assert (detail["SessionId"], detail["SessionContext"]) == (once["SessionId"], once["SessionContext"])
    (result,) = detail["WorkflowTask"]["MediaProcessResultSet"]
    snapshot = result["SnapshotByTimeOffsetTask"]
    assert (result["Type"], snapshot["Status"], snapshot["ErrCodeExt"]) == ("SnapshotByTimeOffset", "SUCCESS", "")
    assert snapshot["Output"]["PicInfoSet"][0]["Path"] == f"/{name}/clip_snapshotByTimeOffset_10_0.jpg"
    assert snapshot["Output"]["Storage"]["CosOutputStorage"]["Bucket"] == OUT
    assert detail["WorkflowTask"]["MetaData"]["Width"] == 320
    assert call.refused("DescribeTaskDetail", TaskId="nobody") == "ResourceNotFound"

    found = call("DescribeTasks", Status="FINISH", Limit=1)
    assert len(found["TaskSet"]) == 1
    assert found["TotalCount"] >= 1
    if found["ScrollToken"]:
        assert call("DescribeTasks", Status="FINISH", ScrollToken=found["ScrollToken"])["TaskSet"]
    assert call.refused("DescribeTasks", Status="FINISH", Limit=101) == "InvalidParameterValue.Limit"

    absent = {"Type": "COS", "CosInputInfo": {"Bucket": IN, "Region": "ap-guangzhou", "Object": "/absent.mp4"}}
    failed = wait(call("ProcessMedia", **{**asked, "InputInfo": absent})["TaskId"])["WorkflowTask"]
    assert (failed["Status"], failed["ErrCode"]) == ("FINISH", 70000)
    unknown = {"ImageSpriteTaskSet": [{"Definition": 899_999}]}
    wrong = wait(call("ProcessMedia", **{**asked, "MediaProcessTask": unknown})["TaskId"])["WorkflowTask"]
    sprite = wrong["MediaProcessResultSet"][0]["ImageSpriteTask"]
    assert (wrong["ErrCode"], sprite["ErrCodeExt"]) == (0, "InvalidInput.DefinitionNotExist")

    for given, code in (
        ({"OperationType": "Stop", "TaskId": task}, "InvalidOperationType"),
        ({"OperationType": "Abort", "TaskId": "nobody"}, "TaskId"),
        ({"OperationType": "Abort", "TaskId": task}, "NotProcessingTask"),
    ):
        assert call.refused("ManageTask", **given) == f"InvalidParameterValue.{code}"
    call.called.add("ManageTask")  # that it ends a task is tested where a task can be had to wait

    event = {"EventType": "WorkflowTask", "WorkflowTaskEvent": detail["WorkflowTask"], "SessionId": "s", "Sign": "x"}
    parsed = call("ParseNotification", Content=json.dumps(event))
    assert (parsed["EventType"], parsed["SessionId"], parsed["Sign"]) == ("WorkflowTask", "s", "x")
    assert parsed["WorkflowTaskEvent"]["TaskId"] == task
    assert call.refused("ParseNotification", Content="{") == "InvalidParameterValue.InvalidContent"

    facts = call("DescribeMediaMetaData", InputInfo=SOURCE)["MetaData"]
    assert (facts["Width"], facts["Height"], facts["VideoStreamSet"][0]["Codec"]) == (320, 180, "h264")
    assert call.refused("DescribeMediaMetaData", InputInfo=absent) == "InvalidParameterValue.SrcFile"


def pictures(call: Caller, name: str, wait: Callable[..., dict[str, Any]]) -> None:
    drawn = {"Type": "COS", "CosInputInfo": {"Bucket": IN, "Region": "ap-guangzhou", "Object": "/picture.png"}}
    wanted = {"EncodeConfig": {"Format": "JPEG", "Quality": 80}}
    image = call("ProcessImage", InputInfo=drawn, ImageTask=wanted, OutputStorage=TO, OutputDir=f"/{name}/")["TaskId"]
    shown = wait(image, "DescribeImageTaskDetail")
    call.called |= {"DescribeImageTaskDetail"}
    assert (shown["Status"], shown["ErrCode"], shown["ErrMsg"]) == ("FINISH", 0, "")
    assert shown["ImageProcessTaskResultSet"][0]["Output"]["Path"] == f"/{name}/picture.jpg"
    assert shown["ImageTask"]["EncodeConfig"]["Quality"] == 80
    assert call("DescribeImageTasks", Status="FINISH")["TotalCount"] >= 1
    assert call.refused("DescribeTaskDetail", TaskId=image) == "ResourceNotFound"
    assert call.refused("DescribeImageTaskDetail", TaskId="nobody") == "ResourceNotFound"
    bad = {"EncodeConfig": {"Format": "TIFF"}}
    assert call.refused("ProcessImage", InputInfo=drawn, ImageTask=bad) == "InvalidParameterValue"


VIDEO = {"Codec": "h264", "Fps": 25, "Bitrate": 400, "Height": 360}
AUDIO = {"Codec": "aac", "Bitrate": 64, "SampleRate": 44100}
STREAM = {"Video": VIDEO, "Audio": AUDIO, "RemoveAudio": 0, "RemoveVideo": 0}
ON = {"Switch": "ON"}

FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "TranscodeTemplate": (
        {"Container": "mp4", "VideoTemplate": VIDEO, "AudioTemplate": AUDIO},
        {"VideoTemplate": {"Bitrate": 900}},
        {"Container": "avi"},
    ),
    "AnimatedGraphicsTemplate": ({"Fps": 5, "Width": 160}, {"Fps": 8}, {"Fps": 99}),
    "SnapshotByTimeOffsetTemplate": ({"Width": 160, "Format": "png"}, {"Width": 320}, {"Format": "bmp"}),
    "SampleSnapshotTemplate": (
        {"SampleType": "Time", "SampleInterval": 2, "Width": 160},
        {"SampleInterval": 3},
        {"SampleType": "Often"},
    ),
    "ImageSpriteTemplate": (
        {"SampleType": "Time", "SampleInterval": 1, "RowCount": 2, "ColumnCount": 3},
        {"RowCount": 4},
        {"SampleType": "Often"},
    ),
    "WatermarkTemplate": (
        {"Type": "image", "XPos": "10px", "ImageTemplate": {"ImageContent": picture(), "Width": "20%"}},
        {"XPos": "30px"},
        {"CoordinateOrigin": "Middle"},
    ),
    "AdaptiveDynamicStreamingTemplate": (
        {"Format": "HLS", "StreamInfos": [STREAM]},
        {"DisableHigherVideoResolution": 1},
        {"Format": "SMOOTH"},
    ),
    "ContentReviewTemplate": (
        {"PornConfigure": {"ImgReviewInfo": {"Switch": "ON", "BlockConfidence": 80}}},
        {"PornConfigure": {"ImgReviewInfo": {"Switch": "OFF"}}},
        {"PornConfigure": {"ImgReviewInfo": {"Switch": "ON", "BlockConfidence": 180}}},
    ),
    "AIAnalysisTemplate": (
        {"TagConfigure": ON, "CoverConfigure": ON},
        {"CoverConfigure": {"Switch": "OFF"}},
        {"TagConfigure": {"Switch": "MAYBE"}},
    ),
    "AIRecognitionTemplate": (
        {"FaceConfigure": {"Switch": "ON", "Score": 90}},
        {"FaceConfigure": {"Switch": "ON", "Score": 70}},
        {"FaceConfigure": {"Switch": "ON", "FaceLibrary": "Mine"}},
    ),
    "QualityControlTemplate": (
        {"QualityControlItemSet": [{"Type": "Blur", "Threshold": "80"}]},
        {"QualityControlItemSet": [{"Type": "Noise"}]},
        {"QualityControlItemSet": [{"Type": "Taste"}]},
    ),
}
"""For each family: a template, a change of it, and something that is refused."""


def templates(call: Caller, name: str) -> None:
    for stem, (body, change, wrong) in FAMILIES.items():
        one = {"Name": f"t-{name}", "Comment": "made by a test"}
        answer = call(f"Create{stem}", **one, **body)
        number = answer["Definition"]
        assert number > 900_000
        code = call.refused(f"Create{stem}", **one, **{**body, **wrong})
        assert code.startswith("InvalidParameterValue"), code
        described = call(f"Describe{stem}s", Definitions=[number])
        assert described["TotalCount"] == 1
        (item,) = described[f"{stem}Set"]
        assert (int(item["Definition"]), item["Name"], item["Comment"]) == (number, f"t-{name}", "made by a test")
        assert item["CreateTime"].endswith("Z")
        call(f"Modify{stem}", Definition=number, **change)
        (after,) = call(f"Describe{stem}s", Definitions=[number])[f"{stem}Set"]
        assert _without_times(after) != _without_times(item)
        assert after["Name"] == f"t-{name}"
        if stem != "WatermarkTemplate":
            assert (item["Type"], call(f"Describe{stem}s", Type="Custom")["TotalCount"] >= 1) == ("Custom", True)
            preset = call(f"Describe{stem}s", Type="Preset", Limit=1)[f"{stem}Set"][0]
            assert preset["Type"] == "Preset"
            given = {"Definition": int(preset["Definition"])}
            assert call.refused(f"Modify{stem}", **given, **change) == "InvalidParameterValue.ModifyDefaultTemplate"
            assert call.refused(f"Delete{stem}", **given).startswith("InvalidParameterValue")
        else:
            assert item["Type"] == "image"
            assert answer["ImageUrl"]
            assert item["ImageTemplate"]["ImageUrl"].startswith("http")
        assert call.refused(f"Describe{stem}s", Limit=101) == "InvalidParameterValue.Limit"
        call(f"Delete{stem}", Definition=number)
        assert call.refused(f"Delete{stem}", Definition=number).startswith("ResourceNotFound")
        assert call.refused(f"Modify{stem}", Definition=number, **change) == "ResourceNotFound.TemplateNotExist"


def _without_times(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in ("UpdateTime", "ImageTemplate")}


def samples(call: Caller, name: str) -> None:
    word = f"word-{name}"[:20]
    call("CreateWordSamples", Usages=["Recognition"], Words=[{"Keyword": word, "Tags": ["a"]}])
    call("ModifyWordSample", Keyword=word, Usages=["All"], TagOperationInfo={"Type": "add", "Tags": ["b"]})
    found = call("DescribeWordSamples", Keywords=[word], Tags=["b"], Usages=["Review.Asr"])
    assert found["TotalCount"] == 1
    assert found["WordSet"][0]["TagSet"] == ["a", "b"]
    assert len(found["WordSet"][0]["UsageSet"]) == 4
    call("DeleteWordSamples", Keywords=[word])
    assert call.refused("ModifyWordSample", Keyword=word, Usages=["All"]) == "ResourceNotFound.Word"
    assert call.refused("CreateWordSamples", Usages=["Cooking"], Words=[{"Keyword": word}]) == "InvalidParameterValue"

    colour = f"#{abs(hash(name)) % 0xFFFFFF:06x}"
    face = picture(colour=colour)
    made = call(
        "CreatePersonSample", Name=f"p-{name}"[:20], Usages=["All"], FaceContents=[face, "aGVsbG8="], Tags=["x"]
    )
    person = made["Person"]["PersonId"]
    assert [failure["Index"] for failure in made["FailFaceInfoSet"]] == [1]
    assert len(made["Person"]["FaceInfoSet"]) == 1
    assert made["Person"]["UsageSet"] == ["Recognition.Face", "Review.Face"]
    again = {"Name": "twin", "Usages": ["All"]}
    assert call.refused("CreatePersonSample", **again, FaceContents=[face]) == "InvalidParameterValue.FaceDuplicate"
    small = picture((100, 300), colour)
    assert call.refused("CreatePersonSample", **again, FaceContents=[small]) == "InvalidParameterValue.PicFormatError"
    first = made["Person"]["FaceInfoSet"][0]["FaceId"]
    call(
        "ModifyPersonSample", PersonId=person, Description="new",
        FaceOperationInfo={"Type": "add", "FaceContents": [picture((220, 260), colour, "JPEG")]},
    )  # fmt: skip
    gone = {"Type": "delete", "FaceIds": [first]}
    after = call("ModifyPersonSample", PersonId=person, FaceOperationInfo=gone)["Person"]
    assert (after["Description"], len(after["FaceInfoSet"])) == ("new", 1)
    last = {"Type": "delete", "FaceIds": [after["FaceInfoSet"][0]["FaceId"]]}
    assert call.refused("ModifyPersonSample", PersonId=person, FaceOperationInfo=last) == "InvalidParameterValue"
    (shown,) = call("DescribePersonSamples", PersonIds=[person])["PersonSet"]
    assert shown["Name"] == f"p-{name}"[:20]
    call("DeletePersonSample", PersonId=person)
    assert call.refused("DeletePersonSample", PersonId=person) == "ResourceNotFound.Person"


def _waiting(endpoint: Endpoint, client: Client) -> Callable[..., dict[str, Any]]:
    """Waits by the plain client: the one under test is asked at the end only, since tccli is slow to start."""
    watching = PythonClient(endpoint)

    def wait(task_id: str, action: str = "DescribeTaskDetail") -> dict[str, Any]:
        parts.wait_for(lambda: watching.call(action, TaskId=task_id)["Status"] == "FINISH", 60)
        return client.call(action, TaskId=task_id)

    return wait


@pytest.mark.parametrize("kind", clients.KINDS)
@pytest.mark.timeout(420)
def test_every_action_through_every_client(kind: str, served: Served, cache: Path) -> None:
    """The answers are what the client's own types expect, and errors arrive as its exceptions."""
    endpoint = served.secure if kind in ("tccli", "nodejs") else served.plain
    client = clients.opened(kind, endpoint, cache)
    call = Caller(client, PythonClient(endpoint) if kind == "tccli" else None)
    try:
        conform(call, kind, _waiting(endpoint, client))
    finally:
        client.close()
    assert set(ACTIONS) - call.called - {"DescribeTaskDetail"} == set()


@pytest.mark.parametrize(
    ("sign", "method"),
    [
        ("TC3-HMAC-SHA256", "GET"),
        ("HmacSHA1", "GET"),
        ("HmacSHA1", "POST"),
        ("HmacSHA256", "GET"),
        ("HmacSHA256", "POST"),
    ],
)
def test_every_way_of_signing(sign: str, method: str, served: Served) -> None:
    """Parameters that come flattened, as texts, mean the same."""
    client = PythonClient(served.plain, sign, method)
    call = Caller(client)
    name = f"{sign[:8]}-{method}-ü &+%"
    made = call(
        "CreateWorkflow", WorkflowName=name, Trigger=trigger(Formats=["mp4", "mov"]), MediaProcessTask=SNAPSHOT,
        TaskPriority=-4,
    )["WorkflowId"]  # fmt: skip
    (info,) = call("DescribeWorkflows", WorkflowIds=[made, 1])["WorkflowInfoSet"]
    assert (info["WorkflowName"], info["TaskPriority"]) == (name, -4)
    assert info["Trigger"]["CosFileUploadTrigger"]["Formats"] == ["mp4", "mov"]
    assert info["MediaProcessTask"]["SnapshotByTimeOffsetTaskSet"][0]["ExtTimeOffsetSet"] == ["1s"]
    assert call("DescribeTasks", Status="FINISH", SubTaskHasFailed=False)["TotalCount"] >= 0
    call("DeleteWorkflow", WorkflowId=made)
    assert call.refused("DeleteWorkflow", WorkflowId=made) == "ResourceNotFound.TemplateNotExist"


def test_an_endpoint_written_with_its_scheme(served: Served) -> None:
    """Such clients sign the host with the scheme in it, and are understood all the same."""
    from tencentcloud.common import credential
    from tencentcloud.common.profile.client_profile import ClientProfile
    from tencentcloud.common.profile.http_profile import HttpProfile
    from tencentcloud.mps.v20190612 import models, mps_client

    http = HttpProfile(endpoint=f"http://{served.plain.address}", protocol="http")
    client = mps_client.MpsClient(credential.Credential(ID, KEY), "", ClientProfile(httpProfile=http))
    assert client.DescribeWorkflows(models.DescribeWorkflowsRequest()).TotalCount >= 0


def test_actions_that_are_not_here(served: Served) -> None:
    """What the model has and this service has not is told apart from what nobody has."""
    call = Caller(PythonClient(served.plain))
    assert call.refused("ExtractBlindWatermark", InputInfo=SOURCE) == "UnsupportedOperation"
    assert not KNOWN & set(ACTIONS)


def test_answers_have_no_member_that_the_types_lack(served: Served) -> None:
    """The SDK says so when an answer holds what it can't place."""
    import warnings

    client = PythonClient(served.plain)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        made = client.call("CreateTranscodeTemplate", **FAMILIES["TranscodeTemplate"][0])["Definition"]
        for stem in FAMILIES:
            client.call(f"Describe{stem}s", Limit=50)
        workflow = client.call(
            "CreateWorkflow", WorkflowName="types", Trigger=trigger(), OutputStorage=TO,
            MediaProcessTask={"TranscodeTaskSet": [{"Definition": made}], **SNAPSHOT},
            TaskNotifyConfig={"NotifyType": "CMQ", "CmqModel": "Queue", "CmqRegion": "gz", "QueueName": "events"},
        )["WorkflowId"]  # fmt: skip
        client.call("DescribeWorkflows")
        client.call("DeleteWorkflow", WorkflowId=workflow)
        task = client.call(
            "ProcessMedia", InputInfo=SOURCE, OutputStorage=TO, OutputDir="/types/",
            MediaProcessTask={"TranscodeTaskSet": [{"Definition": made}], **SNAPSHOT},
        )["TaskId"]  # fmt: skip
        parts.wait_for(lambda: client.call("DescribeTaskDetail", TaskId=task)["Status"] == "FINISH")
        client.call("DescribeMediaMetaData", InputInfo=SOURCE)
    assert sorted({str(item.message) for item in found if "useless" in str(item.message)}) == []
