"""From delivery to task: the version is resolved, the commit comes first, trouble is released, not lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests import parts
from watcher.catalog import Catalog
from watcher.dispatcher import Dispatcher
from watcher.errors import AccessRefused, TransientError
from watcher.model.objects import MARKER, ObjectEvent, ObjectInfo
from watcher.model.workflow import Workflow
from watcher.mps import files, wire
from watcher.sources.memory import MemorySource, Options
from watcher.state.store import State
from watcher.storage import memory


class Bucket(memory.MemoryStorage):
    """A bucket whose HEAD can be made to fail, and whose calls are counted."""

    fails = 0
    heads = 0
    error: Exception = TransientError("503 SlowDown")

    async def head(self, key: str, version_id: str | None = None) -> ObjectInfo:
        self.heads += 1
        if self.fails:
            self.fails -= 1
            raise self.error
        return await super().head(key, version_id)


@dataclass
class Rig:
    """A dispatcher that runs, with everything around it."""

    state: State
    storage: Bucket
    source: MemorySource
    dispatcher: Dispatcher
    tmp_path: Path

    async def put(self, key: str, data: bytes = b"x", **metadata: str) -> ObjectInfo:
        path = self.tmp_path / "object"
        path.write_bytes(data)
        return await self.storage.put(path, key, content_type="", metadata=metadata, token="")

    def notify(self, key: str, **fields: Any) -> None:
        self.source.put(ObjectEvent("b-1250000000", key, "m", **fields))

    async def acknowledged(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.source.acknowledged) < count:
                await asyncio.sleep(0.005)

    async def keys(self) -> list[str]:
        return sorted(task.source.key for task in await self.state.tasks.list())


@pytest_asyncio.fixture(params=["plain", "versioned"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """Over a bucket with and without versions."""
    storage = Bucket("b-1250000000", memory.Options(versioned=request.param == "versioned"))
    source = MemorySource("m", Options(), {})
    async with State(tmp_path / "s.db") as state:
        dispatcher = Dispatcher(state, {storage.name: storage}, lambda: None)
        stored = await state.workflows.apply([("w", wire.decode(Workflow, parts.workflow(storage.name)))])
        dispatcher.catalog = Catalog(stored, files.Templates(), {})
        running = asyncio.create_task(dispatcher.run([source]))
        yield Rig(state, storage, source, dispatcher, tmp_path)
        running.cancel()
        await asyncio.wait([running])


async def test_notifications_and_listings_are_one_version(rig: Rig) -> None:
    """The same object by both ways, many times: one task, and no HEAD for what is known."""
    info = await rig.put("a.mp4")
    for _ in range(3):
        rig.notify("a.mp4", version_id=info.version_id)
    listing = [entry for page in [p async for p in rig.storage.list()] for entry in page]
    for _ in range(3):
        rig.notify("a.mp4", info=listing[0])
    await rig.acknowledged(6)
    assert await rig.keys() == ["a.mp4"]
    heads = rig.storage.heads
    rig.notify("a.mp4", info=listing[0])
    await rig.acknowledged(7)
    assert rig.storage.heads == heads


async def test_what_matches_nothing_costs_nothing(rig: Rig) -> None:
    """No question to the storage, and an acknowledgement."""
    rig.notify("notes.txt")
    await rig.acknowledged(1)
    assert rig.storage.heads == 0
    assert await rig.keys() == []


async def test_an_object_that_is_gone(rig: Rig) -> None:
    """A notification of something that is not there is acknowledged, looked at again for a while, and given up."""
    rig.notify("gone.mp4")
    await rig.acknowledged(1)
    assert rig.dispatcher.counters.settling == 1
    found = await rig.state.unready.of_object(rig.storage.name, "gone.mp4")
    assert found is not None
    assert found.state == "SETTLING"


@pytest.mark.parametrize("error", [TransientError("503 SlowDown"), AccessRefused("403: wrong key")])
async def test_trouble_with_the_storage_releases_the_event(rig: Rig, error: Exception) -> None:
    """The event is not acknowledged; delivered again, it becomes a task. A key pair can be mended meanwhile."""
    await rig.put("a.mp4")
    rig.storage.error = error
    rig.storage.fails = 1
    rig.notify("a.mp4")
    async with asyncio.timeout(30):
        while not rig.source.released:
            await asyncio.sleep(0.005)
    assert await rig.keys() == []
    rig.notify("a.mp4")
    await rig.acknowledged(1)
    assert await rig.keys() == ["a.mp4"]


async def test_trouble_with_the_state_releases_everything(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: nothing is acknowledged, and it goes on by itself when there is room."""
    info = await rig.put("a.mp4")
    intake = rig.state.ledger.intake
    failures = [TransientError("disk full")]

    async def failing(*arguments: Any, **named: Any) -> Any:
        if failures:
            raise failures.pop()
        return await intake(*arguments, **named)

    monkeypatch.setattr(rig.state.ledger, "intake", failing)
    rig.notify("a.mp4", info=info)
    async with asyncio.timeout(30):
        while not rig.source.released:
            await asyncio.sleep(0.005)
    rig.notify("a.mp4", info=info)
    await rig.acknowledged(1)
    assert await rig.keys() == ["a.mp4"]


async def test_markers_tell_our_own_outputs(rig: Rig) -> None:
    """Also of a copy that the registry of outputs knows nothing of."""
    await rig.put("copy.mp4", **{MARKER: "10001"})
    await rig.put("mine.mp4")
    rig.notify("copy.mp4")
    rig.notify("mine.mp4")
    await rig.acknowledged(2)
    assert await rig.keys() == ["mine.mp4"]
    assert rig.dispatcher.counters.tally.own_output == 1


async def test_names_that_are_no_text(rig: Rig) -> None:
    """A key that is not UTF-8 is left out with a word in the log; the others in its delivery go on."""
    await rig.put("a.mp4")
    rig.source.put(
        ObjectEvent("b-1250000000", "bad\udcff.mp4", "m"),
        ObjectEvent("b-1250000000", "a.mp4", "m"),
    )
    await rig.acknowledged(2)
    assert await rig.keys() == ["a.mp4"]
    assert rig.dispatcher.counters.ignored == 1


async def test_overwritten_before_it_was_looked_at(rig: Rig) -> None:
    """The event of the first version finds the second: one task, of what is there now."""
    await rig.put("a.mp4", b"one")
    second = await rig.put("a.mp4", b"two!")
    rig.notify("a.mp4")
    rig.notify("a.mp4")
    await rig.acknowledged(2)
    (task,) = await rig.state.tasks.list()
    assert task.source.identity == second.identity
