"""The workflows in force: read from files, kept in the state, found by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import Problem
from watcher.model.triggers import TriggerIndex
from watcher.model.workflow import Workflow
from watcher.mps import files, wire
from watcher.settings import Settings
from watcher.state.ledger import Match
from watcher.state.workflows import StoredWorkflow

PRESETS = "_templates"


def preset_directory() -> Path:
    """Where the preset templates are: in the installed package, else in the source tree."""
    installed = Path(__file__).parent / PRESETS
    return installed if installed.is_dir() else Path(__file__).parents[1] / "config" / "templates"


@dataclass(frozen=True, slots=True)
class Catalog:
    """Templates and enabled workflows of one generation; replaced as a whole when files are read anew."""

    templates: files.Templates
    workflows: Mapping[int, StoredWorkflow]
    index: TriggerIndex[Match]

    @classmethod
    def build(cls, stored: list[StoredWorkflow], templates: files.Templates, regions: dict[str, str]) -> Catalog:
        """Index the enabled ones among the stored workflows."""
        enabled = [(item.workflow.trigger, item.match) for item in stored if item.workflow.enabled]
        return cls(templates, {item.workflow_id: item for item in stored}, TriggerIndex(enabled, regions))

    @property
    def enabled(self) -> int:
        """How many workflows are enabled."""
        return sum(1 for item in self.workflows.values() if item.workflow.enabled)


@dataclass(frozen=True, slots=True)
class Found:
    """What the workflow and template folders hold, with every mistake and every warning."""

    workflows: list[files.WorkflowFile]
    templates: files.Templates
    problems: list[Problem]


def read(settings: Settings) -> Found:
    """Read all workflow and template files and check them against the settings. Blocking."""
    folders = [preset_directory()]
    if settings.templates.resolve() != folders[0].resolve():
        folders.append(settings.templates)
    templates, problems = files.load_templates(folders)
    workflows, more = files.load_workflows(settings.workflows)
    problems += more
    for found in workflows:
        problems += _check(found, settings, templates)
        problems += lint(found.workflow, str(found.path))
    return Found(workflows, templates, problems)


def _check(found: files.WorkflowFile, settings: Settings, templates: files.Templates) -> list[Problem]:
    """What a workflow refers to has to exist."""
    workflow, where = found.workflow, str(found.path)
    problems: list[Problem] = []
    trigger = workflow.trigger
    names = ", ".join(sorted(settings.storages)) or "none"
    member = "CosFileUploadTrigger.Bucket" if trigger.cos_file_upload_trigger else "AwsS3FileUploadTrigger.S3Bucket"
    if trigger.bucket not in settings.storages:
        message = f"there is no storage {trigger.bucket!r} in the settings; there is: {names}"
        problems.append(Problem(f"{where}: Trigger.{member}", message))
    region = settings.regions.get(trigger.bucket)
    if region is not None and region != trigger.region:
        message = f"the region {trigger.region!r} is not that of the storage, {region!r}: it would never match"
        problems.append(Problem(f"{where}: Trigger.{member.replace('Bucket', 'Region')}", message))
    for bucket in {workflow.output_bucket, *_step_buckets(workflow)} - {trigger.bucket}:
        if bucket not in settings.storages:
            message = f"there is no storage {bucket!r} in the settings; there is: {names}"
            problems.append(Problem(f"{where}: OutputStorage", message))
    notify = workflow.task_notify_config
    if notify is not None and notify.notifier is not None and notify.notifier not in settings.notifiers:
        known = ", ".join(sorted(settings.notifiers)) or "none"
        message = f"there is no notifier {notify.notifier!r} in the settings; there is: {known}"
        problems.append(Problem(f"{where}: TaskNotifyConfig", message))
    for step in workflow.media_process_task.steps:
        for mark in getattr(step, "watermark_set", ()):
            if mark.definition and ("watermark", mark.definition) not in templates:
                message = f"there is no Watermark template {mark.definition}; the sub-task would fail"
                problems.append(Problem(f"{where}: WatermarkSet", message, warning=True))
        if step.definition and (step.kind, step.definition) not in templates:
            # The model resolves a template when a task runs, so this is the sub-task's failure, not the file's.
            message = f"there is no {wire.to_wire(step.kind)} template {step.definition}; the sub-task would fail"
            problems.append(Problem(f"{where}: Definition", message, warning=True))
    return problems


def _step_buckets(workflow: Workflow) -> set[str]:
    storages = [step.output_storage for step in workflow.media_process_task.steps]
    return {storage.bucket for storage in storages if storage is not None and storage.bucket}


_PICTURES = {"jpg", "png", "webp"}
_PRODUCED = {
    "transcode": {"mp4", "mov", "mkv", "webm", "mxf", "flv", "m3u8", "ts", "m4s", "mp3", "m4a", "flac", "ogg", "wav"},
    "animated_graphic": {"gif", "webp"},
    "snapshot_by_time_offset": _PICTURES,
    "sample_snapshot": _PICTURES,
    "image_sprite": _PICTURES | {"vtt"},
    "adaptive_dynamic_streaming": {"m3u8", "ts", "m4s", "mp4", "mpd", "vtt"},
    "waveform": _PICTURES,
    "command": set[str](),
}


def lint(workflow: Workflow, where: str) -> list[Problem]:
    """Warn when outputs land where the workflow's own trigger looks. The loop guard keeps them from starting it."""
    trigger = workflow.trigger
    inside = workflow.output_bucket == trigger.bucket and (
        not workflow.output_dir or workflow.output_dir.startswith(trigger.dir)
    )
    formats = trigger.formats
    made = {extension for step in workflow.media_process_task.steps for extension in _PRODUCED[step.kind]}
    if not inside or (formats is not None and not formats & made):
        return []
    message = (
        f"results land in the directory that is watched ({trigger.dir}); they are recognised and start nothing, "
        "but set OutputDir or OutputStorage to keep sources and results apart"
    )
    return [Problem(f"{where}: OutputDir", message, warning=True)]
