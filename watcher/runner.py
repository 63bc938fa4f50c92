"""From task row to results: claim by priority, resolve the plan, run the unit, commit the end with its event."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from structlog.contextvars import bound_contextvars

from watcher import log
from watcher.catalog import Catalog
from watcher.errors import MediaError, ObjectNotFound, ObjectSuperseded, PermanentError, TransientError
from watcher.executors.base import Executor
from watcher.graph_run import GraphRun
from watcher.model.ai_parts import wanted_parts
from watcher.model.inputs import INTELLIGENT, shown
from watcher.model.samples import NO_SAMPLES, FilmEnds, KnownPerson, Samples, Word
from watcher.model.task import StepResult, Task, error_number
from watcher.model.unit import Outcome, Report, Unit
from watcher.notifiers.base import Notifier
from watcher.planning import plan
from watcher.reports import TaskReport, outgoing, reporting
from watcher.state.store import State
from watcher.state.tasks import MAX_ATTEMPTS, StaleOwnerError
from watcher.together import is_set
from watcher.worker import Worker

_log = log.get("runner")

MOST_SAMPLES = 100_000
"""Words, and persons, that one task looks for, at most."""
FACES = frozenset({"Recognition.Face", "Review.Face"})
IDLE = 1.0
"""Seconds between two looks for requests that come past this process (``watcher tasks abort`` and the like)."""
RETRY_PAUSES = (5.0, 15.0, 60.0, 300.0, 900.0)


class AbortedError(PermanentError):
    """Somebody asked for the end of the task."""


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
        owner: str = "",
    ) -> None:
        """``owner`` is what this daemon is called among those that share the state."""
        self._owner = owner
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
        self._ending: set[str] = set()
        self._short_of_space = False
        self.catalog: Catalog | None = None
        self.refresh: Callable[[], Awaitable[None]] | None = None
        """Reads the catalog again, when another daemon changed it."""
        self.progress = 0.0

    def wake(self) -> None:
        """There may be a task to claim."""
        self._wake.set()

    def end(self, task_id: str) -> None:
        """A task that waits is not wanted any more: it ends now, without a slot."""
        self._ending.add(task_id)
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
                await self._end_waiting(group)
                while len(self._running) < self._executor.slots and not self._draining and self._has_space():
                    try:
                        task = await self._state.tasks.claim(only, owner=self._owner, limits=self._limits())
                    except TransientError as error:
                        _log.error("no task can be claimed", error=str(error))
                        break
                    if task is None:
                        break
                    self._start(group, task)
                self.progress = time.monotonic()
                if not await is_set(self._wake, IDLE):
                    await self._end_aborted()

    async def _end_waiting(self, group: asyncio.TaskGroup) -> None:
        while self._ending:
            task_id = self._ending.pop()
            try:
                task = await self._state.tasks.claim(task_id, owner=self._owner)
            except TransientError as error:
                _log.error("no task can be claimed", error=str(error))
                return
            if task is not None:
                self._start(group, task)

    def _limits(self) -> dict[int, int]:
        return self.catalog.limits if self.catalog is not None else {}

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
        with bound_contextvars(task=task.task_id, workflow=task.order.name, object=task.source.uri):
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
        revision = self.catalog.revision
        if revision is not None and self.refresh is not None and await self._state.workflows.changes() != revision:
            await self.refresh()
        if task.workflow_id and task.lane >= 0 and task.attempts == 1 and not self.catalog.allows(task.workflow_id):
            raise AbortedError("its workflow was disabled or removed before the task began")
        if not task.source.resolved:
            task = live.task = live.report.task = await self._resolved(task)
        unit = plan(task, self.catalog.templates, self._worker.storages, await self._samples(task))
        _log.debug("task started", attempt=task.attempts)
        async with reporting(live.report, f"progress of {task.task_id}") as report:
            outcome = await self._executor.run(task.task_id, lambda: self._perform(task, unit, report))
        if outcome.ends is not None:
            await self._state.fingerprints.keep(task.source.storage, task.source.key, outcome.ends, time.time())
        await self._finish(live, outcome)

    async def _samples(self, task: Task) -> Samples:
        """What intelligent sub-tasks look for: the samples of files, and those of requests."""
        assert self.catalog is not None  # noqa: S101
        steps = [step for step in task.order.steps if step.kind in INTELLIGENT]
        if not steps:
            return NO_SAMPLES
        templates = self.catalog.templates
        parts = [part for step in steps for part in wanted_parts(templates.get((step.kind, step.definition)))]
        words: list[Word] = []
        if any(part.needs in ("text", "speech") for part in parts):
            words = (await self._state.words.page(lambda word: True, 0, MOST_SAMPLES)).items
        persons = []
        if any(part.needs == "faces" for part in parts):
            found = await self._state.persons.page(lambda person: not FACES.isdisjoint(person.usages), 0, MOST_SAMPLES)
            for person in found.items:
                pictures = [(face.face_id, await self._state.persons.picture(face.face_id)) for face in person.faces]
                persons.append(KnownPerson(person, tuple((name, data) for name, data in pictures if data)))
        siblings: tuple[FilmEnds, ...] = ()
        if any(part.needs == "fingerprint" for part in parts):
            siblings = await self._state.fingerprints.siblings(task.source.storage, task.source.key)
        files = self.catalog.samples
        return Samples((*files.words, *words), (*files.persons, *persons), siblings)

    async def _perform(self, task: Task, unit: Unit, report: Report) -> Outcome:
        if task.order.graph:
            return await GraphRun(task.order.graph, unit, self._worker, self._state.outputs, report).run()
        return await self._worker.perform(unit, self._state.outputs, report)

    async def _resolved(self, task: Task) -> Task:
        """A request names an object; from now on its task is about the version that is there."""
        source = task.source
        storage = self._worker.storages.get(source.storage)
        if storage is None:
            raise MediaError("SourceFileError", f"there is no storage {source.storage!r} in the settings")
        try:
            info = await storage.head(source.key)
        except PermanentError as error:
            raise MediaError("SourceFileError", str(error)) from None
        return await self._state.tasks.resolve(task, info)

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
        steps = live.task.order.steps
        results = live.report.results or tuple(StepResult(input=shown(step)) for step in steps)
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
