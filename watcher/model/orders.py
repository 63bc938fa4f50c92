"""Reading orders back from the state, whichever kind they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watcher.model.image_request import ImageRequest
from watcher.model.media_request import MediaRequest
from watcher.model.order import Order
from watcher.model.schedule import Schedule
from watcher.model.workflow import Triggered, Workflow


def parse_order(body: Mapping[str, Any]) -> Order:
    """The order whose plain data this is."""
    if "input_info" in body:
        kind: type[Order] = ImageRequest if "image_task" in body else MediaRequest
        return kind.model_validate(body)
    return parse_triggered(body)


def parse_triggered(body: Mapping[str, Any]) -> Triggered:
    """The workflow or schedule whose plain data this is."""
    triggered: type[Triggered] = Schedule if "schedule_name" in body else Workflow
    return triggered.model_validate(body)
