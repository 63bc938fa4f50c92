"""The contract of an executor: run units, not too many at once, and end one when asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Executor(ABC):
    """Decides where and when units run.

    ``slots`` is how many run at once; the runner claims no more tasks than that, so that priorities are decided
    by the queue and not by who came first to an executor's own line.
    """

    slots: int

    @abstractmethod
    async def run(self, unit_id: str, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` and return its result. Cancelling the caller ends the work."""
