"""Bar codes and QR codes by ZXing-C++. ``pip install 'watcher[quality]'``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from watcher import plugin
from watcher.inference._pictures import pictures
from watcher.inference.base import Provider

SQUARE = ("QR", "DataMatrix", "Aztec", "MaxiCode", "PDF417")
"""How the names of codes begin that are not made of bars."""


class Options(plugin.Options):
    """Finds bar codes and QR codes."""


class ZxingProvider(Provider):
    """See the module."""

    serves: ClassVar = ("codes",)
    library: ClassVar = ("zxingcpp", "quality")
    options: Options

    def load(self) -> None:
        import zxingcpp  # noqa: PLC0415

        self._read = zxingcpp.read_barcodes

    def work(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        codes: list[dict[str, Any]] = []
        for index, picture, same in pictures(request["pictures"]):
            if not same:
                codes = [_code(found) for found in self._read(picture)]
            yield {"index": index, "codes": codes}


def _code(found: Any) -> dict[str, Any]:
    place = found.position
    corners = [place.top_left, place.top_right, place.bottom_left, place.bottom_right]
    wide, high = [corner.x for corner in corners], [corner.y for corner in corners]
    kind = "QRCode" if str(found.format).rpartition(".")[2].replace(" ", "").startswith(SQUARE) else "BarCode"
    return {"kind": kind, "text": found.text, "box": [min(wide), min(high), max(wide), max(high)]}
