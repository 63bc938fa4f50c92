"""The objects of a finished ladder: segments, playlists and manifests, of what was measured in the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import MediaError
from watcher.media.verify import Produced
from watcher.model.audio import AudioTemplate
from watcher.model.dress import AddOnSubtitle
from watcher.model.output_path import Naming, beside, relative_url
from watcher.model.templates import AdaptiveStreamTemplate
from watcher.steps import _dash, _hls
from watcher.steps.base import CONTENT_TYPES, OutputFile

CUT_TOLERANCE = 0.05
"""Seconds by which the segments of two renditions may begin apart: less than two frames."""
_QUOTED = frozenset({"CODECS", "AUDIO", "SUBTITLES", "GROUP-ID", "NAME", "LANGUAGE", "URI"})


@dataclass(frozen=True, slots=True)
class Voice:
    """An audio rendition of its own: its render, its name for people, its language.

    ``primary`` is the template of the variants whose sound it is; None for a sound beside those of the variants.
    """

    render: str
    name: str
    language: str
    default: bool
    primary: AudioTemplate | None


@dataclass(frozen=True, slots=True)
class Parts:
    """What a ladder is put together of. ``made`` holds all renders by name, in the order of their numbers.

    ``separate`` says whether sound has renditions of its own, ``key_uri`` where the key of encrypted segments is,
    ``key`` that of the master manifest. ``subtitles`` come with their WebVTT text.
    """

    name: str
    made: Mapping[str, Produced]
    variants: tuple[tuple[str, AdaptiveStreamTemplate], ...]
    voices: tuple[Voice, ...]
    separate: bool
    mp4: bool
    key_uri: str
    subtitles: tuple[tuple[AddOnSubtitle, str], ...]
    naming: Naming
    patterns: Mapping[str, str]
    key: str
    directory: Path


class Ladder:
    """The objects of a finished ladder."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._key = parts.key
        self._directory = parts.directory
        self._made = parts.made
        self._numbers = {name: number for number, name in enumerate(parts.made)}
        sounds = [voice.primary for voice in parts.voices if voice.primary is not None]
        self._groups: list[AudioTemplate | None] = [*sounds] or ([None] if parts.voices else [])

    def _placed(self, name: str, extension: str, number: int) -> str:
        """The key of a file of rendition ``number``; names are relative to the directory of the master manifest."""
        pattern = beside(self._key, self._parts.patterns[name])
        return self._parts.naming.object_key(pattern, extension, sub_stream=number)

    def _relative(self, key: str) -> str:
        return relative_url(key, self._key)

    def _check_cuts(self) -> None:
        """A player switches at segments: all variants with a picture have to cut at the same times."""
        pictures = [made for made in self._made.values() if made.media.picture is not None]
        grids = [_hls.starts(made.files[0]) for made in pictures]
        for made, grid in zip(pictures, grids, strict=True):
            pairs = zip(grid, grids[0], strict=False)
            if len(grid) != len(grids[0]) or any(abs(one - other) > CUT_TOLERANCE for one, other in pairs):
                raise MediaError("InternalError", f"the renditions do not cut at the same times ({made.render.name})")

    def hls(self) -> tuple[list[OutputFile], str]:
        """All objects but the master playlist, and its text (RFC 8216, section 4.3.4)."""
        self._check_cuts()
        files: list[OutputFile] = []
        playlists: list[OutputFile] = []
        rates: dict[str, _hls.Rates] = {}
        for name, made in self._made.items():
            number = self._numbers[name]
            playlist_key = self._placed("sub_stream_object_name", "m3u8", number)
            pattern = beside(self._key, self._parts.patterns["segment_object_name"])
            segments = _hls.segments(made.files[1:], pattern, self._parts.naming, number)
            rates[name] = _hls.rates(made.files[0])
            names = {file.path.name: file.key for file in segments}
            target = self._directory / f"{name}.m3u8"
            path = _hls.rewrite(made.files[0], target, playlist_key, names, self._parts.key_uri)
            files += segments
            playlists.append(OutputFile(path, playlist_key, CONTENT_TYPES["m3u8"]))
        keys = {name: file.key for name, file in zip(self._made, playlists, strict=True)}
        lines = ["#EXTM3U", f"#EXT-X-VERSION:{7 if self._parts.mp4 else 6}"]
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
        lines += self._voices(keys)
        subtitles = list(self._subtitles(files, playlists))
        lines += subtitles
        for name, stream in self._parts.variants:
            lines.append(f"#EXT-X-STREAM-INF:{self._variant(name, stream, rates, bool(subtitles))}")
            lines.append(self._relative(keys[name]))
        return [*files, *playlists], "\n".join(lines) + "\n"

    def _group(self, stream: AdaptiveStreamTemplate) -> str | None:
        """The audio group of a variant: one for each sound that variants have, with all further sounds in each."""
        if not self._groups or (stream.remove_audio and self._parts.separate):
            return None
        number = self._groups.index(stream.audio) if stream.audio in self._groups else 0
        return f"audio{number}" if number else "audio"

    def _voices(self, keys: dict[str, str]) -> Iterator[str]:
        """The renditions of sound: each group has the sound of its variants, and all that is beside it."""
        further = [voice for voice in self._parts.voices if voice.primary is None]
        chosen = any(voice.default for voice in further)
        for number, primary in enumerate(self._groups):
            group = f"audio{number}" if number else "audio"
            main = next(
                (voice for voice in self._parts.voices if primary is not None and voice.primary == primary), None
            )
            if main is None:  # the sound that is in the variants themselves
                yield self._media("AUDIO", group, "main", "", not chosen, None)
            else:
                yield self._media("AUDIO", group, main.name, main.language, not chosen, keys[main.render])
            for voice in further:
                yield self._media("AUDIO", group, voice.name, voice.language, voice.default, keys[voice.render])

    def _media(self, kind: str, group: str, name: str, language: str, default: bool, key: str | None) -> str:
        return "#EXT-X-MEDIA:" + _hls.attributes(
            {
                "TYPE": kind,
                "GROUP-ID": group,
                "NAME": name,
                "LANGUAGE": language,
                "AUTOSELECT": "YES",
                "DEFAULT": "YES" if default else "NO",
                "URI": self._relative(key) if key is not None else None,
            },
            _QUOTED,
        )

    def _subtitles(self, files: list[OutputFile], playlists: list[OutputFile]) -> Iterator[str]:
        """A playlist of one segment for each WebVTT file."""
        duration = max(item.media.duration for item in self._made.values())
        for index, (item, text) in enumerate(self._parts.subtitles):
            number = len(self._numbers) + index
            file = self._subtitle_file(index, number, text)
            files.append(file)
            playlist = self._directory / f"{self._parts.name}t{index}.m3u8"
            key = self._placed("sub_stream_object_name", "m3u8", number)
            name = relative_url(file.key, key)
            playlist.write_text(
                f"#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{int(duration) + 1}\n#EXT-X-PLAYLIST-TYPE:VOD\n"
                f"#EXTINF:{duration:.3f},\n{name}\n#EXT-X-ENDLIST\n", encoding="utf-8",
            )  # fmt: skip
            playlists.append(OutputFile(playlist, key, CONTENT_TYPES["m3u8"]))
            title = item.subtitle_name or f"subtitles {index + 1}"
            yield self._media("SUBTITLES", "subtitles", title, item.subtitle_language, item.default_track, key)

    def _subtitle_file(self, index: int, number: int, text: str) -> OutputFile:
        path = self._directory / f"{self._parts.name}t{index}.vtt"
        path.write_text(text, encoding="utf-8")
        return OutputFile(path, self._placed("sub_stream_object_name", "vtt", number), CONTENT_TYPES["vtt"])

    def _variant(self, name: str, stream: AdaptiveStreamTemplate, rates: dict[str, _hls.Rates], subtitles: bool) -> str:
        media, group = self._made[name].media, self._group(stream)
        picture = media.picture
        beside = [v for v in self._parts.voices if group and (v.primary is None or v.primary == stream.audio)]
        codecs = [picture.rfc6381 if picture else None, *(sound.rfc6381 for sound in media.audio)]
        codecs += [self._made[voice.render].media.audio[0].rfc6381 for voice in beside]
        known = list(dict.fromkeys(codec for codec in codecs if codec))
        fps = picture.fps if picture else None
        return _hls.attributes(
            {
                "BANDWIDTH": rates[name].peak + max((rates[voice.render].peak for voice in beside), default=0),
                "AVERAGE-BANDWIDTH": rates[name].average + max((rates[v.render].average for v in beside), default=0),
                "CODECS": ",".join(known) if picture is None or picture.rfc6381 else None,
                "RESOLUTION": f"{picture.width}x{picture.height}" if picture else None,
                "FRAME-RATE": f"{float(fps):.3f}" if fps else None,
                "AUDIO": group,
                "SUBTITLES": "subtitles" if subtitles else None,
            },
            _QUOTED,
        )

    def dash(self) -> tuple[list[OutputFile], str]:
        """All objects but the manifest, and its text."""
        files: list[OutputFile] = []
        found: list[_dash.Representation] = []
        voices = {voice.render: voice for voice in self._parts.voices}
        duration = max(item.media.duration for item in self._made.values())
        for name, made in self._made.items():
            key = self._placed("sub_stream_object_name", "mp4", self._numbers[name])
            files.append(OutputFile(made.files[0], key, CONTENT_TYPES["mp4"]))
            found.append(self._representation(made, voices.get(name), self._relative(key)))
        for index, (item, text) in enumerate(self._parts.subtitles):
            file = self._subtitle_file(index, len(self._numbers) + index, text)
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
    def _representation(made: Produced, voice: Voice | None, url: str) -> _dash.Representation:
        media, path = made.media, made.files[0]
        bandwidth = round(path.stat().st_size * 8 / media.duration) if media.duration else 1
        if media.picture is not None:
            picture = media.picture
            return _dash.Representation(
                "video", url, path, bandwidth, picture.rfc6381 or "", picture.width, picture.height,
                frame_rate=f"{picture.fps.numerator}/{picture.fps.denominator}",
            )  # fmt: skip
        sound = media.audio[0]
        main = voice is None or voice.primary is not None
        return _dash.Representation(
            "audio", url, path, bandwidth, sound.rfc6381 or "", sample_rate=sound.sample_rate, channels=sound.channels,
            language=voice.language if voice else "", label=voice.name if voice else "",
            default=main or (voice is not None and voice.default),
            group="audio" if main else f"audio-{made.render.name}",
        )  # fmt: skip
