"""The contract of a step: state renders, then name what came of them.

A step decides with pure data and runs nothing. ``renders`` says what it wants from the shared decode;
``collect`` turns the files that were made into object keys and the step's output item.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, TypeVar

from watcher.errors import MediaError
from watcher.media.render import Interval, Picture, Render, Window, fit
from watcher.media.verify import Produced
from watcher.model.inputs import StepInput
from watcher.model.media_info import MediaInfo, VideoStream
from watcher.model.output_path import Naming
from watcher.model.templates import ImageSpriteTemplate, ImageTemplate, SampleSnapshotTemplate, Template

CONTENT_TYPES = {
    "mp4": "video/mp4", "mov": "video/quicktime", "mkv": "video/x-matroska", "flv": "video/x-flv", "ts": "video/mp2t",
    "m3u8": "application/vnd.apple.mpegurl", "mp3": "audio/mpeg", "m4a": "audio/mp4", "flac": "audio/flac",
    "ogg": "audio/ogg", "wav": "audio/wav", "jpg": "image/jpeg", "png": "image/png", "webp": "image/webp",
    "vtt": "text/vtt; charset=utf-8",
}  # fmt: skip

IMAGE_CODECS = {
    "jpg": ("mjpeg", ("-c:v", "mjpeg", "-q:v", "3")),
    "png": ("png", ("-c:v", "png")),
    "webp": ("webp", ("-c:v", "libwebp", "-quality", "80")),
}
"""Per image format: ffprobe's name of the codec, and the encoder's arguments."""

MAX_PICTURES = 10_000
MAX_SHEET_SIDE = 16_384

I = TypeVar("I", bound=StepInput)  # noqa: E741
T = TypeVar("T", bound=Template)


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """Choices of the installation that templates leave open. ``speed`` is a preset name of x264 and x265."""

    speed: str = "veryfast"


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A local file and the object it becomes."""

    path: Path
    key: str
    content_type: str


@dataclass(frozen=True, slots=True)
class StepOutput:
    """``files`` in the order they are published (what others refer to comes first, manifests last);
    ``item`` is the output item of the contract in snake_case."""

    files: tuple[OutputFile, ...]
    item: dict[str, Any]


class Step(ABC, Generic[I, T]):
    """One sub-task over one source object.

    ``name`` is unique within the task, ``storage`` the resolved output storage in snake_case, for the item.
    """

    def __init__(
        self, name: str, spec: I, template: T, naming: Naming, storage: dict[str, Any], options: EncoderOptions
    ) -> None:
        self.name = name
        self.spec = spec
        self.template = template
        self.naming = naming
        self.storage = storage
        self.options = options

    @abstractmethod
    def renders(self, media: MediaInfo) -> list[Render]:
        """What this step wants from the shared decode of ``media``; raises MediaError when it can't be had."""

    @abstractmethod
    def collect(self, produced: list[Produced], directory: Path) -> StepOutput:
        """Name the files that were made of the renders, in their order; may write small files into ``directory``."""

    @property
    def patterns(self) -> dict[str, str]:
        """The path patterns in force, for the echo of the input: what was given, else the contract's defaults."""
        return {}


def picture_of(media: MediaInfo) -> VideoStream:
    """The video stream, or the contract's error when there is none."""
    picture = media.picture
    if picture is None:
        raise MediaError("SourceFileError.NoVideoMedia", "the source has no video stream")
    if not picture.width or not picture.height:
        raise MediaError("SourceFileError.NoVideoResolution", "the size of the source's video can't be read")
    return picture


def video_duration(media: MediaInfo) -> float:
    """Seconds of video, as well as the source tells."""
    picture = picture_of(media)
    return picture.duration or media.duration


def sampling(sample_type: str, interval: int, media: MediaInfo) -> Interval:
    """Which frames an interval in percent or seconds means: from 0 up to, and without, the end."""
    picture, duration = picture_of(media), video_duration(media)
    milliseconds = Fraction(max(1, round(duration * 1000)), 1000)
    seconds = Fraction(interval) if sample_type == "Time" else milliseconds * interval / 100
    frame = 1 / picture.fps if picture.fps else Fraction(1, 25)
    count = max(1, math.ceil((milliseconds - frame) / seconds))
    if count > MAX_PICTURES:
        raise MediaError(
            "InvalidInput", f"{count} pictures would be taken, more than {MAX_PICTURES}: use a longer interval"
        )
    return Interval(seconds, count)


def image_render(
    name: str,
    media: MediaInfo,
    template: ImageTemplate | ImageSpriteTemplate | SampleSnapshotTemplate,
    frames: Any,
    tile: tuple[int, int] | None = None,
) -> Render:
    """A render that writes numbered pictures in the template's format and size."""
    picture = picture_of(media)
    size = fit(
        (picture.width, picture.height),
        template.width,
        template.height,
        adaptive=template.resolution_adaptive,
        fill=template.fill_type,
    )
    if tile is not None and max(size.width * tile[0], size.height * tile[1]) > MAX_SHEET_SIDE:
        raise MediaError("InvalidInput", f"a sheet would be larger than {MAX_SHEET_SIDE} pixels: use smaller tiles")
    codec, encoder = IMAGE_CODECS[template.format]
    return Render(
        name=name,
        window=Window(),
        video=Picture(frames, size, codec, encoder, tile=tile),
        audio=None,
        file=f"f%d.{template.format}",
        muxer=("-f", "image2", "-start_number", "0"),
    )
