"""Handing ranges of an object to a contained child that has no network.

The child asks through a socket pair, the parent reads from the storage: so a picture out of a film of 10 GB costs a
few megabytes of transfer, and the process that parses the film still can't reach anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from watcher.errors import WatcherError

BLOCK = 256 * 1024
"""Bytes that are read at a time, and kept: demuxers read in small steps, forth and back."""
KEPT = 64
LARGEST = 1 << 24

Read = Callable[[int, int], Awaitable[bytes]]
"""Bytes of the object from an offset, up to a length."""


@dataclass(slots=True)
class Ranges:
    """An object of ``size`` bytes, read in blocks. ``moved`` counts the bytes that were read from the storage."""

    size: int
    read: Read
    moved: int = 0
    error: WatcherError | None = None
    _blocks: OrderedDict[int, bytes] = field(default_factory=OrderedDict)

    async def get(self, offset: int, length: int) -> bytes:
        """A part of the object; shorter at its end."""
        end = min(offset + min(length, LARGEST), self.size)
        parts: list[bytes] = []
        while offset < end:
            number, skip = divmod(offset, BLOCK)
            part = (await self._block(number))[skip : skip + end - offset]
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    async def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        data = await self.read(number * BLOCK, min(BLOCK, self.size - number * BLOCK))
        self.moved += len(data)
        self._blocks[number] = data
        if len(self._blocks) > KEPT:
            self._blocks.popitem(last=False)
        return data

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[int]:
        """Answer requests while the context lasts; gives the descriptor that the child gets."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        serving = asyncio.create_task(self._serve(ours))
        try:
            yield theirs.fileno()
        finally:
            theirs.close()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            ours.close()

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while (request := await _exactly(loop, connection, 12)) is not None:
            offset, length = struct.unpack("!QI", request)
            try:
                data = await self.get(offset, length)
            except WatcherError as error:
                self.error = error
                await loop.sock_sendall(connection, struct.pack("!i", -1))
                continue
            await loop.sock_sendall(connection, struct.pack("!i", len(data)) + data)


async def _exactly(loop: asyncio.AbstractEventLoop, connection: socket.socket, length: int) -> bytes | None:
    data = b""
    while len(data) < length:
        part = await loop.sock_recv(connection, length - len(data))
        if not part:
            return None
        data += part
    return data
