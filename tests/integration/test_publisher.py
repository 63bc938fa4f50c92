"""From the outbox to notifiers: in order, at least once, and one that is away holds up no other."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import test_utils, web
from sqlalchemy import func, select

from tests import parts
from watcher import publisher as module
from watcher.destinations import describe, destinations_of
from watcher.errors import PermanentError, TransientError
from watcher.mps import files
from watcher.notifiers.base import Message
from watcher.notifiers.memory import MemoryNotifier, Options
from watcher.outside import Guard
from watcher.publisher import Publisher
from watcher.state import schema
from watcher.state._postgresql import PostgresqlBackend
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
    async with asyncio.timeout(30):
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


@asynccontextmanager
async def hooks(answer: Callable[[web.Request], Awaitable[None]]) -> AsyncIterator[str]:
    """A receiver that answers 200 after ``answer``; its address."""

    async def handle(request: web.Request) -> web.Response:
        await answer(request)
        return web.Response()

    app = web.Application()
    app.router.add_post("/{tail:.*}", handle)
    server = test_utils.TestServer(app)
    await server.start_server()
    yield str(server.make_url("/"))
    await server.close()


def address(url: str, *, trusted: bool = False) -> str:
    return json.dumps({"url": url, "key": "", "trusted": trusted})


async def test_many_addresses_take_turns(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each task may name one of its own: a few are told at once, over one pool of connections, each in its order."""
    monkeypatch.setattr(module, "AT_ONCE", 8)
    contexts: list[object] = []
    create = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda **given: contexts.append(1) or create(**given))
    got: dict[str, list[str]] = defaultdict(list)
    now = most = 0

    async def answer(request: web.Request) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        got[request.path].append(request.headers["X-Watcher-Event-Id"])
        now -= 1

    async with hooks(answer) as url:
        for number in range(3):
            await put(state, number, *(address(f"{url}{task}") for task in range(200)))
        assert len(await state.outbox.destinations()) == 200
        publisher = Publisher(state, {}, Guard(["127.0.0.1"]))
        task = asyncio.create_task(publisher.run())
        assert await publisher.flush(30)
        task.cancel()
        await asyncio.wait([task])
    assert got == {f"/{number}": ["e0", "e1", "e2"] for number in range(200)}
    assert 2 <= most <= 8
    assert len(contexts) == 1


async def test_addresses_that_hang_hold_up_no_other(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """What requests name takes no place of what workflow files name, nor of the notifiers of the settings."""
    monkeypatch.setattr(module, "AT_ONCE", 2)
    got: list[str] = []

    async def answer(request: web.Request) -> None:
        if request.path == "/hangs":
            await asyncio.sleep(60)
        got.append(request.path)

    a = MemoryNotifier("a", Options())
    async with hooks(answer) as url:
        await put(state, 0, *(address(f"{url}hangs?{number}") for number in range(5)))
        publisher = Publisher(state, {"a": a}, Guard(["127.0.0.1"]))
        task = asyncio.create_task(publisher.run())
        await asyncio.sleep(0.2)
        await put(state, 1, A, *(address(f"{url}{number}", trusted=True) for number in range(5)))
        publisher.wake()
        async with asyncio.timeout(30):
            while len(got) < 5 or not a.received:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
    assert sorted(got) == [f"/{number}" for number in range(5)]


async def test_a_long_backlog_waits_for_its_turn(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has much to be told does not keep its place for as long as that takes."""
    monkeypatch.setattr(module, "AT_ONCE", 1)
    monkeypatch.setattr(module, "SERVED", 0.05)
    got: list[str] = []

    async def answer(request: web.Request) -> None:
        await asyncio.sleep(0.01)
        got.append(request.path)

    async with hooks(answer) as url:
        for number in range(30):
            await put(state, number, address(f"{url}long"))
        await put(state, 30, address(f"{url}short"))
        publisher = Publisher(state, {}, Guard(["127.0.0.1"]))
        task = asyncio.create_task(publisher.run())
        assert await publisher.flush(10)
        task.cancel()
        await asyncio.wait([task])
    assert got.count("/long") == 30
    assert got.index("/short") < 30


async def test_one_of_several_daemons_tells_a_destination(postgresql: Callable[[], str]) -> None:
    """All that share the state may; one does, so that events stay in order. What it held is forgotten after a day."""
    backend = postgresql()
    a, b = MemoryNotifier("a", Options()), MemoryNotifier("b", Options())
    async with State(PostgresqlBackend(backend)) as one, State(PostgresqlBackend(backend)) as other:
        for number in range(20):
            await put(one, number, A)
        publishers = [
            Publisher(state, {"a": a, "b": b}, owner=name) for state, name in ((one, "one"), (other, "other"))
        ]
        tasks = [asyncio.create_task(publisher.run()) for publisher in publishers]
        for number in range(20, 40):
            await put(other, number, A, B)
            for publisher in publishers:
                publisher.wake()
        assert await publishers[0].flush(30)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        held = select(func.count()).select_from(schema.leases).where(schema.leases.c.name.startswith(module.PUBLISH))
        for age, left in ((3600.0, 2), (-3600.0, 0)):
            await one.leases.purge(module.PUBLISH, age)
            assert await one.database.read(lambda connection: connection.execute(held).scalar_one()) == left
    assert [message.event_id for message in a.received] == [f"e{number}" for number in range(40)]
    assert [message.event_id for message in b.received] == [f"e{number}" for number in range(20, 40)]


async def test_a_mistake_of_a_notifier_ends_no_other(state: State) -> None:
    """It is tried again like what is away; the others go on."""

    class Broken(MemoryNotifier):
        """Raises what nobody expects, once."""

        broken = True

        async def publish(self, message: Message) -> None:
            if self.broken:
                self.broken = False
                raise ZeroDivisionError
            await super().publish(message)

    a, b = Broken("a", Options()), MemoryNotifier("b", Options())
    await put(state, 0, A, B)
    await run(state, a, b)
    assert [len(notifier.received) for notifier in (a, b)] == [1, 1]


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
