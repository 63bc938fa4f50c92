"""Templates: the named parameters of a step (contract templates.md).

Video and audio bit rates are in kbit/s, sample rates in Hz, sizes in pixels. A size of 0 means "as the
source", or "in proportion" when the other side is given. Only fields that do something are here.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from watcher.model.audio import AUDIO_CODECS, AudioTemplate
from watcher.model.base import Value
from watcher.model.dress import SubtitleTemplate, WatermarkTemplate
from watcher.model.enhance import EnhanceConfig
from watcher.model.video import VIDEO_CODECS, Fill, Side, TehdConfig, VideoTemplate

Switch = Literal[0, 1]

VIDEO_CONTAINERS = frozenset(VIDEO_CODECS)
AUDIO_ONLY_CONTAINERS = frozenset(AUDIO_CODECS) - VIDEO_CONTAINERS
EXTENSIONS = {"hls": "m3u8"}


class TranscodeTemplate(Value):
    """Contract templates.md, section 4."""

    container: str
    name: str = Field(default="", max_length=64)
    comment: str = Field(default="", max_length=256)
    remove_video: Switch = 0
    remove_audio: Switch = 0
    video_template: VideoTemplate | None = None
    audio_template: AudioTemplate | None = None
    tehd_config: TehdConfig | None = None
    enhance_config: EnhanceConfig | None = None
    subtitle_template: SubtitleTemplate | None = None
    """Read in a RawParameter or an OverrideParameter; a stored template has none in the model."""
    quality_report: Switch = 0
    """Ours. 1: each output is compared with its source, and VMAF, SSIM and PSNR are in the result."""

    @property
    def keeps_video(self) -> bool:
        """Whether the output has a picture."""
        return not self.remove_video and self.container not in AUDIO_ONLY_CONTAINERS

    @property
    def extension(self) -> str:
        """``{format}`` of the main file."""
        return EXTENSIONS.get(self.container, self.container)

    @model_validator(mode="after")
    def _has_what_it_keeps(self) -> TranscodeTemplate:
        known = sorted(VIDEO_CONTAINERS | AUDIO_ONLY_CONTAINERS)
        if self.container not in known:
            raise ValueError(f"Container {self.container!r} is not supported; use one of {', '.join(known)}")
        if self.remove_video and self.remove_audio:
            raise ValueError("RemoveVideo and RemoveAudio together leave nothing")
        if self.remove_audio and not self.keeps_video:
            raise ValueError(f"{self.container} holds audio only, so RemoveAudio leaves nothing")
        return self

    @model_validator(mode="after")
    def _video_fits(self) -> TranscodeTemplate:
        if self.keeps_video:
            if self.video_template is None:
                raise ValueError("VideoTemplate is required unless RemoveVideo is 1")
            if self.video_template.codec not in VIDEO_CODECS[self.container]:
                raise ValueError(f"video codec {self.video_template.codec} does not go into {self.container}")
            if self.video_template.segment_type and self.container != "hls":
                raise ValueError("SegmentType applies to hls only")
        return self

    @model_validator(mode="after")
    def _audio_fits(self) -> TranscodeTemplate:
        if not self.remove_audio:
            if self.audio_template is None:
                raise ValueError("AudioTemplate is required unless RemoveAudio is 1")
            if self.audio_template.codec not in AUDIO_CODECS[self.container]:
                raise ValueError(
                    f"audio codec {self.audio_template.codec} does not go into {self.container}; "
                    f"use one of {', '.join(AUDIO_CODECS[self.container])}"
                )
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


class AnimatedGraphicTemplate(Value):
    """A moving picture without sound; contract templates.md, section 6."""

    name: str = Field(default="", max_length=64)
    comment: str = Field(default="", max_length=256)
    fps: int = Field(ge=1, le=30)
    width: Side = 0
    height: Side = 0
    resolution_adaptive: Literal["open", "close"] = "open"
    format: Literal["gif", "webp"] = "gif"
    quality: int = Field(default=75, ge=1, le=100)


class WaveformTemplate(Value):
    """Ours: the shape of the sound as a picture."""

    name: str = Field(default="", max_length=64)
    comment: str = Field(default="", max_length=256)
    width: int = Field(default=1800, ge=16, le=16_384)
    height: int = Field(default=280, ge=16, le=4096)
    format: Literal["png", "jpg", "webp"] = "png"
    color: str = Field(default="0x3366CC", pattern=r"^0x[0-9a-fA-F]{6}$")
    split_channels: Switch = 0


class AdaptiveStreamTemplate(Value):
    """One rung of a ladder; contract templates.md, section 8."""

    video: VideoTemplate | None = None
    audio: AudioTemplate
    remove_audio: Switch = 0
    remove_video: Switch = 0
    audio_list: tuple[AudioTemplate, ...] = Field(default=(), max_length=64)

    @model_validator(mode="after")
    def _has_something(self) -> AdaptiveStreamTemplate:
        if self.remove_audio and self.remove_video:
            raise ValueError("RemoveVideo and RemoveAudio together leave nothing")
        if self.video is None and not self.remove_video:
            raise ValueError("Video is required unless RemoveVideo is 1")
        if self.video is not None and not self.remove_video and self.video.codec not in ("h264", "h265", "av1"):
            raise ValueError(f"Video.Codec {self.video.codec} does not go into a ladder; use h264, h265 or av1")
        for audio in (self.audio, *self.audio_list):
            if not self.remove_audio and audio.codec not in ("aac", "mp3", "ac3", "eac3"):
                raise ValueError(f"Audio.Codec {audio.codec} does not go into a ladder; use aac, mp3, ac3 or eac3")
        return self


SegmentType = Literal[
    "ts-segment", "ts-byterange", "mp4-segment", "mp4-byterange",
    "ts-ts-segment", "ts-ts-byterange", "mp4-mp4-segment", "mp4-mp4-byterange",
]  # fmt: skip


class AdaptiveDynamicStreamingTemplate(Value):
    """A ladder of renditions under one manifest; contract templates.md, section 8."""

    format: Literal["HLS", "MPEG-DASH"]
    stream_infos: tuple[AdaptiveStreamTemplate, ...] = Field(min_length=1, max_length=10)
    name: str = Field(default="", max_length=64)
    comment: str = Field(default="", max_length=256)
    disable_higher_video_bitrate: Switch = 0
    disable_higher_video_resolution: Switch = 0
    pure_audio: Switch = 0
    segment_type: SegmentType | None = None
    encryption: Literal["", "SimpleAES"] = ""
    """Ours: what preset 12 has, a ladder that is not made without a DrmInfo."""

    @property
    def segments(self) -> SegmentType:
        """The segment type in force: DASH has single files only."""
        return self.segment_type or ("mp4-mp4-byterange" if self.format == "MPEG-DASH" else "ts-segment")

    @model_validator(mode="after")
    def _fits_together(self) -> AdaptiveDynamicStreamingTemplate:
        if self.format == "MPEG-DASH" and self.segments not in ("mp4-byterange", "mp4-mp4-byterange"):
            raise ValueError("MPEG-DASH goes with SegmentType mp4-byterange or mp4-mp4-byterange only")
        if self.pure_audio and any(not stream.remove_video for stream in self.stream_infos):
            raise ValueError("PureAudio needs RemoveVideo 1 in every stream")
        if not self.pure_audio and all(stream.remove_video for stream in self.stream_infos):
            raise ValueError("no stream has a picture: set PureAudio to 1")
        if self.encryption and self.format != "HLS":
            raise ValueError("SimpleAES is for HLS")
        for stream in self.stream_infos:
            if stream.video is not None and stream.video.codec == "av1" and not self.segments.startswith("mp4"):
                raise ValueError("av1 needs MP4 segments: set SegmentType to mp4-segment")
        return self


Template = (
    TranscodeTemplate
    | AnimatedGraphicTemplate
    | SnapshotByTimeOffsetTemplate
    | SampleSnapshotTemplate
    | ImageSpriteTemplate
    | AdaptiveDynamicStreamingTemplate
    | WaveformTemplate
    | WatermarkTemplate
)

FAMILIES: dict[str, type[Template]] = {
    "transcode": TranscodeTemplate,
    "animated_graphic": AnimatedGraphicTemplate,
    "snapshot_by_time_offset": SnapshotByTimeOffsetTemplate,
    "sample_snapshot": SampleSnapshotTemplate,
    "image_sprite": ImageSpriteTemplate,
    "adaptive_dynamic_streaming": AdaptiveDynamicStreamingTemplate,
    "waveform": WaveformTemplate,
    "watermark": WatermarkTemplate,
}
"""The template of each family; a definition is unique within its family only."""
