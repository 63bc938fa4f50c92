"""The state on a real database: once, in order, by its owner only, across migrations and crashes."""

from __future__ import annotations

import asyncio
import sqlite3
import time
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, select

from tests import parts
from watcher.errors import ConfigurationError, TransientError
from watcher.model.listed import Listed
from watcher.model.objects import ObjectInfo, Part, sequence_mark, version_digest
from watcher.model.task import StepResult, Task, task_id_of
from watcher.model.workflow import Workflow
from watcher.mps import wire
from watcher.state import leases, schema
from watcher.state._postgresql import PostgresqlBackend
from watcher.state.ledger import TOMBSTONE, Candidate, Match
from watcher.state.ledger import State as Became
from watcher.state.meters import CatalogChangedError
from watcher.state.store import State
from watcher.state.tasks import MAX_ATTEMPTS, OutgoingEvent, StaleOwnerError, first_of_each


def body(**changes: Any) -> Workflow:
    return wire.decode(Workflow, parts.workflow("b-1250000000", **changes))


def info(key: str = "a.mp4", etag: str = "e1", **changes: Any) -> ObjectInfo:
    return replace(ObjectInfo("b-1250000000", key, 10, etag, 1_700_000_000), **changes)


STORAGE = "b-1250000000"


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def state(request: pytest.FixtureRequest, tmp_path: Path, postgresql: Callable[[], str]) -> AsyncIterator[State]:
    """An empty state, in either database."""
    where = tmp_path / "s.db" if request.param == "sqlite" else PostgresqlBackend(postgresql())
    async with State(where) as made:
        yield made


@pytest_asyncio.fixture
async def in_file(tmp_path: Path) -> AsyncIterator[State]:
    """An empty state in an SQLite file."""
    async with State(tmp_path / "s.db") as made:
        yield made


async def match_of(state: State, **changes: Any) -> Match:
    stored = await state.workflows.apply([("w.yaml", body(**changes))])
    return stored[0].match


async def intake(state: State, *candidates: Candidate) -> list[str]:
    return (await state.ledger.intake(candidates, time.time())).tasks


async def test_migrations_lead_to_the_schema(in_file: State, tmp_path: Path) -> None:
    """What the migrations make is what the code expects."""
    engine = create_engine(f"sqlite:///{tmp_path / 's.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
        version = connection.exec_driver_sql("select version_num from alembic_version").scalar()
    engine.dispose()
    assert version == schema.HEAD


async def test_a_newer_or_broken_file_is_refused_in_words(tmp_path: Path) -> None:
    """Neither is overwritten."""
    path = tmp_path / "s.db"
    async with State(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    connection.close()
    with pytest.raises(ConfigurationError, match="made by a newer version"):
        async with State(path):
            pass
    path.write_bytes(b"this is no database, but it is long enough to be taken for one" * 100)
    with pytest.raises(ConfigurationError, match="can't be used as the state"):
        async with State(path):
            pass
    assert path.read_bytes().startswith(b"this is no database")


async def test_one_daemon_per_file(in_file: State, tmp_path: Path) -> None:
    """The second one hears who is there."""
    assert in_file.database.owner() is None
    in_file.database.lock()
    async with State(tmp_path / "s.db") as second:
        assert second.database.owner() is not None
        with pytest.raises(ConfigurationError, match="another daemon"):
            second.database.lock()


async def test_an_object_version_is_taken_in_once(state: State) -> None:
    """The same version again, in one batch and in another: one task. Another version: another task."""
    match = await match_of(state)
    first = await intake(state, Candidate(info(), (match,)), Candidate(info(), (match,)))
    assert first == [task_id_of(match.workflow_id, info())]
    assert await intake(state, Candidate(info(), (match,))) == []
    assert len(await intake(state, Candidate(info(etag="e2"), (match,)))) == 1
    assert len(await intake(state, Candidate(info(etag="e3", version_id="v1"), (match,)))) == 1
    assert len(await state.tasks.list()) == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(batches=st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("123")), max_size=6), max_size=6))
async def test_any_order_of_deliveries_makes_the_same_tasks(
    batches: list[list[tuple[str, str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However often and in whatever batches versions arrive: exactly one task for each."""
    async with State(tmp_path_factory.mktemp("s") / "s.db") as state:
        match = await match_of(state)
        for batch in batches:
            await intake(state, *(Candidate(info(key, etag), (match,)) for key, etag in batch))
        tasks = {(task.source.key, task.source.etag) for task in await state.tasks.list(limit=100)}
        assert tasks == {version for batch in batches for version in batch}
        assert len(await state.tasks.list(limit=100)) == len(tasks)


async def test_existing_objects_start_nothing_until_they_change(state: State) -> None:
    """Nor when they are listed again; a notification that came while they were listed is another matter."""
    match = await match_of(state)
    assert await intake(state, Candidate(info(), (match,), existing=True)) == []
    assert await intake(state, Candidate(info(), (match,))) == []
    assert len(await intake(state, Candidate(info(), (match,), notified=True))) == 1
    assert await intake(state, Candidate(info(), (match,), notified=True)) == []


async def test_an_alias_makes_a_listing_a_duplicate(state: State) -> None:
    """A listing of a versioned bucket shows no version id; what it shows is remembered too."""
    match = await match_of(state)
    versioned = info(version_id="v1")
    await intake(state, Candidate(versioned, (match,)))
    assert await intake(state, Candidate(info(), (match,))) == []
    assert await state.ledger.unknown([info(), info(etag="x")]) == [info(etag="x")]


async def test_own_outputs_start_nothing(state: State) -> None:
    """By the registry, or by the marker in the metadata; the same key written by somebody else does."""
    match = await match_of(state)
    output = info("out.mp4")
    await state.outputs.intend([(output.storage, output.key)], "t", (match.workflow_id,))
    assert await state.outputs.unfinished() == [(output.storage, output.key, "t")]
    await state.outputs.written(output)
    assert await state.outputs.unfinished() == []
    assert await intake(state, Candidate(output, (match,))) == []
    assert await intake(state, Candidate(info("copy.mp4"), (match,), marker=(10001,))) == []
    assert len(await intake(state, Candidate(info("out.mp4", "other"), (match,)))) == 1


async def test_chains_are_bounded(state: State) -> None:
    """A workflow that accepts outputs takes those of others, never its own, and no more than the hop budget."""
    accepting = replace(await match_of(state, AcceptOutputs=True), workflow_id=50)
    for lineage, expected in (((1,), 1), ((50,), 0), ((1, 50), 0), ((1, 2), 1), ((1, 2, 3), 0)):
        found = await intake(state, Candidate(info(f"{lineage}.mp4"), (accepting,), marker=lineage))
        assert len(found) == expected, lineage
    task = await state.tasks.claim()
    assert task is not None
    assert task.lineage == (1,)


async def test_claims_go_by_priority_then_age(state: State) -> None:
    """And each task is claimed once."""
    match = await match_of(state)
    for number, priority in enumerate((0, 10, -10, 10, 0)):
        await intake(state, Candidate(info(f"{number}"), (replace(match, priority=priority),)))
    claimed = [await state.tasks.claim() for _ in range(6)]
    assert [task.source.key if task else None for task in claimed] == ["1", "3", "0", "4", "2", None]


async def claimed(state: State) -> Task:
    await intake(state, Candidate(info(), (await match_of(state),)))
    task = await state.tasks.claim()
    assert task is not None
    return task


EVENT = OutgoingEvent("e1", ("d1", "d2"), {"x": 1})


async def test_a_stale_owner_is_refused(state: State) -> None:
    """Once a task was recovered and claimed anew, the old owner can write nothing, not even an event."""
    old = await claimed(state)
    assert await state.tasks.recover() == {old.task_id}
    new = await state.tasks.claim()
    assert new is not None
    assert (new.epoch, new.attempts) == (2, 2)
    for write in (
        state.tasks.update(old, [StepResult()]),
        state.tasks.finish(replace(old, status="FINISH", finish_time=1.0), [EVENT]),
        state.tasks.put_back(old),
    ):
        with pytest.raises(StaleOwnerError):
            await write
    assert await state.outbox.destinations() == set()


async def test_the_end_and_its_event_are_one_commit(state: State) -> None:
    """Each destination gets the event once, in order, and is asked again until it has it."""
    task = await claimed(state)
    result = StepResult("SUCCESS", progress=100, output={"path": "/x"})
    await state.tasks.finish(replace(task, status="FINISH", finish_time=2.0, results=(result,)), [EVENT])
    stored = await state.tasks.get(task.task_id)
    assert stored is not None
    assert (stored.status, stored.results) == ("FINISH", (result,))
    assert await state.outbox.destinations() == {"d1", "d2"}
    (pending,) = await state.outbox.next("d1")
    assert (pending.event_id, pending.body) == ("e1", {"x": 1})
    await state.outbox.failed(pending.seq, "away", dead=False)
    await state.outbox.delivered(pending.seq)
    assert await state.outbox.destinations() == {"d2"}
    (other,) = await state.outbox.next("d2")
    await state.outbox.failed(other.seq, "refused", dead=True)
    found = [(d.destination, d.status, d.attempts, d.error) for d in await state.outbox.of_task(task.task_id)]
    assert found == [("d1", "DELIVERED", 2, ""), ("d2", "DEAD", 1, "refused")]
    assert await state.outbox.revive(task.task_id) == 1


async def test_put_back_waits(state: State) -> None:
    """A task that was put back with a delay is not claimed before; an abort does not wait."""
    task = await claimed(state)
    await state.tasks.put_back(task, delay=60, message="later")
    assert await state.tasks.claim() is None
    assert await state.tasks.request_abort(task.task_id) == "WAITING"
    again = await state.tasks.claim()
    assert again is not None
    assert again.abort
    assert again.attempts == 2 <= MAX_ATTEMPTS


async def test_retry_and_submit(state: State) -> None:
    """Only finished tasks run again; a submitted one runs again even if it ran before."""
    task = await claimed(state)
    assert not await state.tasks.retry(task.task_id)
    await state.tasks.finish(replace(task, status="FINISH", finish_time=2.0, code=70000), [])
    assert await state.tasks.retry(task.task_id)
    again = await state.tasks.claim()
    assert again is not None
    assert (again.attempts, again.code) == (1, 0)
    await state.tasks.finish(replace(again, status="FINISH", finish_time=3.0), [])
    match = (await state.workflows.list())[0].match
    assert await state.tasks.submit(match, info(), time.time()) == task.task_id
    assert (await state.tasks.counts())["WAITING"] == 1


async def test_purge_forgets_tasks_but_not_objects(state: State) -> None:
    """An object whose task is long forgotten still does not start again."""
    task = await claimed(state)
    await state.tasks.finish(replace(task, status="FINISH", finish_time=2.0), [])
    assert await state.tasks.purge(time.time()) == 1
    assert await state.tasks.list() == []
    assert await intake(state, Candidate(info(), ((await state.workflows.list())[0].match,))) == []


async def test_workflows_keep_their_ids(state: State) -> None:
    """Changed files keep the id, running tasks keep the old plan; one that comes back is another workflow."""
    first = (await state.workflows.apply([("a", body()), ("b", body(WorkflowName="other"))]))[0]
    assert first.workflow_id == 10001
    await intake(state, Candidate(info(), (first.match,)))
    changed = (await state.workflows.apply([("a", body(TaskPriority=5))]))[0]
    assert (changed.workflow_id, changed.workflow.task_priority) == (10001, 5)
    task = await state.tasks.claim()
    assert task is not None
    assert task.order.priority == 0
    await state.workflows.apply([])
    back = (await state.workflows.apply([("a", body())]))[0]
    assert back.workflow_id > 10002


async def test_a_full_disk_is_transient(in_file: State) -> None:
    """What can't be committed raises an error to try again; nothing of it is half there."""
    match = await match_of(in_file)

    def limit(connection: Any) -> None:
        pages = connection.exec_driver_sql("pragma page_count").scalar()
        connection.exec_driver_sql(f"pragma max_page_count = {pages}")

    await in_file.database.run(limit)
    with pytest.raises(TransientError, match="full"):
        await intake(in_file, *(Candidate(info(f"{number}" * 100), (match,)) for number in range(500)))
    await in_file.database.run(lambda connection: connection.exec_driver_sql("pragma max_page_count = 1000000"))
    assert await in_file.tasks.list() == []
    assert len(await intake(in_file, Candidate(info(), (match,)))) == 1


async def test_cancelling_a_caller_leaves_no_half_transaction(state: State) -> None:
    """The transaction ends as a whole, whoever waits for it."""
    match = await match_of(state)
    task = asyncio.create_task(intake(state, *(Candidate(info(f"{n}"), (match,)) for n in range(300))))
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.wait([task])
    assert len(await state.tasks.list(limit=1000)) in (0, 300)
    assert await state.ledger.unknown([info("0")]) in ([], [info("0")])


async def test_the_queue_is_read_in_the_order_of_its_index(in_file: State) -> None:
    """However many tasks wait, the next one is found without sorting them; a page of one status too."""
    table = schema.tasks
    queue = first_of_each(False, 0).params(now=0.0)
    newest = select(table).where(table.c.status == "FINISH").order_by(table.c.seq.desc()).limit(11)

    def plan(connection: Connection, query: Any) -> str:
        text = str(query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
        return " ".join(str(row) for row in connection.exec_driver_sql(f"explain query plan {text}"))

    for query, index in ((queue, "tasks_queue"), (newest, "tasks_status")):
        found = await in_file.database.read(lambda connection, query=query: plan(connection, query))  # type: ignore[misc]
        assert index in found
        assert "TEMP B-TREE" not in found
        assert "SCAN tasks" not in found.replace("SCAN tasks_", "")


async def test_storages_and_workflows_take_turns(state: State) -> None:
    """A million objects of one do not delay another's single upload; lanes and priorities come before that."""
    match = await match_of(state)
    other, third = replace(match, workflow_id=match.workflow_id + 1), replace(match, workflow_id=match.workflow_id + 2)
    await intake(state, *(Candidate(info(f"many/{n}"), (match,)) for n in range(5)))
    await intake(state, Candidate(replace(info("single"), storage="other"), (other,)))
    await state.ledger.intake([Candidate(info("old"), (replace(third, priority=10),))], time.time(), lane=1)
    await state.tasks.submit(match, info("by hand"), time.time())
    found = [await state.tasks.claim() for _ in range(8)]
    assert [task.source.key if task else None for task in found] == [
        "by hand", "single", "many/0", "many/1", "many/2", "many/3", "many/4", "old",
    ]  # fmt: skip


async def test_a_workflow_has_no_more_tasks_at_once_than_it_may(state: State) -> None:
    """Those of others are taken meanwhile."""
    match = await match_of(state)
    other = replace(match, workflow_id=match.workflow_id + 1, priority=-1)
    await intake(state, *(Candidate(info(f"{n}"), (match,)) for n in range(3)), Candidate(info("other"), (other,)))
    found = [await state.tasks.claim(limits={match.workflow_id: 2}) for _ in range(4)]
    assert [task.source.key if task else None for task in found] == ["0", "1", "other", None]


async def test_sequencers_tell_what_was_overtaken(state: State) -> None:
    """They are compared within one key, the shorter one padded on the right."""
    match = await match_of(state)

    async def heard(etag: str, sequencer: str, key: str = "a.mp4") -> int:
        candidate = Candidate(info(key, etag), (match,), notified=True, mark=sequence_mark(sequencer))
        return len(await intake(state, candidate))

    assert await heard("v2", "0A") == 1
    assert await heard("v1", "00FF") == 0
    assert await heard("v0", "09ffffff") == 0
    assert await heard("v3", "0A01") == 1
    assert await heard("other", "00", "b.mp4") == 1
    assert [known.state for known in await state.ledger.versions(STORAGE, "a.mp4")].count(Became.STALE) == 2


async def test_sweeps_mark_what_is_gone_and_forget_it_late(state: State) -> None:
    """Twice missing and two weeks old; what is listed again is no new version."""
    match = await match_of(state)
    objects = [info(f"{n}.mp4") for n in range(4)]
    await state.ledger.intake([Candidate(item, (match,)) for item in objects], 1000.0)

    async def sweep(listed: list[ObjectInfo], began: int, *, confirm: bool = True) -> tuple[list[str], int, int]:
        found = await state.ledger.merge(Part(STORAGE), Listed.of(listed), began, confirm=confirm)
        return [item.key for item in found.unknown], found.missing, found.forgotten

    assert await sweep([*objects, info("new.mp4")], 2000) == (["new.mp4"], 0, 0)
    assert await sweep(objects[:2], 1000) == ([], 2, 0), "known since the sweep began: not taken for missing"
    assert [known.missing for known in await state.ledger.versions(STORAGE, "3.mp4")] == [None]
    assert await sweep(objects[:2], 3000) == ([], 2, 0)
    assert [known.missing for known in await state.ledger.versions(STORAGE, "3.mp4")] == [-3000]
    assert await sweep([*objects[:2], objects[3]], 4000) == ([], 1, 0)
    assert [known.missing for known in await state.ledger.versions(STORAGE, "3.mp4")] == [None], "there again"
    assert [known.missing for known in await state.ledger.versions(STORAGE, "2.mp4")] == [4000], "gone"
    assert await sweep(objects[:1], 4000 + TOMBSTONE) == ([], 3, 0)
    assert await sweep(objects[:1], 4001 + TOMBSTONE, confirm=False) == ([], 3, 0), "a doubtful listing forgets nothing"
    assert await sweep(objects[:1], 4001 + TOMBSTONE) == ([], 3, 1)
    assert await state.ledger.versions(STORAGE, "2.mp4") == []
    assert await intake(state, Candidate(objects[3], (match,))) == [], "what is gone is known for a while"


async def test_a_part_of_a_listing_speaks_of_its_keys_only(state: State) -> None:
    """Keys up to ``after`` and behind ``last`` are another page's; other storages are nobody's."""
    match = await match_of(state)
    await state.ledger.intake([Candidate(info(key), (match,)) for key in ("a", "b", "c", "d")], 1000.0)
    await state.ledger.intake([Candidate(replace(info("c"), storage="other"), (match,))], 1000.0)
    found = await state.ledger.merge(Part(STORAGE, "", "a", "c"), Listed.of([info("b")]), 2000, confirm=True)
    assert (found.unknown, found.missing) == ([], 1)
    missing = [(await state.ledger.versions(STORAGE, key))[0].missing for key in "abcd"]
    assert missing == [None, None, -2000, None]
    assert (await state.ledger.versions("other", "c"))[0].missing is None


async def test_what_the_old_ledger_knows_is_not_new(tmp_path: Path) -> None:
    """It held digests only, from which no rows can be made: they are asked as long as there are some."""
    async with State(tmp_path / "s.db") as made:
        row = {"id": version_digest(info()), "state": 1, "seen": 5}
        await made.database.run(lambda connection: connection.execute(schema.ledger_before.insert(), row))
    async with State(tmp_path / "s.db") as state:
        match = await match_of(state)
        assert await state.ledger.unknown([info(), info("b.mp4")]) == [info("b.mp4")]
        assert len(await intake(state, Candidate(info(), (match,)), Candidate(info("b.mp4"), (match,)))) == 1


async def test_the_ledger_is_small(in_file: State, tmp_path: Path) -> None:
    """At most 130 bytes an object, however they come in."""
    match = await match_of(in_file)
    keys = [f"uploads/2026/11/{zlib.crc32(str(n).encode()):08x}/clip-{n:06d}.mp4" for n in range(20_000)]
    before = await size_of(in_file)
    for start in range(0, len(keys), 1000):
        batch = [
            Candidate(info(key, f"{n:032x}"), (), notified=True, mark=sequence_mark(f"0055aed6dcd9{n:08x}"))
            for n, key in enumerate(keys[start : start + 1000], start)
        ]
        await in_file.ledger.intake(batch, time.time())
    assert match
    assert (await size_of(in_file) - before) / len(keys) <= 130


async def size_of(state: State) -> int:
    """Bytes of the database that are in use."""

    def measure(connection: Connection) -> int:
        pages = connection.exec_driver_sql("pragma page_count").scalar_one()
        return int(pages) * int(connection.exec_driver_sql("pragma page_size").scalar_one())

    return await state.database.read(measure)


# Several daemons on one state.


@pytest_asyncio.fixture
async def two(postgresql: Callable[[], str]) -> AsyncIterator[tuple[State, State]]:
    """The states of two daemons, in one database."""
    address = postgresql()
    async with State(PostgresqlBackend(address)) as one, State(PostgresqlBackend(address)) as other:
        yield one, other


async def test_messages_that_are_kept(state: State) -> None:
    """In their order, but for those that are on their way; until they are dropped."""
    spool, other = state.spool.of("hook", "me"), state.spool.of("else", "me")
    numbers = [await spool.keep(f"{number}".encode()) for number in range(5)]
    await other.keep(b"x")
    assert await spool.adopt() == 5
    assert [item.body for item in await spool.kept(0, 3, {numbers[1]})] == [b"0", b"2", b"3"]
    assert [item.body for item in await spool.kept(numbers[2], 3)] == [b"3", b"4"]
    await spool.drop(numbers[:4])
    assert [item.seq for item in await spool.kept(0, 3)] == numbers[4:]
    assert await state.spool.counts() == {"hook": 1, "else": 1}


async def test_messages_of_a_daemon_that_is_gone_are_adopted(two: tuple[State, State]) -> None:
    """Not those of one that is alive."""
    one, other = (state.spool.of("hook", name) for state, name in zip(two, ("one", "other"), strict=True))
    lease = await two[0].leases.take(f"{schema.DAEMON}one", "one", 60)
    await one.keep(b"x")
    assert await other.adopt() == 0
    assert lease is not None
    await two[0].leases.give_up(lease)
    assert await other.adopt() == 1
    assert [item.body for item in await other.kept(0, 9)] == [b"x"]
    assert await one.kept(0, 9) == []


async def test_two_daemons_take_each_task_once(two: tuple[State, State]) -> None:
    """They hear of the same objects, and claim at the same time."""
    match = await match_of(two[0])
    candidates = [Candidate(info(f"{n}"), (match,)) for n in range(60)]
    await asyncio.gather(*(state.ledger.intake(candidates, time.time()) for state in two))
    found = await asyncio.gather(*(two[n % 2].tasks.claim(owner=str(n % 2)) for n in range(70)))
    keys = [task.source.key for task in found if task is not None]
    assert sorted(keys) == sorted(f"{n}" for n in range(60))


async def test_leases(two: tuple[State, State]) -> None:
    """One holds it at a time; whoever slept through its end is refused by its epoch."""
    one, other = two
    lease = await one.leases.take("sweep/b", "one", 0.3)
    assert lease is not None
    assert await other.leases.take("sweep/b", "other", 60) is None
    renewed = await one.leases.take("sweep/b", "one", 0.3)
    assert renewed == lease
    await asyncio.sleep(0.4)
    taken = await other.leases.take("sweep/b", "other", 60)
    assert taken is not None
    assert taken.epoch == lease.epoch + 1
    await other.database.run(lambda connection: leases.check(connection, taken))
    with pytest.raises(leases.LeaseLostError):
        await one.database.run(lambda connection: leases.check(connection, lease))
    await other.cursors.save("sweep b", "far", taken)
    with pytest.raises(leases.LeaseLostError):
        await one.cursors.save("sweep b", "not so far", lease)
    assert await one.cursors.load("sweep b") == "far"
    assert await one.leases.take("sweep/b", "one", 60) is None
    await other.leases.give_up(taken)
    assert await one.leases.take("sweep/b", "one", 60) is not None


async def test_a_daemon_that_is_gone_is_followed(two: tuple[State, State]) -> None:
    """Its tasks run again; what it says when it wakes up is refused. Those of the living are left alone."""
    one, other = two
    match = await match_of(one)
    await intake(one, Candidate(info("a"), (match,)), Candidate(info("b"), (match,)))
    sleeping, running = await one.tasks.claim(owner="one"), await other.tasks.claim(owner="other")
    assert sleeping is not None
    assert running is not None
    await one.leases.take("daemon/one", "one", 0.1)
    await other.leases.take("daemon/other", "other", 60)
    await asyncio.sleep(0.2)
    assert await other.tasks.recover(await other.leases.alive("daemon/")) == {sleeping.task_id}
    again = await other.tasks.claim(owner="other")
    assert again is not None
    assert (again.task_id, again.epoch) == (sleeping.task_id, sleeping.epoch + 1)
    with pytest.raises(StaleOwnerError):
        await one.tasks.finish(replace(sleeping, status="FINISH"), ())
    await other.tasks.finish(replace(running, status="FINISH"), ())


async def test_what_another_daemon_changed_is_noticed_in_time(two: tuple[State, State]) -> None:
    """Objects that were matched against workflows of yesterday are not committed."""
    one, other = two
    await match_of(one)
    revision = await other.workflows.changes()
    made = await one.workflows.create(body(WorkflowName="by the API"), 10)
    with pytest.raises(CatalogChangedError):
        await other.ledger.intake([Candidate(info(), ())], time.time(), revision=revision)
    assert await other.ledger.unknown([info()]) == [info()]
    now = await other.workflows.changes()
    tally = await other.ledger.intake([Candidate(info(), (made.match,))], time.time(), revision=now)
    assert len(tally.tasks) == 1
