"""Faces by dlib: its detector, and its network that tells people apart (face_recognition_models).

``pip install 'watcher[face]'``. A face has to be some 80 pixels high in the picture. Of the two sets of landmarks the
one of five is used, which is free for any use.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from watcher import plugin
from watcher.inference._pictures import pictures
from watcher.inference.base import Provider

FAR = 0.8
"""Distance at which two faces are surely not of the same person."""


class Options(plugin.Options):
    """Recognises faces."""

    enlarge: Annotated[int, Field(ge=0, le=2)] = 0
    """How often a picture is doubled before it is searched: each finds faces half as large, in four times the time."""


class DlibProvider(Provider):
    """See the module."""

    serves: ClassVar = ("faces",)
    library: ClassVar = ("dlib", "face")
    options: Options

    @classmethod
    def problem(cls, options: plugin.Options) -> str:
        missing = super().problem(options)
        if not missing and importlib.util.find_spec("face_recognition_models") is None:
            return "needs face_recognition_models: pip install 'watcher[face]'"
        return missing

    def load(self) -> None:
        import dlib  # noqa: PLC0415

        spec = importlib.util.find_spec("face_recognition_models")
        if spec is None or spec.origin is None:
            raise ValueError("face_recognition_models is not installed")
        models = Path(spec.origin).parent / "models"
        self._detect = dlib.get_frontal_face_detector()
        self._landmarks = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
        self._network = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))
        self._known: dict[str, Any] = {}

    def work(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        samples, unusable = self._samples(request["samples"])
        yield {"unusable": unusable}
        faces: list[dict[str, Any]] = []
        for index, picture, same in pictures(request["pictures"]):
            if not same:
                faces = self._faces(picture, samples)
            yield {"index": index, "faces": faces}

    def _samples(self, paths: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
        """The vectors of the samples, and those that don't show exactly one face; each is looked at once."""
        import cv2  # noqa: PLC0415

        for name, path in paths.items():
            if name in self._known:
                continue
            picture = cv2.imread(path)
            vectors = self._vectors(picture, 1) if picture is not None else []
            self._known[name] = vectors[0][1] if len(vectors) == 1 else None
        wanted = {name: self._known[name] for name in paths}
        unusable = [name for name, vector in wanted.items() if vector is None]
        return {name: vector for name, vector in wanted.items() if vector is not None}, unusable

    def _vectors(self, picture: Any, enlarge: int, *, compared: bool = True) -> list[tuple[Any, Any]]:
        """Each face with its place, and its vector if it is to be ``compared``, which takes longer than finding it."""
        import cv2  # noqa: PLC0415
        import numpy  # noqa: PLC0415

        colours = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

        def vector(box: Any) -> Any:
            return numpy.array(self._network.compute_face_descriptor(colours, self._landmarks(colours, box)))

        return [(box, vector(box) if compared else None) for box in self._detect(colours, enlarge)]

    def _faces(self, picture: Any, samples: dict[str, Any]) -> list[dict[str, Any]]:
        import numpy  # noqa: PLC0415

        found: list[dict[str, Any]] = []
        for box, vector in self._vectors(picture, self.options.enlarge, compared=bool(samples)):
            distances = {name: float(numpy.linalg.norm(vector - sample)) for name, sample in samples.items()}
            near = sorted((distance, name) for name, distance in distances.items() if distance < FAR)
            found.append({
                "near": [{"sample": name, "distance": distance} for distance, name in near],
                "box": [box.left(), box.top(), box.right(), box.bottom()],
            })  # fmt: skip
        return found
