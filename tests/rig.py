"""Discovery as the daemon runs it, in this process, over a store that fails on purpose; and the oracle of every test.

The oracle is O1 … O5: exactly one task for each version that matches and is current, none for anything else, no
message deleted before its commit, none that vanishes, and counters that add up.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import aiohttp
from pydantic import SecretStr

from tests import parts
from tests.faulty import FaultyStore, Version
from watcher.catalog import Catalog
from watcher.dispatcher import Dispatcher
from watcher.model.objects import place_of
from watcher.model.workflow import Workflow
from watcher.mps import files, wire
from watcher.sources import s3_poll, sqs, webhook
from watcher.sources.base import Source
from watcher.state.store import State
from watcher.storage import s3
from watcher.verifying import Rules

BUCKET = "media-1250000000"


def daemon_settings(store: FaultyStore, **changes: Any) -> dict[str, Any]:
    """Of a daemon with a queue and sweeps. It starts nothing, for no disk has so much space: tasks are to be seen."""
    reach = {"endpoint_url": store.url, "access_key": "k", "secret_key": "s", "region": "ap-guangzhou"}
    return {
        "storages": {BUCKET: {"type": "s3", "addressing": "path", **reach}},
        "sources": {
            "queue": {"type": "sqs", "queue_url": store.queue_url, "visibility_timeout": 10, **reach},
            "sweep": {"type": "s3_poll", "storage": BUCKET, "interval": 0.3, "requests_per_month": 0},
        },
        "media": {"min_free_space": 2**60},
        **changes,
    }


@dataclass
class Discovery:
    """A dispatcher with sources over a faulty store. ``start`` after ``crash`` is the service started again."""

    store: FaultyStore
    path: Path
    rules: Rules = field(default_factory=Rules)
    workflow: dict[str, Any] = field(default_factory=dict)
    """Members of the workflow that each storage has, where they are not the usual ones."""
    poll: dict[str, Any] | None = None
    queue: bool = True
    hook: dict[str, Any] | None = None
    """Options of a source of posted notifications."""
    receivers: int = 2
    storages: tuple[str, ...] = (BUCKET,)

    def __post_init__(self) -> None:
        self.early: list[str] = []
        self.port = parts.free_port()
        self.store.on_delete = self._deleted

    async def __aenter__(self) -> Discovery:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.crash()

    async def start(self, **changes: Any) -> None:
        """Start, with a workflow that was changed if asked for."""
        reach = {"endpoint_url": self.store.url, "access_key": "k", "secret_key": "s", "region": "us-east-1"}
        self.state = await State(self.path).__aenter__()
        self._open = [s3.S3Storage(name, s3.Options(addressing="path", **reach)) for name in self.storages]
        storages = {storage.name: await storage.__aenter__() for storage in self._open}
        sources: list[Source] = []
        if self.queue:
            options = sqs.Options(
                queue_url=self.store.queue_url, receivers=self.receivers, visibility_timeout=10, **reach
            )
            sources.append(sqs.SqsSource("queue", options, storages))
        if self.hook is not None:
            listens = webhook.Options(listen=f"127.0.0.1:{self.port}", token=SecretStr("t"), **self.hook)
            sources.append(webhook.WebhookSource("hook", listens, storages))
        if self.poll is not None:
            for name in self.storages:
                swept = s3_poll.Options(storage=name, **{"interval": 0.2, "requests_per_month": 0, **self.poll})
                sources.append(s3_poll.S3PollSource(f"sweep {name}", swept, storages))
        self.sources = sources
        self.dispatcher = Dispatcher(self.state, storages, lambda: None, self.rules)
        await self.apply(**changes)
        self._running = asyncio.create_task(self.dispatcher.run(sources))

    async def post(self, session: aiohttp.ClientSession, body: str, patience: float = 20) -> int:
        """The answer to a notification; 0 where there was none."""
        headers, timeout = {"Authorization": "Bearer t"}, aiohttp.ClientTimeout(total=patience)
        try:
            address = f"http://127.0.0.1:{self.port}/"
            async with session.post(address, data=body, headers=headers, timeout=timeout) as answer:
                return answer.status
        except (TimeoutError, aiohttp.ClientError):
            return 0

    async def apply(self, **changes: Any) -> None:
        """Put the workflows in force."""
        self.workflow = {**self.workflow, **changes}
        bodies = [
            parts.workflow(name, **{**self.workflow, "WorkflowName": f"of {name}", "Trigger": parts.trigger(name)})
            for name in self.storages
        ]
        stored = await self.state.workflows.apply([("w", wire.decode(Workflow, body)) for body in bodies])
        self.dispatcher.catalog = Catalog(stored, files.Templates(), {})

    async def crash(self) -> None:
        """End it in the middle of whatever it does."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        for storage in self._open:
            await storage.__aexit__(None, None, None)
        await self.state.__aexit__(None, None, None)

    async def until(self, condition: Callable[[], Any], timeout: float = 40) -> None:
        """Wait for it; a coroutine function is asked again and again."""
        deadline = time.monotonic() + timeout
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            if self._running.done():
                self._running.result()
            assert time.monotonic() < deadline, f"not within {timeout} s"
            await asyncio.sleep(0.02)

    async def drained(self) -> None:
        """Wait until the queue is empty and nothing is on its way."""
        await self.until(lambda: not self.store.queue)
        await self.settled()

    async def settled(self) -> None:
        """Wait until the counters add up."""
        await self.until(lambda: self.received == self.accounted)

    async def unspooled(self) -> None:
        """Wait until no posted message is kept on disk, and nothing is on its way."""

        async def nothing_is_kept() -> bool:
            return await self.state.spool.counts() == {}

        await self.until(nothing_is_kept, 60)
        await self.settled()

    async def swept(self, times: int = 1) -> None:
        """Wait for the end of so many sweeps that begin from now on."""
        sources = [source for source in self.sources if isinstance(source, s3_poll.S3PollSource)]
        done = [source.spend.sweeps + times + 1 for source in sources]
        await self.until(lambda: all(source.spend.sweeps >= goal for source, goal in zip(sources, done, strict=True)))
        await self.settled()

    @property
    def received(self) -> int:
        return self.dispatcher.counters.received

    @property
    def accounted(self) -> int:
        counters = self.dispatcher.counters
        tally = counters.tally
        names = "new", "duplicate", "existing", "own_output", "stale", "ignored", "archived"
        of_tally = [getattr(tally, name) for name in names]
        return sum(of_tally) + counters.ignored + counters.settling + counters.quarantined + counters.released

    async def tasks(self) -> list[tuple[str, str]]:
        """(key, identity) of the source of each task."""
        found = await self.state.tasks.list(limit=10_000)
        return sorted((task.source.key, task.source.identity) for task in found)

    async def keys(self) -> list[str]:
        """The keys of the tasks."""
        return [key for key, _ in await self.tasks()]

    async def check(self, expected: Sequence[tuple[str, Version]] | None = None) -> None:
        """The oracle. ``expected`` are the versions that should have a task: by default all that are current."""
        if expected is None:
            expected = [(key, version) for name in self.storages for key, version in self.store.current(name)]
            expected = [item for item in expected if item[0].endswith(".mp4") and item[1].data]
        wanted = sorted((key, _identity(version)) for key, version in expected)
        assert await self.tasks() == wanted  # O1, O2
        assert self.early == []  # O3
        assert not self.store.queue  # O4
        assert self.received == self.accounted  # O5

    def _deleted(self, body: str) -> None:
        """O3: what a deleted message speaks of is in the state by now."""
        try:
            records = json.loads(body)["Records"]
            created = [r for r in records if r["eventName"] == "ObjectCreated:Put"]
            objects = [(r["s3"]["bucket"]["name"], unquote_plus(r["s3"]["object"]["key"])) for r in created]
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        connection = sqlite3.connect(self.path, timeout=10)
        try:
            for bucket, key in objects:
                place = (place_of(bucket, key),)
                known = connection.execute("select 1 from ledger where place = ?", place).fetchone()
                waits = connection.execute("select 1 from unready where key = ?", (key.encode(),)).fetchone()
                catalog = self.dispatcher.catalog
                matters = catalog is not None and catalog.index.match(bucket, key)
                if matters and known is None and waits is None:
                    self.early.append(key)
        finally:
            connection.close()


def _identity(version: Version) -> str:
    if version.version_id is not None:
        return f"v:{version.version_id}"
    return f"e:{version.etag}:{len(version.data)}:{version.last_modified}"
