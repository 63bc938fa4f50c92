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
from watcher.settings import Settings
from watcher.state.store import State
from watcher.state.workflows import StoredWorkflow

_ENABLED = re.compile(r"^Enabled[ \t]*:[^\n#]*", re.MULTILINE)


async def _of_requests(configured: Settings) -> list[StoredWorkflow]:
    """Those in the state that come from no file."""
    if not configured.state.exists:
        return []
    async with State(configured.state) as state:
        return [item for item in await state.workflows.list() if not item.origin]


async def show_list(config: Path | None) -> None:
    """A table of the workflow files, and of what requests made."""
    configured = console.load(config)
    found = catalog.read(configured)
    listed = [(item.workflow, item.path.name) for item in found.workflows]
    listed += [(item.workflow, f"request, {item.workflow_id}") for item in await _of_requests(configured)]
    table = Table(box=None, pad_edge=False)
    for title in ("workflow", "enabled", "trigger", "sub-tasks", "priority", "from"):
        table.add_column(title, overflow="fold")
    for body, origin in listed:
        formats = body.trigger.formats
        shown = "*" if formats is None else f"{len(formats)} formats" if len(formats) > 6 else " ".join(sorted(formats))
        table.add_row(
            console.safe(body.name),
            "[green]yes[/]" if body.enabled else "[dim]no[/]",
            console.safe(f"{body.trigger.bucket}{body.trigger.dir} ({shown})"),
            str(len(body.steps)),
            str(body.priority),
            console.safe(origin),
        )
    console.out.print(table if listed else f"no workflows in {configured.workflows}")
    for problem in found.problems:
        console.err.print(f"{'[yellow]![/]' if problem.warning else '[red]✗[/]'} {console.safe(str(problem))}")


async def switch(config: Path | None, name: str, *, on: bool) -> None:
    """Change ``Enabled`` where it is said, in the file or in the state, and tell a running service."""
    configured = console.load(config)
    files_ = {item.workflow.name: item for item in catalog.read(configured).workflows}
    requests = {item.workflow.name: item for item in await _of_requests(configured)}
    found = files_.get(name) or requests.get(name)
    if found is None:
        known = ", ".join(sorted({*files_, *requests})) or "none"
        raise PermanentError(f"there is no workflow {name!r}; there is: {known}")
    word = "enabled" if on else "disabled"
    if found.workflow.enabled == on:
        console.out.print(f"{name} is {word} already")
        return
    told = False
    if isinstance(found, WorkflowFile):
        _rewrite(found, on=on)
    if configured.state.exists:
        async with console.state_of(configured) as state:
            if isinstance(found, StoredWorkflow):
                body = found.workflow.model_copy(update={"enabled": on})
                await state.workflows.replace(found.workflow_id, body)
            told = console.signal_daemon(state, signal.SIGHUP)
    after = "the running service reads it now" if told else "a service that is started now will know it"
    place = found.path if isinstance(found, WorkflowFile) else "the state"
    console.out.print(f"{name} is {word} in {place}; {after}")


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


async def match(config: Path | None, uri: str) -> int:
    """Each workflow with its conditions; the exit status is 1 when none would start."""
    configured = console.load(config)
    storage, key = console.split_uri(uri, configured)
    started = 0
    bodies = [item.workflow for item in catalog.read(configured).workflows]
    bodies += [item.workflow for item in await _of_requests(configured)]
    for body in bodies:
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
