"""The audio half of a transcode template (contract templates.md, section 3). Bit rates in kbit/s."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from watcher.model.base import Value

AudioCodec = Literal["aac", "mp3", "mp2", "flac", "opus", "vorbis", "ac3", "eac3", "pcm16", "pcm24", "copy"]

AUDIO_CODECS: dict[str, tuple[AudioCodec, ...]] = {
    "mp4": ("aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "copy"),
    "mov": ("aac", "mp3", "ac3", "pcm16", "pcm24", "copy"),
    "mkv": ("aac", "mp3", "mp2", "ac3", "eac3", "flac", "opus", "vorbis", "pcm16", "pcm24", "copy"),
    "webm": ("opus", "vorbis", "copy"),
    "flv": ("aac", "mp3", "copy"),
    "hls": ("aac", "mp3", "ac3", "eac3", "copy"),
    "ts": ("aac", "mp3", "mp2", "ac3", "eac3", "copy"),
    "mxf": ("pcm16", "pcm24", "copy"),
    "mp3": ("mp3", "copy"),
    "flac": ("flac", "copy"),
    "ogg": ("flac", "opus", "vorbis", "copy"),
    "m4a": ("aac", "ac3", "copy"),
    "wav": ("pcm16", "pcm24", "copy"),
}
MULTI_TRACK = frozenset({"mp4", "mov", "mkv", "ts", "mxf"})
"""Containers that take several audio tracks; the others get the first one selected."""

StreamSelects = Annotated[tuple[Annotated[int, Field(ge=0, le=63)], ...], Field(max_length=64)]


class AudioTemplateUpdate(Value):
    """Every member optional: what ``OverrideParameter.AudioTemplate`` may hold."""

    codec: AudioCodec | None = None
    bitrate: Annotated[int, Field(ge=0, le=6144)] | None = None
    sample_rate: Annotated[int, Field(ge=0, le=192_000)] | None = None
    audio_channel: Literal[0, 1, 2, 6] | None = None
    stream_selects: StreamSelects | None = None


class AudioTemplate(Value):
    """Contract templates.md, section 3."""

    codec: AudioCodec
    bitrate: Annotated[int, Field(ge=0, le=6144)] = 0
    sample_rate: Annotated[int, Field(ge=0, le=192_000)] = 0
    audio_channel: Literal[0, 1, 2, 6] = 2
    stream_selects: StreamSelects = ()
    """Which audio streams of the source are kept, counted from 0; empty: all that the container takes."""
    audio_name: str = Field(default="", max_length=64, pattern=r'^[^\x00-\x1f"]*$')
    audio_language: str = Field(default="", pattern=r"^(|source|[a-z]{3})$")
    default_track: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> AudioTemplate:
        if self.bitrate and self.bitrate < 24:  # preset 1100 has 24 although the text says 26
            raise ValueError("Bitrate must be 0 (as the source) or at least 24 kbit/s")
        if self.codec == "mp3" and self.audio_channel == 6:
            raise ValueError("mp3 has at most 2 channels")
        return self
