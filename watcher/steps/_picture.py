"""From a video template to a picture: size, rate, colours, enhancement, layers (contract templates.md, section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from watcher.media.assets import Assets
from watcher.media.render import WHOLE, Copy, Join, Layer, Picture, Size, Steady, Window, fit
from watcher.model.enhance import VideoEnhance
from watcher.model.media_info import MediaInfo, VideoStream
from watcher.model.video import TehdConfig, VideoTemplate
from watcher.steps import _encoders
from watcher.steps._encoders import CODEC_NAMES, Cuts, EncoderOptions
from watcher.steps._sound import copied
from watcher.steps.base import display_size, picture_of

_DENOISE = {"weak": "hqdn3d=2", "strong": "hqdn3d=6"}
_DEBLOCK = {"weak": "deblock=filter=weak:block=8", "strong": "deblock=filter=strong:block=8"}


@dataclass(frozen=True, slots=True)
class Want:
    """A picture that is wanted, apart from its template."""

    container: str
    options: EncoderOptions
    window: Window = WHOLE
    join: Join | None = None
    cuts: Cuts | None = None
    tehd: TehdConfig | None = None
    enhance: VideoEnhance | None = None
    rate: Fraction | None = None
    """Frames a second, when something else than the template decides."""


def size_of(video: VideoTemplate, source: VideoStream) -> Size:
    """The size a template asks for. A source's own size is kept in its own pixels unless Sar says otherwise."""
    if not video.width and not video.height and video.sar == "default":
        return fit((source.width, source.height), 0, 0, adaptive="close", fill="stretch")
    return fit(
        display_size(source, video.sar),
        video.width,
        video.height,
        adaptive=video.resolution_adaptive,
        fill=video.fill_type,
    )


def picture(
    video: VideoTemplate, media: MediaInfo, want: Want, layers: tuple[Layer, ...], assets: Assets
) -> Picture | Copy:
    """The picture, or a copy where the template says so or where the source already is what it asks for."""
    source = picture_of(media)
    if video.codec == "copy":
        return Copy(copied("video", source.codec, want.container))
    size = size_of(video, source)
    if not layers and _is_fine(video, media, size, want):
        return Copy(source.codec)
    rate = None if video.raw_pts else want.rate or video.rate
    repair = _repair(want.enhance, source)
    if want.enhance is not None and want.enhance.rate:
        rate = rate or max(want.enhance.rate, source.fps)
    own_pixels = not video.width and not video.height and video.sar == "default"
    sar = source.sar if own_pixels else Fraction(2 if video.sar == "2:1" else 1)
    control = _encoders.rate_of(video, media, want.tehd, assets.crf)
    keeps_range = video.bit_depth == 10 and video.codec in ("h265", "av1", "vp9")
    encoder = _encoders.arguments(
        video, control, rate or source.fps or Fraction(25), want.container, want.cuts, want.options
    )
    if keeps_range and source.is_hdr:
        encoder += ["-color_primaries", source.color_primaries or "bt2020", "-color_trc", source.color_transfer]
        encoder += ["-colorspace", source.color_space or "bt2020nc"]
    return Picture(
        frames=Steady(rate),
        size=size,
        codec=CODEC_NAMES[video.codec],
        encoder=tuple(encoder),
        pixel_format=_encoders.pixel_format(video, want.options),
        threaded=True,
        layers=layers,
        repair=repair,
        tone_map=source.is_hdr and not keeps_range,
        sar=f"{sar.numerator}/{sar.denominator}" if sar != 1 else "1",
        two_pass=bool(video.two_pass) and want.options.hardware == "",
    )


def _repair(enhance: VideoEnhance | None, source: VideoStream) -> tuple[str, ...]:
    found: list[str] = []
    if enhance is None:
        return ()
    if enhance.artifact_repair is not None and enhance.artifact_repair.switch == "ON":
        found.append(_DEBLOCK[enhance.artifact_repair.type])
    if enhance.denoise is not None and enhance.denoise.switch == "ON":
        found.append(_DENOISE[enhance.denoise.type])
    rate = enhance.rate
    if rate is not None and (not source.fps or rate > source.fps):
        found.append(f"minterpolate=fps={rate.numerator}/{rate.denominator}:mi_mode=mci:mc_mode=obmc:me_mode=bidir")
    return tuple(found)


def _is_fine(video: VideoTemplate, media: MediaInfo, size: Size, want: Want) -> bool:
    """Whether the source already is what the template asks for, so that a copy does.

    Only where nothing asked for could differ: segments need key frames of ours, a quality or a GOP can't be read
    off the source.
    """
    source = picture_of(media)
    bitrate = source.bitrate or media.bitrate
    asks_more = (
        video.gop or video.crf is not None or video.mode in ("CBR", "VCRF") or video.target_vmaf or video.two_pass
        or video.compress > 0 or video.bframes is not None or video.video_level or video.video_profile != "default"
        or video.raw_pts or video.bit_depth != 8 or video.sar != "default"
    )  # fmt: skip
    return (
        not asks_more
        and want.cuts is None
        and want.join is None
        and want.window == WHOLE
        and not (want.enhance or (want.tehd and want.tehd.type))
        and source.codec == CODEC_NAMES[video.codec]
        and source.pixel_format in ("yuv420p", "yuvj420p")
        and source.rotate == 0
        and source.sar == 1
        and (size.width, size.height) == (source.width, source.height)
        and (want.rate or video.rate) in (None, source.fps)
        and 0 < bitrate <= video.bitrate * 1050
    )
