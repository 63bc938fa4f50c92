"""Sending an output while it is still being encoded, so that the object is complete moments after the last frame.

An MP4 file with its index in front is usually written twice: at the end ffmpeg moves everything to make room. Here the
room is reserved (``-moov_size``), so that nothing but the head changes once it is written; the head is sent last.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from watcher.media.render import Picture, Render, Steady
from watcher.model.media_info import MediaInfo

INTERVAL = 0.3
"""Seconds between two looks at a growing file."""
PER_SAMPLE = 24
"""Bytes of index for a frame or a packet of sound: size, times, order, place."""
FIXED = 64 * 1024
LARGEST = 12 * 1024 * 1024
"""The index has to fit into the head, which is sent last."""


def reserved(render: Render, media: MediaInfo) -> Render | None:
    """The render with room for its index in front; None when that would be too much. Others are as they are."""
    if "+faststart" not in render.muxer:
        return render
    length = render.length(media)
    rate = media.picture.fps if media.picture is not None else 0
    if isinstance(render.video, Picture) and isinstance(render.video.frames, Steady):
        rate = render.video.frames.fps or rate
    samples = length * float(rate or 30) if render.video is not None else 0.0
    samples += sum(length * 48 for _ in render.audio)
    size = FIXED + round(samples * PER_SAMPLE)
    if size > LARGEST:
        return None
    place = render.muxer.index("-movflags")
    muxer = (*render.muxer[:place], "-moov_size", str(size), *render.muxer[place + 2 :])
    return replace(render, muxer=muxer)


@contextlib.asynccontextmanager
async def repeated(action: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Do it now and then while the context lasts; its failure ends the context, with its own error."""
    repeating = asyncio.create_task(_repeat(action))
    current = asyncio.current_task()
    assert current is not None  # noqa: S101  this runs in a task

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            current.cancel()

    repeating.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        error = None if not repeating.done() or repeating.cancelled() else repeating.exception()
        if error is None:
            raise
        current.uncancel()
        raise error from None
    finally:
        repeating.remove_done_callback(ended)
        repeating.cancel()
        await asyncio.gather(repeating, return_exceptions=True)


async def _repeat(action: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(INTERVAL)
        await action()


def closed_segments(folder: Path) -> list[Path]:
    """Numbered segments that a later one follows, oldest first: the last may still be written."""
    found = [path for path in folder.glob("seg*") if path.stem.removeprefix("seg").isdecimal()]
    return sorted(found, key=lambda path: int(path.stem.removeprefix("seg")))[:-1]
