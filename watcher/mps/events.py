"""Task events in the wire form of the contract (tasks.md, sections 6 and 8)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from watcher.model.image_request import ImageRequest
from watcher.model.inputs import StepInput
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


_NODES = {kind: names for kind, names in _MEMBERS.items() if names[1] not in _OURS}
_NODES |= {
    "content_review": ("AiContentReview", "ReviewTask"),
    "ai_analysis": ("AIAnalysis", "AnalysisTask"),
    "ai_recognition": ("AIRecognition", "RecognitionTask"),
    "quality_control": ("AiQualityControl", "QualityControlTask"),
    "exec_rules": ("ExecRules", "ExecRuleTask"),
}
"""Type and member of an ActivityResult for each kind of step that a schedule can have."""
_OTHER_NODES = ("SmartSubtitlesTask", "SmartEraseTask", "AIDubbingTask")


_RECOGNITION = {
    "FaceRecognition": "FaceTask",
    "AsrWordsRecognition": "AsrWordsTask",
    "AsrFullTextRecognition": "AsrFullTextTask",
    "OcrWordsRecognition": "OcrWordsTask",
    "OcrFullTextRecognition": "OcrFullTextTask",
    "TransTextRecognition": "TransTextTask",
    "ObjectRecognition": "ObjectTask",
}
_REVIEW = {
    "Porn": "PornTask",
    "Terrorism": "TerrorismTask",
    "Political": "PoliticalTask",
    "Porn.Asr": "PornAsrTask",
    "Porn.Ocr": "PornOcrTask",
    "Political.Asr": "PoliticalAsrTask",
    "Political.Ocr": "PoliticalOcrTask",
    "Terrorism.Ocr": "TerrorismOcrTask",
    "Prohibited.Asr": "ProhibitedAsrTask",
    "Prohibited.Ocr": "ProhibitedOcrTask",
}
_ANALYSIS = {
    name: f"{name}Task"
    for name in (
        "Classification", "Cover", "Tag", "FrameTag", "Highlight", "DeLogo", "Description", "HorizontalToVertical",
        "Dubbing", "VideoRemake", "VideoComprehension", "Cutout", "Reel",
    )
} | {"SegmentRecognition": "SegmentTask", "HeadTailRecognition": "HeadTailTask"}  # fmt: skip
_INTELLIGENT: dict[str, tuple[str, dict[str, str]]] = {
    "ai_recognition": ("AiRecognition", _RECOGNITION),
    "content_review": ("AiContentReview", _REVIEW),
    "ai_analysis": ("AiAnalysis", _ANALYSIS),
    "quality_control": ("AiQualityControl", {"QualityControl": ""}),
}
"""The model's name of each kind of intelligent sub-task, and the member of a result for each of its parts."""
_WITHOUT_CODE = frozenset(
    {
        "Highlight",
        "DeLogo",
        "SegmentRecognition",
        "HeadTailRecognition",
        "Description",
        "HorizontalToVertical",
        "Dubbing",
        "VideoRemake",
    }
)
"""Results that have no place for an ErrCodeExt (contract pipelines.md, section 10)."""
_WITH_PROGRESS = frozenset({"AsrFullTextRecognition", "TransTextRecognition", "QualityControl"})


def intelligent_results(kind: str, definition: int, parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The parts of an intelligent sub-task (contract pipelines.md, section 11)."""
    members = _INTELLIGENT[kind][1]
    found: list[dict[str, Any]] = []
    for part in parts:
        body: dict[str, Any] = {
            "Status": part["status"],
            "ErrCodeExt": part["code"],
            "ErrCode": error_number(part["code"]),
            "Message": part["message"] or ("SUCCESS" if part["status"] == "SUCCESS" else ""),
            "Input": {"Definition": definition},
            "Output": wire.encode(part["output"]) if part["output"] is not None else None,
        }
        if part["type"] in _WITHOUT_CODE:
            del body["ErrCodeExt"]
        if part["type"] in _WITH_PROGRESS:
            body["Progress"] = 100 if part["status"] == "SUCCESS" else 0
        if members[part["type"]]:
            others = dict.fromkeys(members.values())
            facts = wire.encode(part.get("facts") or {})
            found.append({"Type": part["type"], **facts, **others, members[part["type"]]: body})
        else:
            found.append(body)
    return found


def _intelligent_set(task: Task, kind: str) -> list[dict[str, Any]]:
    """The results of a task's intelligent sub-tasks of a kind; before they are there, how their parts stand."""
    found: list[dict[str, Any]] = []
    for step, result in zip(task.order.steps, task.results, strict=False):
        if step.kind == kind:
            found += _standing(step, result)
    return found


def _standing(step: StepInput, result: StepResult) -> list[dict[str, Any]]:
    """The results of one intelligent sub-task's parts, or how they stand before they are there."""
    parts = (result.output or {}).get("parts")
    if parts is None:
        stands = {"status": result.status, "code": result.code, "message": result.message, "output": None}
        types = (result.input or {}).get("parts") or [next(iter(_INTELLIGENT[step.kind][1]))]
        parts = [{"type": name, **stands} for name in types]
    return intelligent_results(step.kind, step.definition, parts)


def type_name_of(kind: str) -> str:
    """What the model calls sub-tasks of a kind of step: ``Transcode``, ``ImageSprites`` …"""
    if kind in _INTELLIGENT:
        return _INTELLIGENT[kind][0]
    return (_MEMBERS.get(kind) or _NODES[kind])[0]


def iso(moment: float | None) -> str:
    """Seconds since 1970 as the contract writes times; what was not reached yet is all zeros."""
    if moment is None:
        return "0000-00-00T00:00:00Z"
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def input_info(task: Task) -> dict[str, Any]:
    """The source object as a MediaInputInfo."""
    order = task.order
    info: dict[str, Any] = {"Type": order.input_type, "CosInputInfo": None, "UrlInputInfo": None, "S3InputInfo": None}
    info["VODInputInfo"] = None
    bucket, region, key = task.source.storage, order.region, f"/{task.source.key}"
    if order.input_type == "URL":
        info["UrlInputInfo"] = {"Url": task.source.key}
    elif order.input_type == "AWS-S3":
        info["S3InputInfo"] = {"S3Bucket": bucket, "S3Region": region, "S3Object": key}
    else:
        info["CosInputInfo"] = {"Bucket": bucket, "Region": region, "Object": key}
    return info


def _result(kind: str, result: StepResult) -> dict[str, Any]:
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
        body["BeginProcessTime"] = iso(result.begin_time)
        body["FinishTime"] = iso(result.finish_time)
    return body


def _media_result(kind: str, result: StepResult) -> dict[str, Any]:
    type_name, member = _MEMBERS[kind]
    others = {other: None for _, other in _MEMBERS.values() if other not in _OURS}
    return {"Type": type_name, **others, member: _result(kind, result)}


def _activity_result(step: StepInput, result: StepResult) -> dict[str, Any]:
    kind = step.kind
    type_name, member = _NODES[kind]
    body = _result(kind, result)
    if kind in _INTELLIGENT:
        standing = _standing(step, result)
        body["Input"] = {"Definition": step.definition}
        body["Output"] = standing
    if kind == "quality_control":
        body = standing[0]
    if kind == "exec_rules":
        body = {key: body[key] for key in ("Status", "ErrCodeExt", "Message", "Input", "Output")}
        body["Input"] = {"Rules": (body["Input"] or {}).get("Rules", [])}
    others = dict.fromkeys((*(other for _, other in _NODES.values()), *_OTHER_NODES))
    return {"ActivityType": type_name, "ActivityResItem": {**others, member: body}}


def _head(task: Task) -> dict[str, Any]:
    return {
        "TaskId": task.task_id,
        "Status": "FINISH" if task.status == "FINISH" else "PROCESSING",
        "ErrCode": task.code,
        "Message": task.message or ("SUCCESS" if task.status == "FINISH" else ""),
        "InputInfo": input_info(task),
        "MetaData": wire.encode(task.metadata) if task.metadata is not None and task.order.tells_metadata else None,
    }


def workflow_task(task: Task) -> dict[str, Any]:
    """The WorkflowTask object: the body of an event, and of DescribeTaskDetail."""
    return {
        **_head(task),
        "MediaProcessResultSet": [
            _media_result(step.kind, result)
            for step, result in zip(task.order.steps, task.results, strict=False)
            if step.kind in _MEMBERS
        ],
        "AiContentReviewResultSet": _intelligent_set(task, "content_review"),
        "AiAnalysisResultSet": _intelligent_set(task, "ai_analysis"),
        "AiRecognitionResultSet": _intelligent_set(task, "ai_recognition"),
        "AiQualityControlTaskResult": next(iter(_intelligent_set(task, "quality_control")), None),
        "SmartSubtitlesTaskResult": None,
        "SmartEraseTaskResult": None,
        "AiDubbingTaskResult": None,
    }


def schedule_task(task: Task) -> dict[str, Any]:
    """The ScheduleTask object; nodes that no rule chose are left out."""
    found = zip(task.order.steps, task.results, strict=False)
    return {
        **_head(task),
        "ActivityResultSet": [_activity_result(step, result) for step, result in found if result.status != "SKIP"],
    }


def image_task(task: Task) -> dict[str, Any]:
    """The members of DescribeImageTaskDetail; in an event, ours, since the model has none for pictures."""
    order = task.order
    assert isinstance(order, ImageRequest)  # noqa: S101  by its kind
    return {
        "TaskType": "WorkflowTask",
        "Status": task.status,
        "ErrCode": task.code or max((error_number(result.code) for result in task.results), default=0),
        "ErrMsg": next((result.code for result in task.results if result.code), ""),
        "Message": task.message or next((result.message for result in task.results if result.message), ""),
        "ImageProcessTaskResultSet": [
            {
                "Status": result.status,
                "ErrMsg": result.code,
                "Message": result.message or ("SUCCESS" if result.status == "SUCCESS" else ""),
                "Output": wire.encode(result.output) if result.output is not None else None,
                "Progress": result.progress,
            }
            for result in task.results
        ],
        "CreateTime": iso(task.create_time),
        "FinishTime": iso(task.finish_time),
        "Definition": 0,
        "ImageTask": wire.encode(order.image_task),
        "InputInfo": input_info(task),
    }


def task_object(task: Task) -> dict[str, Any]:
    """The task as its kind has it."""
    if task.order.kind == "ImageTask":
        return image_task(task)
    return schedule_task(task) if task.order.kind == "ScheduleTask" else workflow_task(task)


def task_event(task: Task, event_id: str) -> dict[str, Any]:
    """The event object, before it is signed for one receiver.

    ``EventId`` and ``WorkflowName`` are ours: the same event delivered twice carries the same id.
    """
    body: dict[str, Any] = {
        "EventType": task.order.kind,
        "EventId": event_id,
        "WorkflowName": task.order.name,
        "WorkflowTaskEvent": None,
        "EditMediaTaskEvent": None,
        "ScheduleTaskEvent": None,
        "SessionId": task.session_id,
        "SessionContext": task.session_context,
    }
    body[f"{task.order.kind}Event"] = task_object(task)
    return body


def render(event: dict[str, Any], notify_key: str, now: float) -> bytes:
    """The bytes to send: signed as tasks.md, section 8.2, when the receiver has a key."""
    body = dict(event)
    if notify_key:
        expires = int(now) + SIGNATURE_VALID_SECONDS
        body["Timestamp"] = expires
        # MD5 is what the contract's receivers verify; it protects nothing else here.
        body["Sign"] = hashlib.md5(f"{expires}{notify_key}".encode(), usedforsecurity=False).hexdigest()
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")


def cloud_event(body: bytes, event_id: str, when: float) -> bytes:
    """An event as the data of a CloudEvent 1.0 in JSON (CloudEvents specification, JSON event format)."""
    data = json.loads(body)
    kind = str(data.get("EventType", "Task"))
    task = data.get(f"{kind}Event") or data
    time_ = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/watcher",
        "type": f"watcher.{kind}",
        "subject": str(task.get("TaskId", "")) or None,
        "time": time_,
        "datacontenttype": "application/json",
        "data": data,
    }
    present = {name: value for name, value in event.items() if value is not None}
    return json.dumps(present, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")
