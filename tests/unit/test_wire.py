"""The wire format: names both ways, refusals by name, presets as the contract lists them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import parts
from watcher.catalog import preset_directory
from watcher.errors import ConfigurationError
from watcher.model.inputs import MediaProcessTask, TranscodeInput
from watcher.model.templates import TranscodeTemplate
from watcher.model.workflow import Workflow
from watcher.mps import files, wire

SNAKE = ["workflow_name", "web_vtt_object_name", "s3_bucket", "aws_s3_file_upload_trigger", "md5", "err_code_ext"]
SNAKE += ["tehd_config", "aws_sqs", "vod_input_info", "cos_input_info", "output_object_path", "hls_time"]


@pytest.mark.parametrize("name", SNAKE)
def test_names_go_both_ways(name: str) -> None:
    """snake_case to PascalCase and back."""
    assert wire.from_wire(wire.to_wire(name)) == name


def test_wire_names() -> None:
    """The contract's spelling, with its exceptions."""
    found = [wire.to_wire(name) for name in ("web_vtt_path", "tehd_config", "s3_output_storage", "vod_output_storage")]
    assert found == ["WebVttPath", "TEHDConfig", "S3OutputStorage", "VODOutputStorage"]


def test_a_create_workflow_body_is_a_workflow() -> None:
    """The sample of the contract (workflows.md, section 8) without its recognition task, as JSON."""
    body = {
        "WorkflowName": "news-clips",
        "Trigger": {
            "Type": "CosFileUpload",
            "CosFileUploadTrigger": {
                "Bucket": "clips-1250000001",
                "Region": "ap-guangzhou",
                "Dir": "/upload/",
                "Formats": ["mp4", ".mov"],
            },
        },
        "OutputStorage": {"Type": "COS", "CosOutputStorage": {"Bucket": "out-1250000001", "Region": "ap-guangzhou"}},
        "OutputDir": "/done/",
        "MediaProcessTask": {
            "TranscodeTaskSet": [{"Definition": "100030"}],
            "ImageSpriteTaskSet": [{"Definition": 10}],
        },
        "AiAnalysisTask": None,
        "TaskNotifyConfig": {"NotifyType": "URL", "NotifyUrl": "http://hook.example/mps", "NotifyMode": "Finish"},
        "TaskPriority": "0",
    }
    workflow = files.decode_workflow(json.loads(json.dumps(body)), "w.json")
    assert workflow.enabled is False
    assert workflow.trigger.formats == {"mp4", "mov"}
    assert workflow.output_bucket == "out-1250000001"
    assert [step.definition for step in workflow.media_process_task.steps] == [100030, 10]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"SmartEraseTask": {"Definition": 10}}, "SmartEraseTask: is part of the MPS model, but this version"),
        ({"Colour": "red"}, "Colour: unknown field"),
        ({"workflow_name": "x"}, "workflow_name: unknown field; names are written like WorkflowName"),
        ({"WorkflowName": "x" * 129}, "WorkflowName: "),
        ({"TaskPriority": 11}, "TaskPriority: "),
        ({"OutputDir": "done"}, "OutputDir: 'done' must start and end with '/'"),
        ({"MediaProcessTask": {}}, "would do nothing"),
        ({"MediaProcessTask": {"AnimatedGraphicTaskSet": [{"Definition": 20000}]}}, "StartTimeOffset: is required"),
        ({"MediaProcessTask": {"TranscodeTaskSet": [{"Definition": "x"}]}}, "TranscodeTaskSet[0].Definition: "),
        ({"MediaProcessTask": {"TranscodeTaskSet": [{"Definition": 0}]}}, "RawParameter is required"),
        (
            {"MediaProcessTask": {"TranscodeTaskSet": [{"Definition": 10, "BlindWatermark": {"Definition": 1}}]}},
            "MediaProcessTask.TranscodeTaskSet[0].BlindWatermark: is part of the MPS model",
        ),
        (
            {"MediaProcessTask": {"TranscodeTaskSet": [{"Definition": 10, "OutputObjectPath": "{nome}.mp4"}]}},
            "there is no variable {nome}",
        ),
        (
            {"MediaProcessTask": {"SnapshotByTimeOffsetTaskSet": [{"Definition": 10, "ExtTimeOffsetSet": ["3.5"]}]}},
            "write seconds as '3.5s'",
        ),
        ({"TaskNotifyConfig": {"NotifyType": "URL", "NotifyUrl": "ftp://x"}}, "NotifyUrl must be an http"),
        ({"TaskNotifyConfig": {}}, "needs QueueName or TopicName"),
        ({"OutputStorage": {"Type": "VOD"}}, "OutputStorage.Type: "),
    ],
)
def test_mistakes_are_sentences_with_their_path(changes: dict[str, Any], problem: str) -> None:
    """What is wrong, unknown or not supported is refused by name."""
    body = parts.workflow("b", **changes)
    with pytest.raises(ConfigurationError) as caught:
        files.decode_workflow(body, "w.yaml")
    assert problem in str(caught.value)
    assert str(caught.value).startswith("w.yaml: ")


def test_credentials_belong_in_the_settings() -> None:
    """A key pair in a workflow is refused with what to do instead, and is not repeated in the message."""
    rule = {"S3Bucket": "b", "S3Region": "r", "S3SecretId": "AKID", "S3SecretKey": "very-secret"}
    body = parts.workflow("b", Trigger={"Type": "AwsS3FileUpload", "AwsS3FileUploadTrigger": rule})
    with pytest.raises(ConfigurationError) as caught:
        files.decode_workflow(body, "w.yaml")
    assert "S3SecretKey: put the key pair into the settings" in str(caught.value)
    assert "very-secret" not in str(caught.value)


def test_values_that_ask_for_nothing_are_no_mistake() -> None:
    """Clients echo unset members as null, empty or their neutral value."""
    body = {
        "Definition": 100010,
        "WatermarkSet": [],
        "BlindWatermark": None,
        "HeadTailParameter": None,
        "OverrideParameter": {"VideoTemplate": {"Codec": "libx265", "SegmentType": 0, "RawPts": 0}, "TEHDConfig": {}},
    }
    decoded = wire.decode(TranscodeInput, body)
    assert decoded.override_parameter is not None
    assert decoded.override_parameter.video_template is not None
    assert decoded.override_parameter.video_template.codec == "h265"


@given(
    st.builds(
        dict,
        Definition=st.integers(1, 10**6),
        OutputObjectPath=st.none() | st.just("{inputName}.{format}"),
        StartTimeOffset=st.floats(-100, 100),
        ObjectNumberFormat=st.none() | st.builds(dict, InitialValue=st.integers(0, 9), MinLength=st.integers(0, 9)),
    )
)
def test_encode_is_the_inverse_of_decode(body: dict[str, Any]) -> None:
    """What was said comes back under the same names."""
    task = wire.decode(MediaProcessTask, {"TranscodeTaskSet": [body]})
    again = wire.encode(task)["TranscodeTaskSet"][0]
    for name, value in body.items():
        if isinstance(value, dict):
            assert again[name].items() >= value.items()
        else:
            assert again[name] == value


def presets() -> files.Templates:
    templates, problems = files.load_templates([preset_directory()])
    assert problems == []
    return templates


@pytest.mark.parametrize(
    ("definition", "container", "side", "video", "audio"),
    [
        (100010, "mp4", 360, 400, 64),
        (100020, "mp4", 540, 1000, 64),
        (100030, "mp4", 720, 1800, 128),
        (100040, "mp4", 1080, 2500, 128),
        (100070, "mp4", 1440, 3000, 160),
        (100080, "mp4", 2160, 6000, 160),
        (100210, "hls", 360, 400, 64),
        (100220, "hls", 540, 1000, 64),
        (100230, "hls", 720, 1800, 128),
        (100240, "hls", 1080, 2500, 128),
    ],
)
def test_current_presets(definition: int, container: str, side: int, video: int, audio: int) -> None:
    """The table of contract templates.md, section 14.1."""
    template = presets()["transcode", definition]
    assert isinstance(template, TranscodeTemplate)
    assert template.video_template is not None
    assert template.audio_template is not None
    assert (template.container, template.video_template.height, template.video_template.width) == (container, side, 0)
    assert (template.video_template.bitrate, template.audio_template.bitrate) == (video, audio)
    assert (template.video_template.codec, template.video_template.fps) == ("h264", 25)
    assert template.audio_template.sample_rate == 44100


def test_other_presets() -> None:
    """Audio-only, remux, legacy and picture presets are there."""
    found = presets()
    for definition in (1100, 1010, 875, 876, 10, 220, 10046, 10049, 370, 510, 640, 101010, 100800):
        assert ("transcode", definition) in found, definition
    for kind in ("snapshot_by_time_offset", "sample_snapshot", "image_sprite"):
        assert (kind, 10) in found


def test_user_templates_cannot_replace_presets(tmp_path: Path) -> None:
    """A taken definition is a mistake with its place; a new one is added."""
    (tmp_path / "own.yaml").write_text(
        "SampleSnapshotTemplateSet:\n"
        "  - {Definition: 10, SampleType: Time, SampleInterval: 5}\n"
        "  - {Definition: 200001, SampleType: Time, SampleInterval: 5}\n"
        "  - {Definition: 200002, SampleType: Percent, SampleInterval: 200}\n"
    )
    templates, problems = files.load_templates([preset_directory(), tmp_path])
    assert ("sample_snapshot", 200001) in templates
    texts = [str(problem) for problem in problems]
    assert any("SampleSnapshotTemplateSet[0].Definition: 10 is already taken" in text for text in texts)
    assert any("SampleSnapshotTemplateSet[2]: SampleInterval is in percent" in text for text in texts)


def test_duplicate_keys_and_broken_files(tmp_path: Path) -> None:
    """Plain YAML would keep the last of two keys and say nothing."""
    (tmp_path / "a.yaml").write_text("WorkflowName: a\nEnabled: true\nEnabled: false\n")
    (tmp_path / "b.yaml").write_text("WorkflowName: [\n")
    (tmp_path / "c.json").write_text("[1, 2]")
    (tmp_path / "notes.txt").write_text("not looked at")
    found, problems = files.load_workflows(tmp_path)
    assert found == []
    texts = "\n".join(map(str, problems))
    assert "a.yaml, line 3: is not valid YAML or JSON: the key 'Enabled' is there twice" in texts
    assert "b.yaml, line" in texts
    assert "c.json: must hold one CreateWorkflow body" in texts


def test_workflow_names_are_unique(tmp_path: Path) -> None:
    """Two files can't hold the same workflow."""
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps(parts.workflow("b")))
    found, problems = files.load_workflows(tmp_path)
    assert len(found) == 1
    assert "is already the name of the one in" in str(problems[0])


def test_every_workflow_of_the_repository_is_right() -> None:
    """What is shipped as an example loads, and is disabled."""
    found, problems = files.load_workflows(Path(__file__).parents[2] / "config" / "workflows")
    assert problems == []
    assert found
    assert not any(item.workflow.enabled for item in found)
    assert all(isinstance(item.workflow, Workflow) for item in found)
