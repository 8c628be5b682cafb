"""The policies that an API key brings to every decision made with it.

Locks: adding a column with a default rewrites nothing, on either database.
Undo: ``downgrade`` to ``0002``. Keys are then bound by their tenant's policies alone, so revoke those
that name policies first.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("policies", sa.Text(), nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("api_keys", "policies")
