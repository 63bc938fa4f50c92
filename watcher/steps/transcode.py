"""Transcoding, audio extraction and re-packaging (contract pipelines.md, section 2)."""

from __future__ import annotations

import hashlib
import posixpath
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import quote

from watcher.errors import MediaError
from watcher.media.render import Copy, Picture, Render, Sound, Steady, Window, fit
from watcher.media.verify import Produced
from watcher.model.inputs import TranscodeInput
from watcher.model.media_info import MediaInfo, VideoStream
from watcher.model.templates import AudioTemplate, TranscodeTemplate, VideoTemplate
from watcher.steps.base import CONTENT_TYPES, OutputFile, Step, StepOutput, picture_of

DEFAULT_PATH = "{inputName}_transcode_{definition}.{format}"
DEFAULT_SEGMENT = "{inputName}_transcode_{definition}_{number}.{format}"
DEFAULT_HLS_SECONDS = 10
"""Average segment length when the template leaves it open; the contract's default of the update type."""

_MUXERS = {
    "mp4": ("-f", "mp4", "-movflags", "+faststart"),
    "mov": ("-f", "mov", "-movflags", "+faststart"),
    "m4a": ("-f", "ipod", "-movflags", "+faststart"),
    "mkv": ("-f", "matroska"),
    "flv": ("-f", "flv", "-flvflags", "no_duration_filesize"),
    "ts": ("-f", "mpegts"),
    "mp3": ("-f", "mp3"),
    "flac": ("-f", "flac"),
    "ogg": ("-f", "ogg"),
    "wav": ("-f", "wav"),
}
_SOUND = {
    "aac": ("aac", "aac"),
    "mp3": ("mp3", "libmp3lame"),
    "mp2": ("mp2", "mp2"),
    "flac": ("flac", "flac"),
    "opus": ("opus", "libopus"),
    "ac3": ("ac3", "ac3"),
    "pcm16": ("pcm_s16le", "pcm_s16le"),
    "pcm24": ("pcm_s24le", "pcm_s24le"),
}
"""Per audio codec: ffprobe's name, and the encoder."""
_LOSSLESS = frozenset({"flac", "pcm16", "pcm24"})
_DEFAULT_CRF = {"h264": 23, "h265": 28}
_COPY_INTO = {
    "mp4": {"h264", "hevc", "av1", "vp9", "mpeg4", "aac", "mp3", "ac3", "eac3", "opus", "flac", "alac", "mp2"},
    "mov": {"h264", "hevc", "mpeg4", "prores", "aac", "mp3", "ac3", "alac", "pcm_s16le", "pcm_s24le", "mjpeg"},
    "hls": {"h264", "hevc", "aac", "mp3", "ac3", "eac3"},
    "ts": {"h264", "hevc", "mpeg2video", "aac", "mp3", "mp2", "ac3", "eac3"},
    "flv": {"h264", "flv1", "aac", "mp3"},
    "mp3": {"mp3"},
    "flac": {"flac"},
    "ogg": {"vorbis", "opus", "flac"},
    "m4a": {"aac", "alac", "ac3"},
    "wav": {"pcm_s16le", "pcm_s24le", "pcm_u8", "pcm_s32le", "pcm_f32le"},
}
"""Source codecs that may be re-packaged into a container; Matroska takes all."""


class TranscodeStep(Step[TranscodeInput, TranscodeTemplate]):
    """One output file, or one playlist with its segments."""

    def renders(self, media: MediaInfo) -> list[Render]:
        """One render; the source's missing sound is no error, a missing picture is."""
        template = self.template
        window = offsets(self.spec.start_time_offset, self.spec.end_time_offset, media.duration)
        video: Picture | Copy | None = None
        audio: Sound | Copy | None = None
        if template.keeps_video:
            assert template.video_template is not None  # noqa: S101  the template was validated
            video = self._video(template.video_template, picture_of(media))
        if not template.remove_audio and media.sound is not None:
            assert template.audio_template is not None  # noqa: S101
            audio = self._audio(template.audio_template, media)
        if video is None and audio is None:
            raise MediaError("SourceFileError", "the source has no audio stream, and only audio is asked for")
        file, muxer = self._muxer()
        return [Render(self.name, window, video, audio, file, muxer)]

    def _muxer(self) -> tuple[str, tuple[str, ...]]:
        if self.template.container != "hls":
            return f"main.{self.template.extension}", _MUXERS[self.template.container]
        seconds = (self.template.video_template and self.template.video_template.hls_time) or DEFAULT_HLS_SECONDS
        muxer = ("-f", "hls", "-hls_time", str(seconds), "-hls_list_size", "0", "-hls_playlist_type", "vod")
        # Relative to the folder of all renders, where ffmpeg runs.
        return "main.m3u8", (*muxer, "-hls_segment_filename", f"{self.name}/segment%d.ts")

    def _video(self, video: VideoTemplate, source: VideoStream) -> Picture | Copy:
        if video.codec == "copy":
            return self._copy("video", source.codec)
        size = fit(
            (source.width, source.height),
            video.width,
            video.height,
            adaptive=video.resolution_adaptive,
            fill=video.fill_type,
        )
        rate = Fraction(video.fps) if video.fps else None
        encoder = video_encoder(video, rate or source.fps or Fraction(25), self.template.container, self.options.speed)
        return Picture(
            frames=Steady(rate),
            size=size,
            codec="h264" if video.codec == "h264" else "hevc",
            encoder=tuple(encoder),
            pixel_format="yuv420p10le" if video.bit_depth == 10 else "yuv420p",
            threaded=True,
        )

    def _audio(self, audio: AudioTemplate, media: MediaInfo) -> Sound | Copy:
        source = media.sound
        assert source is not None  # noqa: S101
        if audio.codec == "copy":
            return self._copy("audio", source.codec)
        codec, encoder = _SOUND[audio.codec]
        arguments = ["-c:a", encoder]
        if audio.codec not in _LOSSLESS:
            rate = audio.bitrate or max(24, min(320, round(source.bitrate / 1000))) if source.bitrate else audio.bitrate
            arguments += ["-b:a", f"{rate or 128}k"]
        if audio.sample_rate:
            arguments += ["-ar", str(audio.sample_rate)]
        if audio.audio_channel:
            arguments += ["-ac", str(audio.audio_channel)]
        return Sound(codec, tuple(arguments))

    def _copy(self, kind: str, codec: str) -> Copy:
        allowed = _COPY_INTO.get(self.template.container)
        if allowed is not None and codec not in allowed:
            message = f"the source's {kind} is {codec}, which can't be re-packaged into {self.template.container}"
            raise MediaError("InvalidInput", message)
        return Copy(codec)

    def collect(self, produced: list[Produced], directory: Path) -> StepOutput:
        """The main file; for HLS the segments first, then the playlist that names them."""
        (made,) = produced
        main = made.files[0]
        key = self.naming.object_key(self.patterns["output_object_path"], self.template.extension)
        files: list[OutputFile] = []
        if self.template.container == "hls":
            files = self._segments(key, made.files[1:])
            main = self._playlist(main, directory, key, dict(zip(made.files[1:], files, strict=True)))
        files.append(OutputFile(main, key, CONTENT_TYPES[self.template.extension]))
        size = sum(file.path.stat().st_size for file in files)
        return StepOutput(tuple(files), self._item(made.media, main, key, size))

    def _segments(self, key: str, segments: tuple[Path, ...]) -> list[OutputFile]:
        """Their names are relative to the directory of the playlist."""
        pattern = posixpath.join("/" + posixpath.dirname(key), self.patterns["segment_object_name"])
        return [
            OutputFile(path, self.naming.object_key(pattern, "ts", number=index, several=True), CONTENT_TYPES["ts"])
            for index, path in enumerate(segments)
        ]

    def _playlist(self, path: Path, directory: Path, key: str, files: dict[Path, OutputFile]) -> Path:
        """The playlist with our own segment names replaced by those of the objects."""
        names = {
            local.name: quote(posixpath.relpath(file.key, posixpath.dirname(key) or "."))
            for local, file in files.items()
        }
        lines = path.read_text(encoding="utf-8").splitlines()
        renamed = directory / f"{self.name}.m3u8"
        text = "\n".join(line if line.startswith("#") else names[posixpath.basename(line)] for line in lines if line)
        renamed.write_text(text + "\n", encoding="utf-8")
        return renamed

    def _item(self, media: MediaInfo, main: Path, key: str, size: int) -> dict[str, Any]:
        picture = media.picture
        with main.open("rb") as file:
            # The contract names an MD5; it identifies the file and protects nothing.
            checksum = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        return {
            "output_storage": self.storage,
            "path": f"/{key}",
            "definition": self.spec.definition,
            "bitrate": round(size * 8 / media.duration) if media.duration else 0,
            "height": picture.height if picture else 0,
            "width": picture.width if picture else 0,
            "size": size,
            "duration": round(media.duration, 3),
            "container": "hls,applehttp" if self.template.container == "hls" else media.container,
            "md5": checksum,
            **media.stream_sets(),
            "call_back_ext_info": None,
        }

    @property
    def patterns(self) -> dict[str, str]:
        return {
            "output_object_path": self.spec.output_object_path or DEFAULT_PATH,
            "segment_object_name": self.spec.segment_object_name or DEFAULT_SEGMENT,
        }


def offsets(start: float, end: float, duration: float) -> Window:
    """The window that two offsets mean (contract pipelines.md, section 2.1): 0 is unset, negative from the end."""
    first = start if start >= 0 else duration + start
    last = None if end == 0 else (end if end > 0 else duration + end)
    if first < 0 or first >= duration > 0 or (last is not None and last <= first):
        raise MediaError(
            "InvalidInput.InvalidTimeOffset",
            f"from {start:g} s to {end or duration:g} s is not a part of media that lasts {duration:.2f} s",
        )
    return Window(round(first, 6), None if last is None or last >= duration > 0 else round(last, 6))


def video_encoder(video: VideoTemplate, fps: Fraction, container: str, speed: str) -> list[str]:
    """The encoder's arguments for a template; ``fps`` is the rate of the output."""
    private: list[str] = []
    arguments = ["-c:v", "libx264" if video.codec == "h264" else "libx265", "-preset", speed]
    arguments += _rate_control(video, private)
    gop = round(video.gop * fps) if video.gop and video.gop_unit == "second" else video.gop
    if container == "hls":
        # Segments can only begin at key frames: at most one GOP a segment, and segments divide evenly.
        seconds = video.hls_time or DEFAULT_HLS_SECONDS
        arguments += ["-force_key_frames", f"expr:gte(t,n_forced*{seconds})"]
    if gop:
        arguments += ["-g", str(gop)]
    if video.bframes is not None and video.bframes >= 0:
        arguments += ["-bf", str(video.bframes)]
    if video.video_profile != "default":
        arguments += ["-profile:v", video.video_profile]
    if video.video_level:
        if video.codec == "h264":
            arguments += ["-level:v", video.video_level]
        else:
            private.append(f"level-idc={video.video_level}")
    if video.codec == "h265":
        private.append("log-level=error")
        if container in ("mp4", "mov"):
            arguments += ["-tag:v", "hvc1"]  # what Apple's players insist on
    if private:
        arguments += ["-x264-params" if video.codec == "h264" else "-x265-params", ":".join(private)]
    return arguments


def _rate_control(video: VideoTemplate, private: list[str]) -> list[str]:
    automatic = video.vcrf is None or video.vcrf == 100
    crf = _DEFAULT_CRF[video.codec] if automatic else video.vcrf
    rate = f"{video.bitrate}k"
    if video.mode == "VCRF" or not video.bitrate:
        return ["-crf", str(crf)]
    if video.mode == "VBR" and not automatic:
        return ["-crf", str(crf), "-maxrate", rate, "-bufsize", f"{2 * video.bitrate}k"]
    if video.mode == "CBR":
        private.append("nal-hrd=cbr" if video.codec == "h264" else "strict-cbr=1")
        return ["-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize", rate]
    if video.mode == "VBR":
        return ["-b:v", rate, "-maxrate", f"{2 * video.bitrate}k", "-bufsize", f"{4 * video.bitrate}k"]
    return ["-b:v", rate]
