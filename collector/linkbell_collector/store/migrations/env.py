"""What Alembic runs. It is always given a connection with a transaction already begun."""

from alembic import context

from linkbell_collector.store import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
