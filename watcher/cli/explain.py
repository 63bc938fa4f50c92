"""``watcher explain``: why did, or didn't, this object start anything?"""

from __future__ import annotations

from pathlib import Path

from watcher.cli import console
from watcher.errors import ObjectNotFound, WatcherError
from watcher.model.objects import MARKER, ObjectInfo, listed_of, version_of
from watcher.model.triggers import explain as predicates_of
from watcher.settings import Settings
from watcher.state.ledger import State as Became
from watcher.state.store import State
from watcher.state.workflows import StoredWorkflow

_STATES = {
    Became.SEEN: "it was heard of, and started what matched then",
    Became.EXISTING: "it was there before the source looked for the first time, so it started nothing "
    "(`watcher replay` starts it)",
    Became.OWN_OUTPUT: "watcher wrote it, so it started nothing (AcceptOutputs changes that)",
    Became.STALE: "it was overwritten before it was heard of (discovery.versions: every changes that)",
    Became.IGNORED: "it is smaller than discovery.min_size, or the marker of a directory: its next version counts",
    Became.ARCHIVED: "it is archived: it starts what it matches when it is restored",
}
_UNREADY = {
    "SETTLING": "a notification spoke of it, and it is not there yet",
    "ARCHIVED": "it waits to be restored",
    "GONE": "a notification spoke of it, and it never came",
}


async def explain(config: Path | None, uri: str) -> int:
    """Say what is known of the object, what each trigger says of it, and which tasks there were; 1 if none started."""
    configured = console.load(config)
    storage, key = console.split_uri(uri, configured)
    info = await _look(configured, storage, key)
    async with console.state_of(configured) as state:
        await _ledger(state, storage, key, info)
        for item in await state.workflows.list():
            _trigger(configured, item, storage, key)
        tasks = await state.tasks.of_object(storage, key)
        waiting = await state.quarantine.count()
        running = state.database.owner() is not None
    for task in tasks:
        verdict = f"failed: {task.message or 'see `watcher tasks show`'}" if task.failed else task.status
        console.out.print(f"task   {task.task_id}  {console.ago(task.create_time)}, {console.safe(verdict)}")
    if not tasks:
        console.out.print("no task was ever made of it")
    if waiting:
        console.out.print(f"{waiting} messages are in quarantine, one may speak of it: `watcher quarantine list`")
    if not running:
        console.out.print("no service is running, so nothing is heard of now")
    return 0 if tasks else 1


async def _look(configured: Settings, storage: str, key: str) -> ObjectInfo | None:
    try:
        async with configured.storages[storage] as opened:
            info = await opened.head(key)
    except ObjectNotFound:
        console.out.print("object there is no such object now")
        return None
    except WatcherError as error:
        console.out.print(f"object it can't be looked at: {console.safe(str(error))}")
        return None
    console.out.print(
        f"object {console.safe(info.uri)}  {console.human_size(info.size)}  {console.safe(info.identity)}"
    )
    if info.size == 0:
        console.out.print("       it is empty: a task over it fails, and its next version is another one")
    return info


async def _ledger(state: State, storage: str, key: str, info: ObjectInfo | None) -> None:
    unready = await state.unready.of_object(storage, key)
    if unready is not None:
        again = f"; it was looked at {unready.tries} times" if unready.state != "ARCHIVED" else ""
        console.out.print(f"       {_UNREADY[unready.state]} (since {console.ago(unready.since)}{again})")
    if info is not None:
        writer = await state.outputs.writer_of(info)
        if writer is not None or (info.metadata and MARKER in info.metadata):
            console.out.print(f"       watcher wrote it{f', in task {writer}' if writer else ''}: so it starts nothing")
    current, found = None, await state.ledger.versions(storage, key)
    if info is not None:
        current = next((known for known in found if known.is_of(version_of(info), listed_of(info))), None)
        if current is None:
            console.out.print("ledger this version was never heard of: does a source watch this storage?")
        else:
            console.out.print(f"ledger {_STATES[current.state]} ({console.ago(current.seen)})")
    for known in found:
        if known is not current:
            console.out.print(f"[dim]       an earlier version: {_STATES[known.state]} ({console.ago(known.seen)})[/]")


def _trigger(configured: Settings, item: StoredWorkflow, storage: str, key: str) -> None:
    body = item.workflow
    predicates = predicates_of(body.trigger, storage, configured.regions.get(storage), key)
    failing = [f"{predicate.name}: {predicate.text}" for predicate in predicates if not predicate.holds]
    if not body.enabled:
        failing.insert(0, "it is not enabled")
    name = console.safe(body.name)
    if failing:
        console.out.print(f"[dim]·[/]      {name} does not match: {console.safe('; '.join(failing))}")
    else:
        console.out.print(f"[green]✓[/]      {name} matches, since {console.ago(item.update_time)}")
