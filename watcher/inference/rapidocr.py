"""Text on the screen by RapidOCR: PP-OCR's networks for Chinese and English, which come with the package.

``pip install 'watcher[ocr]'``. A picture that looks like the one before is not read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from watcher import plugin
from watcher.inference._pictures import pictures
from watcher.inference.base import Provider


class Options(plugin.Options):
    """Reads what is on the screen, Chinese and English."""

    threads: Annotated[int, Field(ge=0, le=256)] = 0
    """Threads of the model; 0: one for each processor."""
    confidence: Annotated[float, Field(ge=0, le=100)] = 50.0
    """Lines that the model is less sure of are left out."""


class RapidOcrProvider(Provider):
    """See the module."""

    serves: ClassVar = ("text",)
    library: ClassVar = ("rapidocr", "ocr")
    options: Options

    def load(self) -> None:
        import logging  # noqa: PLC0415

        from rapidocr import RapidOCR  # noqa: PLC0415

        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        threads = self.options.threads or -1
        engine = {"EngineConfig.onnxruntime.intra_op_num_threads": threads, "Global.log_level": "error"}
        self._read = RapidOCR(params={**engine, "Global.text_score": self.options.confidence / 100})

    def work(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        for index, picture, same in pictures(request["pictures"]):
            if not same:
                lines = self._lines(picture)
            yield {"index": index, "lines": lines}

    def _lines(self, picture: Any) -> list[dict[str, Any]]:
        found = self._read(picture, use_cls=False)
        if found is None or not found.txts:
            return []
        return [
            {
                "text": text,
                "confidence": round(100 * float(score), 2),
                "box": [int(box[:, 0].min()), int(box[:, 1].min()), int(box[:, 0].max()), int(box[:, 1].max())],
            }
            for text, score, box in zip(found.txts, found.scores, found.boxes, strict=True)
        ]
