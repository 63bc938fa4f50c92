"""Merging renders into ffmpeg commands: one decode, one split, each picture scaled from the next larger one.

Pure functions from renders to argument lists. The rules behind them are measured: one process with a split
takes about 0.64 of the time of one process after another, and image branches beside encodes are nearly free.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from watcher.media.render import Copy, Interval, Moments, Picture, Render, Size, Steady, Window
from watcher.model.media_info import MediaInfo

DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dv,dts,eac3,flac,flv,gxf,h264,hevc,ivf,loas,m4v,matroska,webm,"
    "mov,mp3,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,truehd,tta,vc1,w64,wav,wv,y4m"
)
"""Real containers only: nothing that refers to another file or address (hls, dash, concat, image2 …)."""

MAX_PIXELS = 8192 * 8192
MAX_STREAMS = 64
OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": DEMUXERS,
    "max_streams": str(MAX_STREAMS),
}
"""How every file that we did not write ourselves is opened, by ffmpeg and by the probe alike."""


def groups(renders: Iterable[Render]) -> list[list[Render]]:
    """Renders that one process can make together: those that read the same window of the source."""
    by_window: dict[Window, list[Render]] = defaultdict(list)
    for render in renders:
        by_window[render.window].append(render)
    return list(by_window.values())


def command(renders: Sequence[Render], media: MediaInfo, source: str, out: str, *, threads: int) -> list[str]:
    """ffmpeg's arguments (without the program) for renders of one window.

    ``source`` is the local input file, ``out`` the folder that holds a folder per render (ffmpeg's current one),
    ``threads`` how many threads all the encoders together should use.
    """
    window = renders[0].window
    arguments = ["-nostdin", "-hide_banner", "-v", "error", "-nostats", "-progress", "pipe:1", "-stats_period", "0.5"]
    arguments += [item for name, value in OPEN_OPTIONS.items() for item in (f"-{name}", value)]
    arguments += ["-max_pixels", str(MAX_PIXELS)]
    if window.start:
        arguments += ["-ss", _seconds(window.start)]
    if window.end is not None:
        arguments += ["-t", _seconds(window.end - window.start)]
    arguments += ["-i", f"file:{source}"]
    pictures = [(render, render.video) for render in renders if isinstance(render.video, Picture)]
    if pictures:
        assert media.picture is not None  # noqa: S101  a step without a picture was refused when it was planned
        tree = _tree(pictures, (media.picture.width, media.picture.height))
        arguments += ["-filter_complex_threads", str(max(1, threads)), "-filter_complex"]
        arguments.append(_Writer(f"0:{media.picture.index}").write(tree))
    encoders = sum(1 for _, picture in pictures if picture.threaded)
    share = max(1, -(-threads // encoders)) if encoders else 1
    for render in renders:
        arguments += _output(render, media, out, share)
    return arguments


def _output(render: Render, media: MediaInfo, out: str, threads: int) -> list[str]:
    arguments: list[str] = []
    if isinstance(render.video, Picture):
        arguments += ["-map", f"[{render.name}]", *render.video.encoder]
        if render.video.threaded:
            arguments += ["-threads:v", str(threads)]
        if render.is_pictures:
            arguments += ["-fps_mode", "passthrough"]
        if isinstance(render.video.frames, Moments):
            # Files are named by their time, so that a picture that is missing is noticed rather than shifted.
            arguments += ["-enc_time_base", "1:1000", "-frame_pts", "1"]
    elif isinstance(render.video, Copy) and media.picture is not None:
        arguments += ["-map", f"0:{media.picture.index}", "-c:v", "copy"]
    if render.audio is not None and media.sound is not None:
        arguments += ["-map", f"0:{media.sound.index}"]
        arguments += ["-c:a", "copy"] if isinstance(render.audio, Copy) else list(render.audio.encoder)
    return [
        *arguments,
        "-max_muxing_queue_size",
        "9999",
        *render.muxer,
        "-y",
        f"file:{out}/{render.name}/{render.file}",
    ]


@dataclass
class _Node:
    """A filter chain, where it ends (a render's label), and what hangs below it."""

    filters: list[str]
    label: str | None = None
    children: list[_Node] = field(default_factory=list)


def _tree(pictures: list[tuple[Render, Picture]], source: tuple[int, int]) -> _Node:
    root = _Node([])
    by_frames: dict[Steady | Interval | Moments, list[tuple[Render, Picture]]] = defaultdict(list)
    for render, picture in pictures:
        by_frames[picture.frames].append((render, picture))
    for frames, members in by_frames.items():
        # Frames are dropped before they are scaled: a sprite scales one frame in ten seconds, not all.
        top = _Node(_sampling(frames))
        root.children.append(top)
        _cascade(top, members, source)
    return root


def _sampling(frames: Steady | Interval | Moments) -> list[str]:
    if isinstance(frames, Steady):
        return [f"fps={_rational(frames.fps)}"] if frames.fps else []
    if isinstance(frames, Interval):
        # round=up makes output n the last frame at or before n × interval: the one on display then.
        # One more copy of the last frame makes up for headers that round the duration up.
        rate = _rational(1 / frames.seconds)
        return [
            f"fps=fps={rate}:start_time=0:round=up",
            "tpad=stop_mode=clone:stop=1",
            f"trim=end_frame={frames.count}",
        ]
    terms = [f"gt({moment},prev_pts)*lte({moment},pts)" for moment in frames.milliseconds]
    first = f"isnan(prev_pts)*lte({frames.milliseconds[0]},pts)"
    return ["settb=1/1000", f"select='{'+'.join([first, *terms])}'"]


def _cascade(top: _Node, members: list[tuple[Render, Picture]], source: tuple[int, int]) -> None:
    """Hang each size below the smallest larger one, largest first."""
    sizes = sorted({picture.size.inner for _, picture in members}, key=lambda size: -size[0] * size[1])
    nodes: list[tuple[tuple[int, int], _Node]] = [(source, top)]
    for size in sizes:
        if size == source:
            node = top
        else:
            wide, high = size
            _, parent = min(
                ((s, n) for s, n in nodes if s[0] >= wide and s[1] >= high),
                key=lambda entry: entry[0][0] * entry[0][1],
                default=nodes[0],
            )
            node = _Node([f"scale={wide}:{high}:flags=bicubic"])
            parent.children.append(node)
            nodes.append((size, node))
        for render, picture in members:
            if picture.size.inner == size:
                node.children.append(_Node(_finish(picture), label=render.name))


def _finish(picture: Picture) -> list[str]:
    filters = _fill(picture.size)
    filters.append("setsar=1")
    if picture.tile is not None:
        filters.append(f"tile={picture.tile[0]}x{picture.tile[1]}")
    if picture.pixel_format:
        filters.append(f"format={picture.pixel_format}")
    return filters


def _fill(size: Size) -> list[str]:
    if size.fill == "stretch":
        return []
    if size.fill in ("black", "white"):
        return [f"pad={size.width}:{size.height}:(ow-iw)/2:(oh-ih)/2:color={size.fill}"]
    return [f"@gauss {size.width}:{size.height}"]


class _Writer:
    """Writes a tree in ffmpeg's graph syntax."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._chains: list[str] = []
        self._count = 0

    def write(self, root: _Node) -> str:
        self._walk(root, f"[{self._source}]", [])
        return ";".join(self._chains)

    def _label(self) -> str:
        self._count += 1
        return f"[n{self._count}]"

    def _walk(self, node: _Node, source: str, pending: list[str]) -> None:
        filters = list(pending)
        for text in node.filters:
            if text.startswith("@gauss "):
                source, filters = self._gauss(source, filters, text.removeprefix("@gauss "))
            else:
                filters.append(text)
        if node.label is not None:
            self._chains.append(f"{source}{','.join(filters) or 'null'}[{node.label}]")
        elif len(node.children) == 1:
            self._walk(node.children[0], source, filters)
        else:
            labels = [self._label() for _ in node.children]
            self._chains.append(f"{source}{','.join([*filters, f'split={len(labels)}'])}{''.join(labels)}")
            for child, label in zip(node.children, labels, strict=True):
                self._walk(child, label, [])

    def _gauss(self, source: str, filters: list[str], box: str) -> tuple[str, list[str]]:
        """The picture over a blurred, stretched copy of itself."""
        front, back, blurred = self._label(), self._label(), self._label()
        self._chains.append(f"{source}{','.join([*filters, 'split=2'])}{front}{back}")
        self._chains.append(f"{back}scale={box}:flags=bilinear,gblur=sigma=20{blurred}")
        joined = self._label()
        self._chains.append(f"{blurred}{front}overlay=(W-w)/2:(H-h)/2{joined}")
        return joined, []


def _rational(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}" if value.denominator != 1 else str(value.numerator)


def _seconds(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")
