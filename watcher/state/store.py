"""The state as one object with a part for each concern."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from watcher.state._sqlite import SqliteBackend
from watcher.state.backfills import Backfills
from watcher.state.credentials import Credentials
from watcher.state.cursors import Cursors
from watcher.state.database import Backend, Database
from watcher.state.fingerprints import Fingerprints
from watcher.state.leases import Leases
from watcher.state.ledger import Ledger
from watcher.state.meters import Meters
from watcher.state.outbox import Outbox
from watcher.state.outputs import Outputs
from watcher.state.quarantine import Quarantine
from watcher.state.samples import Persons, Words
from watcher.state.spool import Spool
from watcher.state.tasks import Tasks
from watcher.state.templates import Templates
from watcher.state.unready import UnreadyObjects
from watcher.state.workflows import Workflows


class State:
    """Opened and closed as an async context manager."""

    def __init__(self, where: Path | Backend, *, max_hops: int = 3) -> None:
        """``where`` is an SQLite file, or where else the tables are."""
        self.database = Database(SqliteBackend(where) if isinstance(where, Path) else where)
        self.ledger = Ledger(self.database, max_hops)
        self.outputs = Outputs(self.database)
        self.tasks = Tasks(self.database)
        self.outbox = Outbox(self.database)
        self.workflows = Workflows(self.database)
        self.templates = Templates(self.database)
        self.words = Words(self.database)
        self.persons = Persons(self.database)
        self.quarantine = Quarantine(self.database)
        self.spool = Spool(self.database)
        self.fingerprints = Fingerprints(self.database)
        self.credentials = Credentials(self.database)
        self.cursors = Cursors(self.database)
        self.unready = UnreadyObjects(self.database)
        self.backfills = Backfills(self.database, self.ledger)
        self.leases = Leases(self.database)
        self.meters = Meters(self.database)

    async def __aenter__(self) -> Self:
        try:
            await self.database.open()
        except BaseException:
            await self.database.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.database.close()
