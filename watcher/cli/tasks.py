"""``watcher tasks``: list, show, abort, retry."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import cast

from rich.table import Table

from watcher.cli import console
from watcher.destinations import describe
from watcher.errors import PermanentError
from watcher.model.task import Status, Task
from watcher.mps.events import task_object
from watcher.state.store import State

_COLOURS = {"WAITING": "dim", "PROCESSING": "yellow", "FINISH": "green"}


def _verdict(task: Task) -> str:
    if task.status != "FINISH":
        return f"[{_COLOURS[task.status]}]{task.status}[/]"
    return "[red]FINISH, failed[/]" if task.failed else "[green]FINISH[/]"


async def show_list(config: Path | None, status: str | None, limit: int) -> None:
    """A table, newest first."""
    if status is not None and status not in _COLOURS:
        raise PermanentError(f"--status is one of {', '.join(_COLOURS)}, not {status!r}")
    configured = console.load(config)
    async with console.state_of(configured) as state:
        found = await state.tasks.list(status=cast("Status | None", status), limit=limit)
        counts = await state.tasks.counts()
    table = Table(box=None, pad_edge=False)
    for title in ("task", "workflow", "object", "status", "created", "took"):
        table.add_column(title, overflow="fold")
    for task in found:
        took = f"{task.finish_time - task.begin_time:.1f} s" if task.finish_time and task.begin_time else ""
        table.add_row(
            task.task_id.rpartition("-")[2][:12],
            console.safe(task.order.name) or "[dim](request)[/]",
            console.safe(task.source.uri),
            _verdict(task),
            console.ago(task.create_time),
            took,
        )
    console.out.print(table if found else "no tasks yet")
    waiting, running, finished = (counts.get(name, 0) for name in _COLOURS)
    console.out.print(f"[dim]{waiting} waiting, {running} running, {finished} finished, {counts['failed']} failed[/]")


async def _find(state: State, task_id: str) -> Task:
    task = await state.tasks.get(task_id)
    if task is None:
        raise PermanentError(f"there is no task {task_id!r}, or more than one; see `watcher tasks list`")
    return task


async def show(config: Path | None, task_id: str, *, as_json: bool) -> None:
    """One task in full."""
    configured = console.load(config)
    async with console.state_of(configured) as state:
        task = await _find(state, task_id)
        deliveries = await state.outbox.of_task(task.task_id)
    if as_json:
        console.out.print_json(json.dumps(task_object(task)))
        return
    console.out.print(f"[bold]{task.task_id}[/]  {_verdict(task)}")
    source = task.source
    origin = f"workflow {console.safe(task.order.name)} ({task.workflow_id})" if task.workflow_id else "request"
    console.out.print(f"{origin}, priority {task.priority}, attempt {task.attempts}{', offline' * task.offline}")
    console.out.print(
        f"source   {console.safe(source.uri)}  {console.human_size(source.size)}  {console.safe(source.identity)}"
    )
    if task.message:
        console.out.print(f"message  {console.safe(task.message)}")
    for index, result in enumerate(task.results):
        percent = f"{result.progress} %" if result.status == "PROCESSING" else result.status
        console.out.print(f"{console.MARKS[result.status]} {console.step_label(task, index)}  {percent}")
        if result.status == "FAIL":
            console.out.print(f"    {console.safe(result.code)}: {console.safe(result.message)}")
        for number, storage, key in console.outputs_of(task):
            if number == index:
                console.out.print(f"    {console.safe(storage)}/{console.safe(key)}")
    for delivery in deliveries:
        trouble = f", {delivery.attempts} attempts: {delivery.error}" if delivery.error else ""
        console.out.print(
            f"event    {console.safe(describe(delivery.destination))}: {delivery.status}{console.safe(trouble)}"
        )


async def abort(config: Path | None, task_id: str) -> None:
    """Ask for the end of a task; the service sees to it within a second or two."""
    configured = console.load(config)
    async with console.state_of(configured) as state:
        task = await _find(state, task_id)
        status = await state.tasks.request_abort(task.task_id)
        running = state.database.owner() is not None
    if status == "FINISH":
        raise PermanentError(f"task {task.task_id} is finished already")
    when = "it ends within a second or two" if running else "no service is running; it ends when one is started"
    console.out.print(f"asked for the end of {task.task_id}: {when}")


async def retry(config: Path | None, task_id: str) -> None:
    """Queue a finished task again."""
    configured = console.load(config)
    async with console.state_of(configured) as state:
        task = await _find(state, task_id)
        revived = await state.outbox.revive(task.task_id)
        queued = await state.tasks.retry(task.task_id)
        running = state.database.owner() is not None
    if not queued and not revived:
        raise PermanentError(f"task {task.task_id} is {task.status}: only a finished one can be run again")
    note = "" if running else " (no service is running; it starts when one is)"
    console.out.print(f"queued {task.task_id} again at {time.strftime('%H:%M:%S')}{note}")
