"""What the commands share: opening a configuration and its state, finding things by what a person types."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from watcher import settings
from watcher.errors import ConfigurationError, PermanentError, Problem
from watcher.media.process import printable
from watcher.model.task import Task
from watcher.settings import Settings
from watcher.state.store import State

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

MARKS = {"SUCCESS": "[green]✓[/]", "FAIL": "[red]✗[/]", "PROCESSING": "[yellow]…[/]", "SKIP": "[dim]·[/]"}
KIND_NAMES = {
    "snapshot_by_time_offset": "snapshots",
    "sample_snapshot": "sampled snapshots",
    "adaptive_dynamic_streaming": "ladder",
    "exec_rules": "rules",
    "ai_recognition": "recognition",
    "ai_analysis": "analysis",
    "content_review": "review",
    "quality_control": "quality control",
}
"""What sub-tasks are called for a person, where it is not the name of their kind."""


def load(config: Path | None) -> Settings:
    """The settings that a command works with."""
    return settings.load(settings.find(config))


@asynccontextmanager
async def state_of(configured: Settings) -> AsyncIterator[State]:
    """The state, beside a daemon that may be running on it."""
    if not configured.state.exists:
        message = f"there is no state at {configured.state.where} yet: `watcher run` makes it"
        raise ConfigurationError([Problem("state", message)])
    async with State(configured.state, max_hops=configured.max_hops) as state:
        yield state


def signal_daemon(state: State, number: signal.Signals) -> bool:
    """Send a signal to the daemon that runs on this state; False when there is none."""
    owner = state.database.owner()
    if owner is None or owner <= 0:  # none, or on another machine
        return False
    try:
        os.kill(owner, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def split_uri(uri: str, configured: Settings) -> tuple[str, str]:
    """(storage, key) of what a person typed; raises PermanentError when it names no storage."""
    for scheme in ("s3://", "cos://"):
        uri = uri.removeprefix(scheme)
    name, _, key = uri.partition("/")
    if name in configured.storages and key:
        return name, key
    path = Path(uri).absolute()
    for storage_name, storage in configured.storages.items():
        root = getattr(storage, "root", None)
        if isinstance(root, Path) and path.is_relative_to(root):
            return storage_name, path.relative_to(root).as_posix()
    known = ", ".join(sorted(configured.storages)) or "none"
    raise PermanentError(f"{uri!r} is no object of a storage in the settings (there is: {known}); write STORAGE/KEY")


def safe(text: str) -> str:
    """A name from outside, so that it can neither change a terminal nor be taken for markup."""
    return escape(printable(text))


def human_size(number: float) -> str:
    """1536 → 1.5 KiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def ago(moment: float | None) -> str:
    """How long ago a time was, for a table."""
    if moment is None:
        return ""
    seconds = max(0.0, time.time() - moment)
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (129_600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit} ago"
    return f"{seconds / 86_400:.0f} d ago"


def step_label(task: Task, index: int) -> str:
    """A sub-task for a person: its kind and its template."""
    step = task.order.steps[index]
    name = KIND_NAMES.get(step.kind, step.kind.replace("_", " "))
    return name if step.kind in ("exec_rules", "command") else f"{name} {step.definition or 'raw'}"


def outputs_of(task: Task) -> list[tuple[int, str, str]]:
    """(sub-task, storage, key) of every output that the results name."""
    found: list[tuple[int, str, str]] = []
    for index, result in enumerate(task.results):
        item = result.output or {}
        echo = item.get("storage") or item.get("output_storage") or {}
        storage = _bucket(echo)
        paths = [item.get("path"), *item.get("image_path_set", []), item.get("web_vtt_path")]
        paths += [picture.get("path") for picture in item.get("pic_info_set", [])]
        paths += item.get("files", [])
        found += [(index, storage, path.lstrip("/")) for path in paths if path]
    return found


def _bucket(echo: dict[str, dict[str, str] | None]) -> str:
    cos, s3 = echo.get("cos_output_storage"), echo.get("s3_output_storage")
    return (cos or {}).get("bucket") or (s3 or {}).get("s3_bucket") or ""


async def follow(state: State, task_id: str) -> Task:
    """Show a bar for each sub-task until the task is finished."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out) as progress:
        bars: list[TaskID] = []
        while True:
            task = await state.tasks.get(task_id)
            if task is None:
                raise PermanentError(f"there is no task {task_id}")
            for index, result in enumerate(task.results):
                if index >= len(bars):
                    bars.append(progress.add_task(step_label(task, index), total=100))
                mark = MARKS[result.status]
                done = 100 if result.status == "SUCCESS" else result.progress
                progress.update(bars[index], completed=done, description=f"{mark} {step_label(task, index)}")
            if task.status == "FINISH":
                return task
            await asyncio.sleep(0.1)


MAX_SHOWN = 4
"""Outputs of one sub-task that are listed before the rest is only counted."""


def show_outputs(task: Task, configured: Settings) -> None:
    """The outputs of each sub-task; with sizes where the storage is a directory."""
    found = outputs_of(task)
    for index in sorted({number for number, _, _ in found}):
        mine = [(storage, key) for number, storage, key in found if number == index]
        out.print(f"{MARKS['SUCCESS']} {step_label(task, index)}")
        for storage, key in mine[:MAX_SHOWN]:
            out.print(f"    {_size(configured, storage, key):>10}  {safe(f'{storage}/{key}')}", soft_wrap=True)
        if len(mine) > MAX_SHOWN:
            out.print(f"    {'':>10}  … and {len(mine) - MAX_SHOWN} more")


def _size(configured: Settings, storage: str, key: str) -> str:
    root = getattr(configured.storages.get(storage), "root", None)
    path = root / key if isinstance(root, Path) else None
    return human_size(path.stat().st_size) if path is not None and path.exists() else ""


def show_failures(task: Task) -> None:
    """One line for each sub-task that failed, or one for all when the source was at fault."""
    if task.code:
        out.print(f"{MARKS['FAIL']} {safe(task.message)}", soft_wrap=True)
        return
    for index, result in enumerate(task.results):
        if result.status == "FAIL":
            line = f"{step_label(task, index)}: {safe(result.code)}: {safe(result.message)}"
            out.print(f"{MARKS['FAIL']} {line}", soft_wrap=True)
