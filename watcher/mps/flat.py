"""Flattened parameters: ``WorkflowIds.0=10001`` as a form or a query has them (contract api.md, section 1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from watcher.mps.faults import RequestError

DEEPEST = 32
LONGEST = 10_000
"""Items of a list at most."""


def unflatten(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The parameters as nested data; raises RequestError where names contradict each other. Values stay texts."""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        parts = name.split(".")
        if len(parts) > DEEPEST:
            raise RequestError("InvalidParameter", f"{name[:80]}: is too deep")
        place = tree
        for part in parts[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise RequestError("InvalidParameter", f"{name[:80]}: is a value and a group at once")
        if parts[-1] in place:
            raise RequestError("InvalidParameter", f"{name[:80]}: is given twice")
        place[parts[-1]] = value
    return {key: _listed(item, key) for key, item in tree.items()}


def _listed(value: Any, path: str) -> Any:
    """Groups whose names are numbers from 0 on are lists."""
    if not isinstance(value, dict):
        return value
    items = {key: _listed(item, f"{path}.{key}") for key, item in value.items()}
    if not all(key.isascii() and key.isdecimal() and len(key) <= 5 for key in items):
        return items
    numbers = sorted(int(key) for key in items)
    if len(numbers) > LONGEST or numbers != list(range(len(numbers))):
        raise RequestError("InvalidParameter", f"{path[:80]}: the items of a list are numbered from 0, without a gap")
    return [items[str(number)] for number in numbers]
