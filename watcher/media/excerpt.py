"""Reading only what some pictures need: the packets from a key frame up to each of them, in a file of its own.

A task that wants pictures alone need not decode, nor fetch, the whole film. The child process finds the key frames in
the container's index and copies packets; ffmpeg decodes the excerpt as it would the source. Where there is no index
(MPEG-TS), or where nearly everything would have to be decoded, the answer is None and all is read as usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from watcher.media.render import WHOLE, Interval, Moments, Picture, Render, Window
from watcher.model.media_info import MediaInfo

MOST = 0.5
"""Share of the film above which an excerpt is not worth its second process."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a group of renders needs of the source; times in seconds on the source's clock, from 0.

    ``moments`` need the first frame at or after them, ``samples`` the frame on display then, or, with ``keys``, the
    key frame before.
    """

    stream: int
    moments: tuple[float, ...] = ()
    samples: tuple[float, ...] = ()
    window: tuple[float, float] | None = None

    def request(self, output: Path, container: str, *, keys: bool) -> dict[str, Any]:
        """As the child takes it."""
        return {
            "stream": self.stream,
            "moments": self.moments,
            "samples": self.samples,
            "window": self.window,
            "keys": keys,
            "output": str(output),
            "format": "mov" if "mp4" in container.split(",") else "matroska",
            "most": 1.0 if keys else MOST,
        }


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A file of packets. ``begin`` is the time on the source's clock of what is 0 in it."""

    path: Path
    begin: float

    def of(self, media: MediaInfo) -> MediaInfo:
        """The source's facts as they are in the excerpt: its one stream is the first."""
        assert media.picture is not None  # noqa: S101
        return replace(media, video=(replace(media.picture, index=0),), audio=())


def wish(renders: Sequence[Render], media: MediaInfo) -> Wish | None:
    """What renders of one group need; None when that is everything, or sound."""
    if media.picture is None or not all(isinstance(render.video, Picture) for render in renders):
        return None
    if any(render.audio or render.join for render in renders):
        return None
    frames = [render.video.frames for render in renders if isinstance(render.video, Picture)]
    window = renders[0].window
    if window != WHOLE:
        end = media.duration if window.end is None else window.end
        return Wish(media.picture.index, window=(window.start, end))
    moments: set[float] = set()
    samples: set[float] = set()
    for item in frames:
        match item:
            case Moments(milliseconds=times):
                moments |= {time / 1000 for time in times}
            case Interval(seconds=seconds, count=count):
                samples |= {float(seconds * number) for number in range(count)}
            case _:
                return None
    return Wish(media.picture.index, tuple(sorted(moments)), tuple(sorted(samples)))


def key_frames_do(renders: Sequence[Render]) -> bool:
    """Whether the key frame before a sample is as good: in the tiles of a sprite, which show about what is there."""
    return all(isinstance(render.video, Picture) and render.video.tile is not None for render in renders)


def over(excerpt: Excerpt, renders: Sequence[Render]) -> list[Render]:
    """The renders as they read the excerpt."""
    if renders[0].window == WHOLE:
        return list(renders)
    start, end = renders[0].window.start, renders[0].window.end
    moved = Window(max(0.0, start - excerpt.begin), None if end is None else end - excerpt.begin)
    return [replace(render, window=moved) for render in renders]
