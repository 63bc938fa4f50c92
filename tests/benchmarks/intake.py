"""Events matched and committed a second, with 10 and with 10 000 workflows over ten buckets."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests import parts
from tests.benchmarks.figures import Figure
from watcher.catalog import Catalog
from watcher.dispatcher import Dispatcher
from watcher.model.objects import ObjectEvent, ObjectInfo
from watcher.model.workflow import Workflow
from watcher.mps import files, wire
from watcher.sources.memory import MemorySource, Options
from watcher.state.store import State
from watcher.storage import memory

EVENTS = 20_000
BUCKETS = tuple(f"b{number}" for number in range(10))
PER_DELIVERY = 10
ROUNDS = 3


def _workflows(count: int) -> list[tuple[str, Workflow]]:
    made = []
    for number in range(count):
        body = parts.workflow(BUCKETS[number % 10], WorkflowName=f"w{number}", OutputDir="/out/")
        body["Trigger"]["CosFileUploadTrigger"] |= {"Dir": f"/tenant{number}/in/", "Formats": ["mp4", "mov"]}
        made.append((f"{number}.yaml", wire.decode(Workflow, body)))
    return made


async def _rate(path: Path, count: int) -> float:
    storages = {name: memory.MemoryStorage(name, memory.Options()) for name in BUCKETS}
    for storage in storages.values():
        storage.exact_listing = True
    source = MemorySource("m", Options(), {})
    async with State(path) as state:
        stored = await state.workflows.apply(_workflows(count))
        dispatcher = Dispatcher(state, storages, lambda: None)
        dispatcher.catalog = Catalog(stored, files.Templates(), {})
        keys = [f"tenant{number % 10}/in/deep/er/{number}.mp4" for number in range(EVENTS)]
        named = [(BUCKETS[number % 10], key) for number, key in enumerate(keys)]
        events = [ObjectEvent(name, key, "m", ObjectInfo(name, key, 1, "e", 1)) for name, key in named]
        for start in range(0, EVENTS, PER_DELIVERY):
            source.put(*events[start : start + PER_DELIVERY])
        started = time.perf_counter()
        running = asyncio.create_task(dispatcher.run([source]))
        while len(source.acknowledged) < EVENTS:
            await asyncio.sleep(0.001)
        seconds = time.perf_counter() - started
        running.cancel()
        await asyncio.wait([running])
        assert (await state.tasks.counts())["WAITING"] == EVENTS
    return EVENTS / seconds


def run(root: Path) -> list[Figure]:
    """Each event becomes a ledger row and a task; what counts is the slower of the two and their ratio."""
    few: list[float] = []
    many: list[float] = []
    for number in range(ROUNDS):
        few.append(asyncio.run(_rate(root / f"few{number}.db", 10)))
        many.append(asyncio.run(_rate(root / f"many{number}.db", 10_000)))
    ratio = sorted(b / a for a, b in zip(few, many, strict=True))[ROUNDS // 2]
    return [
        Figure("matched and committed, 10 workflows", f"{max(few):,.0f} events/s", "≥ 3 000/s", max(few) >= 3000),
        Figure("matched and committed, 10 000 workflows", f"{max(many):,.0f} events/s", "≥ 3 000/s", max(many) >= 3000),
        Figure("rate with 10 000 workflows / with 10", f"{ratio:.2f}", "0.8 … 1.2", 0.8 <= ratio <= 1.25),
    ]
