"""Workflow and template files: request bodies of the MPS API, as YAML or JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from watcher import yamlfile
from watcher.errors import ConfigurationError, Problem
from watcher.model.inputs import StepInput
from watcher.model.order import Order
from watcher.model.output_path import problems_of
from watcher.model.schedule import Schedule
from watcher.model.workflow import Triggered, Workflow
from watcher.mps import wire
from watcher.mps.families import TABLE, AnyTemplate

SUFFIXES = (".yaml", ".yml", ".json")

_TEMPLATE_KEYS = {family.list_key: family.name for family in TABLE.values()}

LARGEST_DEFINITION = 900_000
"""Those that requests make have larger numbers."""


class Templates(dict[tuple[str, int], AnyTemplate]):
    """Templates by family and definition. ``origins`` are the files of those that came from one."""

    def __init__(self) -> None:
        super().__init__()
        self.origins: dict[tuple[str, int], Path] = {}

    def copy(self) -> Templates:
        """The same templates, to be added to."""
        made = Templates()
        made.update(self)
        made.origins.update(self.origins)
        return made


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    """A workflow or schedule and the file it came from."""

    path: Path
    workflow: Triggered


def yaml_files(directory: Path) -> Iterator[Path]:
    """The files of a directory that are read, by name."""
    if directory.is_dir():
        yield from sorted(path for path in directory.iterdir() if path.suffix in SUFFIXES and path.is_file())


def decode_workflow(body: object, where: str) -> Triggered:
    """A CreateWorkflow or CreateSchedule body (plus ``Enabled`` and ``AcceptOutputs``), as a file has it."""
    if not isinstance(body, dict):
        raise ConfigurationError([Problem(where, "must hold one CreateWorkflow body: a mapping with WorkflowName …")])
    kind: type[Triggered] = Schedule if "ScheduleName" in body else Workflow
    order = wire.decode(kind, body, f"{where}:")
    problems = pattern_problems(order, f"{where}: ")
    if problems:
        raise ConfigurationError(problems)
    return order.model_copy(update={"trusted": True})


def pattern_problems(order: Order, where: str = "") -> list[Problem]:
    """What is wrong with the path patterns of an order's sub-tasks."""
    return [
        Problem(f"{where}{name}", message)
        for step in order.steps
        for name, pattern in _patterns(step)
        for message in problems_of(pattern)
    ]


def _patterns(step: StepInput) -> Iterator[tuple[str, str]]:
    for field in ("output_object_path", "segment_object_name", "web_vtt_object_name", "sub_stream_object_name"):
        pattern = getattr(step, field, None)
        if pattern:
            yield f"{wire.to_wire(step.kind)} {wire.to_wire(field)}", pattern


def load_workflows(directory: Path) -> tuple[list[WorkflowFile], list[Problem]]:
    """All workflow files of a directory: those that are right, and every mistake in the others."""
    found: list[WorkflowFile] = []
    problems: list[Problem] = []
    names: dict[tuple[str, str], Path] = {}
    for path in yaml_files(directory):
        try:
            workflow = decode_workflow(yamlfile.read(path), str(path))
        except ConfigurationError as error:
            problems.extend(error.problems)
            continue
        first = names.setdefault((workflow.kind, workflow.name), path)
        if first != path:
            member = "WorkflowName" if isinstance(workflow, Workflow) else "ScheduleName"
            message = f"{workflow.name!r} is already the name of the one in {first}"
            problems.append(Problem(f"{path}: {member}", message))
            continue
        found.append(WorkflowFile(path, workflow))
    return found, problems


def load_templates(directories: list[Path]) -> tuple[Templates, list[Problem]]:
    """All templates; a later directory adds to an earlier one and can't replace what is there."""
    templates = Templates()
    problems: list[Problem] = []
    for directory in directories:
        for path in yaml_files(directory):
            try:
                _add_templates(path, templates)
            except ConfigurationError as error:
                problems.extend(error.problems)
    return templates, problems


def _add_templates(path: Path, templates: Templates) -> None:
    body = yamlfile.read(path)
    if not isinstance(body, dict):
        raise ConfigurationError([Problem(str(path), f"must be a mapping with any of {', '.join(_TEMPLATE_KEYS)}")])
    problems: list[Problem] = []
    for key, items in body.items():
        kind = _TEMPLATE_KEYS.get(key)
        if kind is None or not isinstance(items, list):
            message = f"expected lists under {', '.join(_TEMPLATE_KEYS)}"
            problems.append(Problem(f"{path}: {key}", message))
            continue
        for index, item in enumerate(items):
            where = f"{path}: {key}[{index}]"
            try:
                definition, template = _decode_template(kind, item, where, path.parent)
            except ConfigurationError as error:
                problems.extend(error.problems)
                continue
            if (kind, definition) in templates:
                problems.append(Problem(f"{where}.Definition", f"{definition} is already taken; use one from 200000"))
            elif definition > LARGEST_DEFINITION:
                message = f"{definition} is among the numbers of the API; use one from 200000 to {LARGEST_DEFINITION}"
                problems.append(Problem(f"{where}.Definition", message))
            else:
                templates[kind, definition] = template
                templates.origins[kind, definition] = path
    if problems:
        raise ConfigurationError(problems)


def _decode_template(kind: str, item: object, where: str, folder: Path) -> tuple[int, AnyTemplate]:
    if not isinstance(item, dict) or not str(item.get("Definition", "")).isdecimal():
        raise ConfigurationError([Problem(f"{where}.Definition", "is required: the number that names the template")])
    rest = {key: value for key, value in item.items() if key != "Definition"}
    image = rest.get("ImageTemplate")
    if isinstance(image, dict) and "ImageFile" in image:
        rest["ImageTemplate"] = _with_content(image, f"{where}.ImageTemplate", folder)
    return int(item["Definition"]), wire.decode(TABLE[kind].model, rest, where)


def _with_content(image: dict[str, object], where: str, folder: Path) -> dict[str, object]:
    """Ours: ``ImageFile`` names a picture beside the template's file, in place of the model's base64."""
    rest = {key: value for key, value in image.items() if key != "ImageFile"}
    if "ImageContent" in rest:
        raise ConfigurationError([Problem(f"{where}.ImageFile", "does not go with ImageContent: give one of the two")])
    try:
        data = (folder / str(image["ImageFile"])).read_bytes()
    except OSError as error:
        raise ConfigurationError([Problem(f"{where}.ImageFile", f"can't be read: {error.strerror}")]) from None
    return rest | {"ImageContent": base64.b64encode(data).decode()}
