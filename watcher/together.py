"""Several pieces of work at once, a few at a time; and waiting for one of two things."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable


async def is_set(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, for so long at most; whether it is set.

    ``asyncio.wait_for`` of Python 3.11 loses a cancellation that comes at the moment of the event (cpython#86296), and
    then whoever waits in a loop never ends.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


async def together(actions: Iterable[Callable[[], Awaitable[None]]], limit: int) -> None:
    """Do all of them, at most ``limit`` at a time; the first failure ends the others and is raised as it is."""
    slots = asyncio.Semaphore(limit)

    async def limited(action: Callable[[], Awaitable[None]]) -> None:
        async with slots:
            await action()

    try:
        async with asyncio.TaskGroup() as group:
            for action in actions:
                group.create_task(limited(action))
    except BaseExceptionGroup as group:  # an error raised in `except*` would come in a group again
        raise group.exceptions[0] from None
