"""What a probe found in a media file."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

HDR_TRANSFERS = {"smpte2084": "hdr10", "arib-std-b67": "hlg"}
"""Transfer functions of high dynamic range, and what the contract calls them."""
_H264_PROFILES = {"Constrained Baseline": "42C0", "Baseline": "4200", "Main": "4D40", "High": "6400", "High 10": "6E00"}
_AAC_OBJECTS = {"LC": 2, "HE-AAC": 5, "HE-AACv2": 29}


@dataclass(frozen=True, slots=True)
class VideoStream:
    """One video stream. ``width`` and ``height`` are as shown, after rotation; ``frames`` is 0 when not counted."""

    index: int
    codec: str
    width: int
    height: int
    fps: Fraction
    bitrate: int
    duration: float
    pixel_format: str = ""
    bit_depth: int = 8
    rotate: int = 0
    frames: int = 0
    color_primaries: str = ""
    color_space: str = ""
    color_transfer: str = ""
    profile: str = ""
    level: int = 0
    attached_picture: bool = False
    sar: Fraction = Fraction(1)
    """Shape of a pixel, width by height, after rotation."""
    start: float = 0.0
    """Presentation time of the first frame in seconds, as the container has it."""

    @property
    def is_hdr(self) -> bool:
        """Whether the picture is of high dynamic range (PQ or HLG)."""
        return self.color_transfer in HDR_TRANSFERS

    @property
    def rfc6381(self) -> str | None:
        """The ``codecs`` parameter of RFC 6381; None where the profile or level is not known."""
        if self.level <= 0 and self.codec != "av1":
            return None
        if self.codec == "h264" and self.profile in _H264_PROFILES:
            return f"avc1.{_H264_PROFILES[self.profile]}{self.level:02X}".lower()
        if self.codec == "hevc":
            profile = "2.4" if self.bit_depth == 10 else "1.6"
            return f"hvc1.{profile}.L{self.level}.B0"
        if self.codec == "av1":
            return f"av01.0.{max(0, self.level):02d}M.{self.bit_depth:02d}"
        return None


@dataclass(frozen=True, slots=True)
class AudioStream:
    """One audio stream; ``bitrate`` in bit/s, ``sample_rate`` in Hz."""

    index: int
    codec: str
    sample_rate: int
    channels: int
    bitrate: int
    duration: float
    profile: str = ""
    language: str = ""

    @property
    def rfc6381(self) -> str | None:
        """The ``codecs`` parameter of RFC 6381."""
        if self.codec == "aac":
            return f"mp4a.40.{_AAC_OBJECTS.get(self.profile, 2)}"
        return {"mp3": "mp4a.40.34", "ac3": "ac-3", "eac3": "ec-3", "opus": "opus", "flac": "fLaC"}.get(self.codec)


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """One media file. ``duration`` in seconds, ``bitrate`` in bit/s, ``size`` in bytes."""

    container: str
    duration: float
    bitrate: int
    size: int
    video: tuple[VideoStream, ...] = ()
    audio: tuple[AudioStream, ...] = ()
    other_streams: int = 0

    @property
    def picture(self) -> VideoStream | None:
        """The video stream that is processed: the largest that is not cover art."""
        moving = [stream for stream in self.video if not stream.attached_picture]
        return max(moving, key=lambda stream: stream.width * stream.height, default=None)

    @property
    def pixels(self) -> float:
        """How much there is to decode: the pixels of all frames together."""
        picture = self.picture
        if picture is None:
            return 0.0
        return picture.width * picture.height * float(picture.fps or 25) * self.duration

    @property
    def sound(self) -> AudioStream | None:
        """The audio stream that is processed: the first."""
        return self.audio[0] if self.audio else None

    def stream_sets(self) -> dict[str, Any]:
        """``video_stream_set`` and ``audio_stream_set`` of the contract (tasks.md, section 6.2)."""
        return {
            "video_stream_set": [_video_item(stream) for stream in self.video if not stream.attached_picture],
            "audio_stream_set": [_audio_item(stream) for stream in self.audio],
        }

    def metadata(self) -> dict[str, Any]:
        """The MediaMetaData of the contract (tasks.md, section 6.2), in snake_case."""
        picture, sound = self.picture, self.sound
        return {
            "size": self.size,
            "container": self.container,
            "bitrate": self.bitrate or (round(self.size * 8 / self.duration) if self.duration else 0),
            "height": picture.height if picture else 0,
            "width": picture.width if picture else 0,
            "duration": round(self.duration, 3),
            "rotate": picture.rotate if picture else 0,
            "video_duration": round(picture.duration or self.duration, 3) if picture else 0.0,
            "audio_duration": round(sound.duration or self.duration, 3) if sound else 0.0,
            **self.stream_sets(),
        }


def _video_item(stream: VideoStream) -> dict[str, Any]:
    return {
        "bitrate": stream.bitrate,
        "height": stream.height,
        "width": stream.width,
        "codec": stream.codec,
        "fps": int(stream.fps),
        "color_primaries": stream.color_primaries or None,
        "color_space": stream.color_space or None,
        "color_transfer": stream.color_transfer or None,
        "hdr_type": HDR_TRANSFERS.get(stream.color_transfer, "sdr"),
        "codecs": stream.rfc6381,
        "fps_numerator": stream.fps.numerator,
        "fps_denominator": stream.fps.denominator,
    }


def _audio_item(stream: AudioStream) -> dict[str, Any]:
    return {
        "bitrate": stream.bitrate,
        "sampling_rate": stream.sample_rate,
        "codec": stream.codec,
        "channel": stream.channels,
        "codecs": stream.rfc6381,
        "loudness": None,
    }
