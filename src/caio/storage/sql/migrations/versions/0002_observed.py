"""What is observed of services, by the hour; attempts with their version and the clauses they broke.

Locks: on PostgreSQL ``attempts`` is locked while its rows get the version of their decision, about
ten seconds for a million of them; on SQLite the whole database, for about as long.
Undo: ``downgrade`` to ``0001``. It drops the observed hours, which count from this migration on, and
of each attempt the version, whether it was streamed and which clauses it broke; the journal's sealed
records keep all of these.

Attempts of before do not say whether they were streamed. They are marked as streamed, so that the
time to a first token is never taken for the time to an answer; which clauses they broke is
``unrecorded``.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

identifier = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

_VERSIONS = """
    UPDATE attempts SET version = (
        SELECT service_version FROM decisions
        WHERE decisions.tenant_id = attempts.tenant_id AND decisions.decision_id = attempts.decision_id
          AND decisions.service_id = attempts.service_id
    )
    WHERE EXISTS (
        SELECT 1 FROM decisions
        WHERE decisions.tenant_id = attempts.tenant_id AND decisions.decision_id = attempts.decision_id
          AND decisions.service_id = attempts.service_id
    )
"""


def upgrade() -> None:
    op.create_table(
        "observed",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("service_id", identifier, nullable=False),
        sa.Column("version", identifier, nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("measure", identifier, nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_observed_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", "service_id", "version", "hour", "measure", "bucket", name="pk_observed"),
        sqlite_with_rowid=False,
    )
    op.add_column("attempts", sa.Column("version", sa.Text(), nullable=False, server_default=""))
    op.add_column("attempts", sa.Column("streamed", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("attempts", sa.Column("breached", sa.Text(), nullable=False, server_default=""))
    op.execute(_VERSIONS)
    op.execute("UPDATE attempts SET breached = 'unrecorded' WHERE violations > 0")
    op.drop_column("attempts", "violations")


def downgrade() -> None:
    op.add_column("attempts", sa.Column("violations", sa.Integer(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE attempts SET violations = length(breached) - length(replace(breached, ' ', '')) + 1 "
        "WHERE breached <> ''"
    )
    for column in ("breached", "streamed", "version"):
        op.drop_column("attempts", column)
    op.drop_table("observed")
