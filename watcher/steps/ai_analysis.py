"""Analysis: covers, labels and a class for the whole film (contract pipelines.md, section 10)."""

from __future__ import annotations

import shutil
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from watcher.media.extraction import Extraction
from watcher.model.ai_parts import WantedPart
from watcher.model.ai_templates import AIAnalysisTemplate
from watcher.model.findings import Findings, Labelled, Look, Part
from watcher.model.inputs import AiAnalysisInput
from watcher.steps import _detectors as detectors
from watcher.steps._intelligent import IntelligentStep, failure_of
from watcher.steps.base import CONTENT_TYPES, OutputFile, StepOutput

COVER_PATH = "{inputName}_cover_{definition}_{number}.{format}"
MOST_COVERS = 3
APART = 0.1
"""Share of the film that lies between two covers, at least."""
MOST_TAGS = 10
BAD = ("Blur", "LowLighting", "HighLighting", "SolidColorScreen", "BlackScreen", "Mosaic", "Noise")
"""What a cover must not be."""


class AiAnalysisStep(IntelligentStep[AiAnalysisInput, AIAnalysisTemplate]):
    """All the parts that the template switches on."""

    def extraction(self, step: float) -> Extraction:
        return Extraction(step, measures=any(part.type == "Cover" for part in self.parts))

    def conclude(self, findings: Findings, directory: Path) -> StepOutput:
        """The result of each part, and the covers."""
        files: list[OutputFile] = []
        parts = [self._part(part, findings, directory, files).as_dict() for part in self.parts]
        return StepOutput(tuple(files), {"parts": parts})

    def _part(self, part: WantedPart, findings: Findings, directory: Path, files: list[OutputFile]) -> Part:
        failure = failure_of(part, findings)
        if not findings.has_picture:
            failure = findings.no_picture
        if failure is not None:
            return Part(part.type, failure=failure)
        if part.type == "Cover":
            covers = self._covers(findings, directory, files)
            return Part(part.type, {"cover_set": covers, "output_storage": self.storage})
        if part.type == "Classification":
            return Part(part.type, {"classification_set": list(_classes(findings))})
        if part.type == "Tag":
            return Part(part.type, {"tag_set": list(_tags(findings))})
        return Part(part.type, {"segment_set": list(_frame_tags(findings))})

    def _covers(self, findings: Findings, directory: Path, files: list[OutputFile]) -> list[dict[str, Any]]:
        """The best pictures that are not next to each other, with the best first."""
        chosen: list[tuple[float, float, Path]] = []
        ranked = sorted(_rated(findings), key=lambda rated: -rated[0])
        for rating, time, picture in ranked:
            if all(abs(time - other) >= APART * findings.duration for _, other, _ in chosen):
                chosen.append((rating, time, picture))
            if len(chosen) == MOST_COVERS:
                break
        covers: list[dict[str, Any]] = []
        for number, (rating, _, picture) in enumerate(chosen):
            key = self.naming.object_key(COVER_PATH, "jpg", number=number)
            path = directory / f"{self.name}-cover-{number}.jpg"
            shutil.copy(picture, path)
            files.append(OutputFile(path, key, CONTENT_TYPES["jpg"]))
            covers.append({"cover_path": f"/{key}", "confidence": round(rating, 2)})
        return covers


def _rated(findings: Findings) -> Iterator[tuple[float, float, Path]]:
    """How good a cover each picture would be (0 to 100), its time, and its file."""
    looks = findings.looks
    times = [look.time for look in looks]
    for index, picture in enumerate(findings.pictures if looks else ()):
        time = index * findings.step
        after = min(bisect_left(times, time), len(looks) - 1)
        before = max(0, after - 1)
        nearest = looks[before] if time - times[before] <= abs(times[after] - time) else looks[after]
        yield _beauty(nearest), time, picture


def _beauty(look: Look) -> float:
    """Nothing is wrong with it, and among those the sharp and rich in contrast are better."""
    worst = max(detectors.PICTURE[kind](look) for kind in BAD)
    sharp = 100 - detectors.line(look.blur, 2.0, 10.0)
    rich = detectors.line(look.spread, 60, 235)
    middling = 100 - abs(look.luma - 118) / 1.18
    return max(0.0, (100 - worst) * (0.4 * sharp + 0.3 * rich + 0.3 * max(0.0, middling)) / 100)


def _classes(findings: Findings) -> Iterator[dict[str, Any]]:
    """The classes that the pictures have, the most frequent first; the share of the pictures is the confidence."""
    counts: dict[str, int] = defaultdict(int)
    for labelled in findings.labelled:
        if labelled.category:
            counts[labelled.category] += 1
    for name, count in sorted(counts.items(), key=lambda item: -item[1]):
        yield {"classification": name, "confidence": round(100 * count / len(findings.labelled), 2)}


def _tags(findings: Findings) -> Iterator[dict[str, Any]]:
    """What is seen in the film: what is seen longest first."""
    sums: dict[str, float] = defaultdict(float)
    most: dict[str, float] = defaultdict(float)
    for labelled in findings.labelled:
        for tag, confidence in labelled.tags:
            sums[tag] += confidence
            most[tag] = max(most[tag], confidence)
    for tag in sorted(sums, key=lambda tag: -sums[tag])[:MOST_TAGS]:
        yield {"tag": tag, "confidence": most[tag], "special_info": ""}


def _frame_tags(findings: Findings) -> Iterator[dict[str, Any]]:
    """Stretches of time in which the same is seen."""
    together: list[Labelled] = []
    for labelled in (*findings.labelled, None):
        if together and (labelled is None or _names(labelled) != _names(together[0])):
            end = labelled.time if labelled is not None else findings.duration
            if together[0].tags:
                yield {
                    "start_time_offset": together[0].time,
                    "end_time_offset": round(end, 3),
                    "tag_set": [
                        {"tag": tag, "category_set": [], "confidence": confidence}
                        for tag, confidence in together[0].tags
                    ],
                }
            together = []
        if labelled is not None:
            together.append(labelled)


def _names(labelled: Labelled) -> frozenset[str]:
    return frozenset(tag for tag, _ in labelled.tags)
