"""Nudity in pictures by NudeNet, whose network comes with the package. ``pip install 'watcher[review]'``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from watcher import plugin
from watcher.inference._pictures import pictures
from watcher.inference.base import Provider


class Options(plugin.Options):
    """Finds parts of bodies."""


class NudeNetProvider(Provider):
    """See the module."""

    serves: ClassVar = ("nudity",)
    library: ClassVar = ("nudenet", "review")
    options: Options

    def load(self) -> None:
        from nudenet import NudeDetector  # noqa: PLC0415

        self._detect = NudeDetector().detect

    def work(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        for index, picture, same in pictures(request["pictures"]):
            if not same:
                parts = [_part(found) for found in self._detect(picture)]
            yield {"index": index, "parts": parts}


def _part(found: dict[str, Any]) -> dict[str, Any]:
    left, top, wide, high = (int(value) for value in found["box"])
    return {
        "name": str(found["class"]),
        "confidence": round(100 * float(found["score"]), 2),
        "box": [left, top, left + wide, top + high],
    }
