"""The contract of a notifier: take one task event, whole, or raise."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from watcher import plugin

Mode = Literal["Finish", "Change"]
Format = Literal["mps", "cloudevents"]
CONTENT_TYPES: dict[Format, str] = {"mps": "application/json", "cloudevents": "application/cloudevents+json"}


class EventOptions(plugin.Options):
    """Which events a notifier gets, and how they are written."""

    mode: Mode = "Finish"
    """``Finish``: one event when a task ends. ``Change``: also one for each change of a sub-task."""
    format: Format = "mps"
    """``mps``: the body that MPS sends. ``cloudevents``: that body as the ``data`` of a CloudEvent 1.0 in JSON."""


@dataclass(frozen=True, slots=True)
class Message:
    """A task event as it is sent. The same event sent again has the same ``event_id``."""

    event_id: str
    task_id: str
    workflow: str
    body: bytes

    @property
    def places(self) -> dict[str, str]:
        """What is filled in for each of :data:`PLACES`."""
        return {"task_id": self.task_id, "workflow": self.workflow, "event_id": self.event_id}


PLACES = ("task_id", "workflow", "event_id")
"""What can be filled into a topic, a routing key and the like."""


def check_places(value: str) -> str:
    """A text with places to be filled in; raises ValueError for one that there is not."""
    unknown = [name for name in re.findall(r"\{([^}]*)\}", value) if name not in PLACES]
    if unknown:
        raise ValueError(f"there is no {{{unknown[0]}}}; use {', '.join(f'{{{place}}}' for place in PLACES)}")
    return value


class Notifier(ABC):
    """One destination. It keeps no queue and does not retry: the outbox does both, for all of them."""

    name: str
    mode: Mode = "Finish"
    """Which events of a task it gets."""
    format: Format = "mps"
    """How they are written."""

    def told(self, options: EventOptions) -> None:
        """Take over what the options say of events."""
        self.mode, self.format = options.mode, options.format

    @property
    def content_type(self) -> str:
        """The media type of what it sends."""
        return CONTENT_TYPES[self.format]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    @abstractmethod
    async def publish(self, message: Message) -> None:
        """Return when the destination has confirmed the event.

        Raises TransientError when it may be tried again, PermanentError when the destination will never take it.
        """

    async def check(self) -> None:  # noqa: B027  most can be checked, those that need nothing can stay as they are
        """Raise a WatcherError, in words for a person, unless the destination can be reached."""
