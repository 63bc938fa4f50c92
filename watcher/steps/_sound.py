"""From an audio template to tracks: encoders, filters, which streams (contract templates.md, sections 3 and 5)."""

from __future__ import annotations

from watcher.errors import MediaError
from watcher.media.assets import Assets
from watcher.media.render import Copy, Join, Sound, Track, Window
from watcher.model.audio import MULTI_TRACK, AudioTemplate
from watcher.model.enhance import AudioEnhance
from watcher.model.media_info import AudioStream, MediaInfo

ENCODERS = {
    "aac": ("aac", "aac"),
    "mp3": ("mp3", "libmp3lame"),
    "mp2": ("mp2", "mp2"),
    "flac": ("flac", "flac"),
    "opus": ("opus", "libopus"),
    "vorbis": ("vorbis", "libvorbis"),
    "ac3": ("ac3", "ac3"),
    "eac3": ("eac3", "eac3"),
    "pcm16": ("pcm_s16le", "pcm_s16le"),
    "pcm24": ("pcm_s24le", "pcm_s24le"),
}
"""Per audio codec: ffprobe's name, and the encoder."""
LOUDNESS = -16.0
"""Integrated loudness in LUFS that loudNorm aims at, and the true peak in dBTP it keeps under. Ours."""
TRUE_PEAK = -1.5
_BEAUTIFY = {"declick": "adeclick", "deesser": "deesser"}
_LOSSLESS = frozenset({"flac", "pcm16", "pcm24"})
_MOST = {"aac": 320, "mp3": 320, "mp2": 384, "opus": 256, "vorbis": 256, "ac3": 640, "eac3": 1024}
COPY_INTO = {
    "mp4": {"h264", "hevc", "av1", "vp9", "mpeg4", "aac", "mp3", "ac3", "eac3", "opus", "flac", "alac", "mp2"},
    "mov": {"h264", "hevc", "mpeg4", "prores", "aac", "mp3", "ac3", "alac", "pcm_s16le", "pcm_s24le", "mjpeg"},
    "hls": {"h264", "hevc", "aac", "mp3", "ac3", "eac3"},
    "ts": {"h264", "hevc", "mpeg2video", "aac", "mp3", "mp2", "ac3", "eac3"},
    "flv": {"h264", "flv1", "aac", "mp3"},
    "webm": {"vp8", "vp9", "av1", "opus", "vorbis"},
    "mxf": {"mpeg2video", "dnxhd", "pcm_s16le", "pcm_s24le"},
    "mp3": {"mp3"},
    "flac": {"flac"},
    "ogg": {"vorbis", "opus", "flac"},
    "m4a": {"aac", "alac", "ac3"},
    "wav": {"pcm_s16le", "pcm_s24le", "pcm_u8", "pcm_s32le", "pcm_f32le"},
}
"""Source codecs that may be re-packaged into a container; Matroska takes all."""


def copied(kind: str, codec: str, container: str) -> str:
    """The codec, if it may go into the container as it is."""
    allowed = COPY_INTO.get(container)
    if allowed is not None and codec not in allowed:
        message = f"the source's {kind} is {codec}, which can't be re-packaged into {container}"
        raise MediaError("InvalidInput", message)
    return codec


def filters(enhance: AudioEnhance | None, assets: Assets) -> tuple[str, ...]:
    """What is done to the samples."""
    found: list[str] = []
    if enhance is None:
        return ()
    if enhance.denoise is not None and enhance.denoise.switch == "ON":
        found.append("afftdn")
    if enhance.beautify is not None and enhance.beautify.switch == "ON":
        found += [_BEAUTIFY[kind] for kind in enhance.beautify.types]
    balance = enhance.volume_balance
    if balance is not None and balance.switch == "ON":
        found += ["dynaudnorm"] if balance.type == "gainControl" else _level(assets.loudness)
    return tuple(found)


def _level(measured: tuple[float, float] | None) -> list[str]:
    """A plain gain, and a limiter for the peaks that it would drive over: the mix stays what it was."""
    if measured is None or measured[0] < -60:  # silence has no level to bring anywhere
        return []
    gain = LOUDNESS - measured[0]
    limit = 10 ** (TRUE_PEAK / 20)
    limiter = [f"alimiter=limit={limit:.4f}:level=0"] if measured[1] + gain > TRUE_PEAK else []
    return [f"volume={gain:.2f}dB", *limiter]


def encoded(audio: AudioTemplate, source: AudioStream, done: tuple[str, ...], track: Track) -> Sound:
    """One track, encoded."""
    codec, encoder = ENCODERS[audio.codec]
    options = [("c", encoder)]
    if audio.codec not in _LOSSLESS:
        most = _MOST[audio.codec]
        rate = audio.bitrate or (max(24, min(most, round(source.bitrate / 1000))) if source.bitrate else 128)
        options.append(("b", f"{rate}k"))
    if audio.sample_rate:
        options.append(("ar", str(audio.sample_rate)))
    elif audio.codec == "opus":
        options.append(("ar", "48000"))
    if audio.audio_channel:
        options.append(("ac", str(audio.audio_channel)))
    return Sound(codec, tuple(options), done, track)


def tracks(
    audio: AudioTemplate,
    media: MediaInfo,
    container: str,
    window: Window,
    *,
    join: Join | None = None,
    done: tuple[str, ...] = (),
) -> tuple[Sound | Copy, ...]:
    """The tracks of an output: those selected, as far as the container takes several."""
    chosen = audio.stream_selects or tuple(range(len(media.audio)))
    missing = [index for index in chosen if index >= len(media.audio)]
    if missing:
        raise MediaError(
            "InvalidInput", f"StreamSelects names audio stream {missing[0]}, but the source has {len(media.audio)}"
        )
    if container not in MULTI_TRACK or join is not None:
        chosen = chosen[:1]
    found: list[Sound | Copy] = []
    for index in chosen:
        source = media.audio[index]
        track = Track(index, language=source.language if source.language != "und" else "")
        if audio.codec == "copy":
            found.append(Copy(copied("audio", source.codec, container), track))
        elif _is_fine(audio, source, window) and not done and join is None:
            found.append(Copy(source.codec, track))
        else:
            found.append(encoded(audio, source, done, track))
    return tuple(found)


def _is_fine(audio: AudioTemplate, source: AudioStream, window: Window) -> bool:
    """Whether the source already is what the template asks for, so that a copy does."""
    return (
        window == Window()
        and source.codec == ENCODERS[audio.codec][0]
        and audio.sample_rate in (0, source.sample_rate)
        and audio.audio_channel in (0, source.channels)
        and (not audio.bitrate or 0 < source.bitrate <= audio.bitrate * 1050)
        and (source.codec != "aac" or source.profile in ("LC", ""))
    )
