"""What a server of language models does: descriptions, translations, moderation of pictures."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import parts
from tests.truth import film, recordings
from tests.workbench import Bench

ON = {"Switch": "ON"}
DESCRIBED = {
    "title": "A test", "description": "Colours move.", "keywords": ["colour", "test"], "confidence": 80,
    "paragraphs": [{"start": 0, "end": 99, "title": "All", "summary": "of it", "keywords": ["x"]}],
}  # fmt: skip


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any]]]:
    """It says what it is told to say, or translates by turning words round; what it was asked comes after that."""
    state: list[Any] = [None]

    def respond(path: str, authorization: str, body: bytes) -> tuple[int, bytes]:
        content = json.loads(body)["messages"][0]["content"]
        state.append(content)
        said = state[0]
        if said is None:
            texts = json.loads(content[0]["text"].rpartition("\n")[2])
            said = json.dumps({"texts": [text[::-1] for text in texts]})
        return 200, json.dumps({"choices": [{"message": {"content": said}}]}).encode()

    with parts.model_server(respond) as url:
        yield url, state


async def done(bench: Bench, source: Path, task: str, family: str, **template: Any) -> dict[str, dict[str, Any]]:
    (bench.root / source.name).write_bytes(source.read_bytes())
    bench.template(family, 50001, {"Name": "n"} | template)
    (result,) = (await bench.run(source.name, **{task: {"Definition": 50001}})).results
    assert result.output is not None, result.message
    return {part["type"]: part for part in result.output["parts"]}


async def test_descriptions(workbench: Bench, server: tuple[str, list[Any]], tmp_path: Path) -> None:
    """Made of pictures with their times, and of what is said; with nonsense for an answer the part fails."""
    url, state = server
    speech = recordings()[0]
    source = film(tmp_path / "film.mp4", 8, speech=[speech])
    workbench.serve(description=("openai", {"url": url, "pictures": 4}), speech="pocketsphinx")
    wish = {"DescriptionConfigure": {**ON, "Language": "German"}}
    try:
        state[0] = json.dumps(DESCRIBED)
        found = await done(workbench, source, "AiAnalysisTask", "ai_analysis", **wish)
        (described,) = found["Description"]["output"]["description_set"]
        assert (described["title"], described["keywords"], described["confidence"]) == (
            "A test",
            ["colour", "test"],
            80,
        )
        (paragraph,) = described["paragraphs"]
        assert 7.5 < paragraph["end_time_offset"] < 8.5, "no part is longer than the film"
        (content,) = state[1:]
        assert [item["type"] for item in content] == ["text", *["image_url"] * 4]
        assert "their times in seconds are: 0, 2, 4, 6" in content[0]["text"]
        assert "===\n" in content[0]["text"]
        assert "in the language German" in content[0]["text"]
        for lie in ("no", "[]", '{"title": 1}', json.dumps(DESCRIBED | {"confidence": 101}),
                    json.dumps(DESCRIBED | {"paragraphs": [{"start": 5, "end": 2}]})):  # fmt: skip
            state[0] = lie
            found = await done(workbench, source, "AiAnalysisTask", "ai_analysis", **wish)
            assert "not the JSON that was asked for" in found["Description"]["message"]
    finally:
        await workbench.worker.models.close()


async def test_translations(workbench: Bench, server: tuple[str, list[Any]], tmp_path: Path) -> None:
    """Each utterance with its translation, and subtitles of them; fewer texts than asked for are a failure."""
    url, state = server
    source = film(tmp_path / "film.mp4", 8, speech=[recordings()[0]])
    workbench.serve(translation=("openai", {"url": url}), speech="pocketsphinx")
    wish = {
        "AsrFullTextConfigure": {**ON, "SubtitleFormat": "srt"},
        "TranslateConfigure": {**ON, "SourceLanguage": "en", "DestinationLanguage": "de", "SubtitleFormat": "vtt"},
    }
    try:
        found = await done(workbench, source, "AiRecognitionTask", "ai_recognition", **wish)
        heard = found["AsrFullTextRecognition"]["output"]["segment_set"]
        output = found["TransTextRecognition"]["output"]
        assert heard
        assert [s["trans"] for s in output["segment_set"]] == [s["text"][::-1] for s in heard]
        assert output["subtitle_path"].endswith("_translation_50001.vtt")
        written = workbench.path(output["subtitle_path"]).read_text()
        assert all(s["trans"] in written for s in output["segment_set"])
        assert "from the language en into the language de" in state[1][0]["text"]
        state[0] = '{"texts": []}'
        found = await done(workbench, source, "AiRecognitionTask", "ai_recognition", **wish)
        assert found["TransTextRecognition"]["status"] == "FAIL"
        assert found["AsrFullTextRecognition"]["status"] == "SUCCESS"
        mute = parts.make_clip(tmp_path / "mute.mp4", "-an", seconds=1)
        found = await done(workbench, mute, "AiRecognitionTask", "ai_recognition", **wish)
        assert {part["code"] for part in found.values()} == {"SourceFileError.NoAudioMedia"}
    finally:
        await workbench.worker.models.close()


async def test_a_server_that_is_slow(workbench: Bench, tmp_path: Path) -> None:
    """It is waited for as long as the settings say, and what needs something else goes on."""

    def respond(path: str, authorization: str, body: bytes) -> tuple[int, bytes]:
        time.sleep(3)
        return 200, b"{}"

    source = film(tmp_path / "film.mp4", 4)
    with parts.model_server(respond) as url:
        workbench.serve(description=("openai", {"url": url, "timeout": "500ms"}))
        try:
            found = await done(
                workbench, source, "AiAnalysisTask", "ai_analysis", DescriptionConfigure=ON, CoverConfigure=ON
            )
        finally:
            await workbench.worker.models.close()
    assert "timed out" in found["Description"]["message"]
    assert found["Cover"]["status"] == "SUCCESS"


async def test_violence(workbench: Bench, server: tuple[str, list[Any]], tmp_path: Path) -> None:
    """Labels that the model has, by the thresholds of the template; others are left out."""
    url, state = server
    source = film(tmp_path / "film.mp4", 4)
    workbench.serve(violence=("openai", {"url": url}))
    labels = [
        {"name": "guns", "confidence": 85},
        {"name": "kittens", "confidence": 99},
        {"name": "police", "confidence": 70},
    ]
    state[0] = json.dumps({"labels": labels})
    check = {"Switch": "ON", "BlockConfidence": 90, "ReviewConfidence": 80}
    try:
        wish = {"TerrorismConfigure": {"ImgReviewInfo": check}}
        found = (await done(workbench, source, "AiContentReviewTask", "content_review", **wish))["Terrorism"]
        output = found["output"]
        assert (output["suggestion"], output["label"], output["confidence"]) == ("review", "guns", 85)
        assert [(s["label"], s["suggestion"]) for s in output["segment_set"]] == [
            ("guns", "review"),
            ("police", "pass"),
        ]
        assert (output["segment_set"][0]["start_time_offset"], output["segment_set"][0]["end_time_offset"]) == (
            0.0,
            4.0,
        )
        wish = {"TerrorismConfigure": {"ImgReviewInfo": {**check, "LabelSet": ["police"]}}}
        found = (await done(workbench, source, "AiContentReviewTask", "content_review", **wish))["Terrorism"]
        assert [s["label"] for s in found["output"]["segment_set"]] == ["police"]
    finally:
        await workbench.worker.models.close()
