"""The video half of a transcode template (contract templates.md, sections 2 and 5).

Bit rates are in kbit/s, sizes in pixels. A size of 0 means "as the source", or "in proportion" when the other
side is given.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, model_validator

from watcher.model.base import Value

VideoCodec = Literal["h264", "h265", "h266", "av1", "vp8", "vp9", "mpeg2", "dnxhd", "copy"]
Fill = Literal["stretch", "black", "white", "gauss"]
Side = Annotated[int, Field(ge=0, le=4096)]
Fps = Annotated[int, Field(ge=0, le=120_000)]

VIDEO_CODECS: dict[str, tuple[VideoCodec, ...]] = {
    "mp4": ("h264", "h265", "h266", "av1", "copy"),
    "mov": ("h264", "h265", "h266", "copy"),
    "mkv": ("h264", "h265", "av1", "vp8", "vp9", "copy"),
    "webm": ("av1", "vp8", "vp9", "copy"),
    "flv": ("h264", "copy"),
    "hls": ("h264", "h265", "copy"),
    "ts": ("h264", "h265", "h266", "copy"),
    "mxf": ("mpeg2", "dnxhd", "copy"),
}
"""What goes into which container; templates.md, section 2, "Codec/container pairs"."""

H264_LEVELS = ("1", "1.1", "1.2", "1.3", "2", "2.1", "2.2", "3", "3.1", "3.2", "4", "4.1", "4.2", "5", "5.1")
H265_LEVELS = ("1", "2", "2.1", "3", "3.1", "4", "4.1", "5", "5.1", "5.2", "6", "6.1", "6.2", "8.5")
QUALITY_CODECS = frozenset({"h264", "h265", "av1", "vp8", "vp9"})
"""Encoders that can be asked for a quality instead of a bit rate."""


class SegmentSpecificInfo(Value):
    """The first ``fragment_end_num`` segments last ``fragment_time`` seconds instead of HlsTime."""

    switch: Literal["on", "off"] = "off"
    fragment_time: float = Field(default=0.0, ge=0, le=10)
    fragment_end_num: int = Field(default=1, ge=1, le=1000)

    @model_validator(mode="after")
    def _has_a_time(self) -> SegmentSpecificInfo:
        if self.switch == "on" and not self.fragment_time:
            raise ValueError("FragmentTime is required when Switch is on")
        return self


class VideoTemplateUpdate(Value):
    """Every member optional: what ``OverrideParameter.VideoTemplate`` may hold."""

    codec: VideoCodec | None = None
    fps: Fps | None = None
    fps_denominator: Annotated[int, Field(ge=0, le=100_000)] | None = None
    bitrate: Annotated[int, Field(ge=0, le=100_000)] | None = None
    resolution_adaptive: Literal["open", "close"] | None = None
    width: Side | None = None
    height: Side | None = None
    gop: Annotated[int, Field(ge=0, le=100_000)] | None = None
    gop_unit: Literal["frame", "second"] | None = None
    fill_type: Fill | None = None
    vcrf: Annotated[int, Field(ge=0, le=100)] | None = None
    """0–51; 100 goes back to automatic."""
    hls_time: Annotated[float, Field(ge=0, le=10)] | None = None
    segment_type: Literal[0, 2, 5, 7] | None = None
    mode: Literal["VBR", "ABR", "CBR", "VCRF"] | None = None
    video_profile: Literal["baseline", "main", "high", "default"] | None = None
    video_level: str | None = None
    bframes: Annotated[int, Field(ge=-1, le=16)] | None = None
    bit_depth: Literal[8, 10] | None = None
    sar: Literal["default", "1:1", "2:1"] | None = None
    no_scenecut: Literal[0, 1] | None = None
    raw_pts: Literal[0, 1] | None = None
    compress: Annotated[int, Field(ge=-1, le=100)] | None = None
    segment_specific_info: SegmentSpecificInfo | None = None
    target_vmaf: Annotated[float, Field(ge=0, le=99)] | None = None
    two_pass: Literal[0, 1] | None = None


class VideoTemplate(Value):
    """Contract templates.md, section 2. ``codec`` ``copy`` re-packages without encoding."""

    codec: VideoCodec
    fps: Fps = 0
    fps_denominator: Annotated[int, Field(ge=0, le=100_000)] = 1
    bitrate: Annotated[int, Field(ge=0, le=100_000)] = 0
    resolution_adaptive: Literal["open", "close"] = "open"
    width: Side = 0
    height: Side = 0
    gop: Annotated[int, Field(ge=0, le=100_000)] = 0
    gop_unit: Literal["frame", "second"] = "frame"
    fill_type: Fill = "black"
    vcrf: Annotated[int, Field(ge=0, le=100)] | None = None
    hls_time: Annotated[float, Field(ge=0, le=10)] = 0
    segment_type: Literal[0, 2, 5, 7] = 0
    """0 TS segments, 2 TS byte range, 7 MP4 segments, 5 MP4 byte range."""
    mode: Literal["VBR", "ABR", "CBR", "VCRF"] = "VBR"
    video_profile: Literal["baseline", "main", "high", "default"] = "default"
    video_level: str = ""
    bframes: Annotated[int, Field(ge=-1, le=16)] | None = None
    bit_depth: Literal[8, 10] = 8
    sar: Literal["default", "1:1", "2:1"] = "default"
    no_scenecut: Literal[0, 1] = 0
    """1: key frames also where the picture changes; 0: with a Gop, there only."""
    raw_pts: Literal[0, 1] = 0
    compress: Annotated[int, Field(ge=-1, le=100)] = 0
    """Bit rate of the output as a share of the source's, in percent; 0 and −1 are off."""
    segment_specific_info: SegmentSpecificInfo | None = None
    target_vmaf: Annotated[float, Field(ge=0, le=99)] = 0.0
    """Ours. The quality that a search on samples aims at; 0 is off."""
    two_pass: Literal[0, 1] = 0
    """Ours. 1: a first pass measures, so that the second meets the Bitrate as well as it can."""

    @property
    def rate(self) -> Fraction | None:
        """Frames a second; None keeps those of the source."""
        return Fraction(self.fps, self.fps_denominator or 1) if self.fps else None

    @property
    def crf(self) -> int | None:
        """The quality asked for; None is automatic."""
        return None if self.vcrf in (None, 100) else self.vcrf

    @model_validator(mode="after")
    def _rates_fit(self) -> VideoTemplate:
        if self.rate is not None and self.rate > 120:
            raise ValueError("Fps (divided by FpsDenominator) must not be over 120")
        if self.bitrate and self.bitrate < 128:
            raise ValueError("Bitrate must be 0 (automatic) or from 128 to 100000 kbit/s")
        if self.vcrf is not None and 51 < self.vcrf < 100:
            raise ValueError("Vcrf must be from 0 to 51, or 100 for automatic")
        return self

    @model_validator(mode="after")
    def _control_fits(self) -> VideoTemplate:
        if self.codec == "copy":
            return self
        if self.codec == "dnxhd" and (self.bitrate or self.crf is not None or self.gop):
            raise ValueError("dnxhd has a fixed rate and no groups of pictures: leave Bitrate, Vcrf and Gop out")
        if self.mode in ("ABR", "CBR") and not self.bitrate and self.compress <= 0:
            raise ValueError(f"Mode {self.mode} needs a Bitrate")
        return self

    @model_validator(mode="after")
    def _extensions_fit(self) -> VideoTemplate:
        if self.two_pass and not self.bitrate and self.compress <= 0:
            raise ValueError("TwoPass needs a Bitrate to meet")
        if self.two_pass and (self.codec not in ("h264", "h265", "vp8", "vp9") or self.mode in ("VCRF", "CBR")):
            raise ValueError("TwoPass is for h264, h265, vp8 and vp9 in Mode VBR or ABR")
        if self.target_vmaf and (self.codec not in QUALITY_CODECS or self.mode not in ("VCRF", "VBR")):
            raise ValueError("TargetVmaf is for h264, h265, av1, vp8 and vp9 in Mode VCRF, or in VBR as capped")
        return self

    @model_validator(mode="after")
    def _profile_fits(self) -> VideoTemplate:
        if self.codec != "h264" and self.video_profile != "default":
            raise ValueError("VideoProfile applies to h264 only")
        if self.codec == "h264" and self.bit_depth == 10 and self.video_profile != "default":
            raise ValueError("VideoProfile does not go with BitDepth 10")
        if self.bit_depth == 10 and self.codec in ("vp8", "mpeg2", "dnxhd"):
            raise ValueError(f"{self.codec} has no BitDepth 10 here")
        levels = {"h264": H264_LEVELS, "h265": H265_LEVELS}.get(self.codec, ())
        if self.video_level and self.video_level not in levels:
            allowed = f"must be one of {', '.join(levels)}" if levels else "applies to h264 and h265 only"
            raise ValueError(f"VideoLevel {allowed}")
        return self

    @model_validator(mode="after")
    def _size_fits(self) -> VideoTemplate:
        if self.resolution_adaptive == "open" and self.width and self.height and self.width < self.height:
            raise ValueError("with ResolutionAdaptive 'open' Width is the long side: it must not be below Height")
        for name, side in (("Width", self.width), ("Height", self.height)):
            if side and side < 128:
                raise ValueError(f"{name} must be 0 or from 128 to 4096")
        return self


class TehdConfig(Value):
    """Content-adaptive encoding: constant quality under a cap (templates.md, section 3)."""

    type: Literal["TEHD-100", ""] = ""
    max_video_bitrate: int = Field(default=0, ge=0, le=100_000)
