"""Several pieces of work at once, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable


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
