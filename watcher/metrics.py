"""What an operator watches: one page in the Prometheus text format, and whether the service is alive and ready.

Counters are since the start of the process; gauges are asked of the state when somebody looks.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from watcher import log
from watcher.dispatcher import Dispatcher
from watcher.errors import ConfigurationError, Problem, WatcherError
from watcher.listening import listening
from watcher.runner import Runner
from watcher.sources.base import Source
from watcher.sources.s3_poll import S3PollSource
from watcher.state.store import State

if TYPE_CHECKING:
    from aiohttp import web

_log = log.get("metrics")

OUTCOMES = ("new", "duplicate", "existing", "own_output", "stale", "ignored", "archived")
Sample = tuple[dict[str, str], float]


class Metrics:
    """See the module. ``alive`` says whether each part makes progress."""

    def __init__(
        self,
        state: State,
        dispatcher: Dispatcher,
        runner: Runner,
        sources: Sequence[Source],
        alive: Callable[[], bool],
    ) -> None:
        self._state = state
        self._dispatcher = dispatcher
        self._runner = runner
        self._sources = sources
        self.alive = alive

    @property
    def ready(self) -> bool:
        """Whether what is dropped now is heard of."""
        return self._dispatcher.listening.is_set()

    async def page(self) -> bytes:
        """The metrics, in the text format of Prometheus."""
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest  # noqa: PLC0415
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

        found = [*self._events(), *self._sweeps(), *await self._of_state()]

        class Snapshot:
            def collect(self) -> Iterator[Any]:
                for name, kind, text, samples in found:
                    family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
                    labels = list(samples[0][0]) if samples else []
                    metric = family(f"watcher_{name}", text, labels=labels)
                    for given, value in samples:
                        metric.add_metric([given[label] for label in labels], value)
                    yield metric

        registry = CollectorRegistry()
        registry.register(Snapshot())
        ProcessCollector(registry=registry)
        return generate_latest(registry)

    def _events(self) -> Iterator[tuple[str, str, str, list[Sample]]]:
        counters = self._dispatcher.counters
        tally = counters.tally
        outcomes = {name: getattr(tally, name) for name in OUTCOMES} | {
            "irrelevant": counters.ignored, "settling": counters.settling, "quarantined": counters.quarantined,
            "released": counters.released,
        }  # fmt: skip
        yield "events_received", "counter", "Object events and other records heard of.", [({}, counters.received)]
        samples: list[Sample] = [({"outcome": name}, value) for name, value in outcomes.items()]
        yield "events", "counter", "What became of them; the sum is what was received.", samples
        yield "found_by_sweep", "counter", "New objects that only a listing told of.", [({}, tally.found)]
        told = [({"storage": name}, float(value)) for name, value in counters.told.items()]
        yield "objects_told", "counter", "New objects that a notification told of, by storage.", told
        only = [({"storage": name}, float(value)) for name, value in counters.untold.items()]
        yield "objects_untold", "counter", "New objects that only a listing told of, by storage.", only
        yield (
            "notification_delay_seconds", "gauge",
            "Seconds between LastModified and commit of the newest notified object, by two clocks.",
            [({"storage": name}, value) for name, value in counters.delay.items()],
        )  # fmt: skip
        up: list[Sample] = [
            ({"source": source.name}, 0.0 if source.name in self._dispatcher.troubles else 1.0)
            for source in self._sources
        ]
        yield "source_up", "gauge", "Whether a source can be reached.", up
        yield "tasks_running", "gauge", "Tasks that run in this process.", [({}, self._runner.running)]

    def _sweeps(self) -> Iterator[tuple[str, str, str, list[Sample]]]:
        swept = [source for source in self._sources if isinstance(source, S3PollSource)]
        facts = {
            "list_requests": ("counter", "LIST requests.", "requests"),
            "sweeps": ("counter", "Complete sweeps.", "sweeps"),
            "sweep_keys": ("gauge", "Keys that the last sweep listed.", "keys"),
            "sweep_missing": ("gauge", "Known versions that the last sweep did not list.", "missing"),
            "sweep_seconds": ("gauge", "How long the last sweep took.", "seconds"),
            "sweep_held": ("gauge", "Whether the last listing lacked so much that it is not believed.", "held"),
        }
        for name, (kind, text, attribute) in facts.items():
            samples: list[Sample] = [
                ({"source": source.name}, float(getattr(source.spend, attribute))) for source in swept
            ]
            yield name, kind, text, samples
        ages: list[Sample] = [
            ({"source": source.name}, time.time() - source.spend.finished) for source in swept if source.spend.finished
        ]
        yield "sweep_age_seconds", "gauge", "Seconds since the last complete sweep.", ages

    async def _of_state(self) -> list[tuple[str, str, str, list[Sample]]]:
        counts = await self._state.tasks.counts()
        tasks: list[Sample] = [({"status": name}, float(number)) for name, number in counts.items()]
        outbox = await self._state.outbox.backlog()
        events: list[Sample] = [({"status": name}, float(number)) for name, number in outbox.items()]
        unready = await self._state.unready.counts()
        oldest = await self._state.tasks.oldest_waiting()
        age = max(0.0, time.time() - oldest) if oldest is not None else 0.0
        kept: list[Sample] = [({"source": name}, float(n)) for name, n in (await self._state.spool.counts()).items()]
        quarantined = float(await self._state.quarantine.count())
        return [
            ("tasks", "gauge", "Tasks by status; failed ones are among the finished.", tasks),
            ("oldest_unlaunched_seconds", "gauge", "Age of the oldest task that waits.", [({}, age)]),
            ("task_events", "gauge", "Task events by status: PENDING, DELIVERED, DEAD.", events),
            ("quarantine", "gauge", "Messages that nobody could read.", [({}, quarantined)]),
            ("spool", "gauge", "Messages that were taken and are not committed yet, by source.", kept),
            (
                "unready_objects", "gauge", "Objects that can't be read: not there yet, archived, never came.",
                [({"state": name.lower()}, float(number)) for name, number in unready.items()],
            ),
        ]  # fmt: skip


@asynccontextmanager
async def serving(metrics: Metrics, listen: str | None) -> AsyncIterator[None]:
    """Answer on an address while the context lasts; not at all where there is none."""
    if listen is None:
        yield
        return
    from aiohttp import web  # noqa: PLC0415  a tenth of a second

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="this can only be read\n")
        if request.path == "/healthz":
            return web.Response(text="ok\n") if metrics.alive() else web.Response(status=503, text="it hangs\n")
        if request.path == "/readyz":
            return web.Response(text="ok\n") if metrics.ready else web.Response(status=503, text="not yet\n")
        if request.path != "/metrics":
            return web.Response(status=404, text="there is /metrics, /healthz and /readyz\n")
        try:
            body = await metrics.page()
        except WatcherError as error:
            _log.warning("metrics can't be had", error=str(error))
            return web.Response(status=503, text="the state can't be read\n")
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    try:
        async with listening(answer, listen, shutdown=0.5):
            yield
    except OSError as error:
        raise ConfigurationError([Problem("metrics.listen", f"{listen} can't be listened on: {error}")]) from None
