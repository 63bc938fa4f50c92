"""Outputs on their way to a far storage while they are being encoded: see :mod:`watcher.media.growing`."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from watcher.media import growing
from watcher.media.render import Render
from watcher.model.media_info import MediaInfo
from watcher.model.objects import MARKER, ObjectInfo, format_lineage
from watcher.model.unit import Unit
from watcher.steps.base import Step
from watcher.storage.base import Storage, Upload


class Registry(Protocol):
    """Hears of every object that is written, before and after."""

    async def intend(self, objects: list[tuple[str, str]], task_id: str, lineage: tuple[int, ...]) -> None:
        """These (storage, key) pairs are about to be written."""

    async def written(self, info: ObjectInfo) -> None:
        """This version was written; where the storage can, told before it becomes visible."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A render, the step it belongs to, and the name of the storage that its output goes to."""

    render: Render
    step: Step[Any, Any]
    storage: str


@dataclass(slots=True)
class Sending:
    """The uploads of one unit. ``out`` is the folder of its outputs."""

    storages: Mapping[str, Storage]
    registry: Registry
    unit: Unit
    out: Path
    _uploads: dict[Path, Upload] = field(default_factory=dict)
    _growing: set[Path] = field(default_factory=set)
    _segmented: list[Wanted] = field(default_factory=list)
    _taken: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def metadata(self) -> dict[str, str]:
        """What every object of the unit carries."""
        return {MARKER: format_lineage(self.unit.lineage), "watcher-task": self.unit.task_id}

    async def begin(self, wanted: Sequence[Wanted], media: MediaInfo) -> list[Render]:
        """Start an upload for each render that makes one file for a far storage; returns the renders to be made."""
        far = [item for item in wanted if self.storages[item.storage].far]
        early = {item.render.name: item.step.early(item.render, item.render.file) for item in far}
        self._segmented = [item for item in far if early[item.render.name] is None]
        # An object that two outputs claim is not begun: which of them is refused is decided when they are named.
        claimed = [(item.storage, place[0]) for item in far if (place := early[item.render.name])]
        self._taken = Counter([*claimed, (self.unit.source.storage, self.unit.source.key)])
        return [await self._begun(item, early.get(item.render.name), media) for item in wanted]

    async def _begun(self, item: Wanted, early: tuple[str, str] | None, media: MediaInfo) -> Render:
        """The render as it can be sent while it grows; as it was where it can't."""
        room = growing.reserved(item.render, media)
        if early is None or room is None or self._taken[item.storage, early[0]] > 1:
            return item.render
        if not await self._start(item, item.render.file, early):
            return item.render
        self._growing.add(self.out / item.render.name / item.render.file)
        return room

    async def _start(self, item: Wanted, file: str, early: tuple[str, str]) -> bool:
        """Begin the upload of one file, where its storage can."""
        key, content_type = early
        await self.registry.intend([(item.storage, key)], self.unit.task_id, self.unit.lineage)
        upload = await self.storages[item.storage].begin(key, content_type=content_type, metadata=self.metadata)
        if upload is not None:
            self._uploads[self.out / item.render.name / file] = upload
        return upload is not None

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Send what is final while the context lasts."""
        if not self._growing and not self._segmented:
            yield
            return
        async with growing.repeated(self._send):
            yield

    async def _send(self) -> None:
        for path in list(self._growing):
            if path in self._uploads and path.exists():
                await self._uploads[path].grown(path, path.stat().st_size)
        for item in self._segmented:
            for path in growing.closed_segments(self.out / item.render.name):
                early = item.step.early(item.render, path.name)
                if path in self._uploads or early is None or self._taken[item.storage, early[0]]:
                    continue
                if await self._start(item, path.name, early):
                    self._taken[item.storage, early[0]] += 1
                    await self._uploads[path].closed(path)

    def take(self, path: Path) -> Upload | None:
        """The upload of a file, which is the caller's from now on."""
        return self._uploads.pop(path, None)

    async def abort(self) -> None:
        """End all that were not taken."""
        for path in list(self._uploads):
            await self._uploads.pop(path).abort()
        self._growing.clear()
        self._segmented.clear()
