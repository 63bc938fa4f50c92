"""From what providers answer (plain data, see :mod:`watcher.inference.base`) to findings.

``step`` is the time between two pictures in seconds, ``scale`` what lengths in them are multiplied by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from watcher.model.findings import (
    Box,
    Code,
    Description,
    Labelled,
    Line,
    Paragraph,
    SeenFace,
    SeenObject,
    SeenPart,
    Sight,
    SpokenWord,
    Utterance,
)

Answer = Mapping[str, Any]
Scale = tuple[float, float]

_LIKENESS = ((0.0, 100.0), (0.5, 95.0), (0.6, 80.0), (0.8, 0.0))
"""Distances of dlib's network, and what they mean in percent. Its authors tell people apart at 0.6; a film shows many
faces, so that the model's usual 95 % is a little less."""


def likeness(distance: float) -> float:
    """How like two faces are, 0 to 100: a straight line between the points above."""
    for (near, high), (far, low) in pairwise(_LIKENESS):
        if distance < far:
            return round(high - (high - low) * (distance - near) / (far - near), 2)
    return 0.0


def _scaled(box: Sequence[int], scale: Scale) -> Box:
    """A box of a picture as one of the source."""
    wide, high = scale
    left, top, right, bottom = (max(0, side) for side in box)
    return round(left * wide), round(top * high), round(right * wide), round(bottom * high)


def _time(answer: Answer, step: float) -> float:
    return round(float(answer["index"]) * step, 3)


def sights(found: Sequence[Answer], step: float, scale: Scale) -> Iterator[Sight]:
    """Of ``text``."""
    for sight in found:
        lines = (Line(str(x["text"]), float(x["confidence"]), _scaled(x["box"], scale)) for x in sight["lines"])
        yield Sight(_time(sight, step), tuple(lines))


def codes(found: Sequence[Answer], step: float, scale: Scale) -> Iterator[tuple[float, tuple[Code, ...]]]:
    """Of ``codes``."""
    for picture in found:
        seen = (Code(str(x["kind"]), str(x["text"]), _scaled(x["box"], scale)) for x in picture["codes"])
        yield _time(picture, step), tuple(seen)


def labelled(found: Sequence[Answer], step: float) -> Iterator[Labelled]:
    """Of ``vision``."""
    for picture in found:
        tags = tuple((str(tag["name"]), float(tag["confidence"])) for tag in picture["tags"])
        yield Labelled(_time(picture, step), str(picture["category"]), tags)


def parts(found: Sequence[Answer], step: float, scale: Scale) -> Iterator[tuple[float, tuple[SeenPart, ...]]]:
    """Of ``nudity``."""
    for picture in found:
        seen = (SeenPart(str(x["name"]), float(x["confidence"]), _scaled(x["box"], scale)) for x in picture["parts"])
        yield _time(picture, step), tuple(seen)


def objects(found: Sequence[Answer], step: float, scale: Scale) -> Iterator[tuple[float, tuple[SeenObject, ...]]]:
    """Of ``objects`` and ``violence``."""
    for picture in found:
        seen = (
            SeenObject(str(x["name"]), float(x["confidence"]), _scaled(x["box"], scale) if x.get("box") else None)
            for x in picture["objects"]
        )
        yield _time(picture, step), tuple(seen)


def faces(found: Sequence[Answer], step: float, scale: Scale) -> Iterator[tuple[float, tuple[SeenFace, ...]]]:
    """Of ``faces``, without the first answer."""
    for picture in found:
        seen = (
            SeenFace(str(near["sample"]), likeness(near["distance"]), _scaled(face["box"], scale))
            for face in picture["faces"]
            for near in face["near"]
        )
        yield _time(picture, step), tuple(seen)


def face_boxes(found: Sequence[Answer], step: float, scale: Scale) -> Iterator[tuple[float, tuple[Box, ...]]]:
    """Of ``faces``, without the first answer: where there are any, whosoever they are."""
    for picture in found:
        yield _time(picture, step), tuple(_scaled(face["box"], scale) for face in picture["faces"])


def utterances(found: Sequence[Answer]) -> Iterator[Utterance]:
    """Of ``speech``."""
    for said in found:
        words = (
            SpokenWord(str(w["text"]), round(float(w["start"]), 3), round(float(w["end"]), 3)) for w in said["words"]
        )
        start, end = round(float(said["start"]), 3), round(float(said["end"]), 3)
        yield Utterance(start, end, str(said["text"]), float(said["confidence"]), tuple(words))


def description(found: Answer) -> Description:
    """Of ``description``."""
    paragraphs = (
        Paragraph(
            float(item["start"]), float(item["end"]), str(item["title"]), str(item["summary"]), tuple(item["keywords"])
        )
        for item in found["paragraphs"]
    )
    return Description(
        str(found["title"]),
        str(found["description"]),
        tuple(found["keywords"]),
        float(found["confidence"]),
        tuple(paragraphs),
    )
