"""The program that reads a file packet by packet for faults of its streams, in a contained process of its own.

``python -I diagnosis_child.py`` reads ``{"path": …, "options": {…}, "wanted": ["PtsJitter", …]}`` from standard input
and answers with ``{"faults": {type: [seconds, …]}}`` or ``{"error": …}``. Packets are decoded only where it is wanted;
broken ones are not mended then. It imports nothing of the project.
"""

import itertools
import json
import os
import sys
from collections import defaultdict
from typing import Any

sys.path[:0] = json.loads(os.environ.get("WATCHER_PROBE_PATH", "[]"))

import av  # noqa: E402
import av.logging  # noqa: E402

av.logging.set_level(None)

MOST_TIMES = 1000
"""Of each fault."""
DECODED = {
    "VideoDecodeFailed", "AudioDecodeFailed", "VideoResolutionChanged", "AudioSampleRateChanged",
    "AudioChannelsChanged",
}  # fmt: skip
UNEVEN = 0.25
"""Share of a frame's time by which one may come early or late."""
APART = 3.0
"""Seconds between picture and sound that lie next to each other in the file."""
RATE_CHANGE = 0.25
"""Share by which the frames of a second may differ from the mean."""


class Diagnosis:
    """Faults by type, with the seconds at which they are."""

    def __init__(self, wanted: set[str]) -> None:
        self._wanted = wanted
        self.faults: dict[str, list[float]] = defaultdict(list)
        self._last: dict[int, float] = {}
        self._ends: dict[int, float] = {}
        self._shapes: dict[int, Any] = {}
        self.video: list[float] = []
        self._video_dts: list[float] = []
        self._near: dict[str, float] = {}

    def note(self, kind: str, time: float) -> None:
        """Remember a fault, if anybody wants to know of it."""
        if kind in self._wanted and len(self.faults[kind]) < MOST_TIMES:
            self.faults[kind].append(time)

    def packet(self, packet: Any) -> None:
        """What its times tell."""
        stream = packet.stream
        base = float(stream.time_base)
        pts = packet.pts * base if packet.pts is not None else None
        dts = packet.dts * base if packet.dts is not None else pts
        if dts is None:
            return
        time = pts if pts is not None else dts
        before = self._last.get(stream.index)
        if before is not None and dts < before:
            self.note("TimestampFallback", before)
        if before is None and stream.type == "video" and not packet.is_keyframe:
            self.note("VideoFirstFrameNotIdr", time)
        if pts is not None and pts < dts - base:
            self.note("PtsLessThanDts", time)
        if stream.type == "audio":
            end = self._ends.get(stream.index)
            length = (packet.duration or 0) * base
            if end is not None and length and time - end > length / 2 + 0.001:
                self.note("AudioDroppingFrames", end)
            self._ends[stream.index] = time + length
        else:
            self.video.append(time)
            self._video_dts.append(dts)
        self._near[stream.type] = dts
        if len(self._near) == 2 and abs(self._near["video"] - self._near["audio"]) > APART:
            self.note("AVTimestampInterleave", time)
        self._last[stream.index] = dts

    def decoded(self, packet: Any) -> None:
        """What its decoder says."""
        stream = packet.stream
        failed = "VideoDecodeFailed" if stream.type == "video" else "AudioDecodeFailed"
        place = packet.pts if packet.pts is not None else packet.dts
        time = float(place * stream.time_base) if place is not None else self._last.get(stream.index, 0.0)
        try:
            for frame in packet.decode():
                if frame.is_corrupt:
                    self.note(failed, frame.time if frame.time is not None else time)
                self._shape(stream, frame, frame.time if frame.time is not None else time)
        except av.error.FFmpegError:
            self.note(failed, time)

    def _shape(self, stream: Any, frame: Any, time: float) -> None:
        video = stream.type == "video"
        shape = (frame.width, frame.height) if video else (frame.sample_rate, frame.layout.nb_channels)
        before = self._shapes.setdefault(stream.index, shape)
        if shape == before:
            return
        if video:
            self.note("VideoResolutionChanged", time)
        else:
            if shape[0] != before[0]:
                self.note("AudioSampleRateChanged", time)
            if shape[1] != before[1]:
                self.note("AudioChannelsChanged", time)
        self._shapes[stream.index] = shape

    def end(self) -> None:
        """What all times together tell."""
        shown = sorted(set(self.video))
        self._steps(shown, "PtsJitter", "VideoDroppingFrames")
        self._steps(self._video_dts, "DtsJitter", "")
        if shown and shown[-1] - shown[0] > 4:
            first = int(shown[0])
            seconds = [0] * (int(shown[-1]) - first + 1)
            for time in shown:
                seconds[int(time) - first] += 1
            inner = seconds[1:-1]
            mean = sum(inner) / len(inner)
            for index, count in enumerate(inner, 1):
                if abs(count - mean) > max(1.0, RATE_CHANGE * mean):
                    self.note("FpsJitter", float(first + index))

    def _steps(self, times: list[float], uneven: str, missing: str) -> None:
        steps = [(after - before, before) for before, after in itertools.pairwise(times)]
        usual = sorted(step for step, _ in steps)[len(steps) // 2] if steps else 0.0
        if usual <= 0:
            return
        for step, time in steps:
            frames = step / usual
            if frames <= 0:
                continue  # it goes back: that is another fault
            if abs(frames - max(1, round(frames))) > UNEVEN + 0.002 / usual:
                self.note(uneven, time)
            elif round(frames) > 1 and missing:
                self.note(missing, time)


def diagnose(request: dict[str, Any]) -> dict[str, list[float]]:
    """Read the first picture and the first sound to the end; times count from the beginning of the film."""
    wanted = set(request["wanted"])
    decode = bool(wanted & DECODED)
    found = Diagnosis(wanted)
    with av.open(f"file:{request['path']}", options=request["options"]) as container:
        pictures = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        streams: list[Any] = [*pictures[:1], *container.streams.audio[:1]]
        for stream in streams if decode else ():
            stream.codec_context.options = {"err_detect": "explode"}
            stream.thread_type = "AUTO"
        for packet in container.demux(streams) if streams else ():
            if packet.size:
                found.packet(packet)
            if decode:
                found.decoded(packet)
        start = container.start_time / av.time_base if container.start_time is not None else 0.0
    found.end()
    return {kind: [round(max(0.0, time - start), 3) for time in times] for kind, times in found.faults.items()}


if __name__ == "__main__":
    try:
        answer: dict[str, Any] = {"faults": diagnose(json.load(sys.stdin))}
    except Exception as error:
        answer = {"error": getattr(error, "strerror", None) or str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
