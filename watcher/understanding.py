"""Intelligent sub-tasks of a unit: one extraction for all of them, the models asked once, and what they cut out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from watcher.errors import MediaError
from watcher.finding import Models, Search
from watcher.media import extraction
from watcher.media.diagnosis import diagnose
from watcher.media.probe import Probe
from watcher.media.render import Render
from watcher.model.findings import Failure, Findings
from watcher.model.media_info import MediaInfo
from watcher.model.samples import FilmEnds
from watcher.model.task import StepResult
from watcher.model.unit import Unit
from watcher.stepruns import Run
from watcher.steps._intelligent import IntelligentStep


class Understanding:
    """See the module. ``directory`` is the unit's own."""

    def __init__(self, models: Models, probe: Probe, unit: Unit, directory: Path) -> None:
        self._models = models
        self._probe = probe
        self._unit = unit
        self._directory = directory
        self.extraction: list[Run] = []
        """What is taken out of the source: each made like the output of a sub-task, shared by several."""
        self.ends: FilmEnds | None = None
        """What other films may have in common with this one, where somebody asked."""

    def _private(self, renders: Sequence[Render]) -> Run:
        """Something to be made that is no sub-task's output by itself."""
        planned = replace(self._unit.steps[0], words=(), persons=(), siblings=())
        return Run(planned, None, StepResult(begin_time=time.time()), renders=list(renders))

    def plan(self, runs: Sequence[Run], media: MediaInfo) -> None:
        """Say what has to be taken out for those of the runs that are intelligent."""
        served = self._models.processes
        wish = extraction.merged(step.extraction(self._models.step, step.needs(served)) for step in _steps(runs))
        self.extraction = [self._private([render]) for render in extraction.renders(wish, media)]

    async def find(self, runs: Sequence[Run], media: MediaInfo, source: Path) -> None:
        """Ask the models once for all, with what the decode took out of the source."""
        steps = _steps(runs)
        if not steps:
            return
        made = {name: found for taken in self.extraction if taken.alive for name, found in taken.produced.items()}
        failures = {
            taken.renders[0].name: Failure(taken.result.code, taken.result.message)
            for taken in self.extraction
            if not taken.alive
        }
        wanted = frozenset(need for step in steps for need in step.needs(self._models.processes))
        search = Search(
            wanted,
            next((step.language() for step in steps if step.language()), ""),
            frozenset(language for step in steps for language in step.translate_to()),
            frozenset(language for step in steps for language in step.describe_in()),
            await asyncio.to_thread(self._write_faces, steps) if "faces" in wanted else {},
        )
        extracted = extraction.extracted(made, failures, media)
        findings, faults = await asyncio.gather(
            self._models.find(search, extracted, media), self._diagnosed(steps, source, media)
        )
        if isinstance(faults, Failure):
            findings.failures["diagnosis"] = faults
        else:
            findings.faults = faults
        for step in steps:
            step.findings = of_language(findings, step.language(), search.language)
            self.ends = await asyncio.to_thread(step.ends) or self.ends

    async def _diagnosed(
        self, steps: Sequence[IntelligentStep[Any, Any]], source: Path, media: MediaInfo
    ) -> dict[str, tuple[float, ...]] | Failure:
        """The faults of the streams that somebody looks for."""
        wanted = {kind for step in steps for kind in step.faults()}
        if not wanted:
            return {}
        try:
            return await diagnose(self._probe, source, media, wanted)
        except MediaError as error:
            return Failure(error.code, error.message)

    def _write_faces(self, steps: Sequence[IntelligentStep[Any, Any]]) -> dict[str, Path]:
        """The pictures of the faces to look for, as files that a model's process can read."""
        folder = self._directory / "faces"
        folder.mkdir(exist_ok=True)
        found: dict[str, Path] = {}
        for name, data in dict(face for step in steps for person in step.persons for face in person.pictures).items():
            found[name] = folder / name
            found[name].write_bytes(data)
        return found

    def clips(self, runs: Sequence[Run], media: MediaInfo) -> list[Run]:
        """What is to be cut out of the source because of what was found, one run for each clip."""
        found: list[Run] = []
        for step in _steps(runs):
            try:
                found += [self._private([render]) for render in step.clips(media)]
            except MediaError as error:
                step.clip_failure = Failure(error.code, error.message)
        return found

    @staticmethod
    def hand_over(runs: Sequence[Run], clips: Sequence[Run]) -> None:
        """Give the steps their clips, or why one of them could not be made."""
        for step in _steps(runs):
            for clip in clips:
                name = clip.renders[0].name
                if not name.startswith(f"{step.name}-"):
                    continue
                if clip.alive:
                    step.cut[name] = clip.produced[name].files[0]
                else:
                    step.clip_failure = Failure(clip.result.code, clip.result.message)


def of_language(findings: Findings, wanted: str, heard: str) -> Findings:
    """The findings for a sub-task: speech is listened to in one language, and it may have named another one."""
    if wanted in ("", heard):
        return findings
    message = f"another sub-task has the speech written down in {heard!r}, so that it can't be in {wanted!r} too"
    return replace(findings, failures=findings.failures | {"speech": Failure("InvalidInput", message)})


def _steps(runs: Sequence[Run]) -> list[IntelligentStep[Any, Any]]:
    return [run.step for run in runs if isinstance(run.step, IntelligentStep)]
