"""Samples: words and persons that recognition and review look for (contract api.md, section 10)."""

from __future__ import annotations

from dataclasses import dataclass

WORD_USAGES = {
    "Recognition.Ocr": ("Recognition.Ocr",),
    "Recognition.Asr": ("Recognition.Asr",),
    "Review.Ocr": ("Review.Ocr",),
    "Review.Asr": ("Review.Asr",),
    "Recognition": ("Recognition.Ocr", "Recognition.Asr"),
    "Review": ("Review.Ocr", "Review.Asr"),
    "All": ("Recognition.Ocr", "Recognition.Asr", "Review.Ocr", "Review.Asr"),
}
"""What each usage of a word stands for."""
PERSON_USAGES = {
    "Recognition.Face": ("Recognition.Face",),
    "Recognition": ("Recognition.Face",),
    "Review.Face": ("Review.Face",),
    "Review": ("Review.Face",),
    "All": ("Recognition.Face", "Review.Face"),
}
"""What each usage of a person stands for."""


@dataclass(frozen=True, slots=True)
class Word:
    """A keyword. ``usages`` are in their expanded form; times are seconds since 1970."""

    keyword: str
    usages: tuple[str, ...]
    tags: tuple[str, ...]
    create_time: float = 0.0
    update_time: float = 0.0


@dataclass(frozen=True, slots=True)
class Face:
    """A picture of a person's face, by its id."""

    face_id: str


@dataclass(frozen=True, slots=True)
class Person:
    """A person; as of a word."""

    person_id: str
    name: str
    description: str
    usages: tuple[str, ...]
    tags: tuple[str, ...]
    faces: tuple[Face, ...] = ()
    create_time: float = 0.0
    update_time: float = 0.0


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """A person with the pictures of the faces, by face id."""

    person: Person
    pictures: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class FilmEnds:
    """The fingerprints of the sound at a film's beginning and end, and its length in seconds."""

    head: tuple[int, ...]
    tail: tuple[int, ...]
    duration: float


@dataclass(frozen=True, slots=True)
class Samples:
    """Words and persons to look for, and other films of the same directory."""

    words: tuple[Word, ...] = ()
    persons: tuple[KnownPerson, ...] = ()
    siblings: tuple[FilmEnds, ...] = ()


NO_SAMPLES = Samples()
"""Where nobody looks for any."""


def expand(usages: tuple[str, ...], table: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The usages in their expanded form, each once; raises ValueError for one that there is not."""
    found: dict[str, None] = {}
    for usage in usages:
        if usage not in table:
            raise ValueError(f"{usage!r} is not one of {', '.join(table)}")
        found.update(dict.fromkeys(table[usage]))
    return tuple(found)
