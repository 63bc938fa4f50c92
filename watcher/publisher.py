"""From the outbox to the notifiers: at least once, in order per destination, a dead one never holds up another."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack

from pydantic import HttpUrl, ValidationError

from watcher import log
from watcher.destinations import describe
from watcher.errors import PermanentError, TransientError
from watcher.mps import events
from watcher.notifiers.base import Message, Notifier
from watcher.notifiers.webhook import Options as WebhookOptions
from watcher.notifiers.webhook import WebhookNotifier
from watcher.outside import Guard
from watcher.state.outbox import Pending
from watcher.state.store import State

_log = log.get("publisher")

BACK_OFF = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
GIVE_UP_AFTER = 24 * 3600.0
"""Seconds after which an event that could not be delivered is dead, to be retried by hand."""
GIVE_UP_TRIES = 12
"""A destination failed at least so often in a row before that: a clock that was set forward gives up nothing."""
IDLE = 5.0
LEASE = 400.0
"""Seconds for which one daemon tells a destination: longer than the longest pause."""


class Publisher:
    """Runs one worker per destination that has something waiting."""

    def __init__(
        self, state: State, notifiers: Mapping[str, Notifier], guard: Guard | None = None, owner: str = ""
    ) -> None:
        """``guard`` decides which addresses the callbacks of requests may go to; ``owner`` is what this daemon is
        called among those that share the state."""
        self._owner = owner
        self._state = state
        self._notifiers = notifiers
        self._guard = guard or Guard()
        self._wake = asyncio.Event()
        self._urls: dict[str, Notifier] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._failures: Counter[str] = Counter()
        """How often each destination failed in a row."""
        self._stack = AsyncExitStack()
        self.progress = 0.0

    def wake(self) -> None:
        """There may be something to publish."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with self._stack, asyncio.TaskGroup() as group:
            for notifier in self._notifiers.values():
                await self._stack.enter_async_context(notifier)
            while True:
                self._wake.clear()
                try:
                    self._start_workers(group, await self._state.outbox.destinations())
                except TransientError as error:
                    _log.error("the outbox can't be read", error=str(error))
                self.progress = time.monotonic()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), IDLE)

    def _start_workers(self, group: asyncio.TaskGroup, destinations: set[str]) -> None:
        for destination in destinations:
            worker = self._workers.get(destination)
            if worker is None or worker.done():
                name = f"publish to {describe(destination)}"
                self._workers[destination] = group.create_task(self._drain(destination), name=name)

    async def flush(self, timeout: float) -> bool:
        """Wait until nothing is pending, or ``timeout`` seconds; whether all went out."""
        deadline = time.monotonic() + timeout
        while await self._state.outbox.destinations():
            self.wake()
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def _drain(self, destination: str) -> None:
        """Send what waits for one destination, in order; ends when nothing is left."""
        try:
            while await self._leads(destination) and (pending := await self._state.outbox.next(destination)):
                for event in pending:
                    if not await self._send(event):
                        await asyncio.sleep(BACK_OFF[min(self._failures[destination], len(BACK_OFF)) - 1])
                        break
        except TransientError as error:  # the state, not the destination: the next look starts a new worker
            _log.error("the outbox can't be used", error=str(error))

    async def _leads(self, destination: str) -> bool:
        """Whether this daemon is the one that tells this destination, so that events stay in order."""
        if not self._state.database.shared:
            return True
        name = f"publish/{hashlib.blake2b(destination.encode(), digest_size=16).hexdigest()}"
        return await self._state.leases.take(name, self._owner, LEASE) is not None

    async def _send(self, event: Pending) -> bool:
        """Try once; False when the destination should be left alone for a while."""
        where = describe(event.destination)
        try:
            notifier, key = self._resolve(event.destination)
            body = events.render(event.body, key, time.time())
            if notifier.format == "cloudevents":
                body = events.cloud_event(body, event.event_id, event.create_time)
            workflow = str(event.body.get("WorkflowName", ""))
            await notifier.publish(Message(event.event_id, event.task_id, workflow, body))
        except TransientError as error:
            self._failures[event.destination] += 1
            tries = self._failures[event.destination]
            dead = tries >= GIVE_UP_TRIES and time.time() - event.create_time > GIVE_UP_AFTER
            await self._state.outbox.failed(event.seq, str(error), dead=dead)
            _log.warning("event not delivered", to=where, task=event.task_id, error=str(error), given_up=dead)
            return dead
        except PermanentError as error:
            del self._failures[event.destination]
            await self._state.outbox.failed(event.seq, str(error), dead=True)
            _log.error("event refused, given up", to=where, task=event.task_id, error=str(error))
            return True
        del self._failures[event.destination]
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
        if destination not in self._urls:
            try:
                options = WebhookOptions(url=HttpUrl(data["url"]))
            except ValidationError:
                raise PermanentError(f"{data['url']!r} is not a URL") from None
            # Those in workflow files are the machine's own; in older rows all were.
            guard = None if data.get("trusted", True) else self._guard
            self._urls[destination] = webhook = WebhookNotifier("NotifyUrl", options, guard)
            self._stack.push_async_exit(webhook.__aexit__)
        return self._urls[destination], str(data["key"])
