"""``watcher events``: task events that did not reach whom they should."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from watcher.cli import console
from watcher.destinations import describe


async def show_list(config: Path | None, limit: int, *, waiting: bool) -> None:
    """A table, oldest first."""
    configured = console.load(config)
    async with console.state_of(configured) as state:
        found = await state.outbox.undelivered(limit, waiting=waiting)
        counts = await state.outbox.backlog()
    table = Table(box=None, pad_edge=False)
    for title in ("number", "task", "to", "status", "attempts", "since", "why"):
        table.add_column(title, overflow="fold")
    for item in found:
        table.add_row(
            str(item.seq), item.task_id, console.safe(describe(item.destination)), item.status.lower(),
            str(item.attempts), console.ago(item.create_time), console.safe(item.error),
        )  # fmt: skip
    console.out.print(table if found else "no event was given up")
    total = counts.get("DEAD", 0) + (counts.get("PENDING", 0) if waiting else 0)
    if total > len(found):
        console.out.print(f"[dim]and {total - len(found)} more[/]")


async def retry(config: Path | None, number: int | None) -> int:
    """Give one, or all, another chance; the exit status is 1 when there is none."""
    configured = console.load(config)
    async with console.state_of(configured) as state:
        revived = await state.outbox.revive(seq=number)
        running = state.database.owner() is not None
    note = "" if running else " (no service is running; one that is started sends them)"
    console.out.print(f"{revived} events are sent again{note}" if revived else "no such event was given up")
    return 0 if revived else 1
