"""Runs migrations on the connection that watcher.state.database hands over."""

from alembic import context

from watcher.state import schema

context.configure(connection=context.config.attributes["connection"], target_metadata=schema.metadata)
with context.begin_transaction():
    context.run_migrations()
