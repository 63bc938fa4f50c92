"""Openings and closings: what films of one series have in common at their beginnings and ends, by their sound.

Fingerprints of chromaprint are compared bit by bit: values of the same sound differ in a few of their 32 bits, of other
sounds in about half (Haitsma and Kalker, "A highly robust audio fingerprinting system", ISMIR 2002, whose limit of a
bit error rate of 0.35 is used here).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from watcher.media.extraction import PRINTS
from watcher.model.samples import FilmEnds

MOST = 600.0
"""Seconds at each end that are compared, half of the film at most."""
LAST = 2.6
"""Seconds at the end of a film for which there is no value."""
SHORTEST = 5.0
"""Seconds that two films have to have in common."""
LIMIT = 0.35 * 32
"""Bits that may differ, on average over :data:`WINDOW` values."""
WINDOW = 16
CLEAR = 6
"""Bits that may differ where a common part begins and ends."""
BEGINS, ENDS = 0.55, 1.45
"""Seconds by which the sound of a part begins and ends later than the values that are clearly the same: each value is
about 2.4 s of sound from its place on."""
VARIED, LATER = 10, 20
"""Bits in which sound that changes differs from what it is so many values later: of speech and music nearly all values
do, of silence, noise and tones a twentieth at most."""
ENOUGH = 0.8
"""Share of the shortest part that has to change so."""
GAP = 2.0
"""Seconds of difference within what is the same all the same."""
SEEDS = 3
"""Bits of a value that may differ where a common part is looked for."""
LATE = 120.0
"""Seconds behind the beginning (or before the end) within which an opening (a closing) has to begin (to end)."""


def ends(fingerprint: Sequence[int], duration: float) -> FilmEnds:
    """What is kept of a film's fingerprint."""
    count = min(int(MOST * PRINTS), len(fingerprint) // 2)
    return FilmEnds(tuple(fingerprint[:count]), tuple(fingerprint[len(fingerprint) - count :]), duration)


def common(one: Sequence[int], other: Sequence[int]) -> tuple[float, float] | None:
    """The longest part of ``one`` that is in ``other`` too: begin and end in seconds of ``one``; None for none.

    Only sound that changes counts: silence, noise and a single tone are in many films that have nothing in common.
    """
    varied = [(a ^ b).bit_count() >= VARIED for a, b in zip(one, one[LATER:], strict=False)]
    best, most = (0, 0), 0
    for offset in _offsets(one, other, varied):
        start = max(0, -offset)
        stop = min(len(one), len(other) - offset)
        for first, last in _stretches(one[start:stop], other[start + offset : stop + offset]):
            changing = sum(varied[first + start : last + start])
            if changing > most:
                best, most = (first + start, last + start), changing
    if most / PRINTS < ENOUGH * SHORTEST or (best[1] - best[0]) / PRINTS < SHORTEST:
        return None
    # What is the same from the first value on was so before it, as far as anybody can tell.
    return best[0] / PRINTS + (BEGINS if best[0] else 0.0), best[1] / PRINTS + ENDS


def _offsets(one: Sequence[int], other: Sequence[int], varied: Sequence[bool]) -> list[int]:
    """The likeliest shifts between the two: those by which most values are the same but for few bits."""
    places: dict[int, list[int]] = {}
    for index, value in enumerate(other):
        places.setdefault(value >> 12, []).append(index)
    votes: dict[int, int] = {}
    for index, changes in enumerate(varied):
        if changes:
            value = one[index]
            for place in places.get(value >> 12, ())[:200]:
                if (value ^ other[place]).bit_count() <= SEEDS:
                    votes[place - index] = votes.get(place - index, 0) + 1
    return sorted(votes, key=lambda offset: -votes[offset])[:5]


def _stretches(one: Sequence[int], other: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The stretches of two parts of the same length in which few bits differ."""
    differ = [(a ^ b).bit_count() for a, b in zip(one, other, strict=True)]
    if len(differ) < WINDOW:
        return
    total = sum(differ[:WINDOW])
    good: list[bool] = []
    for index in range(len(differ) - WINDOW + 1):
        good.append(total <= LIMIT * WINDOW)
        if index + WINDOW < len(differ):
            total += differ[index + WINDOW] - differ[index]
    begun: int | None = None
    last = 0
    for index, same in enumerate([*good, *[False] * int(GAP * PRINTS + 2)]):
        if same:
            begun = index if begun is None else begun
            last = index
        elif begun is not None and index - last > GAP * PRINTS:
            yield _trimmed(differ, begun, last + WINDOW)
            begun = None


def _trimmed(differ: Sequence[int], start: int, stop: int) -> tuple[int, int]:
    """Without what differs at both ends: a window reaches a little beyond what is the same."""

    def is_clear(first: int) -> bool:
        return max(differ[first : first + 3], default=0) <= CLEAR

    while start < stop and not is_clear(start):
        start += 1
    while stop > start and not is_clear(max(start, stop - 3)):
        stop -= 1
    return start, stop


def opening(film: FilmEnds, others: Sequence[FilmEnds]) -> float:
    """When the opening that this film shares with others ends, in seconds; 0 where there is none."""
    found = [part for other in others if (part := common(film.head, other.head)) is not None and part[0] <= LATE]
    return _middle([end for _, end in found])


def closing(film: FilmEnds, others: Sequence[FilmEnds]) -> float:
    """When the closing that this film shares with others begins, in seconds; its length where there is none."""
    first = max(0.0, film.duration - LAST - len(film.tail) / PRINTS)
    found = [
        first + part[0]
        for other in others
        if (part := common(film.tail, other.tail)) is not None and len(film.tail) / PRINTS - part[1] <= LATE
    ]
    return _middle(found) if found else film.duration


def _middle(times: list[float]) -> float:
    return sorted(times)[len(times) // 2] if times else 0.0
