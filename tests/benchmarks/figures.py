"""One line of the table."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured value, and whether it meets the aim (None where there is no aim)."""

    name: str
    text: str
    aim: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        """For the table."""
        return "" if self.met is None else "yes" if self.met else "NO"


def paired_ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios of runs that were made alternately, which a noisy machine disturbs least."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
