"""A schedule: a trigger and a graph of sub-tasks (contract workflows.md, section 6)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from watcher.model.activities import Activity, check_graph
from watcher.model.order import InputType, Order
from watcher.model.workflow import Trigger

Activities = Annotated[tuple[Activity, ...], Field(min_length=3, max_length=100), AfterValidator(check_graph)]


class Schedule(Order):
    """A CreateSchedule body. Its ``media_process_task`` stays empty: the sub-tasks are in the graph."""

    schedule_name: str = Field(min_length=1, max_length=128)
    trigger: Trigger
    activities: Activities
    enabled: bool = False
    """Ours. A schedule does nothing by itself until it is enabled."""
    accept_outputs: bool = False
    """Ours. As of a workflow."""

    @property
    def name(self) -> str:
        return self.schedule_name

    @property
    def graph(self) -> tuple[Activity, ...]:
        return self.activities

    @property
    def input_type(self) -> InputType:
        return self.trigger.input_type

    @property
    def region(self) -> str:
        return self.trigger.region

    @property
    def input_bucket(self) -> str:
        return self.trigger.bucket
