"""What sweeps remember between two runs of the service: how far they are, and what the last one was like."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any

MOST_BOUNDS = 64
"""Keys that are remembered to cut the next sweep by."""


@dataclass(slots=True)
class Range:
    """Keys behind ``position``, which moves on as they are listed, up to ``last`` (None: the end)."""

    position: str
    last: str | None
    done: bool = False


@dataclass(slots=True)
class PrefixState:
    """One prefix. ``ranges`` are those of the sweep that is under way; ``bounds`` are keys to cut the next one by.

    ``began``, ``finished`` and ``baseline`` are seconds since 1970; ``baseline`` is by the storage's own clock.
    """

    swept: bool = False
    began: float = 0.0
    finished: float = 0.0
    pages: int = 0
    baseline: int | None = None
    bounds: list[str] = field(default_factory=list)
    ranges: list[Range] = field(default_factory=list)
    believable: bool = False

    def due(self, pause: float) -> float:
        """When the next sweep is due."""
        return self.finished + pause if not self.ranges else 0.0

    def is_due(self, now: float, pause: float) -> bool:
        """Whether it is, also when the clock was set back."""
        return now >= self.due(pause) or now < self.finished - pause

    def begin(self, now: float, most: int) -> None:
        """Cut a new sweep into ranges, unless one is under way."""
        if self.ranges:
            return
        self.began = now
        count = min(most, max(1, self.pages // 2), len(self.bounds) + 1)
        cuts = [self.bounds[len(self.bounds) * number // count] for number in range(1, count)]
        cuts = sorted(set(cuts))
        self.ranges = [Range(lower, upper) for lower, upper in zip(["", *cuts], [*cuts, None], strict=True)]

    def end(self, now: float, lasts: list[str], *, believable: bool) -> None:
        """The sweep is complete; ``lasts`` are the last keys of its pages."""
        self.swept, self.finished, self.pages, self.ranges = True, now, len(lasts), []
        self.believable = believable
        step = max(1, len(lasts) // MOST_BOUNDS)
        self.bounds = lasts[::step][:MOST_BOUNDS] if believable else []


@dataclass(slots=True)
class SweepState:
    """All prefixes of one source."""

    prefixes: dict[str, PrefixState] = field(default_factory=dict)
    since: float = 0.0
    """When the source was started for the first time."""
    month: str = ""
    requests: int = 0
    """LIST requests in ``month``."""
    all_swept: bool = False
    """Of earlier versions, which remembered only that there was a first sweep."""

    @classmethod
    def load(cls, text: str | None) -> SweepState:
        """From a cursor's text; one that can't be read is taken for none, which costs time and no object."""
        if text == "swept":
            return cls(all_swept=True)
        try:
            data: Any = json.loads(text) if text else {}
            prefixes = {}
            for prefix, value in data.pop("prefixes", {}).items():
                value["ranges"] = [Range(**item) for item in value["ranges"]]
                prefixes[str(prefix)] = PrefixState(**value)
            return cls(prefixes, **data)
        except (ValueError, TypeError, AttributeError, KeyError):
            return cls(all_swept=True)

    def dump(self) -> str:
        """The inverse."""
        return json.dumps(asdict(self))

    def count(self, now: float) -> None:
        """A request was made."""
        month = time.strftime("%Y-%m", time.gmtime(now))
        self.month, self.requests = month, (self.requests if month == self.month else 0) + 1

    def of(self, prefix: str) -> PrefixState:
        """What is known of one prefix."""
        return self.prefixes.setdefault(prefix, PrefixState(swept=self.all_swept))
