"""What every executor promises: bounded, in order of arrival, cancellable, limited in time."""

from __future__ import annotations

import asyncio

import pytest

from watcher.errors import MediaError
from watcher.executors.base import Executor
from watcher.executors.embedded import EmbeddedExecutor, Options


@pytest.fixture(params=["embedded"])
def executor(request: pytest.FixtureRequest) -> Executor:
    """Each implementation in turn, with two slots."""
    assert request.param == "embedded"
    return EmbeddedExecutor(Options(slots=2, timeout=1))


async def test_no_more_than_its_slots_run_at_once(executor: Executor) -> None:
    """Ten units over two slots: never three at a time, and all of them run."""
    running, most = 0, 0

    async def work() -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return 7

    results = await asyncio.gather(*(executor.run(f"u{number}", work) for number in range(10)))
    assert (results, most) == ([7] * 10, 2)


async def test_errors_come_through(executor: Executor) -> None:
    """What the unit raises is what the caller gets."""

    async def work() -> None:
        raise MediaError("SourceFileError", "broken")

    with pytest.raises(MediaError, match="broken"):
        await executor.run("u", work)


async def test_cancelling_ends_the_work_and_frees_the_slot(executor: Executor) -> None:
    """A cancelled unit gets the cancellation, and others can run."""
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    for _ in range(3):
        ended.clear()
        task = asyncio.create_task(executor.run("u", work))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()


async def test_a_unit_has_a_time_limit(executor: Executor) -> None:
    """A unit that takes too long is ended with a sentence."""
    with pytest.raises(MediaError, match="stopped after 1 s"):
        await executor.run("u", lambda: asyncio.sleep(60))
