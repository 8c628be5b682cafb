"""The first tables.

Locks: nothing that exists; an empty database takes some milliseconds. On PostgreSQL the foreign
keys lock only tables created here.
Undo: ``downgrade`` to ``base``. It drops every table with all that they hold: back up first
(``caio db backup``).

Revision ID: 0001
Revises: nothing
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

identifier = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("quota_services", sa.BigInteger(), nullable=False),
        sa.Column("quota_per_minute", sa.BigInteger(), nullable=False),
        sa.Column("quota_per_hour", sa.BigInteger(), nullable=False),
        sa.Column("quota_per_day", sa.BigInteger(), nullable=False),
        sa.Column("quota_budget", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_tenants"),
    )
    op.create_table(
        "api_keys",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("key_id", identifier, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("trust_level", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_api_keys_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", "key_id", name="pk_api_keys"),
        sa.UniqueConstraint("key_hash", name="uq_api_keys_key_hash"),
    )
    op.create_table(
        "tenant_keys",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_tenant_keys_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_tenant_keys"),
    )
    op.create_table(
        "publication_heads",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("sort", identifier, nullable=False),
        sa.Column("name", identifier, nullable=False),
        sa.Column("version", identifier, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_publication_heads_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", "sort", "name", name="pk_publication_heads"),
    )
    op.create_table(
        "publications",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("sort", identifier, nullable=False),
        sa.Column("name", identifier, nullable=False),
        sa.Column("version", identifier, nullable=False),
        sa.Column("digest", identifier, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_publications_tenants"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "sort", "name"],
            ["publication_heads.tenant_id", "publication_heads.sort", "publication_heads.name"],
            name="fk_publications_publication_heads",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "sort", "name", "version", name="pk_publications"),
    )
    op.create_index(
        "ix_publications_shared",
        "publications",
        ["sort"],
        sqlite_where=sa.text("shared"),
        postgresql_where=sa.text("shared"),
    )
    op.create_index("ix_publications_sort_digest", "publications", ["sort", "digest"])
    op.create_table(
        "publication_tags",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("sort", identifier, nullable=False),
        sa.Column("tag", identifier, nullable=False),
        sa.Column("name", identifier, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_publication_tags_tenants"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "sort", "name"],
            ["publication_heads.tenant_id", "publication_heads.sort", "publication_heads.name"],
            name="fk_publication_tags_publication_heads",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "sort", "tag", "name", name="pk_publication_tags"),
    )
    op.create_table(
        "snapshots",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("digest", identifier, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_snapshots_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", "digest", name="pk_snapshots"),
    )
    op.create_table(
        "journal_heads",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_journal_heads_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_journal_heads"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "journal",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("kind", identifier, nullable=False),
        sa.Column("subject_id", identifier, nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("commitment", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_journal_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", "seq", name="pk_journal"),
        sa.UniqueConstraint("tenant_id", "kind", "subject_id", name="uq_journal_tenant_id_kind_subject_id"),
    )
    op.create_table(
        "decisions",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("decision_id", identifier, nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("capability", sa.Text(), nullable=False),
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("service_version", sa.Text(), nullable=False),
        sa.Column("principal_id", sa.Text(), nullable=False),
        sa.Column("decision_hash", sa.Text(), nullable=False),
        sa.Column("admitted", sa.Boolean(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_decisions_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", "decision_id", name="pk_decisions"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_decisions_tenant_id_decided_at_decision_id", "decisions", ["tenant_id", "decided_at", "decision_id"]
    )
    op.create_table(
        "outcomes",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("decision_id", identifier, nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("latency_ms", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("charged", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_outcomes_tenants"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "decision_id"], ["decisions.tenant_id", "decisions.decision_id"], name="fk_outcomes_decisions"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "decision_id", name="pk_outcomes"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "attempts",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("decision_id", identifier, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.Text(), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("latency_ms", sa.BigInteger(), nullable=False),
        sa.Column("violations", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_attempts_tenants"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "decision_id"], ["outcomes.tenant_id", "outcomes.decision_id"], name="fk_attempts_outcomes"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "decision_id", "position", name="pk_attempts"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_attempts_tenant_id_finished_at", "attempts", ["tenant_id", "finished_at"])
    op.create_table(
        "idempotency",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("idempotency_key", identifier, nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("decision_id", identifier, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("claimed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_idempotency_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", "idempotency_key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_tenant_id_claimed_at", "idempotency", ["tenant_id", "claimed_at"])
    op.create_table(
        "secrets",
        sa.Column("tenant_id", identifier, nullable=False),
        sa.Column("name", identifier, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name="fk_secrets_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", "name", name="pk_secrets"),
    )


def downgrade() -> None:
    for table in (
        "secrets",
        "idempotency",
        "attempts",
        "outcomes",
        "decisions",
        "journal",
        "journal_heads",
        "snapshots",
        "publication_tags",
        "publications",
        "publication_heads",
        "tenant_keys",
        "api_keys",
        "tenants",
    ):
        op.drop_table(table)
