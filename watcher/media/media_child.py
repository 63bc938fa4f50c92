"""The program that opens media with PyAV, in a contained process of its own.

``python -I media_child.py`` reads a request as JSON from standard input. ``{"files": [{"path": …, "count": …}]}``
is answered with one JSON line per file: the facts, or ``{"error": …}``. ``{"excerpt": {…}}`` writes the packets that
some pictures need into a file of their own: see :mod:`watcher.media.excerpt`. A path can be replaced by a descriptor,
through which the parent hands over ranges of an object: see :mod:`watcher.media.ranges`.

It imports nothing of the project, so that it starts fast and needs nothing but PyAV; a crash of a decoder ends this
process only.
"""

import bisect
import itertools
import json
import os
import socket
import struct
import sys
from typing import Any

sys.path[:0] = json.loads(os.environ.get("WATCHER_PROBE_PATH", "[]"))

import av  # noqa: E402
import av.logging  # noqa: E402

av.logging.set_level(None)


def main() -> None:
    """Probe each file asked for. A number as argument is a socket through which the file comes, opened."""
    request = json.load(sys.stdin)
    if len(sys.argv) > 1:
        _, (received,), _, _ = socket.recv_fds(socket.socket(fileno=int(sys.argv[1])), 1, 1)
        request["files"][0]["received"] = received
    if "excerpt" in request:
        _answer(lambda: excerpt(request["excerpt"], request["options"]))
    if "join" in request:
        _answer(lambda: join(request["join"]["paths"], request["join"]["output"]))
    for item in request.get("files", ()):
        _answer(lambda item=item: probe(item, request["options"]))


def _answer(action: Any) -> None:
    try:
        facts = action()
    except Exception as error:
        facts = {"error": getattr(error, "strerror", None) or str(error)}
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


class Remote:
    """An object that the parent reads: each request is an offset and a length, each answer a length and bytes."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._size = size
        self._place = 0

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes from where the last one ended."""
        wanted = min(size if size >= 0 else self._size, self._size - self._place)
        if wanted <= 0:
            return b""
        self._socket.sendall(struct.pack("!QI", self._place, wanted))
        (length,) = struct.unpack("!i", self._receive(4))
        if length < 0:
            raise OSError("the object can't be read")
        data = self._receive(length)
        self._place += length
        return data

    def _receive(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            part = self._socket.recv(min(1 << 20, length - len(data)))
            if not part:
                raise OSError("the parent process is gone")
            data += part
        return bytes(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Only a place is kept: nothing is read."""
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def tell(self) -> int:
        """The place."""
        return self._place


class Received:
    """A file that came as an open descriptor. Its name is looked at where the bytes do not tell the format."""

    def __init__(self, descriptor: int, name: str, size: int) -> None:
        self.name = name
        self._descriptor = descriptor
        self._size = size
        self._place = 0

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes from where the last one ended."""
        data = os.pread(self._descriptor, size if size >= 0 else self._size, self._place)
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Only a place is kept."""
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def tell(self) -> int:
        """The place."""
        return self._place


def _opened(item: dict[Any, Any], options: dict[Any, Any]) -> Any:
    """A container over a file, or over what the parent reads."""
    if "received" in item:
        closed = options | {"protocol_whitelist": "pipe"}
        file = Received(item["received"], item["name"], item["size"])
        return av.open(file, options=closed, buffer_size=65536)
    if "fd" in item:
        closed = options | {"protocol_whitelist": "pipe"}
        return av.open(Remote(item["fd"], item["size"]), options=closed, buffer_size=65536)
    path = item["path"]
    return av.open(f"file:{path}" if options else path, options=options)


def probe(item: dict[Any, Any], options: dict[Any, Any]) -> dict[Any, Any]:
    """The facts of one file; with ``count`` every packet is read, and counted per stream."""
    path, count = item.get("path", ""), item["count"]
    with _opened(item, options) as container:
        # A recording that was never closed has no duration in its header: it has to be measured.
        unknown = not count and not container.duration
        counts = _count(container) if count else _measure(item, options) if unknown else {}
        turns = {} if count else _rotations(container)
        video = [_video(stream, counts, turns) for stream in container.streams.video]
        if count and container.format.name.startswith("webp") and video and not video[0]["width"]:
            return _moving_webp(path)
        audio = [_audio(stream, counts) for stream in container.streams.audio]
        return {
            "container": container.format.name,
            "duration": container.duration / av.time_base if container.duration else 0.0,
            "bitrate": container.bit_rate or 0,
            "size": os.stat(path).st_size if path else item["size"],
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


def _measure(item: dict[Any, Any], options: dict[Any, Any]) -> dict[Any, Any]:
    with _opened(item, options) as container:
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


def excerpt(item: dict[Any, Any], options: dict[Any, Any]) -> dict[Any, Any]:
    """Write the packets that are needed; or say why that would not be worth it."""
    with _opened(item, options) as source:
        stream = next((s for s in source.streams.video if s.index == item["stream"]), None)
        if stream is None or not stream.time_base:
            return {"unsuitable": "there is no such stream"}
        for other in source.streams:
            if other.index != stream.index:
                other.discard = av.stream.Discard.all
        duration = (source.duration or 0) / av.time_base
        film = _Film(source, stream, duration)
        if not film.keys:
            return {"unsuitable": "there is no index of the whole"}
        spans = _spans(item, film.keys)
        share = sum(min(end, duration) - max(0.0, start) for start, end, _ in spans) / duration
        if share > item["most"]:
            return {"unsuitable": f"{share:.0%} would have to be decoded"}
        return _copy(film, spans, item)


class _Film:
    """One video stream, with its clock: seconds from the first time stamp of the container."""

    def __init__(self, source: Any, stream: Any, duration: float) -> None:
        self.source = source
        self.stream = stream
        self.base = float(stream.time_base)
        self.zero = (source.start_time or 0) / av.time_base
        # Some indexes are of decoding times. Taking them for later than they may be finds an earlier key frame at
        # worst, never one that is shown too late.
        first = next((p for p in source.demux(stream) if p.pts is not None), None)
        late = (first.pts - first.dts) * self.base if first is not None and first.dts is not None else 0.0
        self.keys = [(time + max(0.0, late), time) for time in self._key_times(duration)] if duration else []

    def _key_times(self, duration: float) -> list[float]:
        """Times of the key frames as the index has them; empty when it is not of the whole film.

        Matroska reads its index when something is looked for. An index that ends long before the media does is that
        of a part: of a fragment, or of a live recording.
        """
        for attempt in range(2):
            entries = self.stream.index_entries
            keys = sorted({entry.timestamp * self.base - self.zero for entry in entries if entry.is_keyframe})
            widest = max((b - a for a, b in itertools.pairwise(keys)), default=0.0)
            if len(keys) > 1 and keys[-1] >= duration - 2 * widest:
                return keys
            if not attempt:
                self.source.seek(int(duration * av.time_base))
        return []

    def needed(self, start: float, end: float, after: bool) -> Any:
        """Packets in decoding order, from the key frame at ``start`` (as the index has it) up to a time.

        ``after`` includes the first frame at or after that time. A frame is never shown before it is decoded; where
        decoding times are not known, as many packets as can be out of order decide.
        """
        self.source.seek(int((start + self.zero) / self.base), stream=self.stream)
        limit = None if after else end
        begun, later = False, 0
        for packet in self.source.demux(self.stream):
            if packet.pts is None:
                if packet.size:
                    raise ValueError("a packet has no time")
                return
            shown = packet.pts * self.base - self.zero
            begun = begun or (packet.is_keyframe and shown >= start - 1e-6)
            if not begun:
                continue
            if after and shown >= end - 1e-6:
                limit = shown if limit is None else min(limit, shown)
            if limit is not None:
                later = later + 1 if shown > limit + 1e-6 else 0
                decoded = packet.dts * self.base - self.zero if packet.dts is not None else -1.0
                if decoded > limit + 1e-6 or later > MOST_REORDERED:
                    return
            yield packet


def join(paths: list[str], output: str) -> dict[Any, Any]:
    """Put the packets of chunks one after another: they carry the times of the film."""
    counts, first, last = [], None, None
    with av.open(output, "w", format="nut", options={"avoid_negative_ts": "disabled"}) as out:
        target = None
        for path in paths:
            with av.open(path) as source:
                stream = source.streams.video[0]
                target = target or out.add_stream_from_template(stream)
                counts.append(0)
                for packet in _decodable(source.demux(stream)):
                    decoded, shown = packet.dts * packet.time_base, packet.pts * packet.time_base
                    if last is not None and decoded <= last:
                        raise ValueError("chunks overlap")
                    last = decoded
                    first = shown if first is None else min(first, shown)
                    packet.stream = target
                    out.mux(packet)
                    counts[-1] += 1
    return {"counts": counts, "first": float(first or 0)}


def _decodable(packets: Any) -> Any:
    """Packets with decoding times: of the first few of HEVC the demuxer does not know them, so they are counted."""
    waiting: list[Any] = []
    for packet in packets:
        if packet.pts is None:
            continue
        if waiting or packet.dts is None:
            waiting.append(packet)
            known = [item for item in waiting if item.dts is not None]
            if len(known) < 2:
                continue
            step = known[1].dts - known[0].dts
            early = len(waiting) - len(known)
            for place, item in enumerate(waiting[:early]):
                item.dts = known[0].dts - (early - place) * step
            yield from waiting
            waiting = []
        else:
            yield packet
    if waiting:
        raise ValueError("a chunk has no decoding times")


MOST_REORDERED = 16
"""Frames that can be out of order, in all codecs that are used."""


def _spans(item: dict[Any, Any], keys: list[Any]) -> list[Any]:
    """From which key frame up to which time packets are needed; and whether the first frame after counts."""
    found: dict[float, Any] = {}

    def key_before(time: float) -> Any:
        return keys[max(0, bisect.bisect_right(keys, (time + 1e-6, float("inf"))) - 1)]

    def add(time: float, end: float, after: bool) -> None:
        shown, start = key_before(time)
        end = max(end, shown)  # before the first frame, that is on display
        old = found.get(start, (start, end, after))
        # The later end is the one that matters, with what it asks for.
        found[start] = (start, end, after) if end >= old[1] else old

    if item["window"]:
        begin, end = item["window"]
        add(begin, end, False)
    for time in item["moments"]:
        add(time, time, True)
    for time in item["samples"]:
        add(time, key_before(time)[0] if item["keys"] else time, False)
    return [found[start] for start in sorted(found)]


def _copy(film: _Film, spans: list[Any], item: dict[Any, Any]) -> dict[Any, Any]:
    zero = round(film.zero / film.base)
    shift, last, packets = zero, None, 0
    # Time stamps have to stay what they are: single pictures keep those of the film.
    with av.open(item["output"], "w", format=item["format"], options={"avoid_negative_ts": "disabled"}) as out:
        target = out.add_stream_from_template(film.stream)
        for start, end, after in spans:
            for packet in film.needed(start, end, after):
                if not packets and item["window"]:
                    shift = packet.pts  # a window begins at its key frame
                dts = packet.dts if packet.dts is not None else packet.pts - round(1 / film.base)
                if last is not None and dts <= last:
                    if packet.dts is not None:
                        continue  # of the span before
                    dts = last + 1
                last = dts
                packet.pts, packet.dts = packet.pts - shift, dts - shift
                packet.stream = target
                out.mux(packet)
                packets += 1
    begin = (shift - zero) * film.base if item["window"] else 0.0
    return {"packets": packets, "begin": begin} if packets else {"unsuitable": "no packets were found"}


if __name__ == "__main__":
    main()
