"""The durable record: ledger, tasks, outputs and outbox, on SQLAlchemy Core."""
