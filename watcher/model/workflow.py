"""A workflow: trigger + sub-tasks + output storage + notification (contract workflows.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from watcher.model.base import Value
from watcher.model.inputs import MediaProcessTask
from watcher.model.resources import OutputStorage

DEFAULT_COS_FORMATS = frozenset({
    "mp4", "ts", "flv", "wmv", "asf", "rm", "rmvb", "mpg", "mpeg", "3gp", "mov", "webm", "mkv", "avi", "m4v",
    "mp3", "m4a", "flac", "ogg", "wav", "amr", "aac",
    "vtt", "srt",
})  # fmt: skip
"""What a CosFileUpload trigger without ``Formats`` matches; contract workflows.md, section 2.2."""


def _directory(value: str) -> str:
    if value and not (value.startswith("/") and value.endswith("/")):
        raise ValueError(f"{value!r} must start and end with '/', e.g. /movie/201907/")
    if "//" in value or "/../" in value or "/./" in value:
        raise ValueError(f"{value!r} must not contain '//', '.' or '..'")
    return value


Directory = Annotated[str, AfterValidator(_directory)]


def _formats(values: tuple[str, ...]) -> tuple[str, ...]:
    cleaned = tuple(value.strip().removeprefix(".").lower() for value in values if value.strip())
    for value in cleaned:
        if value != "*" and not (1 <= len(value) <= 64 and value.isalnum()):
            raise ValueError(f"{value!r} is not a file extension: letters and digits only, at most 64, or '*' for all")
    return cleaned


Formats = Annotated[tuple[str, ...], AfterValidator(_formats)]


class CosFileUploadTrigger(Value):
    """A rule over a COS bucket; contract workflows.md, section 2.2."""

    bucket: str = Field(min_length=1)
    region: str = Field(min_length=1)
    dir: Directory = "/"
    formats: Formats = ()


class AwsS3FileUploadTrigger(Value):
    """A rule over an S3 bucket; contract workflows.md, section 2.3."""

    s3_bucket: str = Field(min_length=1)
    s3_region: str = Field(min_length=1)
    dir: Directory = "/"
    formats: Formats = ()


class Trigger(Value):
    """Which new objects start the workflow."""

    type: Literal["CosFileUpload", "AwsS3FileUpload"]
    cos_file_upload_trigger: CosFileUploadTrigger | None = None
    aws_s3_file_upload_trigger: AwsS3FileUploadTrigger | None = None

    @model_validator(mode="after")
    def _has_the_rule_of_its_type(self) -> Trigger:
        wanted = {"CosFileUpload": "CosFileUploadTrigger", "AwsS3FileUpload": "AwsS3FileUploadTrigger"}[self.type]
        rules = {
            "CosFileUploadTrigger": self.cos_file_upload_trigger,
            "AwsS3FileUploadTrigger": self.aws_s3_file_upload_trigger,
        }
        for name, rule in rules.items():
            if name == wanted and rule is None:
                raise ValueError(f"{name} is required when Type is {self.type}")
            if name != wanted and rule is not None:
                raise ValueError(f"{name} does not go with Type {self.type}")
        return self

    @property
    def bucket(self) -> str:
        """The bucket, which is the name of a storage in the settings."""
        if self.cos_file_upload_trigger is not None:
            return self.cos_file_upload_trigger.bucket
        assert self.aws_s3_file_upload_trigger is not None  # noqa: S101  the validator saw to it
        return self.aws_s3_file_upload_trigger.s3_bucket

    @property
    def region(self) -> str:
        """The region the rule names."""
        if self.cos_file_upload_trigger is not None:
            return self.cos_file_upload_trigger.region
        assert self.aws_s3_file_upload_trigger is not None  # noqa: S101
        return self.aws_s3_file_upload_trigger.s3_region

    @property
    def dir(self) -> str:
        """The directory, ``/`` for the whole bucket."""
        rule = self.cos_file_upload_trigger or self.aws_s3_file_upload_trigger
        return (rule.dir if rule else "") or "/"

    @property
    def formats(self) -> frozenset[str] | None:
        """Lower-case extensions that match, or None when every object does."""
        rule = self.cos_file_upload_trigger or self.aws_s3_file_upload_trigger
        given = rule.formats if rule else ()
        if "*" in given:
            return None
        if given:
            return frozenset(given)
        return DEFAULT_COS_FORMATS if self.type == "CosFileUpload" else None


class TaskNotifyConfig(Value):
    """Where task events of this workflow go; contract workflows.md, section 4.

    ``URL`` posts to ``notify_url``. The queue kinds name a notifier of the settings in ``queue_name``
    or ``topic_name``, which is what a self-hosted service has in place of the vendor's queues.
    """

    notify_type: Literal["URL", "CMQ", "TDMQ-CMQ"] = "TDMQ-CMQ"
    notify_mode: Literal["Finish", "Change"] = "Finish"
    notify_url: str = ""
    cmq_model: Literal["Queue", "Topic", ""] = ""
    cmq_region: str = ""
    queue_name: str = ""
    topic_name: str = ""
    notify_key: str = Field(default="", repr=False)

    @model_validator(mode="after")
    def _can_be_delivered(self) -> TaskNotifyConfig:
        if self.notify_type == "URL":
            if not self.notify_url.startswith(("http://", "https://")):
                raise ValueError("NotifyUrl must be an http:// or https:// address when NotifyType is URL")
            if self.queue_name or self.topic_name:
                raise ValueError("QueueName and TopicName do not go with NotifyType URL")
            return self
        if self.notify_url:
            raise ValueError(f"NotifyUrl does not go with NotifyType {self.notify_type}; set NotifyType to URL")
        if bool(self.queue_name) == bool(self.topic_name):
            raise ValueError(
                f"NotifyType {self.notify_type} needs QueueName or TopicName: the name of a notifier in the settings"
            )
        return self

    @property
    def notifier(self) -> str | None:
        """The notifier of the settings that is meant, or None for a URL."""
        return self.queue_name or self.topic_name or None


class Workflow(Value):
    """A CreateWorkflow body plus two members of our own, ``Enabled`` and ``AcceptOutputs``."""

    workflow_name: str = Field(min_length=1, max_length=128)
    trigger: Trigger
    output_storage: OutputStorage | None = None
    output_dir: Directory = ""
    media_process_task: MediaProcessTask = MediaProcessTask()
    task_notify_config: TaskNotifyConfig | None = None
    task_priority: int = Field(default=0, ge=-10, le=10)
    enabled: bool = False
    """Ours. A workflow does nothing until it is enabled."""
    accept_outputs: bool = False
    """Ours. Objects that watcher itself wrote may start this workflow (never one of its own)."""

    @model_validator(mode="after")
    def _does_something(self) -> Workflow:
        if not self.media_process_task.steps:
            raise ValueError("MediaProcessTask names no sub-task, so the workflow would do nothing")
        return self

    @property
    def output_bucket(self) -> str:
        """The storage of results when a sub-task names none of its own."""
        return (self.output_storage and self.output_storage.bucket) or self.trigger.bucket
