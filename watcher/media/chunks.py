"""Encoding a long film as chunks side by side, joined without a doubled or missing frame.

Every frame belongs to the one chunk whose span its time is in, whatever its chunk decodes around it: so chunks need not
begin at key frames of the source, and none can be dropped or doubled at a joint. Chunks carry the film's own times
(NUT keeps them exactly), and a joint only puts packets one after another. Sound is never cut: it is encoded whole,
beside the joined picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from watcher.errors import MediaError
from watcher.media import filters, graph
from watcher.media.ffmpeg import FFmpeg
from watcher.media.probe import Probe
from watcher.media.render import WHOLE, Overlay, Picture, Render, Span, Steady, Window
from watcher.model.media_info import MediaInfo
from watcher.together import together

MARGIN = 1.0
"""Seconds that are decoded before and after a chunk, so that its first and last frame are known for sure."""
ENCODERS = frozenset({"libx264", "libx265"})
"""Encoders whose chunks decode as one stream: their parameter sets are the same for the same settings."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of the film in seconds; ``end`` None is its end."""

    number: int
    start: float
    end: float | None


def plan(duration: float, seconds: float) -> list[Chunk]:
    """Parts of about ``seconds``; the last one is never shorter than half of that."""
    count = max(1, round(duration / seconds))
    edges = [index * seconds for index in range(count)]
    return [Chunk(index, start, edges[index + 1] if index + 1 < count else None) for index, start in enumerate(edges)]


def suits(render: Render) -> bool:
    """Whether a render can be made of chunks: its key frames are its encoder's own choice, nothing in it moves."""
    video = render.video
    return (
        isinstance(video, Picture)
        and isinstance(video.frames, Steady)
        and render.window == WHOLE
        and render.join is None
        and not video.two_pass
        and not video.palette
        and not any(item.startswith("minterpolate") for item in video.repair)
        and bool(ENCODERS & set(video.encoder))
        and "-force_key_frames" not in video.encoder
        and not any(isinstance(layer, Overlay) and layer.ending != "repeat" for layer in video.layers)
    )


@dataclass(slots=True)
class Chunked:
    """One encode by chunks. ``out`` is the folder of the renders, ``parallel`` how many chunks run at once."""

    ffmpeg: FFmpeg
    probe: Probe
    media: MediaInfo
    source: Path
    out: Path
    parallel: int

    async def run(
        self, renders: Sequence[Render], seconds: float, on_progress: Callable[[float], None] | None = None
    ) -> None:
        """Make the files of renders that all suit; raises MediaError when a chunk is not what it has to be."""
        chunks = plan((self.media.picture and self.media.picture.duration) or self.media.duration, seconds)
        shares = [0.0] * len(chunks)

        async def encode(chunk: Chunk) -> None:
            def moved(fraction: float) -> None:
                shares[chunk.number] = fraction
                if on_progress is not None:
                    on_progress(0.95 * sum(shares) / len(shares))

            parts = [self._part(render, chunk) for render in renders]
            worker = replace(self.ffmpeg, threads=max(1, self.ffmpeg.threads // self.parallel))
            await worker.run(parts, self.media, self.source, self.out, moved)

        await together([partial(encode, chunk) for chunk in chunks], limit=self.parallel)
        for render in renders:
            await self._finish(render, chunks)

    def _part(self, render: Render, chunk: Chunk) -> Render:
        video = render.video
        assert isinstance(video, Picture)  # noqa: S101  it suits
        assert isinstance(video.frames, Steady)  # noqa: S101
        begin = max(0.0, chunk.start - MARGIN)
        window = Window(begin, None if chunk.end is None else chunk.end + MARGIN)
        span = Span(begin, None if chunk.number == 0 else chunk.start, chunk.end)
        # The span puts the film's own times back, so that layers show when they should.
        encoder = tuple(item for item in video.encoder if item not in ("-tag:v", "hvc1"))  # which is for MP4 only
        picture = replace(video, frames=replace(video.frames, span=span), encoder=encoder)
        part = replace(render, name=self._name(render, chunk), window=window, video=picture, audio=(), subtitles=())
        return replace(part, file="part.nut", muxer=("-f", "nut"))

    @staticmethod
    def _name(render: Render, chunk: Chunk) -> str:
        return f"{render.name}-{chunk.number}"

    async def _finish(self, render: Render, chunks: list[Chunk]) -> None:
        """Join the chunks of one render, and put the sound beside them."""
        folder = self.out / render.name
        paths = [self.out / self._name(render, chunk) / "part.nut" for chunk in chunks]
        joined = folder / "pass-joined.nut"
        folder.mkdir(parents=True, exist_ok=True)
        counts, first = await self.probe.join(paths, joined)
        self._check(render, chunks, counts)
        arguments = graph.beside(render, self.media, str(self.source), ".", f"{render.name}/{joined.name}", first)
        await self.ffmpeg.execute(arguments, self.source, self.out, length=render.length(self.media))
        joined.unlink()

    @staticmethod
    def _check(render: Render, chunks: list[Chunk], counts: list[int]) -> None:
        """Where the rate is fixed, how many frames an inner chunk has is known beforehand."""
        assert isinstance(render.video, Picture)  # noqa: S101
        assert isinstance(render.video.frames, Steady)  # noqa: S101
        rate = render.video.frames.fps
        for chunk, count in zip(chunks, counts, strict=True):
            if rate is None or chunk.end is None or chunk.number == 0:
                continue
            expected = filters.frame_at(chunk.end, rate) - filters.frame_at(chunk.start, rate)
            if count != expected:
                raise MediaError("InternalError", f"chunk {chunk.number} has {count} frames, not {expected}")
