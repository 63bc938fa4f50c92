"""Whether buckets tell of what enabled workflows wait for: their notification configurations, read and completed.

What has no notification is found by a sweep only, which is later; so this is a matter of speed, never of loss.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from watcher.catalog import Catalog
from watcher.errors import PermanentError, WatcherError
from watcher.settings import Settings
from watcher.sources.sqs import SqsSource
from watcher.storage.s3 import S3Storage

CREATED = "s3:ObjectCreated:*"
WAYS = {
    "s3:ObjectCreated:Put": "uploads in one piece",
    "s3:ObjectCreated:Post": "uploads by forms",
    "s3:ObjectCreated:Copy": "copies",
    "s3:ObjectCreated:CompleteMultipartUpload": "uploads in parts",
}
OURS = "watcher"
"""What the ids of the rules begin with that ``--apply`` writes."""
SMALL = 64 * 1024


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that notifications of a storage lack; ``mended`` is a configuration with it, where one can be made."""

    storage: str
    message: str
    mended: dict[str, Any] | None = None


def gaps(configuration: Mapping[str, Any], queue_arn: str, prefixes: Iterable[str]) -> list[str]:
    """What a bucket's configuration does not tell this queue, of keys that begin with one of the prefixes."""
    rules = [rule for rule in configuration.get("QueueConfigurations", []) if rule.get("QueueArn") == queue_arn]
    others = any(configuration.get(kind) for kind in ("TopicConfigurations", "LambdaFunctionConfigurations"))
    if not rules and (others or "EventBridgeConfiguration" in configuration):
        return []  # through something else, which can't be looked into from here
    if not rules:
        return [f"nothing is told to the queue {queue_arn}"]
    found: list[str] = []
    for prefix in prefixes:
        of_prefix = [rule for rule in rules if _covers(rule, prefix)]
        where = f"keys below {prefix!r}" if prefix else "all keys"
        if not of_prefix:
            found.append(f"no rule is wide enough for {where}: their prefixes and suffixes leave some out")
            continue
        events = {event for rule in of_prefix for event in rule.get("Events", [])}
        lacking = [text for event, text in WAYS.items() if event not in events]
        if CREATED not in events and lacking:
            found.append(f"of {where}, {', '.join(lacking)} are not told")
    return found


def _covers(rule: Mapping[str, Any], prefix: str) -> bool:
    given = {str(item["Name"]).lower(): str(item["Value"]) for item in _filters(rule)}
    return prefix.startswith(given.get("prefix", "")) and not given.get("suffix", "")


def _filters(rule: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = rule.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    return found


def mended(configuration: Mapping[str, Any], queue_arn: str, prefixes: Sequence[str]) -> dict[str, Any]:
    """The configuration with a rule for each prefix; rules of others stay, earlier ones of ours go.

    S3 refuses rules that overlap, so that narrower ones to the same queue give way.
    """
    kept = {name: value for name, value in configuration.items() if name.endswith(("Configurations", "Configuration"))}
    rules = [
        rule
        for rule in kept.get("QueueConfigurations", [])
        if not str(rule.get("Id", "")).startswith(OURS) and rule.get("QueueArn") != queue_arn
    ]
    for number, prefix in enumerate(prefixes):
        rule: dict[str, Any] = {"Id": f"{OURS}-{number}", "QueueArn": queue_arn, "Events": [CREATED]}
        if prefix:
            rule["Filter"] = {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}}
        rules.append(rule)
    return {**kept, "QueueConfigurations": rules}


async def look(settings: Settings, catalog: Catalog) -> list[Gap]:
    """The gaps of all buckets that enabled workflows watch, where there is a queue to be told; storages are open."""
    queues = [source for source in settings.sources.values() if isinstance(source, SqsSource)]
    if not queues:
        return []
    found: list[Gap] = []
    facts = [(queue, await queue.attributes()) for queue in queues]
    for queue, attributes in facts:
        found += [Gap(f"sources.{queue.name}", message) for message in queue_gaps(attributes)]
    for name, storage in settings.storages.items():
        prefixes = list(catalog.watched(name))
        if not isinstance(storage, S3Storage) or not prefixes:
            continue
        try:
            configuration = await storage.notifications()
        except PermanentError as error:
            found.append(Gap(f"storages.{name}", f"its notification configuration can't be read: {error}"))
            continue
        arns = [str(attributes["QueueArn"]) for _, attributes in facts]
        missing = min((gaps(configuration, arn, prefixes) for arn in arns), key=len)
        if missing:
            message = "; ".join(missing) + ". Until then only sweeps find these objects"
            found.append(Gap(f"storages.{name}", message, mended(configuration, arns[0], prefixes)))
    return found


def queue_gaps(attributes: Mapping[str, str]) -> list[str]:
    """What is wrong with a queue, by its attributes (SQS's GetQueueAttributes): what it takes, from whom, how often."""
    found = []
    if "Policy" in attributes and not _lets_send(attributes["Policy"]):
        found.append("its policy lets nobody send: allow sqs:SendMessage to s3.amazonaws.com (or sns, or events)")
    if int(attributes.get("MaximumMessageSize", SMALL)) < SMALL:
        found.append("MaximumMessageSize is so small that notifications may not fit")
    try:
        most = int(json.loads(attributes.get("RedrivePolicy", "{}")).get("maxReceiveCount", 100))
    except (ValueError, TypeError, AttributeError):
        most = 100
    if most < 5:
        found.append(f"after {most} receives a message goes to the dead-letter queue: a few restarts would do that")
    return found


def _lets_send(policy: str) -> bool:
    """Whether a policy allows anybody to send; one that can't be read is left to the service to judge."""
    try:
        statements = json.loads(policy)["Statement"]
        allowed = [_several(item["Action"]) for item in _several(statements) if item["Effect"] == "Allow"]
    except (ValueError, TypeError, KeyError):
        return True
    return any(fnmatchcase("sqs:sendmessage", str(action).lower()) for actions in allowed for action in actions)


def _several(value: Any) -> list[Any]:
    """The language of policies writes one without a list."""
    return value if isinstance(value, list) else [value]


async def apply(settings: Settings, gap: Gap) -> None:
    """Write the mended configuration; raises WatcherError when the store refuses it."""
    storage = settings.storages[gap.storage.removeprefix("storages.")]
    if not isinstance(storage, S3Storage) or gap.mended is None:
        raise WatcherError(f"{gap.storage} can't be mended from here")
    await storage.set_notifications(gap.mended)
