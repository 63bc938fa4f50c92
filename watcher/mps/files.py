"""Workflow and template files: request bodies of the MPS API, as YAML or JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from watcher import yamlfile
from watcher.errors import ConfigurationError, Problem
from watcher.model.inputs import StepInput
from watcher.model.output_path import problems_of
from watcher.model.templates import FAMILIES, Template
from watcher.model.workflow import Workflow
from watcher.mps import wire

SUFFIXES = (".yaml", ".yml", ".json")

_TEMPLATE_KEYS = {f"{wire.to_wire(family)}TemplateSet": family for family in FAMILIES}
_TEMPLATE_KEYS["AnimatedGraphicsTemplateSet"] = _TEMPLATE_KEYS.pop("AnimatedGraphicTemplateSet")

Templates = dict[tuple[str, int], Template]
"""Templates by kind of step and definition."""


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    """A workflow and the file it came from."""

    path: Path
    workflow: Workflow


def _files(directory: Path) -> Iterator[Path]:
    if directory.is_dir():
        yield from sorted(path for path in directory.iterdir() if path.suffix in SUFFIXES and path.is_file())


def decode_workflow(body: object, where: str) -> Workflow:
    """A CreateWorkflow body (plus ``Enabled`` and ``AcceptOutputs``) as a workflow."""
    if not isinstance(body, dict):
        raise ConfigurationError([Problem(where, "must hold one CreateWorkflow body: a mapping with WorkflowName …")])
    workflow = wire.decode(Workflow, body, f"{where}:")
    problems = [
        Problem(f"{where}: {name}", message)
        for step in workflow.media_process_task.steps
        for name, pattern in _patterns(step)
        for message in problems_of(pattern)
    ]
    if problems:
        raise ConfigurationError(problems)
    return workflow


def _patterns(step: StepInput) -> Iterator[tuple[str, str]]:
    for field in ("output_object_path", "segment_object_name", "web_vtt_object_name", "sub_stream_object_name"):
        pattern = getattr(step, field, None)
        if pattern:
            yield f"{wire.to_wire(step.kind)} {wire.to_wire(field)}", pattern


def load_workflows(directory: Path) -> tuple[list[WorkflowFile], list[Problem]]:
    """All workflow files of a directory: those that are right, and every mistake in the others."""
    found: list[WorkflowFile] = []
    problems: list[Problem] = []
    names: dict[str, Path] = {}
    for path in _files(directory):
        try:
            workflow = decode_workflow(yamlfile.read(path), str(path))
        except ConfigurationError as error:
            problems.extend(error.problems)
            continue
        if workflow.workflow_name in names:
            message = (
                f"{workflow.workflow_name!r} is already the name of the workflow in {names[workflow.workflow_name]}"
            )
            problems.append(Problem(f"{path}: WorkflowName", message))
            continue
        names[workflow.workflow_name] = path
        found.append(WorkflowFile(path, workflow))
    return found, problems


def load_templates(directories: list[Path]) -> tuple[Templates, list[Problem]]:
    """All templates; a later directory adds to an earlier one and can't replace what is there."""
    templates: Templates = {}
    problems: list[Problem] = []
    for directory in directories:
        for path in _files(directory):
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
            else:
                templates[kind, definition] = template
    if problems:
        raise ConfigurationError(problems)


def _decode_template(kind: str, item: object, where: str, folder: Path) -> tuple[int, Template]:
    if not isinstance(item, dict) or not str(item.get("Definition", "")).isdecimal():
        raise ConfigurationError([Problem(f"{where}.Definition", "is required: the number that names the template")])
    rest = {key: value for key, value in item.items() if key != "Definition"}
    image = rest.get("ImageTemplate")
    if isinstance(image, dict) and "ImageFile" in image:
        rest["ImageTemplate"] = _with_content(image, f"{where}.ImageTemplate", folder)
    return int(item["Definition"]), wire.decode(FAMILIES[kind], rest, where)


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
