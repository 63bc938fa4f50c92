"""What a bucket's notification configuration leaves out, and one that does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from watcher.coverage import gaps, mended, queue_gaps

ARN = "arn:aws:sqs:us-east-1:000000000000:events"


def rule(*events: str, prefix: str = "", suffix: str = "", arn: str = ARN, id_: str = "x") -> dict[str, Any]:
    filters = [{"Name": "Prefix", "Value": prefix}] * bool(prefix) + [{"Name": "suffix", "Value": suffix}] * bool(
        suffix
    )
    made: dict[str, Any] = {"Id": id_, "QueueArn": arn, "Events": list(events or ("s3:ObjectCreated:*",))}
    return {**made, "Filter": {"Key": {"FilterRules": filters}}} if filters else made


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], "nothing is told"),
        ([rule(arn="arn:other")], "nothing is told"),
        ([rule()], ""),
        ([rule(prefix="in/")], ""),
        ([rule(prefix="in/", suffix=".mp4")], "no rule is wide enough for keys below 'in/'"),
        ([rule(prefix="in/deep/")], "no rule is wide enough"),
        ([rule("s3:ObjectCreated:Put")], "uploads by forms, copies, uploads in parts are not told"),
        (
            [
                rule("s3:ObjectCreated:Put", "s3:ObjectCreated:Post"),
                rule("s3:ObjectCreated:Copy", "s3:ObjectCreated:CompleteMultipartUpload"),
            ],
            "",
        ),
    ],
)
def test_gaps(rules: list[dict[str, Any]], expected: str) -> None:
    """Missing, too narrow, or without uploads in parts; and complete ones."""
    found = gaps({"QueueConfigurations": rules}, ARN, ["in/"])
    assert expected in "; ".join(found)
    assert bool(found) == bool(expected)
    after = mended({"QueueConfigurations": rules, "ResponseMetadata": {}}, ARN, ["in/"])
    assert gaps(after, ARN, ["in/"]) == []
    assert "ResponseMetadata" not in after


def test_what_others_set_up_stays() -> None:
    """Rules to other queues, topics and functions are not ours to remove."""
    before = {
        "QueueConfigurations": [rule(arn="arn:other"), rule(id_="watcher-0", prefix="old/")],
        "TopicConfigurations": [{"TopicArn": "t"}],
        "EventBridgeConfiguration": {},
    }
    after = mended(before, ARN, ["", "b/"])
    assert after["QueueConfigurations"][0] == rule(arn="arn:other")
    assert [item["Id"] for item in after["QueueConfigurations"][1:]] == ["watcher-0", "watcher-1"]
    assert after["TopicConfigurations"] == [{"TopicArn": "t"}]
    assert "EventBridgeConfiguration" in after


def test_other_ways_can_not_be_looked_into() -> None:
    """A topic, or EventBridge, may well send to the queue."""
    assert gaps({"TopicConfigurations": [{}]}, ARN, ["in/"]) == []
    assert gaps({"EventBridgeConfiguration": {}}, ARN, ["in/"]) == []


def statement(action: Any, effect: str = "Allow") -> dict[str, Any]:
    return {"Effect": effect, "Principal": {"Service": "s3.amazonaws.com"}, "Action": action, "Resource": ARN}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, ""),
        ({"MaximumMessageSize": "262144", "RedrivePolicy": json.dumps({"maxReceiveCount": 10})}, ""),
        ({"MaximumMessageSize": "1024"}, "notifications may not fit"),
        ({"RedrivePolicy": json.dumps({"maxReceiveCount": "2"})}, "after 2 receives"),
        ({"RedrivePolicy": "{"}, ""),
        ({"Policy": json.dumps({"Statement": [statement("sqs:SendMessage")]})}, ""),
        ({"Policy": json.dumps({"Statement": statement(["SQS:ReceiveMessage", "SQS:*"])})}, ""),
        ({"Policy": json.dumps({"Statement": [statement("sqs:ReceiveMessage")]})}, "lets nobody send"),
        ({"Policy": json.dumps({"Statement": [statement("sqs:SendMessage", "Deny")]})}, "lets nobody send"),
        ({"Policy": "of another kind"}, ""),
    ],
)
def test_queues(attributes: dict[str, str], expected: str) -> None:
    """A queue that messages do not fit in, that puts them aside too soon, or that nobody may send to."""
    found = queue_gaps(attributes)
    assert expected in "; ".join(found)
    assert bool(found) == bool(expected)
