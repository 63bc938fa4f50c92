"""``watcher process``: one object now, through the running service or, when there is none, in this process."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from watcher import catalog, daemon, log
from watcher.cli import console
from watcher.errors import ConfigurationError, PermanentError
from watcher.model.objects import ObjectInfo
from watcher.model.task import Task
from watcher.settings import Settings
from watcher.state.ledger import Match
from watcher.state.store import State
from watcher.state.workflows import StoredWorkflow


async def process(config: Path | None, uri: str, workflow: str) -> int:
    """Queue the task, show its progress and what came of it; the exit status is 1 when anything failed."""
    configured = console.load(config)
    storage_name, key = console.split_uri(uri, configured)
    log.setup("error")
    async with configured.storages[storage_name] as storage:
        info = await storage.head(key)
    task = await _through_daemon(configured, info, workflow) or await _alone(configured, info, workflow)
    console.show_outputs(task, configured)
    console.show_failures(task)
    return 1 if task.failed else 0


def _match(workflows: list[StoredWorkflow], name: str) -> Match:
    for item in workflows:
        if item.workflow.name == name:
            return item.match
    known = ", ".join(sorted(item.workflow.name for item in workflows)) or "none"
    raise PermanentError(f"there is no workflow {name!r}; there is: {known}")


async def _through_daemon(configured: Settings, info: ObjectInfo, workflow: str) -> Task | None:
    if not configured.state.exists:
        return None
    async with State(configured.state) as state:
        if state.database.owner() is None:
            return None
        match = _match(await state.workflows.list(), workflow)
        task_id = await state.tasks.submit(match, info, time.time())
        return await console.follow(state, task_id)


async def _alone(configured: Settings, info: ObjectInfo, workflow: str) -> Task:
    found = await asyncio.to_thread(catalog.read, configured)
    mistakes = [problem for problem in found.problems if not problem.warning]
    if mistakes:
        raise ConfigurationError(mistakes)
    async with daemon.opened(configured, await daemon.media_tools(configured)) as parts:
        await daemon.apply_files(parts, found)
        match = _match(await parts.state.workflows.list(), workflow)
        task_id = await parts.state.tasks.submit(match, info, time.time())
        working = [asyncio.create_task(parts.runner.run(only=task_id)), asyncio.create_task(parts.publisher.run())]
        following = asyncio.create_task(console.follow(parts.state, task_id))
        try:
            await asyncio.wait([following, *working], return_when=asyncio.FIRST_COMPLETED)
            for work in working:
                if work.done():
                    work.result()
            task = await following
            await parts.publisher.flush(5.0)
        finally:
            await parts.runner.drain(0)
            following.cancel()
            for work in working:
                work.cancel()
            await asyncio.gather(following, *working, return_exceptions=True)
    return task
