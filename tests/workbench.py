"""A worker over one directory, without state, sources or a daemon: what the tests of media drive."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from watcher import planning, plugin
from watcher.catalog import preset_directory
from watcher.finding import Models
from watcher.inference.base import Provider
from watcher.media import ffmpeg
from watcher.media.containment import Containment, Limits
from watcher.media.ffmpeg import FFmpeg
from watcher.media.inference import ModelProcess
from watcher.media.probe import Probe
from watcher.media.workdir import WorkRoot
from watcher.model.inputs import (
    AiAnalysisInput,
    AiRecognitionInput,
    ContentReviewInput,
    MediaProcessTask,
    QualityControlInput,
)
from watcher.model.objects import ObjectInfo
from watcher.model.order import Order
from watcher.model.samples import FilmEnds, KnownPerson, Samples, Word
from watcher.model.task import StepResult, Task
from watcher.model.unit import Outcome
from watcher.model.workflow import Workflow
from watcher.mps import files, wire
from watcher.mps.families import TABLE
from watcher.steps._encoders import EncoderOptions
from watcher.storage import local, s3
from watcher.storage.base import Storage
from watcher.worker import Worker

LIMITS = Limits(memory=8 * 2**30, cpu=600, file_size=2**33)
AAC = {"Codec": "aac", "Bitrate": 64, "SampleRate": 44100}
H264 = {"Codec": "h264", "Height": 128}


class Registry:
    """Hears of outputs."""

    def __init__(self) -> None:
        self.intended: list[tuple[str, str]] = []
        self.versions: list[ObjectInfo] = []

    async def intend(self, objects: list[tuple[str, str]], task_id: str, lineage: tuple[int, ...]) -> None:
        self.intended += objects

    async def written(self, info: ObjectInfo) -> None:
        self.versions.append(info)


class Bench:
    """A worker over the bucket ``b``, a directory."""

    def __init__(self, root: Path, contained: Containment) -> None:
        root.mkdir()
        self.root = root
        self.storage: Storage = local.LocalStorage("b", local.Options(root=root))
        program = ffmpeg.locate(None)
        work = WorkRoot(root.with_name("work"))
        work.prepare()
        self.worker = Worker(
            {"b": self.storage},
            work,
            Probe(contained, LIMITS),
            FFmpeg(program, contained, LIMITS, threads=2),
            EncoderOptions("ultrafast"),
        )
        self.words: list[Word] = []
        self.persons: list[KnownPerson] = []
        self.siblings: list[FilmEnds] = []
        self.templates, _ = files.load_templates([preset_directory()])
        self.reports: list[tuple[StepResult, ...]] = []

    def serve(self, *, readable: Sequence[Path] = (), **providers: str | tuple[str, dict[str, Any]]) -> None:
        """Have capabilities served by providers, each given by its type, or by that and its options; ``readable`` are
        the folders of their models."""
        processes: dict[Any, ModelProcess] = {}
        for capability, given in providers.items():
            name, options = (given, {}) if isinstance(given, str) else given
            provider = plugin.implementation("inference", name, Provider)
            processes[capability] = ModelProcess(
                name, json.dumps(options), self.worker.probe.containment, LIMITS,
                [self.worker.work.path, *readable],
                network=provider.network, stall=30,
            )  # fmt: skip
        self.worker = replace(self.worker, models=Models(processes))

    def use(self, storage: Storage) -> None:
        """Have the bucket be another storage."""
        self.storage = storage
        self.worker = replace(self.worker, storages={"b": storage})

    def template(self, family: str, definition: int, body: dict[str, Any]) -> int:
        """Add a template, given as the wire has it."""
        self.templates[family, definition] = wire.decode(TABLE[family].model, body)
        return definition

    async def run(self, key: str, **tasks: Any) -> Outcome:
        """One unit over an object of the bucket; ``tasks`` are the sets of a MediaProcessTask."""
        recognition, control = tasks.pop("AiRecognitionTask", None), tasks.pop("AiQualityControlTask", None)
        review, analysis = tasks.pop("AiContentReviewTask", None), tasks.pop("AiAnalysisTask", None)
        media = wire.decode(MediaProcessTask, tasks)
        rule = {"bucket": "b", "region": "r"}
        workflow = Workflow.model_validate(
            {
                "workflow_name": "bench",
                "trigger": {"type": "CosFileUpload", "cos_file_upload_trigger": rule},
                "output_dir": "/out/",
                "media_process_task": media,
                "ai_recognition_task": wire.decode(AiRecognitionInput, recognition) if recognition else None,
                "ai_content_review_task": wire.decode(ContentReviewInput, review) if review else None,
                "ai_analysis_task": wire.decode(AiAnalysisInput, analysis) if analysis else None,
                "ai_quality_control_task": wire.decode(QualityControlInput, control) if control else None,
                "trusted": True,
            }
        )
        return await self.run_order(workflow, key)

    async def run_order(self, order: Order, key: str) -> Outcome:
        """One unit over an object of the bucket, whatever it is to do."""
        info = await self.storage.head(key)
        task = Task("t-1", 7, order, info, "PROCESSING", 0, (), time.time())
        samples = Samples(tuple(self.words), tuple(self.persons), tuple(self.siblings))
        unit = planning.plan(task, self.templates, self.worker.storages, samples)
        self.registry = Registry()
        return await self.worker.perform(unit, self.registry, self)

    async def one(self, key: str, **tasks: Any) -> dict[str, Any]:
        """The output item of the only sub-task, which has to succeed."""
        outcome = await self.run(key, **tasks)
        (result,) = outcome.results
        assert result.status == "SUCCESS", result.message
        assert result.output is not None
        return result.output

    async def refused(self, key: str, **tasks: Any) -> str:
        """Why the only sub-task failed: code and message."""
        (result,) = (await self.run(key, **tasks)).results
        assert result.status == "FAIL", result
        return f"{result.code}: {result.message}"

    def path(self, key: str) -> Path:
        """The file of an object, named with or without a leading slash."""
        return self.root / key.removeprefix("/")

    def progress(self, results: tuple[StepResult, ...], metadata: dict[str, Any] | None) -> None:
        self.reports.append(results)

    async def changed(self, results: tuple[StepResult, ...], metadata: dict[str, Any] | None) -> None:
        self.reports.append(results)


@contextlib.contextmanager
def counted_reads() -> Iterator[list[int]]:
    """The bytes of each range that is read of an S3 object while the context lasts."""
    moved: list[int] = []
    read = s3.S3Storage.read

    async def counted(self: s3.S3Storage, info: ObjectInfo, start: int, length: int) -> bytes:
        data = await read(self, info, start, length)
        moved.append(len(data))
        return data

    s3.S3Storage.read = counted  # type: ignore[method-assign]
    try:
        yield moved
    finally:
        s3.S3Storage.read = read  # type: ignore[method-assign]


def raw(container: str, video: dict[str, Any] | None, audio: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    """A TranscodeTaskSet item with its parameters inside."""
    parameter: dict[str, Any] = {"Container": container}
    parameter |= {"VideoTemplate": video} if video else {"RemoveVideo": 1}
    parameter |= {"AudioTemplate": audio} if audio else {"RemoveAudio": 1}
    inside = ("EnhanceConfig", "TEHDConfig", "SubtitleTemplate", "QualityReport")
    parameter |= {name: more.pop(name) for name in inside if name in more}
    return {
        "Definition": 0,
        "RawParameter": parameter,
        "OutputObjectPath": f"/out/{len(str(parameter))}.{{format}}",
    } | more
