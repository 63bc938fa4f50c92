"""``watcher workflows``: list, enable, disable, match."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

from rich.table import Table

from watcher import catalog, yamlfile
from watcher.cli import console
from watcher.errors import ConfigurationError, PermanentError, Problem
from watcher.model.triggers import explain
from watcher.mps import files
from watcher.mps.files import WorkflowFile

_ENABLED = re.compile(r"^Enabled[ \t]*:[^\n#]*", re.MULTILINE)


def show_list(config: Path | None) -> None:
    """A table of the workflow files."""
    configured = console.load(config)
    found = catalog.read(configured)
    table = Table(box=None, pad_edge=False)
    for title in ("workflow", "enabled", "trigger", "sub-tasks", "priority", "file"):
        table.add_column(title, overflow="fold")
    for item in found.workflows:
        body = item.workflow
        formats = body.trigger.formats
        shown = "*" if formats is None else f"{len(formats)} formats" if len(formats) > 6 else " ".join(sorted(formats))
        table.add_row(
            console.safe(body.name),
            "[green]yes[/]" if body.enabled else "[dim]no[/]",
            console.safe(f"{body.trigger.bucket}{body.trigger.dir} ({shown})"),
            str(len(body.steps)),
            str(body.priority),
            console.safe(item.path.name),
        )
    console.out.print(table if found.workflows else f"no workflows in {configured.workflows}")
    for problem in found.problems:
        console.err.print(f"{'[yellow]![/]' if problem.warning else '[red]✗[/]'} {console.safe(str(problem))}")


def _find(found: list[WorkflowFile], name: str) -> WorkflowFile:
    for item in found:
        if item.workflow.name == name:
            return item
    known = ", ".join(sorted(item.workflow.name for item in found)) or "none"
    raise PermanentError(f"there is no workflow {name!r}; there is: {known}")


async def switch(config: Path | None, name: str, *, on: bool) -> None:
    """Change ``Enabled`` in the file, which is the one place where it is said, and tell a running service."""
    configured = console.load(config)
    item = _find(catalog.read(configured).workflows, name)
    word = "enabled" if on else "disabled"
    if item.workflow.enabled == on:
        console.out.print(f"{name} is {word} already")
        return
    _rewrite(item, on=on)
    told = False
    if configured.database.exists():
        async with console.state_of(configured) as state:
            told = console.signal_daemon(state, signal.SIGHUP)
    after = "the running service reads it now" if told else "a service that is started now will know it"
    console.out.print(f"{name} is {word} in {item.path}; {after}")


def _rewrite(item: WorkflowFile, *, on: bool) -> None:
    """Write the file anew with only that one line changed; it is put in place only if it still says the same."""
    text = item.path.read_text(encoding="utf-8")
    value = "true" if on else "false"
    if item.path.suffix == ".json":
        body = json.loads(text)
        body["Enabled"] = on
        changed = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    elif _ENABLED.search(text):
        changed = _ENABLED.sub(f"Enabled: {value}", text, count=1)
    else:
        changed = f"{text.rstrip()}\nEnabled: {value}\n"
    part = item.path.with_name(f".{item.path.name}.part")
    part.write_text(changed, encoding="utf-8")
    try:
        after = files.decode_workflow(yamlfile.read(part), str(item.path))
        if after != item.workflow.model_copy(update={"enabled": on}):
            raise ConfigurationError([Problem(str(item.path), "")])
    except ConfigurationError:
        part.unlink()
        message = f"set `Enabled: {value}` in this file by hand: its layout is not one that can be changed safely"
        raise ConfigurationError([Problem(str(item.path), message)]) from None
    os.chmod(part, item.path.stat().st_mode & 0o7777)
    part.replace(item.path)


def match(config: Path | None, uri: str) -> int:
    """Each workflow with its conditions; the exit status is 1 when none would start."""
    configured = console.load(config)
    storage, key = console.split_uri(uri, configured)
    started = 0
    for item in catalog.read(configured).workflows:
        body = item.workflow
        predicates = explain(body.trigger, storage, configured.regions.get(storage), key)
        failing = [predicate for predicate in predicates if not predicate.holds]
        if body.enabled and not failing:
            started += 1
            console.out.print(f"[green]✓[/] {console.safe(body.name)} would start")
            continue
        reasons = [f"{predicate.name}: {predicate.text}" for predicate in failing]
        if not body.enabled:
            reasons.insert(0, "it is not enabled")
        console.out.print(f"[dim]·[/] {console.safe(body.name)}: {console.safe('; '.join(reasons))}")
    if not started:
        console.out.print("no workflow would start")
    return 0 if started else 1
