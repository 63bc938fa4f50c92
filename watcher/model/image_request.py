"""A request for a picture made of a picture (ProcessImage)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from watcher.model.base import Value
from watcher.model.inputs import MediaInput, StepInput
from watcher.model.media_request import Request
from watcher.model.order import TaskKind


class ImageEncodeConfig(Value):
    """``format`` empty: that of the original. ``quality`` is for what loses some."""

    format: Literal["", "JPEG", "PNG", "BMP", "WebP"] = ""
    quality: int | None = Field(default=None, ge=1, le=100)


class ImageDenoiseConfig(Value):
    switch: Literal["ON", "OFF"] = "ON"
    type: Literal["weak", "strong"] = "weak"


class SharpEnhanceConfig(Value):
    switch: Literal["ON", "OFF"] = "ON"
    intensity: float = Field(default=0.0, ge=0, le=1)


class ImageEnhanceConfig(Value):
    """What needs no trained model."""

    denoise: ImageDenoiseConfig | None = None
    sharp_enhance: SharpEnhanceConfig | None = None


class ImageTask(Value):
    """What is done to the picture."""

    encode_config: ImageEncodeConfig | None = None
    enhance_config: ImageEnhanceConfig | None = None


class ImageInput(MediaInput):
    """The one sub-task of a picture's task."""

    definition: int = 0
    encode_config: ImageEncodeConfig | None = None
    enhance_config: ImageEnhanceConfig | None = None

    @property
    def kind(self) -> str:
        return "image"


class ImageRequest(Request):
    """What a ProcessImage body asks for."""

    image_task: ImageTask
    output_path: str | None = None

    @property
    def kind(self) -> TaskKind:
        return "ImageTask"

    @property
    def steps(self) -> tuple[StepInput, ...]:
        task = self.image_task
        return (
            ImageInput(
                output_object_path=self.output_path,
                encode_config=task.encode_config,
                enhance_config=task.enhance_config,
            ),
        )
