"""The daemon is killed at each step from "an object appeared" to "its task is committed", and at random: none is lost,
none is doubled, and no message is deleted before what it said is committed."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException

import pytest

from tests import parts
from tests.faulty import FaultyStore
from tests.rig import BUCKET, daemon_settings
from watcher.model.objects import place_of

DIE = """
import os, signal
def die_at(owner, name, call, after=False, coroutine=True):
    original, calls = getattr(owner, name), [0]
    def dies():
        calls[0] += 1
        if calls[0] == call:
            os.kill(os.getpid(), signal.SIGKILL)
    async def awaited(*arguments, **named):
        if not after: dies()
        result = await original(*arguments, **named)
        if after: dies()
        return result
    def called(*arguments, **named):
        if not after: dies()
        result = original(*arguments, **named)
        if after: dies()
        return result
    setattr(owner, name, awaited if coroutine else called)
"""
POINTS = {
    "a message was received": "from watcher.sources.sqs import SqsSource as o; die_at(o, '_delivery', 7, False, False)",
    "a message was read": "import watcher.sources.sqs as o; die_at(o, 'read_message', 9, True, False)",
    "a HEAD is sent": "from watcher.storage.s3 import S3Storage as o; die_at(o, 'head', 5)",
    "a HEAD was answered": "from watcher.storage.s3 import S3Storage as o; die_at(o, 'head', 8, True)",
    "the commit begins": "from watcher.state.ledger import Ledger as o; die_at(o, 'intake', 3)",
    "within the transaction": "from watcher.state.ledger import Ledger as o; die_at(o, 'take_in', 2, True, False)",
    "the commit is done": "from watcher.state.ledger import Ledger as o; die_at(o, 'intake', 3, True)",
    "a message is deleted": "from watcher.sources.sqs import _Deletions as o; die_at(o, '_delete', 2)",
    "a message was deleted": "from watcher.sources.sqs import _Deletions as o; die_at(o, '_delete', 2, True)",
    "a page was listed": "from watcher.sources.s3_poll import _Sweep as o; die_at(o, '_count', 4)",
    "a page is merged": "from watcher.state.ledger import Ledger as o; die_at(o, 'merge', 4, True)",
    "a sweep ends": "from watcher.sources.s3_poll import _Sweep as o; die_at(o, '_end', 1)",
    "a sweep has ended": "from watcher.sources.s3_poll import _Sweep as o; die_at(o, '_end', 2, True)",
}
POSTED = {
    "a message is written down": "from watcher.state.spool import SourceSpool as o; die_at(o, 'keep', 3)",
    "a message is on disk": "from watcher.state.spool import SourceSpool as o; die_at(o, 'keep', 5, True)",
    "what is kept is read": "from watcher.state.spool import SourceSpool as o; die_at(o, 'kept', 1, True)",
    "what it said is committed": "from watcher.state.ledger import Ledger as o; die_at(o, 'intake', 4, True)",
    "it is dropped": "from watcher.state.spool import SourceSpool as o; die_at(o, 'drop', 1)",
    "it was dropped": "from watcher.state.spool import SourceSpool as o; die_at(o, 'drop', 2, True)",
}


@pytest.fixture
def store() -> Iterator[FaultyStore]:
    """With one bucket, and pages of fifty keys."""
    with FaultyStore() as made:
        made.objects[BUCKET] = {}
        made.page = 50
        yield made


class Oracle:
    """Watches what the queue deletes, and compares the tasks with the objects at the end."""

    def __init__(self, store: FaultyStore, service: parts.Daemon) -> None:
        self._store = store
        self._service = service
        self.early: list[str] = []
        store.on_delete = self._deleted

    def _deleted(self, body: str) -> None:
        key = body.partition('"key": "')[2].partition('"')[0]
        connection = sqlite3.connect(self._service.database, timeout=10)
        try:
            if not connection.execute("select 1 from ledger where place = ?", (place_of(BUCKET, key),)).fetchone():
                self.early.append(key)
        finally:
            connection.close()

    def check(self, timeout: float = 60) -> None:
        """Each object has exactly one task, there is no other, nothing was deleted too early, nothing is left."""
        wanted = sorted(key for key, _ in self._store.current(BUCKET))

        def tasks() -> list[str]:
            return sorted(row[0] for row in self._service.query("select key from tasks"))

        parts.wait_for(lambda: len(tasks()) >= len(wanted) and not self._store.queue, timeout, "all tasks")
        assert tasks() == wanted
        assert self.early == []
        assert self._service.query("select count(*) from quarantine") == [(0,)]


def put(store: FaultyStore, count: int, start: int = 0) -> None:
    """Every third is told of twice, every third not at all."""
    for number in range(start, start + count):
        store.put(BUCKET, f"{number % 10}/{number:05}.mp4", notify=number % 3)


def visible(store: FaultyStore) -> None:
    """What a dead daemon had received comes again, without the wait for its visibility timeout."""
    for message in store.queue:
        message.visible = 0


def test_killed_at_each_step(store: FaultyStore, daemon: Callable[..., parts.Daemon]) -> None:
    """One death after another, at each of the points, while objects come by both ways."""
    service = daemon(daemon_settings(store), parts.workflow(BUCKET))
    service.start()
    oracle = Oracle(store, service)
    put(store, 10)
    oracle.check()
    service.stop()
    for number, (point, fault) in enumerate(POINTS.items(), 1):
        put(store, 100, 100 * number)
        with contextlib.suppress(AssertionError):  # it may die before it is ready
            service.start(fault=f"{DIE}\n{fault}")
        service.process.wait(60)
        assert service.process.returncode == -9, point
        assert oracle.early == [], point
        visible(store)
    service.start()
    oracle.check()


def test_killed_at_random(store: FaultyStore, daemon: Callable[..., parts.Daemon]) -> None:
    """A thousand objects, and a dozen kills whenever they come."""
    store.page = 200
    service = daemon(daemon_settings(store), parts.workflow(BUCKET))
    service.start()
    oracle = Oracle(store, service)
    ended = threading.Event()

    def feed() -> None:
        for number in range(1000):
            put(store, 1, number)
            time.sleep(0.012)
        ended.set()

    feeder = threading.Thread(target=feed)
    feeder.start()
    chance = random.Random(25)
    while not ended.is_set():
        time.sleep(chance.uniform(0.05, 0.8))
        service.kill()
        visible(store)
        service.start()
    feeder.join()
    oracle.check()


def test_what_is_posted_and_killed(store: FaultyStore, daemon: Callable[..., parts.Daemon]) -> None:
    """Whoever posts goes on after 200, and asks again after anything else. No listing helps."""
    port = parts.free_port()
    hook = {"type": "webhook", "listen": f"127.0.0.1:{port}", "token": "t", "waiting": 16}
    settings = daemon_settings(store, sources={"hook": hook}, discovery={"sweeps": False})
    service = daemon(settings, parts.workflow(BUCKET))
    oracle = Oracle(store, service)
    store.delays["HEAD"] = 0.05  # longer than an answer waits for the commit
    left = [f"{number:04}.mp4" for number in range(400)]
    versions = [store.put(BUCKET, key, notify=0) for key in left]
    bodies = [json.dumps({"Records": [store.record(BUCKET, *told)]}) for told in zip(left, versions, strict=True)]
    ended = threading.Event()

    def post(part: list[str]) -> None:
        while part and not ended.is_set():
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("POST", "/", part[-1], {"Authorization": "Bearer t"})
                if connection.getresponse().status == 200:
                    part.pop()
            except (OSError, HTTPException):
                time.sleep(0.05)
            finally:
                connection.close()

    feeders = [threading.Thread(target=post, args=(bodies[start::8],)) for start in range(8)]
    for feeder in feeders:
        feeder.start()
    try:
        for point, fault in POSTED.items():
            with contextlib.suppress(AssertionError):  # it may die before it is ready
                service.start(fault=f"{DIE}\n{fault}")
            service.process.wait(60)
            assert service.process.returncode == -9, point
        service.start()
        for feeder in feeders:
            feeder.join(60)
        oracle.check()
        parts.wait_for(lambda: service.query("select count(*) from spool") == [(0,)], what="an empty spool")
    finally:
        ended.set()
