"""What a step wants from the shared decode, as pure data.

Steps do not run ffmpeg. They state renders; :mod:`watcher.media.graph` merges all the renders of a task into
the fewest processes, and :mod:`watcher.media.verify` compares what came out with what was stated here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the source that is read, in seconds; ``end`` None means up to the end."""

    start: float = 0.0
    end: float | None = None

    def length(self, duration: float) -> float:
        """Seconds of a source of ``duration`` that lie in the window."""
        return max(0.0, (duration if self.end is None else min(self.end, duration)) - self.start)


@dataclass(frozen=True, slots=True)
class Steady:
    """All frames, at ``fps``; None keeps those of the source."""

    fps: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """The frame on display at 0, ``seconds``, 2 × ``seconds`` …: ``count`` frames in all."""

    seconds: Fraction
    count: int


@dataclass(frozen=True, slots=True)
class Moments:
    """The first frame at or after each of these times, given in whole milliseconds, rising."""

    milliseconds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a picture: ``width`` × ``height`` is the frame; the image fills ``inner`` of it, centred."""

    width: int
    height: int
    inner: tuple[int, int]
    fill: str = "stretch"


@dataclass(frozen=True, slots=True)
class Picture:
    """How frames get from the decoder into an encoder. ``codec`` is ffprobe's name of what must come out."""

    frames: Steady | Interval | Moments
    size: Size
    codec: str
    encoder: tuple[str, ...]
    pixel_format: str = ""
    tile: tuple[int, int] | None = None
    """Columns and rows of a sheet; None for one picture a frame."""
    threaded: bool = False
    """Whether the encoder takes ``-threads``."""


@dataclass(frozen=True, slots=True)
class Sound:
    """How samples get into an encoder. ``codec`` is ffprobe's name of what must come out."""

    codec: str
    encoder: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Copy:
    """The packets as they are, without decoding. ``codec`` is that of the source."""

    codec: str


@dataclass(frozen=True, slots=True)
class Render:
    """One output of ffmpeg: a file, or a numbered set of pictures or segments.

    ``name`` is unique within a task and is the folder the files are written to; ``file`` is the file name
    or pattern in it. Names are ours: nothing from the source object is in them.
    """

    name: str
    window: Window
    video: Picture | Copy | None
    audio: Sound | Copy | None
    file: str
    muxer: tuple[str, ...] = ()

    @property
    def is_pictures(self) -> bool:
        """Whether the output is a set of still pictures."""
        return isinstance(self.video, Picture) and not isinstance(self.video.frames, Steady)


def even(value: float) -> int:
    """The nearest even number, at least 2: what 4:2:0 pictures need."""
    return max(2, round(value / 2) * 2)


def fit(source: tuple[int, int], width: int, height: int, *, adaptive: str, fill: str) -> Size:
    """The size a template asks for, over a source of ``source`` (width, height) pixels.

    A side of 0 follows in proportion, both 0 keep the source's size. With ``adaptive`` ``open``, ``width``
    is the long side and ``height`` the short one (contract templates.md, section 2).
    """
    wide, high = source
    if adaptive == "open" and high > wide:
        width, height = height, width
    if not width and not height:
        width, height = wide, high
    elif not width:
        width = even(wide * height / high)
    elif not height:
        height = even(high * width / wide)
    width, height = even(width), even(height)
    scale = min(width / wide, height / high)
    inner = (min(width, even(wide * scale)), min(height, even(high * scale)))
    if fill == "stretch" or inner == (width, height):
        return Size(width, height, (width, height))
    return Size(width, height, inner, fill)
