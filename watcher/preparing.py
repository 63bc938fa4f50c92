"""What has to be there before a unit's renders can be stated: further files, measurements, a quality to encode at."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watcher.errors import MediaError, PermanentError
from watcher.media import fonts, graph, loudness, quality
from watcher.media.assets import FOLDER, Asset, Assets, Wanted
from watcher.media.ffmpeg import FFmpeg
from watcher.media.probe import Probe
from watcher.model.media_info import MediaInfo
from watcher.steps.base import Step
from watcher.storage.base import Storage

MAX_PICTURE = 64 * 1024 * 1024


@dataclass(slots=True)
class Preparation:
    """Prepares the steps of one unit; what several of them need is fetched and measured once.

    ``directory`` is the unit's work directory, ``source`` its source there.
    """

    storages: Mapping[str, Storage]
    probe: Probe
    ffmpeg: FFmpeg
    fonts: Path | None
    directory: Path
    source: Path
    media: MediaInfo
    _loudness: tuple[float, float] | None = None
    _measured: bool = False

    async def assets(self, step: Step[Any, Any]) -> Assets:
        """The files that a step wants, and what is measured for it; raises MediaError when something can't be had."""
        folder = self.directory / FOLDER
        wanted = step.wanted(self.media)
        search = step.search(self.media)
        folder.mkdir(exist_ok=True)
        found: dict[str, Asset] = {}
        # A font is chosen by the characters that are to be drawn, so texts come first.
        for name, item in sorted(wanted.items(), key=lambda entry: entry[1].kind == "font"):
            found[name] = await self._gather(f"{step.name}-{name}", item, found, step.name)
        crf = None
        if search is not None:
            crf = await quality.find_crf(self.ffmpeg, self.source, self.media, self._scratch(), search)
        return Assets(folder, step.name, found, await self._level() if step.needs_loudness() else None, crf)

    def _scratch(self) -> Path:
        """A folder beside that of the outputs, for what is measured on."""
        path = self.directory / "scratch"
        path.mkdir(exist_ok=True)
        return path

    async def _level(self) -> tuple[float, float] | None:
        if not self._measured:
            self._loudness = await loudness.measure(self.ffmpeg, self.source, self.media, self._scratch())
            self._measured = True
        return self._loudness

    async def _gather(self, name: str, item: Wanted, found: Mapping[str, Asset], step: str) -> Asset:
        path = self.directory / FOLDER / name
        seen = f"../{FOLDER}/{name}"
        if item.content is not None:
            await asyncio.to_thread(path.write_bytes, item.content)
        elif item.stream is not None:
            await self._extract(item.stream, path)
        elif item.source is not None:
            await self._fetch(item, path)
        if item.kind == "font":
            return await self._font(item, found, path, step)
        if item.kind == "picture":
            return Asset(seen, path, await self._probed(path, graph.PICTURE_DEMUXERS, "the picture of a watermark"))
        if item.kind == "clip":
            return Asset(seen, path, await self._probed(path, graph.DEMUXERS, "a further clip"))
        return Asset(seen, path)

    async def _probed(self, path: Path, demuxers: str, what: str) -> MediaInfo:
        try:
            return await self.probe.source(path, demuxers)
        except MediaError as error:
            raise MediaError("InvalidInput", f"{what}: {error.message}") from None

    async def _fetch(self, item: Wanted, path: Path) -> None:
        assert item.source is not None  # noqa: S101
        name, key = item.source.place
        storage = self.storages.get(name)
        if storage is None:
            raise MediaError("InvalidInput", f"there is no storage {name!r} in the settings")
        try:
            info = await storage.head(key)
            if item.kind != "clip" and info.size > MAX_PICTURE:
                raise MediaError("InvalidInput", f"{info.uri} is larger than {MAX_PICTURE // 2**20} MiB")
            await storage.fetch(info, path)
            if path.is_symlink():
                # A link would lead out of what ffmpeg may read; these files are small, or read once.
                target = path.resolve()
                path.unlink()
                await asyncio.to_thread(shutil.copyfile, target, path)
        except MediaError:
            raise
        except PermanentError as error:
            raise MediaError("InvalidInput", f"{name}/{key} can't be read: {error}") from None

    async def _font(self, item: Wanted, found: Mapping[str, Asset], path: Path, step: str) -> Asset:
        """The font at ``path``, where an object gave it; else one of this machine that has the text's characters."""
        if item.source is None:
            text = await asyncio.to_thread(found[item.text_of].file.read_bytes) if item.text_of in found else b""
            path = await asyncio.to_thread(fonts.find, item.font, text.decode("utf-8", "replace"), self.fonts)
        placed = await asyncio.to_thread(self._place_font, path, step)
        seen = f"../{FOLDER}/{step}-fonts/{placed.name}"
        return Asset(seen, placed, name=await asyncio.to_thread(fonts.full_name, placed))

    def _place_font(self, path: Path, step: str) -> Path:
        """A copy under a name of ours, in a folder where a search for fonts finds nothing else."""
        folder = self.directory / FOLDER / f"{step}-fonts"
        folder.mkdir(exist_ok=True)
        placed = folder / f"font{len(list(folder.iterdir()))}{path.suffix.lower() if path.suffix else '.ttf'}"
        shutil.copyfile(path, placed)
        return placed

    async def _extract(self, stream: int, path: Path) -> None:
        """A subtitle stream of the source as a file of its own."""
        scratch = self._scratch()
        arguments = [*graph.start(), *graph.open_arguments(graph.OPEN_OPTIONS), "-i", f"file:{self.source}"]
        arguments += ["-map", f"0:{stream}", "-f", "ass", "-y", "file:subtitles.ass"]
        try:
            await self.ffmpeg.execute(arguments, self.source, scratch, length=self.media.duration)
        except MediaError as error:
            raise MediaError(
                "InvalidInput", f"StreamIndex {stream} is no subtitle stream of text: {error.message}"
            ) from None
        (scratch / "subtitles.ass").replace(path)
