"""Messages whose sender waits for an answer: the answer is given when they are committed, and after a moment at most.

What is committed at once is never written down here. What takes longer, because a storage is slow or away or because
more comes than can be looked up, is kept on disk, answered, and read again when there is time. So a sender is not held
up by what lies behind, a crash loses nothing, and a flood takes disk instead of memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from watcher import log
from watcher.errors import WatcherError
from watcher.sources._reading import Read
from watcher.sources.base import Delivery, Spool
from watcher.together import is_set

_log = log.get("source")

SOON = 0.02
"""Seconds for which an answer waits for the commit of what the message says."""
TURN = 0.01
"""Seconds that a turn of the event loop may take while messages are written down; when it takes more, it is a flood."""
FLOOD, EACH = 1.0, 0.0025
"""For so many seconds after that, each event takes so many seconds: those who wait for an answer go first."""
BATCH = 64
"""Messages that are read from the disk at once."""
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before what could not be committed is tried again."""
ADOPT = 60.0
"""Seconds between two looks for what other daemons left."""


@dataclass(eq=False, slots=True)
class _Message:
    """``seq`` is its number on disk, None while it is only in memory; ``committed`` is None until that is known."""

    body: bytes
    seq: int | None = None
    committed: bool | None = None
    known: asyncio.Event = field(default_factory=asyncio.Event)

    def settle(self, committed: bool) -> None:
        self.committed = committed
        self.known.set()


class Spooled:
    """At most ``room`` messages in memory, and ``most`` on disk."""

    def __init__(self, name: str, spool: Spool, read: Callable[[bytes], Read], room: int, most: int) -> None:
        self._name = name
        self._spool = spool
        self._read = read
        self._room = room
        self._most = most
        self._waiting: deque[_Message] = deque()
        self._open: set[_Message] = set()
        """Those in memory, waiting or on their way."""
        self._kept = 0
        """About how many are on disk and not committed; what :meth:`adopt` counts sets it right."""
        self._left = False
        """Whether some may be on disk that are not in memory. Said too often it costs a look, never a message."""
        self._flood = 0.0
        """Until when it is one."""
        self._done: set[int] = set()
        """Numbers of those that are committed, and still on disk."""
        self._dropped = asyncio.Event()
        self._behind = 0
        self._failures = 0
        self._again = self._adopted = 0.0
        self._changed = asyncio.Event()

    @property
    def _held(self) -> set[int]:
        """The numbers of those in memory that are on disk too."""
        return {message.seq for message in self._open if message.seq is not None}

    async def accept(self, body: bytes) -> bool:
        """Whether a message is safe; if not, it has to come again."""
        message = _Message(body)
        if len(self._open) < self._room:
            self._enter(message)
            await is_set(message.known, SOON)
            if message.committed:
                return True
        if await self._keep(message):
            return True
        if message not in self._open:
            return bool(message.committed)
        await message.known.wait()
        return bool(message.committed)

    async def _keep(self, message: _Message) -> bool:
        """Write a message down; whether there was room for it."""
        if self._kept >= self._most:
            return False
        self._kept += 1
        loop = asyncio.get_running_loop()
        loop.call_soon(self._turned, loop.time())
        try:
            seq = await self._spool.keep(message.body)
        except WatcherError:
            self._kept -= 1
            return False
        except BaseException:  # whoever sent it is gone, and it may have been written down
            self._look()
            raise
        if message.committed:
            self._drop(seq)
        elif message in self._open:
            message.seq = seq
        else:
            self._look()
        return True

    def _look(self) -> None:
        self._left = True
        self._changed.set()

    def _turned(self, began: float) -> None:
        now = asyncio.get_running_loop().time()
        if now - began > TURN:
            self._flood = now + FLOOD

    async def deliveries(self) -> AsyncGenerator[Delivery, None]:
        """A delivery per message, of those that come and those that were kept."""
        dropping = asyncio.create_task(self._drop_all(), name=f"{self._name} spool")
        try:
            while True:
                if not self._waiting:
                    await self._fill()
                if self._waiting:
                    delivery = self._delivery(self._waiting.popleft())
                    if time.monotonic() < self._flood:
                        await asyncio.sleep(EACH * len(delivery.events))
                    yield delivery
        finally:
            dropping.cancel()
            await asyncio.gather(dropping, return_exceptions=True)
            for message in self._open:
                message.settle(committed=False)
            with contextlib.suppress(WatcherError):
                await self._spool.drop(list(self._done))

    def _enter(self, message: _Message) -> None:
        self._open.add(message)
        self._waiting.append(message)
        self._changed.set()

    def _delivery(self, message: _Message) -> Delivery:
        async def acknowledge() -> None:
            self._leave(message, committed=True)
            self._failures = 0
            if message.seq is not None:
                self._drop(message.seq)

        async def release() -> None:
            self._leave(message, committed=False)
            self._again = time.monotonic() + PAUSES[min(self._failures, len(PAUSES) - 1)]
            self._failures += 1

        return self._read(message.body).delivery(acknowledge, release)

    def _leave(self, message: _Message, *, committed: bool) -> None:
        self._open.discard(message)
        message.settle(committed)
        if message.seq is not None and not committed:
            self._left = True
        self._changed.set()

    def _drop(self, seq: int) -> None:
        self._kept -= 1
        self._done.add(seq)
        self._dropped.set()

    async def _drop_all(self) -> None:
        """Take from the disk what is committed, many at once."""
        while True:
            await self._dropped.wait()
            await asyncio.sleep(SOON)
            self._dropped.clear()
            done = list(self._done)
            try:
                await self._spool.drop(done)
                self._done.difference_update(done)
            except WatcherError:
                self._dropped.set()
                await asyncio.sleep(PAUSES[0])

    async def _fill(self) -> None:
        """Look for what is kept, if there is something and it is time; else wait until something changes."""
        self._changed.clear()
        now = time.monotonic()
        left = self._left and len(self._open) < self._room
        adoption = self._adopted + ADOPT
        due = min(self._again, adoption) if left else adoption
        if now < due:
            await is_set(self._changed, due - now)
            return
        try:
            await (self.adopt() if now >= adoption else self._read_kept())
        except WatcherError as error:
            _log.warning("what is kept can't be read", source=self._name, error=str(error))
            self._left = True
            self._again, self._adopted = now + PAUSES[-1], now

    async def adopt(self) -> None:
        """Count what is kept, and what was by a daemon that is gone."""
        self._adopted = time.monotonic()
        self._kept = await self._spool.adopt() - len(self._done)
        self._left = True

    async def _read_kept(self) -> None:
        """Some of what is on disk, from where it was left, so that what fails again and again stops nothing else."""
        self._left = False  # what comes to lie there while the disk is read says so
        found = await self._spool.kept(self._behind, BATCH, self._held | self._done)
        self._left = self._left or bool(found) or self._behind > 0
        self._behind = found[-1].seq if found else 0
        for item in found:
            self._enter(_Message(item.body, item.seq))
