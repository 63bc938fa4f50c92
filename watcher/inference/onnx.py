"""Detectors of objects in an ONNX file of one's own, with ONNX Runtime: networks of the YOLO kind, with a class map.

``pip install 'watcher[objects]'``. Three forms of output are understood, as the usual exporters write them, for N
candidates and C classes (1 is the batch): ``1 × (4 + C) × N`` (YOLOv8 and later), ``1 × N × (5 + C)`` (YOLOv5, with an
objectness), and ``1 × N × 6`` (with suppression inside: left, top, right, bottom, score, class). The input is
``1 × 3 × H × W``, red-green-blue from 0 to 1, the picture fitted in and the rest grey.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from watcher import plugin
from watcher.inference._pictures import pictures
from watcher.inference.base import Provider

USUAL_SIDE = 640
GREY = 114
MOST = 300
"""Objects that one picture shows, at most."""


class Options(plugin.Options):
    """Finds objects, or violence, with a detector of one's own."""

    model: Path
    """The ONNX file."""
    classes: Annotated[dict[int, str] | list[str], Field(min_length=1)]
    """Names by the number of the class, or in their order. Classes without one are left out; for ``violence`` the names
    have to be labels of the model: guns, crowd, bloody, police, banners, militant, explosion, terrorists, scenario."""
    confidence: Annotated[float, Field(gt=0, lt=100)] = 25.0
    """The least confidence, in percent."""
    overlap: Annotated[float, Field(gt=0, lt=1)] = 0.45
    """How much of two boxes of a class may be the same (intersection over union) before the weaker one goes."""
    side: Annotated[int, Field(ge=32, le=4096)] | None = None
    """The side of the input in pixels, where the file leaves it open."""


class OnnxProvider(Provider):
    """See the module."""

    serves: ClassVar = ("objects", "violence")
    library: ClassVar = ("onnxruntime", "objects")
    options: Options

    @classmethod
    def files(cls, options: plugin.Options) -> list[Path]:
        assert isinstance(options, Options)  # noqa: S101
        return [options.model.parent]

    @classmethod
    def problem(cls, options: plugin.Options) -> str:
        assert isinstance(options, Options)  # noqa: S101
        return super().problem(options) or ("" if options.model.is_file() else f"there is no file {options.model}")

    def load(self) -> None:
        import onnxruntime  # noqa: PLC0415

        quiet = onnxruntime.SessionOptions()
        quiet.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                str(self.options.model), quiet, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors have no class of their own
            raise ValueError(f"{self.options.model.name} can't be loaded: {str(error)[:200]}") from None
        first = self._session.get_inputs()[0]
        shape = list(first.shape)
        if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            raise ValueError(f"{self.options.model.name} wants an input of {shape}, not 1 × 3 × height × width")
        usual = self.options.side or USUAL_SIDE
        self._input = str(first.name)
        self._high, self._wide = (side if isinstance(side, int) else usual for side in shape[2:])
        given = self.options.classes
        self._names = dict(enumerate(given)) if isinstance(given, list) else given

    def work(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for index, picture, same in pictures(request["pictures"]):
            if not same:
                found = self._objects(picture)
            yield {"index": index, "objects": found}

    def _objects(self, picture: Any) -> list[dict[str, Any]]:
        import cv2  # noqa: PLC0415
        import numpy  # noqa: PLC0415

        high, wide = picture.shape[:2]
        scale = min(self._wide / wide, self._high / high)
        inside = round(wide * scale), round(high * scale)
        field = numpy.full((self._high, self._wide, 3), GREY, numpy.uint8)
        field[: inside[1], : inside[0]] = cv2.resize(picture, inside, interpolation=cv2.INTER_LINEAR)
        tensor = field[:, :, ::-1].transpose(2, 0, 1)[None].astype(numpy.float32) / 255
        output = numpy.asarray(self._session.run(None, {self._input: tensor})[0], numpy.float32)
        boxes, scores, kinds = self._candidates(output)
        keep = numpy.isfinite(boxes).all(1) & (scores * 100 >= self.options.confidence)
        keep &= numpy.isin(kinds, list(self._names))
        boxes, scores, kinds = boxes[keep], scores[keep], kinds[keep]
        found: list[dict[str, Any]] = []
        for kind in sorted(set(kinds.tolist())):
            mine = numpy.flatnonzero(kinds == kind)
            sides = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in boxes[mine].tolist()]
            for place in numpy.ravel(cv2.dnn.NMSBoxes(sides, scores[mine].tolist(), 0.0, self.options.overlap)):
                which = mine[int(place)]
                corners = boxes[which] / scale
                limits = (wide, high, wide, high)
                box = [round(min(max(0.0, float(side)), limit)) for side, limit in zip(corners, limits, strict=True)]
                sure = round(100 * min(1.0, float(scores[which])), 2)
                found.append({"name": self._names[kind], "confidence": sure, "box": box})
        return sorted(found, key=lambda thing: -thing["confidence"])[:MOST]

    def _candidates(self, output: Any) -> tuple[Any, Any, Any]:
        """Boxes (left, top, right, bottom in pixels of the input), scores (0 to 1) and numbers of classes."""
        import numpy  # noqa: PLC0415

        if output.ndim != 3 or output.shape[0] != 1:
            raise ValueError(f"an output of {list(output.shape)} is none of the forms that are understood")
        table = output[0]
        if table.shape[1] == 6 and table.shape[0] != 6:
            return table[:, :4], table[:, 4], table[:, 5].astype(int)
        last = max(self._names)
        if table.shape[0] < table.shape[1]:  # four sides and a score for each class, a column for each candidate
            table = table.T
            middle, ratings = table[:, :4], table[:, 4:]
        else:
            middle, ratings = table[:, :4], table[:, 5:] * table[:, 4:5]
        if ratings.shape[1] <= last:
            raise ValueError(f"the file knows {ratings.shape[1]} classes, but one is named with the number {last}")
        kinds = ratings.argmax(1)
        half = middle[:, 2:] / 2
        boxes = numpy.concatenate([middle[:, :2] - half, middle[:, :2] + half], 1)
        return boxes, ratings.max(1), kinds
