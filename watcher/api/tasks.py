"""ProcessMedia, ProcessImage, DescribeTaskDetail, DescribeTasks, ManageTask, ParseNotification … (tasks.md)."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from watcher.api.base import Body, Call, Rights, Service, action
from watcher.api.checks import check_order
from watcher.errors import MediaError, PermanentError, Problem
from watcher.model.image_request import ImageRequest
from watcher.model.media_request import MediaRequest
from watcher.model.objects import URL, ObjectInfo
from watcher.model.order import INTELLIGENT_TASKS
from watcher.model.resources import OutputStorage
from watcher.model.schedule import Schedule
from watcher.model.task import Task
from watcher.mps import wire
from watcher.mps.events import input_info, iso, task_object, type_name_of
from watcher.mps.faults import RequestError, fault_of
from watcher.mps.requests import (
    DescribeMediaMetaData,
    DescribeTasks,
    ManageTask,
    ParseNotification,
    ProcessImage,
    ProcessMedia,
    TaskById,
)
from watcher.state.tasks import NewRequest, SessionUsedError, TaskFilter, TaskPage

REACH = 168 * 3600.0
"""Seconds that DescribeTasks looks back (contract tasks.md, section 4)."""
LONGEST_SESSION_ID, LONGEST_SESSION_CONTEXT = 50, 1000
PROBE_TIME = {"": 20.0, "slow": 50.0}
"""Seconds that DescribeMediaMetaData takes at most, by its mode; clients wait for sixty."""


async def process_media(service: Service, call: Call[ProcessMedia]) -> Body:
    """A task over one object. Whether the object and the templates exist is seen when the task runs."""
    request = call.request
    _check_session(request)
    order = _order(service, call)
    check_order(service, call.caller, order)
    bucket, key = request.input_info.place
    new = NewRequest(
        order,
        ObjectInfo.named(bucket, key),
        session_id=request.session_id,
        session_context=request.session_context,
        offline=request.task_type == "Offline",
    )
    try:
        task_id = await service.state.tasks.submit_request(
            new, call.now, session_window=service.settings.api.session_window
        )
    except SessionUsedError:
        message = f"SessionId: there was a request with {request.session_id!r} already; this one is dropped"
        raise RequestError("InvalidParameterValue.SessionId", message) from None
    service.wake()
    return {"TaskId": task_id}


def _check_session(request: ProcessMedia) -> None:
    for member, value, longest in (
        ("SessionId", request.session_id, LONGEST_SESSION_ID),
        ("SessionContext", request.session_context, LONGEST_SESSION_CONTEXT),
    ):
        if len(value) > longest:
            message = f"{member}: has {len(value)} characters, more than {longest}"
            raise RequestError(f"InvalidParameterValue.{member}TooLong", message)


def _order(service: Service, call: Call[ProcessMedia]) -> MediaRequest:
    """What the task is to do: the request's own sub-tasks or graph, or those of the schedule that it names.

    Where outputs go: as the node says, else as the request says, else as the schedule says. The notification of the
    request goes before that of the schedule, whose trigger and state play no part.
    """
    request = call.request
    values: dict[str, Any] = {
        "input_info": request.input_info,
        "output_storage": request.output_storage,
        "output_dir": request.output_dir,
        "task_notify_config": request.task_notify_config,
        "tasks_priority": request.tasks_priority,
        "skip_mate_data": request.skip_mate_data,
    }
    if request.activities is not None:
        values["activities"] = request.activities
    elif request.schedule_id is not None:
        if _names_sub_tasks(request):
            raise RequestError("InvalidParameter", "MediaProcessTask: sub-tasks do not go with ScheduleId")
        schedule = _schedule(service, call, request.schedule_id)
        values["activities"] = schedule.activities
        values["output_storage"] = request.output_storage or schedule.output_storage or _trigger_storage(schedule)
        values["output_dir"] = request.output_dir or schedule.output_dir
        values["task_notify_config"] = request.task_notify_config or schedule.task_notify_config
    elif not _names_sub_tasks(request):
        raise RequestError("InvalidParameter", "MediaProcessTask: the request names no sub-task and no ScheduleId")
    else:
        values["media_process_task"] = request.media_process_task
        values |= {name: getattr(request, name) for name in INTELLIGENT_TASKS}
    try:
        return MediaRequest(**values)
    except ValidationError as error:
        raise _no_storage(error) from None


def _names_sub_tasks(request: ProcessMedia) -> bool:
    return bool(request.media_process_task.steps) or any(
        getattr(request, name) is not None for name in INTELLIGENT_TASKS
    )


def _no_storage(error: ValidationError) -> RequestError:
    """The one mistake that shows only when a request's members are put together."""
    return fault_of(
        Problem("OutputStorage", str(item["msg"]).removeprefix("Value error, "), kind="missing")
        for item in error.errors(include_url=False)
    )


def _schedule(service: Service, call: Call[Any], number: int) -> Schedule:
    found = service.catalog.workflows.get(number)
    if found is None or not isinstance(found.workflow, Schedule) or not call.caller.may(found.workflow.trigger.bucket):
        raise RequestError("InvalidParameter", f"ScheduleId: there is no schedule {number}")
    return found.workflow


def _trigger_storage(schedule: Schedule) -> OutputStorage | None:
    """The outputs of a schedule stay where its own inputs come from, unless somebody says otherwise."""
    trigger = schedule.trigger
    place = {"bucket": trigger.bucket, "region": trigger.region}
    if trigger.input_type == "COS":
        return OutputStorage.model_validate({"type": "COS", "cos_output_storage": place})
    named = {f"s3_{name}": value for name, value in place.items()}
    return OutputStorage.model_validate({"type": "AWS-S3", "s3_output_storage": named})


def _may_see(call: Call[Any], task: Task) -> bool:
    bucket = task.order.output_bucket if task.source.storage == URL else task.source.storage
    return call.caller.may(bucket)


async def _task(service: Service, call: Call[Any], task_id: str) -> Task:
    task = await service.state.tasks.load(task_id)
    if task is None:
        raise RequestError("ResourceNotFound", f"TaskId: there is no task {task_id!r}")
    if not _may_see(call, task):
        raise RequestError("UnauthorizedOperation", "this key pair may not see the bucket of this task")
    return task


async def process_image(service: Service, call: Call[ProcessImage]) -> Body:
    """A task over one picture."""
    request = call.request
    try:
        order = ImageRequest(**{name: getattr(request, name) for name in type(request).model_fields})
    except ValidationError as error:
        raise _no_storage(error) from None
    check_order(service, call.caller, order)
    new = NewRequest(order, ObjectInfo.named(*request.input_info.place))
    task_id = await service.state.tasks.submit_request(new, call.now)
    service.wake()
    return {"TaskId": task_id}


async def describe_image_task_detail(service: Service, call: Call[TaskById]) -> Body:
    """One task over a picture, with its result."""
    task = await _task(service, call, call.request.task_id)
    if task.order.kind != "ImageTask":
        raise RequestError("ResourceNotFound", f"TaskId: {task.task_id!r} is no task over a picture")
    return task_object(task)


async def describe_image_tasks(service: Service, call: Call[DescribeTasks]) -> Body:
    """Tasks over pictures of one status, newest first."""
    found = await _page(service, call, pictures=True)
    return {
        "TotalCount": found.total,
        "ScrollToken": _token(found.following) if found.following is not None and call.request.limit else "",
        "TaskSet": [
            {
                "TaskId": task.task_id,
                "Status": task.status,
                "Input": input_info(task),
                "CreateTime": iso(task.create_time),
                "BeginProcessTime": iso(task.begin_time),
                "FinishTime": iso(task.finish_time),
                "SubTaskHasFailed": task.failed,
            }
            for task in found.tasks
        ],
    }


async def describe_task_detail(service: Service, call: Call[TaskById]) -> Body:
    """One task with its results."""
    task = await _task(service, call, call.request.task_id)
    if task.order.kind == "ImageTask":
        raise RequestError("ResourceNotFound", "TaskId: it is about a picture; ask DescribeImageTaskDetail")
    config = task.order.task_notify_config
    scheduled = task.order.kind == "ScheduleTask"
    shown = task_object(task)
    return {
        "TaskType": task.order.kind,
        "Status": task.status,
        "CreateTime": iso(task.create_time),
        "BeginProcessTime": iso(task.begin_time),
        "FinishTime": iso(task.finish_time),
        "EditMediaTask": None,
        "WorkflowTask": None if scheduled else shown,
        "LiveStreamProcessTask": None,
        "ExtractBlindWatermarkTask": None,
        "TaskNotifyConfig": wire.encode(config) if config else None,
        "TasksPriority": task.priority,
        "SessionId": task.session_id,
        "SessionContext": task.session_context,
        "ExtInfo": "",
        "ScheduleTask": shown if scheduled else None,
        "LiveScheduleTask": None,
    }


async def describe_tasks(service: Service, call: Call[DescribeTasks]) -> Body:
    """Tasks of one status, newest first."""
    found = await _page(service, call)
    return {
        "TaskSet": [_simple(task) for task in found.tasks],
        "ScrollToken": _token(found.following) if found.following is not None and call.request.limit else "",
        "TotalCount": found.total,
    }


async def _page(service: Service, call: Call[DescribeTasks], *, pictures: bool = False) -> TaskPage:
    request = call.request
    start = _seconds(request.start_time)
    reach = call.now - REACH
    wanted = TaskFilter(
        status=request.status,
        failed=request.sub_task_has_failed if request.status == "FINISH" else None,
        start=max(start, reach) if start is not None else reach,
        end=_seconds(request.end_time),
        storages=None if call.caller.everywhere else _seen_storages(service, call),
        pictures=pictures,
    )
    return await service.state.tasks.page(wanted, before=_read_token(request.scroll_token), limit=request.limit)


def _seen_storages(service: Service, call: Call[Any]) -> tuple[str, ...]:
    return tuple(name for name in service.settings.storages if call.caller.may(name))


def _seconds(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None


def _token(position: int) -> str:
    return base64.urlsafe_b64encode(f"v1:{position}".encode()).decode().rstrip("=")


def _read_token(token: str) -> int | None:
    if not token:
        return None
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii")
    except ValueError:
        text = ""
    version, _, position = text.partition(":")
    if version != "v1" or not position.isdecimal() or len(position) > 18:
        raise RequestError("InvalidParameterValue", "ScrollToken: is not one that DescribeTasks returned")
    return int(position)


def _simple(task: Task) -> Body:
    return {
        "TaskId": task.task_id,
        "TaskType": task.order.kind,
        "CreateTime": iso(task.create_time),
        "BeginProcessTime": iso(task.begin_time),
        "FinishTime": iso(task.finish_time),
        "SubTaskTypes": list(dict.fromkeys(type_name_of(step.kind) for step in task.order.steps)),
    }


async def manage_task(service: Service, call: Call[ManageTask]) -> Body:
    """``Abort`` ends a task that waits. ``SetTaskPriority`` (ours) moves it in the queue."""
    request = call.request
    if request.operation_type not in ("Abort", "SetTaskPriority"):
        message = f"OperationType: {request.operation_type[:40]!r} is not one of Abort, SetTaskPriority"
        raise RequestError("InvalidParameterValue.InvalidOperationType", message)
    task = await service.state.tasks.load(request.task_id)
    if task is None or not _may_see(call, task):
        raise RequestError("InvalidParameterValue.TaskId", f"TaskId: there is no task {request.task_id!r}")
    if request.operation_type == "SetTaskPriority":
        if request.tasks_priority is None:
            raise RequestError("MissingParameter", "TasksPriority: is required when OperationType is SetTaskPriority")
        status = await service.state.tasks.set_priority(task.task_id, request.tasks_priority)
    else:
        if request.tasks_priority is not None:
            raise RequestError("InvalidParameter", "TasksPriority: does not go with OperationType Abort")
        status = await service.state.tasks.abort_waiting(task.task_id)
    if status != "WAITING":
        message = f"TaskId: the task is {status or 'gone'}; only one that waits can be managed"
        raise RequestError("InvalidParameterValue.NotProcessingTask", message)
    if request.operation_type == "Abort":
        service.end(task.task_id)
    return {}


_EVENT_MEMBERS = (
    "EventType", "WorkflowTaskEvent", "EditMediaTaskEvent", "SessionId", "SessionContext", "ScheduleTaskEvent",
    "Timestamp", "Sign", "BatchTaskEvent", "ExtractBlindWatermarkTask",
)  # fmt: skip


async def parse_notification(service: Service, call: Call[ParseNotification]) -> Body:
    """The event object of a message: events are published in their final form, so that it is what it was."""
    message = "Content: is not a task event in JSON"
    try:
        event = json.loads(call.request.content)
    except (ValueError, RecursionError):
        raise RequestError("InvalidParameterValue.InvalidContent", message) from None
    if not isinstance(event, dict) or not isinstance(event.get("EventType"), str):
        raise RequestError("InvalidParameterValue.InvalidContent", message)
    shown: Body = {name: event.get(name) for name in _EVENT_MEMBERS}
    return shown | {name: event.get(name) or "" for name in ("SessionId", "SessionContext")}


async def describe_media_meta_data(service: Service, call: Call[DescribeMediaMetaData]) -> Body:
    """The facts of one file, at once."""
    bucket, key = call.request.input_info.place
    if bucket != URL and not call.caller.may(bucket):
        raise RequestError("UnauthorizedOperation", f"this key pair may not name the bucket {bucket[:80]!r}")
    storage = service.worker.storages.get(bucket)
    if storage is None:
        message = f"InputInfo: there is no storage {bucket[:80]!r} in the settings of this service"
        raise RequestError("InvalidParameterValue.SrcFile", message)
    try:
        async with asyncio.timeout(PROBE_TIME[call.request.mode]), service.probing:
            info = await storage.head(key)
            facts = await service.worker.inspect(info, f"probe-{secrets.token_hex(8)}")
    except TimeoutError:
        message = "InputInfo: it takes too long; try Mode slow, or process it as a task"
        raise RequestError("InvalidParameterValue.SrcFile", message) from None
    except (MediaError, PermanentError) as error:
        raise RequestError("InvalidParameterValue.SrcFile", f"InputInfo: {error}") from None
    return {"MetaData": wire.encode(facts)}


ACTIONS = (
    action("ProcessMedia", 100, Rights.OPERATOR, ProcessMedia, process_media),
    action("DescribeTaskDetail", 100, Rights.READ, TaskById, describe_task_detail),
    action("DescribeTasks", 100, Rights.READ, DescribeTasks, describe_tasks, codes=frozenset({"Limit"})),
    action("ProcessImage", 20, Rights.OPERATOR, ProcessImage, process_image),
    action("DescribeImageTaskDetail", 20, Rights.READ, TaskById, describe_image_task_detail),
    action("DescribeImageTasks", 20, Rights.READ, DescribeTasks, describe_image_tasks, codes=frozenset({"Limit"})),
    action("ManageTask", 20, Rights.OPERATOR, ManageTask, manage_task),
    action("ParseNotification", 20, Rights.READ, ParseNotification, parse_notification),
    action("DescribeMediaMetaData", 20, Rights.READ, DescribeMediaMetaData, describe_media_meta_data),
)
