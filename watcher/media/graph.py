"""Merging renders into ffmpeg commands: one decode, one split, each picture scaled from the next larger one.

Pure functions from renders to argument lists. The rules behind them are measured: one process with a split
takes about 0.64 of the time of one process after another, and image branches beside encodes are nearly free.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from watcher.media import filters
from watcher.media.render import (
    Copy,
    Frames,
    Join,
    Measures,
    Moments,
    Options,
    Overlay,
    Picture,
    Render,
    Sound,
    Steady,
    Track,
    Waveform,
    Window,
)
from watcher.model.media_info import MediaInfo

DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dv,dts,eac3,flac,flv,gxf,h264,hevc,ivf,loas,m4v,matroska,webm,"
    "mov,mp3,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,truehd,tta,vc1,w64,wav,wv,y4m"
)
"""Real containers only: nothing that refers to another file or address (hls, dash, concat, image2 …)."""
PICTURE_DEMUXERS = "png_pipe,jpeg_pipe,gif,apng,webp_pipe,bmp_pipe"
"""What a picture may be: that of a watermark, or the source of a task that is about a picture."""
SUBTITLE_DEMUXERS = "srt,webvtt,ass"

MAX_PIXELS = 8192 * 8192
MAX_STREAMS = 64
OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": DEMUXERS,
    "max_streams": str(MAX_STREAMS),
}
"""How every file that we did not write ourselves is opened, by ffmpeg and by the probe alike."""

Pass = Literal[0, 1, 2]
"""0 for an encode in one pass, else which of the two it is."""


def groups(renders: Iterable[Render]) -> list[list[Render]]:
    """Renders that one process can make together: those that read the same part of the same files."""
    found: dict[tuple[Window, Join | None], list[Render]] = defaultdict(list)
    for render in renders:
        found[render.window, render.join].append(render)
    return list(found.values())


def start() -> list[str]:
    """The arguments that every run of ffmpeg begins with."""
    return [
        "-nostdin", "-hide_banner", "-v", "error", "-nostats", "-progress", "pipe:1", "-stats_period", "0.5",
    ]  # fmt: skip


def open_arguments(options: dict[str, str]) -> list[str]:
    """Input options as arguments."""
    return [item for name, value in options.items() for item in (f"-{name}", value)]


@dataclass(frozen=True, slots=True)
class Machine:
    """What a command may use: ``threads`` of all encoders together; ``input`` are options in front of the source."""

    threads: int
    input: tuple[str, ...] = ()


def command(
    renders: Sequence[Render], media: MediaInfo, source: str, out: str, machine: Machine, number: Pass = 0
) -> list[str]:
    """ffmpeg's arguments (without the program) for the renders of one group.

    ``source`` is the local input file, ``out`` the folder that holds a folder per render (ffmpeg's current one).
    """
    return _Command(renders, media, source, out, machine, number).arguments()


def thread_shares(pictures: Sequence[tuple[Render, Picture]], threads: int) -> dict[str, int]:
    """How many threads each encoder gets: by its pixels, so that the largest does not run on alone at the end.

    Half as many again as there are processors, because an encoder waits now and then (x264's own rule). Measured on
    two processors, with four renditions: 12 % less time than one thread for each.
    """
    pixels = {r.name: picture.size.width * picture.size.height for r, picture in pictures if picture.threaded}
    whole = sum(pixels.values())
    return {name: max(1, round(1.5 * threads * share / whole)) for name, share in pixels.items()}


def beside(render: Render, media: MediaInfo, source: str, out: str, picture: str, first: float) -> list[str]:
    """A finished picture and the sound of the source: the render's one file, without encoding the picture again.

    ``picture`` is a file below ``out`` whose first frame is shown at ``first``.
    """
    assert isinstance(render.video, Picture)  # noqa: S101  what else would have been encoded
    tag = ("-tag:v", "hvc1") if "hvc1" in render.video.encoder else ()
    command = _Command([replace(render, video=None)], media, source, out, Machine(1), 0)
    return command.with_picture(picture, first, tag)


class _Command:
    """One command while it is put together."""

    def __init__(
        self, renders: Sequence[Render], media: MediaInfo, source: str, out: str, machine: Machine, number: Pass
    ) -> None:
        self._renders = [r for r in renders if number != 1 or (isinstance(r.video, Picture) and r.video.two_pass)]
        self._media = media
        self._out = out
        self._machine = machine
        self._number = number
        self._window, self._join = renders[0].window, renders[0].join
        self._inputs: list[list[str]] = [self._source(source)]
        self._numbers: dict[tuple[str, Options], int] = {}
        self._chains: list[str] = []

    def arguments(self) -> list[str]:
        """All of them."""
        pictures = [(render, render.video) for render in self._renders if isinstance(render.video, Picture)]
        sounds: list[str] = []
        if self._join is not None:
            picture, sounds = self._joined(self._join)
        else:
            picture = f"[0:{self._media.picture.index}]" if self._media.picture is not None else ""
        if pictures:
            assert self._media.picture is not None  # noqa: S101  a step without a picture was refused when planned
            tree = _tree(pictures, (self._media.picture.width, self._media.picture.height))
            self._chains += _Writer(picture, self._input_of).write(tree)
        elif self._join is not None and picture:
            self._chains.append(f"{picture}nullsink")
        shares = thread_shares(pictures, self._machine.threads)
        outputs = [item for r in self._renders for item in self._output(r, shares.get(r.name, 1), sounds)]
        graph = ["-filter_complex", ";".join(self._chains)] if self._chains else []
        return [
            *start(),
            "-filter_complex_threads",
            str(max(1, self._machine.threads)),
            *(item for arguments in self._inputs for item in arguments),
            *graph,
            *outputs,
        ]

    def with_picture(self, path: str, first: float, tag: tuple[str, ...]) -> list[str]:
        """All of them, with the picture of a file of ours in place of one that is encoded."""
        (render,) = self._renders
        # ffmpeg moves each input to 0 by itself; the offset moves the picture back to where it was.
        self._inputs.append(["-itsoffset", filters.seconds(first), "-i", f"file:{path}"])
        number = len(self._inputs) - 1
        outputs = self._output(render, 1, [])
        inputs = [item for arguments in self._inputs for item in arguments]
        return [*start(), *inputs, "-map", f"{number}:v:0", "-c:v", "copy", *tag, *outputs]

    def _source(self, source: str) -> list[str]:
        # A source that was opened as a picture is opened as one again; which may be is for the probe to decide.
        picture = self._media.container in PICTURE_DEMUXERS.split(",")
        opened = OPEN_OPTIONS | ({"format_whitelist": PICTURE_DEMUXERS} if picture else {})
        arguments = [*self._machine.input, *open_arguments(opened), "-max_pixels", str(MAX_PIXELS)]
        if self._window.start:
            arguments += ["-ss", filters.seconds(self._window.start)]
        if self._window.end is not None:
            arguments += ["-t", filters.seconds(self._window.end - self._window.start)]
        return [*arguments, "-i", f"file:{source}"]

    def _input_of(self, path: str, options: Options, demuxers: str = PICTURE_DEMUXERS) -> int:
        """The number of a further input, opened once however often it is used."""
        key = (path, options)
        if key not in self._numbers:
            self._numbers[key] = len(self._inputs)
            opened = open_arguments(OPEN_OPTIONS | {"format_whitelist": demuxers} | dict(options))
            self._inputs.append([*opened, "-max_pixels", str(MAX_PIXELS), "-i", f"file:{path}"])
        return self._numbers[key]

    def _joined(self, join: Join) -> tuple[str, list[str]]:
        """One picture and one sound out of several clips, all brought to the source's size, rate and layout.

        Labels of the picture, and of the sound: one for each track that is made of it.
        """
        picture, sound = self._media.picture, self._media.sound
        parts = ""
        clips = [(clip.media, self._input_of(clip.path, (), DEMUXERS)) for clip in join.head]
        clips.append((self._media, 0))
        clips += [(clip.media, self._input_of(clip.path, (), DEMUXERS)) for clip in join.tail]
        for index, (media, number) in enumerate(clips):
            length = self._window.length(media.duration) if number == 0 else media.duration
            if picture is not None:
                label = f"[jv{index}]"
                self._chains.append(f"{filters.clip_picture(media, number, picture, length)}{label}")
                parts += label
            if sound is not None:
                label = f"[ja{index}]"
                self._chains.append(f"{filters.clip_sound(media, number, sound, length)}{label}")
                parts += label
        outputs = ("[jv]" if picture is not None else "", "[ja]" if sound is not None else "")
        kinds = f"n={len(clips)}:v={int(picture is not None)}:a={int(sound is not None)}"
        self._chains.append(f"{parts}concat={kinds}{''.join(outputs)}")
        users = sum(1 for render in self._renders for track in render.audio if _is_joined(track))
        if sound is None:
            return outputs[0], []
        if self._number == 1 or not users:
            self._chains.append("[ja]anullsink")
            return outputs[0], []
        labels = [f"[ja_{number}]" for number in range(users)]
        self._chains.append(f"[ja]asplit={users}{''.join(labels)}")
        return outputs[0], labels

    def _output(self, render: Render, threads: int, sounds: list[str]) -> list[str]:
        arguments = self._video(render, threads)
        if self._number == 1:
            return [*arguments, "-an", "-f", "null", "-"]
        for index, track in enumerate(render.audio):
            arguments += self._audio(render, index, track, sounds)
        for index, (path, language, title) in enumerate(render.subtitles):
            number = self._input_of(path, (), SUBTITLE_DEMUXERS)
            arguments += ["-map", f"{number}:0", f"-c:s:{index}", render.subtitle_codec]
            arguments += _names(f"s:s:{index}", language, title)
        if render.subtitles:
            # A subtitle ends long before the film does; without this the muxer would hold the film back for it.
            arguments += ["-max_interleave_delta", "0"]
        muxer = list(render.muxer)
        if render.key is not None:
            muxer += ["-hls_key_info_file", f"{self._out}/{render.name}/main.keyinfo"]
        return [
            *arguments,
            "-map_metadata", "-1",
            "-max_muxing_queue_size", "9999",
            *muxer,
            "-y", f"file:{self._out}/{render.name}/{render.file}",
        ]  # fmt: skip

    def _video(self, render: Render, threads: int) -> list[str]:
        video = render.video
        if isinstance(video, Waveform):
            assert self._media.sound is not None  # noqa: S101
            self._chains.append(f"[0:{self._media.sound.index}]{filters.waveform(video)}[{render.name}]")
            return ["-map", f"[{render.name}]", "-frames:v", "1", *video.encoder]
        if isinstance(video, Measures):
            return self._measures(render.name, video)
        if isinstance(video, Copy):
            assert self._media.picture is not None  # noqa: S101
            return ["-map", f"0:{self._media.picture.index}", "-c:v", "copy"]
        if not isinstance(video, Picture):
            return []
        arguments = ["-map", f"[{render.name}]", *video.encoder]
        if video.two_pass and self._number:
            arguments = _with_pass(arguments, self._number, f"{self._out}/{render.name}/pass")
        if video.threaded:
            arguments += ["-threads:v", str(threads)]
        if render.is_pictures:
            arguments += ["-fps_mode", "passthrough"]
        if isinstance(video.frames, Moments):
            # Files are named by their time, so that a picture that is missing is noticed rather than shifted.
            arguments += ["-enc_time_base", "1:1000", "-frame_pts", "1"]
        return arguments

    def _measures(self, name: str, what: Measures) -> list[str]:
        arguments: list[str] = []
        picture, sound = self._media.picture, self._media.sound
        if what.picture and picture is not None:
            file = f"{self._out}/{name}/{what.files[0]}"
            self._chains.append(f"[0:{picture.index}]{what.picture},metadata=print:file={file}[{name}_p]")
            arguments += ["-map", f"[{name}_p]"]
        if what.sound and sound is not None:
            file = f"{self._out}/{name}/{what.files[1]}"
            self._chains.append(f"[0:{sound.index}]{what.sound},ametadata=print:file={file}[{name}_s]")
            arguments += ["-map", f"[{name}_s]"]
        return arguments

    def _audio(self, render: Render, index: int, sound: Sound | Copy, joined: list[str]) -> list[str]:
        track = sound.track
        if joined and isinstance(sound, Sound) and _is_joined(sound):
            label = joined.pop(0)
            if sound.filters:
                filtered = f"[{render.name}_{index}]"
                self._chains.append(f"{label}{','.join(sound.filters)}{filtered}")
                label = filtered
            arguments = ["-map", label]
        else:
            arguments = ["-map", self._stream_of(track)]
            if isinstance(sound, Sound) and sound.filters:
                arguments += [f"-filter:a:{index}", ",".join(sound.filters)]
        if isinstance(sound, Copy):
            arguments += [f"-c:a:{index}", "copy"]
        else:
            arguments += [item for name, value in sound.encoder for item in (f"-{name}:a:{index}", value)]
        return [*arguments, *_names(f"s:a:{index}", track.language, track.title)]

    def _stream_of(self, track: Track) -> str:
        if track.path:
            return f"{self._input_of(track.path, (), DEMUXERS)}:a:{track.stream}"
        return f"0:{self._media.audio[track.stream].index}"


def _is_joined(sound: Sound | Copy) -> bool:
    """Whether a track is made of the joined clips: a further track comes from its own file, as it is."""
    return isinstance(sound, Sound) and not sound.track.path


def _names(stream: str, language: str, title: str) -> list[str]:
    arguments = [f"-metadata:{stream}", f"language={language}"] if language else []
    return arguments + ([f"-metadata:{stream}", f"title={title}"] if title else [])


def _with_pass(arguments: list[str], number: int, log: str) -> list[str]:
    """x265 takes its pass from its own parameters, the other encoders from ffmpeg."""
    if "libx265" not in arguments:
        return [*arguments, "-pass:v", str(number), "-passlogfile:v", log]
    place = arguments.index("-x265-params") + 1
    return [*arguments[:place], f"{arguments[place]}:pass={number}:stats={log}.log", *arguments[place + 1 :]]


Operation = str | filters.Step
"""A simple filter, or one that has several branches or inputs."""


@dataclass
class _Node:
    """A filter chain, where it ends (a render's label), and what hangs below it."""

    filters: list[Operation]
    label: str | None = None
    children: list[_Node] = field(default_factory=list)

    def add(self, operations: list[Operation]) -> _Node:
        """A new child."""
        self.children.append(_Node(operations))
        return self.children[-1]


def _tree(pictures: list[tuple[Render, Picture]], source: tuple[int, int]) -> _Node:
    """All frames at the root, standard range below it where it is wanted, then rates, then sizes."""
    root = _Node([])
    by_frames: dict[tuple[bool, Frames, tuple[str, ...]], list[tuple[Render, Picture]]] = defaultdict(list)
    for render, picture in pictures:
        by_frames[picture.tone_map, picture.frames, picture.repair].append((render, picture))
    mapped: _Node | None = None
    mapped_size = source
    for (tone_map, frames, repair), members in by_frames.items():
        # Frames are dropped before they are scaled: a sprite scales one frame in ten seconds, not all.
        operations: list[Operation] = [*filters.sampling(frames), *repair]
        if tone_map and isinstance(frames, Steady):
            if mapped is None:
                # Once for all, at the size of the largest rendition: the mapping costs as much as a fast encode.
                mapped_size = _largest([p for _, p in pictures if p.tone_map and isinstance(p.frames, Steady)], source)
                mapped = root.add([*filters.scale(mapped_size, source), *filters.TONE_MAP])
            _cascade(mapped.add(operations), members, mapped_size)
        else:
            _cascade(root.add(operations + (list(filters.TONE_MAP) if tone_map else [])), members, source)
    return root


def _largest(pictures: list[Picture], source: tuple[int, int]) -> tuple[int, int]:
    """The largest size asked for, or the source's when nothing is smaller than that in both directions."""
    width = max(picture.size.inner[0] for picture in pictures)
    height = max(picture.size.inner[1] for picture in pictures)
    return (width, height) if width < source[0] and height < source[1] else source


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
            node = parent.add([*filters.scale(size, None)])
            nodes.append((size, node))
        for render, picture in members:
            if picture.size.inner == size:
                node.add([*filters.finish(picture)]).label = render.name


class _Writer:
    """Writes a tree in ffmpeg's graph syntax."""

    def __init__(self, source: str, input_of: filters.InputOf) -> None:
        self._source = source
        self._input_of = input_of
        self._chains: list[str] = []
        self._count = 0

    def write(self, root: _Node) -> list[str]:
        uses: dict[int, int] = defaultdict(int)
        self._count_inputs(root, uses)
        self._labels: dict[int, list[str]] = {}
        for number, count in uses.items():
            # An input can be used by one branch only, so it is split like the source.
            self._labels[number] = [self.label() for _ in range(count)]
            split = f"split={count}" if count > 1 else "null"
            self._chains.append(f"[{number}:v]{split}{''.join(self._labels[number])}")
        self._walk(root, self._source, [])
        return self._chains

    def _count_inputs(self, node: _Node, uses: dict[int, int]) -> None:
        for operation in node.filters:
            if isinstance(operation, filters.Step) and isinstance(operation.what, Overlay):
                uses[self._input_of(operation.what.path, operation.what.input)] += 1
        for child in node.children:
            self._count_inputs(child, uses)

    def label(self) -> str:
        self._count += 1
        return f"[n{self._count}]"

    def _walk(self, node: _Node, source: str, pending: list[str]) -> None:
        chain = list(pending)
        for operation in node.filters:
            if isinstance(operation, str):
                chain.append(operation)
                continue
            second = ""
            if isinstance(operation.what, Overlay):
                second = self._labels[self._input_of(operation.what.path, operation.what.input)].pop()
            written, source = operation.write(source, chain, second, self.label)
            self._chains += written
            chain = []
        if node.label is not None:
            self._chains.append(f"{source}{','.join(chain) or 'null'}[{node.label}]")
        elif len(node.children) == 1:
            self._walk(node.children[0], source, chain)
        else:
            labels = [self.label() for _ in node.children]
            self._chains.append(f"{source}{','.join([*chain, f'split={len(labels)}'])}{''.join(labels)}")
            for child, label in zip(node.children, labels, strict=True):
                self._walk(child, label, [])
