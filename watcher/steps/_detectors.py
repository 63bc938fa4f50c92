"""From measures to stretches of time in which something is wrong: pure functions, a severity of 0 to 100 for each.

A severity is a straight line between a value that is fine and one that nobody could accept; the values are ours, since
the model publishes none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from watcher.model.findings import Box, Findings, Look, Loudness

SILENT = -60.0
"""Level in dB (RMS, full scale) below which nothing is heard."""
BLACK, DARK = 16.0, 50.0
"""The luma of black, and that below which a picture is too dark to tell its edges."""
NOT_SOLID = 24.0
"""Spread of a picture in which there is something to judge."""


def line(value: float, fine: float, bad: float) -> float:
    """0 at ``fine``, 100 at ``bad``, and no less and no more beyond."""
    return 100 * min(1.0, max(0.0, (value - fine) / (bad - fine)))


def _blur(look: Look) -> float:
    return line(look.blur, 6.5, 13.5) if look.spread > NOT_SOLID else 0.0


def _mosaic(look: Look) -> float:
    # A black edge is an edge at a block's border too.
    return line(math.log10(max(look.block, 0.1)), 0.68, 1.48) if look.spread > NOT_SOLID and look.edge < 0.02 else 0.0


def _noise(look: Look) -> float:
    return line(look.outliers, 0.0012, 0.003)


def _freeze(look: Look) -> float:
    return line(look.change, 0.06, 0.0) if look.spread > NOT_SOLID and look.time > 0 else 0.0


def _edge(look: Look) -> float:
    inside = (look.luma - BLACK * look.edge) / max(0.01, 1 - look.edge)
    return line(look.edge, 0.02, 0.1) if look.spread > NOT_SOLID and inside > DARK else 0.0


def _black(look: Look) -> float:
    return min(line(look.luma, 40, 20), line(look.spread, 40, 8))


PICTURE: dict[str, Callable[[Look], float]] = {
    "Blur": _blur,
    "Mosaic": _mosaic,
    "Noise": _noise,
    "LowLighting": lambda look: line(look.luma, 60, 16),
    "HighLighting": lambda look: line(look.luma, 180, 235),
    "SolidColorScreen": lambda look: line(look.spread, 16, 0),
    "BlackWhiteEdge": _edge,
    "BlackScreen": _black,
    "FreezeScreen": _freeze,
}
"""Of a picture. The last two are ours."""
SOUND: dict[str, Callable[[Loudness], float]] = {
    "NoVoice": lambda sound: line(-sound.level, -SILENT - 10, -SILENT + 10),
    "LowVoice": lambda sound: line(-sound.momentary, 28, 42) if sound.level > SILENT else 0.0,
    "HighVoice": lambda sound: line(sound.momentary, -14, -6),
    "Clipping": lambda sound: line(sound.flat, 0, 4) if sound.peak > -0.2 else 0.0,
}
"""Of the sound; the last one is ours."""
MOMENTARY = ("LowVoice", "HighVoice")
"""Those that are judged by momentary loudness."""
LATE = 4
"""Tenths of a second by which that comes late."""
SAME_LEVEL = 6.0
"""dB within which a level is the same."""
SHORTEST = {"FreezeScreen": 1.0, "NoVoice": 1.0, "LowVoice": 1.0}
"""Seconds that something has to last where the template does not say; 0.4 for the others."""
USUAL_SHORTEST = 0.4
THRESHOLD = 50.0
SCORED = ("Blur", "Mosaic", "Noise", "LowLighting", "HighLighting")
"""What the score of a picture is made of."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Seconds in which something is wrong, how sure that is (0 to 100), and where."""

    start: float
    end: float
    confidence: int
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """``threshold`` of the severity, the ``shortest`` stretch and the time between two looks, both in seconds."""

    threshold: float = THRESHOLD
    shortest: float = USUAL_SHORTEST
    step: float = 0.0


def stretches(samples: Sequence[tuple[float, float, Box | None]], step: float, limits: Limits) -> Iterator[Stretch]:
    """Stretches of samples (time, severity, place), ``step`` seconds apart; one that is fine is passed over."""
    inside: list[tuple[float, float, Box | None]] = []
    fine = 0
    for sample in (*samples, None):
        if sample is not None and sample[1] >= limits.threshold:
            inside.append(sample)
            fine = 0
            continue
        fine += 1
        if inside and (fine > 1 or sample is None):
            start, end = inside[0][0], inside[-1][0] + step
            if end - start >= limits.shortest - step / 2:
                sure = sum(severity for _, severity, _ in inside) / len(inside)
                yield Stretch(round(start, 3), round(end, 3), round(sure), inside[0][2])
            inside = []


def _spaced(samples: Iterable[tuple[float, float, Box | None]], step: float) -> list[tuple[float, float, Box | None]]:
    """Those that are at least ``step`` apart."""
    found: list[tuple[float, float, Box | None]] = []
    for sample in samples:
        if not found or sample[0] - found[-1][0] >= step - 1e-6:
            found.append(sample)
    return found


def of_picture(kind: str, findings: Findings, limits: Limits) -> list[Stretch]:
    """What is wrong with the picture."""
    looks = findings.looks
    if len(looks) < 2:
        return []
    step = looks[1].time - looks[0].time
    severity = PICTURE[kind]
    samples = [(look.time, severity(look), look.box if kind == "BlackWhiteEdge" else None) for look in looks]
    if kind == "FreezeScreen":  # a picture that has not changed was there a moment before
        samples = [(time - step, value, box) for time, value, box in samples]
    if limits.step > step:
        samples, step = _spaced(samples, limits.step), limits.step
    return list(stretches(samples, step, limits))


def of_sound(kind: str, findings: Findings, limits: Limits) -> list[Stretch]:
    """What is wrong with the sound."""
    heard = findings.loudness
    if len(heard) < 2:
        return []
    step = heard[1].time - heard[0].time
    samples: list[tuple[float, float, Box | None]] = [(sound.time, SOUND[kind](sound), None) for sound in heard]
    if limits.step > step:
        samples, step = _spaced(samples, limits.step), limits.step
        return list(stretches(samples, step, limits))
    found = stretches(samples, step, limits)
    return [_sharpened(stretch, heard, step) for stretch in found] if kind in MOMENTARY else list(found)


def _sharpened(stretch: Stretch, heard: Sequence[Loudness], step: float) -> Stretch:
    """With the borders where the level of the sound itself changes: momentary loudness is that of 0.4 s, so that it
    rises and falls later than the sound does."""
    first = next(index for index, sound in enumerate(heard) if sound.time >= stretch.start - step / 2)
    last = max(first, next((i for i, s in enumerate(heard) if s.time >= stretch.end - step / 2), len(heard)) - 1)
    levels = sorted(sound.level for sound in heard[first : last + 1])
    usual = levels[len(levels) // 2]

    def alike(index: int) -> bool:
        return abs(heard[index].level - usual) < SAME_LEVEL

    earliest, latest = max(0, first - LATE), min(len(heard) - 1, last)
    while first > earliest and alike(first - 1):
        first -= 1
    while last > max(first, latest - LATE) and not alike(last):
        last -= 1
    return replace(stretch, start=round(heard[first].time, 3), end=round(heard[last].time + step, 3))


def of_codes(kind: str, findings: Findings) -> list[Stretch]:
    """Where there is a code of a kind."""
    samples: list[tuple[float, float, Box | None]] = []
    for time, codes in findings.codes:
        mine = [code for code in codes if code.kind == kind]
        samples.append((time, 100.0 if mine else 0.0, mine[0].box if mine else None))
    return list(stretches(samples, findings.step, Limits(shortest=0.0)))


def of_bars(findings: Findings, limits: Limits) -> list[Stretch]:
    """Where there are colour bars."""
    if len(findings.bars) < 2:
        return []
    step = findings.bars[1][0] - findings.bars[0][0]
    samples: list[tuple[float, float, Box | None]] = [(time, 100.0 * there, None) for time, there in findings.bars]
    return list(stretches(samples, step, limits))


def score(findings: Findings) -> int | None:
    """How good the pictures are, 0 to 100: what the worst of their measures leaves, on average. None: no picture."""
    if not findings.looks:
        return None
    worst = [max(PICTURE[kind](look) for kind in SCORED) for look in findings.looks]
    return round(100 - sum(worst) / len(worst))
