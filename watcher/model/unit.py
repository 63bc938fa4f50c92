"""A unit: the piece of work an executor runs. Plain data that needs nothing but storages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from watcher.model.ai_templates import AITemplate
from watcher.model.dress import Watermark, WatermarkInput
from watcher.model.inputs import StepInput
from watcher.model.objects import ObjectInfo
from watcher.model.samples import FilmEnds, KnownPerson, Word
from watcher.model.task import StepResult
from watcher.model.templates import Template


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A sub-task with everything resolved. ``template`` is None when ``problem`` says why there is none.

    ``storage`` is the name of the output storage, ``storage_echo`` its wire structure in snake_case,
    ``directory`` the output directory (``/…/``), ``watermarks`` those of the sub-task with their parameters.
    """

    spec: StepInput
    template: Template | AITemplate | None
    storage: str
    storage_echo: dict[str, Any]
    directory: str
    problem: tuple[str, str] | None = None
    watermarks: tuple[tuple[WatermarkInput, Watermark], ...] = ()
    words: tuple[Word, ...] = ()
    """The words that an intelligent task looks for."""
    persons: tuple[KnownPerson, ...] = ()
    """The persons it looks for."""
    siblings: tuple[FilmEnds, ...] = ()
    """Other films of the same directory."""


@dataclass(frozen=True, slots=True)
class Unit:
    """All sub-tasks of one task over one object version. ``lineage`` ends with the task's own workflow."""

    task_id: str
    source: ObjectInfo
    steps: tuple[PlannedStep, ...]
    lineage: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a unit: ``code`` is an ErrCodeExt when the source itself was unusable."""

    results: tuple[StepResult, ...]
    code: str = ""
    message: str = ""
    metadata: dict[str, Any] | None = None
    ends: FilmEnds | None = None
    """What other films of the directory may have in common with it, where that was asked for."""


class Report(Protocol):
    """Hears how the sub-tasks stand, and of the source's facts once they are known."""

    def progress(self, results: tuple[StepResult, ...], metadata: dict[str, Any] | None) -> None:
        """Some of the percentages moved; called often."""

    async def changed(self, results: tuple[StepResult, ...], metadata: dict[str, Any] | None) -> None:
        """The status of a sub-task may have changed."""
