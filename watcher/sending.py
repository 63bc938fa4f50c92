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

    @property
    def metadata(self) -> dict[str, str]:
        """What every object of the unit carries."""
        return {MARKER: format_lineage(self.unit.lineage), "watcher-task": self.unit.task_id}

    async def begin(self, wanted: Sequence[Wanted], media: MediaInfo) -> list[Render]:
        """Start an upload for each render that makes one file for a far storage; returns the renders to be made."""
        places = [(item.storage, early[0]) for item in wanted if (early := item.step.early(item.render))]
        taken = Counter([*places, (self.unit.source.storage, self.unit.source.key)])
        renders: list[Render] = []
        for item in wanted:
            early, storage = item.step.early(item.render), self.storages[item.storage]
            room = growing.reserved(item.render, media)
            # An object that two outputs claim is not begun: which of them is refused is decided when they are named.
            if early is None or room is None or not storage.far or taken[item.storage, early[0]] > 1:
                renders.append(item.render)
                continue
            key, content_type = early
            await self.registry.intend([(item.storage, key)], self.unit.task_id, self.unit.lineage)
            upload = await storage.begin(key, content_type=content_type, metadata=self.metadata)
            if upload is None:
                renders.append(item.render)
                continue
            self._uploads[self._path(item.render)] = upload
            renders.append(room)
        return renders

    def _path(self, render: Render) -> Path:
        return self.out / render.name / render.file

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Send what is final while the context lasts."""
        if not self._uploads:
            yield
            return
        async with growing.repeated(self._grown):
            yield

    async def _grown(self) -> None:
        for path, upload in self._uploads.items():
            with contextlib.suppress(FileNotFoundError):
                await upload.grown(path, path.stat().st_size)

    def take(self, path: Path) -> Upload | None:
        """The upload of a file, which is the caller's from now on."""
        return self._uploads.pop(path, None)

    async def abort(self) -> None:
        """End all that were not taken."""
        for path in list(self._uploads):
            await self._uploads.pop(path).abort()
