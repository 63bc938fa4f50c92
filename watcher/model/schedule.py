"""A schedule: a trigger and a graph of sub-tasks (contract workflows.md, section 6)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from watcher.model.activities import Activity, check_graph
from watcher.model.workflow import Triggered

Activities = Annotated[tuple[Activity, ...], Field(min_length=3, max_length=100), AfterValidator(check_graph)]


class Schedule(Triggered):
    """A CreateSchedule body. Its ``media_process_task`` stays empty: the sub-tasks are in the graph."""

    schedule_name: str = Field(min_length=1, max_length=128)
    activities: Activities

    @property
    def name(self) -> str:
        return self.schedule_name

    @property
    def graph(self) -> tuple[Activity, ...]:
        return self.activities
