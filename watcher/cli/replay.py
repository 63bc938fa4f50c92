"""``watcher replay`` and ``watcher dry-run``: what was there before, started after all, or only counted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from watcher import catalog
from watcher.backfilling import Backfiller
from watcher.catalog import Catalog
from watcher.cli import console
from watcher.dispatcher import Dispatcher
from watcher.errors import ConfigurationError, PermanentError, Problem
from watcher.model.objects import ObjectInfo, listed_of, version_of
from watcher.model.triggers import TriggerIndex
from watcher.model.workflow import Triggered
from watcher.mps import files
from watcher.settings import Settings
from watcher.state.backfills import Backfill
from watcher.state.ledger import State as Became
from watcher.state.store import State
from watcher.state.workflows import StoredWorkflow
from watcher.verifying import Rules

SHOWN = 20
"""Keys that ``dry-run`` shows."""


def parse_time(text: str | None) -> float | None:
    """A moment in ISO 8601; without an offset it is UTC. Raises PermanentError for what is none."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise PermanentError(f"{text!r} is no time; write 2026-11-20 or 2026-11-20T08:00+08:00") from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


async def replay(
    config: Path | None, uri: str, workflow: str | None, since: str | None, until: str | None, *, again: bool
) -> int:
    """Start the objects of a prefix (or one object); the exit status is 1 when nothing was started."""
    configured = console.load(config)
    storage, prefix = split_prefix(uri, configured)
    async with console.state_of(configured) as state:
        workflow_id = _named(await state.workflows.list(), workflow).workflow_id if workflow else 0
        wanted = Backfill(0, storage, prefix, workflow_id, again, parse_time(since), parse_time(until))
        done = await run_backfill(configured, state, wanted)
    return 0 if done.made else 1


async def run_backfill(configured: Settings, state: State, wanted: Backfill) -> Backfill:
    """Ask the running service for it and follow it; where none runs, make the tasks for the next one."""
    number = await state.backfills.add(wanted)
    done = await state.backfills.get(number)
    assert done is not None  # noqa: S101
    if state.database.owner() is None:
        done = await _alone(configured, state, done)
        note = "; no service is running, so they wait for one" if done.made else ""
    else:
        done = await _follow(state, number)
        note = ""
    if done.error:
        raise PermanentError(done.error)
    console.out.print(f"{done.listed} objects listed, {done.made} tasks{note}")
    return done


async def _alone(configured: Settings, state: State, wanted: Backfill) -> Backfill:
    async with AsyncExitStack() as stack:
        for storage in configured.storages.values():
            await stack.enter_async_context(storage)
        rules = Rules(configured.discovery.min_size, configured.discovery.versions)
        dispatcher = Dispatcher(state, configured.storages, lambda: None, rules)
        found = catalog.read(configured)
        dispatcher.catalog = Catalog(await state.workflows.list(), found.templates, configured.regions)
        backfiller = Backfiller(
            state, configured.storages, dispatcher.verifier, dispatcher.in_force, lambda: None, dispatcher.leads
        )
        return await backfiller.perform(wanted, bounded=False)


async def _follow(state: State, number: int) -> Backfill:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console.err, transient=True) as progress:
        bar = progress.add_task("")
        while True:
            done = await state.backfills.get(number)
            assert done is not None  # noqa: S101  nobody removes it
            progress.update(bar, description=f"{done.listed} objects listed, {done.made} tasks")
            if done.finish_time is not None:
                return done
            await asyncio.sleep(0.2)


def split_prefix(uri: str, configured: Settings) -> tuple[str, str]:
    """(storage, prefix) of what a person typed; a whole storage may be meant."""
    for scheme in ("s3://", "cos://"):
        uri = uri.removeprefix(scheme)
    name, _, prefix = uri.partition("/")
    if name in configured.storages:
        return name, prefix
    return console.split_uri(uri, configured)


def _named(stored: list[StoredWorkflow], name: str) -> StoredWorkflow:
    found = next((item for item in stored if item.workflow.name == name), None)
    if found is None:
        known = ", ".join(sorted(item.workflow.name for item in stored)) or "none"
        raise PermanentError(f"there is no workflow {name!r}; there is: {known}")
    if not found.workflow.enabled:
        raise PermanentError(f"{name} is not enabled: `watcher workflows enable {name}` first")
    return found


async def backfill_of(config: Path | None, name: str) -> None:
    """Start a workflow, which was just enabled, for what is there already."""
    configured = console.load(config)
    async with console.state_of(configured) as state:
        deadline = time.monotonic() + 10
        while True:  # a running service takes a moment to read the file again
            stored = await state.workflows.list()
            found = next((item for item in stored if item.workflow.name == name and item.workflow.enabled), None)
            if found is not None or time.monotonic() > deadline or state.database.owner() is None:
                break
            await asyncio.sleep(0.1)
        if found is None:
            raise PermanentError("no service knows of it yet: start one, then `watcher replay` what is there")
        trigger = found.workflow.trigger
        wanted = Backfill(0, trigger.bucket, trigger.dir.removeprefix("/"), found.workflow_id)
        await run_backfill(configured, state, wanted)


async def dry_run(config: Path | None, name: str, limit: int) -> int:
    """Say what a workflow would start if it were backfilled now, and start nothing; 1 when that is nothing."""
    configured = console.load(config)
    body = _body(configured, name)
    trigger = body.trigger
    if trigger.bucket not in configured.storages:
        raise ConfigurationError([Problem("Trigger", f"there is no storage {trigger.bucket!r} in the settings")])
    index: TriggerIndex[int] = TriggerIndex([(trigger, 0)], configured.regions)
    counts: Counter[str] = Counter()
    shown = 0
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(console.state_of(configured)) if configured.state.exists else None
        storage = await stack.enter_async_context(configured.storages[trigger.bucket])
        async for page in storage.list(trigger.dir.removeprefix("/")):
            matching = [info for info in page if index.match(info.storage, info.key)]
            counts["listed"] += len(page)
            verdicts = await _verdicts(state, matching, configured, body.name)
            for info, verdict in zip(matching, verdicts, strict=True):
                counts[verdict] += 1
                if verdict == NEW and shown < limit:
                    shown += 1
                    console.out.print(f"[green]✓[/] {console.safe(info.uri)}  {console.human_size(info.size)}")
    if counts[NEW] > shown:
        console.out.print(f"[dim]and {counts[NEW] - shown} more[/]")
    matched = sum(count for verdict, count in counts.items() if verdict != "listed")
    console.out.print(f"{counts['listed']} objects listed, {matched} match {console.safe(body.name)}:")
    for verdict, count in sorted(counts.items()):
        if verdict != "listed":
            console.out.print(f"  {count:>8}  {verdict}")
    return 0 if counts[NEW] else 1


NEW = "would start"


async def _verdicts(state: State | None, infos: list[ObjectInfo], configured: Settings, name: str) -> list[str]:
    """What would become of each object."""
    verdicts = []
    for info in infos:
        verdict = NEW
        if info.size < configured.discovery.min_size:
            verdict = "too small"
        elif info.archived:
            verdict = "archived, would wait"
        elif state is not None:
            known = await state.ledger.versions(info.storage, info.key)
            of_version = [row for row in known if row.is_of(version_of(info), listed_of(info))]
            if any(row.state is Became.OWN_OUTPUT for row in of_version) or await state.outputs.writer_of(info):
                verdict = "watcher's own output"
            elif of_version:
                tasks = await state.tasks.of_object(info.storage, info.key)
                if any(task.order.name == name and _same(task.source, info) for task in tasks):
                    verdict = "has a task already"
        verdicts.append(verdict)
    return verdicts


def _same(one: ObjectInfo, other: ObjectInfo) -> bool:
    return (one.etag, one.size, one.last_modified) == (other.etag, other.size, other.last_modified)


def _body(configured: Settings, name: str) -> Triggered:
    """A workflow by its name, enabled or not, or a file that is not among the configured ones."""
    if Path(name).suffix in (".yaml", ".yml", ".json") and Path(name).is_file():
        from watcher import yamlfile  # noqa: PLC0415

        return files.decode_workflow(yamlfile.read(Path(name)), name)
    found = [item.workflow for item in catalog.read(configured).workflows if item.workflow.name == name]
    if not found:
        raise PermanentError(f"there is no workflow file with the name {name!r}, and no such file")
    return found[0]
