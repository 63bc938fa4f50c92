"""An order: what a task is to do with its source, whether a workflow, a schedule or a request gave it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from watcher.model.activities import Activity
from watcher.model.base import Value
from watcher.model.inputs import (
    AiAnalysisInput,
    AiRecognitionInput,
    ContentReviewInput,
    MediaProcessTask,
    QualityControlInput,
    StepInput,
)
from watcher.model.resources import HttpAddress, OutputStorage

InputType = Literal["COS", "AWS-S3", "URL"]
TaskKind = Literal["WorkflowTask", "ScheduleTask", "ImageTask"]
Priority = Annotated[int, Field(ge=-10, le=10)]


INTELLIGENT_TASKS = (
    "ai_content_review_task", "ai_analysis_task", "ai_recognition_task", "ai_quality_control_task",
)  # fmt: skip
"""The members of an order that are intelligent sub-tasks, in the order of their results."""


def _directory(value: str) -> str:
    if value and not (value.startswith("/") and value.endswith("/")):
        raise ValueError(f"{value!r} must start and end with '/', e.g. /movie/201907/")
    if "//" in value or "/../" in value or "/./" in value:
        raise ValueError(f"{value!r} must not contain '//', '.' or '..'")
    return value


Directory = Annotated[str, AfterValidator(_directory)]


class AwsSqs(Value):
    """A queue for task events; contract workflows.md, section 2.4."""

    sqs_region: str = ""
    sqs_queue_name: str = Field(min_length=1)
    """The name of a notifier in the settings."""


class TaskNotifyConfig(Value):
    """Where task events of this workflow go; contract workflows.md, section 4.

    ``URL`` posts to ``notify_url``. The other kinds name a notifier of the settings, in ``queue_name`` or
    ``topic_name`` (``AWS-SQS``: in its ``SQSQueueName``), which is what a self-hosted service has in place of the
    vendor's queues and functions.
    """

    notify_type: Literal["URL", "CMQ", "TDMQ-CMQ", "SCF", "AWS-SQS"] = "TDMQ-CMQ"
    notify_mode: Literal["Finish", "Change"] = "Finish"
    notify_url: str = ""
    cmq_model: Literal["Queue", "Topic", ""] = ""
    cmq_region: str = ""
    queue_name: str = ""
    topic_name: str = ""
    aws_sqs: AwsSqs | None = None
    notify_key: str = Field(default="", repr=False)

    @model_validator(mode="after")
    def _can_be_delivered(self) -> TaskNotifyConfig:
        if self.notify_type == "URL":
            try:
                TypeAdapter(HttpAddress).validate_python(self.notify_url)
            except ValidationError:
                message = "NotifyUrl must be an http:// or https:// address when NotifyType is URL"
                raise ValueError(message) from None
            if self.queue_name or self.topic_name or self.aws_sqs:
                raise ValueError("QueueName, TopicName and AwsSQS do not go with NotifyType URL")
            return self
        if self.notify_url:
            raise ValueError(f"NotifyUrl does not go with NotifyType {self.notify_type}; set NotifyType to URL")
        if self.notify_type == "AWS-SQS":
            if self.aws_sqs is None or self.queue_name or self.topic_name:
                raise ValueError("NotifyType AWS-SQS needs AwsSQS, and neither QueueName nor TopicName")
            return self
        if self.aws_sqs is not None:
            raise ValueError(f"AwsSQS does not go with NotifyType {self.notify_type}")
        if bool(self.queue_name) == bool(self.topic_name):
            raise ValueError(
                f"NotifyType {self.notify_type} needs QueueName or TopicName: the name of a notifier in the settings"
            )
        return self

    @property
    def notifier(self) -> str | None:
        """The notifier of the settings that is meant, or None for a URL."""
        return (self.aws_sqs.sqs_queue_name if self.aws_sqs else self.queue_name or self.topic_name) or None


class Order(Value):
    """What workflows, schedules and requests have in common. Its steps are the sub-tasks of a task."""

    output_storage: OutputStorage | None = None
    output_dir: Directory = ""
    media_process_task: MediaProcessTask = MediaProcessTask()
    ai_content_review_task: ContentReviewInput | None = None
    ai_analysis_task: AiAnalysisInput | None = None
    ai_recognition_task: AiRecognitionInput | None = None
    ai_quality_control_task: QualityControlInput | None = None
    """Of a request in the model; that a workflow may have one is ours."""
    task_notify_config: TaskNotifyConfig | None = None
    trusted: bool = False
    """Not of the wire. Whether it is from a file on this machine: then its callbacks may go to private addresses,
    and it may run programs."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What a person called it; empty for a request."""

    @property
    @abstractmethod
    def input_type(self) -> InputType:
        """What the input is called in results."""

    @property
    @abstractmethod
    def region(self) -> str:
        """The region of the input that was named."""

    @property
    @abstractmethod
    def input_bucket(self) -> str:
        """The storage of the input."""

    @property
    def priority(self) -> int:
        """Larger ones are started first."""
        return 0

    @property
    def tells_metadata(self) -> bool:
        """Whether the facts of the source are part of the results."""
        return True

    @property
    def graph(self) -> tuple[Activity, ...]:
        """The nodes of a schedule; empty where all sub-tasks read the source."""
        return ()

    @property
    def kind(self) -> TaskKind:
        """What its tasks are called."""
        return "ScheduleTask" if self.graph else "WorkflowTask"

    @property
    def steps(self) -> tuple[StepInput, ...]:
        """All sub-tasks, in the order their results are reported."""
        if self.graph:
            return tuple(activity.step for activity in self.graph if activity.step is not None)
        intelligent = (getattr(self, name) for name in INTELLIGENT_TASKS)
        return (*self.media_process_task.steps, *(step for step in intelligent if step is not None))

    @property
    def output_bucket(self) -> str:
        """The storage of results when a sub-task names none of its own."""
        return (self.output_storage and self.output_storage.bucket) or self.input_bucket
