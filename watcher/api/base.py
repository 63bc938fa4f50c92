"""What actions share: who calls, what is there to be called, and the table that they are entered in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Any, Generic, TypeVar

from watcher.api.pictures import Pictures
from watcher.catalog import Catalog
from watcher.errors import ConfigurationError
from watcher.model.base import Value
from watcher.mps import wire
from watcher.mps.faults import RequestError, fault_of
from watcher.outside import Guard
from watcher.settings import Settings
from watcher.state.store import State
from watcher.worker import Worker

R = TypeVar("R")
V = TypeVar("V", bound=Value)

PROBES = 2
"""Files that are looked at for calls at the same time."""

Body = dict[str, Any]
"""A request's or an answer's members, with wire names."""


class Rights(IntEnum):
    """What a key pair may do; each includes those before it."""

    NONE = 0
    READ = 1
    OPERATOR = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed a request. ``buckets`` are patterns."""

    secret_id: str
    secret_key: str = field(repr=False)
    rights: Rights
    buckets: tuple[str, ...] = ("*",)

    def may(self, bucket: str) -> bool:
        """Whether it may name a bucket, or see what concerns it."""
        return any(fnmatchcase(bucket, pattern) for pattern in self.buckets)

    @property
    def everywhere(self) -> bool:
        """Whether it may name all of them."""
        return "*" in self.buckets


@dataclass(slots=True)
class Service:
    """The daemon's parts that actions use. ``wake`` says that there are new tasks, ``end`` that one is unwanted;
    ``guard`` which addresses requests may name.
    """

    settings: Settings
    state: State
    worker: Worker
    pictures: Pictures
    guard: Guard
    current: Callable[[], Catalog]
    wake: Callable[[], None]
    end: Callable[[str], None]
    probing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PROBES))
    """Held while something is looked at for a call: each look is a process."""

    @property
    def catalog(self) -> Catalog:
        """What is in force now."""
        return self.current()


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """One call of an action: its request, who makes it, when, and under which address the service was called."""

    request: R
    caller: Caller
    now: float
    origin: str


@dataclass(frozen=True, slots=True)
class Action:
    """An action by name. ``rate`` is in calls a second, for each key pair; ``read`` makes its request of a body."""

    name: str
    rate: int
    rights: Rights
    read: Callable[[Body], Any]
    run: Callable[[Service, Call[Any]], Awaitable[Body]]
    model: type[Value] | None = None

    @property
    def changes(self) -> bool:
        """Whether the state is another afterwards."""
        return self.rights > Rights.READ


def action(
    name: str,
    rate: int,
    rights: Rights,
    model: type[V],
    run: Callable[[Service, Call[V]], Awaitable[Body]],
    *,
    codes: frozenset[str] = frozenset(),
) -> Action:
    """An action whose request is a model."""

    def read(body: Body) -> V:
        return decoded(model, body, codes)

    return Action(name, rate, rights, read, run, model)


def decoded(model: type[V], body: Mapping[str, Any], codes: frozenset[str] = frozenset()) -> V:
    """A request as its model; raises RequestError that names all that is wrong."""
    try:
        return wire.decode(model, dict(body))
    except ConfigurationError as error:
        raise fault_of(error.problems, codes) from None


def not_there(what: str, number: object) -> RequestError:
    """There is no template, workflow or schedule of this id: the contract has one code for all three."""
    return RequestError("ResourceNotFound.TemplateNotExist", f"there is no {what} {number}")


def page(items: list[Any], offset: int, limit: int) -> list[Any]:
    """A part of a list."""
    return items[offset : offset + limit]
