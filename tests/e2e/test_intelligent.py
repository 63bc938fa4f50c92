"""Intelligent tasks through the daemon: by files and by the API, read by the official SDK, told in events."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import parts
from tests.clients import Fault
from tests.e2e.test_api import IN, Service, node, service, source, to
from tests.e2e.test_commands import watcher
from tests.integration.test_openings import episode
from tests.truth import Speech, Title, film, photographs, recordings, slides

__all__ = ["service"]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A title and a sentence."""
    speech = recordings()[1]
    said = [Speech(speech.file, speech.words, 1.0)]
    return film(tmp_path_factory.mktemp("story") / "story.mp4", 5, [Title("Evening News", 1, 4)], said)


def test_recognition_through_the_api(service: Service, receiver: parts.HttpReceiver, story: Path) -> None:
    """Template, words, workflow, request, results and event, as the official SDK reads them."""
    service.settings["outside"] = {"allow": ["127.0.0.1"]}
    samples = service.root / "daemon" / "samples"
    samples.mkdir(parents=True)
    (samples / "words.yaml").write_text("WordSet: [{Keyword: man, Usages: [Recognition.Asr]}]")
    client = service.start()
    definition = client.call(
        "CreateAIRecognitionTemplate", Name="read and listen",
        OcrFullTextConfigure={"Switch": "ON"}, OcrWordsConfigure={"Switch": "ON"},
        AsrFullTextConfigure={"Switch": "ON", "SubtitleFormat": "vtt"}, AsrWordsConfigure={"Switch": "ON"},
    )["Definition"]  # fmt: skip
    client.call("CreateWordSamples", Usages=["Recognition"], Words=[{"Keyword": "news"}])
    told = {"NotifyType": "URL", "NotifyUrl": f"{receiver.url}/hook"}
    translating = client.call(
        "CreateAIRecognitionTemplate", Name="translate",
        TranslateConfigure={"Switch": "ON", "SourceLanguage": "en", "DestinationLanguage": "zh"},
    )["Definition"]  # fmt: skip
    with pytest.raises(Fault, match="TranslateConfigure"):
        _create(client, translating)
    workflow = _create(client, definition, TaskNotifyConfig=told)
    shown = client.call("DescribeWorkflows")["WorkflowInfoSet"][0]
    assert shown["AiRecognitionTask"]["Definition"] == definition
    client.call("EnableWorkflow", WorkflowId=workflow)
    (service.root / "in" / "story.mp4").write_bytes(story.read_bytes())
    parts.wait_for(lambda: receiver.requests, 60, "the event")
    task = receiver.requests[0].event["WorkflowTaskEvent"]
    results = {item["Type"]: item for item in task["AiRecognitionResultSet"]}
    assert results["OcrFullTextRecognition"]["OcrFullTextTask"]["Output"]["SegmentSet"][0]["TextSet"][0]["Text"] == (
        "Evening News"
    )
    (word,) = results["OcrWordsRecognition"]["OcrWordsTask"]["Output"]["ResultSet"]
    assert word["Word"] == "news"
    (heard,) = results["AsrWordsRecognition"]["AsrWordsTask"]["Output"]["ResultSet"]
    assert heard["Word"] == "man"
    speech = results["AsrFullTextRecognition"]["AsrFullTextTask"]
    assert (speech["Status"], speech["Progress"], speech["Input"]) == ("SUCCESS", 100, {"Definition": definition})
    assert (service.root / "out" / speech["Output"]["SubtitlePath"].lstrip("/")).read_text().startswith("WEBVTT")
    assert speech["Output"]["SegmentSet"][0]["Wordlist"][0].keys() == {"Word", "Start", "End"}
    detail = client.call("DescribeTaskDetail", TaskId=task["TaskId"])["WorkflowTask"]
    assert len(detail["AiRecognitionResultSet"]) == 4
    asked = client.call(
        "ProcessMedia", InputInfo=source("/story.mp4"), OutputStorage=to(), OutputDir="/again/",
        AiRecognitionTask={"Definition": definition}, AiQualityControlTask={"Definition": 10},
    )["TaskId"]  # fmt: skip
    again = service.finished(client, asked)["WorkflowTask"]
    assert [item["Type"] for item in again["AiRecognitionResultSet"]] == list(results)
    control = again["AiQualityControlTaskResult"]
    assert (control["Status"], control["Output"]["NoAudio"]) == ("SUCCESS", False)
    assert "BlackWhiteEdge" not in {found["Type"] for found in control["Output"]["QualityControlResultSet"]}
    assert (service.root / "out" / "again" / "story_quality_10.svg").exists()
    report = json.loads((service.root / "out" / f"again/story_ai_recognition_{definition}.json").read_text())
    assert {item["Type"] for item in report} == results.keys()


def test_a_person_is_recognised_with_the_preset(service: Service, tmp_path: Path) -> None:
    """A person sample of the API, the preset for faces, text and speech, and a film with the face."""
    portraits = photographs(tmp_path)
    client = service.start()
    pictures = [base64.b64encode((portraits / "obama.jpg").read_bytes()).decode()]
    client.call("CreatePersonSample", Name="Obama", Usages=["Recognition.Face"], FaceContents=pictures)
    slides(service.root / "in" / "film.mp4", [None, portraits / "obama2.jpg", None])
    asked = client.call(
        "ProcessMedia", InputInfo=source("/film.mp4"), OutputStorage=to(), AiRecognitionTask={"Definition": 30}
    )["TaskId"]
    results = service.finished(client, asked)["WorkflowTask"]["AiRecognitionResultSet"]
    statuses = {
        item["Type"]: next(v["Status"] for k, v in item.items() if k.endswith("Task") and v) for item in results
    }
    assert statuses == {
        "FaceRecognition": "SUCCESS", "OcrFullTextRecognition": "SUCCESS", "OcrWordsRecognition": "SUCCESS",
        "AsrFullTextRecognition": "FAIL", "AsrWordsRecognition": "FAIL",  # it has no sound
    }  # fmt: skip
    (face,) = next(item for item in results if item["Type"] == "FaceRecognition")["FaceTask"]["Output"]["ResultSet"]
    assert (face["Name"], face["Type"]) == ("Obama", "UserDefine")
    (segment,) = face["SegmentSet"]
    assert (segment["StartTimeOffset"], segment["EndTimeOffset"]) == (2.0, 4.0)


def test_nodes_of_a_graph(service: Service, story: Path) -> None:
    """Recognition of what a transcode made, and quality control of the source; read by the SDK's types."""
    client = service.start()
    (service.root / "in" / "story.mp4").write_bytes(story.read_bytes())
    definition = client.call("CreateAIRecognitionTemplate", Name="read", OcrFullTextConfigure={"Switch": "ON"})[
        "Definition"
    ]
    nodes = [
        node("input", 1, 3),
        node("action-trans", 2, TranscodeTask={"Definition": 100010}),
        node("action-AIRecognition", 4, AiRecognitionTask={"Definition": definition}),
        node("action-AIQualityControl", 4, QualityControlTask={"Definition": 10}),
        node("output"),
    ]
    task = client.call(
        "ProcessMedia", InputInfo=source("/story.mp4"), OutputStorage=to(), OutputDir="/graph/", Activities=nodes
    )["TaskId"]
    service.finished(client, task)
    results = client.typed("DescribeTaskDetail", TaskId=task).ScheduleTask.ActivityResultSet
    assert [item.ActivityType for item in results] == ["Transcode", "AIRecognition", "AiQualityControl"]
    recognition = results[1].ActivityResItem.RecognitionTask
    assert (recognition.Status, recognition.Input.Definition) == ("SUCCESS", definition)
    (read,) = recognition.Output
    assert read.OcrFullTextTask.Output.SegmentSet[0].TextSet[0].Text == "Evening News"
    control = results[2].ActivityResItem.QualityControlTask
    assert (control.Status, control.Output.NoVideo) == ("SUCCESS", False)


def test_a_series_through_the_api(service: Service, tmp_path: Path) -> None:
    """The second film of a directory is compared with the first; the presets of the model split and find highlights."""
    (service.root / "daemon" / "templates").mkdir(parents=True)
    ours = {"Definition": 50009, "Name": "openings", "HeadTailConfigure": {"Switch": "ON"}}
    file = service.root / "daemon" / "templates" / "openings.yaml"
    file.write_text(json.dumps({"AIAnalysisTemplateSet": [ours]}))
    client = service.start()
    offsets = []
    for number, before in ((1, 8.0), (2, 3.0)):
        episode(service.root / "in" / f"{number}.mp4", number, before=before)
        asked = client.call(
            "ProcessMedia", InputInfo=source(f"/{number}.mp4"), OutputStorage=to(), AiAnalysisTask={"Definition": 50009}
        )["TaskId"]
        (result,) = service.finished(client, asked)["WorkflowTask"]["AiAnalysisResultSet"]
        assert result["Type"] == "HeadTailRecognition"
        offsets.append(result["HeadTailTask"]["Output"]["HeadTimeOffset"])
    assert offsets[0] == 0
    assert abs(offsets[1] - 18) <= 0.5
    for definition, kind in ((26, "Highlight"), (27, "SegmentRecognition")):
        asked = client.call(
            "ProcessMedia", InputInfo=source("/1.mp4"), OutputStorage=to(), AiAnalysisTask={"Definition": definition}
        )["TaskId"]
        service.finished(client, asked)
        (typed,) = client.typed("DescribeTaskDetail", TaskId=asked).WorkflowTask.AiAnalysisResultSet
        assert typed.Type == kind
        assert {task.Status for task in (typed.HighlightTask, typed.SegmentTask) if task} == {"SUCCESS"}
    (segment,) = typed.SegmentTask.Output.SegmentSet
    assert (segment.StartTimeOffset, round(segment.EndTimeOffset)) == (0.0, 75)
    shown = client.call("DescribeAIAnalysisTemplates", Definitions=[50009])["AIAnalysisTemplateSet"]
    assert "HeadTailConfigure" not in shown[0]


def _create(client: Any, definition: int, **more: Any) -> Any:
    rule = {"Bucket": IN, "Region": "r", "Dir": "/"}
    return client.call(
        "CreateWorkflow", WorkflowName=f"of {definition}",
        Trigger={"Type": "CosFileUpload", "CosFileUploadTrigger": rule}, OutputStorage=to(), OutputDir="/done/",
        AiRecognitionTask={"Definition": definition}, **more,
    )["WorkflowId"]  # fmt: skip


def test_what_nothing_can_do_is_refused_when_it_is_loaded(
    daemon: Callable[..., parts.Daemon], folders: dict[str, Any]
) -> None:
    """By name, with what to do; a provider that is not one of the capability too."""
    workflow = parts.workflow("inbox-1250000000", AiRecognitionTask={"Definition": 10})
    service = daemon(folders, workflow)
    done = watcher("check", "--config", str(service.config))
    assert done.returncode != 0
    assert "AiRecognitionTask.Definition: template 10: there is no default library" in done.stdout + done.stderr
    workflow = parts.workflow("inbox-1250000000", AiQualityControlTask={"Definition": 70001})
    service = daemon(folders, workflow, root=service.config.parent.parent / "control")
    template = {"Definition": 70001, "Name": "n", "QualityControlItemSet": [{"Type": "CrashScreen"}]}
    (service.root / "templates").mkdir()
    (service.root / "templates" / "quality.yaml").write_text(json.dumps({"QualityControlTemplateSet": [template]}))
    done = watcher("check", "--config", str(service.config))
    assert "AiQualityControlTask.Definition: template 70001: nothing detects CrashScreen" in done.stdout + done.stderr
    service = daemon(folders | {"ai": {"text": {"type": "pocketsphinx"}}}, parts.workflow("inbox-1250000000"))
    done = watcher("check", "--config", str(service.config))
    assert "ai.text: a provider of type pocketsphinx does not serve text" in done.stdout + done.stderr
