"""Model aliases, and the runs of workflows with their steps and what happened in them.

Locks: new tables only. Undo: ``downgrade`` to ``0006``; aliases and workflow runs are lost.

Revision ID: 0007
Revises: 0006
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from caio.storage.sql import row_security

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

identifier = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

_NEW = ("model_aliases", "workflow_runs", "workflow_steps", "workflow_events")


def _column(name: str, kind: Any, *, optional: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=optional)


def _table(name: str, *columns: Any, key: tuple[str, ...]) -> None:
    op.create_table(
        name,
        _column("tenant_id", identifier),
        *columns,
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=f"fk_{name}_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", *key, name=f"pk_{name}"),
    )


def upgrade() -> None:
    _table(
        "model_aliases",
        _column("alias", identifier),
        _column("document", sa.Text()),
        _column("revision", sa.BigInteger()),
        _column("created_at", sa.BigInteger()),
        _column("updated_at", sa.BigInteger()),
        key=("alias",),
    )
    _workflows()
    if op.get_bind().dialect.name == "postgresql":
        for name in _NEW:
            row_security.secure(op.get_bind(), name)


def _workflows() -> None:
    of_a_run = ["tenant_id", "run_id"], ["workflow_runs.tenant_id", "workflow_runs.run_id"]
    _table(
        "workflow_runs",
        _column("run_id", identifier),
        _column("principal_id", sa.Text()),
        _column("status", sa.Text()),
        _column("code", sa.Text()),
        _column("plan_hash", sa.Text()),
        _column("most_cost", sa.BigInteger()),
        _column("key_name", sa.Text(), optional=True),
        _column("fingerprint", sa.Text()),
        _column("created_at", sa.BigInteger()),
        _column("updated_at", sa.BigInteger()),
        _column("deadline_at", sa.BigInteger()),
        _column("owner", sa.Text()),
        _column("leased_until", sa.BigInteger(), optional=True),
        _column("sealed", sa.LargeBinary()),
        _column("sealed_result", sa.LargeBinary(), optional=True),
        sa.UniqueConstraint("tenant_id", "key_name", name="uq_workflow_runs_tenant_id_key_name"),
        key=("run_id",),
    )
    op.create_index("ix_workflow_runs_leased_until", "workflow_runs", ["leased_until"])
    _table(
        "workflow_steps",
        _column("run_id", identifier),
        _column("step", identifier),
        _column("status", sa.Text()),
        _column("code", sa.Text()),
        _column("decision_id", sa.Text()),
        _column("service_id", sa.Text()),
        _column("charged", sa.BigInteger()),
        _column("started_at", sa.BigInteger()),
        _column("finished_at", sa.BigInteger(), optional=True),
        _column("sealed", sa.LargeBinary(), optional=True),
        sa.ForeignKeyConstraint(*of_a_run, name="fk_workflow_steps_workflow_runs"),
        key=("run_id", "step"),
    )
    _table(
        "workflow_events",
        _column("run_id", identifier),
        _column("seq", sa.BigInteger()),
        _column("at", sa.BigInteger()),
        _column("kind", sa.Text()),
        _column("document", sa.Text()),
        sa.ForeignKeyConstraint(*of_a_run, name="fk_workflow_events_workflow_runs"),
        key=("run_id", "seq"),
    )


def downgrade() -> None:
    for name in reversed(_NEW):
        op.drop_table(name)
