"""Alembic's entry: run the migrations on the connection that ``caio.storage.sql.upgrade`` hands over.

The caller owns the transaction, so a migration that fails leaves nothing behind.
"""

from alembic import context

from caio.storage.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
