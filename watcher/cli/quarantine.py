"""``watcher quarantine``: messages of sources that nobody could read."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from rich.table import Table

from watcher import catalog
from watcher.catalog import Catalog
from watcher.cli import console
from watcher.dispatcher import Dispatcher
from watcher.errors import PermanentError
from watcher.settings import Settings
from watcher.sources._reading import read_message, storages_by_bucket
from watcher.state.quarantine import Quarantined
from watcher.state.store import State


async def show_list(config: Path | None, limit: int) -> None:
    """A table, newest first."""
    configured = console.load(config)
    async with console.state_of(configured) as state:
        found = await state.quarantine.list(limit)
        count = await state.quarantine.count()
    table = Table(box=None, pad_edge=False)
    for title in ("number", "source", "heard", "why"):
        table.add_column(title, overflow="fold")
    for item in found:
        table.add_row(str(item.seq), console.safe(item.source), console.ago(item.heard), console.safe(item.reason))
    console.out.print(table if found else "nothing is in quarantine")
    if count > len(found):
        console.out.print(f"[dim]and {count - len(found)} older ones[/]")


async def _find(state: State, number: int) -> Quarantined:
    found = await state.quarantine.get(number)
    if found is None:
        raise PermanentError(f"there is no message {number} in quarantine; see `watcher quarantine list`")
    return found


async def show(config: Path | None, number: int) -> None:
    """The message as it came."""
    configured = console.load(config)
    async with console.state_of(configured) as state:
        found = await _find(state, number)
    console.err.print(console.safe(f"{found.source}, {console.ago(found.heard)}: {found.reason}"))
    console.out.print(console.safe(found.body.decode("utf-8", "replace")), soft_wrap=True, highlight=False)


async def retry(config: Path | None, number: int) -> int:
    """Read it again, with the settings and the code of now; the exit status is 1 when it still can't be read."""
    configured = console.load(config)
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(console.state_of(configured))
        found = await _find(state, number)
        for storage in configured.storages.values():
            await stack.enter_async_context(storage)
        options = getattr(configured.sources.get(found.source), "further", {})
        by_name = {name: name for name in configured.storages}  # messages of our own name storages
        read = read_message(found.body, found.source, by_name | storages_by_bucket(configured.storages, options))
        if read.strange:
            console.out.print(f"{number} stays in quarantine: {console.safe(read.strange[0].reason)}")
            return 1
        dispatcher = Dispatcher(state, configured.storages, lambda: None)
        dispatcher.catalog = await _catalog(configured, state)
        tally = await dispatcher.take(read.events)
        await state.quarantine.remove(number)
    console.out.print(
        f"{number} was read: {len(read.events)} objects, {len(tally.tasks)} tasks, {tally.duplicate} known"
    )
    return 0


async def _catalog(configured: Settings, state: State) -> Catalog:
    found = catalog.read(configured)
    return Catalog(await state.workflows.list(), found.templates, configured.regions)
