"""Hostile and broken input: a clear error in its own task, and all the others go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import parts

STEPS = {
    "TranscodeTaskSet": [{"Definition": 100010}],
    "SnapshotByTimeOffsetTaskSet": [{"Definition": 10, "ExtTimeOffsetSet": ["1s"]}],
}


def settled(source: Path, target: Path) -> None:
    """Put a file in place at once, as an uploader does."""
    shutil.copy(source, target.with_name(f".{target.name}"))
    target.with_name(f".{target.name}").rename(target)


def test_each_bad_file_fails_alone(
    daemon: Callable[..., parts.Daemon],
    folders: dict[str, Any],
    tmp_path: Path,
    clip: Path,
    receiver: parts.HttpReceiver,
) -> None:
    """Empty, text, truncated, silent, soundless files and playlists that point elsewhere, and a good one after them."""
    settings = folders | {"notifiers": {"hook": {"type": "webhook", "url": receiver.url}}}
    settings["discovery"] = {"min_size": 0}  # else the empty one would start nothing
    body = parts.workflow("inbox-1250000000", OutputDir="/out/", MediaProcessTask=STEPS)
    body["Trigger"]["CosFileUploadTrigger"]["Formats"] = ["*"]
    service = daemon(settings, body)
    inbox, made = tmp_path / "inbox", tmp_path / "made"
    made.mkdir()
    (made / "empty.mp4").touch()
    (made / "text.mp4").write_text("this is no video\n" * 100)
    (made / "truncated.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    (made / "fake.jpg").write_text("GIF89a" + "\0" * 100)
    secret = tmp_path / "secret.mp4"
    shutil.copy(clip, secret)
    (made / "concat.mp4").write_text(f"ffconcat version 1.0\nfile {secret}\n")
    (made / "sibling.mp4").write_text("ffconcat version 1.0\nfile good.mp4\n")
    (made / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:3,\n{receiver.url}/segment.ts\n#EXT-X-ENDLIST\n")
    parts.make_clip(made / "cut.mp4", "-movflags", "+faststart")
    whole = (made / "cut.mp4").read_bytes()
    (made / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    parts.make_clip(made / "sound.m4a", "-vn")
    service.start()
    bad = sorted(path for path in made.iterdir())
    for path in bad:
        settled(path, inbox / path.name)
    settled(clip, inbox / "good.mp4")
    tasks = {task["key"]: task for task in service.finished(len(bad) + 1, timeout=90)}
    assert not tasks["good.mp4"]["failed"]
    for path in bad:
        assert tasks[path.name]["failed"], path.name
    codes = {name: sorted({result["code"] for result in task["results"]}) for name, task in tasks.items()}
    messages = {name: " ".join(result["message"] for result in task["results"]) for name, task in tasks.items()}
    for name in ("empty.mp4", "text.mp4", "truncated.mp4", "fake.jpg", "concat.mp4", "sibling.mp4", "list.m3u8"):
        assert codes[name] == ["SourceFileError"], (name, messages[name])
        assert tasks[name]["code"] == 70000
    assert "empty" in messages["empty.mp4"]
    # Two thirds of a file whose header promises all of it: the picture at one second is there, the film is not.
    assert codes["cut.mp4"] == ["", "SourceFileError"], messages["cut.mp4"]
    assert "ends early" in messages["cut.mp4"]
    assert codes["sound.m4a"] == ["SourceFileError.NoVideoMedia"]
    outputs = sorted(path.name for path in (inbox / "out").iterdir())
    assert outputs == [
        "cut_snapshotByTimeOffset_10_0.jpg",
        "good_snapshotByTimeOffset_10_0.jpg",
        "good_transcode_100010.mp4",
    ]
    parts.wait_for(lambda: len(receiver.requests) == len(tasks), what="an event for each task")
    assert not [request for request in receiver.requests if "segment" in request.path]
    for request in receiver.requests:
        assert request.event["WorkflowTaskEvent"]["Status"] == "FINISH"
    for name, text in messages.items():
        assert "Traceback" not in text, name
        assert str(service.root / "work") not in text, name
    assert service.stop() == 0
    assert "Traceback" not in service.text()


def test_requests_that_cannot_be_met(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path, clip: Path
) -> None:
    """An unknown template, a time beyond the end, a path that leaves the bucket, two outputs of one name."""
    steps = {
        "TranscodeTaskSet": [
            {"Definition": 424242},
            {"Definition": 100010, "OutputObjectPath": "/same.mp4"},
            {"Definition": 100020, "OutputObjectPath": "/same.mp4"},
            {"Definition": 875, "OutputObjectPath": "/{inputName}.mp4"},
            {"Definition": 100010, "StartTimeOffset": 90},
        ],
        "SnapshotByTimeOffsetTaskSet": [{"Definition": 10, "ExtTimeOffsetSet": ["99s"]}],
        "SampleSnapshotTaskSet": [{"Definition": 10}],
    }
    service = daemon(folders, parts.workflow("inbox-1250000000", OutputDir="/out/", MediaProcessTask=steps))
    service.start()
    settled(clip, tmp_path / "inbox" / "a.mp4")
    (task,) = service.finished(1)
    results = [(result["status"], result["code"]) for result in task["results"]]
    assert results == [
        ("FAIL", "InvalidInput.DefinitionNotExist"),
        ("SUCCESS", ""),
        ("FAIL", "InvalidInput"),
        ("FAIL", "InvalidInput"),
        ("FAIL", "InvalidInput.InvalidTimeOffset"),
        ("FAIL", "InvalidInput.InvalidTimeOffset"),
        ("SUCCESS", ""),
    ]
    assert "would overwrite the source object" in task["results"][3]["message"]
    assert (tmp_path / "inbox" / "a.mp4").read_bytes() == clip.read_bytes()
    assert len(list((tmp_path / "inbox" / "out").iterdir())) == 10


def test_source_replaced_while_it_is_processed(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path, clip: Path, long_clip: Path
) -> None:
    """The first version ends as superseded and publishes nothing; the second gets its own task."""
    steps = {"TranscodeTaskSet": [{"Definition": 100030}]}
    service = daemon(folders, parts.workflow("inbox-1250000000", OutputDir="/out/", MediaProcessTask=steps))
    service.start()
    settled(long_clip, tmp_path / "inbox" / "a.mp4")
    parts.wait_for(lambda: list((service.root / "work").rglob("main.mp4")), what="ffmpeg to begin")
    settled(clip, tmp_path / "inbox" / "a.mp4")
    first, second = service.finished(2, timeout=90)
    assert first["failed"]
    assert "overwritten" in first["message"]
    assert not second["failed"]
    output = json.loads(json.dumps(second["results"][0]["output"]))
    assert output["duration"] < 4


def test_outputs_never_start_their_own_workflow(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any], tmp_path: Path, clip: Path
) -> None:
    """The MPS default writes beside the source, where the trigger looks. A chain goes on only where it is wanted."""
    same = {"TranscodeTaskSet": [{"Definition": 875}]}
    chained = parts.workflow(
        "inbox-1250000000",
        WorkflowName="chained",
        AcceptOutputs=True,
        MediaProcessTask={"TranscodeTaskSet": [{"Definition": 875, "OutputObjectPath": "/chained/{inputName}_c.mp4"}]},
    )
    other = parts.workflow("inbox-1250000000", WorkflowName="other", MediaProcessTask=same | {"ImageSpriteTaskSet": []})
    named = {"TranscodeTaskSet": [{"Definition": 875, "OutputObjectPath": "{inputName}_first.mp4"}]}
    first = parts.workflow("inbox-1250000000", MediaProcessTask=named)
    service = daemon(folders, first, chained, other)
    service.start()
    settled(clip, tmp_path / "inbox" / "a.mp4")
    # The source starts all three; the outputs of the other two start the chained one, whose outputs start nothing.
    tasks = service.finished(5)
    parts.time.sleep(2.0)
    started = sorted((task["workflow"], task["key"]) for task in service.finished(5))
    assert started == [
        ("chained", "a.mp4"),
        ("chained", "a_first.mp4"),
        ("chained", "a_transcode_875.mp4"),
        ("clips", "a.mp4"),
        ("other", "a.mp4"),
    ]
    assert not any(task["failed"] for task in tasks)
