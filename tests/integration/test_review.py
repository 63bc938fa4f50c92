"""Content review over media of which the truth is known: words on the screen and in speech, persons, nudity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.truth import Speech, Title, film, photographs, recordings, slides
from tests.workbench import Bench
from watcher.model.ai_templates import ContentReviewTemplate
from watcher.model.findings import Findings, SeenFace, SeenPart
from watcher.model.inputs import ContentReviewInput
from watcher.model.output_path import Naming
from watcher.model.samples import KnownPerson, Person, Word
from watcher.model.unit import PlannedStep
from watcher.steps._encoders import EncoderOptions
from watcher.steps._intelligent import seen_persons
from watcher.steps.content_review import ContentReviewStep

BOTH = ("Review.Ocr", "Review.Asr")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


async def reviewed(bench: Bench, source: Path, template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The parts of a review by their type."""
    (bench.root / source.name).write_bytes(source.read_bytes())
    bench.template("content_review", 50001, {"Name": "n"} | template)
    (result,) = (await bench.run(source.name, AiContentReviewTask={"Definition": 50001})).results
    assert result.output is not None, result.message
    return {part["type"]: part for part in result.output["parts"]}


async def test_words_on_the_screen_and_in_speech(workbench: Bench, folder: Path) -> None:
    """Words of a check, and those of all checks; the thresholds decide what becomes of them."""
    speech = recordings()[1]
    said = [Speech(speech.file, speech.words, 1.0)]
    source = film(folder / "story.mp4", 6, [Title("Secret Rally Tonight", 1, 3)], said)
    workbench.words = [
        Word("rally", BOTH, ("Political",)), Word("secret", BOTH, ()), Word("man", BOTH, ("porn",)),
        Word("tonight", ("Recognition.Ocr",), ()),
    ]  # fmt: skip
    on = {"Switch": "ON"}
    template = {
        "PornConfigure": {"AsrReviewInfo": on | {"BlockConfidence": 1, "ReviewConfidence": 0}, "OcrReviewInfo": on},
        "PoliticalConfigure": {"OcrReviewInfo": on | {"BlockConfidence": 90}, "AsrReviewInfo": on},
        "TerrorismConfigure": {"OcrReviewInfo": {"Switch": "OFF"}},
    }
    workbench.serve(text="rapidocr", speech="pocketsphinx")
    try:
        found = await reviewed(workbench, source, template)
    finally:
        await workbench.worker.models.close()
    assert found.keys() == {"Porn.Asr", "Porn.Ocr", "Political.Asr", "Political.Ocr"}
    political = found["Political.Ocr"]["output"]
    assert {segment["keyword_set"][0] for segment in political["segment_set"]} == {"rally", "secret"}
    assert political["suggestion"] == "block"
    for segment in political["segment_set"]:
        assert (segment["start_time_offset"], segment["end_time_offset"]) == (1.0, 3.0)
        assert len(segment["area_coord_set"]) == 4
    assert "label" not in political
    porn = found["Porn.Ocr"]["output"]
    assert [segment["keyword_set"] for segment in porn["segment_set"]] == [["secret"]]
    assert porn["suggestion"] == "review"  # 75 to 100
    spoken = found["Porn.Asr"]["output"]
    assert [segment["keyword_set"] for segment in spoken["segment_set"]] == [["man"]]
    assert spoken["suggestion"] == "block"
    assert found["Political.Asr"]["output"] == {"confidence": 0.0, "suggestion": "pass", "segment_set": []}
    report = json.loads(workbench.path("out/story_content_review_50001.json").read_text())
    assert {entry["SampleRate"] for entry in report} == {0.0, 1.0}
    assert all(5.9 < entry["Duration"] < 6.1 for entry in report)


async def test_persons(workbench: Bench, folder: Path) -> None:
    """Those of the library for review, labelled by their tags."""
    portraits = photographs(folder)
    source = slides(folder / "faces.mp4", [None, portraits / "obama2.jpg", None])

    def person(name: str, usage: str, *tags: str) -> KnownPerson:
        return KnownPerson(Person(name, name, "", (usage,), tags), ((name, (portraits / "obama.jpg").read_bytes()),))

    workbench.persons = [
        person("He", "Review.Face", "tall", "celebrity"),
        person("Other use", "Recognition.Face"),
    ]
    workbench.serve(faces="dlib")
    try:
        on = {"Switch": "ON"}
        found = await reviewed(workbench, source, {"PoliticalConfigure": {"ImgReviewInfo": on}})
        output = found["Political"]["output"]
        (segment,) = output["segment_set"]
        assert (segment["name"], segment["label"]) == ("He", "celebrity")
        assert (segment["start_time_offset"], segment["end_time_offset"]) == (2.0, 4.0)
        assert (output["suggestion"], output["label"]) == ("review", "celebrity")
        only = {"PoliticalConfigure": {"ImgReviewInfo": on | {"LabelSet": ["politician"]}}}
        assert (await reviewed(workbench, source, only))["Political"]["output"]["segment_set"] == []
    finally:
        await workbench.worker.models.close()


async def test_portraits_are_not_nude(workbench: Bench, folder: Path) -> None:
    """And what can't be reviewed is refused by name."""
    portraits = photographs(folder)
    source = slides(folder / "portraits.mp4", [portraits / "obama2.jpg", portraits / "biden.jpg"])
    workbench.serve(nudity="nudenet")
    try:
        on = {"ImgReviewInfo": {"Switch": "ON"}}
        found = await reviewed(workbench, source, {"PornConfigure": on, "TerrorismConfigure": on})
    finally:
        await workbench.worker.models.close()
    assert found["Porn"]["output"] == {"confidence": 0.0, "suggestion": "pass", "segment_set": [], "label": ""}
    assert "the settings name no provider of violence" in found["Terrorism"]["message"]


@pytest.mark.parametrize(
    ("parts", "check", "expected"),
    [
        ([("FACE_MALE", 99.0), ("FEET_EXPOSED", 99.0)], {}, ("pass", "", 0)),
        ([("FEMALE_BREAST_EXPOSED", 95.0)], {}, ("block", "vulgar", 1)),
        ([("FEMALE_BREAST_EXPOSED", 60.0), ("ANUS_EXPOSED", 40.0)], {}, ("review", "vulgar", 2)),
        ([("BUTTOCKS_COVERED", 60.0)], {"review_confidence": 70.0}, ("pass", "sexy", 1)),
        ([("BUTTOCKS_COVERED", 99.0), ("ANUS_EXPOSED", 50.0)], {"label_set": ["porn"]}, ("review", "porn", 1)),
    ],
)
def test_what_nudity_means(
    parts: list[tuple[str, float]], check: dict[str, Any], expected: tuple[str, str, int], tmp_path: Path
) -> None:
    """The labels of the model for what the detector names, and the thresholds."""
    image = {"switch": "ON"} | check
    template = ContentReviewTemplate.model_validate({"porn_configure": {"img_review_info": image}})
    planned = PlannedStep(ContentReviewInput(definition=1), template, "b", {}, "/out/")
    step = ContentReviewStep("s0", planned, Naming("a.mp4", "/out/", 1), EncoderOptions("ultrafast"))
    seen = tuple(SeenPart(name, confidence, (0, 0, 9, 9)) for name, confidence in parts)
    findings = Findings(3.0, 1.0, parts=((0.0, ()), (1.0, seen), (2.0, seen)))
    (part,) = step.conclude(findings, tmp_path).item["parts"]
    output = part["output"]
    assert (output["suggestion"], output["label"], len(output["segment_set"])) == expected
    for segment in output["segment_set"]:
        assert (segment["start_time_offset"], segment["end_time_offset"]) == (1.0, 3.0)


def test_a_face_is_of_the_person_it_is_most_like() -> None:
    """Among those that are looked for; another person's samples don't stand in the way."""

    def known(name: str, *faces: str) -> KnownPerson:
        return KnownPerson(Person(name, name, "", (), ()), tuple((face, b"") for face in faces))

    here, there = (0, 0, 9, 9), (20, 0, 29, 9)
    faces = (
        (0.0, (SeenFace("a1", 97.0, here), SeenFace("b1", 99.0, here), SeenFace("a2", 96.0, there))),
        (1.0, (SeenFace("b1", 90.0, here),)),
    )
    findings = Findings(2.0, 1.0, faces=faces)
    a, b = known("a", "a1", "a2"), known("b", "b1")

    def found(*persons: KnownPerson) -> dict[str, list[float]]:
        seen = seen_persons(findings, persons, 95.0)
        return {person.name: [face.likeness if face else 0.0 for _, face in times] for person, times in seen}

    assert found(a, b) == {"a": [96.0, 0.0], "b": [99.0, 0.0]}
    assert found(a) == {"a": [97.0, 0.0]}
    assert found() == {}
