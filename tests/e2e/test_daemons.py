"""Several daemons on one PostgreSQL: each object once, whoever dies or sleeps meanwhile."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests import parts
from tests.faulty import FaultyStore
from tests.rig import BUCKET
from watcher.state import database, schema

QUICK = "import watcher.daemon, watcher.dispatcher\nwatcher.daemon.ALIVE = 2.0\nwatcher.dispatcher.LEASE = 2.0\n"


@pytest.fixture
def store() -> Iterator[FaultyStore]:
    """With one bucket for both, inputs and outputs."""
    with FaultyStore() as made:
        made.objects[BUCKET] = {}
        yield made


class Pair:
    """Two daemons with the same settings, each in a folder of its own."""

    def __init__(self, make: Callable[..., parts.Daemon], root: Path, address: str, store: FaultyStore) -> None:
        reach = {"endpoint_url": store.url, "access_key": "k", "secret_key": "s", "region": "ap-guangzhou"}
        settings: dict[str, Any] = {
            "state": address,
            "storages": {BUCKET: {"type": "s3", "addressing": "path", **reach}},
            "sources": {
                "queue": {"type": "sqs", "queue_url": store.queue_url, "visibility_timeout": 10, **reach},
                "sweep": {"type": "s3_poll", "storage": BUCKET, "interval": 0.5, "prefixes": ["in/"]},
            },
            "executor": {"type": "embedded", "slots": 1},
        }
        body = parts.workflow(BUCKET, OutputDir="/out/")
        self.daemons = [make(settings, body, root=root / name) for name in ("one", "other")]
        self._address = address

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the state."""
        with psycopg.connect(self._address) as connection:
            return connection.execute(sql).fetchall()

    def finished(self, count: int, timeout: float = 60) -> list[tuple[Any, ...]]:
        """(key, owner, attempts, failed) of so many finished tasks."""
        sql = "select key, owner, attempts, failed from tasks where status = 'FINISH' order by seq"
        return parts.wait_for(lambda: rows if len(rows := self.query(sql)) >= count else None, timeout) or []


@pytest.fixture
def pair(
    daemon: Callable[..., parts.Daemon], tmp_path: Path, postgresql: Callable[[], str], store: FaultyStore
) -> Pair:
    """Not started yet."""
    return Pair(daemon, tmp_path, postgresql(), store)


def test_two_daemons_share_the_work_and_one_dies(pair: Pair, store: FaultyStore, clip: Path) -> None:
    """Both work; what the dead one had begun is done by the other; each object has one task and one output."""
    for service in pair.daemons:
        service.start(fault=QUICK)
    data = clip.read_bytes()
    for number in range(16):
        store.put(BUCKET, f"in/{number:02}.mp4", data, notify=number % 3)
    pair.finished(5)
    pair.daemons[0].kill()
    for message in store.queue:
        message.visible = 0
    done = pair.finished(16, 90)
    assert sorted(row[0] for row in done) == [f"in/{number:02}.mp4" for number in range(16)]
    assert not any(row[3] for row in done)
    assert len({row[1] for row in done}) == 2, "both did some"
    outputs = sorted(key for key, _ in store.current(BUCKET) if key.startswith("out/"))
    assert len(outputs) == 16
    assert pair.query("select count(*) from tasks") == [(16,)]


def test_a_daemon_that_slept_is_told(pair: Pair, store: FaultyStore, clip: Path) -> None:
    """SIGSTOP for longer than its leases: the other sweeps and takes over; when it wakes up nothing is done twice."""
    one, other = pair.daemons
    one.start(fault=QUICK)
    data = clip.read_bytes()
    store.put(BUCKET, "in/first.mp4", data)
    pair.finished(1)
    other.start(fault=QUICK)
    parts.wait_for(lambda: pair.query("select 1 from leases where name like 'sweep/%'"), what="a sweeper")
    one.process.send_signal(signal.SIGSTOP)
    store.put(BUCKET, "in/found-by-a-sweep.mp4", data, notify=0)
    store.put(BUCKET, "in/told.mp4", data)
    pair.finished(3, 60)
    one.process.send_signal(signal.SIGCONT)
    store.put(BUCKET, "in/after.mp4", data, notify=2)
    pair.finished(4)
    for message in store.queue:
        message.visible = 0
    parts.wait_for(lambda: not store.queue, what="the queue to be empty")
    assert pair.query("select count(*) from tasks") == [(4,)]
    owners = {row[0] for row in pair.query("select owner from leases where name like 'sweep/%'")}
    assert len(owners) == 1


def test_the_database_goes_away_and_comes_back(pair: Pair, store: FaultyStore, clip: Path) -> None:
    """Connections are cut: nothing is acknowledged meanwhile, and it goes on without a restart."""
    service = pair.daemons[0]
    service.start(fault=QUICK)
    data = clip.read_bytes()
    store.put(BUCKET, "in/a.mp4", data)
    pair.finished(1)
    cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'watcher'"
    for number in range(5):
        pair.query(cut)
        store.put(BUCKET, f"in/{number}.mp4", data)
    for message in store.queue:
        message.visible = 0
    done = pair.finished(6, 60)
    assert len(done) == 6
    assert service.process.poll() is None


NEWER = """
import watcher.state.database as database
from pathlib import Path
database._MIGRATIONS = Path({migrations!r})
database.schema.HEAD = "9999"
"""
MIGRATION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9999", {head!r}
def upgrade():
    op.add_column("tasks", sa.Column("new_column", sa.Text()))
    op.create_table("new_table", sa.Column("id", sa.Integer, primary_key=True))
"""


def test_a_newer_version_joins(pair: Pair, store: FaultyStore, clip: Path, tmp_path: Path) -> None:
    """D22: its migration adds to the tables while an older one works with them; the older one goes on until it ends,
    and says why it does not start again."""
    older, newer = pair.daemons
    migrations = tmp_path / "migrations"
    shutil.copytree(Path(database.__file__).parent / "migrations", migrations)
    (migrations / "versions" / "9999_newer.py").write_text(MIGRATION.format(head=schema.HEAD))
    older.start(fault=QUICK)
    data = clip.read_bytes()
    for number in range(16):
        store.put(BUCKET, f"in/{number:02}.mp4", data, notify=number % 3)
    pair.finished(2)
    newer.start(fault=QUICK + NEWER.format(migrations=str(migrations)))
    assert pair.query("select version_num from alembic_version") == [("9999",)]
    for number in range(16, 24):
        store.put(BUCKET, f"in/{number:02}.mp4", data, notify=number % 3)
    done = pair.finished(24, 90)
    assert len({row[1] for row in done}) == 2, "both did some"
    assert not any(row[3] for row in done)
    assert older.stop() == 0
    with pytest.raises(AssertionError, match="was made by a newer version of watcher"):
        older.start(fault=QUICK)
    store.put(BUCKET, "in/after.mp4", data)
    pair.finished(25)
    assert pair.query("select count(*) from tasks") == [(25,)]


def test_a_database_that_is_not_there(pair: Pair) -> None:
    """The daemon says so in words, and does not start."""
    service = pair.daemons[0]
    settings = yaml.safe_load(service.config.read_text())
    service.write_settings({**settings, "state": "postgresql://watcher:s3cret@127.0.0.1:1/nothing"})
    with pytest.raises(AssertionError, match="can't be used as the state"):
        service.start()
    assert "s3cret" not in service.text()
