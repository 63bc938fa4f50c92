"""Golden messages of every dialect, and strangers of every kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.sources._dialects import MAX_BODY, Heard, decode

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_messages(path: Path) -> None:
    """Buckets, keys to the byte, and versions; and what of a message needs nothing, or a person."""
    case = json.loads(path.read_text())
    found = decode(json.dumps(case["message"]), streamed=case["streamed"])
    assert [[heard.bucket, heard.key, heard.version_id] for heard in found.heard] == case["heard"]
    assert (found.irrelevant, len(found.strange)) == (case["irrelevant"], case["strange"])
    assert list(found.sweep) == case.get("sweep", [])


def test_marks_tell_changes_apart() -> None:
    """A message that comes twice has the same mark; another change of the key has another one, also without order."""

    def mark(**found: str) -> bytes | None:
        record = {
            "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": found.pop("when", "t"),
            "s3": {"bucket": {"name": "b"}, "object": {"key": "k", **found}},
        }  # fmt: skip
        return decode(json.dumps({"Records": [record]})).heard[0].mark

    assert mark(sequencer="0A") == mark(sequencer="0a00") != mark(sequencer="0A01")
    assert mark(eTag="x") == mark(eTag="x") != mark(eTag="x", when="later")
    assert mark(sequencer="no number", eTag="x") == mark(eTag="x", sequencer="nor this one")


def test_a_restored_object_is_heard_of() -> None:
    """Whatever was known of it, it has to be looked at again: so it has no mark."""
    for body in (
        _s3("k", "aws:s3", "ObjectRestore:Completed"),
        json.dumps(
            {
                "source": "aws.s3",
                "detail-type": "Object Restore Completed",
                "detail": {"bucket": {"name": "b"}, "object": {"key": "k", "sequencer": "0A"}},
            }
        ),
    ):
        found = decode(body)
        assert found.heard == (Heard("b", "k"),)
        assert found.heard[0].mark is None


KEYS = [
    "a b", "a+b", "a%2Bb", "%20", "%%%", "é", "e\u0301", "日本語", "🎬.mp4", "//x", "../x", "/lead", "\x01", "x" * 1024,
    "?&=#", "line\nbreak", "a/b/c.mp4", "%E9", "100%", "+", "dir/",
]  # fmt: skip


def _s3(key: str, source: str, name: str = "ObjectCreated:Put") -> str:
    record = {"eventSource": source, "eventName": name, "s3": {"bucket": {"name": "b"}, "object": {"key": key}}}
    return json.dumps({"Records": [record]})


@pytest.mark.parametrize("key", KEYS)
def test_keys_are_exact_in_every_dialect(key: str) -> None:
    """The same object heard of by two dialects is one; two objects are never taken for one."""
    expected = (Heard("b", key),)
    for escaped in (quote_plus(key, safe="/"), quote_plus(key)):
        for source in ("aws:s3", "minio:s3", "ceph:s3"):
            assert decode(_s3(escaped, source)).heard == expected
        envelope = {"Type": "Notification", "TopicArn": "t", "Message": _s3(escaped, "aws:s3")}
        assert decode(json.dumps(envelope)).heard == expected
    assert decode(_s3(key, "minio:s3"), streamed=True).heard == expected
    detail = {"bucket": {"name": "b"}, "object": {"key": key}}
    assert decode(json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": detail})).heard == expected
    cos = {"cosBucket": {"name": "b", "appid": "125"}, "cosObject": {"key": f"/125/b/{key}", "vid": ""}}
    function = {"Records": [{"cos": cos, "event": {"eventName": "cos:ObjectCreated:Put"}}]}
    assert decode(json.dumps(function)).heard == (Heard("b-125", key),)
    assert quote(key)  # every one of them can be written in an address


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "not JSON"),
        ("hello", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        ("7", "no object in JSON"),
        ("null", "no object in JSON"),
        ("{}", "no dialect"),
        ('{"Records": "x"}', "no dialect"),
        ("[" * 100_000, "nested too deep"),
        ('{"Type": "Notification", "TopicArn": "t", "Message": "hello"}', "not JSON"),
        ('{"Type": "Notification", "TopicArn": "t"}', "without a message"),
        (
            json.dumps({"Type": "Notification", "Message": json.dumps({"Type": "Notification", "Message": "{}"})}),
            "without",
        ),
        (" " * (MAX_BODY + 1), "more than"),
    ],
)
def test_strangers(body: str | bytes, reason: str) -> None:
    """Each with a sentence of its own."""
    found = decode(body)
    assert found.heard == ()
    assert reason in found.strange[0]


WORDS = [
    "Records",
    "records",
    "s3",
    "object",
    "bucket",
    "key",
    "name",
    "eventName",
    "eventSource",
    "cos",
    "event",
    "cosObject",
    "cosBucket",
    "detail",
    "source",
    "Type",
    "Message",
    "data",
    "type",
]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(WORDS),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(anything)
def test_anything_is_read_or_kept(message: Any) -> None:
    """Nothing that is JSON ends in an error, and nothing vanishes."""
    found = decode(json.dumps(message))
    assert found.heard or found.irrelevant or found.strange or _empty(message)


def _empty(message: Any) -> bool:
    """A list without records in it says nothing, and there is nothing to keep."""
    if isinstance(message, list):
        return all(_empty(item) for item in message)
    return isinstance(message, dict) and [] in (message.get("Records"), message.get("records"))
