"""Graphs: which are refused and why, and what rules choose."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.errors import ConfigurationError
from watcher.model.activities import ExecRulesInput, predecessors, sorted_nodes
from watcher.model.schedule import Schedule
from watcher.mps import wire


def node(kind: str, *successors: int, **parameters: Any) -> dict[str, Any]:
    return {"ActivityType": kind, "ReardriveIndex": list(successors), "ActivityPara": parameters}


def sprite(*successors: int) -> dict[str, Any]:
    return node("action-image-sprite", *successors, ImageSpriteTask={"Definition": 10})


def transcode(*successors: int) -> dict[str, Any]:
    return node("action-trans", *successors, TranscodeTask={"Definition": 100010})


def rules(*successors: int, to: int, key: str = "Width", value: str = ">=720") -> dict[str, Any]:
    rule = {"Conditions": [{"Key": key, "Value": value}], "RearDriveIndexs": [to]}
    return node("action-exec-rules", *successors, ExecRulesTask={"Rules": [rule]})


def schedule(*nodes: dict[str, Any]) -> Schedule:
    trigger = {"Type": "CosFileUpload", "CosFileUploadTrigger": {"Bucket": "b", "Region": "r"}}
    return wire.decode(Schedule, {"ScheduleName": "s", "Trigger": trigger, "Activities": list(nodes)})


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([sprite(1), node("output"), sprite(1)], "exactly one node of type input"),
        ([node("input", 1), sprite(0), sprite(0)], "exactly one node of type output"),
        ([node("input", 1), node("output"), node("output")], "exactly one node of type output"),
        ([node("input", 2), node("input", 2), node("output")], "exactly one node of type input"),
        ([node("input", 1), sprite(7), node("output")], "there is no node 7"),
        ([node("input", 1), sprite(-1), node("output")], "there is no node -1"),
        ([node("input", 1, 1), sprite(2), node("output")], "names a node twice"),
        ([node("input", 1), transcode(2), transcode(1), node("output")], "round in a circle"),
        ([node("input", 1), sprite(2), node("output"), sprite(2)], "not reached"),
        ([node("input", 1), sprite(), node("output")], "does not lead to the output"),
        ([node("input", 1), sprite(2), node("output", 1)], "can't have successors"),
        ([node("input", 1), sprite(2), sprite(3), node("output")], "can't read what action-image-sprite makes"),
        ([node("input", 1, 2), transcode(3), transcode(3), sprite(4), node("output")], "several predecessors"),
        ([node("input", 1), rules(2, to=3), sprite(3), node("output")], "not in its ReardriveIndex"),
        ([node("input", 1), rules(2, to=2), node("output")], "no sub-task"),
        ([node("input", 1), rules(2, to=2, key="Taste"), sprite(3), node("output")], "'Taste' is not known"),
        ([node("input", 1), rules(2, to=2, value=">="), sprite(3), node("output")], "must be a number"),
        ([node("input", 1), rules(2, to=2, value="wide"), sprite(3), node("output")], "must be a number"),
        (
            [node("input", 1), rules(2, to=2, key="VideoCodec", value=">h264"), sprite(3), node("output")],
            "by == and != only",
        ),
        ([node("input", 1), node("action-trans", 2), node("output")], "needs TranscodeTask in ActivityPara"),
        ([node("input", 1), node("action-SmartErase", 2), node("output")], "does not support it"),
        ([node("input", 1), node("action-dance", 2), node("output")], "is not one of"),
        (
            [node("input", 1), node("action-trans", 2, ImageSpriteTask={"Definition": 10}), node("output")],
            "needs TranscodeTask in ActivityPara, not ImageSpriteTask",
        ),
    ],
)
def test_graphs_that_are_none(nodes: list[dict[str, Any]], message: str) -> None:
    """Each with a sentence that says where."""
    with pytest.raises(ConfigurationError) as caught:
        schedule(*nodes)
    assert message in str(caught.value)


def test_a_graph() -> None:
    """Nodes may stand in any order; predecessors are computed."""
    made = schedule(node("output"), transcode(2), sprite(0), node("input", 1, 4), rules(5, to=5), sprite(0))
    assert predecessors(made.graph) == [[2, 5], [3], [1], [], [3], [4]]
    order = sorted_nodes(made.graph)
    assert order[0] == 3
    assert order[-1] == 0
    assert [step.kind for step in made.steps] == ["transcode", "image_sprite", "exec_rules", "image_sprite"]
    assert made.kind == "ScheduleTask"


MEDIA: dict[str, Any] = {
    "width": 1920, "height": 1080, "duration": 12.5, "bitrate": 4_000_000, "size": 10, "audio_stream_set": [],
    "video_stream_set": [{"fps": 25, "codec": "h264"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "holds"),
    [
        ("Resolution-1", "1080", True),
        ("Resolution", "1920", False),
        ("Width", ">=1920", True),
        ("Height", "<1080", False),
        ("Height-12", "<= 1080", True),
        ("Duration", ">12.4", True),
        ("Bitrate", "!=4000000", False),
        ("Fps", "25", True),
        ("VideoCodec", "h264", True),
        ("VideoCodec", "!=h264", False),
        ("AudioCodec", "aac", False),
        ("HasAudio", "0", True),
        ("HasVideo", "1", True),
        ("Size", "==10", True),
    ],
)
def test_conditions(key: str, value: str, holds: bool) -> None:
    """A bare value is meant exactly; an operator may stand before it."""
    rule = {"Conditions": [{"Key": key, "Value": value}], "RearDriveIndexs": [5]}
    made = wire.decode(ExecRulesInput, {"Rules": [rule]})
    assert made.chosen(MEDIA) == ((5,) if holds else ())


@pytest.mark.parametrize(("linker", "chosen"), [("&&", ()), ("||", (1, 2))])
def test_linkers(linker: str, chosen: tuple[int, ...]) -> None:
    """All conditions, or any."""
    conditions = [{"Key": "Width", "Value": "1920"}, {"Key": "HasAudio", "Value": "1"}]
    rule = {"Conditions": conditions, "Linker": linker, "RearDriveIndexs": [2, 1]}
    assert wire.decode(ExecRulesInput, {"Rules": [rule]}).chosen(MEDIA) == chosen


@given(st.lists(st.lists(st.integers(-1, 6), max_size=3), min_size=3, max_size=7))
def test_any_edges(edges: list[list[int]]) -> None:
    """A graph is refused, or every node comes after what it reads."""
    last = len(edges) - 1
    nodes = [node("input", *edges[0]), *(transcode(*found) for found in edges[1:last]), node("output")]
    try:
        made = schedule(*nodes)
    except ConfigurationError:
        return
    order = sorted_nodes(made.graph)
    for index, before in enumerate(predecessors(made.graph)):
        assert all(order.index(earlier) < order.index(index) for earlier in before)
        assert len(before) == 1 or index in (0, last)
