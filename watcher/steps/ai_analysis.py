"""Analysis: covers, labels, highlights, parts, openings, descriptions (contract pipelines.md, section 10)."""

from __future__ import annotations

import shutil
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from watcher.media.assets import NO_ASSETS
from watcher.media.render import Render, Track, Window
from watcher.model.ai_parts import WantedPart
from watcher.model.ai_templates import AIAnalysisTemplate
from watcher.model.audio import AudioTemplate
from watcher.model.findings import Description, Findings, Labelled, Look, Part
from watcher.model.inputs import AiAnalysisInput
from watcher.model.media_info import MediaInfo
from watcher.model.samples import FilmEnds
from watcher.model.video import VideoTemplate
from watcher.steps import _detectors as detectors
from watcher.steps import _openings, _picture, _sound, _stories
from watcher.steps._intelligent import IntelligentStep, failure_of
from watcher.steps.base import CONTENT_TYPES, OutputFile, StepOutput

HIGHLIGHT_PATH = "{inputName}_highlight_{definition}_{number}.{format}"
HIGHEST_CLIP = 720
COVER_PATH = "{inputName}_cover_{definition}_{number}.{format}"
MOST_COVERS = 3
APART = 0.1
"""Share of the film that lies between two covers, at least."""
MOST_TAGS = 10
BAR_STEP = 0.2
"""Seconds between two looks for colour bars."""
FACE = 0.3
"""Share of what is missing that a face makes up for."""
BAD = ("Blur", "LowLighting", "HighLighting", "SolidColorScreen", "BlackScreen", "Mosaic", "Noise")
"""What a cover must not be."""


class AiAnalysisStep(IntelligentStep[AiAnalysisInput, AIAnalysisTemplate]):
    """All the parts that the template switches on."""

    def shows_pictures(self) -> bool:
        return not {"Cover", "Highlight", "SegmentRecognition"}.isdisjoint(part.type for part in self.parts)

    def describe_in(self) -> set[str]:
        configure = self.template.description_configure
        return {configure.language} if configure is not None and configure.switch == "ON" else set()

    def _wants(self, kind: str) -> bool:
        return any(part.type == kind for part in self.parts)

    def ends(self) -> FilmEnds | None:
        if not self._wants("HeadTailRecognition") or not self.findings.fingerprint:
            return None
        return _openings.ends(self.findings.fingerprint, self.findings.duration)

    @cached_property
    def _high_points(self) -> list[_stories.Span]:
        return _stories.highlights(self.findings)

    def clips(self, media: MediaInfo) -> list[Render]:
        """One for each highlight, in H.264 and AAC."""
        if not self._wants("Highlight") or media.picture is None or "measures" in self.findings.failures:
            return []
        height = HIGHEST_CLIP if media.picture.height > HIGHEST_CLIP else 0
        video = VideoTemplate(codec="h264", height=height, resolution_adaptive="close")
        found: list[Render] = []
        for number, span in enumerate(self._high_points):
            window = Window(span.start, span.end if span.end < media.duration else None)
            want = _picture.Want("mp4", replace(self.options, hardware=""), window)
            picture = _picture.picture(video, media, want, (), NO_ASSETS)
            sounds = [_sound.encoded(AudioTemplate(codec="aac"), media.sound, (), Track())] if media.sound else []
            muxer = ("-f", "mp4", "-movflags", "+faststart")
            found.append(Render(self._clip(number), window, picture, tuple(sounds), "clip.mp4", muxer))
        return found

    def _clip(self, number: int) -> str:
        return f"{self.name}-highlight-{number}"

    def conclude(self, findings: Findings, directory: Path) -> StepOutput:
        """The result of each part, and the covers."""
        files: list[OutputFile] = []
        parts = [self._part(part, findings, directory, files).as_dict() for part in self.parts]
        return StepOutput(tuple(files), {"parts": parts})

    def _part(self, part: WantedPart, findings: Findings, directory: Path, files: list[OutputFile]) -> Part:
        failure = failure_of(part, findings)
        if not findings.has_picture and part.type not in ("HeadTailRecognition", "Description"):
            failure = findings.no_picture
        if part.type == "Highlight":
            failure = failure or self.clip_failure
        if failure is not None:
            return Part(part.type, failure=failure)
        return Part(part.type, self._output(part.type, findings, directory, files))

    def _output(self, kind: str, findings: Findings, directory: Path, files: list[OutputFile]) -> dict[str, Any]:
        if kind == "Cover":
            return {"cover_set": self._covers(findings, directory, files), "output_storage": self.storage}
        if kind == "Classification":
            return {"classification_set": list(_classes(findings))}
        if kind == "Tag":
            return {"tag_set": list(_tags(findings))}
        if kind == "FrameTag":
            return {"segment_set": list(_frame_tags(findings))}
        if kind == "Highlight":
            return {"highlight_set": list(self._highlights(findings, directory, files)), "output_storage": self.storage}
        if kind == "SegmentRecognition":
            return {"segment_set": [_segment(span) for span in _stories.segments(findings)], "abstract": ""}
        if kind == "HeadTailRecognition":
            film = self.ends() or FilmEnds((), (), findings.duration)
            head, tail = _openings.opening(film, self.siblings), _openings.closing(film, self.siblings)
            return {"head_time_offset": round(head, 2), "tail_time_offset": round(tail, 2)}
        (language,) = self.describe_in()
        return {"description_set": [_described(findings.described[language], self.storage)]}

    def _highlights(self, findings: Findings, directory: Path, files: list[OutputFile]) -> Iterator[dict[str, Any]]:
        for number, span in enumerate(self._high_points):
            clip = self.cut[self._clip(number)]
            key = self.naming.object_key(HIGHLIGHT_PATH, "mp4", number=number)
            files.append(OutputFile(clip, key, CONTENT_TYPES["mp4"]))
            picture = _stories.nearest_picture(findings, (span.start + span.end) / 2)
            cover = ""
            if picture is not None:
                cover = self.naming.object_key(HIGHLIGHT_PATH, "jpg", number=number)
                path = directory / f"{self.name}-highlight-{number}.jpg"
                shutil.copy(picture, path)
                files.append(OutputFile(path, cover, CONTENT_TYPES["jpg"]))
            yield {
                "highlight_path": f"/{key}", "cov_img_path": f"/{cover}" if cover else "",
                "confidence": span.confidence, "duration": round(span.end - span.start, 3),
                "segment_set": [_segment(span, "segment_tags")], "highlight_url": "", "cov_img_url": "",
            }  # fmt: skip

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


def _segment(span: _stories.Span, *lists: str) -> dict[str, Any]:
    """A part of the film, as the model has it; members that nothing here knows are empty."""
    texts = ("title", "summary", "begin_time", "end_time")
    further = (
        {name: [] for name in lists}
        if lists
        else {"segment_url": "", "cov_img_url": "", "keywords": [], "person_id": ""}
    )
    return {
        "confidence": span.confidence, "start_time_offset": span.start, "end_time_offset": span.end,
        **dict.fromkeys(texts, ""), **further,
    }  # fmt: skip


def _described(found: Description, storage: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": found.text,
        "confidence": found.confidence,
        "title": found.title,
        "keywords": list(found.keywords),
        "paragraphs": [
            {
                "summary": part.summary,
                "title": part.title,
                "keywords": list(part.keywords),
                "start_time_offset": part.start,
                "end_time_offset": part.end,
            }
            for part in found.paragraphs
        ],
        "mind_map_url": "",
        "mind_map_path": "",
        "subtitle_path": "",
        "output_storage": storage,
    }


def _rated(findings: Findings) -> Iterator[tuple[float, float, Path]]:
    """How good a cover each picture would be (0 to 100), its time, and its file; one with a face is better."""
    looks = findings.looks
    faces = {time for time, boxes in findings.face_boxes if boxes}
    bars = [time for time, there in findings.bars if there]
    times = [look.time for look in looks]
    for index, picture in enumerate(findings.pictures if looks else ()):
        time = index * findings.step
        after = min(bisect_left(times, time), len(looks) - 1)
        before = max(0, after - 1)
        nearest = looks[before] if time - times[before] <= abs(times[after] - time) else looks[after]
        shows_bars = any(abs(time - shown) < BAR_STEP for shown in bars[max(0, bisect_left(bars, time) - 1) :][:2])
        rating = 0.0 if shows_bars else _beauty(nearest)
        if rating > 0 and round(time, 3) in faces:
            rating += FACE * (100 - rating)
        yield rating, time, picture


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
