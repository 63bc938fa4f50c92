"""Recognition: text on the screen, speech, keywords, persons, objects (contract pipelines.md, section 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from watcher.model.ai_parts import WantedPart
from watcher.model.ai_templates import (
    AIRecognitionTemplate,
    AsrFullTextConfigure,
    FaceConfigure,
    ObjectConfigure,
    WordsConfigure,
)
from watcher.model.findings import Findings, Line, Part, SeenObject, Sight, Utterance
from watcher.model.inputs import AiRecognitionInput
from watcher.model.samples import Person
from watcher.steps._intelligent import IntelligentStep, failure_of, runs, seen_persons
from watcher.steps._keywords import plain, says, spoken_times
from watcher.steps._subtitle_file import srt, vtt
from watcher.steps.base import CONTENT_TYPES, OutputFile, StepOutput

SUBTITLE_PATH = "{inputName}_speech_{definition}.{format}"
TRANSLATED_PATH = "{inputName}_translation_{definition}.{format}"


class AiRecognitionStep(IntelligentStep[AiRecognitionInput, AIRecognitionTemplate]):
    """All the parts that the template switches on."""

    def language(self) -> str:
        given = self.template.asr_full_text_configure, self.template.translate_configure
        return next((configure.source_language for configure in given if configure and configure.source_language), "")

    def translate_to(self) -> set[str]:
        configure = self.template.translate_configure
        return {configure.destination_language} if configure is not None and configure.switch == "ON" else set()

    def conclude(self, findings: Findings, directory: Path) -> StepOutput:
        """The result of each part, and the subtitles."""
        files: list[OutputFile] = []
        parts = [self._part(part, findings, directory, files).as_dict() for part in self.parts]
        return StepOutput(tuple(files), {"parts": parts})

    def _part(self, part: WantedPart, findings: Findings, directory: Path, files: list[OutputFile]) -> Part:
        failure = failure_of(part, findings)
        if failure is not None:
            return Part(part.type, failure=failure)
        template = self.template
        if part.type == "FaceRecognition":
            configure = template.face_configure
            assert configure is not None  # noqa: S101  else it were no part
            return Part(part.type, {"result_set": list(self._faces(findings, configure))})
        if part.type == "OcrFullTextRecognition":
            return Part(part.type, {"segment_set": list(_screens(findings))})
        if part.type == "OcrWordsRecognition":
            words = self._words("Recognition.Ocr", template.ocr_words_configure)
            return Part(part.type, {"result_set": list(_seen_words(words, findings))})
        if part.type == "AsrWordsRecognition":
            words = self._words("Recognition.Asr", template.asr_words_configure)
            return Part(part.type, {"result_set": list(_heard_words(words, findings.utterances))})
        if part.type == "ObjectRecognition":
            configured = template.object_configure
            assert configured is not None  # noqa: S101  else it were no part
            return Part(part.type, {"result_set": list(_objects(findings, configured))})
        spoken, translated = findings.utterances, part.type == "TransTextRecognition"
        configure_ = template.translate_configure if translated else template.asr_full_text_configure
        segments = [_spoken(utterance) for utterance in spoken]
        if translated and spoken:
            assert template.translate_configure is not None  # noqa: S101  else it were no part
            texts = findings.translations[template.translate_configure.destination_language]
            segments = [segment | {"trans": text} for segment, text in zip(segments, texts, strict=True)]
            spoken = tuple(replace(utterance, text=text) for utterance, text in zip(spoken, texts, strict=True))
        path = TRANSLATED_PATH if translated else SUBTITLE_PATH
        return Part(
            part.type,
            {"segment_set": segments, "subtitle_path": self._subtitles(spoken, configure_, path, files, directory)},
        )

    def _words(self, usage: str, configure: WordsConfigure | None) -> list[str]:
        """The keywords to look for: those of the library for this use, with one of the template's tags if any."""
        labels = set(configure.label_set) if configure is not None else set()
        return [word.keyword for word in self.words if usage in word.usages and (not labels or labels & set(word.tags))]

    def _faces(self, findings: Findings, configure: FaceConfigure) -> Iterator[dict[str, Any]]:
        """Each person that is seen, with the times; only those with one of the template's tags if it has any."""
        labels = set(configure.user_define_library_label_set)
        wanted = [
            known
            for known in self.persons
            if "Recognition.Face" in known.person.usages and (not labels or labels & set(known.person.tags))
        ]
        for person, seen in seen_persons(findings, wanted, configure.score):
            segments = [
                {
                    "start_time_offset": start,
                    "end_time_offset": end,
                    "confidence": max(face.likeness for face in found),
                    "area_coord_set": list(found[0].box),
                }
                for start, end, found in runs(seen, findings)
            ]
            yield _person(person, segments)

    def _subtitles(
        self,
        utterances: Sequence[Utterance],
        configure: AsrFullTextConfigure | None,
        name: str,
        files: list[OutputFile],
        directory: Path,
    ) -> str:
        form = configure.subtitle_format if configure is not None else ""
        if not form:
            return ""
        key = self.naming.object_key(name, form)
        path = directory / f"{self.name}-{len(files)}.{form}"
        path.write_text((vtt if form == "vtt" else srt)(utterances), encoding="utf-8")
        files.append(OutputFile(path, key, CONTENT_TYPES[form]))
        return f"/{key}"


def _person(person: Person, segments: list[dict[str, Any]]) -> dict[str, Any]:
    facts = ("gender", "birthday", "profession", "school_of_graduation", "abstract", "place_of_birth", "person_type")
    return {
        "id": person.person_id,
        "type": "UserDefine",
        "name": person.name,
        "segment_set": segments,
        **dict.fromkeys(facts, ""),
        "remark": person.description,
        "url": "",
    }


def _screens(findings: Findings) -> Iterator[dict[str, Any]]:
    """Stretches of time in which the same is written on the screen."""
    for begin, end, sights in _stretches(findings, lambda sight: frozenset(plain(line.text) for line in sight.lines)):
        lines = sights[0].lines
        yield {
            "start_time_offset": begin,
            "end_time_offset": end,
            "text_set": [
                {"confidence": line.confidence, "area_coord_set": list(line.box), "text": line.text} for line in lines
            ],
        }


def _seen_words(words: Iterable[str], findings: Findings) -> Iterator[dict[str, Any]]:
    for word in words:
        segments = [
            {
                "start_time_offset": start,
                "end_time_offset": end,
                "confidence": max(line.confidence for line in lines),
                "area_coord_set": list(lines[0].box),
            }
            for start, end, lines in runs([(s.time, _holding(s, word)) for s in findings.sights], findings)
        ]
        if segments:
            yield {"word": word, "segment_set": segments}


def _holding(sight: Sight, word: str) -> Line | None:
    lines = [line for line in sight.lines if says(line.text, word)]
    return max(lines, key=lambda line: line.confidence, default=None)


def _stretches(findings: Findings, state: Callable[[Sight], Any]) -> Iterator[tuple[float, float, list[Sight]]]:
    """Neighbouring pictures of the same state, with begin and end, where the state is not nothing."""
    together: list[Sight] = []
    for sight in (*findings.sights, None):
        if together and (sight is None or state(sight) != state(together[0])):
            if state(together[0]):
                end = together[-1].time + findings.step
                yield together[0].time, round(min(end, findings.duration or end), 3), together
            together = []
        if sight is not None:
            together.append(sight)


def _objects(findings: Findings, configure: ObjectConfigure) -> Iterator[dict[str, Any]]:
    """Each kind of object that is seen, with the times; the place is that of the surest one in the first picture."""
    by_name: dict[str, dict[float, SeenObject]] = {}
    for time, objects in findings.objects:
        for thing in objects:
            if thing.confidence >= configure.score and (not configure.label_set or thing.name in configure.label_set):
                of_name = by_name.setdefault(thing.name, {})
                if time not in of_name or thing.confidence > of_name[time].confidence:
                    of_name[time] = thing
    for name, seen in sorted(by_name.items()):
        segments = [
            {
                "start_time_offset": start,
                "end_time_offset": end,
                "confidence": max(thing.confidence for thing in found),
                "area_coord_set": list(found[0].box or ()),
            }
            for start, end, found in runs([(time, seen.get(time)) for time, _ in findings.objects], findings)
        ]
        yield {"name": name, "segment_set": segments}


def _spoken(utterance: Utterance) -> dict[str, Any]:
    return {
        "confidence": utterance.confidence,
        "start_time_offset": utterance.start,
        "end_time_offset": utterance.end,
        "text": utterance.text,
        "wordlist": [{"word": word.text, "start": word.start, "end": word.end} for word in utterance.words],
    }


def _heard_words(words: Iterable[str], utterances: Sequence[Utterance]) -> Iterator[dict[str, Any]]:
    for word in words:
        segments = [
            {"start_time_offset": begin, "end_time_offset": end, "confidence": utterance.confidence}
            for utterance in utterances
            for begin, end in spoken_times(word, utterance)
        ]
        if segments:
            yield {"word": word, "segment_set": segments}
