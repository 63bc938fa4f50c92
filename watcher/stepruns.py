"""Sub-tasks on their way through a unit: what they want made, what was made, and how they stand."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from watcher import plugin
from watcher.errors import MediaError
from watcher.media.assets import NO_ASSETS, Assets
from watcher.media.render import Render
from watcher.media.verify import Produced
from watcher.model.ai_parts import wanted_parts
from watcher.model.inputs import INTELLIGENT, shown
from watcher.model.output_path import Naming
from watcher.model.resources import NumberFormat
from watcher.model.task import StepResult
from watcher.model.unit import PlannedStep
from watcher.mps import events
from watcher.steps._encoders import EncoderOptions
from watcher.steps._intelligent import IntelligentStep
from watcher.steps.base import CONTENT_TYPES, OutputFile, Step, StepOutput


@dataclass(slots=True)
class Run:
    """A step on its way through a unit."""

    planned: PlannedStep
    step: Step[Any, Any] | None
    result: StepResult
    assets: Assets = NO_ASSETS
    renders: list[Render] = field(default_factory=list)
    produced: dict[str, Produced] = field(default_factory=dict)
    output: StepOutput | None = None

    @property
    def alive(self) -> bool:
        return self.result.status == "PROCESSING"

    def fail(self, error: Exception) -> None:
        code = error.code if isinstance(error, MediaError) else "InternalError"
        self.result = replace(
            self.result, status="FAIL", code=code, message=str(error), finish_time=time.time(), output=None
        )

    def judge_parts(self) -> None:
        """An intelligent sub-task of which no part succeeded has failed; what its parts say stays."""
        parts = (self.result.output or {}).get("parts", ())
        if parts and all(part["status"] == "FAIL" for part in parts):
            first = parts[0]
            self.result = replace(self.result, status="FAIL", code=first["code"], message=first["message"])


def with_report(step: IntelligentStep[Any, Any], output: StepOutput, directory: Path) -> StepOutput:
    """With the results as a file beside the others, in the form that events have them."""
    path = directory / f"{step.name}-report.json"
    results = events.intelligent_results(step.spec.kind, step.spec.definition, output.item["parts"])
    path.write_text(json.dumps(results, ensure_ascii=False, indent=1), encoding="utf-8")
    files = (*output.files, OutputFile(path, step.report_key, CONTENT_TYPES["json"]))
    item = output.item | {"storage": step.storage, "files": [f"/{file.key}" for file in files]}
    return StepOutput(files, item)


def _name(index: int) -> str:
    return f"s{index}"


def make_step(index: int, planned: PlannedStep, source_key: str, options: EncoderOptions) -> Step[Any, Any]:
    """The step object of a planned sub-task."""
    implementation = plugin.implementation("steps", planned.spec.kind, Step)
    naming = Naming(source_key, planned.directory, planned.spec.definition)
    number_format = getattr(planned.spec, "object_number_format", None)
    if number_format is not None:
        naming = replace(naming, number_format=number_format)
    step: Step[Any, Any] = implementation(_name(index), planned, naming, options)
    return step


def echo(planned: PlannedStep, step: Step[Any, Any] | None) -> dict[str, Any]:
    """The input as the results show it: with the storage, the paths and the numbers that are in force."""
    found = shown(planned.spec)
    if planned.spec.kind in INTELLIGENT:
        return found | {"parts": [part.type for part in wanted_parts(planned.template)]}
    found["output_storage"] = planned.storage_echo
    if "object_number_format" in found:
        number_format = getattr(planned.spec, "object_number_format", None) or NumberFormat()
        found["object_number_format"] = number_format.model_dump()
    if step is not None:
        for name, pattern in step.patterns.items():
            found[name] = step.naming.echo(pattern, absolute=name == "output_object_path")
    return found
