"""Alembic's entry: migrates the connection that `server.ledger.schema.prepare` holds."""

from alembic import context

from server.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
