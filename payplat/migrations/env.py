"""Runs migrations on the connection that ``payplat.schema`` hands over."""

from alembic import context

from payplat.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    compare_type=True,
    render_as_batch=connection.dialect.name == "sqlite",
    # Each migration stands or falls alone: MariaDB commits at every CREATE and ALTER anyway.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
