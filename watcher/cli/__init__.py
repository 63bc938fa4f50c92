"""The command line. Each command imports what it needs when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from watcher import __version__
from watcher.errors import ConfigurationError, WatcherError

app = typer.Typer(
    help="Drop a file in a bucket, and what should happen to it happens: once, fast, and visibly.\n\n"
    "Try `watcher demo` first: it needs no server, no account and no configuration.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
tasks = typer.Typer(help="Look at tasks, end them, run them again.", no_args_is_help=True)
workflows = typer.Typer(help="Look at workflows, switch them on and off, try their triggers.", no_args_is_help=True)
app.add_typer(tasks, name="tasks")
app.add_typer(workflows, name="workflows")
credentials = typer.Typer(help="Key pairs that may call the API: make, list, revoke.", no_args_is_help=True)
app.add_typer(credentials, name="credentials")
quarantine = typer.Typer(help="Messages of sources that nobody could read: look, and read again.", no_args_is_help=True)
app.add_typer(quarantine, name="quarantine")
events = typer.Typer(help="Task events that were given up: look, and send again.", no_args_is_help=True)
app.add_typer(events, name="events")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The configuration file; else $WATCHER_CONFIG, config/watcher.yaml, /etc/watcher/watcher.yaml.",
    ),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"watcher {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def run(config: Config = None) -> None:
    """Run the service: hear of objects, process them, publish events.

    SIGTERM (or Ctrl-C) stops receiving and lets running tasks end; a second one does not wait. SIGHUP reads
    workflows and templates anew.
    """
    import asyncio
    import signal

    # As in __main__: the daemon listens to signals when it has something to put in order.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from watcher import log, settings
    from watcher.daemon import Daemon

    file = settings.find(config)
    log.setup(*settings.log_choice(file))
    asyncio.run(Daemon(file).run())


@app.command()
def demo(
    directory: Annotated[Path, typer.Option(help="Where the demo is made.")] = Path("watcher-demo"),
) -> None:
    """See it work: two buckets that are directories, one clip, one workflow, all its outputs."""
    import asyncio

    from watcher.cli.demo import demo as make

    raise typer.Exit(asyncio.run(make(directory)))


@app.command()
def check(
    apply: Annotated[
        bool, typer.Option("--apply", help="Have buckets tell their queue of what enabled workflows wait for.")
    ] = False,
    config: Config = None,
) -> None:
    """Check everything a run would need: settings, workflows, buckets and what they tell, queues, brokers, ffmpeg."""
    import asyncio

    from watcher.cli.check import check as examine

    raise typer.Exit(asyncio.run(examine(config, apply=apply)))


@app.command()
def process(
    uri: Annotated[
        str,
        typer.Argument(
            help="The object: STORAGE/KEY, s3://BUCKET/KEY, cos://BUCKET/KEY, or a file below a local storage."
        ),
    ],
    workflow: Annotated[str, typer.Option("--workflow", "-w", help="Name of the workflow; it need not be enabled.")],
    config: Config = None,
) -> None:
    """Process one object now, and show how it goes."""
    import asyncio

    from watcher.cli.process import process as work_on

    raise typer.Exit(asyncio.run(work_on(config, uri, workflow)))


@tasks.command("list")
def tasks_list(
    status: Annotated[str | None, typer.Option(help="Only WAITING, PROCESSING or FINISH.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20,
    config: Config = None,
) -> None:
    """List tasks, newest first."""
    import asyncio

    from watcher.cli.tasks import show_list

    asyncio.run(show_list(config, status, limit))


@tasks.command("show")
def tasks_show(
    task_id: Annotated[str, typer.Argument(help="A task id, or enough of it to be unique.")],
    json: Annotated[bool, typer.Option("--json", help="As the WorkflowTask object of the MPS model.")] = False,
    config: Config = None,
) -> None:
    """Show a task: its source, each sub-task with its outputs or its error, and where its events went."""
    import asyncio

    from watcher.cli.tasks import show

    asyncio.run(show(config, task_id, as_json=json))


@tasks.command("abort")
def tasks_abort(task_id: str, config: Config = None) -> None:
    """End a task that waits or runs."""
    import asyncio

    from watcher.cli.tasks import abort

    asyncio.run(abort(config, task_id))


@tasks.command("retry")
def tasks_retry(
    task_id: Annotated[str, typer.Argument(help="A task id, or enough of it to be unique.")], config: Config = None
) -> None:
    """Run a finished task again, and send events again that were given up."""
    import asyncio

    from watcher.cli.tasks import retry

    asyncio.run(retry(config, task_id))


@workflows.command("list")
def workflows_list(config: Config = None) -> None:
    """List workflows and schedules: those of files, and those that requests made."""
    import asyncio

    from watcher.cli.workflows import show_list

    asyncio.run(show_list(config))


@workflows.command("enable")
def workflows_enable(
    name: str,
    existing: Annotated[
        str,
        typer.Option(
            help="What to do with objects that are there already: `from-now` starts none of them, `backfill` all, "
            "after those that come, and `preview` only counts them and enables nothing."
        ),
    ] = "from-now",
    config: Config = None,
) -> None:
    """Enable a workflow: sets `Enabled: true` in its file (or in the state), and tells a running service."""
    import asyncio

    from watcher.cli.replay import backfill_of, dry_run
    from watcher.cli.workflows import switch

    if existing not in ("from-now", "backfill", "preview"):
        raise typer.BadParameter("use from-now, backfill or preview", param_hint="--existing")
    if existing == "preview":
        raise typer.Exit(asyncio.run(dry_run(config, name, 20)))
    asyncio.run(switch(config, name, on=True))
    if existing == "backfill":
        asyncio.run(backfill_of(config, name))


@workflows.command("disable")
def workflows_disable(name: str, config: Config = None) -> None:
    """Disable a workflow: sets `Enabled: false` in its file (or in the state), and tells a running service."""
    import asyncio

    from watcher.cli.workflows import switch

    asyncio.run(switch(config, name, on=False))


@workflows.command("match")
def workflows_match(
    uri: Annotated[str, typer.Argument(help="STORAGE/KEY; the object need not exist.")], config: Config = None
) -> None:
    """Which workflows would this object start? And for the others: which condition fails?"""
    import asyncio

    from watcher.cli.workflows import match

    raise typer.Exit(asyncio.run(match(config, uri)))


@app.command()
def explain(
    uri: Annotated[str, typer.Argument(help="STORAGE/KEY, s3://BUCKET/KEY, or a file below a local storage.")],
    config: Config = None,
) -> None:
    """Why did this object start something, or why didn't it?"""
    import asyncio

    from watcher.cli.explain import explain as say

    raise typer.Exit(asyncio.run(say(config, uri)))


@app.command()
def replay(
    uri: Annotated[str, typer.Argument(help="STORAGE/KEY, or STORAGE/PREFIX for all below it; STORAGE for all.")],
    workflow: Annotated[str | None, typer.Option(help="Only this workflow, not all that match.")] = None,
    since: Annotated[str | None, typer.Option(help="Only objects modified since, e.g. 2026-11-20T08:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Only objects modified before.")] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Only what has no task yet; else tasks that ended run once more too.")
    ] = False,
    config: Config = None,
) -> None:
    """Start the enabled workflows for objects that are there: one, those below a prefix, those of a time."""
    import asyncio

    from watcher.cli.replay import replay as run

    raise typer.Exit(asyncio.run(run(config, uri, workflow, since, until, again=not missing)))


@app.command("dry-run")
def dry_run(
    workflow: Annotated[str, typer.Argument(help="The name of a workflow, enabled or not, or a workflow file.")],
    limit: Annotated[int, typer.Option(min=0, help="How many objects to show.")] = 20,
    config: Config = None,
) -> None:
    """List the bucket of a workflow and say what it would start; nothing is started."""
    import asyncio

    from watcher.cli.replay import dry_run as run

    raise typer.Exit(asyncio.run(run(config, workflow, limit)))


@events.command("list")
def events_list(
    waiting: Annotated[bool, typer.Option("--waiting", help="Also those that are still tried.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, oldest first.")] = 50,
    config: Config = None,
) -> None:
    """List task events that were given up: where they should have gone, and why they did not."""
    import asyncio

    from watcher.cli.events import show_list

    asyncio.run(show_list(config, limit, waiting=waiting))


@events.command("retry")
def events_retry(
    number: Annotated[int | None, typer.Argument(help="One event's number; unset: all that were given up.")] = None,
    config: Config = None,
) -> None:
    """Send events again that were given up."""
    import asyncio

    from watcher.cli.events import retry

    raise typer.Exit(asyncio.run(retry(config, number)))


@quarantine.command("list")
def quarantine_list(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, newest first.")] = 20, config: Config = None
) -> None:
    """List what is in quarantine, and why."""
    import asyncio

    from watcher.cli.quarantine import show_list

    asyncio.run(show_list(config, limit))


@quarantine.command("show")
def quarantine_show(number: int, config: Config = None) -> None:
    """Show a message as it came."""
    import asyncio

    from watcher.cli.quarantine import show

    asyncio.run(show(config, number))


@quarantine.command("retry")
def quarantine_retry(number: int, config: Config = None) -> None:
    """Read a message again, after the settings were mended or with a newer version."""
    import asyncio

    from watcher.cli.quarantine import retry

    raise typer.Exit(asyncio.run(retry(config, number)))


@credentials.command("create")
def credentials_create(
    rights: Annotated[
        str, typer.Option(help="`read` looks, `operator` also starts and switches, `admin` also makes and changes.")
    ] = "admin",
    bucket: Annotated[
        list[str] | None, typer.Option(help="A bucket it may name, with * for any text; may be given again.")
    ] = None,
    config: Config = None,
) -> None:
    """Make a key pair for the API and show it: the secret half is shown this once."""
    import asyncio

    from watcher.cli.credentials import create

    asyncio.run(create(config, rights, tuple(bucket or ["*"])))


@credentials.command("list")
def credentials_list(config: Config = None) -> None:
    """List the key pairs, of the settings and of `watcher credentials create`."""
    import asyncio

    from watcher.cli.credentials import show_list

    asyncio.run(show_list(config))


@credentials.command("revoke")
def credentials_revoke(secret_id: str, config: Config = None) -> None:
    """Forget a key pair: from now on it opens nothing."""
    import asyncio

    from watcher.cli.credentials import revoke

    asyncio.run(revoke(config, secret_id))


def main() -> None:
    """The program: errors are sentences, never tracebacks."""
    try:
        app()
    except ConfigurationError as error:
        for problem in error.problems:
            typer.echo(f"error: {problem}", err=True)
        sys.exit(2)
    except WatcherError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
