"""Triggers and workflows (contract workflows.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from watcher.model.base import Value
from watcher.model.order import Directory, InputType, Order, Priority

DEFAULT_COS_FORMATS = frozenset({
    "mp4", "ts", "flv", "wmv", "asf", "rm", "rmvb", "mpg", "mpeg", "3gp", "mov", "webm", "mkv", "avi", "m4v",
    "mp3", "m4a", "flac", "ogg", "wav", "amr", "aac",
    "vtt", "srt",
})  # fmt: skip
"""What a CosFileUpload trigger without ``Formats`` matches; contract workflows.md, section 2.2."""


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
    def input_type(self) -> InputType:
        """What the input is called in results."""
        return "COS" if self.type == "CosFileUpload" else "AWS-S3"

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


class Triggered(Order):
    """What waits for objects: a workflow or a schedule. Three members are ours."""

    trigger: Trigger
    enabled: bool = False
    """Ours. Nothing happens until it is enabled."""
    accept_outputs: bool = False
    """Ours. Objects that watcher itself wrote may start it (never one of its own)."""
    max_running: int = Field(default=0, ge=0, le=100_000)
    """Ours. How many of its tasks may run at once; 0 is as many as there are slots."""

    @property
    def input_type(self) -> InputType:
        return self.trigger.input_type

    @property
    def region(self) -> str:
        return self.trigger.region

    @property
    def input_bucket(self) -> str:
        return self.trigger.bucket


class Workflow(Triggered):
    """A CreateWorkflow body."""

    workflow_name: str = Field(min_length=1, max_length=128)
    task_priority: Priority = 0

    @model_validator(mode="after")
    def _does_something(self) -> Workflow:
        if not self.steps:
            raise ValueError("it names no sub-task, so the workflow would do nothing")
        return self

    @property
    def name(self) -> str:
        return self.workflow_name

    @property
    def priority(self) -> int:
        return self.task_priority
