"""What a workflow asks of each step: the sub-task inputs of the contract (pipelines.md).

Field names are the contract's in snake_case. Times are seconds. A negative offset counts from the end.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from watcher.model.audio import AudioTemplate, AudioTemplateUpdate
from watcher.model.base import Value
from watcher.model.dress import (
    AddOnAudio,
    AddOnSubtitle,
    DrmInfo,
    HeadTailParameter,
    MosaicInput,
    SubtitleTemplate,
    WatermarkInput,
)
from watcher.model.resources import MediaInputInfo, NumberFormat, OutputStorage, RelativePath
from watcher.model.templates import AdaptiveStreamTemplate, TranscodeTemplate
from watcher.model.video import TehdConfig, VideoTemplate, VideoTemplateUpdate


class StepInput(Value):
    """What every sub-task has."""

    definition: int

    @property
    def kind(self) -> str:
        """The name of the step, which is the name of its file in ``watcher/steps``."""
        return KINDS[type(self)]


class MediaInput(StepInput):
    """What every sub-task has that makes files."""

    output_storage: OutputStorage | None = None
    output_object_path: str | None = None


def shown(step: StepInput) -> dict[str, Any]:
    """A sub-task's input as results have it: without its keys, since events go to many places."""
    echo = step.model_dump(mode="json")
    if echo.get("drm_info"):
        echo["drm_info"]["simple_aes_drm"] |= {"key": "", "vector": ""}
    return echo


Watermarks = Annotated[tuple[WatermarkInput, ...], Field(max_length=10)]


def _plain_images(marks: tuple[WatermarkInput, ...]) -> tuple[WatermarkInput, ...]:
    for mark in marks:
        if mark.raw_parameter is not None or mark.text_content or mark.svg_content:
            raise ValueError("pictures take image watermarks by their template only")
    return marks


ImageWatermarks = Annotated[Watermarks, AfterValidator(_plain_images)]


class RawTranscodeParameter(TranscodeTemplate):
    """A whole transcode template inside the sub-task, read when ``definition`` is 0."""


class OverrideTranscodeParameter(Value):
    """Members that replace those of the template; contract pipelines.md, section 2.3."""

    container: str | None = None
    remove_video: Literal[0, 1] | None = None
    remove_audio: Literal[0, 1] | None = None
    video_template: VideoTemplateUpdate | None = None
    audio_template: AudioTemplateUpdate | None = None
    tehd_config: TehdConfig | None = None
    subtitle_template: SubtitleTemplate | None = None
    addon_audio_stream: tuple[MediaInputInfo, ...] = Field(default=(), max_length=16)
    add_on_subtitles: tuple[AddOnSubtitle, ...] = Field(default=(), max_length=16)

    def apply(self, template: TranscodeTemplate) -> TranscodeTemplate:
        """The template with every member given here put in its place; raises ValueError if it no longer fits."""
        changed = template.model_dump(exclude_none=True)
        for field in ("container", "remove_video", "remove_audio", "tehd_config", "subtitle_template"):
            value = getattr(self, field)
            if value is not None:
                changed[field] = value.model_dump(exclude_none=True) if isinstance(value, Value) else value
        for field, model in (("video_template", VideoTemplate), ("audio_template", AudioTemplate)):
            update = getattr(self, field)
            if update is not None:
                merged = (changed.get(field) or {}) | update.model_dump(exclude_none=True)
                changed[field] = model.model_validate(merged).model_dump(exclude_none=True)
        return TranscodeTemplate.model_validate(changed)


class TranscodeInput(MediaInput):
    """Contract pipelines.md, section 2.1."""

    raw_parameter: RawTranscodeParameter | None = None
    override_parameter: OverrideTranscodeParameter | None = None
    start_time_offset: float = 0.0
    end_time_offset: float = 0.0
    segment_object_name: RelativePath | None = None
    object_number_format: NumberFormat | None = None
    watermark_set: Watermarks = ()
    mosaic_set: tuple[MosaicInput, ...] = Field(default=(), max_length=10)
    head_tail_parameter: HeadTailParameter | None = None
    publish_first: Literal[0, 1] = 0
    """Ours. 1: encoded and published before the other sub-tasks begin, so that something can be played soon."""

    @model_validator(mode="after")
    def _has_one_set_of_parameters(self) -> TranscodeInput:
        if self.definition == 0 and self.raw_parameter is None:
            raise ValueError("RawParameter is required when Definition is 0")
        if self.definition != 0 and self.raw_parameter is not None:
            raise ValueError(
                "RawParameter is read only when Definition is 0; use OverrideParameter to change a template"
            )
        if self.definition == 0 and self.override_parameter is not None:
            raise ValueError("OverrideParameter is read only when Definition is not 0; put its members in RawParameter")
        return self


def positions(start: float, end: float, duration: float) -> tuple[float, float | None]:
    """Two offsets as seconds of the source: an end of 0 is unset, negative ones count from the end of the source.

    Contract pipelines.md, section 2.1.
    """
    first = start if start >= 0 else duration + start
    return first, None if end == 0 else (end if end > 0 else duration + end)


_TIME_POINT = re.compile(r"(\d+(?:\.\d+)?)(s|%)\Z")


def _time_point(value: str) -> str:
    match = _TIME_POINT.match(value)
    if match is None:
        raise ValueError(f"{value!r} is not a time: write seconds as '3.5s' or a share of the duration as '50%'")
    if match[2] == "%" and float(match[1]) > 100:
        raise ValueError(f"{value!r} is more than the whole duration")
    return value


TimePoint = Annotated[str, AfterValidator(_time_point)]


def time_point_seconds(point: str, duration: float) -> float:
    """``3.5s`` → 3.5; ``50%`` → half of ``duration`` (seconds)."""
    value = float(point[:-1])
    return value if point.endswith("s") else duration * value / 100


class SnapshotByTimeOffsetInput(MediaInput):
    """Contract pipelines.md, section 4. ``ext_time_offset_set`` wins when both sets are given."""

    ext_time_offset_set: tuple[TimePoint, ...] = Field(default=(), max_length=1000)
    time_offset_set: tuple[Annotated[float, Field(ge=0)], ...] = Field(default=(), max_length=1000)
    object_number_format: NumberFormat | None = None
    watermark_set: ImageWatermarks = ()

    @model_validator(mode="after")
    def _has_a_time(self) -> SnapshotByTimeOffsetInput:
        if not self.ext_time_offset_set and not self.time_offset_set:
            raise ValueError("give at least one time in ExtTimeOffsetSet (or TimeOffsetSet)")
        return self

    def seconds(self, duration: float) -> list[float]:
        """The times asked for, in seconds, in the order given."""
        if self.ext_time_offset_set:
            return [time_point_seconds(point, duration) for point in self.ext_time_offset_set]
        return list(self.time_offset_set)


class SampleSnapshotInput(MediaInput):
    """Contract pipelines.md, section 5."""

    object_number_format: NumberFormat | None = None
    watermark_set: ImageWatermarks = ()


class ImageSpriteInput(MediaInput):
    """Contract pipelines.md, section 6."""

    web_vtt_object_name: RelativePath | None = None
    object_number_format: NumberFormat | None = None


class AnimatedGraphicInput(MediaInput):
    """Contract pipelines.md, section 3."""

    start_time_offset: float
    end_time_offset: float


class AdaptiveDynamicStreamingInput(MediaInput):
    """Contract pipelines.md, section 7."""

    watermark_set: Watermarks = ()
    sub_stream_object_name: RelativePath | None = None
    segment_object_name: RelativePath | None = None
    add_on_subtitles: tuple[AddOnSubtitle, ...] = Field(default=(), max_length=16)
    drm_info: DrmInfo | None = None
    definition_type: Literal["Common", "PureAudio"] | None = None
    subtitle_template: SubtitleTemplate | None = None
    key_pts_list: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=10_000)] = ()
    """Milliseconds at which every rendition has a key frame and a cut."""
    add_on_audios: tuple[AddOnAudio, ...] = Field(default=(), max_length=16)
    std_ext_stream_infos: tuple[AdaptiveStreamTemplate, ...] = Field(default=(), max_length=10)
    publish_first: Literal[0, 1] = 0
    """Ours. As of a transcode."""

    @model_validator(mode="after")
    def _has_one_default(self) -> AdaptiveDynamicStreamingInput:
        for name, items in (("AddOnAudios", self.add_on_audios), ("AddOnSubtitles", self.add_on_subtitles)):
            if sum(1 for item in items if item.default_track) > 1:
                raise ValueError(f"at most one of {name} can be the DefaultTrack")
        return self


class WaveformInput(MediaInput):
    """Ours: a picture of the sound."""


class CommandInput(MediaInput):
    """Ours, for configuration files only: a program that runs over the object, and whose files are results.

    ``command`` is an argument list, never a shell's line; ``{input}`` is the source's file, ``{output}`` the
    folder whose files are uploaded under OutputDir.
    """

    definition: int = 0
    name: str = Field(default="command", pattern=r"^[\w-]{1,64}$")
    command: Annotated[tuple[str, ...], Field(min_length=1, max_length=256)]
    timeout: float = Field(default=3600.0, gt=0, le=86_400)
    """Seconds."""
    network: bool = False
    """Whether the program may open connections (where the containment can forbid it)."""


class AiRecognitionInput(StepInput):
    """Contract pipelines.md, section 11."""


class ContentReviewInput(StepInput):
    """Contract pipelines.md, section 9."""


class AiAnalysisInput(StepInput):
    """Contract pipelines.md, section 10."""


class QualityControlInput(StepInput):
    """Contract pipelines.md, section 12."""


KINDS: dict[type[StepInput], str] = {
    TranscodeInput: "transcode",
    AnimatedGraphicInput: "animated_graphic",
    SnapshotByTimeOffsetInput: "snapshot_by_time_offset",
    SampleSnapshotInput: "sample_snapshot",
    ImageSpriteInput: "image_sprite",
    AdaptiveDynamicStreamingInput: "adaptive_dynamic_streaming",
    WaveformInput: "waveform",
    CommandInput: "command",
    AiRecognitionInput: "ai_recognition",
    QualityControlInput: "quality_control",
    ContentReviewInput: "content_review",
    AiAnalysisInput: "ai_analysis",
}
INTELLIGENT = frozenset({"content_review", "ai_analysis", "ai_recognition", "quality_control"})
"""The kinds of sub-tasks that models work on; their templates say which parts they have."""


class MediaProcessTask(Value):
    """The sub-tasks of a workflow; contract workflows.md, section 1.2. The last two sets are ours."""

    transcode_task_set: tuple[TranscodeInput, ...] = ()
    animated_graphic_task_set: tuple[AnimatedGraphicInput, ...] = ()
    snapshot_by_time_offset_task_set: tuple[SnapshotByTimeOffsetInput, ...] = ()
    sample_snapshot_task_set: tuple[SampleSnapshotInput, ...] = ()
    image_sprite_task_set: tuple[ImageSpriteInput, ...] = ()
    adaptive_dynamic_streaming_task_set: tuple[AdaptiveDynamicStreamingInput, ...] = ()
    waveform_task_set: tuple[WaveformInput, ...] = ()
    command_task_set: tuple[CommandInput, ...] = ()

    @property
    def steps(self) -> tuple[MediaInput, ...]:
        """All sub-tasks, in the order their results are reported."""
        return tuple(step for name in type(self).model_fields for step in getattr(self, name))
