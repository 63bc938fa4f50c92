"""The program that opens media with PyAV, in a contained process of its own.

``python -I probe_child.py`` reads a JSON list of ``{"path": …, "count": …}`` from standard input and writes one
JSON line per file: the facts, or ``{"error": …}``. It imports nothing of the project, so that it starts fast and
needs nothing but PyAV; a crash of a decoder ends this process only.
"""

import json
import os
import sys
from typing import Any

sys.path[:0] = json.loads(os.environ.get("WATCHER_PROBE_PATH", "[]"))

import av  # noqa: E402
import av.logging  # noqa: E402

av.logging.set_level(None)


def main() -> None:
    """Probe each file asked for."""
    request = json.load(sys.stdin)
    for item in request["files"]:
        try:
            facts = probe(item["path"], request["options"], item["count"])
        except Exception as error:
            reason = getattr(error, "strerror", None) or str(error)
            facts = {"error": reason.replace(item["path"], "the file")}
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()


def probe(path: str, options: dict[Any, Any], count: bool) -> dict[Any, Any]:
    """The facts of one file; with ``count`` every packet is read, and counted per stream."""
    with av.open(f"file:{path}" if options else path, options=options) as container:
        # A recording that was never closed has no duration in its header: it has to be measured.
        unknown = not count and not container.duration
        counts = _count(container) if count else _measure(path, options) if unknown else {}
        turns = {} if count else _rotations(container)
        video = [_video(stream, counts, turns) for stream in container.streams.video]
        if count and container.format.name.startswith("webp") and video and not video[0]["width"]:
            return _moving_webp(path)
        audio = [_audio(stream, counts) for stream in container.streams.audio]
        return {
            "container": container.format.name,
            "duration": container.duration / av.time_base if container.duration else 0.0,
            "bitrate": container.bit_rate or 0,
            "size": os.stat(path).st_size,
            "video": video,
            "audio": audio,
            "other": len(container.streams) - len(video) - len(audio),
        }


def _moving_webp(path: str) -> dict[Any, Any]:
    """A moving WebP that we wrote: its container (RFC 9649, section 2.7), which libavformat reads as a still."""
    with open(path, "rb") as file:
        data = file.read()
    place, width, height, frames, milliseconds = 12, 0, 0, 0, 0
    while place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        body = data[place + 8 : place + 8 + size]
        if data[place : place + 4] == b"VP8X":
            width, height = (int.from_bytes(body[at : at + 3], "little") + 1 for at in (4, 7))
        elif data[place : place + 4] == b"ANMF":
            frames, milliseconds = frames + 1, milliseconds + int.from_bytes(body[12:15], "little")
        place += 8 + size + size % 2
    stream = {
        "index": 0, "codec": "webp", "width": width, "height": height, "fps": [0, 1], "bitrate": 0,
        "duration": milliseconds / 1000, "frames": frames, "pixel_format": "", "bit_depth": 8, "rotate": 0,
        "color": [2, 2, 2], "profile": "", "level": 0, "picture": False, "sar": [1, 1], "start": 0.0,
    }  # fmt: skip
    return {
        "container": "webp", "duration": milliseconds / 1000, "bitrate": 0, "size": len(data), "video": [stream],
        "audio": [], "other": 0,
    }  # fmt: skip


def _count(container: Any) -> dict[Any, Any]:
    """Per stream: packets, first and last presentation time in units of the stream's time base."""
    counts: dict[Any, Any] = {}
    for packet in container.demux():
        if packet.size == 0:
            continue
        number, start, end = counts.get(packet.stream.index, (0, None, 0))
        if packet.pts is not None:
            start = packet.pts if start is None else min(start, packet.pts)
            end = max(end, packet.pts + (packet.duration or 0))
        counts[packet.stream.index] = (number + 1, start, end)
    return counts


def _measure(path: str, options: dict[Any, Any]) -> dict[Any, Any]:
    with av.open(f"file:{path}" if options else path, options=options) as container:
        return _count(container)


def _duration(stream: Any, counts: dict[Any, Any]) -> float:
    if stream.index in counts:
        _, start, end = counts[stream.index]
        return float((end - (start or 0)) * stream.time_base)
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return _clock(stream.metadata.get("DURATION", ""))


def _clock(text: str) -> float:
    """``00:01:02.5`` in seconds: how Matroska keeps a stream's duration; 0.0 for anything else."""
    parts = text.split(":")
    if len(parts) != 3 or not all(part.replace(".", "", 1).isdigit() for part in parts):
        return 0.0
    return int(parts[0]) * 3600 + int(parts[1]) * 60 + float(parts[2])


def _video(stream: Any, counts: dict[Any, Any], turns: dict[Any, Any]) -> dict[Any, Any]:
    context = stream.codec_context
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    pixel = context.format
    shape = stream.sample_aspect_ratio
    return {
        "index": stream.index,
        "codec": context.codec.canonical_name if context.codec else context.name,
        "width": context.width or 0,
        "height": context.height or 0,
        "fps": [rate.numerator, rate.denominator] if rate else [0, 1],
        "bitrate": context.bit_rate or 0,
        "duration": _duration(stream, counts),
        "frames": counts.get(stream.index, (stream.frames or 0,))[0],
        "pixel_format": pixel.name if pixel else "",
        "bit_depth": max((component.bits for component in pixel.components), default=8) if pixel else 8,
        "rotate": turns.get(stream.index, 0),
        "color": [int(getattr(context, name, 2) or 2) for name in ("color_primaries", "colorspace", "color_trc")],
        "profile": str(context.profile or ""),
        "level": int(getattr(context, "level", 0) or 0),
        "picture": bool(stream.disposition & av.stream.Disposition.attached_pic),
        "sar": [shape.numerator, shape.denominator] if shape else [1, 1],
        "start": float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0,
    }


def _rotations(container: Any) -> dict[Any, Any]:
    """Degrees per video stream; the display matrix is only to be had from a decoded frame."""
    wanted = {s.index for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic}
    try:
        for number, packet in enumerate(container.demux(video=0) if wanted else ()):
            for frame in packet.decode():
                return {packet.stream.index: frame.rotation}
            if number > 300:
                break
    except av.error.FFmpegError:
        pass
    return {}


def _audio(stream: Any, counts: dict[Any, Any]) -> dict[Any, Any]:
    context = stream.codec_context
    return {
        "index": stream.index,
        "codec": context.codec.canonical_name if context.codec else context.name,
        "sample_rate": context.sample_rate or 0,
        "channels": context.channels or 0,
        "bitrate": context.bit_rate or 0,
        "duration": _duration(stream, counts),
        "profile": str(context.profile or ""),
        "language": str(stream.metadata.get("language", ""))[:16],
    }


if __name__ == "__main__":
    main()
