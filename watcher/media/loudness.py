"""Measuring loudness (ITU-R BS.1770, EBU R 128), before a gain is chosen."""

from __future__ import annotations

import json
from pathlib import Path

from watcher.errors import MediaError
from watcher.media import graph
from watcher.media.ffmpeg import FFmpeg
from watcher.model.media_info import MediaInfo


async def measure(ffmpeg: FFmpeg, source: Path, media: MediaInfo, out: Path) -> tuple[float, float] | None:
    """Integrated loudness in LUFS and true peak in dBTP of the first audio stream; None without one.

    Reads the sound only, at some hundred times its speed.
    """
    if media.sound is None:
        return None
    arguments = graph.start()
    arguments[arguments.index("error")] = "info"  # the filter prints what it measured
    arguments += [*graph.open_arguments(graph.OPEN_OPTIONS), "-vn", "-i", f"file:{source}"]
    arguments += ["-map", f"0:{media.sound.index}", "-af", "loudnorm=print_format=json", "-f", "null", "-"]
    lines = await ffmpeg.execute(arguments, source, out, length=media.duration)
    text = "\n".join(lines).replace("\N{REPLACEMENT CHARACTER}", "")  # tabs, made printable
    try:
        found = json.loads(text[text.rindex("{") : text.rindex("}") + 1])
        return float(found["input_i"]), float(found["input_tp"])
    except (ValueError, KeyError):
        raise MediaError("InternalError", "the loudness of the source can't be measured") from None
