"""Objects by a detector in an ONNX file: a real network of the YOLO kind, and small files of each form of output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import nudenet
import numpy
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.conftest import Measured
from tests.truth import photographs, slides
from tests.workbench import Bench
from watcher.errors import ConfigurationError
from watcher.inference.onnx import OnnxProvider, Options
from watcher.settings import load

ON = {"Switch": "ON"}
NETWORK = Path(nudenet.__file__).with_name("320n.onnx")
"""A network of YOLOv8 that comes with a package; among its classes are faces."""
FACES = {1: "face", 12: "face"}


async def recognised(bench: Bench, source: Path, **configure: Any) -> dict[str, Any]:
    (bench.root / source.name).write_bytes(source.read_bytes())
    bench.template("ai_recognition", 50001, {"Name": "n", "ObjectConfigure": {**ON, **configure}})
    (result,) = (await bench.run(source.name, AiRecognitionTask={"Definition": 50001})).results
    assert result.output is not None, result.message
    return dict(result.output["parts"][0])


async def test_a_network_of_ones_own(workbench: Bench, tmp_path: Path, measured: Measured) -> None:
    """Faces are found where they are and when they are there; a corrupt file fails the part with a sentence."""
    portraits = photographs(tmp_path / "portraits")
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), numpy.full((720, 1280, 3), 90, numpy.uint8))
    source = slides(tmp_path / "film.mp4", [blank, portraits / "obama2.jpg", portraits / "biden.jpg", blank])
    readable = [NETWORK.parent]
    workbench.serve(objects=("onnx", {"model": str(NETWORK), "classes": FACES}), readable=readable)
    try:
        found = await recognised(workbench, source)
        (kind,) = found["output"]["result_set"]
        assert kind["name"] == "face"
        assert [(s["start_time_offset"], s["end_time_offset"]) for s in kind["segment_set"]] == [(2.0, 6.0)]
        measured("objects: faces, onnx", 2, 2, 0, "0.00 s")
        left, top, right, bottom = kind["segment_set"][0]["area_coord_set"]
        assert 400 < left < right < 880
        assert 0 <= top < bottom < 720
        assert (await recognised(workbench, source, LabelSet=["car"]))["output"] == {"result_set": []}
        assert (await recognised(workbench, source, Score=100))["output"] == {"result_set": []}
    finally:
        await workbench.worker.models.close()
    broken = tmp_path / "networks" / "broken.onnx"
    broken.parent.mkdir()
    broken.write_bytes(NETWORK.read_bytes()[:1000])
    workbench.serve(objects=("onnx", {"model": str(broken), "classes": ["x"]}), readable=[broken.parent])
    try:
        found = await recognised(workbench, source)
        assert found["code"] == "InternalError"
        assert "broken.onnx can't be loaded" in found["message"]
    finally:
        await workbench.worker.models.close()


def model(path: Path, output: Any, shape: list[int | str]) -> Path:
    """A file that always answers the same."""
    constant = helper.make_node("Constant", [], ["out"], value=numpy_helper.from_array(output.astype(numpy.float32)))
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    made = helper.make_tensor_value_info("out", TensorProto.FLOAT, list(output.shape))
    graph = helper.make_graph([constant], "constant", [given], [made])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


# One car (class 1) at 100, 50 to 300, 150 of a field of 320 × 320; another box nearly over it; one that is too weak.
CAR, SAME, WEAK = (200, 100, 200, 100), (204, 102, 200, 100), (50, 50, 20, 20)
YOLO8 = numpy.array([[*CAR, 0.1, 0.9], [*SAME, 0.1, 0.8], [*WEAK, 0.1, 0.05], *[[0] * 6] * 5], numpy.float32).T[None]
YOLO5 = numpy.array([[[*CAR, 0.9, 0.1, 1], [*SAME, 0.8, 0.1, 1], [*WEAK, 0.1, 0.5, 0.5], *[[0] * 7] * 9]])
ENDED = numpy.array([[[100, 50, 300, 150, 0.9, 1], [0, 0, 9, 9, 0.1, 0], [0, 0, 9, 9, 0.9, 7], *[[0] * 6] * 9]])


@pytest.mark.parametrize("output", [YOLO8, YOLO5, ENDED], ids=["yolo8", "yolo5", "suppressed"])
@pytest.mark.parametrize("shape", [[1, 3, 320, 320], ["batch", 3, "height", "width"]], ids=["fixed", "open"])
def test_forms_of_output(tmp_path: Path, output: Any, shape: list[int | str]) -> None:
    """All say the same: one car, in pixels of the picture, which is twice as large as the field and not as high."""
    picture = tmp_path / "p.png"
    cv2.imwrite(str(picture), numpy.zeros((360, 640, 3), numpy.uint8))
    options = Options(model=model(tmp_path / "m.onnx", output, shape), classes=["person", "car"], side=320)
    provider = OnnxProvider(options)
    provider.load()
    (answer,) = provider.work({"capability": "objects", "pictures": [str(picture)]})
    assert answer == {"index": 0, "objects": [{"name": "car", "confidence": 90.0, "box": [200, 100, 600, 300]}]}


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    """What is no detector is said, not guessed at."""
    picture = tmp_path / "p.png"
    cv2.imwrite(str(picture), numpy.zeros((32, 32, 3), numpy.uint8))
    flat = OnnxProvider(Options(model=model(tmp_path / "a.onnx", numpy.zeros((1, 7)), [1, 3, 32, 32]), classes=["x"]))
    flat.load()
    with pytest.raises(ValueError, match="none of the forms"):
        list(flat.work({"pictures": [str(picture)]}))
    few = OnnxProvider(Options(model=model(tmp_path / "b.onnx", YOLO8, [1, 3, 32, 32]), classes={9: "x"}))
    few.load()
    with pytest.raises(ValueError, match="knows 2 classes, but one is named with the number 9"):
        list(few.work({"pictures": [str(picture)]}))
    with pytest.raises(ValueError, match="not 1 × 3 × height × width"):
        OnnxProvider(Options(model=model(tmp_path / "c.onnx", YOLO8, [1, 16]), classes=["x"])).load()


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    """It is said when the settings are read; a path counts from their folder."""
    config = tmp_path / "watcher.yaml"
    body = {"ai": {"objects": {"type": "onnx", "model": "nets/cars.onnx", "classes": ["car"]}}}
    config.write_text(json.dumps(body))
    with pytest.raises(ConfigurationError, match="nets/cars.onnx"):
        load(config)
    (tmp_path / "nets").mkdir()
    model(tmp_path / "nets" / "cars.onnx", YOLO8, [1, 3, 320, 320])
    chosen = load(config).providers["objects"]
    assert chosen.options["model"] == str(tmp_path / "nets" / "cars.onnx")
    assert chosen.files == (tmp_path / "nets",)
