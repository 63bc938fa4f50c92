"""Task events in the wire form of the contract (tasks.md, sections 6 and 8)."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from watcher.model.task import StepResult, Task, error_number
from watcher.mps import wire

SIGNATURE_VALID_SECONDS = 600

_MEMBERS = {
    "transcode": ("Transcode", "TranscodeTask"),
    "animated_graphic": ("AnimatedGraphics", "AnimatedGraphicTask"),
    "snapshot_by_time_offset": ("SnapshotByTimeOffset", "SnapshotByTimeOffsetTask"),
    "sample_snapshot": ("SampleSnapshot", "SampleSnapshotTask"),
    "image_sprite": ("ImageSprites", "ImageSpriteTask"),
    "adaptive_dynamic_streaming": ("AdaptiveDynamicStreaming", "AdaptiveDynamicStreamingTask"),
    "waveform": ("Waveform", "WaveformTask"),
    "command": ("Command", "CommandTask"),
}
"""Type and member of a MediaProcessTaskResult for each kind of step; the last two are ours."""
_OURS = frozenset({"WaveformTask", "CommandTask"})


def _iso(moment: float | None) -> str:
    if moment is None:
        return "0000-00-00T00:00:00Z"
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def input_info(task: Task) -> dict[str, Any]:
    """The source object as a MediaInputInfo."""
    trigger = task.workflow.trigger
    info: dict[str, Any] = {"Type": "COS", "CosInputInfo": None, "UrlInputInfo": None, "S3InputInfo": None}
    info["VODInputInfo"] = None
    bucket, region, key = task.source.storage, trigger.region, f"/{task.source.key}"
    if trigger.type == "AwsS3FileUpload":
        info["Type"] = "AWS-S3"
        info["S3InputInfo"] = {"S3Bucket": bucket, "S3Region": region, "S3Object": key}
    else:
        info["CosInputInfo"] = {"Bucket": bucket, "Region": region, "Object": key}
    return info


def _step_result(kind: str, result: StepResult) -> dict[str, Any]:
    type_name, member = _MEMBERS[kind]
    body: dict[str, Any] = {
        "Status": result.status,
        "ErrCodeExt": result.code,
        "ErrCode": error_number(result.code),
        "Message": result.message or ("SUCCESS" if result.status == "SUCCESS" else ""),
        "Input": wire.encode(result.input) if result.input is not None else None,
        "Output": wire.encode(result.output) if result.output is not None else None,
    }
    if kind == "transcode":
        body["Progress"] = result.progress
    else:
        body["BeginProcessTime"] = _iso(result.begin_time)
        body["FinishTime"] = _iso(result.finish_time)
    others = {other: None for _, other in _MEMBERS.values() if other not in _OURS}
    return {"Type": type_name, **others, member: body}


def workflow_task(task: Task) -> dict[str, Any]:
    """The WorkflowTask object: the body of an event, and of DescribeTaskDetail."""
    steps = task.workflow.media_process_task.steps
    return {
        "TaskId": task.task_id,
        "Status": "FINISH" if task.status == "FINISH" else "PROCESSING",
        "ErrCode": task.code,
        "Message": task.message or ("SUCCESS" if task.status == "FINISH" else ""),
        "InputInfo": input_info(task),
        "MetaData": wire.encode(task.metadata) if task.metadata is not None else None,
        "MediaProcessResultSet": [
            _step_result(step.kind, result) for step, result in zip(steps, task.results, strict=False)
        ],
        "AiContentReviewResultSet": [],
        "AiAnalysisResultSet": [],
        "AiRecognitionResultSet": [],
        "AiQualityControlTaskResult": None,
        "SmartSubtitlesTaskResult": None,
        "SmartEraseTaskResult": None,
    }


def task_event(task: Task, event_id: str) -> dict[str, Any]:
    """The event object, before it is signed for one receiver.

    ``EventId`` and ``WorkflowName`` are ours: the same event delivered twice carries the same id.
    """
    return {
        "EventType": "WorkflowTask",
        "EventId": event_id,
        "WorkflowName": task.workflow.workflow_name,
        "WorkflowTaskEvent": workflow_task(task),
        "EditMediaTaskEvent": None,
        "ScheduleTaskEvent": None,
        "SessionId": "",
        "SessionContext": "",
    }


def render(event: dict[str, Any], notify_key: str, now: float) -> bytes:
    """The bytes to send: signed as tasks.md, section 8.2, when the receiver has a key."""
    body = dict(event)
    if notify_key:
        expires = int(now) + SIGNATURE_VALID_SECONDS
        body["Timestamp"] = expires
        # MD5 is what the contract's receivers verify; it protects nothing else here.
        body["Sign"] = hashlib.md5(f"{expires}{notify_key}".encode(), usedforsecurity=False).hexdigest()
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")
