"""What a running task tells the state: progress now and then, each change of a sub-task's status at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

from watcher import log
from watcher.destinations import destinations_of
from watcher.errors import TransientError
from watcher.model.task import StepResult, Task, event_id_of
from watcher.mps import events
from watcher.notifiers.base import Notifier
from watcher.state.store import State
from watcher.state.tasks import OutgoingEvent

_log = log.get("runner")

INTERVAL = 1.0
"""Seconds between two commits of progress of one task."""


def outgoing(task: Task, notifiers: Mapping[str, Notifier], mode: str, state: str) -> list[OutgoingEvent]:
    """The event of a change, for those who want events of that ``mode``; ``state`` tells changes apart."""
    destinations = destinations_of(task.order, notifiers, mode)
    if not destinations:
        return []
    event_id = event_id_of(task.task_id, task.epoch, state)
    return [OutgoingEvent(event_id, destinations, events.task_event(task, event_id))]


class TaskReport:
    """The report of one task. ``published`` is called when events were committed."""

    def __init__(
        self, task: Task, state: State, notifiers: Mapping[str, Notifier], published: Callable[[], None]
    ) -> None:
        self.task = task
        self.results: tuple[StepResult, ...] = ()
        self.metadata: dict[str, Any] | None = None
        self._state = state
        self._notifiers = notifiers
        self._published = published
        self._statuses: tuple[str, ...] = ()
        self._moved = asyncio.Event()
        self.last = time.monotonic()

    def progress(self, results: tuple[StepResult, ...], metadata: dict[str, Any] | None) -> None:
        """Remembered; committed by :meth:`run`."""
        self.results, self.metadata = results, metadata
        self.last = time.monotonic()
        self._moved.set()

    async def changed(self, results: tuple[StepResult, ...], metadata: dict[str, Any] | None) -> None:
        """Committed at once when a status changed, with the event for those who want one for each change."""
        self.progress(results, metadata)
        statuses = tuple(result.status for result in results)
        if statuses == self._statuses:
            return
        first, self._statuses = not self._statuses, statuses
        task = replace(self.task, results=results, metadata=metadata)
        found = [] if first else outgoing(task, self._notifiers, "Change", ",".join(statuses))
        await self._commit(found)

    async def run(self) -> None:
        """Commit progress now and then, until cancelled."""
        while True:
            await self._moved.wait()
            await self._commit([])
            await asyncio.sleep(INTERVAL)

    async def _commit(self, found: list[OutgoingEvent]) -> None:
        self._moved.clear()
        try:
            await self._state.tasks.update(self.task, self.results, metadata=self.metadata, events=found)
        except TransientError as error:
            # The end of the task tells all of it again; only an event of a change on the way would be missed.
            _log.warning("progress not recorded", error=str(error))
            return
        if found:
            self._published()


@contextlib.asynccontextmanager
async def reporting(report: TaskReport, name: str) -> AsyncIterator[TaskReport]:
    """Commit the report's progress in the background."""
    running = asyncio.create_task(report.run(), name=name)
    try:
        yield report
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
