"""What happens to machines: full disks, clocks that jump, sleep, damaged files. It costs and doubles no object."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import parts
from tests.faulty import FaultyStore
from tests.rig import BUCKET, daemon_settings

DAY = 86_400


@pytest.fixture
def store() -> Iterator[FaultyStore]:
    """With one bucket."""
    with FaultyStore() as made:
        made.objects[BUCKET] = {}
        yield made


def all_have_one_task(query: Callable[[str], list[Any]], store: FaultyStore) -> None:
    """Each object one task, no other task, an empty queue."""
    wanted = sorted(key for key, _ in store.current(BUCKET))

    def tasks() -> list[str]:
        return sorted(row[0] for row in query("select key from tasks"))

    parts.wait_for(lambda: len(tasks()) >= len(wanted) and not store.queue, 40, "all tasks")
    assert tasks() == wanted


def put(store: FaultyStore, name: str, count: int) -> None:
    """Every third is told of twice, every third not at all."""
    for number in range(count):
        store.put(BUCKET, f"{name}/{number:04}.mp4", notify=number % 3)


def test_the_disk_is_full_for_a_while(store: FaultyStore, daemon: Callable[..., parts.Daemon]) -> None:
    """D16, with a file system of 3 MB: nothing is acknowledged that is not committed, and it goes on by itself."""
    service = daemon(daemon_settings(store, state="sqlite:///small/watcher.db"), parts.workflow(BUCKET))
    small = service.root / "small"
    small.mkdir()
    tmpfs = ["bwrap", "--die-with-parent", "--dev-bind", "/", "/", "--size", "3000000", "--tmpfs", str(small)]
    service.start(inside=tmpfs)
    (inner,) = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    query = within(inner, small / "watcher.db")
    put(store, "before", 30)
    all_have_one_task(query, store)
    filler = Path(f"/proc/{inner}/root{small}/filler")
    with contextlib.suppress(OSError), filler.open("wb", 0) as file:
        while True:
            file.write(bytes(4096))
    put(store, "meanwhile", 1200)
    parts.wait_for(lambda: "nothing is acknowledged" in service.text(), 30, "the disk to be noticed")
    time.sleep(1)
    told = {body.partition('"key": "')[2].partition('"')[0] for body in store.deleted}
    known = {row[0] for row in query("select key from tasks")}
    assert told <= known, "acknowledged before it was committed"
    assert 30 <= len(known) < 1230
    filler.unlink()
    all_have_one_task(query, store)


def within(process: str, database: Path) -> Callable[[str], list[Any]]:
    """Queries of a database that only another process sees."""
    read = "import json, sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=10)\n"
    read += "print(json.dumps(c.execute(sys.argv[2]).fetchall()))"

    def query(sql: str) -> list[Any]:
        return list(json.loads(beside(process, sys.executable, "-c", read, str(database), sql)))

    return query


def beside(process: str, *command: str) -> bytes:
    """What a command writes that runs where another process sees its own file systems."""
    enter = ["nsenter", "--mount", f"--target={process}"]
    if os.readlink(f"/proc/{process}/ns/user") != os.readlink("/proc/self/ns/user"):
        enter += ["--user", "--preserve-credentials"]
    return subprocess.run([*enter, *command], check=True, capture_output=True).stdout


def test_a_watched_directory_is_unmounted(daemon: Callable[..., parts.Daemon], clip: Path, tmp_path: Path) -> None:
    """D23: what was on it is not taken for deleted; when it is mounted again, only what is new starts."""
    watched = tmp_path / "disk"
    watched.mkdir()
    folder = {"type": "folder", "storage": "disk", "settle": 0.2, "rescan": 0.5}
    settings = {
        "storages": {"disk": {"type": "local", "root": str(watched)}},
        "sources": {"disk": folder},
        "media": {"min_free_space": 2**60},
    }
    service = daemon(settings, parts.workflow("disk"))
    at_once = "from watcher.sources import folder\nfolder.INVENTORY = 1.0"
    service.start(inside=["bwrap", "--die-with-parent", "--dev-bind", "/", "/", "--tmpfs", str(watched)], fault=at_once)
    (inner,) = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    disk = Path(f"/proc/{inner}/root{watched}")
    for name in ("a", "b", "c"):
        (disk / f"{name}.mp4").write_bytes(clip.read_bytes())
    tasks = "select key from tasks order by key"
    parts.wait_for(lambda: service.query(tasks) == [("a.mp4",), ("b.mp4",), ("c.mp4",)], what="three tasks")
    beside(inner, "cp", "-a", f"{watched}/.", str(tmp_path / "kept"))
    beside(inner, "umount", "--lazy", str(watched))
    parts.wait_for(lambda: "watching it anew" in service.text(), what="it to be noticed")
    parts.wait_for(lambda: "is not believed" in service.text(), what="an inventory")
    time.sleep(1.5)
    beside(inner, "mount", "--bind", str(tmp_path / "kept"), str(watched))  # all of it is there at once
    beside(inner, "cp", f"{watched}/a.mp4", f"{watched}/d.mp4")
    parts.wait_for(lambda: ("d.mp4",) in service.query(tasks), what="the new one")
    time.sleep(1.5)
    assert [key for (key,) in service.query(tasks)] == ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]
    assert service.query("select count(*) from ledger where missing is not null") == [(0,)]


def test_what_a_folder_may_hold(daemon: Callable[..., parts.Daemon], clip: Path, tmp_path: Path) -> None:
    """D23: more directories than the kernel watches, names that are no text, what may not be read: it is said, and
    everything else goes on."""
    watched = tmp_path / "watched"
    watched.mkdir(mode=0o777)
    settings = {
        "storages": {"b": {"type": "local", "root": str(watched)}},
        "sources": {"b": {"type": "folder", "storage": "b", "settle": 0.2, "rescan": 1.0}},
        "media": {"min_free_space": 2**60},
    }
    service = daemon(settings, parts.workflow("b"))
    limited = (
        'echo 4 > /proc/sys/user/max_inotify_watches; exec setpriv --bounding-set=-dac_override,-dac_read_search "$@"'
    )
    locked = watched / "locked"
    locked.mkdir(mode=0)
    service.start(inside=["unshare", "--user", "--map-root-user", "sh", "-c", limited, "sh"])
    for number in range(10):
        (watched / f"{number}").mkdir()
    parts.wait_for(lambda: "the kernel has no watches left" in service.text(), what="the limit to be told")
    for number in range(10):
        (watched / f"{number}" / "a.mp4").write_bytes(clip.read_bytes())
    (watched / "0" / os.fsdecode(b"\xff\xfe.mp4")).write_bytes(clip.read_bytes())
    keys = "select key from tasks order by key"
    parts.wait_for(lambda: len(service.query(keys)) >= 10, 20, "the tasks")
    parts.wait_for(lambda: "not UTF-8" in service.text(), what="the name to be told")
    assert f"{locked}" in service.text().partition("can't be read by this user")[2]
    locked.chmod(0o755)
    (locked / "seen.mp4").write_bytes(clip.read_bytes())
    (watched / "after.mp4").write_bytes(clip.read_bytes())
    wanted = sorted([f"{number}/a.mp4" for number in range(10)] + ["after.mp4", "locked/seen.mp4"])
    parts.wait_for(lambda: [key for (key,) in service.query(keys)] == wanted, what="all tasks")
    assert service.text().count("the kernel has no watches left") <= 3
    assert "Traceback" not in service.text()


def test_somebody_else_locks_the_state(store: FaultyStore, daemon: Callable[..., parts.Daemon]) -> None:
    """D16: a backup, or a person with sqlite3. Nothing is acknowledged meanwhile, and it goes on afterwards."""
    service = daemon(daemon_settings(store), parts.workflow(BUCKET))
    service.start(fault="import watcher.state._sqlite as o\no.BUSY = 300")
    put(store, "before", 30)
    all_have_one_task(service.query, store)
    with contextlib.closing(sqlite3.connect(service.database, isolation_level=None)) as other:
        other.execute("begin immediate")
        put(store, "meanwhile", 60)
        parts.wait_for(lambda: "database is locked" in service.text(), what="it to be noticed")
        time.sleep(1)
        assert other.execute("select count(*) from tasks").fetchone() == (30,)
        assert len(store.queue) >= 20
        other.execute("rollback")
    all_have_one_task(service.query, store)


FAILS = """
import os, sqlite3
from sqlalchemy.engine.default import DefaultDialect
commit = DefaultDialect.do_commit
def failing(self, connection):
    if os.path.exists({flag!r}):
        raise sqlite3.OperationalError("disk I/O error")
    return commit(self, connection)
DefaultDialect.do_commit = failing
"""


def test_the_disk_fails_for_a_while(store: FaultyStore, daemon: Callable[..., parts.Daemon], tmp_path: Path) -> None:
    """D16: what could not be written is not acknowledged, and not half there; it goes on by itself."""
    flag = tmp_path / "broken"
    service = daemon(daemon_settings(store), parts.workflow(BUCKET))
    service.start(fault=FAILS.format(flag=str(flag)))
    put(store, "before", 30)
    all_have_one_task(service.query, store)
    flag.touch()
    put(store, "meanwhile", 60)
    parts.wait_for(lambda: "disk I/O error" in service.text(), what="it to be noticed")
    time.sleep(1)
    assert service.query("select count(*) from tasks") == [(30,)]
    assert len(store.queue) >= 20
    flag.unlink()
    all_have_one_task(service.query, store)


def test_the_clock_jumps(store: FaultyStore, daemon: Callable[..., parts.Daemon], tmp_path: Path) -> None:
    """D8: two days ahead, back by more than that, in steps: what came before and after is each done once."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    clock = tmp_path / "clock"
    service = daemon(daemon_settings(store), parts.workflow(BUCKET))

    def set_clock(offset: float) -> None:
        clock.with_suffix(".new").write_text(f"{offset:+}\n")
        os.replace(clock.with_suffix(".new"), clock)

    waits = "select count(*) from unready where state = 'SETTLING'"
    set_clock(0)
    store.put(BUCKET, "old.mp4", last_modified=int(time.time()) - 60, notify=0)
    service.start(
        LD_PRELOAD=str(library),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    parts.wait_for(lambda: service.query("select count(*) from ledger") == [(1,)], what="the first sweep")
    store.remove(BUCKET, "old.mp4")
    for number, offset in enumerate((2 * DAY, -2 * DAY)):
        set_clock(offset)
        put(store, f"{number}", 30)
        unborn = f"{number}/late.mp4"  # its notification comes before it does: it is looked at again and again
        version = store.put(BUCKET, unborn, notify=0)
        store.remove(BUCKET, unborn)
        store.send(f'{{"Records": [{json.dumps(store.record(BUCKET, unborn, version))}]}}')
        parts.wait_for(lambda: service.query(waits) != [(0,)], what="it to be waited for")
        set_clock(offset - 3 * 3600)
        store.put(BUCKET, unborn, notify=0)
        all_have_one_task(service.query, store)
        parts.wait_for(lambda: service.query(waits) == [(0,)], 20, "it not to be waited for any more")
    assert service.process.poll() is None


def test_the_key_pair_is_replaced(store: FaultyStore, daemon: Callable[..., parts.Daemon], tmp_path: Path) -> None:
    """D13: by systemd, Vault or whoever writes the files of credentials. Nothing is lost, and nothing is restarted."""
    folder = tmp_path / "credentials"
    folder.mkdir()

    def replace(key: str) -> None:
        for name, text in (("key", key), ("secret", f"secret of {key}")):
            (folder / f"{name}.new").write_text(text)
            (folder / f"{name}.new").rename(folder / name)

    def refer(given: Any) -> Any:
        if isinstance(given, dict):
            pair = {"access_key": "${credential:key}", "secret_key": "${credential:secret}"}
            return {name: pair.get(name, refer(value)) for name, value in given.items()}
        return given

    store.accepts = "first"
    replace("first")
    service = daemon(refer(daemon_settings(store)), parts.workflow(BUCKET))
    service.start(CREDENTIALS_DIRECTORY=str(folder))
    put(store, "before", 30)
    all_have_one_task(service.query, store)
    store.accepts = "second"
    put(store, "between", 30)
    parts.wait_for(lambda: "source unavailable" in service.text(), what="the old pair to be refused")
    assert "secret of" not in service.text()
    replace("second")
    all_have_one_task(service.query, store)
    put(store, "after", 30)
    all_have_one_task(service.query, store)


def test_the_machine_sleeps(store: FaultyStore, daemon: Callable[..., parts.Daemon]) -> None:
    """D25: for longer than a message is invisible. What it held comes again, to it or to nobody."""
    service = daemon(daemon_settings(store), parts.workflow(BUCKET))
    service.start()
    for number in range(3):
        store.delays["HEAD"] = 0.2
        put(store, f"{number}", 60)
        parts.wait_for(lambda: any(message.handles for message in store.queue), what="messages to be on their way")
        service.process.send_signal(signal.SIGSTOP)
        for message in store.queue:  # longer than they are invisible
            message.visible = 0
        store.delays.clear()
        service.process.send_signal(signal.SIGCONT)
        all_have_one_task(service.query, store)
    assert service.stop() == 0


def test_it_dies_at_each_start(store: FaultyStore, daemon: Callable[..., parts.Daemon]) -> None:
    """D25: a daemon that can't start takes no message, so that none ends in a dead-letter queue because of it."""
    service = daemon(daemon_settings(store), parts.workflow(BUCKET))
    service.start()
    service.stop()
    put(store, "a", 30)
    dies = "from watcher.runner import Runner as o\nasync def run(*_): raise RuntimeError('broken')\no.run = run"
    for _ in range(5):
        with contextlib.suppress(AssertionError):
            service.start(fault=dies)
        assert service.process.wait(20) != 0
    assert max(len(message.handles) for message in store.queue) <= 1
    for message in store.queue:
        message.visible = 0
    service.start()
    all_have_one_task(service.query, store)


def test_a_second_signal_ends_it_at_once(store: FaultyStore, daemon: Callable[..., parts.Daemon], clip: Path) -> None:
    """D25: the first one waits for what runs."""
    service = daemon(daemon_settings(store, drain="60s", media={}), parts.workflow(BUCKET, OutputDir="/out/"))
    slow = "from watcher.media import process\nimport asyncio\nrun = process.run\n"
    slow += (
        "async def slowly(*a, **n):\n    await asyncio.sleep(60)\n    return await run(*a, **n)\nprocess.run = slowly"
    )
    service.start(fault=slow)
    store.put(BUCKET, "a.mp4", clip.read_bytes())
    parts.wait_for(lambda: service.query("select 1 from tasks where status = 'PROCESSING'"), what="the task to begin")
    began = time.monotonic()
    service.process.terminate()
    time.sleep(0.5)
    assert service.process.poll() is None
    service.process.terminate()
    service.process.wait(15)
    assert time.monotonic() - began < 15
    assert service.query("select status from tasks") == [("WAITING",)]


def test_a_damaged_state(store: FaultyStore, daemon: Callable[..., parts.Daemon]) -> None:
    """D16: it says what to do, and never begins with an empty one."""
    service = daemon(daemon_settings(store), parts.workflow(BUCKET))
    service.start()
    put(store, "a", 30)
    all_have_one_task(service.query, store)
    service.stop()
    data = bytearray(service.database.read_bytes())
    data[4096 : 4096 * 8] = bytes(4096 * 7)
    for damaged in (bytes(data), b"nothing of the kind" * 1000):
        service.database.write_bytes(damaged)
        with pytest.raises(AssertionError, match=r"Restore it from a backup; or move it away"):
            service.start()
        assert service.database.read_bytes()[: len(damaged)] == damaged
