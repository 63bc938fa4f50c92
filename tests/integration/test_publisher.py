"""From the outbox to notifiers: in order, at least once, and one that is away holds up no other."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests import parts
from watcher import publisher as module
from watcher.destinations import describe, destinations_of
from watcher.errors import PermanentError, TransientError
from watcher.mps import files
from watcher.notifiers.base import Message
from watcher.notifiers.memory import MemoryNotifier, Options
from watcher.publisher import Publisher
from watcher.state.store import State
from watcher.state.tasks import OutgoingEvent, add_events


@pytest_asyncio.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    """An empty state."""
    async with State(tmp_path / "s.db") as made:
        yield made


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACK_OFF", (0.01,))
    monkeypatch.setattr(module, "IDLE", 0.05)


async def put(state: State, number: int, *destinations: str) -> None:
    event = OutgoingEvent(f"e{number}", destinations, {"EventId": f"e{number}", "WorkflowName": "w"})
    await state.database.run(lambda connection: add_events(connection, "t", [event]))


async def run(state: State, *notifiers: MemoryNotifier) -> None:
    publisher = Publisher(state, {notifier.name: notifier for notifier in notifiers})
    task = asyncio.create_task(publisher.run())
    await publisher.flush(5)
    task.cancel()
    await asyncio.wait([task])


A, B = '{"notifier": "a"}', '{"notifier": "b"}'


async def test_events_arrive_in_order(state: State) -> None:
    """Each destination gets all of its events, oldest first."""
    a, b = MemoryNotifier("a", Options()), MemoryNotifier("b", Options())
    for number in range(20):
        await put(state, number, A, B)
    await run(state, a, b)
    expected = [f"e{number}" for number in range(20)]
    assert [message.event_id for message in a.received] == expected
    assert [message.event_id for message in b.received] == expected
    assert await state.outbox.backlog() == {"DELIVERED": 40}


async def test_one_that_is_away_holds_up_no_other(state: State) -> None:
    """Its own events wait, in order, and go out when it is back."""
    a, b = MemoryNotifier("a", Options()), MemoryNotifier("b", Options())
    a.fail_with = TransientError("away")
    for number in range(3):
        await put(state, number, A, B)
    publisher = Publisher(state, {"a": a, "b": b})
    task = asyncio.create_task(publisher.run())
    async with asyncio.timeout(10):
        while len(b.received) < 3:
            await asyncio.sleep(0.01)
    assert a.received == []
    a.fail_with = None
    assert await publisher.flush(10)
    assert [message.event_id for message in a.received] == ["e0", "e1", "e2"]
    task.cancel()
    await asyncio.wait([task])


async def test_a_refused_event_is_dead_and_the_next_goes_on(state: State) -> None:
    """It stays visible with its reason, until somebody retries it."""
    a = MemoryNotifier("a", Options())
    a.fail_with = PermanentError("410 Gone")
    await put(state, 0, A)
    await run(state, a)
    (delivery,) = await state.outbox.of_task("t")
    assert (delivery.status, delivery.error, delivery.attempts) == ("DEAD", "410 Gone", 1)
    a.fail_with = None
    await put(state, 1, A)
    await run(state, a)
    assert await state.outbox.revive("t") == 1
    await run(state, a)
    assert [message.event_id for message in a.received] == ["e1", "e0"]


async def test_an_old_event_is_given_up_after_many_tries(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that was set forward makes all events look old: one failure then gives nothing up."""
    monkeypatch.setattr(module, "GIVE_UP_AFTER", -1.0)

    class Away(MemoryNotifier):
        """Fails so many times."""

        times = 5

        async def publish(self, message: Message) -> None:
            self.times -= 1
            self.fail_with = TransientError("away") if self.times >= 0 else None
            await super().publish(message)

    a = Away("a", Options())
    for number in range(3):
        await put(state, number, A)
    await run(state, a)
    assert [message.event_id for message in a.received] == ["e0", "e1", "e2"]
    await put(state, 3, A)
    await put(state, 4, A)
    a.times = module.GIVE_UP_TRIES + 1
    await run(state, a)
    assert [item.event_id for item in await state.outbox.of_task("t") if item.status == "DEAD"] == ["e3", "e4"]


async def test_urls_of_workflows_are_signed(state: State, receiver: parts.HttpReceiver) -> None:
    """`Sign` is what the contract says: md5 of Timestamp and NotifyKey, not expired (tasks.md, section 8.2)."""
    body = parts.workflow(
        "b", TaskNotifyConfig={"NotifyType": "URL", "NotifyUrl": f"{receiver.url}/x?a=1", "NotifyKey": "k"}
    )
    (destination,) = destinations_of(files.decode_workflow(body, "w.yaml"), {}, "Finish")
    assert describe(destination) == f"{receiver.url}/x?a=1"
    await put(state, 0, destination)
    await run(state)
    (request,) = receiver.requests
    stamp = request.event["Timestamp"]
    assert stamp > time.time()
    assert request.event["Sign"] == hashlib.md5(f"{stamp}k".encode()).hexdigest()
    assert request.path == "/x?a=1"


@pytest.mark.parametrize(
    ("config", "mode", "expected"),
    [
        (None, "Finish", ["all", "changes"]),
        (None, "Change", ["changes"]),
        ({"NotifyType": "URL", "NotifyUrl": "http://x"}, "Finish", ["all", "changes", "http://x"]),
        ({"NotifyType": "URL", "NotifyUrl": "http://x"}, "Change", ["changes"]),
        ({"NotifyType": "URL", "NotifyUrl": "http://x", "NotifyMode": "Change"}, "Change", ["changes", "http://x"]),
        ({"NotifyType": "TDMQ-CMQ", "QueueName": "all"}, "Finish", ["all", "changes"]),
        ({"NotifyType": "CMQ", "TopicName": "all", "NotifyMode": "Change"}, "Change", ["all", "changes"]),
    ],
)
def test_destinations(config: dict[str, str] | None, mode: str, expected: list[str]) -> None:
    """The notifiers of the settings, and what the workflow asks for, each once, by their mode."""
    every, changes = MemoryNotifier("all", Options()), MemoryNotifier("changes", Options())
    changes.mode = "Change"
    workflow = files.decode_workflow(parts.workflow("b", TaskNotifyConfig=config), "w.yaml")
    found = destinations_of(workflow, {"all": every, "changes": changes}, mode)
    assert sorted(describe(destination) for destination in found) == expected
