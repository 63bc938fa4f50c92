"""Triggers: Bucket, Region, Dir, Formats as the contract has them, and an index that agrees with the rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.errors import ConfigurationError
from watcher.model.triggers import TriggerIndex, explain, extension_of
from watcher.model.workflow import DEFAULT_COS_FORMATS, Trigger
from watcher.mps import wire


def cos(directory: str = "/", formats: list[str] | None = None, bucket: str = "b-1250000000") -> Trigger:
    rule: dict[str, Any] = {"Bucket": bucket, "Region": "ap-x", "Dir": directory}
    if formats is not None:
        rule["Formats"] = formats
    return wire.decode(Trigger, {"Type": "CosFileUpload", "CosFileUploadTrigger": rule})


def aws(formats: list[str] | None = None) -> Trigger:
    rule: dict[str, Any] = {"S3Bucket": "b", "S3Region": "us-east-1"}
    if formats is not None:
        rule["Formats"] = formats
    return wire.decode(Trigger, {"Type": "AwsS3FileUpload", "AwsS3FileUploadTrigger": rule})


def matches(trigger: Trigger, key: str, storage: str = "b-1250000000", region: str | None = None) -> bool:
    regions = {} if region is None else {storage: region}
    return bool(TriggerIndex([(trigger, "w")], regions).match(storage, key))


def test_unset_formats_are_the_preset_list_for_cos_and_everything_for_s3() -> None:
    """The two triggers differ here (contract, section 2)."""
    assert len(DEFAULT_COS_FORMATS) == 24
    for formats in (None, [], [""]):
        assert matches(cos(formats=formats), "a.mp4")
        assert matches(cos(formats=formats), "a.srt")
        assert not matches(cos(formats=formats), "a.txt")
        assert matches(aws(formats), "a.txt", "b")
        assert matches(aws(formats), "no-extension", "b")


@pytest.mark.parametrize(
    ("formats", "key", "expected"),
    [
        (["mp4"], "a.mp4", True),
        ([".mp4"], "a.mp4", True),
        (["MP4"], "a.mp4", True),
        (["mp4"], "a.MP4", True),
        (["mp4"], "a.mov", False),
        (["mp4"], "mp4", False),
        (["mp4"], ".mp4", False),
        (["mp4"], "a.mp4.part", False),
        (["*"], "a", True),
        (["mov", "*"], "a.xyz", True),
        (["*"], "dir/", False),
    ],
)
def test_formats(formats: list[str], key: str, expected: bool) -> None:
    """Extensions compare without case or dot; a star matches every object, but no folder marker."""
    assert matches(cos(formats=formats), key) is expected


@pytest.mark.parametrize(
    ("directory", "key", "expected"),
    [
        ("/", "a.mp4", True),
        ("/", "a/b/c.mp4", True),
        ("/up/", "up/a.mp4", True),
        ("/up/", "up/deep/er/a.mp4", True),
        ("/up/", "upper/a.mp4", False),
        ("/up/", "a.mp4", False),
        ("/up/", "x/up/a.mp4", False),
        ("/up/", "up.mp4", False),
        ("/a b/", "a b/c.mp4", True),
        ("/日本/", "日本/語.mp4", True),
    ],
)
def test_directories(directory: str, key: str, expected: bool) -> None:
    """A directory covers what is below it, at any depth, and nothing beside it."""
    assert matches(cos(directory), key) is expected


def test_region_counts_only_where_the_storage_has_one() -> None:
    """The same workflow works over a directory on a laptop and over a bucket in its region."""
    assert matches(cos(), "a.mp4")
    assert matches(cos(), "a.mp4", region="ap-x")
    assert not matches(cos(), "a.mp4", region="ap-y")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"Dir": "up/"}, "Dir: 'up/' must start and end with '/'"),
        ({"Dir": "/up"}, "Dir: '/up' must start and end"),
        ({"Dir": "/a/../b/"}, "must not contain"),
        ({"Formats": ["mp4!"]}, "Formats: 'mp4!' is not a file extension"),
        ({"Formats": ["x" * 65]}, "is not a file extension"),
        ({"Bucket": ""}, "Bucket: "),
        ({"Region": None}, "Region: is required"),
    ],
)
def test_mistakes_name_their_field(changes: dict[str, Any], problem: str) -> None:
    """Each mistake is a sentence behind the path the person wrote."""
    rule = {"Bucket": "b", "Region": "r"} | changes
    with pytest.raises(ConfigurationError) as caught:
        wire.decode(Trigger, {"Type": "CosFileUpload", "CosFileUploadTrigger": rule})
    assert problem in str(caught.value)
    assert "CosFileUploadTrigger" in str(caught.value)


def test_the_rule_has_to_fit_the_type() -> None:
    """A trigger without its rule, or with the other one, is refused."""
    with pytest.raises(ConfigurationError, match="CosFileUploadTrigger is required when Type is CosFileUpload"):
        wire.decode(Trigger, {"Type": "CosFileUpload"})
    with pytest.raises(ConfigurationError, match="does not go with"):
        wire.decode(
            Trigger,
            {
                "Type": "CosFileUpload",
                "CosFileUploadTrigger": {"Bucket": "b", "Region": "r"},
                "AwsS3FileUploadTrigger": {"S3Bucket": "b", "S3Region": "r"},
            },
        )


NAMES = st.text(alphabet="ab./ é", min_size=1, max_size=12)


@given(
    rules=st.lists(
        st.tuples(
            st.sampled_from(["/", "/a/", "/a/b/", "/b/", "/é/"]),
            st.sampled_from([["mp4"], ["*"], ["a", "b"], []]),
        ),
        max_size=8,
    ),
    key=NAMES,
)
def test_the_index_agrees_with_the_rules(rules: list[tuple[str, list[str]]], key: str) -> None:
    """What the index finds is what each rule, looked at alone, would match."""
    triggers = [cos(directory, formats) for directory, formats in rules]
    index = TriggerIndex([(trigger, number) for number, trigger in enumerate(triggers)], {})
    expected = [
        number
        for number, trigger in enumerate(triggers)
        if not key.endswith("/") and all(p.holds for p in explain(trigger, "b-1250000000", None, key))
    ]
    assert sorted(index.match("b-1250000000", key)) == expected


def test_extension_of() -> None:
    """A leading dot makes a hidden file, not an extension."""
    found = [extension_of(key) for key in ("a.MP4", "a/b.c/d", ".mp4", "a.", "x.tar.gz")]
    assert found == ["mp4", "", "", "", "gz"]
