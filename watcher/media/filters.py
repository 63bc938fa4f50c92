"""The filters that renders become, as text in ffmpeg's graph syntax.

Nothing that comes from outside is in these texts but numbers and our own file names: what a person or an object
names (texts, fonts, pictures) is read from files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from watcher.media.render import (
    Caption,
    During,
    Frames,
    Interval,
    Layer,
    Mosaic,
    Options,
    Overlay,
    Picture,
    Size,
    Span,
    Steady,
    Subtitles,
    Waveform,
)
from watcher.model.media_info import AudioStream, MediaInfo, VideoStream

TONE_MAP = (
    "zscale=t=linear:npl=100",
    "format=gbrpf32le",
    "zscale=p=bt709",
    "tonemap=hable:desat=0",
    "zscale=t=bt709:m=bt709:r=tv",
    "format=yuv420p",
)
"""High dynamic range (PQ or HLG, BT.2020) to BT.709 by Hable's curve."""


class InputOf(Protocol):
    """Gives the number of a further input file."""

    def __call__(self, path: str, options: Options) -> int:
        """Opened once for each path and options."""


@dataclass(frozen=True, slots=True)
class Step:
    """A filter with branches: ``gauss``, ``palette``, or a layer."""

    what: Layer | Size | int

    def write(self, source: str, chain: list[str], second: str, label: Callable[[], str]) -> tuple[list[str], str]:
        """The chains, given what comes before, and the label that they end in."""
        match self.what:
            case Size() as size:
                return _gauss(source, chain, size, label)
            case int() as colours:
                return _palette(source, chain, colours, label)
            case Overlay() as overlay:
                return _overlay(source, chain, overlay, second, label)
            case Mosaic() as mosaic:
                return _mosaic(source, chain, mosaic, label)
            case Caption() as caption:
                return _simple(source, [*chain, _caption(caption)], label)
            case Subtitles() as subtitles:
                return _simple(
                    source, [*chain, f"subtitles=filename={subtitles.path}:fontsdir={subtitles.fonts}"], label
                )


def sampling(frames: Frames) -> Iterator[str]:
    """The filters that choose frames."""
    if isinstance(frames, Steady):
        if frames.span is not None and frames.span.begin:
            yield f"setpts=PTS+{seconds(frames.span.begin)}/TB"
        if frames.fps:
            yield f"fps={rational(frames.fps)}"
        if frames.span is not None:
            yield from _trim(frames.span, frames.fps)
    elif isinstance(frames, Interval):
        # round=up makes output n the last frame at or before n × interval: the one on display then.
        # One more copy of the last frame makes up for headers that round the duration up.
        yield f"fps=fps={rational(1 / frames.seconds)}:start_time=0:round=up"
        yield "tpad=stop_mode=clone:stop=1"
        yield f"trim=end_frame={frames.count}"
    else:
        # Each moment once, also where the times of a source go back: an encoder takes no time twice.
        terms = [f"gt({moment},prev_selected_pts)*lte({moment},pts)" for moment in frames.milliseconds]
        first = f"isnan(prev_selected_pts)*lte({frames.milliseconds[0]},pts)"
        yield "settb=1/1000"
        yield f"select='{'+'.join([first, *terms])}'"


def _trim(span: Span, rate: Fraction | None) -> Iterator[str]:
    """The frames of a span: by their number where the rate is fixed, else by their time."""
    limits: list[str] = []
    for name, time in (("start", span.start), ("end", span.end)):
        if time is not None:
            limits.append(f"{name}={seconds(time)}" if rate is None else f"{name}_pts={frame_at(time, rate)}")
    if limits:
        yield f"trim={':'.join(limits)}"


def frame_at(time: float, rate: Fraction) -> int:
    """The number of the first frame at or after a time, at a fixed rate."""
    return math.ceil(Fraction(time).limit_denominator(1_000_000) * rate)


def scale(size: tuple[int, int], source: tuple[int, int] | None) -> Iterator[str]:
    """To ``size``; nothing when that is the source's."""
    if size != source:
        yield f"scale={size[0]}:{size[1]}:flags=bicubic"


def finish(picture: Picture) -> Iterator[str | Step]:
    """What comes after scaling: bars, layers, sheets, the pixel format, a palette."""
    size = picture.size
    if size.fill in ("black", "white"):
        yield f"pad={size.width}:{size.height}:(ow-iw)/2:(oh-ih)/2:color={size.fill}"
    elif size.fill == "gauss":
        yield Step(size)
    for layer in picture.layers:
        yield Step(layer)
    yield f"setsar={picture.sar}"
    if picture.tile is not None:
        yield f"tile={picture.tile[0]}x{picture.tile[1]}"
    if picture.pixel_format:
        yield f"format={picture.pixel_format}"
    if picture.palette:
        yield Step(picture.palette)


def _simple(source: str, chain: list[str], label: Callable[[], str]) -> tuple[list[str], str]:
    end = label()
    return [f"{source}{','.join(chain)}{end}"], end


def _gauss(source: str, chain: list[str], size: Size, label: Callable[[], str]) -> tuple[list[str], str]:
    """The picture over a blurred, stretched copy of itself."""
    front, back, blurred, end = label(), label(), label(), label()
    return [
        f"{source}{','.join([*chain, 'split=2'])}{front}{back}",
        f"{back}scale={size.width}:{size.height}:flags=bilinear,gblur=sigma=20{blurred}",
        f"{blurred}{front}overlay=(W-w)/2:(H-h)/2{end}",
    ], end


def _palette(source: str, chain: list[str], colours: int, label: Callable[[], str]) -> tuple[list[str], str]:
    """The best colours of the whole clip, then every frame drawn with them; only what moved is drawn anew."""
    frames, sample, palette, end = label(), label(), label(), label()
    return [
        f"{source}{','.join([*chain, 'split=2'])}{frames}{sample}",
        f"{sample}palettegen=max_colors={colours}:stats_mode=diff{palette}",
        f"{frames}{palette}paletteuse=dither=bayer:bayer_scale=4:diff_mode=rectangle{end}",
    ], end


def _overlay(
    source: str, chain: list[str], overlay: Overlay, second: str, label: Callable[[], str]
) -> tuple[list[str], str]:
    mark, end = label(), label()
    width, height = overlay.size
    ending = "shortest=1" if overlay.ending == "shortest" else f"eof_action={overlay.ending}"
    chains = [f"{second}scale={width}:{height}:flags=bicubic,format=rgba{mark}"]
    if chain:
        base = label()
        chains.append(f"{source}{','.join(chain)}{base}")
        source = base
    place = f"x={overlay.x}:y={overlay.y}:format=auto:{ending}{_enable(overlay.during)}"
    return [*chains, f"{source}{mark}overlay={place}{end}"], end


def _mosaic(source: str, chain: list[str], mosaic: Mosaic, label: Callable[[], str]) -> tuple[list[str], str]:
    whole, part, covered, end = label(), label(), label(), label()
    x, y, width, height = mosaic.box
    block = max(4, min(width, height) // 6)
    return [
        f"{source}{','.join([*chain, 'split=2'])}{whole}{part}",
        f"{part}crop={width}:{height}:{x}:{y},pixelize=w={block}:h={block}{covered}",
        f"{whole}{covered}overlay=x={x}:y={y}:format=auto{_enable(mosaic.during)}{end}",
    ], end


def _caption(caption: Caption) -> str:
    x = f"w-text_w-{caption.x}" if caption.right else str(caption.x)
    y = f"h-text_h-{caption.y}" if caption.bottom else str(caption.y)
    return (
        f"drawtext=fontfile={caption.font}:textfile={caption.path}:expansion=none:fontsize={caption.size}"
        f":fontcolor={caption.colour}:x={x}:y={y}{_enable(caption.during)}"
    )


def _enable(during: During) -> str:
    if during.end is not None:
        return f":enable='gte(t,{seconds(during.start)})*lt(t,{seconds(during.end)})'"
    return f":enable='gte(t,{seconds(during.start)})'" if during.start else ""


def clip_picture(media: MediaInfo, number: int, like: VideoStream, length: float) -> str:
    """A clip's picture in another's size and rate; black for one that has none."""
    rate = rational(like.fps or Fraction(25))
    size = f"{like.width}:{like.height}"
    if media.picture is None:
        return f"color=black:size={like.width}x{like.height}:rate={rate}:duration={seconds(length)},format=yuv420p"
    fitted = f"scale={size}:force_original_aspect_ratio=decrease:flags=bicubic,pad={size}:(ow-iw)/2:(oh-ih)/2"
    return f"[{number}:{media.picture.index}]fps={rate},{fitted},setsar=1,format=yuv420p,settb=AVTB"


def clip_sound(media: MediaInfo, number: int, like: AudioStream, length: float) -> str:
    """A clip's sound in another's rate and layout, as long as its picture; silence for one that has none."""
    layout = {1: "mono", 6: "5.1"}.get(like.channels, "stereo")
    rate = like.sample_rate or 48_000
    form = f"aformat=sample_fmts=fltp:sample_rates={rate}:channel_layouts={layout}"
    if media.sound is None:
        return f"anullsrc=sample_rate={rate}:channel_layout={layout}:duration={seconds(length)},{form}"
    return f"[{number}:{media.sound.index}]aresample=async=1,{form},apad=whole_dur={seconds(length)}"


def waveform(picture: Waveform) -> str:
    """The sound's shape on a transparent ground."""
    colour = f"0x{picture.colour.removeprefix('0x')}"
    split = ":split_channels=1" if picture.split else ""
    mix = "" if picture.split else "aformat=channel_layouts=mono,"
    return f"{mix}showwavespic=s={picture.size[0]}x{picture.size[1]}:colors={colour}|{colour}{split}"


def rational(value: Fraction) -> str:
    """``30000/1001``, or ``25``."""
    return f"{value.numerator}/{value.denominator}" if value.denominator != 1 else str(value.numerator)


def seconds(value: float) -> str:
    """Microseconds are as fine as ffmpeg's times get."""
    return f"{value:.6f}".rstrip("0").rstrip(".")
