"""Templates: the named parameters of a step (contract templates.md).

Video and audio bit rates are in kbit/s, sample rates in Hz, sizes in pixels. A size of 0 means "as the
source", or "in proportion" when the other side is given. Only fields that do something are here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from watcher.model.base import Value

VideoCodec = Literal["h264", "h265", "copy"]
AudioCodec = Literal["aac", "mp3", "mp2", "flac", "opus", "ac3", "pcm16", "pcm24", "copy"]
Fill = Literal["stretch", "black", "white", "gauss"]
Switch = Literal[0, 1]
Side = Annotated[int, Field(ge=0, le=4096)]

AUDIO_ONLY_CONTAINERS = frozenset({"mp3", "flac", "ogg", "m4a", "wav"})
VIDEO_CONTAINERS = frozenset({"mp4", "mov", "mkv", "flv", "hls", "ts"})
AUDIO_CODECS: dict[str, tuple[str, ...]] = {
    "mp4": ("aac", "mp3", "mp2", "ac3", "copy"),
    "mov": ("aac", "mp3", "ac3", "pcm16", "pcm24", "copy"),
    "mkv": ("aac", "mp3", "mp2", "ac3", "flac", "opus", "pcm16", "pcm24", "copy"),
    "flv": ("aac", "mp3", "copy"),
    "hls": ("aac", "mp3", "copy"),
    "ts": ("aac", "mp3", "mp2", "ac3", "copy"),
    "mp3": ("mp3", "copy"),
    "flac": ("flac", "copy"),
    "ogg": ("flac", "opus", "copy"),
    "m4a": ("aac", "ac3", "copy"),
    "wav": ("pcm16", "pcm24", "copy"),
}
VIDEO_CODECS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("mp4", "mov", "mkv", "hls", "ts"), ("h264", "h265", "copy")),
    "flv": ("h264", "copy"),
}
EXTENSIONS = {"hls": "m3u8"}


class VideoTemplateUpdate(Value):
    """Every member optional: what ``OverrideParameter.VideoTemplate`` may hold."""

    codec: VideoCodec | None = None
    fps: Annotated[int, Field(ge=0, le=120)] | None = None
    bitrate: Annotated[int, Field(ge=0, le=100_000)] | None = None
    resolution_adaptive: Literal["open", "close"] | None = None
    width: Side | None = None
    height: Side | None = None
    gop: Annotated[int, Field(ge=0, le=100_000)] | None = None
    gop_unit: Literal["frame", "second"] | None = None
    fill_type: Fill | None = None
    vcrf: Annotated[int, Field(ge=0, le=100)] | None = None
    """0–51; 100 goes back to automatic."""
    mode: Literal["VBR", "ABR", "CBR", "VCRF"] | None = None
    hls_time: Annotated[int, Field(ge=0, le=10)] | None = None
    video_profile: Literal["baseline", "main", "high", "default"] | None = None
    video_level: str | None = None
    bframes: Annotated[int, Field(ge=-1, le=16)] | None = None
    bit_depth: Literal[8, 10] | None = None


class VideoTemplate(Value):
    """Contract templates.md, section 2. ``codec`` ``copy`` re-packages without encoding."""

    codec: VideoCodec
    fps: Annotated[int, Field(ge=0, le=120)] = 0
    bitrate: Annotated[int, Field(ge=0, le=100_000)] = 0
    resolution_adaptive: Literal["open", "close"] = "open"
    width: Side = 0
    height: Side = 0
    gop: Annotated[int, Field(ge=0, le=100_000)] = 0
    gop_unit: Literal["frame", "second"] = "frame"
    fill_type: Fill = "black"
    vcrf: Annotated[int, Field(ge=0, le=100)] | None = None
    mode: Literal["VBR", "ABR", "CBR", "VCRF"] = "VBR"
    hls_time: Annotated[int, Field(ge=0, le=10)] = 0
    video_profile: Literal["baseline", "main", "high", "default"] = "default"
    video_level: str = ""
    bframes: Annotated[int, Field(ge=-1, le=16)] | None = None
    bit_depth: Literal[8, 10] = 8

    @model_validator(mode="after")
    def _fits_together(self) -> VideoTemplate:
        if self.bitrate and self.bitrate < 128:
            raise ValueError("Bitrate must be 0 (automatic) or from 128 to 100000 kbit/s")
        if self.vcrf is not None and 51 < self.vcrf < 100:
            raise ValueError("Vcrf must be from 0 to 51, or 100 for automatic")
        if self.mode in ("ABR", "CBR") and not self.bitrate and self.codec != "copy":
            raise ValueError(f"Mode {self.mode} needs a Bitrate")
        if self.codec == "h265" and self.video_profile != "default":
            raise ValueError("VideoProfile applies to h264 only")
        if self.codec == "h264" and self.bit_depth == 10 and self.video_profile != "default":
            raise ValueError("VideoProfile does not go with BitDepth 10")
        if self.resolution_adaptive == "open" and self.width and self.height and self.width < self.height:
            raise ValueError("with ResolutionAdaptive 'open' Width is the long side: it must not be below Height")
        for name, side in (("Width", self.width), ("Height", self.height)):
            if side and side < 128:
                raise ValueError(f"{name} must be 0 or from 128 to 4096")
        return self


class AudioTemplateUpdate(Value):
    """Every member optional: what ``OverrideParameter.AudioTemplate`` may hold."""

    codec: AudioCodec | None = None
    bitrate: Annotated[int, Field(ge=0, le=6144)] | None = None
    sample_rate: Annotated[int, Field(ge=0, le=192_000)] | None = None
    audio_channel: Literal[0, 1, 2, 6] | None = None


class AudioTemplate(Value):
    """Contract templates.md, section 3."""

    codec: AudioCodec
    bitrate: Annotated[int, Field(ge=0, le=6144)] = 0
    sample_rate: Annotated[int, Field(ge=0, le=192_000)] = 0
    audio_channel: Literal[0, 1, 2, 6] = 2

    @model_validator(mode="after")
    def _fits_together(self) -> AudioTemplate:
        if self.bitrate and self.bitrate < 24:  # preset 1100 has 24 although the text says 26
            raise ValueError("Bitrate must be 0 (as the source) or at least 24 kbit/s")
        if self.codec == "mp3" and self.audio_channel == 6:
            raise ValueError("mp3 has at most 2 channels")
        return self


class TranscodeTemplate(Value):
    """Contract templates.md, section 4."""

    container: str
    name: str = Field(default="", max_length=64)
    comment: str = Field(default="", max_length=256)
    remove_video: Switch = 0
    remove_audio: Switch = 0
    video_template: VideoTemplate | None = None
    audio_template: AudioTemplate | None = None

    @property
    def keeps_video(self) -> bool:
        """Whether the output has a picture."""
        return not self.remove_video and self.container not in AUDIO_ONLY_CONTAINERS

    @property
    def extension(self) -> str:
        """``{format}`` of the main file."""
        return EXTENSIONS.get(self.container, self.container)

    @model_validator(mode="after")
    def _fits_together(self) -> TranscodeTemplate:
        known = sorted(VIDEO_CONTAINERS | AUDIO_ONLY_CONTAINERS)
        if self.container not in known:
            raise ValueError(f"Container {self.container!r} is not supported; use one of {', '.join(known)}")
        if self.remove_video and self.remove_audio:
            raise ValueError("RemoveVideo and RemoveAudio together leave nothing")
        if self.keeps_video:
            if self.video_template is None:
                raise ValueError("VideoTemplate is required unless RemoveVideo is 1")
            if self.video_template.codec not in VIDEO_CODECS[self.container]:
                raise ValueError(f"video codec {self.video_template.codec} does not go into {self.container}")
        if not self.remove_audio:
            if self.audio_template is None:
                raise ValueError("AudioTemplate is required unless RemoveAudio is 1")
            if self.audio_template.codec not in AUDIO_CODECS[self.container]:
                raise ValueError(
                    f"audio codec {self.audio_template.codec} does not go into {self.container}; "
                    f"use one of {', '.join(AUDIO_CODECS[self.container])}"
                )
        elif not self.keeps_video:
            raise ValueError(f"{self.container} holds audio only, so RemoveAudio leaves nothing")
        return self


class ImageTemplate(Value):
    """What time snapshots and sampled snapshots share; contract templates.md, section 6."""

    name: str = Field(default="", max_length=64)
    comment: str = Field(default="", max_length=256)
    width: Side = 0
    height: Side = 0
    resolution_adaptive: Literal["open", "close"] = "open"
    format: Literal["jpg", "png", "webp"] = "jpg"
    fill_type: Fill = "black"


class SnapshotByTimeOffsetTemplate(ImageTemplate):
    """Stills at given times."""


def _check_interval(sample_type: str, interval: int) -> None:
    if sample_type == "Percent" and interval > 100:
        raise ValueError("SampleInterval is in percent here and can't be over 100")


class SampleSnapshotTemplate(ImageTemplate):
    """Stills at an interval: ``sample_interval`` is in percent of the duration, or in seconds."""

    sample_type: Literal["Percent", "Time"]
    sample_interval: int = Field(gt=0)

    @model_validator(mode="after")
    def _interval_fits(self) -> SampleSnapshotTemplate:
        _check_interval(self.sample_type, self.sample_interval)
        return self


class ImageSpriteTemplate(Value):
    """Sheets of small pictures; ``width`` and ``height`` are those of one tile."""

    name: str = Field(default="", max_length=64)
    comment: str = Field(default="", max_length=256)
    sample_type: Literal["Percent", "Time"]
    sample_interval: int = Field(gt=0)
    row_count: int = Field(gt=0)
    column_count: int = Field(gt=0)
    width: Side = 0
    height: Side = 0
    resolution_adaptive: Literal["open", "close"] = "open"
    format: Literal["jpg", "png", "webp"] = "jpg"
    fill_type: Literal["stretch", "black"] = "black"

    @model_validator(mode="after")
    def _fits_together(self) -> ImageSpriteTemplate:
        _check_interval(self.sample_type, self.sample_interval)
        if self.row_count * self.column_count > 100:
            raise ValueError("RowCount × ColumnCount can't be over 100")
        return self


Template = TranscodeTemplate | SnapshotByTimeOffsetTemplate | SampleSnapshotTemplate | ImageSpriteTemplate

FAMILIES: dict[str, type[Template]] = {
    "transcode": TranscodeTemplate,
    "snapshot_by_time_offset": SnapshotByTimeOffsetTemplate,
    "sample_snapshot": SampleSnapshotTemplate,
    "image_sprite": ImageSpriteTemplate,
}
"""The template of each kind of step; a definition is unique within its family only."""
