"""What models find in media: plain data that steps of all intelligent tasks read.

Times are seconds of the source, confidences 0 to 100, boxes (left, top, right, bottom) in pixels of the source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

Box = tuple[int, int, int, int]
Capability = Literal[
    "text", "speech", "codes", "faces", "nudity", "vision", "violence", "objects", "cuts", "description", "translation"
]
"""What a model can do: read what is on the screen, write down what is said, find codes, recognise faces, see nudity,
say what a picture shows, see violence, find objects, find cuts, tell what a film is about, translate what is said."""
CAPABILITIES: tuple[Capability, ...] = get_args(Capability)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in a picture."""

    text: str
    confidence: float
    box: Box


@dataclass(frozen=True, slots=True)
class Sight:
    """What was read in the picture that is shown at ``time``."""

    time: float
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word and when it is said."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something that was said, between two pauses."""

    start: float
    end: float
    text: str
    confidence: float
    words: tuple[SpokenWord, ...] = ()


@dataclass(frozen=True, slots=True)
class Code:
    """A bar code or QR code in a picture: ``kind`` is ``QRCode`` or ``BarCode``."""

    kind: str
    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A face that is like a sample: the sample's face id, how like (0 to 100), and where. It may be like several."""

    face_id: str
    likeness: float
    box: Box


@dataclass(frozen=True, slots=True)
class SeenPart:
    """A part of a body, as NudeNet names it."""

    name: str
    confidence: float
    box: Box


@dataclass(frozen=True, slots=True)
class SeenObject:
    """Something in a picture that has a name; ``box`` is None where nobody knows the place."""

    name: str
    confidence: float
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A part of a film, and what it is about."""

    start: float
    end: float
    title: str
    summary: str
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """What a film is about."""

    title: str
    text: str
    keywords: tuple[str, ...]
    confidence: float
    paragraphs: tuple[Paragraph, ...] = ()


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a picture shows: its class, and what is to be seen with a confidence (0 to 100)."""

    time: float
    category: str
    tags: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Look:
    """Measures of one picture, brought to a common size.

    ``luma``, ``spread`` (between the darkest and the brightest value of the plane where that is most) and ``change``
    (mean difference to the picture before) are in steps of 8 bits; ``outliers`` is the share of pixels that stand
    out of their neighbours; ``blur`` is the mean width of edges in pixels; ``block`` compares differences at
    the edges of blocks with others: 1 is none. ``box`` is the part that is not a black edge, and ``edge`` the share of
    the picture that is.
    """

    time: float
    luma: float
    spread: float
    change: float
    outliers: float
    blur: float
    block: float
    box: Box
    edge: float = 0.0


@dataclass(frozen=True, slots=True)
class Loudness:
    """Of a tenth of a second: its level (RMS) and peak in dB of full scale, and how flat the peaks are (0: not).

    ``momentary`` is the loudness of the 0.4 s up to then, ``integrated`` that of all up to then, in LUFS.
    """

    time: float
    level: float
    peak: float
    flat: float
    momentary: float
    integrated: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a capability found nothing out: an ErrCodeExt and a sentence."""

    code: str
    message: str


@dataclass(slots=True)
class Findings:
    """All that was found in one source; what a capability failed with is in ``failures``.

    ``step`` is the time between two pictures that were looked at, ``duration`` that of the source.
    """

    duration: float = 0.0
    step: float = 1.0
    sights: tuple[Sight, ...] = ()
    utterances: tuple[Utterance, ...] = ()
    codes: tuple[tuple[float, tuple[Code, ...]], ...] = ()
    """By the time of the picture."""
    faces: tuple[tuple[float, tuple[SeenFace, ...]], ...] = ()
    """By the time of the picture."""
    face_boxes: tuple[tuple[float, tuple[Box, ...]], ...] = ()
    """Of all faces, by the time of the picture."""
    parts: tuple[tuple[float, tuple[SeenPart, ...]], ...] = ()
    """Of bodies, by the time of the picture."""
    labelled: tuple[Labelled, ...] = ()
    """Some of the pictures, at regular times."""
    objects: tuple[tuple[float, tuple[SeenObject, ...]], ...] = ()
    """By the time of the picture."""
    violence: tuple[tuple[float, tuple[SeenObject, ...]], ...] = ()
    """By the time of the picture; the names are labels of the model."""
    cuts: tuple[float, ...] = ()
    """When another picture begins, from one moment to the next."""
    translations: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By language: one text for each utterance."""
    described: dict[str, Description] = field(default_factory=dict)
    """By the language that it is written in."""
    fingerprint: tuple[int, ...] = ()
    """Of the sound, by chromaprint, :data:`watcher.media.extraction.PRINTS` values a second."""
    bars: tuple[tuple[float, bool], ...] = ()
    """Whether a picture shows colour bars, by its time."""
    faults: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Of the streams, by the model's type, with the seconds at which they are."""
    pictures: tuple[Path, ...] = ()
    """The files of the pictures, each ``step`` after the one before."""
    looks: tuple[Look, ...] = ()
    loudness: tuple[Loudness, ...] = ()
    has_picture: bool = False
    has_sound: bool = False
    failures: dict[str, Failure] = field(default_factory=dict)
    """By capability, or ``measures``, ``fingerprint``, ``bars``, ``diagnosis``, which need no model."""
    no_sound: ClassVar[Failure] = Failure("SourceFileError.NoAudioMedia", "the source has no audio stream")
    no_picture: ClassVar[Failure] = Failure("SourceFileError.NoVideoMedia", "the source has no video stream")


@dataclass(frozen=True, slots=True)
class Part:
    """The result of one of the things that a sub-task looks for.

    ``type`` is the model's name of it; ``output`` is the wire form of its output in snake_case, None where it failed.
    """

    type: str
    output: dict[str, Any] | None = None
    failure: Failure | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    """What is told beside it."""

    def as_dict(self) -> dict[str, Any]:
        """As it is kept in the results of a task."""
        failed = self.failure
        return {
            "type": self.type,
            "status": "FAIL" if failed else "SUCCESS",
            "code": failed.code if failed else "",
            "message": failed.message if failed else "",
            "output": self.output,
            "facts": self.facts,
        }
