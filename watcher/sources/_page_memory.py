"""Pages of a listing that said nothing new the last time: as long as their text is the same, they say nothing new.

Reading a page and comparing it with the ledger costs a hundred times what a digest of its text costs. Only what
changed nothing is remembered, only while the process lives, and not for longer than a day.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

MOST = 20_000
"""Pages that are remembered: those of twenty million objects, in a few megabytes."""
BELIEVED = 86_400.0
"""Seconds after which a page is compared with the ledger all the same."""


@dataclass(frozen=True, slots=True)
class Same:
    """A page: the digest of its text, its last key, the last key that was compared, and what there was to count."""

    digest: bytes
    last: str
    until: str
    listed: int
    missing: int
    when: float


class PageMemory:
    """By prefix, and by the key behind which a page begins."""

    def __init__(self) -> None:
        self._pages: OrderedDict[tuple[str, str], Same] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pages)

    def find(self, prefix: str, after: str, last: str | None) -> Same | None:
        """What is remembered of the page behind ``after``, where it reaches as far as one that is cut at ``last``."""
        page = self._pages.get((prefix, after))
        if page is None or time.monotonic() - page.when > BELIEVED:
            return None
        return page if page.until == (page.last if last is None else min(last, page.last)) else None

    def keep(self, prefix: str, after: str, page: Same) -> None:
        """Remember a page; where there are too many, the one that was remembered first is forgotten."""
        self._pages[prefix, after] = page
        if len(self._pages) > MOST:
            self._pages.popitem(last=False)

    def drop(self, prefix: str, after: str) -> None:
        """It has said something."""
        self._pages.pop((prefix, after), None)
