"""The workflows in force: read from files, kept in the state, found by key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from watcher.errors import Problem
from watcher.model.ai_parts import NO_MODEL, Needed, unsupported, wanted_parts
from watcher.model.inputs import INTELLIGENT, StepInput
from watcher.model.order import Order
from watcher.model.samples import NO_SAMPLES, Samples
from watcher.model.triggers import TriggerIndex
from watcher.model.workflow import Triggered
from watcher.mps import files, wire
from watcher.mps.families import TABLE
from watcher.mps.sample_files import load_samples
from watcher.settings import Settings
from watcher.state.ledger import Match
from watcher.state.templates import StoredTemplate
from watcher.state.workflows import StoredWorkflow

PRESETS = "_templates"
HOW_TO_SERVE: dict[Needed, str] = {
    "text": "nothing reads text; pip install 'watcher[ocr]', or name a provider in the settings, under ai.text",
    "speech": "nothing writes down speech; pip install 'watcher[speech]', or name a provider, under ai.speech",
    "nudity": "nothing sees nudity; pip install 'watcher[review]', or name a provider, under ai.nudity",
    "vision": "nothing says what pictures show; name a server in the settings: ai.vision: {type: openai, url: …}",
    "violence": "nothing sees violence; name a provider in the settings, under ai.violence: a server or an ONNX file",
    "codes": "nothing finds codes; pip install 'watcher[quality]'",
    "faces": "nothing recognises faces; pip install 'watcher[face]', or name a provider, under ai.faces",
    "translation": "nothing translates; name a server in the settings: ai.translation: {type: openai, url: …}",
    "description": "nothing says what films are about; name a server: ai.description: {type: openai, url: …}",
    "objects": "nothing finds objects; name a model in the settings: ai.objects: {type: onnx, model: …, classes: …}",
    "cuts": "nothing finds cuts; pip install 'watcher[analysis]'",
}
"""What to do when a capability has no provider."""


def preset_directory() -> Path:
    """Where the preset templates are: in the installed package, else in the source tree."""
    installed = Path(__file__).parent / PRESETS
    return installed if installed.is_dir() else Path(__file__).parents[1] / "config" / "templates"


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """Where a template comes from: a preset, a file (``origin``) or a request."""

    preset: bool
    origin: str
    create_time: float
    update_time: float


class Catalog:
    """Templates, and workflows and schedules, as they are in force.

    Made anew when files are read again; what requests change in between is put in here at once. ``changes`` counts
    that, so that whoever makes a new catalog from the state knows that something was changed meanwhile.
    """

    def __init__(
        self,
        stored: Iterable[StoredWorkflow],
        templates: files.Templates,
        regions: dict[str, str],
        revision: int | None = None,
        samples: Samples = NO_SAMPLES,
    ) -> None:
        """``samples`` are those of files; ``revision`` is the number of changes that the state knew of, where several
        daemons share it."""
        self.changes = 0
        self.revision = revision
        self.templates = templates
        self.samples = samples
        self.facts = {place: _file_facts(path) for place, path in templates.origins.items()}
        self.workflows = {item.workflow_id: item for item in stored}
        enabled = [(item.workflow.trigger, item.match) for item in self.workflows.values() if item.workflow.enabled]
        self.index: TriggerIndex[Match] = TriggerIndex(enabled, regions)
        self.limits = {key: limit for key, item in self.workflows.items() if (limit := item.workflow.max_running)}
        """How many tasks may run at once, by workflow id, where that is limited."""

    @property
    def enabled(self) -> int:
        """How many workflows and schedules are enabled."""
        return sum(1 for item in self.workflows.values() if item.workflow.enabled)

    def allows(self, workflow_id: int) -> bool:
        """Whether tasks of a workflow or schedule may begin: it is there, and enabled."""
        stored = self.workflows.get(workflow_id)
        return stored is not None and stored.workflow.enabled

    def watched(self, storage: str) -> dict[str, float]:
        """The prefixes of keys that enabled workflows look at in a storage, with since when; none holds another."""
        since: dict[str, float] = {}
        for item in self.workflows.values():
            trigger = item.workflow.trigger
            if item.workflow.enabled and trigger.bucket == storage:
                prefix = trigger.dir.removeprefix("/")
                since[prefix] = min(item.update_time, since.get(prefix, item.update_time))
        kept: dict[str, float] = {}
        for prefix in sorted(since):
            if not any(prefix.startswith(other) for other in kept):
                kept[prefix] = since[prefix]
        return kept

    def put(self, stored: StoredWorkflow) -> None:
        """A workflow or schedule is new, or has changed."""
        self._take_out(stored.workflow_id)
        self.workflows[stored.workflow_id] = stored
        if stored.workflow.enabled:
            self.index.add(stored.workflow.trigger, stored.match)
        if stored.workflow.max_running:
            self.limits[stored.workflow_id] = stored.workflow.max_running
        self.changes += 1

    def remove(self, workflow_id: int) -> None:
        """A workflow or schedule is gone."""
        self._take_out(workflow_id)
        self.workflows.pop(workflow_id, None)
        self.changes += 1

    def _take_out(self, workflow_id: int) -> None:
        before = self.workflows.get(workflow_id)
        self.limits.pop(workflow_id, None)
        if before is not None and before.workflow.enabled:
            self.index.remove(before.workflow.trigger, before.match)

    def put_template(self, stored: StoredTemplate) -> None:
        """A template of a request is new, or has changed."""
        place = stored.family, stored.definition
        self.templates[place] = TABLE[stored.family].model.model_validate(stored.body)
        self.facts[place] = TemplateFacts(False, "", stored.create_time, stored.update_time)
        self.changes += 1

    def remove_template(self, family: str, definition: int) -> None:
        """A template of a request is gone."""
        self.templates.pop((family, definition), None)
        self.facts.pop((family, definition), None)
        self.changes += 1


def _file_facts(path: Path) -> TemplateFacts:
    try:
        changed = path.stat().st_mtime
    except OSError:
        changed = 0.0
    return TemplateFacts(path.parent == preset_directory(), str(path), changed, changed)


@dataclass(frozen=True, slots=True)
class Found:
    """What the workflow and template folders hold, with every mistake and every warning."""

    workflows: list[files.WorkflowFile]
    templates: files.Templates
    samples: Samples
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
    samples, wrong = load_samples(settings.samples)
    return Found(workflows, templates, samples, problems + wrong)


def _check(found: files.WorkflowFile, settings: Settings, templates: files.Templates) -> list[Problem]:
    """What a workflow refers to has to exist."""
    return check(found.workflow, settings, templates, f"{found.path}: ")


def check(workflow: Triggered, settings: Settings, templates: files.Templates, where: str = "") -> list[Problem]:
    """What a workflow or schedule refers to has to exist; ``where`` goes before each place."""
    problems: list[Problem] = []
    trigger = workflow.trigger
    names = ", ".join(sorted(settings.storages)) or "none"
    member = "CosFileUploadTrigger.Bucket" if trigger.cos_file_upload_trigger else "AwsS3FileUploadTrigger.S3Bucket"
    if trigger.bucket not in settings.storages:
        message = f"there is no storage {trigger.bucket!r} in the settings; there is: {names}"
        problems.append(Problem(f"{where}Trigger.{member}", message))
    region = settings.regions.get(trigger.bucket)
    if region is not None and region != trigger.region:
        message = f"the region {trigger.region!r} is not that of the storage, {region!r}: it would never match"
        problems.append(Problem(f"{where}Trigger.{member.replace('Bucket', 'Region')}", message))
    for bucket in {workflow.output_bucket, *_step_buckets(workflow)} - {trigger.bucket}:
        if bucket not in settings.storages:
            message = f"there is no storage {bucket!r} in the settings; there is: {names}"
            problems.append(Problem(f"{where}OutputStorage", message))
    problems += notifier_problems(workflow, settings, where)
    for step in workflow.steps:
        for mark in getattr(step, "watermark_set", ()):
            if mark.definition and ("watermark", mark.definition) not in templates:
                message = f"there is no Watermark template {mark.definition}; the sub-task would fail"
                problems.append(Problem(f"{where}WatermarkSet", message, warning=True))
        problems += _unserved(step, settings, templates, where)
        if step.kind != "exec_rules" and step.definition and (step.kind, step.definition) not in templates:
            # The model resolves a template when a task runs, so this is the sub-task's failure, not the file's.
            message = f"there is no {wire.to_wire(step.kind)} template {step.definition}; the sub-task would fail"
            problems.append(Problem(f"{where}Definition", message, warning=True))
    return problems


def _unserved(step: StepInput, settings: Settings, templates: files.Templates, where: str) -> list[Problem]:
    """What a template asks for has to be something that somebody can do."""
    problems: list[Problem] = []
    template = templates.get((step.kind, step.definition)) if step.kind in INTELLIGENT else None
    for said in unsupported(template):
        problems.append(Problem(f"{where}{_member(step)}.Definition", f"template {step.definition}: {said}"))
    for part in wanted_parts(template):
        for needed in part.all_needs:
            if needed not in NO_MODEL and needed not in settings.providers:
                member = wire.to_wire(part.member)
                message = f"template {step.definition} asks for {member}: {HOW_TO_SERVE[needed]}"
                problems.append(Problem(f"{where}{_member(step)}.Definition", message))
    return problems


def _member(step: StepInput) -> str:
    """The member of an order that an intelligent sub-task is."""
    return f"Ai{wire.to_wire(step.kind).removeprefix('Ai')}Task"


def notifier_problems(order: Order, settings: Settings, where: str = "") -> list[Problem]:
    """The notifier that an order names has to exist."""
    notify = order.task_notify_config
    if notify is None or notify.notifier is None or notify.notifier in settings.notifiers:
        return []
    known = ", ".join(sorted(settings.notifiers)) or "none"
    message = f"there is no notifier {notify.notifier!r} in the settings; there is: {known}"
    return [Problem(f"{where}TaskNotifyConfig", message)]


def _step_buckets(workflow: Order) -> set[str]:
    storages = [getattr(step, "output_storage", None) for step in workflow.steps]
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
    "ai_recognition": {"vtt", "srt", "json"},
    "quality_control": {"svg", "json"},
    "content_review": {"json"},
    "ai_analysis": {"jpg", "json"},
    "exec_rules": set[str](),
    "image": set[str](),
}


def lint(workflow: Triggered, where: str) -> list[Problem]:
    """Warn when outputs land where the workflow's own trigger looks. The loop guard keeps them from starting it."""
    trigger = workflow.trigger
    inside = workflow.output_bucket == trigger.bucket and (
        not workflow.output_dir or workflow.output_dir.startswith(trigger.dir)
    )
    formats = trigger.formats
    made = {extension for step in workflow.steps for extension in _PRODUCED[step.kind]}
    if not inside or (formats is not None and not formats & made):
        return []
    message = (
        f"results land in the directory that is watched ({trigger.dir}); they are recognised and start nothing, "
        "but set OutputDir or OutputStorage to keep sources and results apart"
    )
    return [Problem(f"{where}: OutputDir", message, warning=True)]
