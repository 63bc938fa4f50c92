"""Task events: the members of the contract's example, no more (but two of ours) and no fewer."""

from __future__ import annotations

import json
from dataclasses import replace

from tests import parts
from watcher.model.objects import ObjectInfo
from watcher.model.task import StepResult, Task, error_number, event_id_of, task_id_of
from watcher.model.workflow import Workflow
from watcher.mps import events, wire

MEMBERS = {
    "TaskId", "Status", "ErrCode", "Message", "InputInfo", "MetaData", "MediaProcessResultSet",
    "AiContentReviewResultSet", "AiAnalysisResultSet", "AiRecognitionResultSet", "AiQualityControlTaskResult",
    "SmartSubtitlesTaskResult", "SmartEraseTaskResult", "AiDubbingTaskResult",
}  # fmt: skip
RESULT = {
    "Type", "TranscodeTask", "AnimatedGraphicTask", "SnapshotByTimeOffsetTask", "SampleSnapshotTask", "ImageSpriteTask",
    "AdaptiveDynamicStreamingTask",
}  # fmt: skip


def task(**changes: object) -> Task:
    steps = {"TranscodeTaskSet": [{"Definition": 100010}], "ImageSpriteTaskSet": [{"Definition": 10}]}
    workflow = wire.decode(Workflow, parts.workflow("b-1250000000", MediaProcessTask=steps))
    source = ObjectInfo("b-1250000000", "up/a b.mp4", 5, "e", 1)
    made = Task(
        task_id=task_id_of(10001, source),
        workflow_id=10001,
        order=workflow,
        source=source,
        status="FINISH",
        priority=0,
        lineage=(),
        create_time=1.0,
        finish_time=1_700_000_000.0,
        results=(
            StepResult("SUCCESS", progress=100, output={"path": "/x.mp4", "md5": "m"}, input={"definition": 100010}),
            StepResult("FAIL", "InvalidInput.InvalidTimeOffset", "too late", 40, 1.0, 2.0),
        ),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_members() -> None:
    """As in tasks.md, section 9."""
    event = events.task_event(task(), "e1")
    assert set(event) == {
        "EventType", "EventId", "WorkflowName", "WorkflowTaskEvent", "EditMediaTaskEvent", "ScheduleTaskEvent",
        "SessionId", "SessionContext",
    }  # fmt: skip
    body = event["WorkflowTaskEvent"]
    assert set(body) == MEMBERS
    assert body["InputInfo"]["CosInputInfo"] == {
        "Bucket": "b-1250000000",
        "Region": "ap-guangzhou",
        "Object": "/up/a b.mp4",
    }
    transcode, sprite = body["MediaProcessResultSet"]
    assert set(transcode) == set(sprite) == RESULT
    assert transcode["TranscodeTask"] == {
        "Status": "SUCCESS",
        "ErrCodeExt": "",
        "ErrCode": 0,
        "Message": "SUCCESS",
        "Progress": 100,
        "Input": {"Definition": 100010},
        "Output": {"Path": "/x.mp4", "Md5": "m"},
    }
    assert sprite["Type"] == "ImageSprites"
    assert sprite["ImageSpriteTask"] == {
        "Status": "FAIL",
        "ErrCodeExt": "InvalidInput.InvalidTimeOffset",
        "ErrCode": 40000,
        "Message": "too late",
        "Input": None,
        "Output": None,
        "BeginProcessTime": "1970-01-01T00:00:01Z",
        "FinishTime": "1970-01-01T00:00:02Z",
    }


def test_render() -> None:
    """Signed only for a receiver with a key; the bytes are JSON without its envelope."""
    event = events.task_event(task(), "e1")
    assert "Sign" not in json.loads(events.render(event, "", 1000.0))
    signed = json.loads(events.render(event, "s3cret", 1715937408.0 - 600))
    assert (signed["Timestamp"], signed["Sign"]) == (1715937408, "b5e996f0fef1ca016f659471efb7cbee")


def test_ids_are_computed() -> None:
    """The same event has the same id; another attempt, state, version or workflow has another."""
    source = task().source
    assert task_id_of(1, source) == task_id_of(1, replace(source))
    assert task_id_of(1, source).startswith("1250000000-WorkflowTask-")
    others = {task_id_of(2, source), task_id_of(1, replace(source, etag="f")), task_id_of(1, replace(source, key="x"))}
    assert len(others | {task_id_of(1, source)}) == 4
    assert event_id_of("t", 1, "FINISH") != event_id_of("t", 2, "FINISH")


def test_error_numbers() -> None:
    """70000 is the source's; success is 0."""
    codes = ["", "SourceFileError", "SourceFileError.NoVideoMedia", "InvalidInput", "InternalError", "Odd"]
    assert [error_number(code) for code in codes] == [0, 70000, 70000, 40000, 30010, 30010]
