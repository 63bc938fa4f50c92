"""What models find in media: plain data that steps of all intelligent tasks read.

Times are seconds of the source, confidences 0 to 100, boxes (left, top, right, bottom) in pixels of the source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Box = tuple[int, int, int, int]
Capability = Literal["text", "speech"]
"""What a model can do: read what is on the screen, write down what is said."""


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
    failures: dict[Capability, Failure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """The result of one of the things that a sub-task looks for.

    ``type`` is the model's name of it; ``output`` is the wire form of its output in snake_case, None where it failed.
    """

    type: str
    output: dict[str, Any] | None = None
    failure: Failure | None = None

    def as_dict(self) -> dict[str, Any]:
        """As it is kept in the results of a task."""
        failed = self.failure
        return {
            "type": self.type,
            "status": "FAIL" if failed else "SUCCESS",
            "code": failed.code if failed else "",
            "message": failed.message if failed else "",
            "output": self.output,
        }
