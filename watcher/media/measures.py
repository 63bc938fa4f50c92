"""What ffmpeg measures of picture and sound while it decodes, and reading what it wrote.

Filters of the project ffmpeg: signalstats, blurdetect (Marziliano et al., 2002), blockdetect (Muijs and Kirenko, 2005),
cropdetect, and ebur128 (EBU R128 / ITU-R BS.1770).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

from watcher.model.findings import Look, Loudness

RATE = 5
"""Pictures a second that are measured: times are exact to a fifth of a second."""
WIDTH = 640
"""Pixels to which a picture is brought before, so that measures do not depend on its size."""
PICTURE = (
    f"fps={RATE}:eof_action=pass,scale={WIDTH}:-2:flags=area,format=yuv420p,signalstats=stat=tout,blurdetect,blockdetect,"
    "cropdetect=limit=24/255:round=2:reset=1:skip=0"
)
SOUND = (
    "ebur128=metadata=1,asetnsamples=4800:p=0,"
    "astats=metadata=1:reset=1:measure_perchannel=none:measure_overall=RMS_level+Peak_level+Flat_factor"
)
"""The first filter brings the sound to 48 000 Hz, so that 4800 samples are a tenth of a second."""
BARS_SIZE = (56, 2)
"""Columns and rows to which the upper half of a picture is brought, to look for colour bars: eight for each bar."""
UPPER_HALF = "crop=iw:ih/2:0:0"
SILENCE = -120.0
PICTURE_FILE, SOUND_FILE = "picture.txt", "sound.txt"


def _frames(path: Path) -> Iterator[tuple[float, dict[str, float]]]:
    """Time and values of each frame in a file of ffmpeg's filter metadata."""
    time, values = 0.0, dict[str, float]()
    if not path.exists():
        return
    with path.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith("frame:"):
                if values:
                    yield time, values
                time, values = float(line.rpartition("pts_time:")[2]), {}
            else:
                name, _, value = line.strip().removeprefix("lavfi.").partition("=")
                values[name] = float(value)
    if values:
        yield time, values


def _number(values: dict[str, float], name: str, missing: float = 0.0) -> float:
    value = values.get(name, missing)
    return value if math.isfinite(value) else missing


def looks(path: Path, size: tuple[int, int]) -> tuple[Look, ...]:
    """The measures of the pictures; ``size`` is that of the source, in which the box of the image is told."""
    high = max(2, round(WIDTH * size[1] / size[0] / 2) * 2)
    found: list[Look] = []
    mean = 0.0
    for number, (time, values) in enumerate(_frames(path)):
        # blockdetect tells the mean of all frames so far, not that of the frame.
        before, mean = mean, _number(values, "block", mean)
        block = max(0.0, mean * (number + 1) - before * number)
        corners = [_number(values, f"cropdetect.{name}") for name in ("x1", "y1", "x2", "y2")]
        spread = max(
            _number(values, f"signalstats.{plane}MAX") - _number(values, f"signalstats.{plane}MIN") for plane in "YUV"
        )
        inside = max(0.0, corners[2] + 1 - corners[0]) * max(0.0, corners[3] + 1 - corners[1])
        found.append(
            Look(
                time=round(time, 3),
                luma=_number(values, "signalstats.YAVG"),
                spread=spread,
                change=_number(values, "signalstats.YDIF"),
                outliers=_number(values, "signalstats.TOUT"),
                blur=_number(values, "blur"),
                block=block,
                box=(
                    round(corners[0] * size[0] / WIDTH), round(corners[1] * size[1] / high),
                    round((corners[2] + 1) * size[0] / WIDTH), round((corners[3] + 1) * size[1] / high),
                ),
                edge=max(0.0, 1 - inside / (WIDTH * high)),
            )
        )  # fmt: skip
    return tuple(found)


def loudness(path: Path) -> tuple[Loudness, ...]:
    """The measures of the sound, ten a second."""

    def level(values: dict[str, float], name: str) -> float:
        return max(SILENCE, _number(values, name, SILENCE))

    return tuple(
        Loudness(
            round(time, 3),
            level(values, "astats.Overall.RMS_level"),
            level(values, "astats.Overall.Peak_level"),
            _number(values, "astats.Overall.Flat_factor"),
            level(values, "r128.M"),
            level(values, "r128.I"),
        )
        for time, values in _frames(path)
    )


_ORDER = ((1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1))
"""White, yellow, cyan, green, magenta, red, blue: the bars of SMPTE EG 1, RP 219 and of EBU Tech 3325 alike."""
_ALIKE = 24
_NARROWEST = 3


def bars(path: Path) -> tuple[tuple[float, bool], ...]:
    """Whether each picture, ``RATE`` a second, shows colour bars."""
    data = path.read_bytes()
    size = BARS_SIZE[0] * BARS_SIZE[1] * 3
    return tuple(
        (round(number / RATE, 3), _are_bars(data[number * size : (number + 1) * size]))
        for number in range(len(data) // size)
    )


def _are_bars(picture: bytes) -> bool:
    """Whether the colours come in their order, each wide enough, and the same in both rows."""
    half = len(picture) // 2
    upper, lower = picture[:half], picture[half:]
    brightest = max(picture)
    if brightest < 128 or any(abs(a - b) > _ALIKE for a, b in zip(upper, lower, strict=True)):
        return False
    columns = [tuple(int(value > brightest / 2) for value in upper[place : place + 3]) for place in range(0, half, 3)]
    wide = [colour for colour, same in itertools.groupby(columns) if len(list(same)) >= _NARROWEST]
    return any(tuple(wide[place : place + len(_ORDER)]) == _ORDER for place in range(len(wide)))
