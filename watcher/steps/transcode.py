"""Transcoding, audio extraction and re-packaging (contract pipelines.md, section 2)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from watcher.errors import MediaError
from watcher.media.assets import Assets, Wanted
from watcher.media.quality import Search
from watcher.media.render import Clip, Copy, Join, Layer, Picture, Render, Sound, Subtitles, Track, Window
from watcher.media.verify import Produced
from watcher.model.audio import MULTI_TRACK
from watcher.model.inputs import TranscodeInput
from watcher.model.media_info import MediaInfo
from watcher.model.output_path import beside
from watcher.model.templates import TranscodeTemplate
from watcher.steps import _encoders, _hls, _layers, _picture, _sound, _subtitles
from watcher.steps._encoders import Cuts
from watcher.steps.base import CONTENT_TYPES, OutputFile, Step, StepOutput, md5_of, offsets, picture_of

DEFAULT_PATH = "{inputName}_transcode_{definition}.{format}"
DEFAULT_SEGMENT = "{inputName}_transcode_{definition}_{number}.{format}"
DEFAULT_HLS_SECONDS = 10.0
"""Average segment length when the template leaves it open; the contract's default of the update type."""

_MUXERS = {
    "mp4": ("-f", "mp4", "-movflags", "+faststart"),
    "mov": ("-f", "mov", "-movflags", "+faststart"),
    "m4a": ("-f", "ipod", "-movflags", "+faststart"),
    "mkv": ("-f", "matroska"),
    "webm": ("-f", "webm"),
    "mxf": ("-f", "mxf"),
    "flv": ("-f", "flv", "-flvflags", "no_duration_filesize"),
    "ts": ("-f", "mpegts"),
    "mp3": ("-f", "mp3"),
    "flac": ("-f", "flac"),
    "ogg": ("-f", "ogg"),
    "wav": ("-f", "wav"),
}
_SEGMENTS = {0: "ts-segment", 2: "ts-byterange", 7: "mp4-segment", 5: "mp4-byterange"}
_APPENDED = frozenset({"mp4", "mov", "m4a", "ts", "mp3", "flac"})
_NO_COPY = "HeadTailParameter does not go with Codec copy: clips have to be encoded"
_SUBTITLE_TRACKS = {"mp4": "mov_text", "mov": "mov_text", "mkv": "srt", "webm": "webvtt"}


class TranscodeStep(Step[TranscodeInput, TranscodeTemplate]):
    """One output file, or one playlist with its segments."""

    def wanted(self, media: MediaInfo) -> dict[str, Wanted]:
        """Watermarks, clips before and after, subtitles and further tracks."""
        found = _layers.wanted(self.watermarks)
        around = self.spec.head_tail_parameter
        if around is not None:
            found |= {f"head{i}": Wanted("clip", source=clip) for i, clip in enumerate(around.head_set)}
            found |= {f"tail{i}": Wanted("clip", source=clip) for i, clip in enumerate(around.tail_set)}
        if self.template.subtitle_template is not None:
            found |= _subtitles.wanted(self.template.subtitle_template)
        override = self.spec.override_parameter
        if override is not None:
            found |= {f"audio{i}": Wanted("clip", source=s) for i, s in enumerate(override.addon_audio_stream)}
            found |= {
                f"track{i}": Wanted("subtitles", source=s.subtitle) for i, s in enumerate(override.add_on_subtitles)
            }
        return found

    def needs_loudness(self) -> bool:
        """Where the volume is brought to a level."""
        audio = self.template.enhance_config and self.template.enhance_config.audio_enhance
        balance = audio.volume_balance if audio else None
        return balance is not None and balance.switch == "ON" and balance.type == "loudNorm"

    def search(self, media: MediaInfo) -> Search | None:
        """Where the template names a quality to aim at."""
        video = self.template.video_template
        if video is None or not self.template.keeps_video or not video.target_vmaf:
            return None
        size = _picture.size_of(video, picture_of(media))

        def encoder(crf: int) -> list[str]:
            rate = _encoders.rate_of(video, media, None, crf)
            return _encoders.arguments(
                video, rate, picture_of(media).fps, "mkv", None, replace(self.options, hardware="")
            )

        highest = 51 if video.codec in ("h264", "h265") else 63
        return Search(video.target_vmaf, 12, highest, (size.width, size.height), encoder)

    def renders(self, media: MediaInfo, assets: Assets) -> list[Render]:
        """One render; the source's missing sound is no error, a missing picture is."""
        template = self.template
        window = offsets(self.spec.start_time_offset, self.spec.end_time_offset, media.duration)
        join = self._join(assets)
        video: Picture | Copy | None = None
        if template.keeps_video:
            video = self._video(media, assets, window, join)
        audio = self._audio(media, assets, window, join)
        if video is None and not audio:
            raise MediaError("SourceFileError", "the source has no audio stream, and only audio is asked for")
        file, muxer = self._muxer()
        if template.video_template is not None and template.video_template.raw_pts and media.picture is not None:
            muxer = ("-output_ts_offset", f"{media.picture.start:.6f}", *muxer)
        subtitles = self._tracks(assets)
        codec = _SUBTITLE_TRACKS.get(template.container, "")
        if subtitles and not codec:
            raise MediaError("InvalidInput", f"AddOnSubtitles does not go into {template.container}")
        return [
            Render(
                self.name,
                window,
                video,
                audio,
                file,
                muxer,
                join,
                subtitles,
                codec,
                report=bool(template.quality_report) and isinstance(video, Picture) and join is None,
            )
        ]

    def _join(self, assets: Assets) -> Join | None:
        around = self.spec.head_tail_parameter
        if around is None or not (around.head_set or around.tail_set):
            return None
        if not self.template.keeps_video:
            raise MediaError("InvalidInput", "HeadTailParameter needs an output with a picture")
        video = self.template.video_template
        if video is not None and video.codec == "copy":
            raise MediaError("InvalidInput", _NO_COPY)
        return Join(_clips(assets, "head", len(around.head_set)), _clips(assets, "tail", len(around.tail_set)))

    def _video(self, media: MediaInfo, assets: Assets, window: Window, join: Join | None) -> Picture | Copy:
        video = self.template.video_template
        assert video is not None  # noqa: S101  the template was validated
        enhance = self.template.enhance_config
        want = _picture.Want(
            self.template.container,
            self.options,
            window,
            join,
            self._cuts() if self.template.container == "hls" else None,
            self.template.tehd_config,
            enhance.video_enhance if enhance else None,
        )
        dressed = bool(self.watermarks or self.spec.mosaic_set or self.template.subtitle_template)
        if video.codec == "copy" and dressed:
            raise MediaError("InvalidInput", "WatermarkSet, MosaicSet and SubtitleTemplate do not go with Codec copy")
        over: tuple[Layer, ...] = ()
        if dressed:
            size = _picture.size_of(video, picture_of(media))
            over = _layers.layers(self.watermarks, self.spec.mosaic_set, size, assets, media.duration, window)
            if self.template.subtitle_template is not None:
                path = _subtitles.burn_in(self.template.subtitle_template, assets, size, window)
                over = (*over[: len(self.spec.mosaic_set)], Subtitles(*path), *over[len(self.spec.mosaic_set) :])
        return _picture.picture(video, media, want, over, assets)

    def _audio(self, media: MediaInfo, assets: Assets, window: Window, join: Join | None) -> tuple[Sound | Copy, ...]:
        template = self.template
        if template.remove_audio:
            return ()
        audio = template.audio_template
        assert audio is not None  # noqa: S101  the template was validated
        found: tuple[Sound | Copy, ...] = ()
        if media.sound is not None:
            if audio.codec == "copy" and join is not None:
                raise MediaError("InvalidInput", _NO_COPY)
            enhance = template.enhance_config.audio_enhance if template.enhance_config else None
            done = _sound.filters(enhance, assets)
            if done and audio.codec == "copy":
                raise MediaError("InvalidInput", "AudioEnhance does not go with Codec copy")
            found = _sound.tracks(audio, media, template.container, window, join=join, done=done)
        return found + self._added(assets)

    def _added(self, assets: Assets) -> tuple[Sound | Copy, ...]:
        override, audio = self.spec.override_parameter, self.template.audio_template
        if override is None or not override.addon_audio_stream or audio is None:
            return ()
        if self.template.container not in MULTI_TRACK:
            raise MediaError("InvalidInput", f"{self.template.container} takes one audio track: no AddonAudioStream")
        found: list[Sound | Copy] = []
        for index in range(len(override.addon_audio_stream)):
            asset = assets[f"audio{index}"]
            if asset.media is None or asset.media.sound is None:
                raise MediaError("InvalidInput", f"AddonAudioStream[{index}] has no sound")
            track = Track(0, asset.path)
            if audio.codec == "copy":
                found.append(Copy(_sound.copied("audio", asset.media.sound.codec, self.template.container), track))
            else:
                found.append(_sound.encoded(audio, asset.media.sound, (), track))
        return tuple(found)

    def _tracks(self, assets: Assets) -> tuple[tuple[str, str, str], ...]:
        override = self.spec.override_parameter
        if override is None:
            return ()
        return tuple(
            (_subtitles.as_srt(assets, f"track{index}"), item.subtitle_language, item.subtitle_name)
            for index, item in enumerate(override.add_on_subtitles)
        )

    def _cuts(self) -> Cuts:
        video = self.template.video_template
        seconds = (video.hls_time if video else 0) or DEFAULT_HLS_SECONDS
        first = video.segment_specific_info if video else None
        if first is None or first.switch == "off":
            return Cuts(seconds)
        return Cuts(seconds, (), first.fragment_time, first.fragment_end_num)

    def _muxer(self) -> tuple[str, tuple[str, ...]]:
        if self.template.container != "hls":
            return f"main.{self.template.extension}", _MUXERS[self.template.container]
        video = self.template.video_template
        segments = _SEGMENTS[video.segment_type if video else 0]
        return "main.m3u8", _hls.muxer(self.name, segments, self._cuts())

    def early(self, render: Render, file: str) -> tuple[str, str] | None:
        """A file that is only appended to, but for its head; the segments of HLS."""
        key = self.naming.object_key(self.patterns["output_object_path"], self.template.extension)
        if self.template.container == "hls":
            return _hls.early(file, beside(key, self.patterns["segment_object_name"]), self.naming)
        if self.template.container not in _APPENDED or file != render.file:
            return None
        return key, CONTENT_TYPES[self.template.extension]

    def collect(self, produced: list[Produced], directory: Path) -> StepOutput:
        """The main file; for HLS the segments first, then the playlist that names them."""
        (made,) = produced
        main = made.files[0]
        key = self.naming.object_key(self.patterns["output_object_path"], self.template.extension)
        files: list[OutputFile] = []
        if self.template.container == "hls":
            # Segment names are relative to the directory of the playlist.
            files = _hls.segments(made.files[1:], beside(key, self.patterns["segment_object_name"]), self.naming)
            names = {file.path.name: file.key for file in files}
            main = _hls.rewrite(main, directory / f"{self.name}.m3u8", key, names)
        files.append(OutputFile(main, key, CONTENT_TYPES[self.template.extension]))
        size = sum(file.path.stat().st_size for file in files)
        return StepOutput(tuple(files), self._item(made, main, key, size))

    def _item(self, made: Produced, main: Path, key: str, size: int) -> dict[str, Any]:
        media, picture = made.media, made.media.picture
        item = {
            "output_storage": self.storage,
            "path": f"/{key}",
            "definition": self.spec.definition,
            "bitrate": round(size * 8 / media.duration) if media.duration else 0,
            "height": picture.height if picture else 0,
            "width": picture.width if picture else 0,
            "size": size,
            "duration": round(media.duration, 3),
            "container": "hls,applehttp" if self.template.container == "hls" else media.container,
            "md5": md5_of(main),
            **media.stream_sets(),
            "call_back_ext_info": None,
        }
        if made.quality is not None:
            item["quality"] = made.quality
        return item

    @property
    def patterns(self) -> dict[str, str]:
        return {
            "output_object_path": self.spec.output_object_path or DEFAULT_PATH,
            "segment_object_name": self.spec.segment_object_name or DEFAULT_SEGMENT,
        }


def _clips(assets: Assets, name: str, count: int) -> tuple[Clip, ...]:
    found = []
    for index in range(count):
        asset = assets[f"{name}{index}"]
        assert asset.media is not None  # noqa: S101  clips are probed
        found.append(Clip(asset.path, asset.media))
    return tuple(found)
