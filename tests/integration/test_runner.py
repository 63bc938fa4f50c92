"""Planning a task: names become templates, storages and directories, and each that is missing fails its own step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests import parts
from watcher.catalog import lint, preset_directory
from watcher.errors import MediaError
from watcher.model.objects import ObjectInfo
from watcher.model.task import Task
from watcher.model.templates import TranscodeTemplate
from watcher.model.workflow import Workflow
from watcher.mps import files, wire
from watcher.planning import plan
from watcher.storage import memory, s3

TEMPLATES, _ = files.load_templates([preset_directory()])
STORAGES = {
    "in-1250000000": memory.MemoryStorage("in-1250000000", memory.Options()),
    "out": s3.S3Storage("out", s3.Options(region="eu-west-3")),
    "third": memory.MemoryStorage("third", memory.Options()),
}


def task(**changes: Any) -> Task:
    workflow = wire.decode(Workflow, parts.workflow("in-1250000000", **changes))
    source = ObjectInfo("in-1250000000", "up/a.mp4", 5, "e", 1)
    return Task("t", 7, workflow, source, "PROCESSING", 0, (3,), 1.0)


def test_inheritance() -> None:
    """Storage: sub-task, workflow, trigger. Directory: workflow, else the source's (workflows.md, section 5.1)."""
    steps = {
        "TranscodeTaskSet": [
            {"Definition": 100010},
            {"Definition": 100010, "OutputStorage": {"Type": "COS", "CosOutputStorage": {"Bucket": "third"}}},
        ]
    }
    plain = plan(task(MediaProcessTask=steps), TEMPLATES, STORAGES)
    assert [(step.storage, step.directory) for step in plain.steps] == [("in-1250000000", "/up/"), ("third", "/up/")]
    assert plain.lineage == (3, 7)
    out = {"Type": "AWS-S3", "S3OutputStorage": {"S3Bucket": "out", "S3Region": "eu-west-3"}}
    moved = plan(task(MediaProcessTask=steps, OutputStorage=out, OutputDir="/d/"), TEMPLATES, STORAGES)
    assert [(step.storage, step.directory) for step in moved.steps] == [("out", "/d/"), ("third", "/d/")]
    assert moved.steps[0].storage_echo["s3_output_storage"] == {"s3_bucket": "out", "s3_region": "eu-west-3"}
    assert moved.steps[1].storage_echo["cos_output_storage"] == {"bucket": "third", "region": "ap-guangzhou"}


def test_what_is_missing_fails_its_own_step() -> None:
    """An unknown template, storage or an override that does not fit; the others are planned."""
    steps = {
        "TranscodeTaskSet": [
            {"Definition": 424242},
            {"Definition": 100010, "OutputStorage": {"Type": "COS", "CosOutputStorage": {"Bucket": "nope"}}},
            {"Definition": 100010, "OverrideParameter": {"Container": "wav"}},
            {"Definition": 100010, "OverrideParameter": {"VideoTemplate": {"Height": 720}}},
        ]
    }
    unit = plan(task(MediaProcessTask=steps), TEMPLATES, STORAGES)
    codes = [step.problem[0] if step.problem else "" for step in unit.steps]
    assert codes == ["InvalidInput.DefinitionNotExist", "InvalidInput", "InvalidInput", ""]
    changed = unit.steps[3].template
    assert isinstance(changed, TranscodeTemplate)
    assert changed.video_template is not None
    assert (changed.video_template.height, changed.video_template.bitrate) == (720, 400)


def test_a_source_whose_storage_is_gone() -> None:
    """A task that waited while its storage was taken out of the settings ends in words."""
    found = task()
    with pytest.raises(MediaError, match="no storage 'gone' in the settings"):
        plan(replace(found, source=replace(found.source, storage="gone")), TEMPLATES, STORAGES)


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, True),
        ({"OutputDir": "/up/"}, True),
        ({"OutputStorage": {"Type": "COS", "CosOutputStorage": {"Bucket": "third"}}}, False),
        ({"MediaProcessTask": {"TranscodeTaskSet": [{"Definition": 100010}]}}, True),
    ],
)
def test_lint(changes: dict[str, Any], warned: bool) -> None:
    """Results that land where the trigger looks are worth a warning."""
    body = parts.workflow("in-1250000000", **changes)
    body["Trigger"]["CosFileUploadTrigger"]["Formats"] = ["mp4", "jpg"]
    found = lint(wire.decode(Workflow, body), "w.yaml")
    assert bool(found) is warned
    assert all(problem.warning for problem in found)
