"""Waiting for one of two things, and doing several at once."""

from __future__ import annotations

import asyncio

import pytest

from watcher.together import is_set, together


async def test_until_it_is_set_or_time_is_up() -> None:
    """Whichever comes first; no time at all is a question."""
    event = asyncio.Event()
    assert not await is_set(event, 0.01)
    assert not await is_set(event, -1.0)
    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await is_set(event, 30)
    assert await is_set(event, -1.0)


@pytest.mark.parametrize("turns", range(6))
async def test_an_end_at_the_moment_of_the_event_is_an_end(turns: int) -> None:
    """Whoever waits in a loop is ended, however many turns of the event loop lie between the two."""
    event = asyncio.Event()

    async def wait_for_ever() -> None:
        while True:
            event.clear()
            await is_set(event, 60)

    waiting = asyncio.create_task(wait_for_ever())
    await asyncio.sleep(0.01)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    done, _ = await asyncio.wait([waiting], timeout=5)
    waiting.cancel()
    assert done


async def test_the_first_failure_is_raised_as_it_is() -> None:
    """And the others end."""
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            await asyncio.sleep(0 if number == 1 else 60)
        finally:
            ended.append(number)
        raise KeyError(number)

    with pytest.raises(KeyError, match="1"):
        await together(((lambda n=number: work(n)) for number in range(5)), 3)  # type: ignore[misc]
    assert {0, 1, 2} <= set(ended)
