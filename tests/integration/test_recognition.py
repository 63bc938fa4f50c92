"""Recognition over media of which the truth is known: text on the screen, speech, keywords, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pysubs2
import pytest
import pytest_asyncio

from tests import parts, whisper_network
from tests.conftest import Measured
from tests.truth import (
    CHINESE,
    LATIN,
    MONO,
    SERIF,
    Speech,
    Title,
    distance,
    film,
    photographs,
    recordings,
    slides,
    synthesised,
)
from tests.workbench import LIMITS, Bench
from watcher.errors import MediaError
from watcher.inference import vosk
from watcher.media import measures
from watcher.media.containment import Containment
from watcher.media.inference import ModelProcess
from watcher.model.answers import likeness
from watcher.model.findings import Findings
from watcher.model.samples import KnownPerson, Person, Word
from watcher.understanding import of_language

TITLES = [
    Title("BREAKING NEWS 2026", 1, 4),
    Title("今日天气晴朗", 5, 8, CHINESE, 48, 200, 300, "yellow"),
    Title("Chapter Two: The River", 9, 12, SERIF, 44),
]
ALL = {
    "Name": "all",
    "OcrFullTextConfigure": {"Switch": "ON"},
    "OcrWordsConfigure": {"Switch": "ON"},
    "AsrFullTextConfigure": {"Switch": "ON", "SubtitleFormat": "vtt"},
    "AsrWordsConfigure": {"Switch": "ON"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def spoken() -> list[Speech]:
    """Two sentences, two seconds of silence before and between them."""
    first, second = recordings()[1], recordings()[4]
    return [
        Speech(first.file, first.words, 2.0),
        Speech(second.file, second.words, round(2.0 + first.seconds + 2.0, 2)),
    ]


@pytest.fixture(scope="module")
def story(folder: Path, spoken: list[Speech]) -> Path:
    """Twelve seconds with three titles and two sentences."""
    return film(folder / "story.mp4", 12, TITLES, spoken)


@pytest_asyncio.fixture
async def served(workbench: Bench) -> AsyncIterator[Bench]:
    """A worker with the providers that need nothing but their packages."""
    workbench.serve(text="rapidocr", speech="pocketsphinx")
    workbench.template("ai_recognition", 50001, ALL)
    yield workbench
    await workbench.worker.models.close()


async def recognised(bench: Bench, source: Path, **more: Any) -> dict[str, dict[str, Any]]:
    """The parts of a recognition by their type."""
    (bench.root / source.name).write_bytes(source.read_bytes())
    outcome = await bench.run(source.name, AiRecognitionTask={"Definition": 50001}, **more)
    result = outcome.results[-1]
    assert result.output is not None, result.message
    return {part["type"]: part for part in result.output["parts"]}


async def test_what_is_written_and_said(served: Bench, story: Path, spoken: list[Speech]) -> None:
    """Text with its box and, within one step, its times; words with theirs; subtitles and the results as files."""
    served.words = [
        Word("breaking news", ("Recognition.Ocr",), ("a",)),
        Word("天气", ("Recognition.Ocr", "Recognition.Asr"), ()),
        Word("news 2", ("Recognition.Ocr",), ()),  # not as a whole word
        Word("man", ("Recognition.Asr",), ()),
        Word("was not", ("Recognition.Asr",), ()),
        Word("young", ("Review.Asr",), ()),  # for something else
    ]
    found = await recognised(served, story)
    assert {part["status"] for part in found.values()} == {"SUCCESS"}
    screens = found["OcrFullTextRecognition"]["output"]["segment_set"]
    assert [[line["text"] for line in screen["text_set"]] for screen in screens] == [[t.text] for t in TITLES]
    for screen, title in zip(screens, TITLES, strict=True):
        assert abs(screen["start_time_offset"] - title.start) <= 1
        assert abs(screen["end_time_offset"] - title.end) <= 1
        (line,) = screen["text_set"]
        left, top, right, bottom = line["area_coord_set"]
        assert abs(left - title.x) < 20
        assert title.y - 20 < top < bottom < title.y + 2 * title.size
        assert right > left + 100
        assert line["confidence"] > 80
    seen = {item["word"]: item["segment_set"] for item in found["OcrWordsRecognition"]["output"]["result_set"]}
    assert seen.keys() == {"breaking news", "天气"}
    assert [(s["start_time_offset"], s["end_time_offset"]) for s in seen["天气"]] == [(5.0, 8.0)]
    said = found["AsrFullTextRecognition"]["output"]
    assert len(said["segment_set"]) >= 2
    for segment in said["segment_set"]:
        nearest = min(spoken, key=lambda speech: abs(speech.start - segment["start_time_offset"]))
        assert nearest.start - 0.3 <= segment["start_time_offset"]
        assert segment["end_time_offset"] <= nearest.start + nearest.seconds + 0.3
    subtitles = pysubs2.load(str(served.path(said["subtitle_path"])))
    assert [event.plaintext for event in subtitles] == [segment["text"] for segment in said["segment_set"]]
    heard = {item["word"]: item["segment_set"] for item in found["AsrWordsRecognition"]["output"]["result_set"]}
    assert heard.keys() == {"man", "was not"}
    (man,) = heard["man"]
    first = spoken[0]
    assert first.start + first.seconds - 1.2 < man["start_time_offset"] < man["end_time_offset"]
    assert man["end_time_offset"] < first.start + first.seconds + 0.2
    report = json.loads(served.path("out/story_ai_recognition_50001.json").read_text())
    assert {entry["Type"] for entry in report} == found.keys()


async def test_only_words_with_the_tags_of_the_template(served: Bench, story: Path) -> None:
    """Where it names any."""
    served.words = [Word("news", ("Recognition.Ocr",), ("a",)), Word("river", ("Recognition.Ocr",), ("b", "c"))]
    configure = {"Switch": "ON", "LabelSet": ["c", "x"]}
    served.template("ai_recognition", 50001, {"Name": "n", "OcrWordsConfigure": configure})
    found = await recognised(served, story)
    assert [item["word"] for item in found["OcrWordsRecognition"]["output"]["result_set"]] == ["river"]


async def test_one_decode_makes_the_outputs_and_what_models_look_at(
    served: Bench, story: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transcode and a recognition of the same source are one run of ffmpeg."""
    runs: list[int] = []
    run = type(served.worker.ffmpeg).run

    async def counted(self: Any, renders: Any, *given: Any, **further: Any) -> None:
        runs.append(len(renders))
        await run(self, renders, *given, **further)

    monkeypatch.setattr(type(served.worker.ffmpeg), "run", counted)
    found = await recognised(served, story, TranscodeTaskSet=[{"Definition": 100010}])
    assert found["OcrFullTextRecognition"]["status"] == "SUCCESS"
    assert runs == [3]


async def test_how_well_text_is_read(served: Bench, folder: Path, measured: Measured) -> None:
    """Fonts, sizes and colours in two languages: the floor is what was measured, less a little."""
    texts = [
        ("The quick brown fox 0123456789", LATIN), ("jumps over the lazy dog", SERIF), ("sphinx of black quartz", MONO),
        ("本片仅供内部使用", CHINESE), ("欢迎收看晚间新闻", CHINESE),
    ]  # fmt: skip
    titles = []
    for number, (text, font) in enumerate(texts):
        for index, (size, colour) in enumerate(((18, "white"), (28, "yellow"), (48, "black"))):
            start = 2 * (3 * number + index)
            titles.append(Title(text, start, start + 2, font, size, 40, 100 + 40 * index, colour))
    source = film(folder / "fonts.mp4", 2 * len(titles), titles, sound=False, ground="0x708090")
    served.template("ai_recognition", 50001, {"Name": "n", "OcrFullTextConfigure": {"Switch": "ON"}})
    found = await recognised(served, source)
    screens = found["OcrFullTextRecognition"]["output"]["segment_set"]
    wrong = letters = 0
    for title in titles:
        read = next((s for s in screens if s["start_time_offset"] <= title.start + 0.5 < s["end_time_offset"]), None)
        text = "".join(line["text"] for line in read["text_set"]) if read else ""
        wanted = title.text.replace(" ", "")
        wrong += distance(text.replace(" ", ""), wanted)
        letters += len(wanted)
    measured("text: characters, rapidocr", letters, letters - wrong, wrong)
    assert wrong / letters < 0.02


@pytest.mark.parametrize(("voice", "floor"), [("read", 0.5), ("synthesised", 0.5)])
async def test_how_well_speech_is_written_down(
    served: Bench, folder: Path, measured: Measured, voice: str, floor: float
) -> None:
    """Words of a reader of a book, and of a machine: the floors are what was measured, less a little."""
    at, said = 0.5, []
    for speech in recordings() if voice == "read" else synthesised(folder):
        said.append(Speech(speech.file, speech.words, round(at, 2)))
        at += speech.seconds + 1.0
    source = film(folder / f"{voice}.mp4", at, (), said, size="320x180")
    switched = {"AsrFullTextConfigure": {"Switch": "ON"}, "AsrWordsConfigure": {"Switch": "ON"}}
    served.template("ai_recognition", 50001, {"Name": "n"} | switched)
    wanted = " ".join(speech.words for speech in said).split()
    there = {word for word in wanted if len(word) >= 6}
    strange = {"elephant", "submarine", "violin", "geology"} - there
    served.words = [Word(word, ("Recognition.Asr",), ()) for word in (*there, *strange)]
    found = await recognised(served, source)
    output = found["AsrFullTextRecognition"]["output"]
    words = " ".join(segment["text"] for segment in output["segment_set"]).split()
    right = 1 - distance(words, wanted) / len(wanted)
    keywords = {item["word"] for item in found["AsrWordsRecognition"]["output"]["result_set"]}
    measured(f"speech: words, {voice}", len(wanted), right * len(wanted), max(0, len(words) - right * len(wanted)))
    measured(f"speech: keywords, {voice}", len(there), len(keywords & there), len(keywords - there))
    assert right > floor
    assert not keywords - there
    assert len(keywords) >= 0.5 * len(there)
    assert output["subtitle_path"] == ""


# What goes wrong.


async def test_each_part_fails_by_itself(served: Bench, folder: Path, story: Path) -> None:
    """No sound, no picture, another language: the other parts are there."""
    mute = film(folder / "mute.mp4", 2, [Title("Hello there", 0, 2)], sound=False)
    found = await recognised(served, mute)
    assert found["AsrFullTextRecognition"]["code"] == "SourceFileError.NoAudioMedia"
    assert found["OcrFullTextRecognition"]["output"]["segment_set"][0]["text_set"][0]["text"] == "Hello there"
    blind = parts.make_clip(folder / "blind.m4a", "-vn", seconds=2)
    found = await recognised(served, blind)
    assert found["OcrFullTextRecognition"]["code"] == "SourceFileError.NoVideoMedia"
    assert found["AsrFullTextRecognition"]["status"] == "SUCCESS"
    chinese = ALL | {"AsrFullTextConfigure": {"Switch": "ON", "SourceLanguage": "zh"}}
    translate = {"Switch": "ON", "SourceLanguage": "en", "DestinationLanguage": "zh"}
    served.template("ai_recognition", 50001, chinese | {"TranslateConfigure": translate})
    found = await recognised(served, story)
    assert "knows English only" in found["AsrFullTextRecognition"]["message"]
    assert "knows English only" in found["TransTextRecognition"]["message"], "there is nothing to be translated"
    assert found["OcrFullTextRecognition"]["status"] == "SUCCESS"


async def test_what_can_not_be_taken_out_fails_alone(
    served: Bench, story: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter that fails costs what it measures, and nothing of what is read and heard in the same decode."""
    monkeypatch.setattr(measures, "PICTURE", "signalstats=nonsense=1")
    (served.root / story.name).write_bytes(story.read_bytes())
    served.template("ai_recognition", 50001, {"Name": "n"} | ALL)
    served.template("quality_control", 50002, {"Name": "n", "QualityControlItemSet": [{"Type": "Blur"}]})
    outcome = await served.run(
        story.name, AiRecognitionTask={"Definition": 50001}, AiQualityControlTask={"Definition": 50002}
    )
    assert sorted(result.status for result in outcome.results) == ["FAIL", "SUCCESS"]
    (failed,) = (result for result in outcome.results if result.status == "FAIL")
    assert failed.output is not None
    assert [part["type"] for part in failed.output["parts"]] == ["QualityControl"]
    (read,) = (result for result in outcome.results if result.status == "SUCCESS")
    assert read.output is not None
    assert {part["status"] for part in read.output["parts"]} == {"SUCCESS"}


async def test_nothing_to_find(served: Bench, folder: Path) -> None:
    """Silence, noise, one frame: empty results, not failures."""
    for name, options in (
        ("silence.mp4", ("-filter:a", "volume=0")),
        ("noise.mp4", ("-filter_complex", "anoisesrc=d=3[a]", "-map", "0:v", "-map", "[a]")),
        ("frame.mp4", ("-frames:v", "1")),
    ):
        found = await recognised(served, parts.make_clip(folder / name, *options, seconds=3))
        assert {part["status"] for part in found.values()} == {"SUCCESS"}, name
        assert found["AsrWordsRecognition"]["output"] == {"result_set": []}


async def test_a_task_all_of_whose_parts_fail_has_failed(served: Bench, folder: Path) -> None:
    """And keeps what each part says."""
    served.template("ai_recognition", 50001, {"Name": "n", "AsrFullTextConfigure": {"Switch": "ON"}})
    mute = film(folder / "mute.mp4", 2, sound=False)
    (served.root / "mute.mp4").write_bytes(mute.read_bytes())
    (result,) = (await served.run("mute.mp4", AiRecognitionTask={"Definition": 50001})).results
    assert (result.status, result.code) == ("FAIL", "SourceFileError.NoAudioMedia")
    assert result.output is not None
    assert result.output["parts"][0]["status"] == "FAIL"


async def test_a_crash_fails_one_request(strongest: Containment, folder: Path, story: Path) -> None:
    """And the next one has a new process; one that is not used ends."""
    model = ModelProcess("rapidocr", "{}", strongest, LIMITS, [folder], idle=0.5)
    picture = folder / "picture.jpg"
    parts.subprocess.run(
        [parts.FFMPEG, "-v", "error", "-y", "-ss", "2", "-i", str(story), "-frames:v", "1", str(picture)], check=True
    )
    request = {"pictures": [str(picture)]}
    (found,) = await model.ask(request)
    assert [line["text"] for line in found["lines"]] == ["BREAKING NEWS 2026"]
    asking = asyncio.create_task(model.ask({"pictures": [str(picture)] * 100_000}))
    await asyncio.sleep(0.2)
    assert model._process is not None
    os.killpg(model._process.pid, signal.SIGKILL)
    with pytest.raises(MediaError, match="rapidocr: killed, perhaps for lack of memory"):
        await asking
    assert await model.ask(request) == [found]
    with pytest.raises(MediaError, match="a picture can't be read"):
        await model.ask({"pictures": [str(folder / "absent.jpg")]})
    assert model.running
    async with asyncio.timeout(30):
        while model.running:
            await asyncio.sleep(0.05)
    await model.close()


async def test_a_model_that_needs_too_much_memory(strongest: Containment, folder: Path) -> None:
    """A sentence, not a hang."""
    limits = type(LIMITS)(300 * 2**20, 600, 2**20)
    model = ModelProcess("rapidocr", "{}", strongest, limits, [folder])
    with pytest.raises(MediaError, match="rapidocr"):
        await model.ask({"pictures": []})
    await model.close()


# A server of models.


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any]]]:
    """One that speaks OpenAI's protocol; what it answers, and what it was asked."""
    state: list[Any] = [None]

    def respond(path: str, authorization: str, body: bytes) -> tuple[int, bytes]:
        state.append((path, authorization, body))
        status, answer = state[0]
        return status, answer

    with parts.model_server(respond) as url:
        yield url, state


async def test_a_server_of_models(workbench: Bench, server: tuple[str, list[Any]], story: Path) -> None:
    """What it heard is the result; what it can't, or lies about, is the part's failure."""
    url, state = server
    workbench.serve(speech=("openai", {"url": url, "model": "large", "api_key": "k3y", "timeout": "5s"}))
    configure = {"Switch": "ON", "SourceLanguage": "zh", "SubtitleFormat": "srt"}
    workbench.template("ai_recognition", 50001, {"Name": "n", "AsrFullTextConfigure": configure})
    segments = [
        {"start": 2.0, "end": 4.5, "text": " 他不是", "avg_logprob": -0.1,
         "words": [{"word": "他", "start": 2, "end": 2.5}]},
        {"start": 5, "end": 6, "text": "  "},
    ]  # fmt: skip
    state[0] = (200, json.dumps({"text": "…", "segments": segments}).encode())
    try:
        found = await recognised(workbench, story)
        output = found["AsrFullTextRecognition"]["output"]
        assert [(s["text"], s["start_time_offset"], s["confidence"]) for s in output["segment_set"]] == [
            ("他不是", 2.0, 90.48)
        ]
        assert (
            workbench.path(output["subtitle_path"]).read_text().startswith("1\n00:00:02,000 --> 00:00:04,500\n他不是")
        )
        path, authorization, body = state[1]
        assert (path, authorization) == ("/v1/audio/transcriptions", "Bearer k3y")
        assert b'name="language"\r\n\r\nzh\r\n' in body
        assert b'name="model"\r\n\r\nlarge\r\n' in body
        assert b"RIFF" in body
        for answer, said in (
            ((500, b"out of memory"), "status 500: out of memory"),
            ((200, b"<html>"), "openai"),
            ((200, b'{"text": "all of it"}'), "no segments"),
            ((200, b'{"segments": [{"start": 3, "end": 1, "text": "x"}]}'), "no segments"),
            ((200, b'{"segments": [{"start": "NaN", "end": 1, "text": "x"}]}'), "no segments"),
        ):
            state[0] = answer
            found = await recognised(workbench, story)
            assert found["AsrFullTextRecognition"]["code"] == "InternalError"
            assert said in found["AsrFullTextRecognition"]["message"]
    finally:
        await workbench.worker.models.close()


async def test_a_server_that_is_away(workbench: Bench, story: Path) -> None:
    """It is named, and the task goes on."""
    workbench.serve(speech=("openai", {"url": f"http://127.0.0.1:{parts.free_port()}/v1"}))
    workbench.template("ai_recognition", 50001, {"Name": "n", "AsrFullTextConfigure": {"Switch": "ON"}})
    try:
        found = await recognised(workbench, story)
        assert "Connection refused" in found["AsrFullTextRecognition"]["message"]
    finally:
        await workbench.worker.models.close()


async def test_a_whisper_network(workbench: Bench, story: Path, tmp_path: Path) -> None:
    """faster-whisper over a network in a folder: text, times of words, subtitles; another language is refused."""
    folder = whisper_network.make(tmp_path / "network")
    workbench.serve(speech=("faster_whisper", {"model": str(folder)}), readable=[folder])
    wish = {"Switch": "ON", "SubtitleFormat": "srt"}
    try:
        workbench.template("ai_recognition", 50001, {"Name": "n", "AsrFullTextConfigure": wish})
        output = (await recognised(workbench, story))["AsrFullTextRecognition"]["output"]
        (said,) = output["segment_set"]
        assert (said["text"], said["confidence"]) == ("hello world", 100.0)
        assert 1.5 < said["start_time_offset"] < 2.5, "what is silent is skipped"
        assert [word["word"] for word in said["wordlist"]] == ["hello", "world"]
        assert said["wordlist"][0]["end"] == said["wordlist"][1]["start"] < said["end_time_offset"]
        assert "hello world" in workbench.path(output["subtitle_path"]).read_text()
        wish["SourceLanguage"] = "de"
        workbench.template("ai_recognition", 50001, {"Name": "n", "AsrFullTextConfigure": wish})
        found = (await recognised(workbench, story))["AsrFullTextRecognition"]
        assert "knows English only, not 'de'" in found["message"]
    finally:
        await workbench.worker.models.close()


@pytest.mark.parametrize("provider", ["faster_whisper", "vosk"])
async def test_a_network_that_is_broken(workbench: Bench, story: Path, provider: str, tmp_path: Path) -> None:
    """The real library says no to nonsense; the part fails with a sentence that names the folder."""
    folder = tmp_path / "network"
    folder.mkdir()
    for name in ("model.bin", "config.json", "tokenizer.json", "final.mdl"):
        (folder / name).write_bytes(b"{}")
    workbench.serve(speech=(provider, {"model": str(folder)}), readable=[folder])
    workbench.template("ai_recognition", 50001, {"Name": "n", "AsrFullTextConfigure": {"Switch": "ON"}})
    try:
        found = (await recognised(workbench, story))["AsrFullTextRecognition"]
        assert found["code"] == "InternalError"
        assert f"the network in {folder} can't be loaded" in found["message"]
    finally:
        await workbench.worker.models.close()


def test_speech_is_in_one_language() -> None:
    """A sub-task that names another one than the task's first is told so, and finds everything else."""
    found = Findings(duration=3.0, step=0.5)
    assert of_language(found, "", "en") is of_language(found, "en", "en") is found
    other = of_language(found, "de", "en")
    assert other.failures["speech"].code == "InvalidInput"
    assert "in 'en', so that it can't be in 'de' too" in other.failures["speech"].message
    assert (other.duration, other.step, found.failures) == (3.0, 0.5, {})


def test_what_vosk_says() -> None:
    """Its answer, as its documentation shows it, is an utterance; silence is none."""
    words = [
        {"conf": 1.0, "end": 1.11, "start": 0.84, "word": "one"},
        {"conf": 0.5, "end": 1.5, "start": 1.2, "word": "zero"},
    ]
    (said,) = vosk.utterance(json.dumps({"result": words, "text": "one zero"}))
    assert said == {
        "start": 0.84, "end": 1.5, "text": "one zero", "confidence": 75.0,
        "words": [{"text": "one", "start": 0.84, "end": 1.11}, {"text": "zero", "start": 1.2, "end": 1.5}],
    }  # fmt: skip
    assert list(vosk.utterance('{"text": ""}')) == []


# Faces.


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("portraits"))


def person(name: str, *pictures: Path, tags: tuple[str, ...] = (), number: str = "") -> KnownPerson:
    """A sample."""
    faces = tuple((f"{number or name}{n}", picture.read_bytes()) for n, picture in enumerate(pictures))
    return KnownPerson(Person(name, name, "a note", ("Recognition.Face",), tags), faces)


async def test_faces_are_recognised(workbench: Bench, portraits: Path, folder: Path, measured: Measured) -> None:
    """Another photograph of a person is the person, another person is not; times to one step, boxes on the face."""
    source = slides(
        folder / "faces.mp4",
        [None, portraits / "obama2.jpg", portraits / "biden.jpg", None, portraits / "obama2.jpg"],
    )
    workbench.serve(faces="dlib")
    try:
        workbench.template("ai_recognition", 50001, {"Name": "n", "FaceConfigure": {"Switch": "ON"}})
        blank = folder / "blank.png"
        parts.subprocess.run(
            [parts.FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", "color=red", "-frames:v", "1", str(blank)],
            check=True,
        )
        obama = person("Obama", portraits / "obama.jpg", blank, tags=("president",))
        workbench.persons = [obama, person("Nobody", blank)]
        found = await recognised(workbench, source)
        (seen,) = found["FaceRecognition"]["output"]["result_set"]
        assert (seen["name"], seen["type"], seen["remark"]) == ("Obama", "UserDefine", "a note")
        assert [(s["start_time_offset"], s["end_time_offset"]) for s in seen["segment_set"]] == [
            (2.0, 4.0),
            (8.0, 10.0),
        ]
        assert all(segment["confidence"] >= 95 for segment in seen["segment_set"])
        left, top, right, bottom = seen["segment_set"][0]["area_coord_set"]
        assert 400 < left < right < 880
        assert 0 <= top < bottom < 720
        workbench.persons = [obama, person("Biden", portraits / "biden.jpg", tags=("vice",))]
        found = await recognised(workbench, source)
        names = {item["name"]: len(item["segment_set"]) for item in found["FaceRecognition"]["output"]["result_set"]}
        assert names == {"Obama": 2, "Biden": 1}
        measured("faces: appearances, dlib", 3, 3, 0, "0.00 s")
        tagged = {"Switch": "ON", "UserDefineLibraryLabelSet": ["vice"], "Score": 99.9}
        workbench.template("ai_recognition", 50001, {"Name": "n", "FaceConfigure": tagged})
        found = await recognised(workbench, source)
        assert found["FaceRecognition"]["output"] == {"result_set": []}  # the tag's person is not so very like
        workbench.persons = []
        found = await recognised(workbench, source)
        assert found["FaceRecognition"]["output"] == {"result_set": []}
    finally:
        await workbench.worker.models.close()


def test_likeness() -> None:
    """It falls with the distance; where people begin to be mixed up it is below the usual threshold."""
    values = [likeness(distance_ / 100) for distance_ in range(120)]
    assert values == sorted(values, reverse=True)
    assert (values[0], likeness(0.5), likeness(0.6), values[-1]) == (100.0, 95.0, 80.0, 0.0)
