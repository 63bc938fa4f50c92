"""CreateWorkflow, ResetWorkflow, EnableWorkflow … (contract workflows.md, section 1), and the same for schedules."""

from __future__ import annotations

from typing import Any

from watcher.api.base import Action, Body, Call, Rights, Service, action, decoded, not_there, page
from watcher.api.checks import check_reachable, check_triggered
from watcher.errors import Problem
from watcher.model.activities import predecessors
from watcher.model.inputs import StepInput
from watcher.model.order import Order, TaskKind
from watcher.model.schedule import Schedule
from watcher.model.workflow import Triggered, Workflow
from watcher.mps import wire
from watcher.mps.events import iso
from watcher.mps.faults import RequestError, fault_of
from watcher.mps.requests import (
    DescribeSchedules,
    DescribeWorkflows,
    ModifySchedule,
    ScheduleById,
    WorkflowById,
)
from watcher.state.workflows import NameTakenError, StoredWorkflow, TooManyError

_WORD = {"WorkflowTask": "workflow", "ScheduleTask": "schedule"}
_FILE_MEMBERS = ("Enabled",)
"""Members that a file may have and a request may not: what a request makes is disabled."""


def _without_file_members(body: Body) -> Body:
    for name in _FILE_MEMBERS:
        if name in body:
            raise fault_of([Problem(name, "unknown field", kind="unknown")])
    return body


async def _stored(service: Service, call: Call[Any], kind: TaskKind, number: int) -> StoredWorkflow:
    """One that the caller may see."""
    found = service.catalog.workflows.get(number)
    if found is None or found.workflow.kind != kind or not call.caller.may(found.workflow.trigger.bucket):
        raise not_there(_WORD[kind], number)
    return found


def _of_request(found: StoredWorkflow) -> StoredWorkflow:
    if found.origin:
        what = _WORD[found.workflow.kind]
        raise RequestError("FailedOperation", f"this {what} comes from {found.origin}; change it there")
    return found


async def _create(service: Service, call: Call[Any], order: Triggered) -> int:
    check_triggered(service, call.caller, order)
    try:
        made = await service.state.workflows.create(order, service.settings.api.max_workflows)
    except NameTakenError as error:
        raise RequestError("InvalidParameterValue", f"{_name_member(order)}: {error}") from None
    except TooManyError as error:
        raise RequestError("LimitExceeded.TooMuchTemplate", str(error)) from None
    service.catalog.put(made)
    return made.workflow_id


def _name_member(order: Triggered) -> str:
    return "WorkflowName" if isinstance(order, Workflow) else "ScheduleName"


async def _replace(service: Service, number: int, order: Triggered) -> None:
    try:
        changed = await service.state.workflows.replace(number, order)
    except NameTakenError as error:
        raise RequestError("InvalidParameterValue", f"{_name_member(order)}: {error}") from None
    if changed is None:
        raise not_there(_WORD[order.kind], number)
    service.catalog.put(changed)


async def _switch(service: Service, call: Call[Any], kind: TaskKind, number: int, *, on: bool) -> Body:
    """Switching what is switched so already changes nothing."""
    found = await _stored(service, call, kind, number)
    if found.workflow.enabled == on:
        return {}
    _of_request(found)
    if on:
        await check_reachable(service, found.workflow.trigger.bucket)
    await _replace(service, number, found.workflow.model_copy(update={"enabled": on}))
    return {}


async def _delete(service: Service, call: Call[Any], kind: TaskKind, number: int) -> Body:
    found = _of_request(await _stored(service, call, kind, number))
    if found.workflow.enabled and kind == "WorkflowTask":
        raise RequestError("FailedOperation", "the workflow is enabled; disable it first")
    if not await service.state.workflows.delete(number):
        raise not_there(_WORD[kind], number)
    service.catalog.remove(number)
    return {}


async def create_workflow(service: Service, call: Call[Workflow]) -> Body:
    """The workflow is disabled at first."""
    return {"WorkflowId": await _create(service, call, call.request)}


async def reset_workflow(service: Service, call: Call[tuple[int, Workflow]]) -> Body:
    """Members that are left out go back to their defaults."""
    number, order = call.request
    found = _of_request(await _stored(service, call, "WorkflowTask", number))
    if found.workflow.enabled:
        raise RequestError("FailedOperation", "the workflow is enabled; disable it first")
    check_triggered(service, call.caller, order)
    await _replace(service, number, order)
    return {}


def _read_workflow(body: Body) -> Workflow:
    return decoded(Workflow, _without_file_members(body))


def _read_reset(body: Body) -> tuple[int, Workflow]:
    rest = dict(body)
    number = decoded(WorkflowById, {"WorkflowId": rest.pop("WorkflowId", None)}).workflow_id
    return number, _read_workflow(rest)


async def enable_workflow(service: Service, call: Call[WorkflowById]) -> Body:
    return await _switch(service, call, "WorkflowTask", call.request.workflow_id, on=True)


async def disable_workflow(service: Service, call: Call[WorkflowById]) -> Body:
    return await _switch(service, call, "WorkflowTask", call.request.workflow_id, on=False)


async def delete_workflow(service: Service, call: Call[WorkflowById]) -> Body:
    return await _delete(service, call, "WorkflowTask", call.request.workflow_id)


def _visible(service: Service, call: Call[Any], kind: TaskKind, ids: tuple[int, ...] | None) -> list[StoredWorkflow]:
    """Those that the caller may see, newest first."""
    everything = service.catalog.workflows
    wanted = everything if ids is None else [number for number in dict.fromkeys(ids) if number in everything]
    found = [everything[number] for number in sorted(wanted, reverse=True)]
    return [item for item in found if item.workflow.kind == kind and call.caller.may(item.workflow.trigger.bucket)]


async def describe_workflows(service: Service, call: Call[DescribeWorkflows]) -> Body:
    """Newest first."""
    request = call.request
    found = [
        item
        for item in _visible(service, call, "WorkflowTask", request.workflow_ids)
        if request.status in (None, _status(item))
    ]
    shown = page(found, request.offset, request.limit)
    return {"TotalCount": len(found), "WorkflowInfoSet": [_workflow_info(item) for item in shown]}


def _status(item: StoredWorkflow) -> str:
    return "Enabled" if item.workflow.enabled else "Disabled"


def _head(item: StoredWorkflow) -> Body:
    order = item.workflow
    return {
        "Status": _status(item),
        "Trigger": wire.encode(order.trigger),
        "OutputStorage": _output_storage(order),
        "OutputDir": order.output_dir,
        "TaskNotifyConfig": _notify(order),
        "CreateTime": iso(item.create_time),
        "UpdateTime": iso(item.update_time),
    }


def _output_storage(order: Order) -> Body | None:
    return wire.encode(order.output_storage) if order.output_storage is not None else None


def _notify(order: Order) -> Body | None:
    return wire.encode(order.task_notify_config) if order.task_notify_config is not None else None


def _intelligent(step: StepInput | None) -> Body | None:
    return {"Definition": step.definition} if step is not None else None


def _workflow_info(item: StoredWorkflow) -> Body:
    order = item.workflow
    return {
        "WorkflowId": item.workflow_id,
        "WorkflowName": order.name,
        **_head(item),
        "MediaProcessTask": wire.encode(order.media_process_task),
        "AiContentReviewTask": _intelligent(order.ai_content_review_task),
        "AiAnalysisTask": _intelligent(order.ai_analysis_task),
        "AiRecognitionTask": _intelligent(order.ai_recognition_task),
        "TaskPriority": order.priority,
    }


def _read_schedule(body: Body) -> Schedule:
    return _with_predecessors(decoded(Schedule, _without_file_members(body)))


def _with_predecessors(order: Schedule) -> Schedule:
    """Predecessors are computed, whatever the request says of them."""
    before = predecessors(order.activities)
    known = tuple(
        activity.model_copy(update={"predrive_index": tuple(before[index])})
        for index, activity in enumerate(order.activities)
    )
    return order.model_copy(update={"activities": known})


async def create_schedule(service: Service, call: Call[Schedule]) -> Body:
    """The schedule is disabled at first."""
    return {"ScheduleId": await _create(service, call, call.request)}


async def modify_schedule(service: Service, call: Call[ModifySchedule]) -> Body:
    """Members that are left out stay as they are."""
    request = call.request
    found = _of_request(await _stored(service, call, "ScheduleTask", request.schedule_id))
    given = {name: getattr(request, name) for name in type(request).model_fields if name != "schedule_id"}
    before = found.workflow
    assert isinstance(before, Schedule)  # noqa: S101  by its kind
    order = before.model_copy(update={name: value for name, value in given.items() if value is not None})
    check_triggered(service, call.caller, order)
    await _replace(service, request.schedule_id, _with_predecessors(order))
    return {}


async def enable_schedule(service: Service, call: Call[ScheduleById]) -> Body:
    return await _switch(service, call, "ScheduleTask", call.request.schedule_id, on=True)


async def disable_schedule(service: Service, call: Call[ScheduleById]) -> Body:
    return await _switch(service, call, "ScheduleTask", call.request.schedule_id, on=False)


async def delete_schedule(service: Service, call: Call[ScheduleById]) -> Body:
    return await _delete(service, call, "ScheduleTask", call.request.schedule_id)


async def describe_schedules(service: Service, call: Call[DescribeSchedules]) -> Body:
    """Newest first."""
    request = call.request
    found = [
        item
        for item in _visible(service, call, "ScheduleTask", request.schedule_ids)
        if request.status in (None, _status(item)) and request.trigger_type in (None, item.workflow.trigger.type)
    ]
    shown = page(found, request.offset, request.limit)
    return {"TotalCount": len(found), "ScheduleInfoSet": [_schedule_info(item) for item in shown]}


def _schedule_info(item: StoredWorkflow) -> Body:
    order = item.workflow
    return {
        "ScheduleId": item.workflow_id,
        "ScheduleName": order.name,
        "Type": "Custom",
        **_head(item),
        "Activities": [_activity(activity) for activity in wire.encode(list(order.graph))],
        "ResourceId": "",
    }


def _activity(activity: Body) -> Body:
    rules = (activity.get("ActivityPara") or {}).get("ExecRulesTask")
    if rules is not None:  # the model's node has its rules and nothing else
        activity["ActivityPara"]["ExecRulesTask"] = {"Rules": rules["Rules"]}
    return {"PredriveIndex": [], **activity}


_ADMIN, _OPERATE, _READ = Rights.ADMIN, Rights.OPERATOR, Rights.READ

ACTIONS = (
    Action("CreateWorkflow", 200, _ADMIN, _read_workflow, create_workflow, Workflow),
    Action("ResetWorkflow", 20, _ADMIN, _read_reset, reset_workflow, Workflow),
    action("EnableWorkflow", 20, _OPERATE, WorkflowById, enable_workflow),
    action("DisableWorkflow", 20, _OPERATE, WorkflowById, disable_workflow),
    action("DeleteWorkflow", 20, _ADMIN, WorkflowById, delete_workflow),
    action("DescribeWorkflows", 20, _READ, DescribeWorkflows, describe_workflows),
    Action("CreateSchedule", 20, _ADMIN, _read_schedule, create_schedule, Schedule),
    action("ModifySchedule", 20, _ADMIN, ModifySchedule, modify_schedule),
    action("EnableSchedule", 20, _OPERATE, ScheduleById, enable_schedule),
    action("DisableSchedule", 20, _OPERATE, ScheduleById, disable_schedule),
    action("DeleteSchedule", 20, _ADMIN, ScheduleById, delete_schedule),
    action("DescribeSchedules", 20, _READ, DescribeSchedules, describe_schedules),
)
