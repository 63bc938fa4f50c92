"""What requests make: templates, schedules, sessions, credentials, samples."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _workflows(name: str) -> None:
    op.create_table(
        name,
        sa.Column("id", _serial, autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("plan", sa.LargeBinary(length=16), nullable=False),
        sa.Column("create_time", sa.Float(), nullable=False),
        sa.Column("update_time", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "name"),
        sqlite_autoincrement=True,
    )


def upgrade() -> None:
    # A constraint can't be dropped in SQLite, so the table is made anew. The sequence of its ids goes on: an id
    # that was given once is never given again.
    op.rename_table("workflows", "workflows_0001")
    _workflows("workflows")
    columns = "id, name, origin, plan, create_time, update_time"
    op.execute(f"insert into workflows (kind, {columns}) select 'WorkflowTask', {columns} from workflows_0001")
    op.execute("delete from sqlite_sequence where name = 'workflows'")
    op.execute("update sqlite_sequence set name = 'workflows' where name = 'workflows_0001'")
    op.drop_table("workflows_0001")
    op.add_column("tasks", sa.Column("kind", sa.Text(), nullable=False, server_default="WorkflowTask"))
    op.add_column("tasks", sa.Column("session_id", sa.Text(), nullable=False, server_default=""))
    op.add_column("tasks", sa.Column("session_context", sa.Text(), nullable=False, server_default=""))
    op.add_column("tasks", sa.Column("offline", sa.Boolean(), nullable=False, server_default=sa.text("0")))
    op.drop_index("tasks_queue", "tasks")
    op.create_index("tasks_queue", "tasks", ["status", "offline", sa.text("priority DESC"), "seq"], unique=False)
    op.create_index("tasks_status", "tasks", ["status"], unique=False)
    op.create_table(
        "templates",
        sa.Column("definition", _serial, autoincrement=True, nullable=False),
        sa.Column("family", sa.Text(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("create_time", sa.Float(), nullable=False),
        sa.Column("update_time", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("definition"),
        sqlite_autoincrement=True,
    )
    op.create_index("templates_family", "templates", ["family"], unique=False)
    # Presets and those of files have smaller numbers.
    op.execute("insert into sqlite_sequence (name, seq) values ('templates', 900000)")
    op.create_table(
        "sessions",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("used", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "credentials",
        sa.Column("secret_id", sa.Text(), nullable=False),
        sa.Column("secret_key", sa.Text(), nullable=False),
        sa.Column("rights", sa.Text(), nullable=False),
        sa.Column("buckets", sa.JSON(), nullable=False),
        sa.Column("create_time", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("secret_id"),
    )
    op.create_table(
        "words",
        sa.Column("keyword", sa.Text(), nullable=False),
        sa.Column("usages", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("create_time", sa.Float(), nullable=False),
        sa.Column("update_time", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("keyword"),
    )
    op.create_table(
        "persons",
        sa.Column("seq", _serial, autoincrement=True, nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("usages", sa.JSON(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("create_time", sa.Float(), nullable=False),
        sa.Column("update_time", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("person_id"),
    )
    op.create_table(
        "faces",
        sa.Column("face_id", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=16), nullable=False),
        sa.Column("picture", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("face_id"),
    )
    op.create_index("faces_person", "faces", ["person_id"], unique=False)
    op.create_index("faces_digest", "faces", ["digest"], unique=False)


def downgrade() -> None:
    for table in ("faces", "persons", "words", "credentials", "sessions", "templates"):
        op.drop_table(table)
    op.drop_index("tasks_status", "tasks")
    op.drop_index("tasks_queue", "tasks")
    op.create_index("tasks_queue", "tasks", ["status", sa.literal_column("priority DESC"), "seq"], unique=False)
    for column in ("kind", "session_id", "session_context", "offline"):
        op.drop_column("tasks", column)
    op.execute("delete from workflows where kind <> 'WorkflowTask'")
    with op.batch_alter_table("workflows") as batch:
        batch.drop_column("kind")
