"""The contract of a step: state renders, then name what came of them.

A step decides with pure data and runs nothing. ``renders`` says what it wants from the shared decode;
``collect`` turns the files that were made into object keys and the step's output item.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, TypeVar

from watcher.errors import MediaError
from watcher.media.assets import Assets, Wanted
from watcher.media.program import Program
from watcher.media.quality import Search
from watcher.media.render import Interval, Layer, Picture, Render, Window, fit
from watcher.media.verify import Produced
from watcher.model.ai_templates import AITemplate
from watcher.model.inputs import StepInput, positions
from watcher.model.media_info import MediaInfo, VideoStream
from watcher.model.output_path import Naming
from watcher.model.templates import ImageSpriteTemplate, ImageTemplate, SampleSnapshotTemplate, Template
from watcher.model.unit import PlannedStep
from watcher.steps._encoders import EncoderOptions
from watcher.steps._layers import Mark, layers

CONTENT_TYPES = {
    "mp4": "video/mp4", "mov": "video/quicktime", "mkv": "video/x-matroska", "flv": "video/x-flv", "ts": "video/mp2t",
    "m3u8": "application/vnd.apple.mpegurl", "mp3": "audio/mpeg", "m4a": "audio/mp4", "flac": "audio/flac",
    "ogg": "audio/ogg", "wav": "audio/wav", "jpg": "image/jpeg", "png": "image/png", "webp": "image/webp",
    "vtt": "text/vtt; charset=utf-8",  "webm": "video/webm", "mxf": "application/mxf", "gif": "image/gif",
    "bmp": "image/bmp", "m4s": "video/iso.segment", "mpd": "application/dash+xml",
    "srt": "application/x-subrip; charset=utf-8", "json": "application/json",
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
T = TypeVar("T", bound=Template | AITemplate)


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
    """One sub-task over one source object. ``name`` is unique within the task."""

    def __init__(self, name: str, planned: PlannedStep, naming: Naming, options: EncoderOptions) -> None:
        self.name = name
        self.spec: I = planned.spec  # type: ignore[assignment]
        self.template: T = planned.template  # type: ignore[assignment]
        self.watermarks = planned.watermarks
        self.words, self.persons, self.siblings = planned.words, planned.persons, planned.siblings
        self.naming = naming
        self.storage = planned.storage_echo
        self.options = options

    def wanted(self, media: MediaInfo) -> dict[str, Wanted]:
        """The files this step needs besides the source, by names of its own."""
        return {}

    def needs_loudness(self) -> bool:
        """Whether the source's loudness has to be measured first."""
        return False

    def search(self, media: MediaInfo) -> Search | None:
        """The quality to search for first, if any."""
        return None

    def program(self) -> Program | None:
        """A program of the configuration that is run over the source; its files are in the step's folder afterwards."""
        return None

    @abstractmethod
    def renders(self, media: MediaInfo, assets: Assets) -> list[Render]:
        """What this step wants from the shared decode of ``media``; raises MediaError when it can't be had."""

    def early(self, render: Render, file: str) -> tuple[str, str] | None:
        """Key and content type of a file that a render makes, when it can be sent before the render has ended.

        ``file`` is the render's own file, which grows, or a segment, which is closed when the next one begins.
        """
        return None

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


def display_size(stream: VideoStream, sar: str = "default") -> tuple[float, float]:
    """Width and height of the picture in pixels of the output's shape: ``sar`` is the template's."""
    shape = Fraction(2) if sar == "2:1" else Fraction(1)
    return float(stream.width * stream.sar / shape), float(stream.height)


def image_render(
    name: str,
    media: MediaInfo,
    template: ImageTemplate | ImageSpriteTemplate | SampleSnapshotTemplate,
    frames: Any,
    *,
    tile: tuple[int, int] | None = None,
    marks: Sequence[Mark] = (),
    assets: Assets | None = None,
) -> Render:
    """A render that writes numbered pictures in the template's format and size."""
    picture = picture_of(media)
    size = fit(
        display_size(picture),
        template.width,
        template.height,
        adaptive=template.resolution_adaptive,
        fill=template.fill_type,
    )
    if tile is not None and max(size.width * tile[0], size.height * tile[1]) > MAX_SHEET_SIDE:
        raise MediaError("InvalidInput", f"a sheet would be larger than {MAX_SHEET_SIDE} pixels: use smaller tiles")
    codec, encoder = IMAGE_CODECS[template.format]
    over: tuple[Layer, ...] = ()
    if assets is not None and marks:
        # Times are ignored on snapshots (contract pipelines.md, section 8.1).
        timeless = [
            (given.model_copy(update={"start_time_offset": 0.0, "end_time_offset": 0.0}), m) for given, m in marks
        ]
        over = layers(timeless, (), size, assets, media.duration, Window())
    return Render(
        name=name,
        window=Window(),
        video=Picture(frames, size, codec, encoder, tile=tile, layers=over, tone_map=picture.is_hdr),
        audio=(),
        file=f"f%d.{template.format}",
        muxer=("-f", "image2", "-start_number", "0"),
    )


def md5_of(path: Path) -> str:
    """The contract names an MD5 for a file; it identifies it and protects nothing."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def offsets(start: float, end: float, duration: float) -> Window:
    """The window that two offsets mean (contract pipelines.md, section 2.1): 0 is unset, negative from the end."""
    first, last = positions(start, end, duration)
    if first < 0 or first >= duration > 0 or (last is not None and last <= first):
        raise MediaError(
            "InvalidInput.InvalidTimeOffset",
            f"from {start:g} s to {end or duration:g} s is not a part of media that lasts {duration:.2f} s",
        )
    return Window(round(first, 6), None if last is None or last >= duration > 0 else round(last, 6))
