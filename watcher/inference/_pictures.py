"""Reading the pictures of a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

NOTICED = 24
"""Difference of a pixel's brightness (0 to 255) that counts as one."""
CHANGED = 12
"""Pixels, in a picture of 320 × 180, that differ when something else is to be seen there."""


def pictures(paths: Iterable[str]) -> Iterator[tuple[int, Any, bool]]:
    """Each picture (rows, columns, blue-green-red) with its index, and whether it looks like the one before.

    Raises ValueError for what is no picture.
    """
    import cv2  # noqa: PLC0415  providers are made without their libraries

    small: Any = None
    for index, path in enumerate(paths):
        picture = cv2.imread(path)
        if picture is None:
            raise ValueError("a picture can't be read")
        before, small = small, cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (320, 180))
        same = before is not None and int((cv2.absdiff(before, small) > NOTICED).sum()) <= CHANGED
        yield index, picture, same
