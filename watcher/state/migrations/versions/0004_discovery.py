"""The ledger in the order of keys, with what discovery has to remember; lanes and owners of tasks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    # The old rows are digests, from which no key can be had: they are asked for what the new table does not know.
    op.rename_table("ledger", "ledger_before")
    op.create_table(
        "ledger",
        sa.Column("place", sa.LargeBinary, primary_key=True),
        sa.Column("version", sa.LargeBinary(8), primary_key=True),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("seen", sa.Integer, nullable=False),
        sa.Column("alias", sa.LargeBinary(8)),
        sa.Column("mark", sa.LargeBinary),
        sa.Column("missing", sa.Integer),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unready",
        sa.Column("storage", sa.Text, primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("version_id", sa.Text, nullable=False),
        sa.Column("mark", sa.LargeBinary),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("not_before", sa.Float, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
    )
    op.create_index("unready_due", "unready", ["state", "not_before"])
    op.create_table(
        "backfills",
        sa.Column("seq", serial, primary_key=True, autoincrement=True),
        sa.Column("storage", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("workflow_id", serial, nullable=False),
        sa.Column("again", sa.Boolean, nullable=False),
        sa.Column("since", sa.Float),
        sa.Column("until", sa.Float),
        sa.Column("position", sa.LargeBinary, nullable=False),
        sa.Column("listed", sa.Integer, nullable=False),
        sa.Column("made", sa.Integer, nullable=False),
        sa.Column("create_time", sa.Float, nullable=False),
        sa.Column("finish_time", sa.Float),
        sa.Column("error", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
    )
    op.create_table(
        "meters",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Float, nullable=False),
    )
    op.add_column("tasks", sa.Column("lane", sa.SmallInteger, nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("owner", sa.Text, nullable=False, server_default=""))
    op.drop_index("tasks_queue", "tasks")
    op.create_index(
        "tasks_queue", "tasks", ["status", "offline", "lane", "workflow_id", sa.text("priority DESC"), "seq"]
    )
