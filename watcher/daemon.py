"""The composition root: settings become objects, objects run in one TaskGroup until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from watcher import catalog, coverage, log, settings, systemd
from watcher.api.base import Service
from watcher.api.pictures import Pictures
from watcher.api.serving import Callers, serving
from watcher.backfilling import Backfiller
from watcher.catalog import Catalog
from watcher.dispatcher import Dispatcher
from watcher.errors import ConfigurationError, Problem, WatcherError
from watcher.executors.embedded import Options as EmbeddedOptions
from watcher.finding import Models
from watcher.media import containment, ffmpeg, hardware
from watcher.media.containment import Containment, Limits
from watcher.media.inference import ModelProcess
from watcher.media.probe import Probe
from watcher.media.spare import Spares
from watcher.media.workdir import WorkRoot
from watcher.metrics import Metrics
from watcher.metrics import serving as serving_metrics
from watcher.model.objects import URL
from watcher.outside import Fetcher, Guard
from watcher.publisher import PUBLISH, Publisher
from watcher.runner import Runner
from watcher.settings import Settings
from watcher.sources.base import Source
from watcher.sources.s3_poll import Options as SweepOptions
from watcher.sources.s3_poll import S3PollSource
from watcher.state.leases import Lease
from watcher.state.schema import DAEMON
from watcher.state.store import State
from watcher.steps._encoders import EncoderOptions
from watcher.storage._url import UrlStorage
from watcher.storage.base import Storage
from watcher.storage.s3 import S3Storage
from watcher.together import is_set
from watcher.verifying import Rules
from watcher.worker import Worker

_log = log.get("daemon")

PURGE_INTERVAL = 3600.0
DRIFT_INTERVAL = 3600.0
LISTEN = 10.0
"""Seconds that sources have to begin to listen before the service says that it is ready all the same."""
SILENCE = 60.0
"""Seconds after which a web server that says nothing is given up."""
OFFLINE_WAIT = 3 * 86_400.0
"""Seconds after which an offline task does not wait for an idle moment any more."""
ALIVE = 30.0
"""Seconds without a sign of life after which the other daemons take over a daemon's tasks."""
HANG = 60.0
"""Seconds without progress of the event loop's parts after which systemd is no longer told that all is well."""


@dataclass(slots=True)
class Parts:
    """Everything that is open while the daemon runs."""

    settings: Settings
    state: State
    worker: Worker
    work: WorkRoot
    runner: Runner
    publisher: Publisher
    dispatcher: Dispatcher
    containment: Containment
    callers: Callers
    service: Service
    owner: str
    found: catalog.Found | None = None

    def use(self, current: Catalog) -> None:
        """Put a catalog in force: for what matches and what starts from now on."""
        self.dispatcher.catalog = current
        self.runner.catalog = current


@dataclass(frozen=True, slots=True)
class MediaTools:
    """What media is processed with: the containment in force, ffmpeg, and the family of hardware encoders, if any."""

    containment: Containment
    program: Path
    hardware: str = ""


async def media_tools(configured: Settings) -> MediaTools:
    """What works on this machine."""
    contained = await containment.detect(configured.media.containment)
    if configured.media.containment == "bubblewrap" and contained.kind != "bubblewrap":
        message = "bubblewrap is asked for, but it is not installed or may not make namespaces here"
        raise ConfigurationError([Problem("media.containment", message)])
    program = ffmpeg.locate(configured.media.ffmpeg)
    family = await hardware.detect(program, configured.media.hardware)
    return MediaTools(contained.with_devices(hardware.devices(family)), program, family)


def make_worker(
    configured: Settings,
    tools: MediaTools,
    work: WorkRoot,
    storages: Mapping[str, Storage] | None = None,
    spares: Spares | None = None,
) -> Worker:
    """The worker that runs units in this process; ``storages`` are those of the settings unless others are given."""
    contained, program = tools.containment, tools.program
    options = configured.executor_options
    assert isinstance(options, EmbeddedOptions)  # noqa: S101  the one executor there is
    limits = Limits(options.memory, int(options.cpu_time), options.output_size)
    return Worker(
        storages=configured.storages if storages is None else storages,
        work=work,
        probe=Probe(contained, limits, spares=spares),
        ffmpeg=ffmpeg.FFmpeg(
            program,
            contained,
            limits,
            options.threads_per_unit,
            timeout=options.timeout,
            stall=options.stall,
            before=hardware.input_options(tools.hardware),
        ),
        encoder=EncoderOptions(configured.media.speed, tools.hardware),
        fonts=configured.media.fonts,
        chunks=configured.media.chunks,
        models=make_models(configured, contained, work),
    )


def make_models(configured: Settings, contained: Containment, work: WorkRoot) -> Models:
    """The providers' processes, none of which is started yet."""
    given = configured.ai
    limits = Limits(given.memory, 365 * 86_400, 1024**2)
    return Models(
        {
            capability: ModelProcess(
                chosen.name,
                json.dumps(chosen.options),
                contained,
                limits,
                [work.path, *chosen.files],
                network=chosen.provider.network,
                idle=given.idle,
                stall=given.stall,
            )
            for capability, chosen in configured.providers.items()
        },
        given.frame_interval,
    )


@asynccontextmanager
async def opened(configured: Settings, tools: MediaTools) -> AsyncIterator[Parts]:
    """Open the state (as its one owner), the storages and what runs on them."""
    contained = tools.containment
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(State(configured.state, max_hops=configured.max_hops))
        state.database.lock()
        owner = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        if state.database.shared:
            await state.leases.take(f"{DAEMON}{owner}", owner, ALIVE)
        work = WorkRoot(configured.work_dir)
        try:
            left = await asyncio.to_thread(work.prepare)
        except OSError as error:
            message = f"{work.path} can't be used: {error.strerror}"
            raise ConfigurationError([Problem("media.work_dir", message)]) from None
        guard = Guard(configured.outside.allow)
        web = UrlStorage(
            Fetcher(guard, SILENCE), max_size=configured.outside.max_size, timeout=configured.outside.timeout
        )
        storages: dict[str, Storage] = {**configured.storages, URL: web}
        for storage in storages.values():
            await stack.enter_async_context(storage)
        await _clean_up(configured, state, left, owner)
        spares = Spares() if configured.media.spare_probe else None
        if spares is not None:
            stack.push_async_callback(spares.close)
        worker = make_worker(configured, tools, work, storages, spares)
        stack.push_async_callback(worker.models.close)
        publisher = Publisher(state, configured.notifiers, guard, owner)
        runner = Runner(
            state,
            worker,
            configured.executor,
            configured.notifiers,
            publisher.wake,
            work_dir=configured.work_dir,
            min_free_space=configured.media.min_free_space,
            owner=owner,
        )
        rules = Rules(configured.discovery.min_size, configured.discovery.versions)
        dispatcher = Dispatcher(state, configured.storages, runner.wake, rules, owner)

        def current() -> Catalog:
            assert runner.catalog is not None, "apply_files() comes first"  # noqa: S101
            return runner.catalog

        service = Service(configured, state, worker, Pictures(), guard, current, runner.wake, runner.end)
        yield Parts(
            configured, state, worker, work, runner, publisher, dispatcher, contained, Callers(service), service, owner
        )
        if state.database.shared:
            with contextlib.suppress(WatcherError):
                await state.leases.give_up(Lease(f"{DAEMON}{owner}", owner, 0))


def sweepers(configured: Settings) -> list[S3PollSource]:
    """A sweep for each bucket that no source lists; what it lists is what enabled workflows watch at the time."""
    if not configured.discovery.sweeps:
        return []
    swept = {source.sweeps for source in configured.sources.values() if isinstance(source, S3PollSource)}
    return [
        S3PollSource(
            f"sweep {name}",
            SweepOptions(
                storage=name,
                prefixes=(),
                interval=configured.discovery.sweep_interval,
                requests_per_month=configured.discovery.requests_per_month,
            ),
            configured.storages,
        )
        for name, storage in configured.storages.items()
        if isinstance(storage, S3Storage) and name not in swept
    ]


async def _clean_up(configured: Settings, state: State, left: int, owner: str) -> None:
    """What a killed daemon left behind: half-written outputs, work directories, claimed tasks."""
    recovered = await _recover(configured.storages, state, owner)
    if left or recovered:
        _log.info("recovered", tasks=recovered, work_directories=left)
    for source, count in (await state.spool.counts()).items():
        if source not in configured.sources:
            _log.warning("messages are kept for a source that the settings do not have", source=source, messages=count)


async def _recover(storages: Mapping[str, Storage], state: State, owner: str) -> int:
    """Put back the tasks of daemons that are gone, and remove what they had half written."""
    lost = await state.tasks.recover(await state.leases.alive(DAEMON) | {owner})
    for storage, key, task_id in await state.outputs.unfinished():
        # Where there is one daemon, nobody else writes now; else only the tasks of dead ones are known to be still.
        if storage in storages and (task_id in lost or not state.database.shared):
            try:
                await storages[storage].discard(key, task_id)
            except WatcherError as error:
                _log.warning("a half-written output can't be removed", object=f"{storage}/{key}", error=str(error))
    return len(lost)


async def apply_files(parts: Parts, found: catalog.Found) -> Catalog:
    """Make the state hold the workflows of the files, and put them in force beside those that requests made."""
    parts.found = found
    await parts.state.workflows.apply([(str(item.path), item.workflow) for item in found.workflows])
    return await refresh(parts)


async def refresh(parts: Parts) -> Catalog:
    """Put in force what the state holds by now, with the templates of the files."""
    assert parts.found is not None, "apply_files() comes first"  # noqa: S101
    before = parts.dispatcher.catalog
    while True:
        changes = before.changes if before is not None else 0
        revision = await parts.state.workflows.changes() if parts.state.database.shared else None
        stored = await parts.state.workflows.list()
        current = Catalog(stored, parts.found.templates.copy(), parts.settings.regions, revision, parts.found.samples)
        for template in await parts.state.templates.list():
            current.put_template(template)
        if before is None or before.changes == changes:  # else a request changed something meanwhile
            parts.use(current)
            return current


class Daemon:
    """``watcher run``."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._reload = asyncio.Event()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; raises ConfigurationError when it can't start."""
        started = time.monotonic()
        configured = await asyncio.to_thread(settings.load, self._file)
        tools = asyncio.create_task(media_tools(configured))
        found = await asyncio.to_thread(catalog.read, configured)
        mistakes = [problem for problem in found.problems if not problem.warning]
        if mistakes:
            raise ConfigurationError(mistakes)
        self._install_signals()
        async with opened(configured, await tools) as parts:
            current = await apply_files(parts, found)
            for problem in found.problems:
                _log.warning("workflow", where=problem.path, note=problem.message)

            async def again() -> None:
                await refresh(parts)

            parts.dispatcher.refresh = parts.runner.refresh = again
            self._greet(parts, current)
            parts.worker.probe.prepare()
            sources = [*configured.sources.values(), *sweepers(configured)]
            measured = Metrics(parts.state, parts.dispatcher, parts.runner, sources, lambda: _progresses(parts))
            async with serving(parts.service, parts.callers), serving_metrics(measured, configured.metrics.listen):
                await self._serve(parts, sources, started)
        systemd.notify(STATUS="stopped")
        _log.info("stopped")

    def _greet(self, parts: Parts, current: Catalog) -> None:
        strength = "own namespaces, no network" if parts.containment.kind == "bubblewrap" else "resource limits only"
        _log.info("containment of ffmpeg", kind=parts.containment.kind, means=strength)
        if not parts.settings.sources:
            _log.warning("no sources are configured: no object will be heard of")
        if not current.enabled:
            _log.warning("no workflow is enabled: objects are recorded and start nothing")

    async def _ready(self, parts: Parts, started: float) -> None:
        """Ready is: what is dropped from now on is heard of."""
        await is_set(parts.dispatcher.listening, LISTEN)
        calm()
        current = parts.dispatcher.catalog
        assert current is not None  # noqa: S101
        seconds = round(time.monotonic() - started, 2)
        _log.info("ready", workflows=len(current.workflows), enabled=current.enabled, seconds=seconds)
        systemd.notify(READY=1, STATUS=f"{current.enabled} workflows enabled")

    def _install_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)

    def _on_stop(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _serve(self, parts: Parts, sources: Sequence[Source], started: float) -> None:
        dispatching = asyncio.create_task(parts.dispatcher.run(sources), name="dispatcher")
        running = asyncio.create_task(parts.runner.run(), name="runner")
        publishing = asyncio.create_task(parts.publisher.run(), name="publisher")
        backfiller = Backfiller(
            parts.state,
            parts.settings.storages,
            parts.dispatcher.verifier,
            parts.dispatcher.in_force,
            parts.runner.wake,
            parts.dispatcher.leads,
        )
        helpers = [
            asyncio.create_task(backfiller.run(), name="backfills"),
            asyncio.create_task(self._reloads(parts), name="reload"),
            asyncio.create_task(self._alive(parts), name="watchdog"),
            asyncio.create_task(self._purge(parts), name="purge"),
            asyncio.create_task(self._drift(parts), name="drift of notifications"),
        ]
        if parts.state.database.shared:
            helpers.append(asyncio.create_task(self._among_others(parts), name="other daemons"))
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        greeting = asyncio.create_task(self._ready(parts, started), name="ready")
        essential: list[asyncio.Task[None]] = [dispatching, running, publishing, *helpers]
        try:
            await asyncio.wait([stop, *essential], return_when=asyncio.FIRST_COMPLETED)
            for task in essential:
                if task.done():
                    _raise_first(task)
            await self._wind_down(parts, dispatching)
        finally:
            stop.cancel()
            greeting.cancel()
            for task in essential:
                task.cancel()
            await asyncio.gather(stop, greeting, *essential, return_exceptions=True)

    async def _wind_down(self, parts: Parts, dispatching: asyncio.Task[None]) -> None:
        """Stop receiving at once, let tasks end, send the events that are ready."""
        drain = parts.settings.drain
        systemd.notify(STOPPING=1, STATUS="draining", EXTEND_TIMEOUT_USEC=int((drain + 30) * 1_000_000))
        _log.info("stopping", running=parts.runner.running)
        dispatching.cancel()
        await asyncio.wait([dispatching])
        draining = asyncio.create_task(parts.runner.drain(drain))
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():  # a second signal: do not wait
            draining.cancel()
            await asyncio.wait([draining])
            await parts.runner.drain(0)
        hurry.cancel()
        await parts.publisher.flush(min(5.0, drain))

    async def _reloads(self, parts: Parts) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            systemd.notify(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
            await self._reload_once(parts)
            systemd.notify(READY=1)

    async def _reload_once(self, parts: Parts) -> None:
        """Workflows and templates are read anew; if anything is wrong, the old set stays in force as a whole."""
        found = await asyncio.to_thread(catalog.read, parts.settings)
        mistakes = [problem for problem in found.problems if not problem.warning]
        for problem in found.problems:
            _log.log(40 if not problem.warning else 30, "workflow", where=problem.path, note=problem.message)
        if mistakes:
            _log.error("reload refused, the old workflows stay in force", mistakes=len(mistakes))
            return
        try:
            current = await apply_files(parts, found)
        except WatcherError as error:
            _log.error("reload failed, the old workflows stay in force", error=str(error))
            return
        await parts.callers.load()
        parts.runner.wake()
        _log.info("reloaded", workflows=len(current.workflows), enabled=current.enabled)

    async def _alive(self, parts: Parts) -> None:
        """Tell systemd that all is well, as long as each part makes progress."""
        interval = systemd.watchdog_interval()
        while True:
            await asyncio.sleep(interval or 3600.0)
            if interval is not None and _progresses(parts):
                systemd.notify(WATCHDOG=1, STATUS=self._status(parts))

    def _status(self, parts: Parts) -> str:
        counters = parts.dispatcher.counters
        said = [f"{counters.received} events, {counters.tally.new} new objects, {parts.runner.running} tasks running"]
        said += [f"sweeping {what}: {listed} keys so far" for what, listed in parts.dispatcher.sweeping().items()]
        return "; ".join(said)

    async def _among_others(self, parts: Parts) -> None:
        """Say that this daemon lives, take over what dead ones left, and learn what others changed."""
        said = 0.0
        while True:
            try:
                if time.monotonic() - said > ALIVE / 3:
                    await parts.state.leases.take(f"{DAEMON}{parts.owner}", parts.owner, ALIVE)
                    said = time.monotonic()
                    lost = await _recover(parts.settings.storages, parts.state, parts.owner)
                    if lost:
                        _log.warning("taking over from a daemon that is gone", tasks=lost)
                        parts.runner.wake()
                    for prefix in (DAEMON, PUBLISH):  # addresses of tasks come and go
                        await parts.state.leases.purge(prefix, 86_400.0)
                current = parts.dispatcher.catalog
                if current is not None and await parts.state.workflows.changes() != current.revision:
                    await refresh(parts)
            except WatcherError as error:
                _log.warning("the shared state can't be reached", error=str(error))
            await asyncio.sleep(1.0)

    async def _drift(self, parts: Parts) -> None:
        """Say when buckets stop telling of what workflows wait for: by their configuration, and by what sweeps find."""
        told: Counter[str] = Counter()
        untold: Counter[str] = Counter()
        counters = parts.dispatcher.counters
        while True:
            try:
                gaps = await coverage.look(parts.settings, parts.dispatcher.in_force())
            except WatcherError as error:
                _log.warning("notifications can't be checked", error=str(error))
            else:
                for gap in gaps:
                    _log.warning("notifications", where=gap.storage, note=gap.message)
            await asyncio.sleep(DRIFT_INTERVAL)
            for storage, found in counters.untold.items():
                new, heard = found - untold[storage], counters.told[storage] - told[storage]
                if heard and new / (new + heard) > parts.settings.discovery.alarm_share:
                    note = "notifications get lost; `watcher check` looks at their configuration"
                    _log.warning("found by a sweep only", storage=storage, objects=new, notified=heard, note=note)
            told, untold = Counter(counters.told), Counter(counters.untold)

    async def _purge(self, parts: Parts) -> None:
        while True:
            with contextlib.suppress(WatcherError):
                await parts.state.tasks.purge(time.time() - parts.settings.retention.tasks)
                await parts.state.unready.purge(time.time())
                await parts.state.fingerprints.purge(time.time() - parts.settings.retention.tasks)
                await parts.state.tasks.hurry(time.time() - OFFLINE_WAIT)
            await asyncio.sleep(PURGE_INTERVAL)


def calm() -> None:
    """Keep the event loop from waiting long for anything else in this process; to be called when all is loaded.

    Threads of the state and of sweeps give way after a millisecond. Objects that stay for ever are left out of garbage
    collections: those of the libraries alone would stop everything for a tenth of a second, about once a second while a
    bucket is swept.
    """
    sys.setswitchinterval(0.001)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _progresses(parts: Parts) -> bool:
    """Whether each part does something now and then."""
    return time.monotonic() - min(parts.runner.progress, parts.publisher.progress) < HANG


def _raise_first(task: asyncio.Task[None]) -> None:
    """Raise what ended a part of the daemon: its own error, not the group it came in."""
    error = task.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error
