"""From the outbox to the notifiers: at least once, in order per destination, a dead one never holds up another."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from pydantic import HttpUrl, ValidationError

from watcher import log
from watcher.destinations import describe
from watcher.errors import PermanentError, TransientError
from watcher.mps import events
from watcher.notifiers.base import Message, Notifier
from watcher.notifiers.webhook import Options as WebhookOptions
from watcher.notifiers.webhook import Poster, WebhookNotifier
from watcher.outside import Guard
from watcher.state.outbox import Pending
from watcher.state.store import State
from watcher.together import is_set

_log = log.get("publisher")

BACK_OFF = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
GIVE_UP_AFTER = 24 * 3600.0
"""Seconds after which an event that could not be delivered is dead, to be retried by hand."""
GIVE_UP_TRIES = 12
"""A destination failed at least so often in a row before that: a clock that was set forward gives up nothing."""
IDLE = 5.0
EACH = 1e-4
"""Seconds between two looks into the outbox, for each destination that has something there."""
PUBLISH = "publish/"
"""What the names of the leases of destinations begin with."""
LEASE = 400.0
"""Seconds for which one daemon tells a destination: longer than the longest pause."""
SERVED = 60.0
"""Seconds for which one destination is told before another that waits has its turn."""
AT_ONCE = 64
"""Addresses that are told at the same time: those of workflow files, and those of requests. Notifiers do not wait."""


@dataclass(slots=True)
class _Line:
    """Events that wait for one destination. It waits for its turn, or until a pause is over, or is being served."""

    lane: _Lane
    failures: int = 0
    """How often the destination failed in a row."""
    more: bool = True
    """Whether there may be events in the outbox that were not looked at."""


@dataclass(slots=True)
class _Lane:
    """Destinations that do not take the place of others."""

    room: int
    ready: deque[str] = field(default_factory=deque)
    served: int = 0

    def following(self) -> str | None:
        """Whose turn it is, if there is room."""
        return self.ready.popleft() if self.ready and self.served < self.room else None


class Publisher:
    """Serves each destination that has something waiting, one at a time for each."""

    def __init__(
        self, state: State, notifiers: Mapping[str, Notifier], guard: Guard | None = None, owner: str = ""
    ) -> None:
        """``guard`` decides which addresses the callbacks of requests may go to; ``owner`` is what this daemon is
        called among those that share the state."""
        self._owner = owner
        self._state = state
        self._notifiers = notifiers
        # What workflow files name is the machine's own.
        self._posters = {True: Poster(), False: Poster(guard or Guard())}
        self._changed = asyncio.Event()
        self._asked = True
        self._lines: dict[str, _Line] = {}
        self._notified = _Lane(sys.maxsize)
        self._addresses = {True: _Lane(AT_ONCE), False: _Lane(AT_ONCE)}
        self.progress = 0.0

    def wake(self) -> None:
        """There may be something to publish."""
        self._asked = True
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for poster in self._posters.values():
                stack.push_async_callback(poster.close)
            for notifier in self._notifiers.values():
                await stack.enter_async_context(notifier)
            looked = -math.inf
            while True:
                self._changed.clear()
                due = looked + (EACH * len(self._lines) if self._asked else IDLE)
                if time.monotonic() >= due:
                    self._asked = False
                    await self._look()
                    looked = time.monotonic()
                    due = looked + IDLE
                self._serve_ready(group)
                self.progress = time.monotonic()
                await is_set(self._changed, due - time.monotonic())

    async def _look(self) -> None:
        """Take note of the destinations that events wait for."""
        try:
            found = await self._state.outbox.destinations()
        except TransientError as error:
            _log.error("the outbox can't be read", error=str(error))
            return
        for destination in found:
            if destination in self._lines:
                self._lines[destination].more = True
            else:
                data = json.loads(destination)
                lane = self._notified if "notifier" in data else self._addresses[bool(data.get("trusted", True))]
                self._lines[destination] = _Line(lane)
                self._queue(destination)

    def _queue(self, destination: str) -> None:
        self._lines[destination].lane.ready.append(destination)
        self._changed.set()

    def _serve_ready(self, group: asyncio.TaskGroup) -> None:
        for lane in (self._notified, *self._addresses.values()):
            while (destination := lane.following()) is not None:
                lane.served += 1
                group.create_task(self._serve(destination), name=f"publish to {describe(destination)}")

    async def flush(self, timeout: float) -> bool:
        """Wait until nothing is pending, or ``timeout`` seconds; whether all went out."""
        deadline = time.monotonic() + timeout
        while await self._state.outbox.destinations():
            self.wake()
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def _serve(self, destination: str) -> None:
        """Send what waits for one destination, in order, for a while; then it waits for its next turn, if need be."""
        line = self._lines[destination]
        pause = 0.0
        try:
            pause = await self._send_all(destination, line)
        except TransientError as error:  # the state, not the destination
            _log.error("the outbox can't be used", error=str(error))
            line.more, pause = True, IDLE
        finally:
            line.lane.served -= 1
            self._changed.set()
        if pause:
            asyncio.get_running_loop().call_later(pause, self._go_on, destination)
        else:
            self._go_on(destination)

    def _go_on(self, destination: str) -> None:
        if self._lines[destination].more:
            self._queue(destination)
        else:
            del self._lines[destination]

    async def _send_all(self, destination: str, line: _Line) -> float:
        """Seconds for which the destination should be left alone."""
        if not await self._leads(destination):
            line.more = False
            return IDLE
        until = time.monotonic() + SERVED
        while line.more and time.monotonic() < until:
            line.more = False
            for event in await self._state.outbox.next(destination):
                line.more = True
                if not await self._send(event, line):
                    return BACK_OFF[min(line.failures, len(BACK_OFF)) - 1]
                if time.monotonic() >= until:
                    break
        return 0.0

    async def _leads(self, destination: str) -> bool:
        """Whether this daemon is the one that tells this destination, so that events stay in order."""
        if not self._state.database.shared:
            return True
        name = f"{PUBLISH}{hashlib.blake2b(destination.encode(), digest_size=16).hexdigest()}"
        return await self._state.leases.take(name, self._owner, LEASE) is not None

    async def _send(self, event: Pending, line: _Line) -> bool:
        """Try once; False when the destination should be left alone for a while."""
        where = describe(event.destination)
        try:
            notifier, key = self._resolve(event.destination)
            body = events.render(event.body, key, time.time())
            if notifier.format == "cloudevents":
                body = events.cloud_event(body, event.event_id, event.create_time)
            workflow = str(event.body.get("WorkflowName", ""))
            await notifier.publish(Message(event.event_id, event.task_id, workflow, body))
        except PermanentError as error:
            line.failures = 0
            await self._state.outbox.failed(event.seq, str(error), dead=True)
            _log.error("event refused, given up", to=where, task=event.task_id, error=str(error))
            return True
        except Exception as error:
            if not isinstance(error, TransientError):  # a mistake in a notifier is no reason to end all others
                _log.exception("unexpected error")
            line.failures += 1
            dead = line.failures >= GIVE_UP_TRIES and time.time() - event.create_time > GIVE_UP_AFTER
            await self._state.outbox.failed(event.seq, str(error) or type(error).__name__, dead=dead)
            _log.warning("event not delivered", to=where, task=event.task_id, error=str(error), given_up=dead)
            return dead
        line.failures = 0
        await self._state.outbox.delivered(event.seq)
        self.progress = time.monotonic()
        return True

    def _resolve(self, destination: str) -> tuple[Notifier, str]:
        data = json.loads(destination)
        if "notifier" in data:
            notifier = self._notifiers.get(data["notifier"])
            if notifier is None:
                raise TransientError(f"there is no notifier {data['notifier']!r} in the settings")
            return notifier, ""
        try:
            options = WebhookOptions(url=HttpUrl(data["url"]))
        except ValidationError:
            raise PermanentError(f"{data['url']!r} is not a URL") from None
        poster = self._posters[bool(data.get("trusted", True))]
        return WebhookNotifier("NotifyUrl", options, poster), str(data["key"])
