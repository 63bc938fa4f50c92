"""``watcher check``: everything a run would need, each with a line, all mistakes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from watcher import catalog, coverage, daemon, settings
from watcher.api import serving
from watcher.catalog import Catalog
from watcher.cli.console import err, out, safe
from watcher.errors import ConfigurationError, Problem, WatcherError
from watcher.media import ffmpeg, fonts
from watcher.mps import files
from watcher.settings import Settings
from watcher.sources.sqs import SqsSource
from watcher.state.store import State
from watcher.state.workflows import StoredWorkflow

TIMEOUT = 20.0


class _Report:
    """Counts what it prints."""

    def __init__(self) -> None:
        self.mistakes = 0
        self.warnings = 0

    def fine(self, what: str, note: str = "") -> None:
        out.print(f"[green]✓[/] {safe(what)}{f'  [dim]{safe(note)}[/]' if note else ''}", soft_wrap=True)

    def problem(self, problem: Problem) -> None:
        if problem.warning:
            self.warnings += 1
            out.print(f"[yellow]![/] {safe(problem.path)}: {safe(problem.message)}", soft_wrap=True)
        else:
            self.mistakes += 1
            out.print(f"[red]✗[/] {safe(problem.path)}: {safe(problem.message)}", soft_wrap=True)


async def check(config: Path | None, *, apply: bool = False) -> int:
    """Print the report; the exit status is 1 when something would keep the service from working."""
    report = _Report()
    file = settings.find(config)
    configured = _settings(file, report)
    if configured is not None:
        _workflows(configured, report)
        await _media(configured, report)
        await _api(configured, report)
        await _outside(configured, report)
        await _notifications(configured, report, apply=apply)
    if report.mistakes:
        err.print(f"[red]{report.mistakes} mistake{'s' if report.mistakes > 1 else ''}[/]")
        return 1
    out.print(f"[green]all is well[/]{f', {report.warnings} warnings' if report.warnings else ''}", soft_wrap=True)
    return 0


def _settings(file: Path, report: _Report) -> Settings | None:
    try:
        configured = settings.load(file)
    except ConfigurationError as error:
        for problem in error.problems:
            report.problem(problem)
        # The workflows are worth a look all the same, so that nobody has to mend one file to hear of the next.
        _, problems = files.load_workflows(settings.workflow_folder(file))
        for problem in problems:
            report.problem(problem)
        return None
    counts = (
        f"{len(configured.storages)} storages, {len(configured.sources)} sources, {len(configured.notifiers)} notifiers"
    )
    report.fine(f"settings {file}", counts)
    for name, entries in (("sources", configured.sources), ("storages", configured.storages)):
        if not entries:
            report.problem(Problem(name, "none are configured, so no object will be heard of", warning=True))
    return configured


def _workflows(configured: Settings, report: _Report) -> None:
    found = catalog.read(configured)
    for problem in found.problems:
        report.problem(problem)
    enabled = sum(1 for item in found.workflows if item.workflow.enabled)
    report.fine(f"workflows {configured.workflows}", f"{len(found.workflows)} right, {enabled} enabled")
    if not enabled:
        report.problem(
            Problem(str(configured.workflows), "no workflow is enabled: `watcher workflows enable NAME`", warning=True)
        )


async def _media(configured: Settings, report: _Report) -> None:
    try:
        tools = await daemon.media_tools(configured)
    except ConfigurationError as error:
        for problem in error.problems:
            report.problem(problem)
        return
    contained, program = tools.containment, tools.program
    version, missing = await ffmpeg.capabilities(program)
    for name in missing:
        report.problem(Problem("media.ffmpeg", f"{program} has no {name}"))
    report.fine(f"ffmpeg {version}", str(program))
    if not await asyncio.to_thread(fonts.installed, configured.media.fonts):
        advice = "no font is installed, so text watermarks and subtitles would fail: install fonts-dejavu-core"
        report.problem(Problem("media.fonts", advice, warning=True))
    if configured.media.hardware != "off":
        report.fine(f"encoding in {tools.hardware or 'software: no hardware encoder works here'}")
    report.fine(f"containment {contained.kind}")
    if contained.kind != "bubblewrap":
        advice = "install bubblewrap (and allow user namespaces) to run ffmpeg without network and without your files"
        report.problem(Problem("media.containment", advice, warning=True))


async def _api(configured: Settings, report: _Report) -> None:
    given = configured.api
    if given.listen is None:
        return
    try:
        context = serving.tls(given)
    except ConfigurationError as error:
        for problem in error.problems:
            report.problem(problem)
        return
    count = len(given.credentials)
    if configured.state.exists:
        async with State(configured.state) as state:
            count += len(await state.credentials.list())
    report.fine(f"api {'https' if context else 'http'}://{given.listen}", f"{count} key pairs")
    if not count:
        advice = "nobody can call the API: `watcher credentials create` makes a key pair"
        report.problem(Problem("api.credentials", advice, warning=True))


async def _outside(configured: Settings, report: _Report) -> None:
    """Storages, sources and notifiers at once: each may take its time to answer."""
    parts: list[tuple[str, Callable[[], Awaitable[None]]]] = []
    for name, storage in configured.storages.items():

        async def reach(storage: object = storage) -> None:
            async with storage as opened:  # type: ignore[attr-defined]
                await opened.check()

        parts.append((f"storages.{name}", reach))
    parts += [(f"sources.{name}", source.check) for name, source in configured.sources.items() if _alone(source)]
    parts += [(f"notifiers.{name}", notifier.check) for name, notifier in configured.notifiers.items()]
    results = await asyncio.gather(*(_try(action) for _, action in parts))
    for (name, _), problem in zip(parts, results, strict=True):
        if problem is None:
            report.fine(name, "can be reached")
        else:
            report.problem(Problem(name, problem))


async def _notifications(configured: Settings, report: _Report, *, apply: bool) -> None:
    """Whether buckets tell of what enabled workflows wait for; ``apply`` has them do it."""
    found = catalog.read(configured)
    stored = [StoredWorkflow(number, b"", "", item.workflow) for number, item in enumerate(found.workflows)]
    current = Catalog(stored, found.templates, configured.regions)
    async with AsyncExitStack() as stack:
        try:
            for storage in configured.storages.values():
                await stack.enter_async_context(storage)
            gaps = await coverage.look(configured, current)
            for gap in gaps:
                if not apply or gap.mended is None:
                    advice = "; `watcher check --apply` writes the right one" if gap.mended is not None else ""
                    report.problem(Problem(gap.storage, f"{gap.message}{advice}", warning=True))
                    continue
                await coverage.apply(configured, gap)
                report.fine(f"{gap.storage}: notifications", "configured now")
        except WatcherError as error:
            report.problem(Problem("notifications", str(error), warning=not apply))
            return
    if not gaps and any(isinstance(source, SqsSource) for source in configured.sources.values()):
        report.fine("notifications", "buckets tell of what enabled workflows wait for")


def _alone(source: object) -> bool:
    """Whether a source can be checked by itself; those over a storage are as good as that storage."""
    return not hasattr(source, "_storage")


async def _try(action: Callable[[], Awaitable[None]]) -> str | None:
    try:
        async with asyncio.timeout(TIMEOUT):
            await action()
    except TimeoutError:
        return f"no answer within {TIMEOUT:.0f} seconds"
    except WatcherError as error:
        return str(error)
    return None
