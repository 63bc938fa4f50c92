"""Objects as a listing shows them, in columns: a sweep of a million looks at the name and the version of each, and at
the rest of hardly any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from watcher.model.objects import ObjectInfo, key_bytes, version_of

UNTOLD = b""
"""The version of an object whose listing does not tell enough to know it again."""


class Listed(Sequence[ObjectInfo]):
    """Some objects of one storage; an ObjectInfo is made when it is asked for.

    ``keys`` are as UTF-8, which sorts as S3 lists; ``versions`` are digests, see :func:`version_of`, or ``UNTOLD``;
    ``modified`` are seconds since 1970. ``make`` gives the object at a place of the columns.
    """

    __slots__ = ("_make", "keys", "modified", "versions")

    def __init__(
        self,
        keys: Sequence[bytes] = (),
        versions: Sequence[bytes] = (),
        modified: Sequence[int] = (),
        make: Callable[[int], ObjectInfo] = ().__getitem__,
    ) -> None:
        self.keys = keys
        self.versions = versions
        self.modified = modified
        self._make = make

    @classmethod
    def of(cls, infos: Iterable[ObjectInfo]) -> Listed:
        """Of objects that are there already."""
        found = list(infos)
        keys = [key_bytes(info.key) for info in found]
        versions = [version_of(info) if info.resolved else UNTOLD for info in found]
        return cls(keys, versions, [info.last_modified for info in found], found.__getitem__)

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, place: int) -> ObjectInfo: ...

    @overload
    def __getitem__(self, place: slice) -> Listed: ...

    def __getitem__(self, place: int | slice) -> ObjectInfo | Listed:
        return self._make(place) if isinstance(place, int) else self.chosen(range(len(self))[place])

    def __iter__(self) -> Iterator[ObjectInfo]:
        return map(self._make, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # its columns may be lists

    def __repr__(self) -> str:
        return f"Listed({list(self)!r})"

    def names(self) -> Iterator[tuple[bytes, bytes]]:
        """The key and the version of each."""
        return zip(self.keys, self.versions, strict=True)

    def chosen(self, places: Sequence[int]) -> Listed:
        """Those at some places."""
        if len(places) == len(self):
            return self
        return Listed(
            [self.keys[place] for place in places],
            [self.versions[place] for place in places],
            [self.modified[place] for place in places],
            lambda place: self._make(places[place]),
        )


@dataclass(frozen=True, slots=True)
class Merged:
    """What a part of a listing told: what the ledger did not know, and how many known versions were not there."""

    unknown: Listed
    missing: int = 0
    forgotten: int = 0
    settled: bool = False
    """Nothing is unknown and nothing changed its state: the same listing would tell nothing."""
    recorded: int = 0
    """Objects that were there before anybody looked, and are known now."""
