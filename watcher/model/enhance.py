"""Enhancement that classic filters can do (contract templates.md, section 5); what needs a model is refused by name."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from pydantic import Field, model_validator

from watcher.model.base import Value

On = Literal["ON", "OFF"]


class FrameRate(Value):
    """More frames a second, interpolated by motion."""

    switch: On = "ON"
    fps: int = Field(default=0, ge=0, le=100)


class FrameRateWithDen(Value):
    """The same as a quotient."""

    switch: On = "ON"
    fps_num: int = Field(ge=0)
    fps_den: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _is_a_rate(self) -> FrameRateWithDen:
        if Fraction(self.fps_num, self.fps_den) >= 120:
            raise ValueError("FpsNum / FpsDen must be under 120")
        return self


class Strength(Value):
    """A filter and how much of it; ``weak`` unless said."""

    switch: On = "ON"
    type: Literal["weak", "strong"] = "weak"


class Plain(Value):
    """A filter that is on or off."""

    switch: On = "ON"


class VolumeBalance(Value):
    """``loudNorm`` brings the programme to −16 LUFS (EBU R 128), ``gainControl`` evens out loud and soft parts."""

    switch: On = "ON"
    type: Literal["loudNorm", "gainControl"] = "loudNorm"


class Beautify(Value):
    """Clicks and sharp s sounds removed."""

    switch: On = "ON"
    types: tuple[Literal["declick", "deesser"], ...] = ("declick",)


class VideoEnhance(Value):
    """What is done to the picture, in the order of the fields."""

    denoise: Strength | None = None
    artifact_repair: Strength | None = None
    frame_rate: FrameRate | None = None
    frame_rate_with_den: FrameRateWithDen | None = None

    @property
    def rate(self) -> Fraction | None:
        """Frames a second to interpolate to."""
        if self.frame_rate_with_den is not None and self.frame_rate_with_den.switch == "ON":
            return Fraction(self.frame_rate_with_den.fps_num, self.frame_rate_with_den.fps_den) or None
        if self.frame_rate is not None and self.frame_rate.switch == "ON":
            return Fraction(self.frame_rate.fps) or None
        return None

    @model_validator(mode="after")
    def _has_one_rate(self) -> VideoEnhance:
        if self.frame_rate is not None and self.frame_rate_with_den is not None:
            raise ValueError("FrameRate and FrameRateWithDen exclude each other")
        return self


class AudioEnhance(Value):
    """What is done to the sound, in the order of the fields."""

    denoise: Plain | None = None
    beautify: Beautify | None = None
    volume_balance: VolumeBalance | None = None


class EnhanceConfig(Value):
    """Contract templates.md, section 5."""

    video_enhance: VideoEnhance | None = None
    audio_enhance: AudioEnhance | None = None
