"""From a task to a unit: everything that its order names is resolved (contract workflows.md, section 5.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from watcher.errors import MediaError
from watcher.model.dress import Watermark, WatermarkInput
from watcher.model.inputs import INTELLIGENT, StepInput
from watcher.model.order import Order
from watcher.model.output_path import output_directory
from watcher.model.resources import OutputStorage
from watcher.model.samples import NO_SAMPLES, Samples
from watcher.model.task import Task
from watcher.model.templates import Template
from watcher.model.unit import PlannedStep, Unit
from watcher.mps.files import Templates
from watcher.storage.base import Storage

WITHOUT_TEMPLATE = ("command", "exec_rules", "image")


def plan(task: Task, templates: Templates, storages: Mapping[str, Storage], samples: Samples = NO_SAMPLES) -> Unit:
    """Resolve everything a task names: templates, storages, directories (contract workflows.md, section 5.1).

    ``samples`` are what intelligent tasks look for.
    """
    order = task.order
    if task.source.storage not in storages:
        raise MediaError("SourceFileError", f"there is no storage {task.source.storage!r} in the settings")
    steps = tuple(_plan_step(step, order, task, templates, storages) for step in order.steps)
    steps = tuple(
        replace(step, words=samples.words, persons=samples.persons, siblings=samples.siblings)
        if step.spec.kind in INTELLIGENT
        else step
        for step in steps
    )
    return Unit(task.task_id, task.source, steps, (*task.lineage, task.workflow_id))


def _plan_step(
    step: StepInput, order: Order, task: Task, templates: Templates, storages: Mapping[str, Storage]
) -> PlannedStep:
    given: OutputStorage | None = getattr(step, "output_storage", None)
    name = (given and given.bucket) or order.output_bucket
    planned = PlannedStep(
        spec=step,
        template=None,
        storage=name,
        storage_echo=storage_echo(given or order.output_storage, name, order, storages),
        directory=output_directory(task.source.path, order.output_dir),
    )
    if name not in storages:
        return replace(planned, problem=("InvalidInput", f"there is no storage {name!r} in the settings"))
    raw = getattr(step, "raw_parameter", None)
    found = templates.get((step.kind, step.definition))
    template = raw if step.definition == 0 and raw is not None else cast("Template | None", found)
    if step.kind == "command" and not order.trusted:
        return replace(planned, problem=("InvalidInput", "CommandTaskSet is for workflow files on this machine only"))
    if step.kind in WITHOUT_TEMPLATE:
        return planned
    if template is None:
        message = f"there is no template {step.definition} for this kind of sub-task"
        return replace(planned, problem=("InvalidInput.DefinitionNotExist", message))
    override = getattr(step, "override_parameter", None)
    if override is not None:
        try:
            template = override.apply(template)
        except ValueError as error:
            return replace(planned, problem=("InvalidInput", f"OverrideParameter does not fit the template: {error}"))
    return _with_watermarks(replace(planned, template=template), templates)


def _with_watermarks(planned: PlannedStep, templates: Templates) -> PlannedStep:
    found: list[tuple[WatermarkInput, Watermark]] = []
    for given in getattr(planned.spec, "watermark_set", ()):
        mark = given.raw_parameter or templates.get(("watermark", given.definition))
        if not isinstance(mark, Watermark):
            message = f"there is no watermark template {given.definition}"
            return replace(planned, problem=("InvalidInput.DefinitionNotExist", message))
        found.append((given, mark))
    return replace(planned, watermarks=tuple(found))


def storage_echo(
    given: OutputStorage | None, name: str, order: Order, storages: Mapping[str, Storage]
) -> dict[str, Any]:
    """The resolved TaskOutputStorage in snake_case, with the other kinds as null."""
    kind = given.type if given is not None else "AWS-S3" if order.input_type == "AWS-S3" else "COS"
    region = (storages[name].region if name in storages else None) or _region_given(given) or order.region
    echo: dict[str, Any] = {"type": kind, "cos_output_storage": None, "s3_output_storage": None}
    echo["vod_output_storage"] = None
    if kind == "AWS-S3":
        echo["s3_output_storage"] = {"s3_bucket": name, "s3_region": region}
    else:
        echo["cos_output_storage"] = {"bucket": name, "region": region}
    return echo


def _region_given(given: OutputStorage | None) -> str | None:
    if given is None:
        return None
    if given.s3_output_storage is not None:
        return given.s3_output_storage.s3_region
    return given.cos_output_storage.region if given.cos_output_storage else None
