"""Where the events of a task go, as texts that the outbox keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping

from watcher.model.order import Order, TaskNotifyConfig
from watcher.notifiers.base import Notifier


def destinations_of(order: Order, notifiers: Mapping[str, Notifier], mode: str) -> tuple[str, ...]:
    """Where an event of a workflow's task goes: its own configuration, and the notifiers of the settings.

    ``mode`` is ``Finish`` for the event of the end, ``Change`` for one on the way.
    """
    wanted = {name for name, notifier in notifiers.items() if mode == "Finish" or notifier.mode == "Change"}
    found = {_notifier(name) for name in wanted}
    config = order.task_notify_config
    if config is not None and (mode == "Finish" or config.notify_mode == "Change"):
        found.add(_notifier(config.notifier) if config.notifier else _url(config, order))
    return tuple(sorted(found))


def _notifier(name: str) -> str:
    return json.dumps({"notifier": name})


def _url(config: TaskNotifyConfig, order: Order) -> str:
    return json.dumps({"url": config.notify_url, "key": config.notify_key, "trusted": order.trusted})


def describe(destination: str) -> str:
    """A destination for a person, without its key."""
    data = json.loads(destination)
    return str(data.get("notifier") or data.get("url"))
