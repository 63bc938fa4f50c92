"""Adaptive bitrate streaming: a ladder of renditions as HLS or MPEG-DASH (contract pipelines.md, section 7).

All renditions come from one decode and cut at the same frames. Manifests are written here, of what was measured
in the finished files: bit rates, codecs, sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

from watcher.errors import MediaError
from watcher.media.assets import Assets, Wanted
from watcher.media.render import Copy, Layer, Picture, Render, Size, Sound, Subtitles, Track, Window
from watcher.media.verify import Produced
from watcher.model.audio import AudioTemplate
from watcher.model.inputs import AdaptiveDynamicStreamingInput
from watcher.model.media_info import AudioStream, MediaInfo
from watcher.model.output_path import beside
from watcher.model.templates import AdaptiveDynamicStreamingTemplate, AdaptiveStreamTemplate
from watcher.model.video import VideoTemplate
from watcher.steps import _dash, _hls, _layers, _picture, _sound, _subtitles
from watcher.steps._encoders import Cuts
from watcher.steps._ladder import Ladder, Parts, Voice
from watcher.steps.base import CONTENT_TYPES, OutputFile, Step, StepOutput, picture_of

DEFAULT_PATH = "{inputName}_adaptiveDynamicStreaming_{definition}.{format}"
DEFAULT_SUB_STREAM = "{inputName}_adaptiveDynamicStreaming_{definition}_{subStreamNumber}.{format}"
DEFAULT_SEGMENT = "{inputName}_adaptiveDynamicStreaming_{definition}_{subStreamNumber}_{segmentNumber}.{format}"
SECONDS = 6.0
"""Length of a segment where the templates leave it open. Ours."""


class AdaptiveDynamicStreamingStep(Step[AdaptiveDynamicStreamingInput, AdaptiveDynamicStreamingTemplate]):
    """A master manifest, a manifest for each rendition (HLS), and their segments."""

    _variants: tuple[tuple[str, AdaptiveStreamTemplate], ...] = ()
    _voices: tuple[Voice, ...] = ()
    _assets: Assets
    _numbers: Mapping[str, int]

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
            return self._numbered(self._audio_ladder(streams, media))
        picture_of(media)
        chosen = self._chosen([stream for stream in streams if not stream.remove_video], media)
        rate = next((stream.video.rate for stream in chosen if stream.video is not None), None)
        self._variants = tuple((f"{self.name}v{index}", stream) for index, stream in enumerate(chosen))
        found = [self._variant(name, stream, media, rate) for name, stream in self._variants]
        return self._numbered(found + list(self._audio(chosen, media)))

    def _numbered(self, renders: list[Render]) -> list[Render]:
        """Remember which number each rendition has."""
        self._numbers = {render.name: number for number, render in enumerate(renders)}
        return renders

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
        return kept or [min(streams, key=_smallness)]

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
        voices: list[Voice] = []
        for audio, index, primary in self._own_sounds(streams) if media.sound is not None else ():
            if index >= len(media.audio):
                raise MediaError("InvalidInput", f"StreamSelects names audio stream {index}, which the source lacks")
            name = f"{self.name}a{len(voices)}"
            voices.append(_voice(name, audio, media.audio[index], primary, len(voices)))
            yield self._render(name, None, (_sound.encoded(audio, media.audio[index], (), Track(index)),), cuts)
        for number, added in enumerate(self.spec.add_on_audios):
            asset = self._assets[f"audio{number}"]
            if asset.media is None or asset.media.sound is None:
                raise MediaError("InvalidInput", f"AddOnAudios[{number}] has no sound")
            name = f"{self.name}x{number}"
            title = added.audio_name or f"added audio {number + 1}"
            voices.append(Voice(name, title, added.audio_language, added.default_track, None))
            sound = _sound.encoded(streams[0].audio, asset.media.sound, (), Track(0, asset.path))
            yield self._render(name, None, (sound,), cuts)
        self._voices = tuple(voices)

    def _own_sounds(self, streams: list[AdaptiveStreamTemplate]) -> list[tuple[AudioTemplate, int, bool]]:
        """Audio templates and streams of the source that get a rendition of their own, each once.

        The third says whether it is the sound of a variant, rather than one more beside it.
        """
        kept = [stream for stream in streams if not stream.remove_audio]
        found: dict[tuple[AudioTemplate, int], bool] = {}
        for stream in kept if self._separate else ():
            found.setdefault((stream.audio, 0), True)
        for stream in kept:
            for audio in stream.audio_list:
                for index in audio.stream_selects or (0,):
                    found.setdefault((audio, index), False)
        return [(audio, index, primary) for (audio, index), primary in found.items()]

    def _audio_ladder(self, streams: tuple[AdaptiveStreamTemplate, ...], media: MediaInfo) -> list[Render]:
        self._variants = tuple((f"{self.name}v{index}", stream) for index, stream in enumerate(streams))
        return [
            self._render(name, None, _sound.tracks(stream.audio, media, "hls", Window()), Cuts(SECONDS))
            for name, stream in self._variants
        ]

    def early(self, render: Render, file: str) -> tuple[str, str] | None:
        """The segments of HLS: their numbers are known from their names, their rendition's from the render's."""
        key = self.naming.object_key(self.patterns["output_object_path"], "m3u8")
        pattern = beside(key, self.patterns["segment_object_name"])
        return _hls.early(file, pattern, self.naming, self._numbers.get(render.name))

    def collect(self, produced: list[Produced], directory: Path) -> StepOutput:
        """Segments first, then the manifests of the renditions, the master manifest last."""
        made = {item.render.name: item for item in produced}
        extension = "mpd" if self._dash else "m3u8"
        key = self.naming.object_key(self.patterns["output_object_path"], extension)
        ladder = Ladder(self.parts(made, key, directory))
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

    def parts(self, made: dict[str, Produced], key: str, directory: Path) -> Parts:
        """What the manifests are written of."""
        texts = [_subtitles.as_web_vtt(self._assets, f"track{i}") for i in range(len(self.spec.add_on_subtitles))]
        drm = self.spec.drm_info
        return Parts(
            name=self.name,
            made=made,
            variants=self._variants,
            voices=self._voices,
            separate=self._separate,
            mp4=self.template.segments.startswith("mp4"),
            key_uri=drm.simple_aes_drm.uri if drm is not None else "",
            subtitles=tuple(zip(self.spec.add_on_subtitles, texts, strict=True)),
            naming=self.naming,
            patterns=self.patterns,
            key=key,
            directory=directory,
        )

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


def _voice(render: str, audio: AudioTemplate, source: AudioStream, primary: bool, number: int) -> Voice:
    language = source.language if audio.audio_language in ("", "source") else audio.audio_language
    title = audio.audio_name if audio.audio_name not in ("", "source") else ""
    title = title or ("main" if primary else f"audio {number + 1}")
    return Voice(render, title, "" if language == "und" else language, audio.default_track, audio if primary else None)


def _smallness(stream: AdaptiveStreamTemplate) -> tuple[int, int]:
    video = stream.video
    return (video.height or video.width, video.bitrate) if video is not None else (0, 0)
