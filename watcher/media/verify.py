"""Comparing what ffmpeg wrote with what was asked for, before anything is published.

An exit status of 0 proves little: a truncated input gives a short output without an error, and a full disk
has been seen to do the same. So every output is opened and every packet counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import MediaError
from watcher.media.render import Copy, Interval, Measures, Moments, Picture, Render, Sound, Steady, Waveform
from watcher.model.media_info import MediaInfo, VideoStream


@dataclass(frozen=True, slots=True)
class Produced:
    """The files of one render that was found to be right.

    ``files`` are in order: the one main file; or the pictures; or the playlist and then its segments.
    ``media`` describes the main file, or the first picture. ``moments`` are the times of the pictures of
    :class:`Moments`, in milliseconds, in the order of ``files``.
    """

    render: Render
    files: tuple[Path, ...]
    media: MediaInfo
    moments: tuple[int, ...] = ()
    quality: dict[str, float] | None = None
    """VMAF, SSIM and PSNR against the source, where a report was asked for."""


_OUR_OWN = ("main.key", "pass")
"""Files beside the output that are no output: keys, and what a first pass measured."""


def written_files(render: Render, directory: Path) -> list[Path]:
    """The files of a render in order: the main file first, then numbered ones by their number."""
    folder = directory / render.name
    found = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(_OUR_OWN)]
    main = [path for path in found if path.name == render.file]
    rest = [path for path in found if path.name != render.file]
    return main + sorted(rest, key=lambda path: (not path.name.startswith("init"), len(path.name), path.name))


def probed_files(render: Render, files: list[Path]) -> list[Path]:
    """Those of the files whose facts are needed: every picture, or the one main file."""
    if not render.is_media:
        return []
    return files if render.is_pictures else files[:1]


def check(render: Render, source: MediaInfo, files: list[Path], facts: list[MediaInfo | str]) -> Produced:
    """The files with their facts; raises MediaError when they are not what was asked for."""
    if not files:
        raise MediaError("InternalError", "ffmpeg wrote no output")
    for path, found in zip(files, facts, strict=False):
        if isinstance(found, str):
            raise MediaError("InternalError", f"the output {path.name} can't be read back: {found}")
    media = [found for found in facts if isinstance(found, MediaInfo)]
    if not render.is_media:
        return Produced(render, tuple(files), source)
    if render.is_pictures:
        return _check_pictures(render, source, files, media)
    _check_streams(render, media[0])
    _check_duration(render, source, media[0])
    return Produced(render, tuple(files), media[0])


def _check_pictures(render: Render, source: MediaInfo, files: list[Path], media: list[MediaInfo]) -> Produced:
    picture = render.video
    if isinstance(picture, Waveform):
        _check_picture(files[0].name, media[0], picture.codec, picture.size)
        return Produced(render, tuple(files), media[0])
    assert isinstance(picture, Picture)  # noqa: S101
    width, height = picture.size.width, picture.size.height
    if picture.tile is not None:
        width, height = width * picture.tile[0], height * picture.tile[1]
    for path, found in zip(files, media, strict=True):
        _check_picture(path.name, found, picture.codec, (width, height))
    frames = picture.frames
    if isinstance(frames, Moments):
        return _assign_moments(render, frames, files, media)
    assert isinstance(frames, Interval)  # noqa: S101
    per_file = picture.tile[0] * picture.tile[1] if picture.tile else 1
    expected = -(-frames.count // per_file)
    if len(files) != expected:
        raise _shorter(f"{len(files)} of {expected} pictures", source)
    return Produced(render, tuple(files), media[0])


def _check_picture(name: str, found: MediaInfo, codec: str, size: tuple[int, int]) -> None:
    stream = found.video[0] if found.video else None
    if stream is None or stream.codec != codec or (stream.width, stream.height) != size or stream.frames < 1:
        got = f"{stream.codec} {stream.width}×{stream.height}" if stream else "nothing"
        raise MediaError("InternalError", f"the picture {name} is {got}, not {codec} {size[0]}×{size[1]}")


def _assign_moments(render: Render, frames: Moments, files: list[Path], media: list[MediaInfo]) -> Produced:
    """Each moment gets the first picture at or after it: two moments within one frame share a picture."""
    times = {int(path.stem.removeprefix("f")): (path, found) for path, found in zip(files, media, strict=True)}
    chosen: list[Path] = []
    for moment in frames.milliseconds:
        later = [time for time in times if time >= moment]
        if not later:
            raise MediaError("SourceFileError", f"there is no frame at {moment / 1000:.3f} s: the video ends before")
        chosen.append(times[min(later)][0])
    return Produced(render, tuple(chosen), media[0], frames.milliseconds)


def _check_streams(render: Render, media: MediaInfo) -> None:
    video = render.video
    assert not isinstance(video, Waveform | Measures)  # noqa: S101  those have no streams
    _check_codecs("video", [video] if video is not None else [], [media.picture.codec] if media.picture else [])
    _check_codecs("audio", render.audio, [sound.codec for sound in media.audio])
    if isinstance(video, Picture) and media.picture is not None:
        size, found = video.size, media.picture
        if (found.width, found.height) != (size.width, size.height):
            message = f"the output is {found.width}×{found.height}, not {size.width}×{size.height}"
            raise MediaError("InternalError", message)


def _check_codecs(kind: str, wanted: Sequence[Picture | Sound | Copy], found: Sequence[str]) -> None:
    if len(found) > len(wanted):
        raise MediaError("InternalError", f"the output has a stream of {kind} that nobody asked for")
    for index, stream in enumerate(wanted):
        got = found[index] if index < len(found) else "missing"
        if got != stream.codec:
            raise MediaError("InternalError", f"the output's {kind} is {got}, not {stream.codec}")


def _check_duration(render: Render, source: MediaInfo, media: MediaInfo) -> None:
    """Not shorter than the source's part by more than a few frames; the header of a source may round."""
    more = render.join.seconds if render.join else 0.0
    if isinstance(render.video, Picture) and source.picture is not None and media.picture is not None:
        known = source.picture.duration
        expected = render.window.length(known or source.duration) + more
        tolerance = _tolerance(source.picture, exact=bool(known) and not more) + 0.1 * more
        # A frame lasts as long as the rate says: a GIF of 2 frames a second ends up to half a second early.
        rate = render.video.frames.fps if isinstance(render.video.frames, Steady) else None
        tolerance += float(2 / rate) if rate else 0.0
        if media.picture.duration < expected - tolerance:
            raise _shorter(f"{media.picture.duration:.2f} s of {expected:.2f} s of video", source)
        if rate and known and media.picture.frames < (expected - tolerance) * rate - 2:
            raise _shorter(f"{media.picture.frames} of {float(expected * rate):.0f} frames", source)
    elif render.video is None and source.sound is not None and media.sound is not None:
        longest = max(source.audio, key=lambda stream: stream.duration)
        if any(sound.track.path for sound in render.audio):
            return  # a further track is as long as it is
        expected = render.window.length(min(s.duration or source.duration for s in (source.sound, longest)))
        if media.sound.duration < expected - max(0.5, 0.01 * expected):
            raise _shorter(f"{media.sound.duration:.2f} s of {expected:.2f} s of audio", source)
    else:
        expected = render.window.length(source.duration) + more
        if media.duration < expected - max(1.0, 0.01 * expected):
            raise _shorter(f"{media.duration:.2f} s of {expected:.2f} s", source)


def _tolerance(stream: VideoStream, *, exact: bool) -> float:
    frame = float(1 / stream.fps) if stream.fps else 0.04
    return max(0.25, 3 * frame) if exact else max(1.0, 3 * frame)


def _shorter(what: str, source: MediaInfo) -> MediaError:
    return MediaError(
        "SourceFileError",
        f"the source ends early: its header promises {source.duration:.2f} s, but only {what} could be made",
    )
