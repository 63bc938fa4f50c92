"""Pages of a listing that said nothing new the last time: as long as their text is the same, they say nothing new.

Reading a page and comparing it with the ledger costs a hundred times what a digest of its text costs. Only what
changed nothing is remembered, and not for longer than a day. It is kept in the database of the ledger that it is about,
so that a ledger which is restored from a backup gets the memory of its time back.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections import OrderedDict
from dataclasses import astuple, dataclass

MOST = 20_000
"""Pages that are remembered: those of twenty million objects, in a few megabytes."""
BELIEVED = 86_400.0
"""Seconds after which a page is compared with the ledger all the same."""


VERSION = 1
"""Of the text that it is kept as; another one is forgotten."""


@dataclass(frozen=True, slots=True)
class Same:
    """A page: the digest of its text, its last key, the last key that was compared, and what there was to count."""

    digest: bytes
    last: str
    until: str
    listed: int
    missing: int
    when: float
    """In seconds since 1970; where the clock was set meanwhile, it is not believed."""


class PageMemory:
    """By prefix, and by the key behind which a page begins."""

    def __init__(self) -> None:
        self._pages: OrderedDict[tuple[str, str], Same] = OrderedDict()
        self._changed = False

    def __len__(self) -> int:
        return len(self._pages)

    def find(self, prefix: str, after: str, last: str | None) -> Same | None:
        """What is remembered of the page behind ``after``, where it reaches as far as one that is cut at ``last``."""
        page = self._pages.get((prefix, after))
        if page is None or not 0 <= time.time() - page.when < BELIEVED:
            return None
        return page if page.until == (page.last if last is None else min(last, page.last)) else None

    def keep(self, prefix: str, after: str, page: Same) -> None:
        """Remember a page; where there are too many, the one that was remembered first is forgotten."""
        self._pages[prefix, after] = page
        self._changed = True
        if len(self._pages) > MOST:
            self._pages.popitem(last=False)

    def drop(self, prefix: str, after: str) -> None:
        """It has said something."""
        self._changed |= self._pages.pop((prefix, after), None) is not None

    def dump(self) -> str | None:
        """All of it as a text; None where nothing changed since the last time."""
        if not self._changed:
            return None
        self._changed = False
        rows = [[*place, page.digest.hex(), *astuple(page)[1:]] for place, page in self._pages.items()]
        return base64.b85encode(zlib.compress(json.dumps([VERSION, rows]).encode(), 1)).decode()

    def load(self, text: str | None) -> None:
        """Remember what :meth:`dump` wrote; a text that can't be read is nothing."""
        try:
            version, rows = json.loads(zlib.decompress(base64.b85decode(text or "")))
            if version == VERSION:
                for prefix, after, digest, *rest in rows:
                    self._pages[prefix, after] = Same(bytes.fromhex(digest), *rest)
        except (ValueError, TypeError, zlib.error):
            self._pages.clear()
