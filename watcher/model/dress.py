"""What is laid over or put beside a picture: watermarks, mosaics, subtitles, head and tail clips, extra tracks.

Contract pipelines.md, section 8 and templates.md, section 7. Times are seconds; a negative one counts from the end.
"""

from __future__ import annotations

import base64
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from watcher.model.base import Value
from watcher.model.resources import MediaInputInfo

Corner = Literal["TopLeft", "TopRight", "BottomLeft", "BottomRight"]
_LENGTH = re.compile(r"(-?\d+(?:\.\d+)?)(px|%|W%|H%|S%|L%)\Z")


def _length(value: str) -> str:
    match = _LENGTH.match(value)
    if match is None or match[2] not in ("px", "%"):
        raise ValueError(f"{value!r} is not a length: write pixels as '20px' or a share of the picture as '10%'")
    if float(match[1]) < 0:
        raise ValueError(f"{value!r} must not be negative")
    return value


def _svg_length(value: str) -> str:
    match = _LENGTH.match(value)
    if match is None or float(match[1]) < 0:
        raise ValueError(f"{value!r} is not a length: a number with px, %, W%, H%, S% or L%")
    return value


Length = Annotated[str, AfterValidator(_length)]
SvgLength = Annotated[str, AfterValidator(_svg_length)]
Colour = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{6}$")]


def _base64(value: str) -> str:
    try:
        base64.b64decode(value.rpartition(",")[2] if value.startswith("data:") else value, validate=True)
    except ValueError:
        raise ValueError("ImageContent is not base64") from None
    return value


def pixels(length: str, along: int, picture: tuple[int, int]) -> float:
    """``10%`` of ``along``, ``20px`` as 20; ``W% H% S% L%`` of the picture's width, height, short or long side."""
    match = _LENGTH.match(length)
    assert match is not None  # noqa: S101  the validator saw to it
    value, unit = float(match[1]), match[2]
    if unit == "px":
        return value
    sides = {"%": along, "W%": picture[0], "H%": picture[1], "S%": min(picture), "L%": max(picture)}
    return value * sides[unit] / 100


class WatermarkImage(Value):
    """The picture of an image watermark: ``image_content`` is base64 in a template, an input in a raw parameter."""

    width: Length = "10%"
    height: Length = "0px"
    repeat_type: Literal["once", "repeat_last_frame", "repeat"] = "repeat"


class TemplateImage(WatermarkImage):
    """A picture that the template holds."""

    image_content: Annotated[str, AfterValidator(_base64)] = Field(min_length=1, repr=False)

    @property
    def content(self) -> bytes:
        """The bytes of the picture."""
        return base64.b64decode(self.image_content.rpartition(",")[2])


class RawImage(WatermarkImage):
    """A picture that is an object."""

    image_content: MediaInputInfo


class WatermarkText(Value):
    """``font_size`` in pixels, or from 0 to 1 as a share of the picture's height."""

    font_type: str = Field(min_length=1, max_length=64)
    font_size: Annotated[str, Field(pattern=r"^\d+(\.\d+)?px$")]
    font_color: Colour = "0xFFFFFF"
    font_alpha: float = Field(default=1.0, gt=0, le=1)
    text_content: str = Field(default="", max_length=100)

    def size(self, height: int) -> int:
        """Pixels over a picture of ``height``."""
        value = float(self.font_size.removesuffix("px"))
        return max(1, round(value * height if value <= 1 else value))


class WatermarkSvg(Value):
    """``0px`` keeps the aspect, both ``0px`` the natural size."""

    width: SvgLength = "10W%"
    height: SvgLength = "0px"


class Watermark(Value):
    """Where a watermark is, and the one of three kinds that it is of."""

    type: Literal["image", "text", "svg"]
    coordinate_origin: Corner = "TopLeft"
    x_pos: Length = "0px"
    y_pos: Length = "0px"


class WatermarkTemplate(Watermark):
    """Contract templates.md, section 7."""

    name: str = Field(default="", max_length=64)
    comment: str = Field(default="", max_length=256)
    image_template: TemplateImage | None = None
    text_template: WatermarkText | None = None
    svg_template: WatermarkSvg | None = None

    @model_validator(mode="after")
    def _is_of_its_type(self) -> WatermarkTemplate:
        kinds = {"image": self.image_template, "text": self.text_template, "svg": self.svg_template}
        for kind, given in kinds.items():
            name = f"{kind.capitalize()}Template"
            if kind == self.type and given is None and kind != "svg":
                raise ValueError(f"{name} is required when Type is {kind}")
            if kind != self.type and given is not None:
                raise ValueError(f"{name} does not go with Type {self.type}")
        return self


class RawWatermarkParameter(Watermark):
    """A watermark inside the sub-task, of an image only."""

    type: Literal["image"]
    image_template: RawImage


class WatermarkInput(Value):
    """Contract pipelines.md, section 8.1."""

    definition: int
    raw_parameter: RawWatermarkParameter | None = None
    text_content: str = Field(default="", max_length=100)
    svg_content: str = Field(default="", max_length=2_000_000, repr=False)
    start_time_offset: float = 0.0
    end_time_offset: float = 0.0

    @model_validator(mode="after")
    def _has_parameters(self) -> WatermarkInput:
        if (self.definition == 0) != (self.raw_parameter is not None):
            raise ValueError("RawParameter is required when Definition is 0, and read only then")
        return self


class MosaicInput(Value):
    """A part of the picture that is made unrecognisable; contract pipelines.md, section 8.3."""

    coordinate_origin: Literal["TopLeft"] = "TopLeft"
    x_pos: Length = "0px"
    y_pos: Length = "0px"
    width: Length = "10%"
    height: Length = "10%"
    start_time_offset: float = 0.0
    end_time_offset: float = 0.0


class HeadTailParameter(Value):
    """Clips before and after the source, in their order."""

    head_set: tuple[MediaInputInfo, ...] = Field(default=(), max_length=10)
    tail_set: tuple[MediaInputInfo, ...] = Field(default=(), max_length=10)


class SubtitleTemplate(Value):
    """Subtitles burnt into the picture; contract pipelines.md, section 8.5."""

    subtitle_file_input: MediaInputInfo | None = None
    stream_index: int | None = Field(default=None, ge=0)
    """Index of the subtitle stream in the source's container."""
    font_file_input: MediaInputInfo | None = None
    font_type: str = Field(default="hei.ttf", max_length=64)
    font_size: Length = "5%"
    font_color: Colour = "0xFFFFFF"
    font_alpha: float = Field(default=1.0, ge=0, le=1)
    y_pos: Length = "4%"
    board_y: Length | None = None
    """Bottom edge of the backdrop; without it there is none."""
    board_width: int = Field(default=90, ge=0, le=4096)
    board_width_unit: Literal[0, 1] = 1
    board_height: int = Field(default=15, ge=0, le=4096)
    board_height_unit: Literal[0, 1] = 1
    board_color: Colour = "0x000000"
    board_alpha: float = Field(default=0.8, ge=0, le=1)
    outline_width: float = Field(default=0.3, ge=0, le=1000)
    outline_width_unit: Literal[0, 1] = 1
    outline_color: Colour = "0x000000"
    outline_alpha: float = Field(default=1.0, ge=0, le=1)
    shadow_width: float = Field(default=0.0, ge=0, le=1000)
    shadow_width_unit: Literal[0, 1] = 0
    shadow_color: Colour = "0x000000"
    shadow_alpha: float = Field(default=1.0, ge=0, le=1)
    alignment: Literal["top", "bottom"] = "bottom"

    @model_validator(mode="before")
    @classmethod
    def _units_of_what_is_given(cls, values: object) -> object:
        """A number that is given without its unit is in pixels; the defaults are shares."""
        if isinstance(values, dict):
            values = dict(values)
            for name in ("board_width", "board_height", "outline_width"):
                if values.get(name) is not None and f"{name}_unit" not in values:
                    values[f"{name}_unit"] = 0
        return values

    @model_validator(mode="after")
    def _has_one_source(self) -> SubtitleTemplate:
        if (self.subtitle_file_input is None) == (self.stream_index is None):
            raise ValueError("give exactly one of SubtitleFileInput and StreamIndex")
        return self


class AddOnSubtitle(Value):
    """Subtitles beside the picture, as a track of their own; contract pipelines.md, section 8.6."""

    type: Literal["subtitle-stream"] = "subtitle-stream"
    subtitle: MediaInputInfo
    subtitle_name: str = Field(default="", max_length=64, pattern=r"^[\w \-.()\[\]（）【】]*$")
    subtitle_language: str = Field(default="", pattern=r"^[a-zA-Z-]{0,16}$")
    output_format: Literal["WebVTT"] = "WebVTT"
    default_track: bool = False


class AddOnAudio(Value):
    """A further audio track; contract pipelines.md, section 7."""

    input_info: MediaInputInfo
    audio_name: str = Field(default="", max_length=64, pattern=r'^[^\x00-\x1f"]*$')
    audio_language: str = Field(default="", pattern=r"^[a-z]{0,3}$")
    default_track: bool = False


class SimpleAesDrm(Value):
    """AES-128 of whole segments: ``key`` and ``vector`` are 32 hexadecimal digits."""

    uri: str = Field(min_length=1, max_length=2048, pattern=r"^[^\s\"]+$")
    key: str = Field(pattern=r"^[0-9a-fA-F]{32}$", repr=False)
    vector: str = Field(pattern=r"^[0-9a-fA-F]{32}$", repr=False)


class DrmInfo(Value):
    """Contract pipelines.md, section 8.7: of the kinds named there, the one that needs no licence server."""

    type: Literal["simpleaes"]
    simple_aes_drm: SimpleAesDrm
