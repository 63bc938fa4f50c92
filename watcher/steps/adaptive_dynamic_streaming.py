"""Adaptive bitrate streaming: a ladder of renditions as HLS or MPEG-DASH (contract pipelines.md, section 7).

All renditions come from one decode and cut at the same frames. Manifests are written here, of what was measured
in the finished files: bit rates, codecs, sizes.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from urllib.parse import quote

from watcher.errors import MediaError
from watcher.media.assets import Assets, Wanted
from watcher.media.render import Copy, Layer, Picture, Render, Size, Sound, Subtitles, Track, Window
from watcher.media.verify import Produced
from watcher.model.audio import AudioTemplate
from watcher.model.inputs import AdaptiveDynamicStreamingInput
from watcher.model.media_info import MediaInfo
from watcher.model.templates import AdaptiveDynamicStreamingTemplate, AdaptiveStreamTemplate
from watcher.model.video import VideoTemplate
from watcher.steps import _dash, _hls, _layers, _picture, _sound, _subtitles
from watcher.steps._encoders import Cuts
from watcher.steps.base import CONTENT_TYPES, OutputFile, Step, StepOutput, picture_of

DEFAULT_PATH = "{inputName}_adaptiveDynamicStreaming_{definition}.{format}"
DEFAULT_SUB_STREAM = "{inputName}_adaptiveDynamicStreaming_{definition}_{subStreamNumber}.{format}"
DEFAULT_SEGMENT = "{inputName}_adaptiveDynamicStreaming_{definition}_{subStreamNumber}_{segmentNumber}.{format}"
SECONDS = 6.0
"""Length of a segment where the templates leave it open. Ours."""

_QUOTED = frozenset({"CODECS", "AUDIO", "SUBTITLES", "GROUP-ID", "NAME", "LANGUAGE", "URI"})


@dataclass(frozen=True, slots=True)
class _Voice:
    """An audio rendition of its own: its name for people, its language."""

    render: str
    group: str
    name: str
    language: str
    default: bool


class AdaptiveDynamicStreamingStep(Step[AdaptiveDynamicStreamingInput, AdaptiveDynamicStreamingTemplate]):
    """A master manifest, a manifest for each rendition (HLS), and their segments."""

    _variants: tuple[tuple[str, AdaptiveStreamTemplate], ...] = ()
    _voices: tuple[_Voice, ...] = ()
    _assets: Assets

    def wanted(self, media: MediaInfo) -> dict[str, Wanted]:
        """Watermarks, subtitles, further tracks."""
        found = _layers.wanted(self.watermarks)
        if self.spec.subtitle_template is not None:
            found |= _subtitles.wanted(self.spec.subtitle_template)
        found |= {f"audio{i}": Wanted("clip", source=a.input_info) for i, a in enumerate(self.spec.add_on_audios)}
        found |= {f"track{i}": Wanted("subtitles", source=s.subtitle) for i, s in enumerate(self.spec.add_on_subtitles)}
        return found

    @property
    def _dash(self) -> bool:
        return self.template.format == "MPEG-DASH"

    @property
    def _pure_audio(self) -> bool:
        return bool(self.template.pure_audio) or self.spec.definition_type == "PureAudio"

    @property
    def _separate(self) -> bool:
        """Whether sound has renditions of its own, rather than being in each variant."""
        return self._dash or self.template.segments.startswith(("ts-ts", "mp4-mp4"))

    def renders(self, media: MediaInfo, assets: Assets) -> list[Render]:
        """One render for each variant, and for each audio rendition of its own."""
        self._assets = assets
        if self.template.encryption and self.spec.drm_info is None:
            raise MediaError(
                "InvalidInput", f"template {self.spec.definition} encrypts: give DrmInfo with a SimpleAesDrm"
            )
        if self.spec.drm_info is not None and self._dash:
            raise MediaError("InvalidInput", "DrmInfo of type simpleaes goes with HLS only")
        streams = self.spec.std_ext_stream_infos or self.template.stream_infos
        if self._pure_audio:
            if media.sound is None:
                raise MediaError("SourceFileError.NoAudioMedia", "the source has no audio stream")
            return self._audio_ladder(streams, media)
        picture_of(media)
        chosen = self._chosen([stream for stream in streams if not stream.remove_video], media)
        rate = next((stream.video.rate for stream in chosen if stream.video is not None), None)
        self._variants = tuple((f"{self.name}v{index}", stream) for index, stream in enumerate(chosen))
        found = [self._variant(name, stream, media, rate) for name, stream in self._variants]
        return found + list(self._audio(chosen, media))

    def _chosen(self, streams: list[AdaptiveStreamTemplate], media: MediaInfo) -> list[AdaptiveStreamTemplate]:
        """Without the variants above the source, where the template says so; the smallest is always kept."""
        source = picture_of(media)
        bitrate = source.bitrate or media.bitrate

        def wanted(stream: AdaptiveStreamTemplate) -> bool:
            assert stream.video is not None  # noqa: S101  the template was validated
            size = _picture.size_of(stream.video, source)
            too_large = size.width * size.height > source.width * source.height
            too_fast = stream.video.bitrate * 1000 > bitrate > 0
            return not (
                (too_large and self.template.disable_higher_video_resolution)
                or (too_fast and self.template.disable_higher_video_bitrate)
            )

        kept = [stream for stream in streams if wanted(stream)]
        return kept or [
            min(streams, key=lambda s: (s.video.height or s.video.width, s.video.bitrate) if s.video else (0, 0))
        ]

    def _cuts(self, video: VideoTemplate | None, media: MediaInfo) -> Cuts:
        seconds = (video.hls_time if video else 0) or SECONDS
        if not self.spec.key_pts_list:
            return Cuts(seconds)
        regular = [index * seconds for index in range(int(media.duration / seconds) + 1)]
        return Cuts(seconds, tuple(sorted({*regular, *(moment / 1000 for moment in self.spec.key_pts_list)})))

    def _variant(self, name: str, stream: AdaptiveStreamTemplate, media: MediaInfo, rate: Fraction | None) -> Render:
        assert stream.video is not None  # noqa: S101  the template was validated
        first = self._variants[0][1].video
        cuts = self._cuts(first, media)
        segments = self.template.segments
        container = "mp4-segment" if segments.startswith("mp4") else "hls"
        want = _picture.Want(container, self.options, Window(), cuts=cuts, rate=rate)
        size = _picture.size_of(stream.video, picture_of(media))
        video = _picture.picture(stream.video, media, want, self._layers(size, media), self._assets)
        audio: tuple[Sound | Copy, ...] = ()
        if not self._separate and not stream.remove_audio and media.sound is not None:
            audio = _sound.tracks(stream.audio, media, "hls", Window())
        return self._render(name, video, audio, cuts)

    def _layers(self, size: Size, media: MediaInfo) -> tuple[Layer, ...]:
        over = _layers.layers(self.watermarks, (), size, self._assets, media.duration, Window())
        if self.spec.subtitle_template is None:
            return over
        return (Subtitles(*_subtitles.burn_in(self.spec.subtitle_template, self._assets, size, Window())), *over)

    def _render(self, name: str, video: Picture | Copy | None, audio: tuple[Sound | Copy, ...], cuts: Cuts) -> Render:
        if self._dash:
            fragments = () if video is not None else ("-frag_duration", f"{round(cuts.seconds * 1e6)}")
            flags = _dash.MUXER if video is not None else _dash.AUDIO_MUXER
            return Render(name, Window(), video, audio, "main.mp4", (*flags, *fragments))
        drm = self.spec.drm_info
        key = (drm.simple_aes_drm.key, drm.simple_aes_drm.vector) if drm is not None else None
        muxer = _hls.muxer(name, self.template.segments.replace("ts-ts", "ts").replace("mp4-mp4", "mp4"), cuts)
        return Render(name, Window(), video, audio, "main.m3u8", muxer, key=key)

    def _audio(self, streams: list[AdaptiveStreamTemplate], media: MediaInfo) -> Iterator[Render]:
        """Renditions of sound alone: those of the variants, where they are separate, and what is added."""
        cuts = self._cuts(streams[0].video, media)
        voices: list[_Voice] = []
        for number, (audio, index) in enumerate(self._own_sounds(streams) if media.sound is not None else ()):
            name = f"{self.name}a{number}"
            if index >= len(media.audio):
                raise MediaError("InvalidInput", f"StreamSelects names audio stream {index}, which the source lacks")
            source = media.audio[index]
            language = source.language if audio.audio_language in ("", "source") else audio.audio_language
            title = audio.audio_name if audio.audio_name not in ("", "source") else f"audio {number + 1}"
            voices.append(_Voice(name, "audio", title, "" if language == "und" else language, audio.default_track))
            yield self._render(name, None, (_sound.encoded(audio, source, (), Track(index)),), cuts)
        for number, added in enumerate(self.spec.add_on_audios):
            asset = self._assets[f"audio{number}"]
            if asset.media is None or asset.media.sound is None:
                raise MediaError("InvalidInput", f"AddOnAudios[{number}] has no sound")
            name = f"{self.name}x{number}"
            title = added.audio_name or f"added audio {number + 1}"
            voices.append(_Voice(name, "audio", title, added.audio_language, added.default_track))
            sound = _sound.encoded(streams[0].audio, asset.media.sound, (), Track(0, asset.path))
            yield self._render(name, None, (sound,), cuts)
        if voices and not any(voice.default for voice in voices) and self._separate:
            voices[0] = replace(voices[0], default=True)
        self._voices = tuple(voices)

    def _own_sounds(self, streams: list[AdaptiveStreamTemplate]) -> list[tuple[AudioTemplate, int]]:
        """Audio templates and streams of the source that get a rendition of their own, each once."""
        found: dict[tuple[AudioTemplate, int], None] = {}
        for stream in streams:
            if stream.remove_audio:
                continue
            if self._separate:
                found.setdefault((stream.audio, 0))
            for audio in stream.audio_list:
                for index in audio.stream_selects or (0,):
                    found.setdefault((audio, index))
        return list(found)

    def _audio_ladder(self, streams: tuple[AdaptiveStreamTemplate, ...], media: MediaInfo) -> list[Render]:
        self._variants = tuple((f"{self.name}v{index}", stream) for index, stream in enumerate(streams))
        return [
            self._render(name, None, _sound.tracks(stream.audio, media, "hls", Window()), Cuts(SECONDS))
            for name, stream in self._variants
        ]

    def collect(self, produced: list[Produced], directory: Path) -> StepOutput:
        """Segments first, then the manifests of the renditions, the master manifest last."""
        made = {item.render.name: item for item in produced}
        extension = "mpd" if self._dash else "m3u8"
        key = self.naming.object_key(self.patterns["output_object_path"], extension)
        ladder = _Ladder(self, made, key, directory)
        files, text = ladder.dash() if self._dash else ladder.hls()
        main = directory / f"{self.name}.{extension}"
        main.write_text(text, encoding="utf-8")
        item = {
            "definition": self.spec.definition,
            "package": self.template.format,
            "path": f"/{key}",
            "storage": self.storage,
        }
        return StepOutput((*files, OutputFile(main, key, CONTENT_TYPES[extension])), item)

    @property
    def variants(self) -> tuple[tuple[str, AdaptiveStreamTemplate], ...]:
        """The renders that are variants, in their order."""
        return self._variants

    @property
    def voices(self) -> tuple[_Voice, ...]:
        """The audio renditions."""
        return self._voices

    @property
    def assets(self) -> Assets:
        """The files that were fetched for this step."""
        return self._assets

    @property
    def patterns(self) -> dict[str, str]:
        found = {
            "output_object_path": self.spec.output_object_path or DEFAULT_PATH,
            "sub_stream_object_name": self.spec.sub_stream_object_name or DEFAULT_SUB_STREAM,
            "segment_object_name": self.spec.segment_object_name or DEFAULT_SEGMENT,
        }
        for name in ("sub_stream_object_name", "segment_object_name"):
            if "{subStreamNumber}" not in found[name]:  # else the renditions would overwrite each other
                stem, dot, tail = found[name].rpartition(".")
                has_extension = dot and "/" not in tail
                found[name] = (
                    f"{stem}_{{subStreamNumber}}.{tail}" if has_extension else f"{found[name]}_{{subStreamNumber}}"
                )
        return found


def _smallness(stream: AdaptiveStreamTemplate) -> tuple[int, int]:
    video = stream.video
    return (video.height or video.width, video.bitrate) if video is not None else (0, 0)


class _Ladder:
    """The objects of a finished ladder."""

    def __init__(
        self, step: AdaptiveDynamicStreamingStep, made: dict[str, Produced], key: str, directory: Path
    ) -> None:
        self._step = step
        self._made = made
        self._key = key
        self._directory = directory
        self._numbers = {name: number for number, name in enumerate(made)}

    def _placed(self, name: str, extension: str, number: int) -> str:
        """The key of a file of rendition ``number``; names are relative to the directory of the master manifest."""
        pattern = posixpath.join("/" + posixpath.dirname(self._key), self._step.patterns[name])
        return self._step.naming.object_key(pattern, extension, sub_stream=number)

    def _relative(self, key: str) -> str:
        return quote(posixpath.relpath(key, posixpath.dirname(self._key) or "."))

    def hls(self) -> tuple[list[OutputFile], str]:
        """All objects but the master playlist, and its text (RFC 8216, section 4.3.4)."""
        files: list[OutputFile] = []
        playlists: list[OutputFile] = []
        rates: dict[str, _hls.Rates] = {}
        drm = self._step.spec.drm_info
        for name, made in self._made.items():
            number = self._numbers[name]
            playlist_key = self._placed("sub_stream_object_name", "m3u8", number)
            pattern = posixpath.join("/" + posixpath.dirname(self._key), self._step.patterns["segment_object_name"])
            segments = _hls.segments(made.files[1:], pattern, self._step.naming, number)
            rates[name] = _hls.rates(made.files[0])
            names = {file.path.name: file.key for file in segments}
            uri = drm.simple_aes_drm.uri if drm is not None else ""
            path = _hls.rewrite(made.files[0], self._directory / f"{name}.m3u8", playlist_key, names, uri)
            files += segments
            playlists.append(OutputFile(path, playlist_key, CONTENT_TYPES["m3u8"]))
        keys = {name: file.key for name, file in zip(self._made, playlists, strict=True)}
        lines = ["#EXTM3U", f"#EXT-X-VERSION:{7 if self._step.template.segments.startswith('mp4') else 6}"]
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
        lines += self._voices(keys)
        subtitles = list(self._subtitles(files, playlists))
        lines += subtitles
        voices = [rates[voice.render] for voice in self._step.voices]
        for name, stream in self._step.variants:
            lines.append(f"#EXT-X-STREAM-INF:{self._variant(name, stream, rates[name], voices, bool(subtitles))}")
            lines.append(self._relative(keys[name]))
        return [*files, *playlists], "\n".join(lines) + "\n"

    def _voices(self, keys: dict[str, str]) -> Iterator[str]:
        voices = self._step.voices
        if voices and not self._step._separate:
            main = not any(voice.default for voice in voices)
            yield "#EXT-X-MEDIA:" + _hls.attributes(
                {"TYPE": "AUDIO", "GROUP-ID": "audio", "NAME": "main", "AUTOSELECT": "YES",
                 "DEFAULT": "YES" if main else "NO"}, _QUOTED,
            )  # fmt: skip
        for voice in voices:
            yield "#EXT-X-MEDIA:" + _hls.attributes(
                {"TYPE": "AUDIO", "GROUP-ID": voice.group, "NAME": voice.name.replace('"', "'"),
                 "LANGUAGE": voice.language, "AUTOSELECT": "YES", "DEFAULT": "YES" if voice.default else "NO",
                 "URI": self._relative(keys[voice.render])}, _QUOTED,
            )  # fmt: skip

    def _subtitles(self, files: list[OutputFile], playlists: list[OutputFile]) -> Iterator[str]:
        """A playlist of one segment for each WebVTT file."""
        duration = max(item.media.duration for item in self._made.values())
        for index, item in enumerate(self._step.spec.add_on_subtitles):
            number = len(self._numbers) + index
            file = self._subtitle_file(index, number)
            files.append(file)
            playlist = self._directory / f"{self._step.name}t{index}.m3u8"
            key = self._placed("sub_stream_object_name", "m3u8", number)
            name = quote(posixpath.relpath(file.key, posixpath.dirname(key) or "."))
            playlist.write_text(
                f"#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{int(duration) + 1}\n#EXT-X-PLAYLIST-TYPE:VOD\n"
                f"#EXTINF:{duration:.3f},\n{name}\n#EXT-X-ENDLIST\n", encoding="utf-8",
            )  # fmt: skip
            playlists.append(OutputFile(playlist, key, CONTENT_TYPES["m3u8"]))
            yield "#EXT-X-MEDIA:" + _hls.attributes(
                {"TYPE": "SUBTITLES", "GROUP-ID": "subtitles", "NAME": item.subtitle_name or f"subtitles {index + 1}",
                 "LANGUAGE": item.subtitle_language, "AUTOSELECT": "YES",
                 "DEFAULT": "YES" if item.default_track else "NO", "URI": self._relative(key)}, _QUOTED,
            )  # fmt: skip

    def _subtitle_file(self, index: int, number: int) -> OutputFile:
        path = self._directory / f"{self._step.name}t{index}.vtt"
        path.write_text(_subtitles.as_web_vtt(self._step.assets, f"track{index}"), encoding="utf-8")
        return OutputFile(path, self._placed("sub_stream_object_name", "vtt", number), CONTENT_TYPES["vtt"])

    def _variant(
        self, name: str, stream: AdaptiveStreamTemplate, rates: _hls.Rates, voices: list[_hls.Rates], subtitles: bool
    ) -> str:
        media = self._made[name].media
        picture = media.picture
        codecs = [picture.rfc6381 if picture else None, *(sound.rfc6381 for sound in media.audio)]
        codecs += [self._made[voice.render].media.audio[0].rfc6381 for voice in self._step.voices]
        known = list(dict.fromkeys(codec for codec in codecs if codec))
        fps = picture.fps if picture else None
        return _hls.attributes(
            {
                "BANDWIDTH": rates.peak + max((voice.peak for voice in voices), default=0),
                "AVERAGE-BANDWIDTH": rates.average + max((voice.average for voice in voices), default=0),
                "CODECS": ",".join(known) if None not in codecs[: 1 if picture else 0] else None,
                "RESOLUTION": f"{picture.width}x{picture.height}" if picture else None,
                "FRAME-RATE": f"{float(fps):.3f}" if fps else None,
                "AUDIO": "audio" if voices else None,
                "SUBTITLES": "subtitles" if subtitles else None,
            },
            _QUOTED,
        )

    def dash(self) -> tuple[list[OutputFile], str]:
        """All objects but the manifest, and its text."""
        files: list[OutputFile] = []
        found: list[_dash.Representation] = []
        voices = {voice.render: voice for voice in self._step.voices}
        duration = max(item.media.duration for item in self._made.values())
        for name, made in self._made.items():
            key = self._placed("sub_stream_object_name", "mp4", self._numbers[name])
            files.append(OutputFile(made.files[0], key, CONTENT_TYPES["mp4"]))
            found.append(self._representation(made, voices.get(name), self._relative(key)))
        for index, item in enumerate(self._step.spec.add_on_subtitles):
            file = self._subtitle_file(index, len(self._numbers) + index)
            files.append(file)
            found.append(
                _dash.Representation(
                    "text",
                    self._relative(file.key),
                    file.path,
                    256,
                    "",
                    language=item.subtitle_language,
                    label=item.subtitle_name,
                    default=item.default_track,
                    group=f"text{index}",
                )
            )
        return files, _dash.manifest(found, duration)

    @staticmethod
    def _representation(made: Produced, voice: _Voice | None, url: str) -> _dash.Representation:
        media, path = made.media, made.files[0]
        bandwidth = round(path.stat().st_size * 8 / media.duration) if media.duration else 1
        if media.picture is not None:
            picture = media.picture
            return _dash.Representation(
                "video", url, path, bandwidth, picture.rfc6381 or "", picture.width, picture.height,
                frame_rate=f"{picture.fps.numerator}/{picture.fps.denominator}",
            )  # fmt: skip
        sound = media.audio[0]
        return _dash.Representation(
            "audio", url, path, bandwidth, sound.rfc6381 or "", sample_rate=sound.sample_rate, channels=sound.channels,
            language=voice.language if voice else "", label=voice.name if voice else "",
            default=voice.default if voice else True, group=f"audio-{made.render.name}" if voice else "audio",
        )  # fmt: skip
