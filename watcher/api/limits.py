"""How often an action may be called: a bucket of calls for each key pair and action that fills again steadily."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

KEPT = 10_000


class Limits:
    """``overrides`` are calls a second by action, from the settings."""

    def __init__(self, overrides: Mapping[str, int]) -> None:
        self._overrides = overrides
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def rate(self, action: str, rate: int) -> int:
        """Calls a second that are allowed."""
        return self._overrides.get(action, rate)

    def take(self, caller: str, action: str, rate: int, now: float) -> bool:
        """Whether one more call is allowed; at most a second's worth of calls may come at once."""
        rate = self.rate(action, rate)
        key = caller, action
        left, then = self._left.pop(key, (float(rate), now))
        left = min(float(rate), left + max(0.0, now - then) * rate)
        allowed = left >= 1.0
        self._left[key] = (left - 1.0 if allowed else left, now)
        if len(self._left) > KEPT:
            self._left.popitem(last=False)
        return allowed


class Replays:
    """Signatures of calls that changed something. A client that signs twice within a second makes the same signature
    twice, so that one may come again at once; later it is a replay.
    """

    AT_ONCE = 2.0
    REMEMBERED = 660.0
    """Longer than a signature is good for, the clocks' difference included."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def is_one(self, token: bytes, now: float) -> bool:
        """Whether this call was made before; it is remembered."""
        while self._seen and next(iter(self._seen.values())) < now - self.REMEMBERED:
            self._seen.popitem(last=False)
        first = self._seen.setdefault(token, now)
        return now - first > self.AT_ONCE
