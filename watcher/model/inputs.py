"""What a workflow asks of each step: the sub-task inputs of the contract (pipelines.md).

Field names are the contract's in snake_case. Times are seconds. A negative offset counts from the end.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from watcher.model.base import Value
from watcher.model.templates import (
    AudioTemplate,
    AudioTemplateUpdate,
    TranscodeTemplate,
    VideoTemplate,
    VideoTemplateUpdate,
)


class CosOutputStorage(Value):
    """A COS bucket for results; a missing half is inherited from the level above."""

    bucket: str | None = None
    region: str | None = None


class S3OutputStorage(Value):
    """An S3 bucket for results. Its key pair belongs in the settings, under ``storages``."""

    s3_bucket: str
    s3_region: str | None = None


class OutputStorage(Value):
    """Where results go; contract workflows.md, section 3."""

    type: Literal["COS", "AWS-S3"]
    cos_output_storage: CosOutputStorage | None = None
    s3_output_storage: S3OutputStorage | None = None

    @model_validator(mode="after")
    def _fits_its_type(self) -> OutputStorage:
        if self.type == "AWS-S3" and self.s3_output_storage is None:
            raise ValueError("S3OutputStorage is required when Type is AWS-S3")
        if self.type == "COS" and self.s3_output_storage is not None:
            raise ValueError("S3OutputStorage does not go with Type COS")
        if self.type == "AWS-S3" and self.cos_output_storage is not None:
            raise ValueError("CosOutputStorage does not go with Type AWS-S3")
        return self

    @property
    def bucket(self) -> str | None:
        """The bucket named, or None when it is inherited."""
        if self.s3_output_storage is not None:
            return self.s3_output_storage.s3_bucket
        return self.cos_output_storage.bucket if self.cos_output_storage else None


def _relative(value: str) -> str:
    if value.startswith("/"):
        raise ValueError("must be a relative path, without a leading '/'")
    return value


RelativePath = Annotated[str, AfterValidator(_relative)]


class NumberFormat(Value):
    """How ``{number}`` is written; contract pipelines.md, section 1.4."""

    initial_value: int = Field(default=0, ge=0)
    increment: int = Field(default=1, ge=0)
    min_length: int = Field(default=1, ge=0, le=64)
    place_holder: str = Field(default="0", max_length=1)

    def render(self, index: int) -> str:
        """The text of the ``index``-th number, counted from 0."""
        text = str(self.initial_value + index * self.increment)
        return text.rjust(self.min_length, self.place_holder) if self.place_holder else text


class StepInput(Value):
    """What every media sub-task has."""

    definition: int
    output_storage: OutputStorage | None = None
    output_object_path: str | None = None

    @property
    def kind(self) -> str:
        """The name of the step, which is the name of its file in ``watcher/steps``."""
        return KINDS[type(self)]


class RawTranscodeParameter(TranscodeTemplate):
    """A whole transcode template inside the sub-task, read when ``definition`` is 0."""


class OverrideTranscodeParameter(Value):
    """Members that replace those of the template; contract pipelines.md, section 2.3."""

    container: str | None = None
    remove_video: Literal[0, 1] | None = None
    remove_audio: Literal[0, 1] | None = None
    video_template: VideoTemplateUpdate | None = None
    audio_template: AudioTemplateUpdate | None = None

    def apply(self, template: TranscodeTemplate) -> TranscodeTemplate:
        """The template with every member given here put in its place; raises ValueError if it no longer fits."""
        changed = template.model_dump(exclude_none=True)
        for field in ("container", "remove_video", "remove_audio"):
            value = getattr(self, field)
            if value is not None:
                changed[field] = value
        for field, model in (("video_template", VideoTemplate), ("audio_template", AudioTemplate)):
            update = getattr(self, field)
            if update is not None:
                merged = (changed.get(field) or {}) | update.model_dump(exclude_none=True)
                changed[field] = model.model_validate(merged).model_dump(exclude_none=True)
        return TranscodeTemplate.model_validate(changed)


class TranscodeInput(StepInput):
    """Contract pipelines.md, section 2.1."""

    raw_parameter: RawTranscodeParameter | None = None
    override_parameter: OverrideTranscodeParameter | None = None
    start_time_offset: float = 0.0
    end_time_offset: float = 0.0
    segment_object_name: RelativePath | None = None
    object_number_format: NumberFormat | None = None

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


class SnapshotByTimeOffsetInput(StepInput):
    """Contract pipelines.md, section 4. ``ext_time_offset_set`` wins when both sets are given."""

    ext_time_offset_set: tuple[TimePoint, ...] = Field(default=(), max_length=1000)
    time_offset_set: tuple[Annotated[float, Field(ge=0)], ...] = Field(default=(), max_length=1000)
    object_number_format: NumberFormat | None = None

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


class SampleSnapshotInput(StepInput):
    """Contract pipelines.md, section 5."""

    object_number_format: NumberFormat | None = None


class ImageSpriteInput(StepInput):
    """Contract pipelines.md, section 6."""

    web_vtt_object_name: RelativePath | None = None
    object_number_format: NumberFormat | None = None


KINDS: dict[type[StepInput], str] = {
    TranscodeInput: "transcode",
    SnapshotByTimeOffsetInput: "snapshot_by_time_offset",
    SampleSnapshotInput: "sample_snapshot",
    ImageSpriteInput: "image_sprite",
}


class MediaProcessTask(Value):
    """The sub-tasks of a workflow; contract workflows.md, section 1.2."""

    transcode_task_set: tuple[TranscodeInput, ...] = ()
    snapshot_by_time_offset_task_set: tuple[SnapshotByTimeOffsetInput, ...] = ()
    sample_snapshot_task_set: tuple[SampleSnapshotInput, ...] = ()
    image_sprite_task_set: tuple[ImageSpriteInput, ...] = ()

    @property
    def steps(self) -> tuple[StepInput, ...]:
        """All sub-tasks, in the order their results are reported."""
        return (
            *self.transcode_task_set,
            *self.snapshot_by_time_offset_task_set,
            *self.sample_snapshot_task_set,
            *self.image_sprite_task_set,
        )
