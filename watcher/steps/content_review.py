"""Content review: what a person should look at before others do (contract pipelines.md, section 9)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from watcher.model.ai_parts import WantedPart, member_of
from watcher.model.ai_templates import Check, ContentReviewTemplate
from watcher.model.findings import Findings, Part, SeenPart
from watcher.model.inputs import ContentReviewInput
from watcher.model.samples import Person
from watcher.steps._intelligent import IntelligentStep, failure_of, runs, seen_persons
from watcher.steps._keywords import says, spoken_times
from watcher.steps.base import StepOutput

LABELS = {
    "FEMALE_GENITALIA_EXPOSED": "porn", "MALE_GENITALIA_EXPOSED": "porn", "ANUS_EXPOSED": "porn",
    "FEMALE_BREAST_EXPOSED": "vulgar", "BUTTOCKS_EXPOSED": "vulgar",
    "FEMALE_GENITALIA_COVERED": "sexy", "BUTTOCKS_COVERED": "sexy",
}  # fmt: skip
"""The model's label for what NudeNet names; the rest of its names are of nothing that has to be reviewed."""
DEFAULTS = {"Porn": (90, 0), "Terrorism": (90, 80), "Political": (97, 95)}
"""Block and review confidence of checks of pictures; those of words are 100 and 75 (templates.md, section 9)."""
POLITICIAN = "politician"
ORDER = ("pass", "review", "block")


class ContentReviewStep(IntelligentStep[ContentReviewInput, ContentReviewTemplate]):
    """All the checks that the template switches on."""

    def conclude(self, findings: Findings, directory: Path) -> StepOutput:
        """The result of each check."""
        return StepOutput((), {"parts": [self._part(part, findings).as_dict() for part in self.parts]})

    def _part(self, part: WantedPart, findings: Findings) -> Part:
        rate = 0.0 if part.needs == "speech" else round(1 / findings.step, 3)
        facts = {"sample_rate": rate, "duration": round(findings.duration, 3)}
        failure = failure_of(part, findings)
        if failure is not None:
            return Part(part.type, failure=failure, facts=facts)
        check = member_of(self.template, part.member)
        assert isinstance(check, Check)  # noqa: S101  else it were no part
        segments = [self._judged(segment, part.type, check) for segment in self._segments(part, findings, check)]
        worst = max(segments, key=lambda s: (ORDER.index(s["suggestion"]), s["confidence"]), default=None)
        output: dict[str, Any] = {
            "confidence": worst["confidence"] if worst else 0.0,
            "suggestion": worst["suggestion"] if worst else "pass",
            "segment_set": segments,
        }
        if "." not in part.type:
            output["label"] = worst["label"] if worst else ""
        return Part(part.type, output, facts=facts)

    def _judged(self, segment: dict[str, Any], kind: str, check: Check) -> dict[str, Any]:
        block, review = DEFAULTS.get(kind, (100, 75))
        block = check.block_confidence if check.block_confidence is not None else block
        review = check.review_confidence if check.review_confidence is not None else review
        sure = segment["confidence"]
        return segment | {"suggestion": "block" if sure >= block else "review" if sure >= review else "pass"}

    def _segments(self, part: WantedPart, findings: Findings, check: Check) -> Iterator[dict[str, Any]]:
        labels = set(getattr(check, "label_set", ()))
        if part.needs == "nudity":
            return _nudity(findings, labels)
        if part.needs == "violence":
            return _violence(findings, labels)
        if part.needs == "faces":
            return self._persons(findings, labels, check)
        words = self._words(part)
        return _spoken(findings, words) if part.needs == "speech" else _written(findings, words)

    def _words(self, part: WantedPart) -> list[str]:
        """The words of the library for this use. Ours: one with the tag of a check (``porn``, ``political`` …) is for
        that check, one without is for all."""
        group, _, use = part.type.partition(".")
        found: list[str] = []
        for word in self.words:
            groups = {tag.casefold() for tag in word.tags} & {"porn", "terrorism", "political", "prohibited"}
            if f"Review.{use}" in word.usages and (not groups or group.casefold() in groups):
                found.append(word.keyword)
        return found

    def _persons(self, findings: Findings, labels: set[str], check: Check) -> Iterator[dict[str, Any]]:
        """The persons of the library for this use. Their label is the first of their tags that the model has."""
        least = check.review_confidence if check.review_confidence is not None else DEFAULTS["Political"][1]
        wanted = [
            known
            for known in self.persons
            if "Review.Face" in known.person.usages and (not labels or _label(known.person) in labels)
        ]
        for person, seen in seen_persons(findings, wanted, least):
            for start, end, found in runs(seen, findings):
                sure = max(face.likeness for face in found)
                yield _segment(start, end, sure, label=_label(person), name=person.name, box=found[0].box)


POLITICAL_LABELS = (
    "violation_photo", "politician", "entertainment", "sport", "entrepreneur", "scholar", "celebrity", "military",
)  # fmt: skip


def _label(person: Person) -> str:
    return next((tag for tag in person.tags if tag in POLITICAL_LABELS), POLITICIAN)


def _segment(
    start: float,
    end: float,
    confidence: float,
    *,
    label: str | None = None,
    name: str | None = None,
    words: Sequence[str] | None = None,
    box: Sequence[int] | None = None,
) -> dict[str, Any]:
    segment: dict[str, Any] = {"start_time_offset": start, "end_time_offset": end, "confidence": confidence}
    more = {"label": label, "name": name, "keyword_set": words, "area_coord_set": box}
    segment |= {key: list(value) if key.endswith("_set") else value for key, value in more.items() if value is not None}
    return segment if words is not None and box is None else segment | {"url": "", "pic_url_expire_time": ""}


def _nudity(findings: Findings, labels: set[str]) -> Iterator[dict[str, Any]]:
    def worst(parts: Iterable[SeenPart], label: str) -> SeenPart | None:
        mine = [part for part in parts if LABELS.get(part.name) == label]
        return max(mine, key=lambda part: part.confidence, default=None)

    for label in dict.fromkeys(LABELS.values()):
        if labels and label not in labels:
            continue
        for start, end, found in runs([(time, worst(parts, label)) for time, parts in findings.parts], findings):
            yield _segment(start, end, max(part.confidence for part in found), label=label)


def _violence(findings: Findings, labels: set[str]) -> Iterator[dict[str, Any]]:
    for label in sorted({thing.name for _, things in findings.violence for thing in things}):
        if labels and label not in labels:
            continue
        seen = [
            (time, max((x for x in things if x.name == label), key=lambda thing: thing.confidence, default=None))
            for time, things in findings.violence
        ]
        for start, end, found in runs(seen, findings):
            yield _segment(start, end, max(thing.confidence for thing in found), label=label)


def _written(findings: Findings, words: Sequence[str]) -> Iterator[dict[str, Any]]:
    for word in words:
        lines = [
            (sight.time, max((line for line in sight.lines if says(line.text, word)),
                             key=lambda line: line.confidence, default=None))
            for sight in findings.sights
        ]  # fmt: skip
        for start, end, found in runs(lines, findings):
            yield _segment(start, end, max(line.confidence for line in found), words=[word], box=found[0].box)


def _spoken(findings: Findings, words: Sequence[str]) -> Iterator[dict[str, Any]]:
    for utterance in findings.utterances:
        for word in words:
            for start, end in spoken_times(word, utterance):
                yield _segment(start, end, utterance.confidence, words=[word])
