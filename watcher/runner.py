"""From task row to results: claim by priority, resolve the plan, run the unit, commit the end with its event."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from structlog.contextvars import bound_contextvars

from watcher import log
from watcher.catalog import Catalog
from watcher.errors import MediaError, ObjectNotFound, ObjectSuperseded, PermanentError, TransientError
from watcher.executors.base import Executor
from watcher.model.dress import Watermark, WatermarkInput
from watcher.model.inputs import StepInput
from watcher.model.output_path import output_directory
from watcher.model.resources import OutputStorage
from watcher.model.task import StepResult, Task, error_number
from watcher.model.unit import Outcome, PlannedStep, Unit
from watcher.model.workflow import Workflow
from watcher.mps.files import Templates
from watcher.notifiers.base import Notifier
from watcher.reports import TaskReport, outgoing, reporting
from watcher.state.store import State
from watcher.state.tasks import MAX_ATTEMPTS, StaleOwnerError
from watcher.storage.base import Storage
from watcher.worker import Worker

_log = log.get("runner")

IDLE = 1.0
"""Seconds between two looks for requests that come past this process (``watcher tasks abort`` and the like)."""
RETRY_PAUSES = (5.0, 15.0, 60.0, 300.0, 900.0)


class AbortedError(PermanentError):
    """Somebody asked for the end of the task."""


def plan(task: Task, templates: Templates, storages: Mapping[str, Storage]) -> Unit:
    """Resolve everything a task names: templates, storages, directories (contract workflows.md, section 5.1)."""
    workflow = task.workflow
    if task.source.storage not in storages:
        raise MediaError("SourceFileError", f"there is no storage {task.source.storage!r} in the settings any more")
    steps = tuple(_plan_step(step, workflow, task, templates, storages) for step in workflow.media_process_task.steps)
    return Unit(task.task_id, task.source, steps, (*task.lineage, task.workflow_id))


def _plan_step(
    step: StepInput, workflow: Workflow, task: Task, templates: Templates, storages: Mapping[str, Storage]
) -> PlannedStep:
    name = (step.output_storage and step.output_storage.bucket) or workflow.output_bucket
    planned = PlannedStep(
        spec=step,
        template=None,
        storage=name,
        storage_echo=storage_echo(step.output_storage or workflow.output_storage, name, workflow, storages),
        directory=output_directory(task.source.key, workflow.output_dir),
    )
    if name not in storages:
        return replace(planned, problem=("InvalidInput", f"there is no storage {name!r} in the settings"))
    raw = getattr(step, "raw_parameter", None)
    template = raw if step.definition == 0 and raw is not None else templates.get((step.kind, step.definition))
    if step.kind == "command":
        return planned
    if template is None:
        message = f"there is no template {step.definition} for this kind of sub-task"
        return replace(planned, problem=("InvalidInput.DefinitionNotExist", message))
    override = getattr(step, "override_parameter", None)
    if override is not None:
        try:
            template = override.apply(template)
        except ValueError as error:
            return replace(planned, problem=("InvalidInput", f"OverrideParameter does not fit the template: {error}"))
    return _with_watermarks(replace(planned, template=template), templates)


def _with_watermarks(planned: PlannedStep, templates: Templates) -> PlannedStep:
    found: list[tuple[WatermarkInput, Watermark]] = []
    for given in getattr(planned.spec, "watermark_set", ()):
        mark = given.raw_parameter or templates.get(("watermark", given.definition))
        if not isinstance(mark, Watermark):
            message = f"there is no watermark template {given.definition}"
            return replace(planned, problem=("InvalidInput.DefinitionNotExist", message))
        found.append((given, mark))
    return replace(planned, watermarks=tuple(found))


def storage_echo(
    given: OutputStorage | None, name: str, workflow: Workflow, storages: Mapping[str, Storage]
) -> dict[str, Any]:
    """The resolved TaskOutputStorage in snake_case, with the other kinds as null."""
    kind = given.type if given is not None else {"AwsS3FileUpload": "AWS-S3"}.get(workflow.trigger.type, "COS")
    region = (storages[name].region if name in storages else None) or _region_given(given) or workflow.trigger.region
    echo: dict[str, Any] = {"type": kind, "cos_output_storage": None, "s3_output_storage": None}
    echo["vod_output_storage"] = None
    if kind == "AWS-S3":
        echo["s3_output_storage"] = {"s3_bucket": name, "s3_region": region}
    else:
        echo["cos_output_storage"] = {"bucket": name, "region": region}
    return echo


def _region_given(given: OutputStorage | None) -> str | None:
    if given is None:
        return None
    if given.s3_output_storage is not None:
        return given.s3_output_storage.s3_region
    return given.cos_output_storage.region if given.cos_output_storage else None


@dataclass(slots=True)
class _Live:
    """A task that runs, and what it has told so far."""

    task: Task
    report: TaskReport
    aborted: bool = False


class Runner:
    """Runs as many tasks at once as the executor has slots. ``published`` is called when events were committed."""

    def __init__(
        self,
        state: State,
        worker: Worker,
        executor: Executor,
        notifiers: Mapping[str, Notifier],
        published: Callable[[], None],
        *,
        work_dir: Path,
        min_free_space: int,
    ) -> None:
        self._state = state
        self._worker = worker
        self._executor = executor
        self._notifiers = notifiers
        self._published = published
        self._work_dir = work_dir
        self._min_free = min_free_space
        self._wake = asyncio.Event()
        self._running: dict[str, tuple[asyncio.Task[None], _Live]] = {}
        self._draining = False
        self._short_of_space = False
        self.catalog: Catalog | None = None
        self.progress = 0.0

    def wake(self) -> None:
        """There may be a task to claim."""
        self._wake.set()

    @property
    def running(self) -> int:
        """How many tasks run now."""
        return len(self._running)

    async def run(self, only: str | None = None) -> None:
        """Claim and run tasks until cancelled, or until :meth:`drain` is done; ``only`` limits it to one task."""
        async with asyncio.TaskGroup() as group:
            while not self._draining:
                self._wake.clear()
                while len(self._running) < self._executor.slots and not self._draining and self._has_space():
                    try:
                        task = await self._state.tasks.claim(only)
                    except TransientError as error:
                        _log.error("no task can be claimed", error=str(error))
                        break
                    if task is None:
                        break
                    self._start(group, task)
                self.progress = time.monotonic()
                try:
                    await asyncio.wait_for(self._wake.wait(), IDLE)
                except TimeoutError:
                    await self._end_aborted()

    def _has_space(self) -> bool:
        free = shutil.disk_usage(self._work_dir).free
        enough = free >= self._min_free
        if not enough and not self._short_of_space:
            _log.error("no task is started: too little space for work", free=free, needed=self._min_free)
        self._short_of_space = not enough
        return enough

    def _start(self, group: asyncio.TaskGroup, task: Task) -> None:
        live = _Live(task, TaskReport(task, self._state, self._notifiers, self._published))
        runner = group.create_task(self._guarded(live), name=f"task {task.task_id}")
        self._running[task.task_id] = (runner, live)

        def ended(_: asyncio.Task[None]) -> None:
            self._running.pop(task.task_id, None)
            self._wake.set()

        runner.add_done_callback(ended)

    async def _end_aborted(self) -> None:
        if not self._running:
            return
        try:
            wanted = await self._state.tasks.to_abort()
        except TransientError as error:
            _log.error("the state can't be read", error=str(error))
            return
        for task_id in wanted:
            if task_id in self._running:
                runner, live = self._running[task_id]
                live.aborted = True
                runner.cancel()

    async def drain(self, timeout: float) -> None:
        """Start nothing more, let what runs end within ``timeout`` seconds, put the rest back into the queue."""
        self._draining = True
        self._wake.set()
        if self._running:
            _log.info("waiting for running tasks", count=len(self._running), seconds=timeout)
            await asyncio.wait([runner for runner, _ in self._running.values()], timeout=timeout or 0.01)
        left = list(self._running.values())
        for runner, _ in left:
            runner.cancel()
        if left:
            await asyncio.wait([runner for runner, _ in left])

    async def _guarded(self, live: _Live) -> None:
        """Run one task to an end that is recorded, whatever happens."""
        task = live.task
        with bound_contextvars(task=task.task_id, workflow=task.workflow.workflow_name, object=task.source.uri):
            try:
                await self._run_task(live)
            except asyncio.CancelledError:
                if live.aborted:
                    await asyncio.shield(self._fail(live, AbortedError("aborted on request")))
                    return
                _log.info("put back into the queue")
                await asyncio.shield(self._put_back(live, counted=False))
                if not self._draining:
                    raise
            except StaleOwnerError as error:
                _log.warning("given up", reason=str(error))
            except TransientError as error:
                await self._try_again(live, error)
            except (ObjectSuperseded, ObjectNotFound) as error:
                await self._fail(live, MediaError("SourceFileError", str(error)))
            except PermanentError as error:
                await self._fail(live, error)
            except Exception as error:
                _log.exception("unexpected error")
                await self._fail(live, MediaError("InternalError", f"unexpected {type(error).__name__}: {error}"))

    async def _run_task(self, live: _Live) -> None:
        task = live.task
        if task.abort:
            raise AbortedError("aborted before it began")
        if task.attempts > MAX_ATTEMPTS:
            raise MediaError(
                "InternalError",
                f"given up after {MAX_ATTEMPTS} attempts: {task.message or 'the service ended during each'}",
            )
        assert self.catalog is not None  # noqa: S101  the daemon sets it before it starts this
        unit = plan(task, self.catalog.templates, self._worker.storages)
        _log.debug("task started", attempt=task.attempts)
        async with reporting(live.report, f"progress of {task.task_id}") as report:
            outcome = await self._executor.run(
                task.task_id, lambda: self._worker.perform(unit, self._state.outputs, report)
            )
        await self._finish(live, outcome)

    async def _finish(self, live: _Live, outcome: Outcome) -> None:
        task = replace(
            live.task,
            status="FINISH",
            finish_time=time.time(),
            code=error_number(outcome.code),
            message=outcome.message,
            metadata=outcome.metadata,
            results=outcome.results,
        )
        await self._state.tasks.finish(task, outgoing(task, self._notifiers, "Finish", "FINISH"))
        self._published()
        failed = [result for result in task.results if result.status == "FAIL"]
        seconds = round((task.finish_time or 0.0) - (task.begin_time or 0.0), 2)
        if task.failed:
            reason = task.message or (failed[0].message if failed else "")
            _log.warning("task failed", seconds=seconds, failed=len(failed), of=len(task.results), reason=reason)
        else:
            _log.info("task finished", seconds=seconds, steps=len(task.results))

    async def _fail(self, live: _Live, error: PermanentError) -> None:
        """End a task whose unit came to nothing."""
        code = error.code if isinstance(error, MediaError) else "InternalError"
        steps = live.task.workflow.media_process_task.steps
        results = live.report.results or tuple(StepResult(input=step.model_dump(mode="json")) for step in steps)
        now = time.time()
        ended = tuple(
            result
            if result.status == "SUCCESS"
            else replace(result, status="FAIL", code=code, message=str(error), finish_time=now, output=None)
            for result in results
        )
        outcome = Outcome(ended, code, str(error), live.report.metadata)
        try:
            await self._finish(live, outcome)
        except (TransientError, StaleOwnerError) as failure:
            _log.error("the end of a task can't be recorded, it will run again", error=str(failure))

    async def _try_again(self, live: _Live, error: TransientError) -> None:
        if live.task.attempts >= MAX_ATTEMPTS:
            message = f"given up after {live.task.attempts} attempts: {error}"
            await self._fail(live, MediaError("InternalError", message))
            return
        pause = RETRY_PAUSES[min(live.task.attempts - 1, len(RETRY_PAUSES) - 1)]
        _log.warning("task will be tried again", again_in=pause, attempt=live.task.attempts, error=str(error))
        await self._put_back(live, delay=pause, message=str(error))

    async def _put_back(self, live: _Live, *, delay: float = 0.0, message: str = "", counted: bool = True) -> None:
        try:
            await self._state.tasks.put_back(live.task, delay=delay, message=message, counted=counted)
        except (TransientError, StaleOwnerError) as failure:
            _log.error("a task can't be put back, the next start will find it", error=str(failure))
