"""Running one unit: fetch the source, decode it once, check what came out, publish it.

Nothing here knows of queues or states: a unit needs storages, a registry that hears what is written, and a
function to report to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from watcher import log
from watcher.errors import MediaError, PermanentError
from watcher.finding import NO_MODELS, Models
from watcher.media import chunks, excerpt, graph, quality, verify
from watcher.media import program as program_runner
from watcher.media.excerpt import Excerpt
from watcher.media.ffmpeg import FFmpeg
from watcher.media.probe import Probe
from watcher.media.render import WHOLE, Render
from watcher.media.workdir import WorkRoot
from watcher.model.media_info import MediaInfo
from watcher.model.objects import ObjectInfo
from watcher.model.task import StepResult
from watcher.model.unit import Outcome, PlannedStep, Report, Unit
from watcher.opening import Opening
from watcher.preparing import Preparation
from watcher.sending import Registry, Sending, Wanted
from watcher.stepruns import Run, echo, make_step, with_report
from watcher.steps._encoders import EncoderOptions
from watcher.steps._intelligent import IntelligentStep
from watcher.steps.base import CONTENT_TYPES, OutputFile
from watcher.storage.base import Storage
from watcher.together import together
from watcher.understanding import Understanding

_log = log.get("worker")

FETCHED, ENCODED = 5, 95
"""Percent of a sub-task's progress that are reached when its source is there, and when it is encoded."""


PICTURES = frozenset({"snapshot_by_time_offset", "sample_snapshot", "image_sprite", "animated_graphic"})
"""Sub-tasks that may get along with a part of the source."""
MANIFESTS = frozenset(CONTENT_TYPES[extension] for extension in ("m3u8", "mpd", "vtt"))
"""Objects that name others, which have to be there before."""
PARALLEL_PUTS = 8
WORTH_EXCERPT = 500_000_000
"""Pixels of a film, all frames together, that are decoded sooner than an excerpt is cut."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Runs units on this machine."""

    storages: Mapping[str, Storage]
    work: WorkRoot
    probe: Probe
    ffmpeg: FFmpeg
    encoder: EncoderOptions
    fonts: Path | None = None
    chunks: float = 0.0
    """Seconds of the chunks of a long film; 0 for none."""
    models: Models = NO_MODELS

    async def perform(self, unit: Unit, registry: Registry, report: Report) -> Outcome:
        """Run a unit to its end. Sub-tasks that fail are in the outcome.

        Raises TransientError when the unit should run again later, and ObjectSuperseded when its object is no
        longer there in this version.
        """
        async with self.work.directory(unit.task_id) as directory:
            return await _Performance(self, unit, registry, report, directory).run()

    async def inspect(self, source: ObjectInfo, name: str) -> dict[str, Any]:
        """The facts of a file as results show them, in snake_case; ``name`` is that of a work directory.

        Raises MediaError when nothing can be made of it, and as :meth:`perform` does.
        """
        async with self.work.directory(name) as directory:
            opened = Opening(self.storages[source.storage], source, self.probe, directory / "source")
            media = await opened.probed(parts=True)
            return replace(media, size=opened.size).metadata()

    async def inspect_picture(self, data: bytes, name: str) -> tuple[int, int]:
        """Width and height of a picture; raises MediaError when it is none. ``name`` as of :meth:`inspect`."""
        async with self.work.directory(name) as directory:
            path = directory / "picture"
            await asyncio.to_thread(path.write_bytes, data)
            picture = (await self.probe.source(path, graph.PICTURE_DEMUXERS)).picture
        if picture is None:
            raise MediaError("InvalidInput", "it has no picture")
        return picture.width, picture.height


class _Performance:
    """One unit being run."""

    def __init__(self, worker: Worker, unit: Unit, registry: Registry, report: Report, directory: Path) -> None:
        self._worker = worker
        self._unit = unit
        self._registry = registry
        self._report = report
        self._directory = directory
        self._source = directory / "source"
        self._out = directory / "out"
        self._out.mkdir()
        self._sending = Sending(worker.storages, registry, unit, self._out)
        storage = worker.storages[unit.source.storage]
        about_a_picture = all(planned.spec.kind == "image" for planned in unit.steps)
        demuxers = graph.PICTURE_DEMUXERS if about_a_picture else graph.DEMUXERS
        self._opening = Opening(storage, unit.source, worker.probe, self._source, self._on_fetched, demuxers)
        self._taken = {(unit.source.storage, unit.source.key): "the source object"}
        self._metadata: dict[str, Any] | None = None
        now = time.time()
        self._understanding = Understanding(worker.models, worker.probe, unit, directory)
        self._runs = [self._begin(index, planned, now) for index, planned in enumerate(unit.steps)]

    def _begin(self, index: int, planned: PlannedStep, now: float) -> Run:
        result = StepResult(begin_time=now)
        if planned.problem is not None:
            run = Run(planned, None, replace(result, input=echo(planned, None)))
            run.fail(MediaError(*planned.problem))
            return run
        step = make_step(index, planned, self._unit.source.path, self._worker.encoder)
        return Run(planned, step, replace(result, input=echo(planned, step)))

    async def run(self) -> Outcome:
        """The whole of it; nothing that was begun is left behind."""
        try:
            return await self._perform()
        finally:
            await asyncio.shield(self._sending.abort())

    async def _perform(self) -> Outcome:
        await self._changed()
        try:
            media = await self._open()
        except MediaError as error:
            for run in self._runs:
                if run.alive:
                    run.fail(error)
            return await self._outcome(error.code, error.message)
        await self._plan(media)
        await self._changed()
        first = [run for run in self._runs if getattr(run.planned.spec, "publish_first", 0)]
        for batch in filter(None, (first, [run for run in self._runs if run not in first])):
            intelligent = [run for run in batch if run.alive and isinstance(run.step, IntelligentStep)]
            understanding = self._understanding
            await self._encode(media, [*batch, *understanding.extraction] if intelligent else batch)
            await self._run_programs(batch)
            await understanding.find(intelligent, media, self._source)
            clips = understanding.clips(intelligent, media)
            await self._encode(media, clips)
            understanding.hand_over(intelligent, clips)
            await self._worker.storages[self._unit.source.storage].verify(self._unit.source)
            await self._name_outputs(batch)
            await self._changed()
            await self._publish(batch)
        return await self._outcome()

    async def _outcome(self, code: str = "", message: str = "") -> Outcome:
        await self._changed()
        results = tuple(run.result for run in self._runs)
        return Outcome(results, code, message, self._metadata, self._understanding.ends)

    async def _changed(self) -> None:
        await self._report.changed(tuple(run.result for run in self._runs), self._metadata)

    def _on_fetched(self, fraction: float) -> None:
        self._progress(FETCHED * fraction, self._runs)

    def _progress(self, percent: float, runs: list[Run]) -> None:
        for run in runs:
            if run.alive:
                run.result = replace(run.result, progress=max(run.result.progress, int(percent)))
        self._report.progress(tuple(run.result for run in self._runs), self._metadata)

    async def _open(self) -> MediaInfo:
        """Fetch and probe the source; MediaError means that nothing can be made of it."""
        pictures = all(run.planned.spec.kind in PICTURES for run in self._runs if run.alive)
        media = await self._opening.probed(parts=pictures)
        self._metadata = replace(media, size=self._opening.size).metadata()
        return media

    async def _excerpt(self, members: list[Render], media: MediaInfo) -> Excerpt | None:
        """The part of the source that a group of pictures needs, where that is much less than all."""
        wish = excerpt.wish(members, media)
        if wish is None or (self._opening.ranges is None and media.pixels < WORTH_EXCERPT):
            return None
        output = self._directory / f"excerpt-{members[0].name}"
        source = self._opening.ranges or self._source
        output.mkdir()
        found = await self._worker.probe.excerpt(wish, source, media, output / "packets")
        if found is None and excerpt.key_frames_do(members):
            found = await self._worker.probe.excerpt(wish, source, media, output / "packets", keys=True)
        return found

    async def _plan(self, media: MediaInfo) -> None:
        """Have each step say what it wants, once the files it needs are there."""
        worker = self._worker
        preparation = Preparation(
            worker.storages, worker.probe, worker.ffmpeg, worker.fonts, self._directory, self._source, media
        )
        for run in self._runs:
            if run.alive and run.step is not None:
                try:
                    run.assets = await preparation.assets(run.step)
                    run.renders = run.step.renders(media, run.assets)
                except MediaError as error:
                    run.fail(error)
        self._understanding.plan([run for run in self._runs if run.alive], media)

    async def _run_programs(self, batch: list[Run]) -> None:
        """The commands of the configuration, one after another."""
        for run in batch:
            program = run.step.program() if run.alive and run.step is not None else None
            if program is not None and run.step is not None:
                try:
                    await program_runner.run(
                        program,
                        self._worker.ffmpeg.containment,
                        self._worker.ffmpeg.limits,
                        self._source,
                        self._out / run.step.name,
                    )
                except MediaError as error:
                    run.fail(error)

    async def _encode(self, media: MediaInfo, batch: list[Run]) -> None:
        """One process per window; when a merged process fails, its members run again alone."""
        owners = {render.name: run for run in batch for render in run.renders if run.alive}
        groups = graph.groups([render for run in batch if run.alive for render in run.renders])
        for members in groups:
            part = await self._excerpt(members, media)
            if part is None:
                await self._opening.fetch()
            made = await self._encode_group(members, owners, media, part)
            await self._check(made, owners, media)

    async def _encode_group(
        self, members: list[Render], owners: dict[str, Run], media: MediaInfo, part: Excerpt | None
    ) -> list[Render]:
        """Returns the renders as they were made in the end."""
        runs = [owners[render.name] for render in members]

        def on_progress(fraction: float) -> None:
            self._progress(FETCHED + (ENCODED - FETCHED) * fraction, runs)

        try:
            made = members
            if part is None:
                wanted = [
                    Wanted(render, run.step, run.planned.storage)
                    for render, run in zip(members, runs, strict=True)
                    if run.step
                ]
                begun = {render.name: render for render in await self._sending.begin(wanted, media)}
                made = [begun.get(render.name, render) for render in members]
            async with self._sending.following():
                await self._ffmpeg(made, media, part, on_progress)
        except MediaError as error:
            await self._sending.abort()
            if part is not None:
                _log.warning("the excerpt can't be decoded, reading all of the source", error=str(error))
                await self._opening.fetch()
                return await self._encode_group(members, owners, media, None)
            if len(members) == 1 and made == members and not (self._worker.encoder.hardware or self._worker.chunks):
                runs[0].fail(error)
                return members
            _log.warning("merged run failed, running its members alone", error=str(error))
            return await self._encode_alone(members, owners, media)
        return members

    async def _ffmpeg(
        self, members: list[Render], media: MediaInfo, part: Excerpt | None, on_progress: Callable[[float], None]
    ) -> None:
        run = self._worker.ffmpeg.run
        if part is None and self._worker.chunks and media.duration > 2 * self._worker.chunks:
            await self._chunked(members, media, on_progress)
        elif part is None:
            await run(members, media, self._source, self._out, on_progress)
        else:
            renders = excerpt.over(part, members)
            clock = members[0].window == WHOLE
            await run(renders, part.of(media), part.path, self._out, on_progress, on_clock=clock)

    async def _chunked(self, members: list[Render], media: MediaInfo, on_progress: Callable[[float], None]) -> None:
        """What suits side by side, the rest in one process as ever."""
        worker = self._worker
        fit = [render for render in members if chunks.suits(render)]
        rest = [render for render in members if not chunks.suits(render)]
        if rest:
            await worker.ffmpeg.run(rest, media, self._source, self._out)
        if fit:
            parallel = max(2, worker.ffmpeg.threads // 2)
            by_chunks = chunks.Chunked(worker.ffmpeg, worker.probe, media, self._source, self._out, parallel)
            await by_chunks.run(fit, worker.chunks, on_progress)

    async def _encode_alone(self, members: list[Render], owners: dict[str, Run], media: MediaInfo) -> list[Render]:
        """Each in a process of its own, and in software what hardware could not do; returns what was run in the end."""
        done: list[Render] = []
        for render in members:
            run = owners[render.name]
            failure: MediaError | None = None
            for attempt in self._attempts(render, run, media):
                last = attempt
                try:
                    await self._worker.ffmpeg.run([attempt], media, self._source, self._out)
                except MediaError as error:
                    failure = error
                    continue
                failure = None
                break
            done.append(last)
            if failure is not None:
                run.fail(failure)
        return done

    def _attempts(self, render: Render, run: Run, media: MediaInfo) -> Iterator[Render]:
        """The render as it was stated, then the same in software."""
        yield render
        step = run.step
        if step is not None and step.options.hardware:
            step.options = replace(step.options, hardware="")
            run.renders = step.renders(media, run.assets)
            yield next(item for item in run.renders if item.name == render.name)

    async def _check(self, members: list[Render], owners: dict[str, Run], media: MediaInfo) -> None:
        """Probe every file that was made, all in one child process."""
        living = [render for render in members if owners[render.name].alive]
        files = {render.name: verify.written_files(render, self._out) for render in living}
        probed = {render.name: verify.probed_files(render, files[render.name]) for render in living}
        paths = [path for render in living for path in probed[render.name]]
        answers = iter(await self._worker.probe.outputs(paths, self._out))
        for render in living:
            facts = [next(answers) for _ in probed[render.name]]
            run = owners[render.name]
            try:
                made = verify.check(render, media, files[render.name], facts)
                if render.report:
                    found = await quality.report(
                        self._worker.ffmpeg, render, made.files[0], self._source, media, self._out
                    )
                    made = replace(made, quality=found)
                run.produced[render.name] = made
            except MediaError as error:
                run.fail(error)

    async def _name_outputs(self, batch: list[Run]) -> None:
        """Give every file its key; two sub-tasks can't write the same object, and none the source."""
        for index, run in enumerate(self._runs):
            if run not in batch or not run.alive or run.step is None:
                continue
            try:
                produced = [run.produced[render.name] for render in run.renders]
                run.output = await asyncio.to_thread(run.step.collect, produced, self._out)
                if isinstance(run.step, IntelligentStep):
                    run.output = await asyncio.to_thread(with_report, run.step, run.output, self._out)
                for file in run.output.files:
                    place = (run.planned.storage, file.key)
                    if place in self._taken:
                        message = f"/{file.key} would overwrite {self._taken[place]}; change the path"
                        raise MediaError("InvalidInput", message)
                    self._taken[place] = f"another output of sub-task {index + 1}"
            except MediaError as error:
                run.fail(error)

    async def _publish(self, batch: list[Run]) -> None:
        living = [run for run in batch if run.alive and run.output is not None]
        objects = [(run.planned.storage, file.key) for run in living if run.output for file in run.output.files]
        if objects:
            await self._registry.intend(objects, self._unit.task_id, self._unit.lineage)
        for run in living:
            assert run.output is not None  # noqa: S101
            try:
                await self._put_all(run, run.output.files)
            except PermanentError as error:
                run.fail(MediaError("InternalError", f"the output can't be written: {error}"))
                await self._changed()
                continue
            run.result = replace(
                run.result, status="SUCCESS", progress=100, finish_time=time.time(), output=run.output.item
            )
            run.judge_parts()
            await self._changed()

    async def _put_all(self, run: Run, files: Sequence[OutputFile]) -> None:
        """Several at a time; what names other files comes after them, in its order."""
        plain = [file for file in files if file.content_type not in MANIFESTS]
        await together([partial(self._put, run, file) for file in plain], limit=PARALLEL_PUTS)
        for file in files:
            if file.content_type in MANIFESTS:
                await self._put(run, file)

    async def _put(self, run: Run, file: OutputFile) -> None:
        upload = self._sending.take(file.path)
        if upload is not None:
            await upload.finish(file.path, self._registry.written)
            return
        await self._worker.storages[run.planned.storage].put(
            file.path,
            file.key,
            content_type=file.content_type,
            metadata=self._sending.metadata,
            token=self._unit.task_id,
            before=self._registry.written,
        )
