"""Matching keys against triggers, at a cost that does not grow with the number of workflows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from watcher.model.objects import directory_of
from watcher.model.workflow import Trigger

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Predicate:
    """One condition of a trigger and whether a key fulfils it."""

    name: str
    holds: bool
    text: str


def extension_of(key: str) -> str:
    """The lower-case extension of a key without its dot; empty when it has none."""
    name = key.rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    return extension.lower() if dot and stem else ""


def explain(trigger: Trigger, storage: str, region: str | None, key: str) -> list[Predicate]:
    """Each predicate of the trigger, for a person who wants to know which one failed.

    ``region`` is that of the storage; a directory has none and fits every region.
    """
    extension = extension_of(key)
    directory = directory_of(key)
    formats = trigger.formats
    shown = "*" if formats is None else " ".join(sorted(formats))
    return [
        Predicate("Bucket", trigger.bucket == storage, f"{trigger.bucket} against {storage}"),
        Predicate("Region", region in (None, trigger.region), f"{trigger.region} against {region or 'any'}"),
        Predicate("Dir", directory.startswith(trigger.dir), f"{directory} in {trigger.dir}"),
        Predicate("Formats", formats is None or extension in formats, f"{extension or '(no extension)'} among {shown}"),
    ]


class TriggerIndex(Generic[T]):
    """Finds the items whose trigger matches a key by looking up each directory above it.

    ``entries`` are (trigger, item) pairs; ``regions`` gives the region of each storage that has one.
    """

    def __init__(self, entries: Iterable[tuple[Trigger, T]], regions: dict[str, str]) -> None:
        self._regions = regions
        self._table: dict[tuple[str, str, str], tuple[T, ...]] = {}
        self._buckets: Counter[str] = Counter()
        table: dict[tuple[str, str, str], list[T]] = defaultdict(list)
        for trigger, item in entries:
            for place in self._places(trigger):
                table[place].append(item)
                self._buckets[trigger.bucket] += 1
        self._table.update((place, tuple(items)) for place, items in table.items())

    def _places(self, trigger: Trigger) -> list[tuple[str, str, str]]:
        """Where items of a trigger are kept; nowhere when its region is not that of the storage."""
        if self._regions.get(trigger.bucket, trigger.region) != trigger.region:
            return []
        extensions = ["*"] if trigger.formats is None else sorted(trigger.formats)
        return [(trigger.bucket, trigger.dir, extension) for extension in extensions]

    def add(self, trigger: Trigger, item: T) -> None:
        """One more item; it comes after those that are there."""
        for place in self._places(trigger):
            self._table[place] = (*self._table.get(place, ()), item)
            self._buckets[trigger.bucket] += 1

    def remove(self, trigger: Trigger, item: T) -> None:
        """Take an item out again."""
        for place in self._places(trigger):
            left = tuple(other for other in self._table.get(place, ()) if other != item)
            self._buckets[trigger.bucket] -= len(self._table.get(place, ())) - len(left)
            if left:
                self._table[place] = left
            else:
                self._table.pop(place, None)

    def match(self, storage: str, key: str) -> list[T]:
        """All items that this object would start, in the order they were given within one directory."""
        if not self._buckets[storage] or key.endswith("/"):
            return []
        extension = extension_of(key)
        found: list[T] = []
        for directory in _directories_above(key):
            found.extend(self._table.get((storage, directory, "*"), ()))
            if extension:
                found.extend(self._table.get((storage, directory, extension), ()))
        return found


def _directories_above(key: str) -> Iterator[str]:
    """``a/b/c.mp4`` → ``/``, ``/a/``, ``/a/b/``."""
    yield "/"
    start = 0
    while (slash := key.find("/", start)) >= 0:
        yield f"/{key[: slash + 1]}"
        start = slash + 1
