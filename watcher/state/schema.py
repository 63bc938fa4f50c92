"""The tables. Migrations in ``migrations/versions`` lead here; a test compares the two.

Times are seconds since 1970 (UTC). JSON columns hold the model's plain data in snake_case.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    false,
)

HEAD = "0006"
"""The newest migration. Kept here so that a start without migrations needs no Alembic."""
DAEMON = "daemon/"
"""What the names of the leases of daemons begin with; then comes ``host/process/…``."""

metadata = MetaData()

_Serial = BigInteger().with_variant(Integer, "sqlite")

ledger = Table(
    "ledger",  # every object version that was heard of; its rows lie in the order in which S3 lists keys
    metadata,
    Column("place", LargeBinary, primary_key=True),  # six bytes for the storage, then the key
    Column("version", LargeBinary(8), primary_key=True),  # digest of the version's identity
    Column("state", SmallInteger, nullable=False),
    Column("seen", Integer, nullable=False),
    Column("alias", LargeBinary(8)),  # a second digest of it: a version with an id is listed without it
    Column("mark", LargeBinary),  # of the change that made it
    Column("missing", Integer),  # since when it is not listed any more: negative until a second sweep says so too
    sqlite_with_rowid=False,
)

ledger_before = Table(
    "ledger_before",  # of the time when the ledger held digests only; nothing is added
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("state", SmallInteger, nullable=False),
    Column("seen", Integer, nullable=False),
    sqlite_with_rowid=False,
)

unready = Table(
    "unready",  # objects that were heard of and can't be read yet, and those that never came
    metadata,
    Column("storage", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("state", Text, nullable=False),  # SETTLING, ARCHIVED, GONE
    Column("source", Text, nullable=False),
    Column("version_id", Text, nullable=False),
    Column("mark", LargeBinary),
    Column("since", Float, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("tries", Integer, nullable=False),
)
Index("unready_due", unready.c.state, unready.c.not_before)

backfills = Table(
    "backfills",  # objects that were there before, to be started all the same, page by page
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("storage", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("workflow_id", _Serial, nullable=False),  # 0 for all that match
    Column("again", Boolean, nullable=False),  # whether tasks that ended run once more
    Column("since", Float),
    Column("until", Float),
    Column("position", LargeBinary, nullable=False),  # the key up to which it is done
    Column("listed", Integer, nullable=False),
    Column("made", Integer, nullable=False),
    Column("create_time", Float, nullable=False),
    Column("finish_time", Float),
    Column("error", Text, nullable=False),
    sqlite_autoincrement=True,
)

leases = Table(
    "leases",  # what one daemon does for all of them
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("expires", Float, nullable=False),
)

meters = Table(
    "meters",  # counters that outlive the process
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Float, nullable=False),
)

workflows = Table(
    "workflows",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),  # WorkflowTask or ScheduleTask: what its tasks are called
    Column("name", Text, nullable=False),
    Column("origin", Text, nullable=False),  # the file it comes from; empty for one that a request made
    Column("plan", LargeBinary(16), nullable=False),
    Column("create_time", Float, nullable=False),
    Column("update_time", Float, nullable=False),
    UniqueConstraint("kind", "name"),
    sqlite_autoincrement=True,
)

plans = Table(
    "plans",  # each body an order ever had, by content: its tasks keep theirs
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("body", JSON, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("task_id", Text, nullable=False, unique=True),
    Column("workflow_id", _Serial, nullable=False),
    Column("workflow_name", Text, nullable=False),
    Column("plan", LargeBinary(16), nullable=False),
    Column("storage", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("source", JSON, nullable=False),
    Column("status", Text, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("lineage", Text, nullable=False),
    Column("create_time", Float, nullable=False),
    Column("begin_time", Float),
    Column("finish_time", Float),
    Column("not_before", Float, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("abort", Boolean, nullable=False),
    Column("failed", Boolean, nullable=False),
    Column("code", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Column("metadata", JSON),
    Column("results", JSON, nullable=False),
    Column("kind", Text, nullable=False, server_default="WorkflowTask"),
    Column("session_id", Text, nullable=False, server_default=""),
    Column("session_context", Text, nullable=False, server_default=""),
    Column("offline", Boolean, nullable=False, server_default=false()),
    Column("lane", SmallInteger, nullable=False, server_default="0"),  # 0 for what just came, 1 for what was there
    Column("owner", Text, nullable=False, server_default=""),  # the daemon that runs it
)
Index(
    "tasks_queue", tasks.c.status, tasks.c.offline, tasks.c.lane, tasks.c.workflow_id, tasks.c.priority.desc(),
    tasks.c.seq,
)  # fmt: skip
Index("tasks_status", tasks.c.status)  # and by seq, which is the rowid: pages of one status
Index("tasks_object", tasks.c.storage, tasks.c.key)
Index("tasks_finished", tasks.c.finish_time)

outputs = Table(
    "outputs",  # every object we wrote or are writing: the loop guard and the clean-up after a kill
    metadata,
    Column("id", LargeBinary(16), primary_key=True),  # digest of storage and key
    Column("storage", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("lineage", Text, nullable=False),
    Column("version", LargeBinary(16)),  # digest of the version written; null while it is being written
)
_unwritten = outputs.c.version.is_(None)
Index("outputs_unfinished", outputs.c.task_id, sqlite_where=_unwritten, postgresql_where=_unwritten)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("body", JSON, nullable=False),
    Column("status", Text, nullable=False),  # PENDING, DELIVERED, DEAD
    Column("attempts", Integer, nullable=False),
    Column("create_time", Float, nullable=False),
    Column("update_time", Float, nullable=False),
    Column("error", Text, nullable=False),
    UniqueConstraint("event_id", "destination"),
)
Index("outbox_queue", outbox.c.status, outbox.c.destination, outbox.c.seq)
Index("outbox_task", outbox.c.task_id)

sources = Table(
    "sources",
    metadata,
    Column("name", Text, primary_key=True),
    Column("cursor", Text, nullable=False),
)

templates = Table(
    "templates",  # those that requests made; those of files are read at each start
    metadata,
    Column("definition", _Serial, primary_key=True, autoincrement=True),
    Column("family", Text, nullable=False),
    Column("body", JSON, nullable=False),
    Column("create_time", Float, nullable=False),
    Column("update_time", Float, nullable=False),
    sqlite_autoincrement=True,
)
Index("templates_family", templates.c.family)

sessions = Table(
    "sessions",  # SessionIds that were used lately
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("used", Float, nullable=False),
)

credentials = Table(
    "credentials",
    metadata,
    Column("secret_id", Text, primary_key=True),
    Column("secret_key", Text, nullable=False),
    Column("rights", Text, nullable=False),
    Column("buckets", JSON, nullable=False),
    Column("create_time", Float, nullable=False),
)

words = Table(
    "words",
    metadata,
    Column("keyword", Text, primary_key=True),
    Column("usages", JSON, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("create_time", Float, nullable=False),
    Column("update_time", Float, nullable=False),
)

persons = Table(
    "persons",
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("person_id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("usages", JSON, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("create_time", Float, nullable=False),
    Column("update_time", Float, nullable=False),
)

faces = Table(
    "faces",
    metadata,
    Column("face_id", Text, primary_key=True),
    Column("person_id", Text, nullable=False),
    Column("digest", LargeBinary(16), nullable=False),  # of the picture
    Column("picture", LargeBinary, nullable=False),
)
Index("faces_person", faces.c.person_id)
Index("faces_digest", faces.c.digest)

quarantine = Table(
    "quarantine",  # messages that nobody could read, as they came
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("heard", Float, nullable=False),
    sqlite_autoincrement=True,
)

spool = Table(
    "spool",  # messages that were taken and are not committed yet, as they came
    metadata,
    Column("seq", _Serial, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False),
    Column("owner", Text, nullable=False),  # the daemon that took it
    Column("body", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
Index("spool_source", spool.c.source, spool.c.seq)

fingerprints = Table(
    "fingerprints",  # of the sound of films, for what those of a directory have in common
    metadata,
    Column("directory", LargeBinary, primary_key=True),  # as a place in the ledger
    Column("name", LargeBinary, primary_key=True),
    Column("head", LargeBinary, nullable=False),
    Column("tail", LargeBinary, nullable=False),
    Column("duration", Float, nullable=False),
    Column("made", Float, nullable=False),
)

FIRST_NUMBERS = {"workflows": ("id", 10_001), "templates": ("definition", 900_001)}
"""Where the numbers of some tables begin; the migrations say so to SQLite."""
CATALOG = "catalog"
"""The meter that counts changes of workflows and templates."""
