"""HLS playlists (RFC 8216): how they are asked for, and how our file names in them become object names."""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from watcher.model.output_path import Naming, relative_url
from watcher.steps._encoders import Cuts
from watcher.steps.base import CONTENT_TYPES, OutputFile

_SEGMENT = re.compile(r"seg(\d+)\.(ts|m4s)\Z")
_URI = re.compile(r'URI="([^"]*)"')


def muxer(name: str, segments: str, cuts: Cuts) -> tuple[str, ...]:
    """The muxer's options for a render of that name; ``segments`` is a segment type of the contract.

    ffmpeg cuts at the first key frame that is due. Where key frames are only where a cut is wanted, any small time
    will do.
    """
    free = cuts.times or cuts.first_count
    time = "0.001" if free else f"{cuts.seconds:g}"
    mp4, single = segments.startswith("mp4"), segments.endswith("byterange")
    extension = "m4s" if mp4 else "ts"
    file = f"main.{extension}" if single else f"seg%d.{extension}"
    # Relative to the folder of all renders, where ffmpeg runs.
    return (
        "-f", "hls", "-hls_time", time, "-hls_list_size", "0", "-hls_playlist_type", "vod",
        "-hls_flags", "+single_file+independent_segments" if single else "+independent_segments",
        *(("-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", "init.mp4") if mp4 else ()),
        "-hls_segment_filename", f"{name}/{file}",
    )  # fmt: skip


def segments(files: Sequence[Path], pattern: str, naming: Naming, sub_stream: int | None = None) -> list[OutputFile]:
    """Objects of the segments in their order; the initialisation section is called ``init``."""
    found: list[OutputFile] = []
    number = 0
    single = sum(1 for path in files if path.suffix in (".ts", ".m4s")) == 1 and files[0].name.startswith("main")
    for path in files:
        extension = path.suffix.removeprefix(".")
        if path.name.startswith("init"):
            label: int | str = "init"
        else:
            label, number = number, number + 1
        key = naming.object_key(pattern, extension, number=label, several=not single, sub_stream=sub_stream)
        found.append(OutputFile(path, key, CONTENT_TYPES[extension]))
    return found


def early(file: str, pattern: str, naming: Naming, sub_stream: int | None = None) -> tuple[str, str] | None:
    """Key and content type of a numbered segment; None for any other file."""
    match = _SEGMENT.match(file)
    if match is None:
        return None
    key = naming.object_key(pattern, match[2], number=int(match[1]), several=True, sub_stream=sub_stream)
    return key, CONTENT_TYPES[match[2]]


def rewrite(playlist: Path, to: Path, key: str, names: Mapping[str, str], key_uri: str = "") -> Path:
    """A playlist with our file names replaced by those of the objects, relative to its own ``key``."""

    def relative(name: str) -> str:
        return relative_url(names[posixpath.basename(name)], key)

    lines: list[str] = []
    for line in playlist.read_text(encoding="utf-8").splitlines():
        if line.startswith("#EXT-X-KEY"):
            lines.append(_URI.sub(lambda _: f'URI="{key_uri}"', line))
        elif line.startswith("#EXT-X-MAP"):
            lines.append(_URI.sub(lambda match: f'URI="{relative(match[1])}"', line))
        elif line and not line.startswith("#"):
            lines.append(relative(line))
        elif line:
            lines.append(line)
    to.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return to


@dataclass(frozen=True, slots=True)
class Rates:
    """Bit rates of a media playlist in bit/s: that of the largest segment, and the mean."""

    peak: int
    average: int


def rates(playlist: Path) -> Rates:
    """Measured over the segments as they were written (RFC 8216, section 4.1: peak segment bit rate)."""
    found = _segments_of(playlist)
    longest = max((length for length, _ in found), default=0.0)
    # A last segment of a few frames has no rate to speak of: shorter than half the longest, it does not count.
    peak = max((size * 8 / max(0.001, length) for length, size in found if length >= longest / 2), default=0.0)
    seconds = sum(length for length, _ in found)
    return Rates(round(peak), round(sum(size for _, size in found) * 8 / max(0.001, seconds)))


def starts(playlist: Path) -> list[float]:
    """When the segments of a media playlist begin, in seconds."""
    return list(itertools.accumulate((length for length, _ in _segments_of(playlist)), initial=0.0))[:-1]


def _segments_of(playlist: Path) -> list[tuple[float, int]]:
    """Seconds and bytes of each segment of a playlist that ffmpeg wrote, beside its segments."""
    found: list[tuple[float, int]] = []
    length, size = 0.0, 0
    for line in playlist.read_text(encoding="utf-8").splitlines():
        if line.startswith("#EXTINF:"):
            length, size = float(line.removeprefix("#EXTINF:").split(",")[0]), 0
        elif line.startswith("#EXT-X-BYTERANGE:"):
            size = int(line.removeprefix("#EXT-X-BYTERANGE:").split("@")[0])
        elif line and not line.startswith("#"):
            found.append((length, size or (playlist.parent / posixpath.basename(line)).stat().st_size))
    return found


def attributes(values: Mapping[str, str | int | None], quoted: frozenset[str]) -> str:
    """An attribute list; what is None is left out."""
    parts = [f'{name}="{value}"' if name in quoted else f"{name}={value}" for name, value in values.items() if value]
    return ",".join(parts)
