"""Activities: the nodes of a schedule's graph, and the rules a graph keeps (contract workflows.md, section 6)."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from watcher.model.base import Value
from watcher.model.inputs import (
    AdaptiveDynamicStreamingInput,
    AiAnalysisInput,
    AiRecognitionInput,
    AnimatedGraphicInput,
    ContentReviewInput,
    ImageSpriteInput,
    QualityControlInput,
    SampleSnapshotInput,
    SnapshotByTimeOffsetInput,
    StepInput,
    TranscodeInput,
)

_CONDITION = re.compile(r"(<=|>=|==|!=|<|>)?\s*(.+)")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
}  # fmt: skip

FACTS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "Resolution": lambda media: min(media["width"], media["height"]),
    "Width": lambda media: media["width"],
    "Height": lambda media: media["height"],
    "Duration": lambda media: media["duration"],
    "Bitrate": lambda media: media["bitrate"],
    "Size": lambda media: media["size"],
    "Fps": lambda media: max((stream["fps"] for stream in media["video_stream_set"]), default=0),
    "VideoCodec": lambda media: next((stream["codec"] for stream in media["video_stream_set"]), ""),
    "AudioCodec": lambda media: next((stream["codec"] for stream in media["audio_stream_set"]), ""),
    "HasVideo": lambda media: int(bool(media["video_stream_set"])),
    "HasAudio": lambda media: int(bool(media["audio_stream_set"])),
}
"""What a condition can ask of the file that its node reads; ``Resolution`` is the short side in pixels."""


class Condition(Value):
    """``Key`` is one of :data:`FACTS`, with ``-1``, ``-2`` … behind it where one is asked twice.

    The model does not say how to compare (workflows.md, section 6.2). Here ``Value`` may begin with an operator,
    ``>=720``; without one the two have to be equal.
    """

    key: str
    value: str = Field(min_length=1, max_length=64)

    @property
    def fact(self) -> str:
        """The key without its number."""
        return re.sub(r"-\d+\Z", "", self.key)

    @model_validator(mode="after")
    def _can_be_asked(self) -> Condition:
        if self.fact not in FACTS:
            raise ValueError(f"Key {self.key!r} is not known; use one of {', '.join(FACTS)}")
        match = _CONDITION.fullmatch(self.value.strip())
        sign, text = (match[1], match[2]) if match else (None, "")
        if not text:
            raise ValueError(f"Value {self.value!r} compares with nothing; write e.g. >=720")
        if not self.fact.endswith("Codec"):
            try:
                float(text)
            except ValueError:
                raise ValueError(f"Value {self.value!r} must be a number, e.g. 720 or >=720") from None
        elif sign not in (None, "==", "!="):
            raise ValueError(f"{self.fact} can be compared by == and != only")
        return self

    def holds(self, media: Mapping[str, Any]) -> bool:
        """Whether the file fulfils it; ``media`` are its facts as results show them, in snake_case."""
        match = _CONDITION.fullmatch(self.value.strip())
        assert match is not None  # noqa: S101  the validator saw to it
        fact = FACTS[self.fact](media)
        wanted = match[2] if self.fact.endswith("Codec") else float(match[2])
        return _COMPARE[match[1] or "=="](fact, wanted)


class Rule(Value):
    """Which successors run when its conditions hold."""

    id: str = Field(default="", max_length=64)
    conditions: tuple[Condition, ...] = Field(min_length=1, max_length=32)
    linker: Literal["&&", "||"] = "&&"
    rear_drive_indexs: tuple[int, ...] = Field(min_length=1, max_length=64)

    def holds(self, media: Mapping[str, Any]) -> bool:
        """All of its conditions, or any of them."""
        found = (condition.holds(media) for condition in self.conditions)
        return all(found) if self.linker == "&&" else any(found)


class ExecRulesInput(StepInput):
    """A node that chooses among its successors by what the file is; it passes on what it reads."""

    definition: int = 0
    rules: tuple[Rule, ...] = Field(min_length=1, max_length=32)

    @property
    def kind(self) -> str:
        return "exec_rules"

    def chosen(self, media: Mapping[str, Any]) -> tuple[int, ...]:
        """The successors of all rules that hold."""
        return tuple(sorted({index for rule in self.rules if rule.holds(media) for index in rule.rear_drive_indexs}))


class ActivityPara(Value):
    """The parameters of a node: exactly the member that fits its kind."""

    transcode_task: TranscodeInput | None = None
    animated_graphic_task: AnimatedGraphicInput | None = None
    snapshot_by_time_offset_task: SnapshotByTimeOffsetInput | None = None
    sample_snapshot_task: SampleSnapshotInput | None = None
    image_sprite_task: ImageSpriteInput | None = None
    adaptive_dynamic_streaming_task: AdaptiveDynamicStreamingInput | None = None
    ai_content_review_task: ContentReviewInput | None = None
    ai_analysis_task: AiAnalysisInput | None = None
    ai_recognition_task: AiRecognitionInput | None = None
    quality_control_task: QualityControlInput | None = None
    exec_rules_task: ExecRulesInput | None = None


MEMBERS = {
    "action-trans": "transcode_task",
    "action-animated-graphics": "animated_graphic_task",
    "action-snapshotByTimeOffset": "snapshot_by_time_offset_task",
    "action-samplesnapshot": "sample_snapshot_task",
    "action-image-sprite": "image_sprite_task",
    "action-adaptive-substream": "adaptive_dynamic_streaming_task",
    "action-aiReview": "ai_content_review_task",
    "action-AIAnalysis": "ai_analysis_task",
    "action-AIRecognition": "ai_recognition_task",
    "action-AIQualityControl": "quality_control_task",
    "action-exec-rules": "exec_rules_task",
}
"""The member of ActivityPara for each kind of node that has one."""
NOT_SUPPORTED = ("action-SmartSubtitles", "action-SmartErase")


class Activity(Value):
    """A node of a schedule's graph. ``reardrive_index`` are the positions of its successors."""

    activity_type: str
    predrive_index: tuple[int, ...] = Field(default=(), max_length=64)
    """Ignored: predecessors are computed from the successors."""
    reardrive_index: tuple[int, ...] = Field(default=(), max_length=64)
    activity_para: ActivityPara | None = None

    @property
    def step(self) -> StepInput | None:
        """The sub-task of the node; the source and the sink have none."""
        member = MEMBERS.get(self.activity_type)
        return getattr(self.activity_para, member) if member and self.activity_para else None

    @model_validator(mode="after")
    def _has_its_parameters(self) -> Activity:
        if self.activity_type in NOT_SUPPORTED:
            raise ValueError(f"{self.activity_type} is part of the MPS model, but this version does not support it")
        if self.activity_type not in ("input", "output", *MEMBERS):
            raise ValueError(f"ActivityType {self.activity_type!r} is not one of input, output, {', '.join(MEMBERS)}")
        given = {name for name in ActivityPara.model_fields if getattr(self.activity_para, name, None) is not None}
        wanted = {MEMBERS[self.activity_type]} if self.activity_type in MEMBERS else set()
        if given != wanted:
            raise ValueError(f"{self.activity_type} needs {_wire(wanted)} in ActivityPara, not {_wire(given)}")
        return self


def _wire(names: set[str]) -> str:
    shown = ("".join(part.capitalize() for part in name.split("_")) for name in sorted(names))
    return ", ".join(shown) or "nothing"


def predecessors(graph: tuple[Activity, ...]) -> list[list[int]]:
    """The positions of each node's predecessors."""
    found: list[list[int]] = [[] for _ in graph]
    for index, activity in enumerate(graph):
        for successor in activity.reardrive_index:
            found[successor].append(index)
    return found


def check_graph(graph: tuple[Activity, ...]) -> tuple[Activity, ...]:
    """The graph, if it keeps the rules; raises ValueError in words that name the node."""
    _check_ends(graph)
    _check_indexes(graph)
    order = sorted_nodes(graph)
    reached = {index for index, activity in enumerate(graph) if activity.activity_type == "input"}
    for index in order:
        if index in reached:
            reached.update(graph[index].reardrive_index)
    before = predecessors(graph)
    for index, activity in enumerate(graph):
        if index not in reached:
            raise ValueError(f"Activities[{index}] ({activity.activity_type}) is not reached from the input")
        _check_reading(graph, index, before[index])
    return graph


def _check_ends(graph: tuple[Activity, ...]) -> None:
    for end in ("input", "output"):
        count = sum(1 for activity in graph if activity.activity_type == end)
        if count != 1:
            raise ValueError(f"Activities need exactly one node of type {end}, not {count}")
    if not any(activity.activity_type not in ("input", "output", "action-exec-rules") for activity in graph):
        raise ValueError("Activities hold no sub-task, so nothing would be done")


def _check_indexes(graph: tuple[Activity, ...]) -> None:
    for index, activity in enumerate(graph):
        rules = activity.step.rules if isinstance(activity.step, ExecRulesInput) else ()
        named = {position for rule in rules for position in rule.rear_drive_indexs}
        for successor in {*activity.reardrive_index, *named}:
            if not 0 <= successor < len(graph):
                raise ValueError(f"Activities[{index}].ReardriveIndex: there is no node {successor}")
        if len(set(activity.reardrive_index)) != len(activity.reardrive_index):
            raise ValueError(f"Activities[{index}].ReardriveIndex names a node twice")
        if not named <= set(activity.reardrive_index):
            raise ValueError(f"Activities[{index}]: its rules name nodes that are not in its ReardriveIndex")
        if activity.activity_type == "output" and activity.reardrive_index:
            raise ValueError(f"Activities[{index}]: the output can't have successors")
        if activity.activity_type != "output" and not activity.reardrive_index:
            raise ValueError(f"Activities[{index}] ({activity.activity_type}) does not lead to the output")


def _check_reading(graph: tuple[Activity, ...], index: int, before: list[int]) -> None:
    """A node reads one file: the source, or what the transcode before it made."""
    kind = graph[index].activity_type
    if kind == "input":
        if before:
            raise ValueError(f"Activities[{index}]: the input can't have predecessors")
        return
    if kind == "output":
        return
    if len(before) > 1:
        raise ValueError(f"Activities[{index}] ({kind}) has several predecessors, so it is not clear what it reads")
    earlier = graph[before[0]].activity_type
    if earlier not in ("input", "action-trans", "action-exec-rules"):
        raise ValueError(f"Activities[{index}] ({kind}) can't read what {earlier} makes")


def sorted_nodes(graph: tuple[Activity, ...]) -> list[int]:
    """Positions of all nodes, each after its predecessors; raises ValueError where they go round in a circle."""
    waiting = [len(before) for before in predecessors(graph)]
    ready = [index for index, count in enumerate(waiting) if count == 0]
    found: list[int] = []
    while ready:
        index = ready.pop(0)
        found.append(index)
        for successor in graph[index].reardrive_index:
            waiting[successor] -= 1
            if waiting[successor] == 0:
                ready.append(successor)
    if len(found) != len(graph):
        raise ValueError("Activities go round in a circle")
    return found
