"""Where a film can be split, and what its high points are: pure functions over what was measured.

The values are ours, since the model publishes none. What is loud and moves a lot is what people cut highlights from
(Hanjalic and Xu, "Affective video content representation and modeling", IEEE Transactions on Multimedia, 2005, use
motion, the density of cuts and the energy of sound likewise).
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from watcher.model.findings import Findings, Loudness, Utterance

PAUSE_BELOW = 15.0
"""dB below the loudness of the whole film at which sound counts as a pause."""
NEVER_A_PAUSE, ALWAYS_A_PAUSE = -25.0, -60.0
"""Levels in dB of full scale that bound it."""
SHORTEST_PAUSE = 0.25
NEAR = 0.5
"""Seconds between a cut and a pause that belong together."""
SHORTEST_SEGMENT = 2.0
SURE_WITH_PAUSE, SURE_WITHOUT_PAUSES = 95.0, 70.0
"""Confidence of a border: a cut in a pause, and a cut of a film that has no sound, or sound without a pause."""

BIN = 1.0
"""Seconds for which there is one value of how exciting the film is."""
SMOOTH = 2
"""Bins to each side that count too."""
WEIGHT_MOTION, WEIGHT_LOUD, WEIGHT_SPEECH = 0.5, 0.4, 0.1
STANDS_OUT = 0.12
"""By how much the highest value has to be above the middle one, for a film to have high points at all."""
MOST_HIGHLIGHTS = 5
SHORTEST_HIGHLIGHT, LONGEST_HIGHLIGHT = 2.0, 30.0


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the film, in seconds, and how sure it is (0 to 100)."""

    start: float
    end: float
    confidence: float


def segments(findings: Findings) -> list[Span]:
    """The parts that a film falls into: at cuts, and where the sound has pauses only at those in a pause of it."""
    borders = [(0.0, 100.0)]
    pauses = _pauses(findings.loudness) if findings.loudness else []
    for cut in findings.cuts:
        if cut - borders[-1][0] < SHORTEST_SEGMENT or findings.duration - cut < SHORTEST_SEGMENT:
            continue
        if not pauses:
            borders.append((cut, SURE_WITHOUT_PAUSES))
        elif any(start - NEAR <= cut <= end + NEAR for start, end in pauses):
            borders.append((cut, SURE_WITH_PAUSE))
    borders.append((round(findings.duration, 3), 100.0))
    return [
        Span(start, end, min(before, after))
        for (start, before), (end, after) in itertools.pairwise(borders)
        if end > start
    ]


def _pauses(sound: Sequence[Loudness]) -> list[tuple[float, float]]:
    limit = max(ALWAYS_A_PAUSE, min(NEVER_A_PAUSE, sound[-1].integrated - PAUSE_BELOW))
    step = sound[1].time - sound[0].time if len(sound) > 1 else 0.1
    found: list[tuple[float, float]] = []
    begun: float | None = None
    for heard in sound:
        if heard.level < limit:
            begun = heard.time if begun is None else begun
        elif begun is not None:
            found.append((begun, heard.time))
            begun = None
    if begun is not None:
        found.append((begun, sound[-1].time + step))
    return [(start, end) for start, end in found if end - start >= SHORTEST_PAUSE]


def highlights(findings: Findings) -> list[Span]:
    """The parts in which most happens, the surest first; none where nothing stands out."""
    values = _excitement(findings)
    if len(values) < 3:
        return []
    ordered = sorted(values)
    middle, highest = ordered[len(ordered) // 2], ordered[-1]
    if highest - middle < STANDS_OUT:
        return []
    above = middle + 0.6 * (highest - middle)
    found: list[Span] = []
    begun: int | None = None
    for index, value in enumerate([*values, 0.0]):
        if value >= above and begun is None:
            begun = index
        elif value < above and begun is not None:
            start, end = begun * BIN, min(index * BIN, findings.duration)
            end = min(end, start + LONGEST_HIGHLIGHT)
            if end - start >= SHORTEST_HIGHLIGHT:
                found.append(Span(round(start, 3), round(end, 3), round(100 * max(values[begun:index]), 2)))
            begun = None
    return sorted(found, key=lambda span: -span.confidence)[:MOST_HIGHLIGHTS]


def _excitement(findings: Findings) -> list[float]:
    """0 to 1 for each bin."""
    count = int(findings.duration / BIN)
    motion = _ranked(_binned(((look.time, look.change) for look in findings.looks), count), least=1.0)
    loud = _ranked(_binned(((heard.time, heard.momentary) for heard in findings.loudness), count), least=3.0)
    ends = [utterance.end for utterance in findings.utterances]
    speech = [1.0 if _is_said(findings.utterances, ends, index * BIN) else 0.0 for index in range(count)]
    total = [
        WEIGHT_MOTION * motion[index] + WEIGHT_LOUD * loud[index] + WEIGHT_SPEECH * speech[index]
        for index in range(count)
    ]
    near = [total[max(0, index - SMOOTH) : index + SMOOTH + 1] for index in range(count)]
    # The middle of what is near: one flash is no high point.
    return [sorted(values)[len(values) // 2] for values in near]


def _binned(samples: Iterable[tuple[float, float]], count: int) -> list[float]:
    """The mean of the values (time, value) of each bin."""
    sums, numbers = [0.0] * count, [0] * count
    for time, value in samples:
        index = int(time / BIN)
        if index < count:
            sums[index] += value
            numbers[index] += 1
    return [total / number if number else 0.0 for total, number in zip(sums, numbers, strict=True)]


def _ranked(values: Sequence[float], least: float) -> list[float]:
    """Where each value is between the lowest and the highest; 0 for all where those differ by less than ``least``."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    if high - low < least:
        return [0.0] * len(values)
    return [(value - low) / (high - low) for value in values]


def _is_said(utterances: Sequence[Utterance], ends: Sequence[float], time: float) -> bool:
    index = bisect_left(ends, time)
    return index < len(utterances) and utterances[index].start < time + BIN


def nearest_picture(findings: Findings, time: float) -> Path | None:
    """The picture that shows a moment best, if there are pictures."""
    if not findings.pictures:
        return None
    return findings.pictures[min(len(findings.pictures) - 1, max(0, round(time / findings.step)))]
