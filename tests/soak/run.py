"""Objects come, are overwritten and go; notifications get lost, come twice and late; the store refuses now and then.

What is looked at is what must not grow: memory, open files, rows of the ledger and of the tasks.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, func, select

from tests.faulty import FaultyStore
from tests.rig import BUCKET, Discovery
from watcher.state import ledger, schema

KEYS = 400
"""Keys that objects come under, again and again."""
ROUND = 40


@dataclass(frozen=True)
class Look:
    """How things stand after a round. ``memory`` is in MiB."""

    seconds: float
    memory: float
    files: int
    versions: int
    tasks: int
    made: int

    def __str__(self) -> str:
        return (
            f"{self.seconds:8.0f} s  {self.memory:6.1f} MiB  {self.files:3} files  {self.versions:6} versions  "
            f"{self.tasks:5} tasks now, {self.made} in all"
        )


def _memory() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _finish_all(found: Discovery) -> int:
    """Do what a runner does, without ffmpeg; and forget what is finished."""
    done = 0
    while (task := await found.state.tasks.claim()) is not None:
        await found.state.tasks.finish(replace(task, status="FINISH", finish_time=time.time()), ())
        done += 1
    await found.state.tasks.purge(time.time() + 1)
    return done


async def _look(found: Discovery, started: float, made: int) -> Look:
    def count(connection: Connection) -> tuple[int, int]:
        tables = schema.ledger, schema.tasks
        one, other = (connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables)
        return one, other

    versions, tasks = await found.state.database.read(count)
    return Look(time.monotonic() - started, _memory(), len(os.listdir("/proc/self/fd")), versions, tasks, made)


def _change(store: FaultyStore, chance: random.Random, clock: int) -> None:
    """One thing that happens in a bucket; times go on, so that each overwrite is another version."""
    key = f"{chance.randrange(KEYS):04}.mp4"
    if chance.random() < 0.15 and key in store.objects[BUCKET]:
        store.remove(BUCKET, key)
        return
    notify = chance.choices((0, 1, 2), (0.1, 0.8, 0.1))[0]
    store.put(BUCKET, key, str(chance.random()).encode(), last_modified=clock, notify=notify)


async def soak(seconds: float, said: Callable[[Look], None]) -> list[Look]:
    """Run for so long; a look after each round."""
    looks: list[Look] = []
    chance, started, made = random.Random(7), time.monotonic(), 0
    before, ledger.TOMBSTONE = ledger.TOMBSTONE, 1
    try:
        with FaultyStore() as store, tempfile.TemporaryDirectory() as folder:
            store.objects[BUCKET], store.page = {}, 100
            clock = int(time.time())
            async with Discovery(store, Path(folder) / "s.db", poll={"interval": 0.1}) as found:
                while time.monotonic() - started < seconds:
                    if chance.random() < 0.2:
                        store.fail(chance.choice(("LIST", "HEAD", "DeleteMessageBatch")), (503, "SlowDown"))
                    for _ in range(ROUND):
                        clock += 1
                        _change(store, chance, clock)
                    await asyncio.sleep(0.3)
                    for message in store.queue:
                        message.visible = 0
                    made += await _finish_all(found)
                    store.log.clear()
                    store.deleted.clear()
                    looks.append(await _look(found, started, made))
                    said(looks[-1])
    finally:
        ledger.TOMBSTONE = before
    return looks
