"""What models look at and listen to: pictures at regular times and the sound, taken out of the source once for all.

The renders go into the same decode as everything else that a task makes of its source.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from watcher.media import measures
from watcher.media.render import Interval, Measures, Picture, Render, Size, Sound, Steady, Window, fit
from watcher.media.verify import Produced
from watcher.model.findings import Failure
from watcher.model.media_info import MediaInfo, VideoStream

PICTURES, SOUND, MEASURES, MOTION, FINGERPRINT = "ai-pictures", "ai-sound", "ai-measures", "ai-motion", "ai-fingerprint"
BARS = "ai-bars"
"""Names of the renders."""
LONGEST_SIDE = 1280
"""Pixels of the pictures: letters of a subtitle are read well, and a picture takes a tenth of a second less."""
MOST_PICTURES = 20_000
"""Of a source for which there would be more, fewer are taken."""
RATE = 16_000
"""Samples a second, of one channel, that models of speech are trained with."""
MOTION_RATE, MOTION_WIDTH = Fraction(25, 2), 256
"""Pictures a second, and pixels, of the small film that cuts are looked for in."""
PRINTS = 11_025 / (4096 // 3)
"""Values a second of a fingerprint: chromaprint works at 11 025 Hz, with frames of 4096 samples that overlap by two
thirds."""
STEADY = "aresample=async=1:first_pts=0"
"""Fills gaps with silence, so that the place of a sample is its time."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What is to be taken out. ``step`` is the time between two pictures, in seconds; 0 for none."""

    step: float = 0.0
    sound: bool = False
    measures: bool = False
    motion: bool = False
    fingerprint: bool = False
    bars: bool = False


@dataclass(frozen=True, slots=True)
class Extracted:
    """The files. ``scale`` is what a length in a picture has to be multiplied by to be one in the source."""

    pictures: tuple[Path, ...] = ()
    step: float = 1.0
    scale: tuple[float, float] = (1.0, 1.0)
    sound: Path | None = None
    measures: Path | None = None
    """The folder of what was measured."""
    motion: Path | None = None
    fingerprint: Path | None = None
    bars: Path | None = None
    failures: Mapping[str, Failure] = field(default_factory=dict)
    """Why something could not be taken out, by the name of its render."""


def _visible(media: MediaInfo) -> VideoStream | None:
    """The stream of pictures, where there is one whose size is known."""
    picture = media.picture
    return picture if picture is not None and picture.width and picture.height else None


def interval(wish: Extraction, media: MediaInfo) -> Interval | None:
    """When pictures are taken; None where there are none to take."""
    picture = _visible(media)
    if not wish.step or picture is None:
        return None
    duration = picture.duration or media.duration
    step = Fraction(max(wish.step, duration / MOST_PICTURES)).limit_denominator(1000)
    frame = 1 / picture.fps if picture.fps else Fraction(1, 25)
    return Interval(step, max(1, math.ceil((Fraction(round(duration * 1000), 1000) - frame) / step)))


def renders(wish: Extraction, media: MediaInfo) -> list[Render]:
    """What the decode has to make; nothing for a stream that the source does not have."""
    found: list[Render] = []
    frames, picture = interval(wish, media), _visible(media)
    if frames is not None and picture is not None:
        shown = float(picture.width * picture.sar), float(picture.height)
        share = min(1.0, LONGEST_SIDE / max(shown))
        size = fit((shown[0] * share, shown[1] * share), 0, 0, adaptive="close", fill="stretch")
        video = Picture(frames, size, "mjpeg", ("-c:v", "mjpeg", "-q:v", "3"), tone_map=picture.is_hdr)
        found.append(Render(PICTURES, Window(), video, (), "f%d.jpg", muxer=("-f", "image2", "-start_number", "0")))
    if wish.sound and media.sound is not None:
        sound = Sound("pcm_s16le", (("c", "pcm_s16le"), ("ar", str(RATE)), ("ac", "1")), (STEADY,))
        found.append(Render(SOUND, Window(), None, (sound,), "sound.wav", muxer=("-f", "wav")))
    if wish.motion and picture is not None:
        small = fit(
            (float(picture.width * picture.sar), float(picture.height)),
            MOTION_WIDTH,
            0,
            adaptive="close",
            fill="stretch",
        )
        rate = min(MOTION_RATE, picture.fps) if picture.fps else MOTION_RATE
        video = Picture(
            Steady(rate), small, "mjpeg", ("-c:v", "mjpeg", "-q:v", "4"), "yuvj420p", tone_map=picture.is_hdr
        )
        found.append(Render(MOTION, Window(), video, (), "motion.avi", muxer=("-f", "avi")))
    if wish.bars and picture is not None:
        tiny, looks = Size(*measures.BARS_SIZE, measures.BARS_SIZE), Steady(Fraction(measures.RATE))
        encoder = ("-c:v", "rawvideo")
        video = Picture(looks, tiny, "rawvideo", encoder, "rgb24", repair=(measures.UPPER_HALF,))
        found.append(Render(BARS, Window(), video, (), "bars.raw", muxer=("-f", "rawvideo"), is_media=False))
    if wish.fingerprint and media.sound is not None:
        sound = Sound("", (("c", "pcm_s16le"), ("ac", "1")), (STEADY,))
        muxer = ("-f", "chromaprint", "-fp_format", "raw")
        found.append(Render(FINGERPRINT, Window(), None, (sound,), "sound.fp", muxer=muxer, is_media=False))
    if wish.measures and (media.picture is not None or media.sound is not None):
        what = Measures(measures.PICTURE, measures.SOUND, (measures.PICTURE_FILE, measures.SOUND_FILE))
        found.append(Render(MEASURES, Window(), what, (), "null", muxer=("-f", "null"), is_media=False))
    return found


def extracted(made: Mapping[str, Produced], failures: Mapping[str, Failure], media: MediaInfo) -> Extracted:
    """What the decode has made, and what it has not."""
    pictures = made.get(PICTURES)
    sound = made.get(SOUND)
    step, scale = 1.0, (1.0, 1.0)
    if pictures is not None:
        video, source = pictures.render.video, media.picture
        assert isinstance(video, Picture)  # noqa: S101  as stated above
        assert isinstance(video.frames, Interval)  # noqa: S101
        assert source is not None  # noqa: S101
        step = float(video.frames.seconds)
        scale = source.width / video.size.width, source.height / video.size.height
    measured, motion, fingerprint, bars = (made.get(name) for name in (MEASURES, MOTION, FINGERPRINT, BARS))
    return Extracted(
        pictures.files if pictures is not None else (),
        step,
        scale,
        sound.files[0] if sound is not None else None,
        measured.files[0].parent if measured is not None else None,
        motion.files[0] if motion is not None else None,
        fingerprint.files[0] if fingerprint is not None else None,
        bars.files[0] if bars is not None else None,
        failures,
    )


def read_fingerprint(file: Path) -> tuple[int, ...]:
    """The values of a raw fingerprint; its bytes are in the machine's own order."""
    values = array("I")
    data = file.read_bytes()
    values.frombytes(data[: len(data) // values.itemsize * values.itemsize])
    return tuple(values)


def merged(wishes: Iterable[Extraction]) -> Extraction:
    """What serves all of them: the shortest time between two pictures, and the sound if anybody wants it."""
    found = list(wishes)
    steps = [wish.step for wish in found if wish.step]
    flags = ("sound", "measures", "motion", "fingerprint", "bars")
    return Extraction(min(steps, default=0.0), **{flag: any(getattr(wish, flag) for wish in found) for flag in flags})
