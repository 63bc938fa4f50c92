"""Running a schedule: its nodes as units, each when what it reads is there (contract workflows.md, section 6.2).

All nodes that read the same file are one unit, and so one decode; units of one task run one after another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from watcher.errors import MediaError, PermanentError, TransientError
from watcher.model.activities import Activity, ExecRulesInput, predecessors
from watcher.model.inputs import shown
from watcher.model.objects import ObjectInfo
from watcher.model.task import StepResult
from watcher.model.unit import Outcome, Report, Unit
from watcher.sending import Registry
from watcher.worker import Worker


@dataclass(slots=True)
class _Node:
    """A node on its way. ``position`` is that of its sub-task among the results, None for source and sink.

    ``reads`` is the file it reads, once that is known; ``gives`` what its successors read.
    """

    activity: Activity
    position: int | None
    before: list[int]
    reads: ObjectInfo | None = None
    gives: ObjectInfo | None = None
    ended: bool = False


@dataclass(slots=True)
class GraphRun:
    """One task of a schedule. ``unit`` holds all of its sub-tasks, in the order of its nodes."""

    graph: tuple[Activity, ...]
    unit: Unit
    worker: Worker
    registry: Registry
    report: Report
    results: list[StepResult] = field(init=False)
    metadata: dict[str, Any] | None = field(default=None, init=False)
    _nodes: list[_Node] = field(init=False)
    _facts: dict[ObjectInfo, dict[str, Any]] = field(default_factory=dict, init=False)
    _units: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        before = predecessors(self.graph)
        self._nodes = []
        position = 0
        for index, activity in enumerate(self.graph):
            has_step = activity.step is not None
            self._nodes.append(_Node(activity, position if has_step else None, before[index]))
            position += has_step
        self.results = [StepResult(input=shown(planned.spec)) for planned in self.unit.steps]

    async def run(self) -> Outcome:
        """The whole of it. Raises as :meth:`Worker.perform` does."""
        outcome = Outcome(())
        for node in self._nodes:
            if node.activity.activity_type == "input":
                node.gives, node.ended = self.unit.source, True
        while waiting := self._ready():
            rules = [node for node in waiting if node.activity.activity_type == "action-exec-rules"]
            for node in rules:
                await self._choose(node)
            if rules:
                continue
            source = waiting[0].reads
            assert source is not None  # noqa: S101
            made = await self._perform(source, [node for node in waiting if node.reads == source])
            if source == self.unit.source:
                outcome = replace(made if made.code else outcome, ends=made.ends or outcome.ends)
        return replace(outcome, results=tuple(self.results), metadata=self.metadata)

    def _ready(self) -> list[_Node]:
        """Nodes that can run now; those behind a failure end here."""
        found: list[_Node] = []
        changed = True
        while changed:
            changed = False
            found = []
            for node in self._nodes:
                if node.ended or node.position is None or not all(self._nodes[index].ended for index in node.before):
                    continue
                earlier = self._nodes[node.before[0]]
                if earlier.gives is None:
                    self._end_behind(node, earlier)
                    changed = True
                    continue
                node.reads = earlier.gives
                found.append(node)
        return found

    def _end_behind(self, node: _Node, earlier: _Node) -> None:
        assert node.position is not None  # noqa: S101
        assert earlier.position is not None  # noqa: S101  the source always gives something
        node.ended = True
        result = self.results[node.position]
        if self.results[earlier.position].status == "SKIP":
            self.results[node.position] = replace(result, status="SKIP")
            return
        message = f"the sub-task before it failed: {self.results[earlier.position].message}"
        self.results[node.position] = replace(result, status="FAIL", code="InternalError", message=message)

    async def _perform(self, source: ObjectInfo, nodes: list[_Node]) -> Outcome:
        """The sub-tasks of nodes that read the same file, as one unit."""
        positions = [node.position for node in nodes if node.position is not None]
        steps = tuple(self.unit.steps[position] for position in positions)
        # What a killed run left is found by the name of the unit that wrote it.
        name = f"{self.unit.task_id}-{self._units}" if self._units else self.unit.task_id
        self._units += 1
        part = replace(self.unit, task_id=name, source=source, steps=steps)
        report = _Part(self, positions)
        outcome = await self.worker.perform(part, self.registry, report)
        report.place(outcome.results)
        self._learn(source, outcome.metadata)
        for node in nodes:
            node.ended = True
            node.gives = await self._made(node)
        return outcome

    def _learn(self, source: ObjectInfo, metadata: dict[str, Any] | None) -> None:
        if metadata is not None:
            self._facts[source] = metadata
            if source == self.unit.source:
                self.metadata = metadata

    async def _made(self, node: _Node) -> ObjectInfo | None:
        """What a node made, for those that read it; None where nothing does, or where it failed."""
        assert node.position is not None  # noqa: S101
        result = self.results[node.position]
        readers = [index for index in node.activity.reardrive_index if self._nodes[index].position is not None]
        if result.status != "SUCCESS" or result.output is None:
            return None
        if not readers:
            return node.reads
        storage = self.unit.steps[node.position].storage
        try:
            return await self.worker.storages[storage].head(str(result.output["path"]).removeprefix("/"))
        except PermanentError as error:
            raise TransientError(f"what a sub-task made is gone: {error}") from error

    async def _choose(self, node: _Node) -> None:
        """Let the rules of a node choose among its successors; the others are skipped."""
        assert node.position is not None  # noqa: S101
        assert node.reads is not None  # noqa: S101
        rules = node.activity.step
        assert isinstance(rules, ExecRulesInput)  # noqa: S101
        node.ended = True
        result = self.results[node.position]
        try:
            chosen = rules.chosen(await self._media(node.reads))
        except MediaError as error:
            self.results[node.position] = replace(result, status="FAIL", code=error.code, message=error.message)
            return
        node.gives = node.reads
        output = {"rear_drive_index": list(chosen)}
        self.results[node.position] = replace(result, status="SUCCESS", progress=100, output=output)
        for index in node.activity.reardrive_index:
            successor = self._nodes[index]
            if index not in chosen and successor.position is not None:
                successor.ended = True
                skipped = self.results[successor.position]
                self.results[successor.position] = replace(skipped, status="SKIP")
        await self._changed()

    async def _media(self, source: ObjectInfo) -> Mapping[str, Any]:
        if source not in self._facts:
            self._learn(source, await self.worker.inspect(source, f"{self.unit.task_id}-facts"))
        return self._facts[source]

    async def _changed(self) -> None:
        await self.report.changed(tuple(self.results), self.metadata)


@dataclass(slots=True)
class _Part:
    """The report of one unit, which tells of a part of the task's sub-tasks."""

    whole: GraphRun
    positions: list[int]

    def place(self, results: tuple[StepResult, ...]) -> None:
        for position, result in zip(self.positions, results, strict=True):
            self.whole.results[position] = result

    def progress(self, results: tuple[StepResult, ...], metadata: dict[str, Any] | None) -> None:
        self.place(results)
        self.whole.report.progress(tuple(self.whole.results), self.whole.metadata or metadata)

    async def changed(self, results: tuple[StepResult, ...], metadata: dict[str, Any] | None) -> None:
        self.place(results)
        await self.whole.report.changed(tuple(self.whole.results), self.whole.metadata or metadata)
