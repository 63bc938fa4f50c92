"""A request: sub-tasks over one object that somebody named (contract tasks.md, section 1)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from watcher.model.activities import Activity
from watcher.model.order import InputType, Order, Priority
from watcher.model.resources import MediaInputInfo
from watcher.model.schedule import Activities


class Request(Order):
    """What all requests have in common: an input that is named."""

    input_info: MediaInputInfo

    @model_validator(mode="after")
    def _has_somewhere_to_write(self) -> Self:
        if self.input_info.type == "URL" and not (self.output_storage and self.output_storage.bucket):
            raise ValueError("OutputStorage, with its bucket, is required when InputInfo.Type is URL")
        return self

    @property
    def name(self) -> str:
        return ""

    @property
    def input_type(self) -> InputType:
        return self.input_info.type

    @property
    def region(self) -> str:
        return self.input_info.region

    @property
    def input_bucket(self) -> str:
        return self.input_info.place[0]


class MediaRequest(Request):
    """What a ProcessMedia body asks for. ``activities`` are its own, or those of the schedule it named."""

    activities: Activities | None = None
    tasks_priority: Priority = 0
    skip_mate_data: Literal[0, 1] = 0
    """1: MetaData is left out of the results."""

    @property
    def priority(self) -> int:
        return self.tasks_priority

    @property
    def tells_metadata(self) -> bool:
        return not self.skip_mate_data

    @property
    def graph(self) -> tuple[Activity, ...]:
        return self.activities or ()
