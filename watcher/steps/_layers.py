"""From watermarks, mosaics and subtitles to the layers of a picture (contract pipelines.md, section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from watcher.errors import MediaError
from watcher.media.assets import Assets, Wanted
from watcher.media.render import Caption, During, Layer, Mosaic, Options, Overlay, Size, Window
from watcher.model.dress import (
    MosaicInput,
    RawWatermarkParameter,
    Watermark,
    WatermarkInput,
    WatermarkTemplate,
    pixels,
)
from watcher.model.inputs import positions

Mark = tuple[WatermarkInput, Watermark]
"""A watermark as a sub-task asks for it, and its parameters."""


def wanted(marks: Sequence[Mark]) -> dict[str, Wanted]:
    """The files that watermarks need."""
    found: dict[str, Wanted] = {}
    for index, (given, mark) in enumerate(marks):
        if isinstance(mark, RawWatermarkParameter):
            found[f"mark{index}"] = Wanted("picture", source=mark.image_template.image_content)
            continue
        assert isinstance(mark, WatermarkTemplate)  # noqa: S101  there are these two
        if mark.image_template is not None:
            found[f"mark{index}"] = Wanted("picture", content=mark.image_template.content)
        elif mark.text_template is not None:
            text = given.text_content or mark.text_template.text_content
            if not text:
                raise MediaError("InvalidInput", f"watermark {given.definition} has no text: give TextContent")
            found[f"mark{index}"] = Wanted("text", content=text.encode("utf-8", "replace"))
            found[f"font{index}"] = Wanted("font", font=mark.text_template.font_type, text_of=f"mark{index}")
        else:
            if not given.svg_content:
                raise MediaError("InvalidInput", f"watermark {given.definition} has no drawing: give SvgContent")
            found[f"mark{index}"] = Wanted("text", content=given.svg_content.encode("utf-8", "replace"))
    return found


def during(start: float, end: float, duration: float, window: Window) -> During | None:
    """Offsets in the source (0 is unset, negative from the end) on the clock of the output; None is never."""
    first, last = positions(start, end, duration)
    first = max(0.0, first - window.start)
    if last is not None:
        last -= window.start
        if last <= first:
            return None
    return During(round(first, 6), None if last is None else round(last, 6))


def layers(
    marks: Sequence[Mark], mosaics: Sequence[MosaicInput], size: Size, assets: Assets, duration: float, window: Window
) -> tuple[Layer, ...]:
    """What is laid over a picture of ``size``: mosaics first, so that they hide no watermark."""
    frame = (size.width, size.height)
    found: list[Layer] = []
    for mosaic in mosaics:
        when = during(mosaic.start_time_offset, mosaic.end_time_offset, duration, window)
        box = _box(mosaic, frame)
        if when is not None and box is not None:
            found.append(Mosaic(box, when))
    for index, (given, mark) in enumerate(marks):
        when = during(given.start_time_offset, given.end_time_offset, duration, window)
        if when is not None:
            found.append(_layer(index, given, mark, frame, assets, when))
    return tuple(found)


def _box(mosaic: MosaicInput, frame: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """x, y, width and height, even and inside the frame; None when nothing of it is."""
    x = round(pixels(mosaic.x_pos, frame[0], frame)) // 2 * 2
    y = round(pixels(mosaic.y_pos, frame[1], frame)) // 2 * 2
    width = min(round(pixels(mosaic.width, frame[0], frame)), frame[0] - x) // 2 * 2
    height = min(round(pixels(mosaic.height, frame[1], frame)), frame[1] - y) // 2 * 2
    return (x, y, width, height) if width >= 2 and height >= 2 else None


def _layer(
    index: int, given: WatermarkInput, mark: Watermark, frame: tuple[int, int], assets: Assets, when: During
) -> Layer:
    x, y = round(pixels(mark.x_pos, frame[0], frame)), round(pixels(mark.y_pos, frame[1], frame))
    right, bottom = mark.coordinate_origin.endswith("Right"), mark.coordinate_origin.startswith("Bottom")
    asset = assets[f"mark{index}"]
    if isinstance(mark, WatermarkTemplate) and mark.text_template is not None:
        text = mark.text_template
        colour = f"{text.font_color}@{text.font_alpha:g}"
        font = assets[f"font{index}"].path
        return Caption(asset.path, font, text.size(frame[1]), colour, x, y, right, bottom, when)
    if isinstance(mark, WatermarkTemplate) and mark.image_template is None:
        svg = mark.svg_template
        natural = svg_size(given.svg_content)
        width = pixels(svg.width, frame[0], frame) if svg else 0.1 * frame[0]
        height = pixels(svg.height, frame[1], frame) if svg else 0.0
        size = _proportional(width, height, natural)
        drawn = (("format_whitelist", "svg_pipe"), ("width", str(size[0])), ("height", str(size[1])), ("keep_ar", "0"))
        return _placed(asset.path, size, (x, y), frame, (right, bottom), when, (("f", "svg_pipe"), *drawn), "repeat")
    assert isinstance(mark, WatermarkTemplate | RawWatermarkParameter)  # noqa: S101
    image = mark.image_template
    picture = asset.media.picture if asset.media else None
    if image is None or picture is None or not picture.width or not picture.height:
        raise MediaError("InvalidInput", "the picture of a watermark can't be read, or has too many pixels")
    size = _proportional(
        pixels(image.width, frame[0], frame), pixels(image.height, frame[1], frame), (picture.width, picture.height)
    )
    options: Options = ()
    ending = "repeat"
    if asset.media is not None and asset.media.container in ("gif", "apng"):
        endless = image.repeat_type == "repeat"
        options = (("ignore_loop", "0" if endless else "1"),)
        ending = {"repeat": "shortest", "once": "pass", "repeat_last_frame": "repeat"}[image.repeat_type]
    return _placed(asset.path, size, (x, y), frame, (right, bottom), when, options, ending)


def _placed(
    path: str,
    size: tuple[int, int],
    place: tuple[int, int],
    frame: tuple[int, int],
    from_far: tuple[bool, bool],
    when: During,
    options: tuple[tuple[str, str], ...],
    ending: str,
) -> Overlay:
    """The origin names the corner of the picture and of the watermark that the position connects."""
    x = frame[0] - size[0] - place[0] if from_far[0] else place[0]
    y = frame[1] - size[1] - place[1] if from_far[1] else place[1]
    return Overlay(path, size, x, y, when, options, ending)


def _proportional(width: float, height: float, natural: tuple[float, float]) -> tuple[int, int]:
    """A side of 0 follows the other; both 0 is the natural size."""
    if not width and not height:
        width, height = natural
    elif not height:
        height = width * natural[1] / natural[0]
    elif not width:
        width = height * natural[0] / natural[1]
    return min(8192, max(1, round(width))), min(8192, max(1, round(height)))


def svg_size(text: str) -> tuple[float, float]:
    """The natural size of a drawing, from its root element: width and height, else its view box."""
    parser: ElementTree.XMLPullParser[Any] = ElementTree.XMLPullParser(("start",))
    root: Any = None
    try:
        parser.feed(text[:65_536])
        for event in parser.read_events():
            root = event[-1]
            break
    except ElementTree.ParseError:
        root = None
    if root is None:
        raise MediaError("InvalidInput", "SvgContent is not an SVG drawing")
    if root.tag.rpartition("}")[2] != "svg":
        raise MediaError("InvalidInput", "SvgContent is not an SVG drawing: its root element is not <svg>")
    box = [_number(part) for part in root.get("viewBox", "").replace(",", " ").split()]
    width, height = _number(root.get("width", "")), _number(root.get("height", ""))
    natural = (width or (box[2] if len(box) == 4 else 0.0), height or (box[3] if len(box) == 4 else 0.0))
    return natural if natural[0] > 0 and natural[1] > 0 else (100.0, 100.0)


def _number(text: str) -> float:
    try:
        return max(0.0, float(text.removesuffix("px").removesuffix("pt")))
    except ValueError:
        return 0.0
