"""What the commands say of tasks."""

from __future__ import annotations

import time

import pytest

from watcher.cli import console
from watcher.model.activities import ExecRulesInput
from watcher.model.inputs import (
    KINDS,
    AiAnalysisInput,
    AiRecognitionInput,
    ContentReviewInput,
    MediaProcessTask,
    QualityControlInput,
)
from watcher.model.objects import ObjectInfo
from watcher.model.task import StepStatus, Task
from watcher.model.workflow import Workflow
from watcher.mps import files, wire


def test_every_kind_of_sub_task_has_a_name() -> None:
    """Also those that came later."""
    body = {
        "TranscodeTaskSet": [{"Definition": 100010}],
        "AnimatedGraphicTaskSet": [{"Definition": 20000, "StartTimeOffset": 0, "EndTimeOffset": 1}],
        "SnapshotByTimeOffsetTaskSet": [{"Definition": 10, "ExtTimeOffsetSet": ["1s"]}],
        "SampleSnapshotTaskSet": [{"Definition": 10}],
        "ImageSpriteTaskSet": [{"Definition": 10}],
        "AdaptiveDynamicStreamingTaskSet": [{"Definition": 10}],
        "WaveformTaskSet": [{"Definition": 10}],
        "CommandTaskSet": [{"Command": ["true"]}],
    }
    media = wire.decode(MediaProcessTask, body)
    intelligent = {AiAnalysisInput, AiRecognitionInput, ContentReviewInput, QualityControlInput}
    assert {type(step) for step in media.steps} | intelligent == set(KINDS)
    rule = {"type": "CosFileUpload", "cos_file_upload_trigger": {"bucket": "b", "region": "r"}}
    more = {
        "ai_recognition_task": AiRecognitionInput(definition=10),
        "ai_analysis_task": AiAnalysisInput(definition=10),
        "ai_content_review_task": ContentReviewInput(definition=10),
        "ai_quality_control_task": QualityControlInput(definition=10),
    }
    order = Workflow.model_validate({"workflow_name": "w", "trigger": rule, "media_process_task": media, **more})
    task = Task("t", 1, order, ObjectInfo.named("b", "k"), "WAITING", 0, (), time.time())
    labels = [console.step_label(task, index) for index in range(len(order.steps))]
    assert labels[0] == "transcode 100010"
    assert labels[5] == "ladder 10"
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("status", ["PROCESSING", "SUCCESS", "FAIL", "SKIP"])
def test_every_status_has_a_mark(status: StepStatus) -> None:
    """One for each."""
    assert console.MARKS[status]


def test_nodes_of_schedules_have_names() -> None:
    """Those that choose, too."""
    body = {
        "ScheduleName": "s",
        "Trigger": {"Type": "CosFileUpload", "CosFileUploadTrigger": {"Bucket": "b", "Region": "r"}},
        "Activities": [
            {"ActivityType": "input", "ReardriveIndex": [1]},
            {
                "ActivityType": "action-exec-rules",
                "ReardriveIndex": [2],
                "ActivityPara": {
                    "ExecRulesTask": {
                        "Rules": [{"Conditions": [{"Key": "Width", "Value": ">1"}], "RearDriveIndexs": [2]}]
                    }
                },
            },
            {
                "ActivityType": "action-image-sprite",
                "ReardriveIndex": [3],
                "ActivityPara": {"ImageSpriteTask": {"Definition": 10}},
            },
            {"ActivityType": "output"},
        ],
    }
    order = files.decode_workflow(body, "s.yaml")
    assert isinstance(order.steps[0], ExecRulesInput)
    task = Task("t", 1, order, ObjectInfo.named("b", "k"), "WAITING", 0, (), time.time())
    assert [console.step_label(task, index) for index in (0, 1)] == ["rules", "image sprite 10"]
