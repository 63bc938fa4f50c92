"""From a message to object events of the storages that are configured; what can't be read is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from watcher import log
from watcher.model.objects import ObjectEvent, Strange
from watcher.sources._dialects import decode
from watcher.sources.base import Delivery

_log = log.get("source")


@dataclass(frozen=True, slots=True)
class Read:
    """What a message said."""

    events: tuple[ObjectEvent, ...]
    irrelevant: int
    strange: tuple[Strange, ...]
    sweep: tuple[str, ...] = ()

    def delivery(self, acknowledge: Callable[[], Awaitable[None]], release: Callable[[], Awaitable[None]]) -> Delivery:
        """As a delivery."""
        return Delivery(self.events, acknowledge, release, self.irrelevant, self.strange, sweep=self.sweep)


def read_message(body: str | bytes, source: str, storages: Mapping[str, str], *, streamed: bool = False) -> Read:
    """The object events in a message; ``storages`` are names of storages by names of buckets."""
    decoded = decode(body, streamed=streamed)
    events: list[ObjectEvent] = []
    reasons = list(decoded.strange)
    for heard in decoded.heard:
        storage = storages.get(heard.bucket)
        if storage is None:
            reasons.append(f"there is no storage for the bucket {heard.bucket!r}")
        else:
            events.append(ObjectEvent(storage, heard.key, source, version_id=heard.version_id, mark=heard.mark))
    sweep = tuple(storages[bucket] for bucket in decoded.sweep if bucket in storages)
    irrelevant = decoded.irrelevant + len(decoded.sweep)
    if not reasons:
        return Read(tuple(events), irrelevant, (), sweep)
    reason = "; ".join(dict.fromkeys(reasons))[:500]
    _log.warning("message goes into quarantine", source=source, reason=reason)
    raw = body.encode("utf-8", "surrogateescape") if isinstance(body, str) else body
    return Read(tuple(events), irrelevant, (Strange(source, reason, raw),), sweep)


def storages_by_bucket(storages: Mapping[str, object], further: Mapping[str, str]) -> dict[str, str]:
    """Names of storages by names of buckets; ``further`` are those that the settings say."""
    return {str(getattr(storage, "bucket", name)): name for name, storage in storages.items()} | dict(further)
