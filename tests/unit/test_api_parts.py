"""The small parts of the API: limits, replays, codes, signed addresses, who may what."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.api.base import Caller, Rights
from watcher.api.limits import Limits, Replays
from watcher.api.pictures import Pictures
from watcher.api.server import _depth
from watcher.api.table import ACTIONS
from watcher.mps.families import TABLE
from watcher.mps.faults import RequestError


def test_a_second_s_worth_at_once() -> None:
    """And then as many as the rate lets through."""
    limits = Limits({"Slow": 2})
    assert [limits.take("a", "Slow", 100, 10.0) for _ in range(3)] == [True, True, False]
    assert limits.take("b", "Slow", 100, 10.0)
    assert limits.take("a", "Other", 100, 10.0)
    assert not limits.take("a", "Slow", 100, 10.4)
    assert limits.take("a", "Slow", 100, 10.5)
    assert not limits.take("a", "Slow", 100, 10.5)
    assert [limits.take("a", "Slow", 100, 99.0) for _ in range(3)] == [True, True, False]


@given(st.lists(st.floats(0, 2), max_size=200), st.integers(1, 20))
def test_never_more_than_the_rate(pauses: list[float], rate: int) -> None:
    """In whatever rhythm they come: what was let through fits the time, plus a second's worth."""
    limits = Limits({})
    now, passed = 0.0, 0
    for pause in pauses:
        now += pause
        passed += limits.take("a", "A", rate, now)
    assert passed <= rate * (now + 1) + 1e-6


def test_a_clock_that_goes_back() -> None:
    """It gives nobody more, and takes nothing away."""
    limits = Limits({})
    assert limits.take("a", "A", 1, 100.0)
    assert not limits.take("a", "A", 1, 50.0)
    assert limits.take("a", "A", 1, 51.0)


def test_replays() -> None:
    """At once is a second call; later is a replay; long after, nobody remembers, since the clock window is over."""
    replays = Replays()
    assert not replays.is_one(b"x", 100.0)
    assert not replays.is_one(b"x", 101.9)
    assert replays.is_one(b"x", 102.1)
    assert not replays.is_one(b"y", 102.1)
    assert replays.is_one(b"x", 700.0)
    assert not replays.is_one(b"x", 900.0)


def refused(action: str, **body: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        ACTIONS[action].read(body)
    return caught.value


VIDEO = {"Codec": "h264", "Fps": 25, "Bitrate": 400}
AUDIO = {"Codec": "aac", "Bitrate": 64, "SampleRate": 44100}


@pytest.mark.parametrize(
    ("action", "body", "code"),
    [
        ("CreateTranscodeTemplate", {"Container": "avi"}, "InvalidParameterValue.Container"),
        (
            "CreateTranscodeTemplate",
            {"Container": "mp4", "VideoTemplate": VIDEO | {"Codec": "theora"}, "AudioTemplate": AUDIO},
            "InvalidParameterValue.VideoCodec",
        ),
        (
            "CreateTranscodeTemplate",
            {"Container": "mp4", "VideoTemplate": VIDEO | {"Bitrate": 50}, "AudioTemplate": AUDIO},
            "InvalidParameterValue.VideoBitrate",
        ),
        (
            "CreateTranscodeTemplate",
            {"Container": "mp4", "VideoTemplate": VIDEO, "AudioTemplate": AUDIO | {"Bitrate": 9000}},
            "InvalidParameterValue.AudioBitrate",
        ),
        (
            "CreateTranscodeTemplate",
            {"Container": "mp4", "VideoTemplate": VIDEO | {"Width": 90_000}, "AudioTemplate": AUDIO},
            "InvalidParameterValue.Resolution",
        ),
        ("CreateTranscodeTemplate", {"Container": "mp4", "Name": "x" * 65}, "InvalidParameterValue.Name"),
        ("CreateTranscodeTemplate", {"VideoTemplate": VIDEO}, "MissingParameter"),
        ("CreateTranscodeTemplate", {"Container": 5}, "InvalidParameter"),
        ("CreateTranscodeTemplate", {"Container": "mp4", "Colour": "red"}, "UnknownParameter"),
        ("CreateAnimatedGraphicsTemplate", {"Fps": 99}, "InvalidParameterValue.Fps"),
        ("CreateSampleSnapshotTemplate", {"SampleType": "x", "SampleInterval": 1}, "InvalidParameterValue.SampleType"),
        ("CreateImageSpriteTemplate", {"SampleType": "Time", "SampleInterval": 1, "RowCount": 0, "ColumnCount": 1},
         "InvalidParameterValue.RowCount"),
        ("CreateWatermarkTemplate", {"Type": "image", "XPos": "far"}, "InvalidParameterValue.XPos"),
        ("CreateWatermarkTemplate", {"Type": "image"}, "InvalidParameterValue.ImageTemplate"),
        ("CreateWatermarkTemplate", {"Type": "movie"}, "InvalidParameterValue.Type"),
        ("CreateAIRecognitionTemplate", {"FaceConfigure": {"Switch": "ON", "Score": 900}},
         "InvalidParameterValue.FaceScore"),
        ("CreateAIRecognitionTemplate", {"FaceConfigure": {"Switch": "ON", "FaceLibrary": "x"}},
         "InvalidParameterValue.FaceLibrary"),
        ("CreateContentReviewTemplate", {"PornConfigure": {"ImgReviewInfo": {"Switch": "x"}}},
         "InvalidParameterValue.Switch"),
        ("DescribeTasks", {"Status": "FINISH", "Limit": 101}, "InvalidParameterValue.Limit"),
        ("DescribeTasks", {"Status": "DONE"}, "InvalidParameterValue"),
        ("DescribeTasks", {}, "MissingParameter"),
        ("DescribeTasks", {"Status": "FINISH", "StartTime": "yesterday"}, "InvalidParameterValue"),
        ("DescribeTranscodeTemplates", {"Definitions": list(range(101))}, "InvalidParameterValue.Definitions"),
        ("CreateWordSamples", {"Usages": ["All"], "Words": [{"Keyword": "x" * 21}]}, "InvalidParameterValue"),
        ("ProcessMedia", {"InputInfo": {"Type": "VOD"}}, "InvalidParameterValue"),
        ("ProcessMedia", {"InputInfo": {"Type": "COS"}}, "InvalidParameterValue"),
        ("CreateWorkflow", {"SmartEraseTask": {"Definition": 10}, "WorkflowName": "x"}, "InvalidParameterValue"),
    ],
)  # fmt: skip
def test_codes(action: str, body: dict[str, Any], code: str) -> None:
    """The code names the field where the model has one for it; the message always does."""
    error = refused(action, **body)
    assert error.code == code, error
    assert error.message


def test_all_mistakes_at_once() -> None:
    """The first one decides on the code."""
    error = refused("CreateAnimatedGraphicsTemplate", Fps=0, Quality=0, Width=-1)
    assert all(name in error.message for name in ("Fps", "Quality", "Width"))


def test_signed_addresses() -> None:
    """What was signed comes back, and nothing else does."""
    pictures = Pictures()
    url = pictures.url("http://h:1", "faces", "12")
    path, _, query = url.removeprefix("http://h:1").partition("?")
    assert pictures.name_of(path, query) == ("faces", "12")
    assert pictures.name_of(path.replace("12", "13"), query) is None
    assert pictures.name_of(path, query.replace("sign=", "sign=0")) is None
    assert pictures.name_of(path, "") is None
    assert Pictures().name_of(path, query) is None
    old = f"expires={int(time.time()) - 1}&sign={pictures._sign('faces/12', int(time.time()) - 1)}"
    assert pictures.name_of(path, old) is None


@pytest.mark.parametrize(
    ("patterns", "bucket", "expected"),
    [
        (("*",), "any", True),
        (("clips-*",), "clips-125", True),
        (("clips-*",), "Clips-125", False),
        (("a", "b"), "b", True),
        ((), "b", False),
        (("a[b]",), "ab", True),
    ],
)
def test_buckets(patterns: tuple[str, ...], bucket: str, expected: bool) -> None:
    """Patterns, with regard to case."""
    assert Caller("i", "k", Rights.READ, patterns).may(bucket) is expected


def test_every_action_has_a_limit_and_rights() -> None:
    """And each family its four."""
    assert all(action.rate > 0 for action in ACTIONS.values())
    for family in TABLE.values():
        if family.rate:
            names = [f"{verb}{family.stem}" for verb in ("Create", "Modify", "Delete")] + [f"Describe{family.stem}s"]
            assert all(name in ACTIONS for name in names)
    for name, action in ACTIONS.items():
        assert action.changes != name.startswith(("Describe", "Parse"))


@given(st.recursive(st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)))
def test_depth(value: Any) -> None:
    """As deep as its deepest part."""

    def deep(item: Any) -> int:
        parts = item.values() if isinstance(item, dict) else item if isinstance(item, list) else None
        return 0 if parts is None else 1 + max(map(deep, parts), default=0)

    assert _depth({"a": value}) == 1 + deep(value)
