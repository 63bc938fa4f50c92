"""The bodies of the API's actions, as far as they are not templates (contract workflows.md, tasks.md, api.md)."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from watcher.model.base import Value
from watcher.model.image_request import ImageTask
from watcher.model.inputs import (
    AiAnalysisInput,
    AiRecognitionInput,
    ContentReviewInput,
    MediaProcessTask,
    QualityControlInput,
)
from watcher.model.order import Directory, Priority, TaskNotifyConfig
from watcher.model.resources import MediaInputInfo, OutputStorage
from watcher.model.samples import PERSON_USAGES, WORD_USAGES, expand
from watcher.model.schedule import Activities
from watcher.model.task import Status
from watcher.model.workflow import Trigger

Id = Annotated[int, Field(ge=0, lt=2**53)]
Ids = Annotated[tuple[Id, ...], Field(max_length=100)]
Offset = Annotated[int, Field(ge=0, lt=2**31)]
Limit = Annotated[int, Field(ge=0, le=100)]
Text = Annotated[str, Field(max_length=64)]


def _moment(value: str) -> str:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value[:40]!r} is not a time in ISO 8601, e.g. 2026-11-20T08:00:00Z") from None
    if found.tzinfo is None:
        raise ValueError(f"{value[:40]!r} has no time zone; write e.g. 2026-11-20T08:00:00Z")
    return value


Moment = Annotated[str, AfterValidator(_moment)]


class WorkflowById(Value):
    """What Enable, Disable and Delete name."""

    workflow_id: Id


class ScheduleById(Value):
    """As :class:`WorkflowById`."""

    schedule_id: Id


class DescribeWorkflows(Value):
    """Contract workflows.md, section 1.3."""

    workflow_ids: Ids | None = None
    status: Literal["Enabled", "Disabled"] | None = None
    offset: Offset = 0
    limit: Limit = 10


class DescribeSchedules(Value):
    """Contract workflows.md, section 6."""

    schedule_ids: Ids | None = None
    trigger_type: Literal["CosFileUpload", "AwsS3FileUpload"] | None = None
    status: Literal["Enabled", "Disabled"] | None = None
    offset: Offset = 0
    limit: Limit = 10


class ModifySchedule(Value):
    """Members that are left out stay as they are; an empty ``output_dir`` takes the old one away."""

    schedule_id: Id
    schedule_name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    trigger: Trigger | None = None
    activities: Activities | None = None
    output_storage: OutputStorage | None = None
    output_dir: Directory | None = None
    task_notify_config: TaskNotifyConfig | None = None


class ProcessMedia(Value):
    """Contract tasks.md, section 1."""

    input_info: MediaInputInfo
    output_storage: OutputStorage | None = None
    output_dir: Directory = ""
    schedule_id: Id | None = None
    media_process_task: MediaProcessTask = MediaProcessTask()
    ai_content_review_task: ContentReviewInput | None = None
    ai_analysis_task: AiAnalysisInput | None = None
    ai_recognition_task: AiRecognitionInput | None = None
    ai_quality_control_task: QualityControlInput | None = None
    task_notify_config: TaskNotifyConfig | None = None
    tasks_priority: Priority = 0
    session_id: str = ""
    session_context: str = ""
    task_type: Literal["Online", "Offline"] = "Online"
    activities: Activities | None = None
    skip_mate_data: Literal[0, 1] = 0


class ProcessImage(Value):
    """A picture made of a picture. ``output_dir`` and ``output_path`` as of other sub-tasks."""

    input_info: MediaInputInfo
    image_task: ImageTask
    output_storage: OutputStorage | None = None
    output_dir: Directory = ""
    output_path: str | None = Field(default=None, max_length=1024)


class TaskById(Value):
    """What DescribeTaskDetail names."""

    task_id: str = Field(min_length=1, max_length=256)


class DescribeTasks(Value):
    """Contract tasks.md, section 4."""

    status: Status
    sub_task_has_failed: bool | None = None
    limit: Limit = 10
    scroll_token: str = Field(default="", max_length=128)
    start_time: Moment | None = None
    end_time: Moment | None = None


class ManageTask(Value):
    """Contract tasks.md, section 5. ``SetTaskPriority``, with ``tasks_priority``, is ours."""

    operation_type: str
    task_id: str = Field(max_length=256)
    tasks_priority: Priority | None = None


class ParseNotification(Value):
    """Contract tasks.md, section 8.4."""

    content: str


class DescribeMediaMetaData(Value):
    """Contract api.md, section 10. ``slow`` waits longer."""

    input_info: MediaInputInfo
    mode: Literal["", "slow"] = ""


class DescribeTemplates(Value):
    """The filters that all families have; contract templates.md, section 1."""

    definitions: Annotated[tuple[Id, ...], Field(max_length=100)] | None = None
    type: str | None = None
    name: Text | None = None
    offset: Offset = 0
    limit: int = Field(default=10, ge=0)


class DescribeTranscodeTemplates(DescribeTemplates):
    """With those of transcode templates."""

    container_type: Literal["Video", "PureAudio"] | None = None
    tehd_type: str | None = None
    transcode_type: Literal["Common", "TEHD", "Enhance", "AudioVideoEnhance"] | None = None
    enhance_transcode_type: Literal["", "Common", "TEHD"] | None = None
    enhance_type: Literal["VideoEnhance", "AudioEnhance", "AudioVideoEnhance", "AnyEnhance", "None"] | None = None


class DescribeAdaptiveDynamicStreamingTemplates(DescribeTemplates):
    """With that of ladders."""

    pure_audio: Literal[0, 1] | None = None


class TemplateById(Value):
    """What Delete names."""

    definition: Id


def _words(values: tuple[str, ...]) -> tuple[str, ...]:
    return expand(values, WORD_USAGES)


def _persons(values: tuple[str, ...]) -> tuple[str, ...]:
    return expand(values, PERSON_USAGES)


WordUsages = Annotated[tuple[str, ...], Field(min_length=1, max_length=16), AfterValidator(_words)]
PersonUsages = Annotated[tuple[str, ...], Field(min_length=1, max_length=16), AfterValidator(_persons)]
Tags = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=128)], ...], Field(max_length=20)]
Keyword = Annotated[str, Field(min_length=1, max_length=128)]


class WordInfo(Value):
    """A new keyword."""

    keyword: str = Field(min_length=1, max_length=20)
    tags: Tags = ()


class CreateWordSamples(Value):
    usages: WordUsages
    words: Annotated[tuple[WordInfo, ...], Field(min_length=1, max_length=100)]


class DescribeWordSamples(Value):
    keywords: Annotated[tuple[Keyword, ...], Field(max_length=100)] | None = None
    usages: Annotated[tuple[str, ...], Field(max_length=16), AfterValidator(_words)] | None = None
    tags: Tags | None = None
    offset: Offset = 0
    limit: Limit = 100


class TagOperationInfo(Value):
    """How the tags of a sample change."""

    type: Literal["add", "delete", "reset"]
    tags: Tags

    def apply(self, tags: tuple[str, ...]) -> tuple[str, ...]:
        """The tags afterwards."""
        if self.type == "reset":
            return self.tags
        if self.type == "delete":
            return tuple(tag for tag in tags if tag not in self.tags)
        return (*tags, *(tag for tag in self.tags if tag not in tags))


class ModifyWordSample(Value):
    keyword: Keyword
    usages: WordUsages | None = None
    tag_operation_info: TagOperationInfo | None = None


class DeleteWordSamples(Value):
    keywords: Annotated[tuple[Keyword, ...], Field(min_length=1, max_length=100)]


LARGEST_PICTURE = 5 * 1024 * 1024
"""Bytes of one picture of a face."""


def _picture(value: str) -> str:
    if len(value) > LARGEST_PICTURE * 4 // 3 + 4:
        raise ValueError(f"a picture has at most {LARGEST_PICTURE // 2**20} MiB")
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None
    return value


FaceContents = Annotated[tuple[Annotated[str, AfterValidator(_picture)], ...], Field(max_length=5)]


class CreatePersonSample(Value):
    name: str = Field(min_length=1, max_length=20)
    usages: PersonUsages
    description: str = Field(default="", max_length=1024)
    face_contents: FaceContents = ()
    tags: Tags = ()


class FaceOperationInfo(Value):
    """How the faces of a person change."""

    type: Literal["add", "delete", "reset"]
    face_ids: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=100)] = ()
    face_contents: FaceContents = ()

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> FaceOperationInfo:
        if self.type == "delete" and (not self.face_ids or self.face_contents):
            raise ValueError("FaceIds, and no FaceContents, are needed when Type is delete")
        if self.type != "delete" and (not self.face_contents or self.face_ids):
            raise ValueError(f"FaceContents, and no FaceIds, are needed when Type is {self.type}")
        return self


class ModifyPersonSample(Value):
    person_id: str = Field(max_length=64)
    name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    description: Annotated[str, Field(max_length=1024)] | None = None
    usages: PersonUsages | None = None
    face_operation_info: FaceOperationInfo | None = None
    tag_operation_info: TagOperationInfo | None = None


class PersonById(Value):
    person_id: str = Field(max_length=64)


class DescribePersonSamples(Value):
    type: Literal["UserDefine", "Default"] = "UserDefine"
    person_ids: Annotated[tuple[str, ...], Field(max_length=100)] | None = None
    names: Annotated[tuple[str, ...], Field(max_length=20)] | None = None
    tags: Tags | None = None
    offset: Offset = 0
    limit: Limit = 100
