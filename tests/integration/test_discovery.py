"""Every new object once, and only once: the hard cases, over a store and a queue that fail on purpose."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests import parts
from tests.faulty import FaultyStore
from tests.rig import BUCKET, Discovery
from watcher import backfilling
from watcher.backfilling import Backfiller
from watcher.errors import AccessRefused
from watcher.model.listed import Listed, Merged
from watcher.model.objects import Part
from watcher.sources import _page_memory, _spooled
from watcher.sources._reading import read_message
from watcher.sources.s3_poll import S3PollSource
from watcher.state import unready
from watcher.state.backfills import Backfill
from watcher.state.ledger import Ledger
from watcher.state.ledger import State as Became
from watcher.storage import s3
from watcher.verifying import Rules

LONG_AGO = 1_600_000_000


@pytest.fixture
def store() -> Iterator[FaultyStore]:
    """With one bucket, unversioned."""
    with FaultyStore() as made:
        made.objects[BUCKET] = {}
        yield made


@pytest.fixture
def versioned() -> Iterator[FaultyStore]:
    """With one bucket, versioned."""
    with FaultyStore(versioned=True) as made:
        made.objects[BUCKET] = {}
        yield made


@pytest_asyncio.fixture
async def found(store: FaultyStore, tmp_path: Path) -> AsyncIterator[Discovery]:
    """By the queue only."""
    async with Discovery(store, tmp_path / "s.db") as made:
        yield made


@pytest_asyncio.fixture
async def both(store: FaultyStore, tmp_path: Path) -> AsyncIterator[Discovery]:
    """By the queue and by sweeps."""
    async with Discovery(store, tmp_path / "s.db", poll={}) as made:
        yield made


async def test_d1_duplicates(both: Discovery) -> None:
    """Twice, fifty times, within a message and across them, by the queue and by the listing: one task, one HEAD."""
    store = both.store
    version = store.put(BUCKET, "a.mp4")
    await both.drained()
    await both.until(lambda: store.count("HEAD") > 0)
    heads = store.count("HEAD")
    record = store.record(BUCKET, "a.mp4", version)
    store.send(json.dumps({"Records": [record] * 50}))
    for _ in range(20):
        store.send(json.dumps({"Records": [record]}))
    await both.drained()
    await both.swept()
    assert store.count("HEAD") == heads
    assert both.dispatcher.counters.tally.duplicate >= 70
    await both.check()


@pytest.mark.parametrize("policy", ["latest", "every"])
async def test_d2_out_of_order(versioned: FaultyStore, tmp_path: Path, policy: Any) -> None:
    """The event of an overwritten version comes late: stale, or a task of its own where every version counts."""
    first, second = (versioned.put(BUCKET, "a.mp4", data, notify=0) for data in (b"one", b"two"))
    async with Discovery(versioned, tmp_path / "s.db", rules=Rules(versions=policy)) as found:
        for version in (second, first):
            versioned.send(json.dumps({"Records": [versioned.record(BUCKET, "a.mp4", version)]}))
            await found.drained()
        states = [known.state for known in await found.state.ledger.versions(BUCKET, "a.mp4")]
        if policy == "every":
            await found.check([("a.mp4", first), ("a.mp4", second)])
            return
        assert sorted(states) == [Became.SEEN, Became.STALE]
        assert found.dispatcher.counters.tally.stale == 1
        await found.check([("a.mp4", second)])


async def test_d2_an_old_event_finds_the_new_version(versioned: FaultyStore, tmp_path: Path) -> None:
    """The event of the first version comes, that of the second never does: what is there now is what counts."""
    first, second = (versioned.put(BUCKET, "a.mp4", data, notify=0) for data in (b"one", b"two"))
    async with Discovery(versioned, tmp_path / "s.db") as found:
        versioned.send(json.dumps({"Records": [versioned.record(BUCKET, "a.mp4", first)]}))
        await found.drained()
        await found.check([("a.mp4", second)])


async def test_d2_removed_before_it_was_heard_of(found: Discovery, monkeypatch: pytest.MonkeyPatch) -> None:
    """It settles for a while, and is gone then; nothing failed."""
    monkeypatch.setattr(unready, "PAUSES", (0.05, 0.05))
    version = found.store.put(BUCKET, "a.mp4", notify=0)
    found.store.remove(BUCKET, "a.mp4")
    found.store.send(json.dumps({"Records": [found.store.record(BUCKET, "a.mp4", version)]}))
    await found.drained()

    async def gone() -> bool:
        item = await found.state.unready.of_object(BUCKET, "a.mp4")
        return item is not None and item.state == "GONE"

    await found.until(gone)
    await found.check([])


async def test_d3_lost_notifications_are_found_by_a_sweep(both: Discovery) -> None:
    """And counted: that is how one learns that notifications are not what they should be."""
    for number in range(200):
        both.store.put(BUCKET, f"{number:03}.mp4", notify=0 if number % 10 == 0 else 1)
    await both.drained()
    await both.swept()
    await both.check()
    assert both.dispatcher.counters.tally.found >= 20


KEYS = [
    "a b.mp4", "a+b.mp4", "a%2Bb.mp4", "%20.mp4", "%%%.mp4", "\u00e9.mp4", "e\u0301.mp4", "日本語.mp4", "🎬.mp4",
    "//x.mp4", "../x.mp4", "/lead.mp4", "\x01.mp4", "x" * 1000 + ".mp4", "?&=#.mp4", "line\nbreak.mp4",
]  # fmt: skip


async def test_d4_key_zoo(both: Discovery) -> None:
    """Every key by the queue and by the listing, byte for byte, as one object."""
    both.store.page = 3
    for number, key in enumerate(KEYS):
        both.store.put(BUCKET, key, str(number).encode())
    await both.drained()
    await both.swept()
    assert sorted(await both.keys()) == sorted(KEYS)
    await both.check()


async def test_d5_empty_objects_and_folders(both: Discovery) -> None:
    """They start nothing, and the key is not burned: what is written there next starts."""
    for key in ("touch.mp4", "dir/", "dir_$folder$"):
        both.store.put(BUCKET, key, b"")
    both.store.put(BUCKET, "full/", b"bytes")
    await both.drained()
    await both.swept()
    await both.check([])
    assert both.dispatcher.counters.tally.ignored >= 1
    version = both.store.put(BUCKET, "touch.mp4", b"now")
    await both.drained()
    await both.check([("touch.mp4", version)])


async def test_d6_overwritten_between_event_and_launch(versioned: FaultyStore, tmp_path: Path) -> None:
    """Each task is about one version, and a reader of it never gets the bytes of another."""
    async with Discovery(versioned, tmp_path / "s.db") as found:
        first = versioned.put(BUCKET, "a.mp4", b"one")
        await found.drained()
        second = versioned.put(BUCKET, "a.mp4", b"two")
        await found.drained()
        await found.check([("a.mp4", first), ("a.mp4", second)])
        for task in await found.state.tasks.list():
            data = await found._open[0].read(task.source, 0, 3)
            assert data == (b"one" if task.source.version_id == first.version_id else b"two")


async def test_d7_own_outputs(both: Discovery) -> None:
    """By the marker in their metadata, in the directory that is watched: they start nothing, also when copied."""
    both.store.put(BUCKET, "out.mp4", metadata={"watcher-lineage": "10001"})
    both.store.put(BUCKET, "copy.mp4", metadata={"watcher-lineage": "10001"}, notify=0)
    await both.drained()
    await both.swept()
    await both.check([])
    assert both.dispatcher.counters.tally.own_output == 2


async def test_d7_a_chain_that_is_too_long(both: Discovery) -> None:
    """Workflows that feed each other on purpose stop at the hop budget: kept for a person, told of, not started."""
    await both.apply(AcceptOutputs=True)
    both.store.put(BUCKET, "third.mp4", metadata={"watcher-lineage": "1,2"})
    both.store.put(BUCKET, "fourth.mp4", metadata={"watcher-lineage": "1,2,3"})
    await both.drained()
    await both.swept()
    assert await both.keys() == ["third.mp4"]
    (kept,) = await both.state.quarantine.list()
    assert "fourth.mp4 is the output of 3 workflows in a row" in kept.reason
    assert "max_hops" in kept.reason
    again = read_message(kept.body, kept.source, {BUCKET: BUCKET})
    assert (await both.dispatcher.take(again.events)).tasks == []
    both.state.ledger._max_hops = 4
    assert len((await both.dispatcher.take(again.events)).tasks) == 1
    assert await both.keys() == ["fourth.mp4", "third.mp4"]


@pytest.mark.parametrize("skew", [-2 * 86_400.0, 3600.0, 2 * 86_400.0])
async def test_d8_clocks(store: FaultyStore, tmp_path: Path, skew: float) -> None:
    """The store's clock is wrong, or ours is: what was there before stays there before, what comes starts."""
    store.skew = skew
    store.put(BUCKET, "old.mp4", last_modified=int(time.time() + skew) - 60, notify=0)
    async with Discovery(store, tmp_path / "s.db", poll={}) as found:
        await found.swept()
        late = store.put(BUCKET, "late.mp4", last_modified=int(time.time() + skew) - 30_000, notify=0)
        new = store.put(BUCKET, "new.mp4", notify=0)
        told = store.put(BUCKET, "told.mp4")
        await found.drained()
        await found.swept()
        await found.check([("late.mp4", late), ("new.mp4", new), ("told.mp4", told)])


async def test_d9_a_full_bucket_at_the_first_start(store: FaultyStore, tmp_path: Path) -> None:
    """Nothing of what is there starts; what comes while it is being recorded does; a kill costs no more than pages."""
    store.page = 50
    for number in range(3000):
        store.put(BUCKET, f"old/{number:05}.mp4", last_modified=LONG_AGO, notify=0)
    new: list[Any] = []

    def during(page: int) -> None:
        if page == 10:
            new.append(("old/00000-before.mp4", store.put(BUCKET, "old/00000-before.mp4", notify=0)))
            new.append(("old/02999-behind.mp4", store.put(BUCKET, "old/02999-behind.mp4", notify=0)))
            new.append(("z-told.mp4", store.put(BUCKET, "z-told.mp4")))

    store.before_page = during
    found = Discovery(store, tmp_path / "s.db", poll={})
    await found.start()
    await found.until(lambda: store.count("LIST") > 40)
    (shown,) = found.dispatcher.sweeping().items()
    assert shown[0] == f"{BUCKET}/"
    assert 1000 < shown[1] < 3000
    await found.crash()
    before = store.count("LIST")
    await found.start()
    await found.until(lambda: found.sources[1].spend.sweeps >= 1)  # type: ignore[attr-defined]
    assert store.count("LIST") - before <= 45, "the pages that were committed before the kill are not listed again"
    await found.swept()
    await found.check(new)
    await found.crash()


async def test_d9_a_full_bucket_may_be_processed(store: FaultyStore, tmp_path: Path) -> None:
    """Where the source says so."""
    for number in range(120):
        store.put(BUCKET, f"{number:05}.mp4", last_modified=LONG_AGO, notify=0)
    async with Discovery(store, tmp_path / "s.db", poll={"existing": "process"}) as found:
        await found.swept()
        await found.check()


async def test_d11_a_failed_delete_is_a_duplicate_later(found: Discovery) -> None:
    """The message comes again with another receipt, and is acknowledged with that."""
    found.store.fail("DeleteMessageBatch", *[(500, "InternalError")] * 4)
    found.store.put(BUCKET, "a.mp4")
    await found.until(lambda: found.store.count("DeleteMessageBatch") >= 4)
    assert found.store.queue, "it was not deleted"
    found.store.queue[0].visible = 0
    await found.drained()
    await found.check()


async def test_d11_an_old_receipt_is_no_error(found: Discovery) -> None:
    """Our visibility timeout ran out before the delete: the service goes on."""
    found.store.delays["HEAD"] = 0.5
    found.store.put(BUCKET, "a.mp4")
    await found.until(lambda: found.store.count("HEAD") > 0)
    found.store.queue[0].handles.append("taken by somebody else")
    await found.until(lambda: found.store.count("DeleteMessageBatch") > 0)
    found.store.queue[0].visible = 0
    await found.drained()
    await found.check()


async def test_d12_one_slow_one_poisonous(found: Discovery) -> None:
    """The nine others are committed and deleted meanwhile."""
    found.store.objects["locked"] = {}
    for number in range(8):
        found.store.put(BUCKET, f"{number}.mp4")
    found.store.send("[" * 50_000)
    found.store.delays["HEAD"] = 0.3
    found.store.put(BUCKET, "slow.mp4")
    await found.drained()
    await found.check()
    assert await found.state.quarantine.count() == 1


async def test_d13_a_wrong_clock_is_told(store: FaultyStore, tmp_path: Path) -> None:
    """By how much, when a storage refuses requests for it."""
    store.skew = -7200
    store.fail_always["LIST"] = 403, "RequestTimeTooSkewed"
    async with Discovery(store, tmp_path / "s.db", poll={}) as found:
        await found.until(lambda: found.dispatcher.troubles)
        (why,) = found.dispatcher.troubles.values()
        assert re.search(r"this machine's clock is 2:00:0\d ahead of the service's; set it", why)


async def test_d13_one_of_two_buckets_refuses(store: FaultyStore, tmp_path: Path) -> None:
    """Only its events wait; nothing of them is deleted, and all is well when the key pair is."""
    store.objects["locked-1250000000"] = {}
    store.fail_always["HEAD locked-1250000000"] = (403, "AccessDenied")
    async with Discovery(store, tmp_path / "s.db", storages=(BUCKET, "locked-1250000000")) as found:
        store.put("locked-1250000000", "a.mp4")
        store.put(BUCKET, "b.mp4")
        await found.until(lambda: len(store.queue) == 1 and found.dispatcher.counters.released)
        assert await found.keys() == ["b.mp4"]
        store.fail_always.clear()
        await found.until(lambda: not store.queue, 30)
        await found.settled()
        await found.check()


async def test_d14_throttling(both: Discovery) -> None:
    """SlowDown on listings and HEADs: later, and all of it; the sweep goes on where it was."""
    store = both.store
    store.page = 10
    for number in range(300):
        store.put(BUCKET, f"{number:03}.mp4", notify=number % 2)
    store.fail("LIST", *[(503, "SlowDown")] * 9)
    store.fail("HEAD", *[(503, "SlowDown")] * 9)
    await both.until(lambda: not store.queue, 60)
    await both.until(lambda: not store.fails["LIST"], 60)
    await both.swept()
    await both.check()


async def test_d15_a_bucket_that_is_gone_and_comes_back_empty(store: FaultyStore, tmp_path: Path) -> None:
    """Nothing is forgotten because of an empty listing, and nothing starts again when the objects are back."""
    objects = [(f"{number:03}.mp4", store.put(BUCKET, f"{number:03}.mp4")) for number in range(60)]
    async with Discovery(store, tmp_path / "s.db", poll={}) as found:
        await found.drained()
        await found.swept()
        kept = store.objects.pop(BUCKET)
        await found.until(lambda: "sweep media-1250000000" in found.dispatcher.troubles)
        store.objects[BUCKET] = {}
        source = found.sources[1]
        assert isinstance(source, S3PollSource)
        await found.until(lambda: source.spend.held, 30)
        await found.swept(3)
        missing = [(await found.state.ledger.versions(BUCKET, key))[0].missing for key, _ in objects]
        assert all(since is not None and since < 0 for since in missing), "nothing was taken for gone"
        store.objects[BUCKET] = kept
        await found.swept()
        await found.check(objects)


async def test_d17_a_workflow_that_is_disabled_and_enabled(both: Discovery) -> None:
    """What came meanwhile is known, so that enabling fires for nothing old; what comes then starts."""
    await both.apply(Enabled=False)
    both.store.put(BUCKET, "meanwhile.mp4")
    await both.drained()
    await both.swept()
    await both.apply(Enabled=True)
    await both.swept()
    new = both.store.put(BUCKET, "new.mp4")
    await both.drained()
    await both.check([("new.mp4", new)])


async def test_d17_many_reloads(found: Discovery) -> None:
    """While objects come."""
    for number in range(100):
        found.store.put(BUCKET, f"{number}.mp4")
        await found.apply(TaskPriority=number % 10)
    await found.drained()
    await found.check()


async def test_d18_strangers(found: Discovery) -> None:
    """Tests and removals are acknowledged quietly, what nobody can read is kept, and nothing stops."""
    store = found.store
    version = store.put(BUCKET, "a.mp4", notify=0)
    record = store.record(BUCKET, "a.mp4", version)
    for body in (
        json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET}),
        json.dumps({"Records": [{**record, "eventName": "ObjectRemoved:Delete"}]}),
        json.dumps({"Records": [{**record, "eventName": "ObjectTagging:Put"}]}),
        "",
        "not json",
        json.dumps({"Type": "SubscriptionConfirmation", "SubscribeURL": f"{store.url}/never"}),
        json.dumps({"Records": [{**record, "s3": None}]}),
        "x" * 300_000,
        json.dumps({"Records": [record] * 1000}),
    ):
        store.send(body)
    await found.drained()
    await found.check()
    assert await found.state.quarantine.count() == 5
    assert ("GET", "never") not in store.log


async def test_d19_a_multipart_upload_that_began_long_ago(both: Discovery) -> None:
    """LastModified is nine hours old, the key lies before all others, and the event came early: one task."""
    store = both.store
    store.put(BUCKET, "m.mp4", notify=1)
    await both.drained()
    early = json.dumps({"Records": [{**store.record(BUCKET, "a.mp4", store.put("other", "a.mp4", notify=0))}]})
    store.send(early.replace('"other"', f'"{BUCKET}"'))
    await both.drained()
    old = store.put(BUCKET, "a.mp4", b"multipart", last_modified=int(time.time()) - 9 * 3600, notify=0)
    await both.swept()
    item = await both.state.unready.of_object(BUCKET, "a.mp4")
    assert item is None or item.state == "SETTLING"
    await both.check([("m.mp4", store.objects[BUCKET]["m.mp4"][-1]), ("a.mp4", old)])


async def test_d20_what_changes_only_metadata(both: Discovery) -> None:
    """Tags and locks start nothing; what is archived waits, and starts when it was restored."""
    store = both.store
    version = store.put(BUCKET, "a.mp4")
    cold = store.put(BUCKET, "cold.mp4", b"cold", storage_class="GLACIER")
    await both.drained()
    record = {**store.record(BUCKET, "a.mp4", version), "eventSource": "minio:s3"}
    for name in ("s3:ObjectCreated:PutTagging", "s3:ObjectCreated:PutRetention", "s3:ObjectCreated:PutLegalHold"):
        store.send(json.dumps({"Records": [{**record, "eventName": name}]}))
    await both.drained()
    await both.swept()
    await both.check([("a.mp4", version)])
    assert (await both.state.ledger.versions(BUCKET, "cold.mp4"))[0].state is Became.ARCHIVED
    item = await both.state.unready.of_object(BUCKET, "cold.mp4")
    assert item is not None
    assert item.state == "ARCHIVED"
    cold.storage_class = "STANDARD"
    store.send(json.dumps({"Records": [store.record(BUCKET, "cold.mp4", cold, "ObjectRestore:Completed")]}))
    await both.drained()
    await both.check([("a.mp4", version), ("cold.mp4", cold)])


def _empty_page_with_token(page: int, keys: list[str], truncated: bool) -> tuple[list[str], bool, str | None]:
    return ([], True, "after:005.mp4") if page % 7 == 2 else (keys, truncated, None)


def _shuffled(page: int, keys: list[str], truncated: bool) -> tuple[list[str], bool, str | None]:
    return list(reversed(keys)), truncated, None


def _duplicated(page: int, keys: list[str], truncated: bool) -> tuple[list[str], bool, str | None]:
    return [*keys, *keys[:2]], truncated, None


@pytest.mark.parametrize("pathology", [_empty_page_with_token, _shuffled, _duplicated])
async def test_d21_listing_pathologies(store: FaultyStore, tmp_path: Path, pathology: Any) -> None:
    """Empty pages, keys out of order, pages that overlap: everything is found, once."""
    store.page, store.mutate = 10, pathology
    async with Discovery(store, tmp_path / "s.db", poll={}, queue=False) as found:
        await found.swept()
        for number in range(65):
            store.put(BUCKET, f"{number:03}.mp4", notify=0)
        await found.swept(2)
        await found.check()


async def test_d21_a_broken_chain_is_no_sweep(store: FaultyStore, tmp_path: Path) -> None:
    """A page without a token, or the same token for ever: nothing counts as gone, and nothing is lost."""
    store.page = 10
    for number in range(40):
        store.put(BUCKET, f"{number:03}.mp4", notify=0)
    async with Discovery(store, tmp_path / "s.db", poll={"existing": "process"}, queue=False) as found:
        await found.swept()
        store.mutate = lambda page, keys, truncated: (keys[:5], True, "")
        await found.until(lambda: found.dispatcher.troubles)
        missing = [(await found.state.ledger.versions(BUCKET, f"{n:03}.mp4"))[0].missing for n in range(40)]
        assert missing == [None] * 40
        store.mutate = lambda page, keys, truncated: (keys, True, "after:")
        await asyncio.sleep(1)
        store.mutate = None
        store.put(BUCKET, "new.mp4", notify=0)
        await found.until(lambda: not found.dispatcher.troubles, 30)
        await found.swept()
        await found.check()


async def test_pages_that_stay_as_they_are_are_not_read_again(store: FaultyStore, tmp_path: Path) -> None:
    """And whatever changes in one of them is noticed: new, overwritten and removed objects, anywhere."""
    store.page = 10
    for number in range(100, 195):
        store.put(BUCKET, f"{number}.mp4", notify=0, last_modified=LONG_AGO)
    everything = {"existing": "process", "ranges": 3}
    async with Discovery(store, tmp_path / "s.db", poll=everything, queue=False) as found:
        (sweep,) = (source for source in found.sources if isinstance(source, S3PollSource))
        await found.until(lambda: len(sweep.memory) >= 9)
        await found.swept()  # the last page may have been on its way
        compared: list[int] = []
        merge = found.state.ledger.merge

        async def noted(part: Part, listed: Listed, *given: Any, **further: Any) -> Merged:
            compared.append(len(listed))
            return await merge(part, listed, *given, **further)

        found.state.ledger.merge = noted  # type: ignore[method-assign]
        await found.swept(2)
        assert compared
        assert sum(compared) == 0
        expected = [(key, version) for key, version in store.current(BUCKET)]
        for key in ("000.mp4", "150x.mp4", "999.mp4", "120.mp4", "194.mp4"):  # new and overwritten
            expected.append((key, store.put(BUCKET, key, notify=0, last_modified=LONG_AGO + 60)))
            await found.swept()
            await found.check(expected)
        for key in ("100.mp4", "155.mp4"):
            store.remove(BUCKET, key)
            await found.swept(4)
            assert (await found.state.ledger.versions(BUCKET, key))[0].missing is not None
        await found.check(expected)


async def test_the_memory_of_pages_outlives_the_process(
    store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart nothing is compared that is as it was, and what changed meanwhile is found; a clock that was set
    makes it compare everything."""
    store.page = 10
    versions = {f"{n}.mp4": store.put(BUCKET, f"{n}.mp4", notify=0, last_modified=LONG_AGO) for n in range(100, 195)}
    found = Discovery(store, tmp_path / "s.db", poll={"existing": "process"}, queue=False)
    compared: list[int] = []
    merge = Ledger.merge

    async def noted(self: Ledger, part: Part, listed: Listed, *given: Any, **further: Any) -> Merged:
        compared.append(len(listed))
        return await merge(self, part, listed, *given, **further)

    await found.start()
    await found.swept(2)
    await found.crash()
    monkeypatch.setattr(Ledger, "merge", noted)
    await found.start()
    await found.swept()
    assert sum(compared) == 0
    await found.crash()
    versions["150x.mp4"] = store.put(BUCKET, "150x.mp4", notify=0, last_modified=LONG_AGO)
    await found.start()
    await found.swept()
    assert 0 < sum(compared) < 60
    await found.check(list(versions.items()))
    await found.crash()
    compared.clear()
    monkeypatch.setattr(_page_memory.time, "time", lambda: 0.0)
    await found.start()
    await found.until(lambda: sum(compared) >= 96)
    await found.crash()


async def test_d21_listings_without_etags(store: FaultyStore, tmp_path: Path) -> None:
    """Then the object itself is asked."""
    store.etags = False
    async with Discovery(store, tmp_path / "s.db", poll={}, queue=False) as found:
        await found.swept()
        store.put(BUCKET, "a.mp4", notify=0)
        await found.swept()
        await found.check()


async def test_a_delete_marker_that_is_removed_makes_no_new_version(versioned: FaultyStore, tmp_path: Path) -> None:
    """The same version is there again."""
    async with Discovery(versioned, tmp_path / "s.db", poll={}) as found:
        version = versioned.put(BUCKET, "a.mp4")
        await found.drained()
        versioned.remove(BUCKET, "a.mp4")
        await found.swept(3)
        versioned.objects[BUCKET]["a.mp4"].pop()
        await found.swept()
        await found.check([("a.mp4", version)])


async def test_an_overwrite_with_the_same_bytes_is_a_new_version(both: Discovery) -> None:
    """It has another LastModified: a person who uploads a file again wants it done again."""
    first = both.store.put(BUCKET, "a.mp4", last_modified=LONG_AGO)
    await both.drained()
    second = both.store.put(BUCKET, "a.mp4", last_modified=LONG_AGO + 5)
    await both.drained()
    await both.swept()
    await both.check([("a.mp4", first), ("a.mp4", second)])


async def test_crashes_at_any_moment(store: FaultyStore, tmp_path: Path) -> None:
    """Ended again and again while objects come by the queue, by the listing, and by both."""
    store.page = 20
    found = Discovery(store, tmp_path / "s.db", poll={}, receivers=1)
    await found.start()
    await found.swept()
    for number in range(300):
        store.put(BUCKET, f"{number % 7}/{number:03}.mp4", notify=number % 3)
        if number % 20 == 10:
            await asyncio.sleep(0.03 * (number % 5))
            await found.crash()
            for message in store.queue:
                message.visible = 0
            await found.start()
    await found.drained()
    await found.swept()
    assert found.early == []
    wanted = sorted((key, f"e:{v.etag}:{len(v.data)}:{v.last_modified}") for key, v in store.current(BUCKET))
    assert await found.tasks() == wanted
    await found.crash()


def backfiller(found: Discovery) -> Backfiller:
    dispatcher = found.dispatcher
    return Backfiller(
        found.state,
        dispatcher.verifier.storages,
        dispatcher.verifier,
        dispatcher.in_force,
        lambda: None,
        dispatcher.leads,
    )


@pytest.mark.parametrize("kind", ["plain", "versioned"])
async def test_backfill(tmp_path: Path, kind: str) -> None:
    """What was there before starts when it is asked for, once, behind what just came, and resumes after a kill."""
    with FaultyStore(versioned=kind == "versioned") as store:
        store.objects[BUCKET], store.page = {}, 10
        for number in range(35):
            store.put(BUCKET, f"old/{number:03}.mp4", last_modified=LONG_AGO, notify=0)
        store.put(BUCKET, "old/own.mp4", metadata={"watcher-lineage": "10001"}, last_modified=LONG_AGO, notify=0)
        store.put(BUCKET, "old/empty.mp4", b"", last_modified=LONG_AGO, notify=0)
        async with Discovery(store, tmp_path / "s.db", poll={}) as found:
            await found.swept()
            await found.check([])
            number_of = await found.state.backfills.add(Backfill(0, BUCKET, "old/"))
            wanted = await found.state.backfills.get(number_of)
            assert wanted is not None
            store.fail("LIST 3", (500, "x"))
            task = asyncio.create_task(backfiller(found).perform(wanted))
            await found.until(lambda: store.count("HEAD") > 12)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            half = await found.state.backfills.get(number_of)
            assert half is not None
            assert half.position >= "old/009.mp4"
            done = await backfiller(found).perform(half)
            assert (done.listed, done.error) == (37, "")
            store.put(BUCKET, "new.mp4")
            await found.drained()
            first = await found.state.tasks.claim()
            assert first is not None
            assert first.source.key == "new.mp4", "what just came goes first"
            again = await backfiller(found).perform(await backfill_row(found, Backfill(0, BUCKET, "old/")))
            assert again.made == 0, "what has a task is not started again"
            await found.swept()
            expected = [item for item in store.current(BUCKET) if item[0] not in ("old/own.mp4", "old/empty.mp4")]
            await found.check(expected)


async def backfill_row(found: Discovery, wanted: Backfill) -> Backfill:
    made = await found.state.backfills.get(await found.state.backfills.add(wanted))
    assert made is not None
    return made


async def test_replay_runs_again_what_ended(both: Discovery) -> None:
    """One object, a prefix, a time; what waits or runs is left alone."""
    for number in range(6):
        both.store.put(BUCKET, f"in/{number}.mp4", last_modified=LONG_AGO + number)
    await both.drained()
    for _ in range(4):
        task = await both.state.tasks.claim()
        assert task is not None
        await both.state.tasks.finish(replace(task, status="FINISH", finish_time=1.0), ())
    running = await both.state.tasks.claim()
    assert running is not None

    async def made(prefix: str, **wanted: Any) -> int:
        row = await backfill_row(both, Backfill(0, BUCKET, prefix, again=True, **wanted))
        return (await backfiller(both).perform(row)).made

    assert await made("in/0.mp4") == 1
    assert await made("in/", since=LONG_AGO + 1, until=LONG_AGO + 3) == 2
    assert await made("in/", since=LONG_AGO + 4) == 0, "it runs, or waits"
    assert await made("in/", workflow_id=7) == 0
    assert await made("in/") == 1
    await both.check()


async def test_a_bucket_full_of_backfill_does_not_fill_the_queue(
    both: Discovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next page waits until some of the tasks were taken."""
    monkeypatch.setattr(backfilling, "MOST_WAITING", 15)
    monkeypatch.setattr(backfilling, "IDLE", 0.02)
    both.store.page = 10
    for number in range(60):
        both.store.put(BUCKET, f"{number:03}.mp4", last_modified=LONG_AGO, notify=0)
    await both.swept()
    row = await backfill_row(both, Backfill(0, BUCKET, ""))
    task = asyncio.create_task(backfiller(both).perform(row))
    most = 0
    while not task.done():
        await asyncio.sleep(0.02)
        most = max(most, await both.state.backfills.waiting(100))
        await both.state.tasks.claim()
    assert most < 30
    assert (await task).made == 60


async def test_d25_what_was_not_done_goes_back_at_once(store: FaultyStore, tmp_path: Path) -> None:
    """When the service ends, messages that were received and not committed are visible again."""
    found = Discovery(store, tmp_path / "s.db")
    await found.start()
    store.delays["HEAD"] = 30
    for number in range(5):
        store.put(BUCKET, f"{number}.mp4")
    await found.until(lambda: store.count("HEAD") >= 5)
    await found.crash()
    assert len(store.queue) == 5
    assert all(message.visible <= time.monotonic() for message in store.queue)
    store.delays.clear()
    await found.start()
    await found.drained()
    assert len(await found.keys()) == 5
    await found.crash()


def told(store: FaultyStore, *keys: str) -> str:
    """A message that tells of the current versions of some keys."""
    current = dict(store.current(BUCKET))
    return json.dumps({"Records": [store.record(BUCKET, key, current[key]) for key in keys]})


def unlimited() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def test_d24_a_webhook_under_load(store: FaultyStore, tmp_path: Path) -> None:
    """Hundreds of requests at once, with clients that go away: those that were answered 200 are in the ledger soon."""
    async with Discovery(store, tmp_path / "s.db", queue=False, hook={"waiting": 50}) as found:
        keys = [f"{number:03}.mp4" for number in range(300)]
        for key in keys:
            store.put(BUCKET, key, notify=0)
        await found.until(lambda: parts.listens(found.port))
        async with unlimited() as session:
            posts = (found.post(session, told(store, key), 0.05 if n % 7 == 0 else 20) for n, key in enumerate(keys))
            answers = dict(zip(keys, await asyncio.gather(*posts), strict=True))
        assert set(answers.values()) <= {0, 200, 503}
        accepted = {key for key, status in answers.items() if status == 200}
        assert len(accepted) > 50
        assert {key for key, status in answers.items() if status != 503} >= set(await found.keys())

        async def all_known() -> bool:
            return accepted <= set(await found.keys())

        await found.until(all_known)
        known = await found.keys()
        assert len(known) == len(set(known))


async def test_d24_ten_thousand_events_a_second(store: FaultyStore, tmp_path: Path) -> None:
    """More than can be looked up, told of again and again, by senders that repeat what was refused; and a crash in
    between. Each object has one task, and nothing is left on the disk."""
    found = Discovery(store, tmp_path / "s.db", queue=False, hook={"waiting": 32, "kept": 400})
    keys = [f"{number:04}.mp4" for number in range(800)]
    for key in keys:
        store.put(BUCKET, key, notify=0)
    chance = Random(24)
    bodies = [told(store, *chance.sample(keys, 20)) for _ in range(500)]  # ten thousand events
    bodies += [told(store, *keys[start : start + 20]) for start in range(0, len(keys), 20)]
    chance.shuffle(bodies)
    refused = 0

    async def send(session: aiohttp.ClientSession, part: list[str]) -> None:
        nonlocal refused
        for body in part:
            while await found.post(session, body) != 200:
                refused += 1
                await asyncio.sleep(0.1)

    await found.start()
    async with unlimited() as session:
        senders = [asyncio.create_task(send(session, bodies[start::50])) for start in range(50)]
        await found.until(lambda: found.dispatcher.counters.tally.new > 100)
        await found.crash()
        await asyncio.sleep(0.3)
        await found.start()
        await asyncio.gather(*senders)
    assert refused
    await found.unspooled()
    await found.check()
    await found.crash()


async def test_d24_a_webhook_while_the_store_is_away(
    store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be looked up is taken and kept, over a restart too, and no other bucket's object waits for it."""
    monkeypatch.setattr(_spooled, "PAUSES", (0.1, 1.0))
    found = Discovery(store, tmp_path / "s.db", queue=False, hook={}, storages=(BUCKET, "other"))
    store.objects["other"] = {}
    keys = [f"{number:03}.mp4" for number in range(100)]
    for key in keys:
        store.put(BUCKET, key, notify=0)
    store.fail_always[f"HEAD {BUCKET}"] = (503, "SlowDown")
    await found.start()
    await found.until(lambda: parts.listens(found.port))
    async with unlimited() as session:
        assert set(await asyncio.gather(*(found.post(session, told(store, key)) for key in keys))) == {200}
        await found.crash()
        await found.start()
        await found.until(lambda: parts.listens(found.port))
        assert await found.state.spool.counts() == {"hook": 100}
        version = store.put("other", "live.mp4", notify=0)
        body = json.dumps({"Records": [store.record("other", "live.mp4", version)]})
        assert await found.post(session, body) == 200

        async def live() -> bool:
            return await found.keys() == ["live.mp4"]

        await found.until(live)
    store.fail_always.clear()
    await found.unspooled()
    await found.check()
    await found.crash()


async def test_whoever_asks_pays(store: FaultyStore, tmp_path: Path) -> None:
    """In a bucket of somebody else; who does not say so is refused."""
    store.wants_payment = True
    version = store.put(BUCKET, "a.mp4", b"data", notify=0)
    reach = {"endpoint_url": store.url, "access_key": "k", "secret_key": "s", "addressing": "path"}
    async with s3.S3Storage(BUCKET, s3.Options(**reach)) as storage:
        with pytest.raises(AccessRefused):
            await storage.head("a.mp4")
    async with s3.S3Storage(BUCKET, s3.Options(**reach, requester_pays=True)) as storage:
        info = await storage.head("a.mp4")
        assert info.etag == version.etag
        assert await storage.read(info, 1, 2) == b"at"
        await storage.fetch(info, tmp_path / "a.mp4")
        assert [found.key async for page in storage.list() for found in page] == ["a.mp4"]
