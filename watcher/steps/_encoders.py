"""From a template to an encoder's arguments: rate control, key frames, profiles (contract templates.md, section 2).

``speed`` is a preset name of x264 and x265; the other encoders get what is about as fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from watcher.errors import MediaError
from watcher.model.media_info import MediaInfo
from watcher.model.video import TehdConfig, VideoTemplate

CODEC_NAMES = {
    "h264": "h264", "h265": "hevc", "h266": "vvc", "av1": "av1", "vp8": "vp8", "vp9": "vp9",
    "mpeg2": "mpeg2video", "dnxhd": "dnxhd",
}  # fmt: skip
"""ffprobe's name of what an encoder makes."""
SOFTWARE = {
    "h264": "libx264", "h265": "libx265", "h266": "libvvenc", "av1": "libsvtav1", "vp8": "libvpx", "vp9": "libvpx-vp9",
    "mpeg2": "mpeg2video", "dnxhd": "dnxhd",
}  # fmt: skip
HARDWARE = {
    "nvenc": {"h264": "h264_nvenc", "h265": "hevc_nvenc", "av1": "av1_nvenc"},
    "qsv": {"h264": "h264_qsv", "h265": "hevc_qsv", "av1": "av1_qsv"},
    "vaapi": {"h264": "h264_vaapi", "h265": "hevc_vaapi", "av1": "av1_vaapi"},
}
DEFAULT_CRF = {"h264": 23, "h265": 28, "av1": 35, "vp8": 20, "vp9": 33, "h266": 32, "mpeg2": 4}
"""The quality where a template leaves it open: about the same picture from each."""

_SPEEDS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
)  # fmt: skip
_SVT = (12, 11, 10, 9, 8, 7, 6, 5, 4)
_VPX = (8, 7, 6, 5, 4, 3, 2, 1, 0)
_VVENC = ("faster", "faster", "faster", "faster", "fast", "fast", "medium", "slow", "slower")
_NVENC = ("p1", "p2", "p3", "p3", "p4", "p4", "p5", "p6", "p7")


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """Choices of the installation that templates leave open. ``hardware`` is a family of :data:`HARDWARE`, or empty."""

    speed: str = "veryfast"
    hardware: str = ""


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where segments may begin, so that every output that needs it has a key frame there.

    ``seconds`` apart; or, when ``times`` are given, exactly there. The first ``first_count`` are
    ``first_seconds`` apart.
    """

    seconds: float
    times: tuple[float, ...] = ()
    first_seconds: float = 0.0
    first_count: int = 0

    @property
    def arguments(self) -> list[str]:
        """The key frames, in ffmpeg's words."""
        if self.times:
            return ["-force_key_frames", ",".join(f"{time:g}" for time in self.times)]
        if self.first_count:
            later = f"{self.first_count * self.first_seconds:g}+(n_forced-{self.first_count})*{self.seconds:g}"
            return [
                "-force_key_frames",
                f"expr:if(lt(n_forced,{self.first_count}),gte(t,n_forced*{self.first_seconds:g}),gte(t,{later}))",
            ]
        return ["-force_key_frames", f"expr:gte(t,n_forced*{self.seconds:g})"]


@dataclass(frozen=True, slots=True)
class Rate:
    """What rate control is asked for: ``bitrate`` in kbit/s, 0 for none; ``crf`` None for none."""

    mode: str
    bitrate: int
    crf: int | None
    cap: int = 0


def rate_of(video: VideoTemplate, media: MediaInfo, tehd: TehdConfig | None, crf: int | None = None) -> Rate:
    """The rate control of a template over a source. ``crf`` is what a search for a quality found."""
    bitrate = video.bitrate
    if video.compress > 0:
        source = (media.picture.bitrate if media.picture else 0) or media.bitrate
        if not source:
            raise MediaError("InvalidInput", "Compress needs a source whose bit rate is known")
        bitrate = max(1, round(source / 1000 * video.compress / 100))
    default = DEFAULT_CRF.get(video.codec)
    if crf is not None:
        return Rate("CRF", 0, crf, bitrate)
    if tehd is not None and tehd.type:
        return Rate("CRF", 0, video.crf or default, tehd.max_video_bitrate or bitrate)
    if video.mode == "VCRF" or not bitrate:
        return Rate("CRF", 0, default if video.crf is None else video.crf)
    if video.mode == "VBR" and video.crf is not None:
        return Rate("CRF", 0, video.crf, bitrate)
    return Rate(video.mode, bitrate, None)


def arguments(
    video: VideoTemplate, rate: Rate, fps: Fraction, container: str, cuts: Cuts | None, options: EncoderOptions
) -> list[str]:
    """The encoder's arguments for a template; ``fps`` is the rate of the output."""
    step = _SPEEDS.index(options.speed)
    hardware = HARDWARE.get(options.hardware, {}).get(video.codec, "")
    private: list[str] = []
    if hardware:
        found = _hardware(hardware, options.hardware, rate, step)
    else:
        found = ["-c:v", SOFTWARE[video.codec], *_software(video, rate, step, private)]
    gop = _gop(video, fps, cuts)
    # Segments can only begin at key frames: at most one GOP a segment, and segments divide evenly.
    found += cuts.arguments if cuts is not None else []
    found += ["-g", str(gop)] if gop else []
    if video.no_scenecut and not hardware:
        found += ["-sc_threshold", "40"] if video.codec == "h264" else []
        private += ["scenecut=40"] if video.codec == "h265" else []
    elif video.codec in ("h264", "h265") and (gop or cuts is not None):
        # Key frames where the template says and nowhere else: renditions of one ladder cut at the same frames.
        _fixed_gop(video.codec, hardware, found, private)
    found += _limits(video, hardware, private)
    if video.codec == "h265" and container in ("mp4", "mov", "mp4-segment"):
        found += ["-tag:v", "hvc1"]  # what Apple's players insist on
    if video.codec == "h265" and not hardware:
        private.append("log-level=error")
    if private:
        found += ["-x264-params" if video.codec == "h264" else "-x265-params", ":".join(private)]
    return found


def _gop(video: VideoTemplate, fps: Fraction, cuts: Cuts | None) -> int:
    """Frames between key frames; 0 leaves it to the encoder."""
    gop = round(video.gop * fps) if video.gop_unit == "second" else video.gop
    if cuts is None:
        return gop
    if video.codec == "av1" and not cuts.times:
        return round(cuts.seconds * fps)  # SVT-AV1 takes no forced key frames
    return gop or (100_000 if cuts.times or cuts.first_count else 0)


def _limits(video: VideoTemplate, hardware: str, private: list[str]) -> list[str]:
    """What a decoder has to be able to do."""
    found = ["-bf", str(video.bframes)] if video.bframes is not None and video.bframes >= 0 else []
    if video.video_profile != "default":
        found += ["-profile:v", video.video_profile]
    if video.video_level and video.codec == "h265" and not hardware:
        private.append(f"level-idc={video.video_level}")
    elif video.video_level:
        found += ["-level:v", video.video_level]
    return found


def _fixed_gop(codec: str, hardware: str, found: list[str], private: list[str]) -> None:
    if hardware:
        if hardware.endswith("_nvenc"):
            found += ["-no-scenecut", "1", "-forced-idr", "1"]
        return
    if codec == "h264":
        found += ["-sc_threshold", "0"]
    else:
        private += ["scenecut=0", "open-gop=0"]


def _software(video: VideoTemplate, rate: Rate, step: int, private: list[str]) -> list[str]:
    codec = video.codec
    if codec in ("h264", "h265"):
        return ["-preset", _SPEEDS[step], *_x26x(codec, rate, private)]
    if codec == "av1":
        found = ["-preset", str(_SVT[step])]
        return found + (_crf(rate, "maxrate") if rate.crf is not None else ["-b:v", f"{rate.bitrate}k"])
    if codec in ("vp8", "vp9"):
        found = ["-deadline", "good", "-cpu-used", str(_VPX[step] if codec == "vp9" else min(5, _VPX[step]))]
        found += ["-row-mt", "1"] if codec == "vp9" else []
        if rate.crf is not None:
            # libvpx's quality goes with a bit rate of 0 (VP9), or a high one that is never reached (VP8).
            return [*found, "-crf", str(rate.crf), "-b:v", f"{rate.cap}k" if rate.cap else _open(codec)]
        found += ["-b:v", f"{rate.bitrate}k"]
        return found + (["-minrate", f"{rate.bitrate}k", "-maxrate", f"{rate.bitrate}k"] if rate.mode == "CBR" else [])
    if codec == "h266":
        found = ["-preset", _VVENC[step]]
        return found + (["-qp", str(rate.crf)] if rate.crf is not None else ["-b:v", f"{rate.bitrate}k"])
    if codec == "mpeg2":
        quality = ["-q:v", str(max(1, min(31, rate.crf or 4)))]
        return quality if not rate.bitrate else ["-b:v", f"{rate.bitrate}k", "-maxrate", f"{2 * rate.bitrate}k",
                                                 "-bufsize", f"{2 * rate.bitrate}k"]  # fmt: skip
    return ["-profile:v", "dnxhr_sq"]


def _open(codec: str) -> str:
    return "0" if codec == "vp9" else "50M"


def _crf(rate: Rate, cap: str) -> list[str]:
    found = ["-crf", str(rate.crf)]
    return found + ([f"-{cap}", f"{rate.cap}k", "-bufsize", f"{2 * rate.cap}k"] if rate.cap else [])


def _x26x(codec: str, rate: Rate, private: list[str]) -> list[str]:
    if rate.crf is not None:
        return _crf(rate, "maxrate")
    text = f"{rate.bitrate}k"
    if rate.mode == "CBR":
        private.append("nal-hrd=cbr" if codec == "h264" else "strict-cbr=1")
        return ["-b:v", text, "-minrate", text, "-maxrate", text, "-bufsize", text]
    if rate.mode == "VBR":
        return ["-b:v", text, "-maxrate", f"{2 * rate.bitrate}k", "-bufsize", f"{4 * rate.bitrate}k"]
    return ["-b:v", text]


def _hardware(encoder: str, family: str, rate: Rate, step: int) -> list[str]:
    found = ["-c:v", encoder]
    cap = ["-maxrate", f"{rate.cap}k", "-bufsize", f"{2 * rate.cap}k"] if rate.cap else []
    bitrate = ["-b:v", f"{rate.bitrate}k", "-maxrate", f"{(1 if rate.mode == 'CBR' else 2) * rate.bitrate}k"]
    if family == "nvenc":
        found += ["-preset", _NVENC[step]]
        return found + (["-rc", "vbr", "-cq", str(rate.crf), "-b:v", "0", *cap] if rate.crf is not None else bitrate)
    if family == "qsv":
        return found + (["-global_quality", str(rate.crf), *cap] if rate.crf is not None else bitrate)
    return found + (["-rc_mode", "CQP", "-qp", str(rate.crf)] if rate.crf is not None else bitrate)


def pixel_format(video: VideoTemplate, options: EncoderOptions) -> str:
    """What the encoder is fed with."""
    if video.codec == "dnxhd":
        return "yuv422p"
    if options.hardware and video.codec in HARDWARE[options.hardware]:
        wide = "p010le" if video.bit_depth == 10 else "nv12"
        return f"{wide},hwupload" if options.hardware == "vaapi" else wide
    if video.codec == "h266":
        return "yuv420p10le"
    return "yuv420p10le" if video.bit_depth == 10 else "yuv420p"
