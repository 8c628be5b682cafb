"""The audit log over the journal: trees, their heads, acts, holds and retention.

Locks: new tables and a nullable column rewrite nothing. The journal's unique index is built again with
the subject first, which makes appending for many tenants twice as fast: on PostgreSQL appends wait for
it, about a second for a million leaves; SQLite copies the journal, at about the speed of the disk.
Undo: ``downgrade`` to ``0003``. The trees can be built again from the journal, and give the same
roots; acts, holds and retention are lost.

Revision ID: 0004
Revises: 0003
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

identifier = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _table(name: str, *columns: sa.Column[Any], key: tuple[str, ...], **options: Any) -> None:
    op.create_table(
        name,
        sa.Column("tenant_id", identifier, nullable=False),
        *columns,
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=f"fk_{name}_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", *key, name=f"pk_{name}"),
        **options,
    )


def upgrade() -> None:
    _table(
        "acts",
        sa.Column("act_id", identifier, nullable=False),
        sa.Column("kind", identifier, nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        key=("act_id",),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_acts_tenant_id_recorded_at_act_id", "acts", ["tenant_id", "recorded_at", "act_id"])
    _table(
        "log_heads",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("checkpoint", sa.Text(), nullable=False),
        sa.Column("signed_at", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("leased_until", sa.BigInteger(), nullable=False),
        key=(),
    )
    _table(
        "log_tiles",
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        key=("level", "position"),
    )
    _table(
        "holds",
        sa.Column("hold_id", identifier, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger()),
        sa.Column("until", sa.BigInteger()),
        sa.Column("placed_at", sa.BigInteger(), nullable=False),
        sa.Column("placed_by", sa.Text(), nullable=False),
        sa.Column("released_at", sa.BigInteger()),
        sa.Column("released_by", sa.Text()),
        key=("hold_id",),
    )
    _table(
        "retention",
        sa.Column("days", sa.BigInteger()),
        sa.Column("erased_before", sa.BigInteger(), nullable=False),
        key=(),
    )
    with op.batch_alter_table("journal") as journal:
        journal.drop_constraint("uq_journal_tenant_id_kind_subject_id", type_="unique")
        journal.create_unique_constraint("uq_journal_subject_id_kind_tenant_id", ["subject_id", "kind", "tenant_id"])
    op.add_column("tenant_keys", sa.Column("destroyed_at", sa.BigInteger()))
    op.create_index("ix_idempotency_tenant_id_decision_id", "idempotency", ["tenant_id", "decision_id"])


def downgrade() -> None:
    op.drop_index("ix_idempotency_tenant_id_decision_id", "idempotency")
    op.drop_column("tenant_keys", "destroyed_at")
    with op.batch_alter_table("journal") as journal:
        journal.drop_constraint("uq_journal_subject_id_kind_tenant_id", type_="unique")
        journal.create_unique_constraint("uq_journal_tenant_id_kind_subject_id", ["tenant_id", "kind", "subject_id"])
    for table in ("retention", "holds", "log_tiles", "log_heads", "acts"):
        op.drop_table(table)
