"""What a step wants from the shared decode, as pure data.

Steps do not run ffmpeg. They state renders; :mod:`watcher.media.graph` merges all the renders of a task into
the fewest processes, and :mod:`watcher.media.verify` compares what came out with what was stated here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from watcher.model.media_info import MediaInfo

Options = tuple[tuple[str, str], ...]
"""Pairs of an ffmpeg option's name, without dash and stream specifier, and its value."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the source that is read, in seconds; ``end`` None means up to the end."""

    start: float = 0.0
    end: float | None = None

    def length(self, duration: float) -> float:
        """Seconds of a source of ``duration`` that lie in the window."""
        return max(0.0, (duration if self.end is None else min(self.end, duration)) - self.start)


WHOLE = Window()
"""All of the source."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A further file that is played before or after the source. ``path`` is the local file."""

    path: str
    media: MediaInfo


@dataclass(frozen=True, slots=True)
class Join:
    """Clips before and after the source, in their order."""

    head: tuple[Clip, ...] = ()
    tail: tuple[Clip, ...] = ()

    @property
    def seconds(self) -> float:
        """How much longer the result is than the source."""
        return sum(clip.media.duration for clip in (*self.head, *self.tail))


@dataclass(frozen=True, slots=True)
class Span:
    """A chunk of a film: the frames from ``start`` up to, and without, ``end``, in seconds of the film.

    ``begin`` is where reading begins, which is 0 on the clock of the filters. None is the film's own beginning or end.
    """

    begin: float
    start: float | None
    end: float | None


@dataclass(frozen=True, slots=True)
class Steady:
    """All frames, at ``fps``; None keeps those of the source. ``span`` limits them to a chunk, on the film's clock."""

    fps: Fraction | None = None
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """The frame on display at 0, ``seconds``, 2 × ``seconds`` …: ``count`` frames in all."""

    seconds: Fraction
    count: int


@dataclass(frozen=True, slots=True)
class Moments:
    """The first frame at or after each of these times, given in whole milliseconds, rising."""

    milliseconds: tuple[int, ...]


Frames = Steady | Interval | Moments


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a picture: ``width`` × ``height`` is the frame; the image fills ``inner`` of it, centred."""

    width: int
    height: int
    inner: tuple[int, int]
    fill: str = "stretch"


@dataclass(frozen=True, slots=True)
class During:
    """When a layer shows, in seconds of the output; ``end`` None means up to the end."""

    start: float = 0.0
    end: float | None = None


ALWAYS = During()
"""From the first frame to the last."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """A picture over the picture. ``x`` and ``y`` are its left and top edge in pixels; ``size`` its own.

    ``input`` are the options its file is opened with; ``ending`` says what follows a moving one: ``repeat``
    keeps its last frame, ``pass`` removes it, ``shortest`` goes with an endless input.
    """

    path: str
    size: tuple[int, int]
    x: int
    y: int
    during: During = ALWAYS
    input: Options = ()
    ending: str = "repeat"


@dataclass(frozen=True, slots=True)
class Caption:
    """A text over the picture, read from ``path``. ``right``/``bottom``: x and y count from those edges."""

    path: str
    font: str
    size: int
    colour: str
    x: int
    y: int
    right: bool = False
    bottom: bool = False
    during: During = ALWAYS


@dataclass(frozen=True, slots=True)
class Mosaic:
    """A part of the picture that is made unrecognisable: x, y, width, height in pixels."""

    box: tuple[int, int, int, int]
    during: During = ALWAYS


@dataclass(frozen=True, slots=True)
class Subtitles:
    """An ASS file that is burnt in, with the folder of its fonts."""

    path: str
    fonts: str


Layer = Overlay | Caption | Mosaic | Subtitles


@dataclass(frozen=True, slots=True)
class Picture:
    """How frames get from the decoder into an encoder. ``codec`` is ffprobe's name of what must come out.

    ``repair`` are filters on the source's frames, ``layers`` what is laid over the finished picture, in order.
    ``tone_map`` brings a source of high dynamic range into the standard one. ``two_pass`` encodes twice.
    """

    frames: Frames
    size: Size
    codec: str
    encoder: tuple[str, ...]
    pixel_format: str = ""
    tile: tuple[int, int] | None = None
    """Columns and rows of a sheet; None for one picture a frame."""
    threaded: bool = False
    """Whether the encoder takes ``-threads``."""
    layers: tuple[Layer, ...] = ()
    repair: tuple[str, ...] = ()
    tone_map: bool = False
    sar: str = "1"
    two_pass: bool = False
    palette: int = 0
    """Colours of a picture that needs a palette of its own (GIF); 0 for none."""


@dataclass(frozen=True, slots=True)
class Track:
    """Where sound comes from and what it is called. ``stream`` counts the audio streams of the source or ``path``."""

    stream: int = 0
    path: str = ""
    language: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Sound:
    """How samples get into an encoder. ``codec`` is ffprobe's name of what must come out."""

    codec: str
    encoder: Options
    filters: tuple[str, ...] = ()
    track: Track = Track()


@dataclass(frozen=True, slots=True)
class Copy:
    """The packets as they are, without decoding. ``codec`` is that of the source."""

    codec: str
    track: Track = Track()


@dataclass(frozen=True, slots=True)
class Waveform:
    """A picture of the sound."""

    size: tuple[int, int]
    colour: str
    split: bool
    codec: str
    encoder: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measures:
    """Filters that measure, for picture and sound; what they find is written as text, and nothing is encoded."""

    picture: str
    sound: str
    files: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Render:
    """One output of ffmpeg: a file, or a numbered set of pictures or segments.

    ``name`` is unique within a task and is the folder the files are written to; ``file`` is the file name
    or pattern in it. Names are ours: nothing from the source object is in them. ``subtitles`` are files that
    go into the output as tracks: path, language and title.
    """

    name: str
    window: Window
    video: Picture | Copy | Waveform | Measures | None
    audio: tuple[Sound | Copy, ...]
    file: str
    muxer: tuple[str, ...] = ()
    join: Join | None = None
    subtitles: tuple[tuple[str, str, str], ...] = ()
    subtitle_codec: str = ""
    key: tuple[str, str] | None = None
    """AES-128 key and vector (hexadecimal) of an HLS output whose segments are encrypted."""
    report: bool = False
    """Whether the output is to be compared with the source, for a quality report."""
    is_media: bool = True
    """Whether what comes out can be read back as media; what is not is only for us."""

    @property
    def is_pictures(self) -> bool:
        """Whether the output is a set of still pictures."""
        if isinstance(self.video, Waveform):
            return True
        return isinstance(self.video, Picture) and not isinstance(self.video.frames, Steady)

    def length(self, media: MediaInfo) -> float:
        """Seconds that the output should last."""
        return self.window.length(media.duration) + (self.join.seconds if self.join else 0.0)


def even(value: float) -> int:
    """The nearest even number, at least 2: what 4:2:0 pictures need."""
    return max(2, round(value / 2) * 2)


def fit(source: tuple[float, float], width: int, height: int, *, adaptive: str, fill: str) -> Size:
    """The size a template asks for, over a source of ``source`` (width, height) pixels.

    A side of 0 follows in proportion, both 0 keep the source's size. With ``adaptive`` ``open``, ``width``
    is the long side and ``height`` the short one (contract templates.md, section 2).
    """
    wide, high = source
    if adaptive == "open" and high > wide:
        width, height = height, width
    if not width and not height:
        width, height = even(wide), even(high)
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
