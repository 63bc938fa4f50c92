"""Every family of sub-tasks through the service: dropped file, templates of one's own, results, task event."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from tests import parts


def test_all_pipelines(
    daemon: Callable[..., parts.Daemon],
    folders: dict[str, Any],
    tmp_path: Path,
    clip: Path,
    receiver: parts.HttpReceiver,
) -> None:
    """A ladder, a marked transcode, a moving picture, a waveform and a command, from one file dropped once."""
    workflow = parts.workflow(
        "inbox-1250000000",
        OutputStorage={"Type": "COS", "CosOutputStorage": {"Bucket": "outbox-1250000000"}},
        MediaProcessTask={
            "TranscodeTaskSet": [{"Definition": 200001, "WatermarkSet": [{"Definition": 200001}]}],
            "AnimatedGraphicTaskSet": [{"Definition": 20000, "StartTimeOffset": 0, "EndTimeOffset": 1}],
            "AdaptiveDynamicStreamingTaskSet": [{"Definition": 10}, {"Definition": 20}],
            "WaveformTaskSet": [{"Definition": 10}],
            "CommandTaskSet": [{"Command": ["/bin/cp", "{input}", "{output}/copy.bin"], "Name": "copy"}],
        },
        TaskNotifyConfig={"NotifyType": "URL", "NotifyUrl": f"{receiver.url}/events"},
    )
    service = daemon(folders, workflow)
    (service.root / "templates").mkdir()
    Image.new("RGB", (80, 40), (255, 0, 0)).save(service.root / "templates" / "logo.png")
    (service.root / "templates" / "own.yaml").write_text(yaml.safe_dump({
        "TranscodeTemplateSet": [{
            "Definition": 200001, "Container": "webm",
            "VideoTemplate": {"Codec": "vp9", "Height": 128}, "AudioTemplate": {"Codec": "opus", "Bitrate": 64},
        }],
        "WatermarkTemplateSet": [
            {"Definition": 200001, "Type": "image", "ImageTemplate": {"ImageFile": "logo.png", "Width": "20%"}}
        ],
    }))  # fmt: skip
    service.start()
    shutil.copy(clip, tmp_path / "inbox" / "a.mp4")
    (task,) = service.finished(1)
    assert [result["status"] for result in task["results"]] == ["SUCCESS"] * 6, task["results"]
    made = {path.name for path in (tmp_path / "outbox").rglob("*") if path.is_file()}
    assert {"a_transcode_200001.webm", "a_animatedGraphic_20000.gif", "a_adaptiveDynamicStreaming_10.m3u8"} <= made
    assert {"a_adaptiveDynamicStreaming_20.mpd", "a_waveform_10.png", "copy.bin"} <= made
    master = (tmp_path / "outbox" / "a_adaptiveDynamicStreaming_10.m3u8").read_text()
    assert master.count("STREAM-INF") == 1, "the source is smaller than all rungs but none: one is kept"
    parts.wait_for(lambda: receiver.requests, what="the event")
    event = receiver.requests[0].event["WorkflowTaskEvent"]
    types = [item["Type"] for item in event["MediaProcessResultSet"]]
    assert types == ["Transcode", "AnimatedGraphics", *["AdaptiveDynamicStreaming"] * 2, "Waveform", "Command"]
    ladder = event["MediaProcessResultSet"][2]["AdaptiveDynamicStreamingTask"]
    assert ladder["Output"]["Package"] == "HLS"
    assert ladder["Output"]["Path"] == "/a_adaptiveDynamicStreaming_10.m3u8"
    assert service.stop() == 0


def test_a_template_that_names_no_file(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """The file and the field are named, with what is wrong."""
    service = daemon(folders)
    (service.root / "templates").mkdir()
    body = {"Definition": 200001, "Type": "image", "ImageTemplate": {"ImageFile": "none.png"}}
    (service.root / "templates" / "own.json").write_text(json.dumps({"WatermarkTemplateSet": [body]}))
    with pytest.raises(AssertionError, match=r"ImageTemplate.ImageFile.*can't be read"):
        service.start()
