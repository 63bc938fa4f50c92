"""A task: one run of a workflow over one object version.

Its id is computed, not generated, so that the same event delivered twice, or seen by two sources, can only
ever make one task.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

from watcher.model.objects import ObjectInfo, digest
from watcher.model.order import Order, TaskKind

Status = Literal["WAITING", "PROCESSING", "FINISH"]
StepStatus = Literal["PROCESSING", "SUCCESS", "FAIL", "SKIP"]
"""``SKIP`` is the state of a node of a schedule that no rule chose; results do not show it."""

ERROR_NUMBERS = {"SourceFileError": 70000, "InvalidInput": 40000, "InternalError": 30010}
"""Numeric ErrCode per family of ErrCodeExt; 70000 is documented, the others are ours (tasks.md, section 7)."""


def error_number(code: str) -> int:
    """The numeric code that goes with an ErrCodeExt; 0 for success."""
    return ERROR_NUMBERS.get(code.partition(".")[0], ERROR_NUMBERS["InternalError"]) if code else 0


def task_id_of(workflow_id: int, info: ObjectInfo, kind: TaskKind = "WorkflowTask") -> str:
    """H(workflow, bucket, key, version), in the form the contract's samples have."""
    return _task_id(info, kind, digest(str(workflow_id), info.storage, info.key, info.identity))


def new_task_id(info: ObjectInfo, kind: TaskKind) -> str:
    """The id of a task that somebody asked for: the same request again is another task."""
    return _task_id(info, kind, secrets.token_bytes(16))


def _task_id(info: ObjectInfo, kind: TaskKind, number: bytes) -> str:
    account = re.search(r"-(\d{8,12})\Z", info.storage)
    return f"{account[1] if account else '0'}-{kind}-{number.hex()}"


def event_id_of(task_id: str, epoch: int, state: str) -> str:
    """The id of a task event: the same for every delivery of the same change."""
    return digest("event", task_id, str(epoch), state).hex()


@dataclass(frozen=True, slots=True)
class StepResult:
    """How one sub-task stands. ``output`` is the wire form of its output item, None unless it succeeded."""

    status: StepStatus = "PROCESSING"
    code: str = ""
    message: str = ""
    progress: int = 0
    begin_time: float | None = None
    finish_time: float | None = None
    output: dict[str, Any] | None = None
    input: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A row of the tasks table with its plan. Times are seconds since 1970; None while not reached.

    ``epoch`` counts claims: a write that carries an older one comes from an owner that lost the task.
    ``lineage`` holds the ids of the workflows whose outputs led to the source object. ``workflow_id`` is 0 where a
    request asked for the task; ``offline`` ones run when nothing else does. ``lane`` is negative where a person
    asked for it, and positive for a backfill.
    """

    task_id: str
    workflow_id: int
    order: Order
    source: ObjectInfo
    status: Status
    priority: int
    lineage: tuple[int, ...]
    create_time: float
    begin_time: float | None = None
    finish_time: float | None = None
    epoch: int = 0
    attempts: int = 0
    abort: bool = False
    code: int = 0
    message: str = ""
    metadata: dict[str, Any] | None = None
    session_id: str = ""
    session_context: str = ""
    offline: bool = False
    lane: int = 0
    results: tuple[StepResult, ...] = field(default=())

    @property
    def failed(self) -> bool:
        """Whether the source was unusable or any sub-task failed."""
        return self.code != 0 or any(result.status == "FAIL" for result in self.results)
