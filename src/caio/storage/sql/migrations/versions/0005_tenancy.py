"""Identity, lifecycle, limits, events and usage of tenants.

Locks: new tables, and columns with constant defaults, rewrite nothing on either database.
Undo: ``downgrade`` to ``0004``. Members, invitations, webhooks, undelivered events and the limits beyond
the first quotas are lost; usage can be built again from the journal.

Revision ID: 0005
Revises: 0004
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

identifier = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

_STORAGE_BYTES = 10 * 1024**3
_AT_MOST = ("most_cost", "most_tokens", "most_compute_ms")


def _column(name: str, kind: Any, *, optional: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=optional)


def _table(name: str, *columns: Any, key: tuple[str, ...], **options: Any) -> None:
    op.create_table(
        name,
        _column("tenant_id", identifier),
        *columns,
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"], name=f"fk_{name}_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", *key, name=f"pk_{name}"),
        **options,
    )


def _with_default(table: str, name: str, kind: Any, default: str) -> None:
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=default))


def upgrade() -> None:
    for name, default in (("plan", "standard"), ("tier", "pool"), ("place", ""), ("outage", "closed")):
        _with_default("tenants", name, sa.Text(), default)
    _with_default("tenants", "limits", sa.Text(), "{}")
    _with_default("tenants", "quota_storage_bytes", sa.BigInteger(), str(_STORAGE_BYTES))
    _with_default("tenants", "budget_period", sa.Text(), "total")
    _with_default("tenants", "budget_alerts", sa.Text(), "[50,80,100]")
    _with_default("tenants", "revision", sa.BigInteger(), "1")
    _with_default("tenants", "updated_at", sa.BigInteger(), "0")
    _with_default("tenants", "status_at", sa.BigInteger(), "0")
    op.add_column("tenants", _column("erase_at", sa.BigInteger(), optional=True))
    _with_default("api_keys", "limits", sa.Text(), "{}")
    _with_default("api_keys", "created_by", sa.Text(), "")
    _with_default("api_keys", "successor_id", sa.Text(), "")
    op.add_column("api_keys", _column("last_used_at", sa.BigInteger(), optional=True))
    for name in _AT_MOST:
        _with_default("decisions", name, sa.BigInteger(), "0")
    _identity()
    _events()
    _usage()


def _identity() -> None:
    _table(
        "members",
        _column("member_id", identifier),
        _column("issuer", identifier),
        _column("subject", identifier),
        _column("name", sa.Text()),
        _column("email", sa.Text()),
        _column("roles", sa.Text()),
        _column("trust_level", sa.Text()),
        _column("limits", sa.Text()),
        _column("joined_at", sa.BigInteger()),
        _column("removed_at", sa.BigInteger(), optional=True),
        sa.UniqueConstraint("issuer", "subject", "tenant_id", name="uq_members_issuer_subject_tenant_id"),
        key=("member_id",),
    )
    _table(
        "invitations",
        _column("invitation_id", identifier),
        _column("email", sa.Text()),
        _column("roles", sa.Text()),
        _column("trust_level", sa.Text()),
        _column("token_hash", sa.LargeBinary()),
        _column("created_at", sa.BigInteger()),
        _column("created_by", sa.Text()),
        _column("expires_at", sa.BigInteger()),
        _column("accepted_at", sa.BigInteger(), optional=True),
        _column("accepted_by", sa.Text(), optional=True),
        _column("revoked_at", sa.BigInteger(), optional=True),
        sa.UniqueConstraint("token_hash", name="uq_invitations_token_hash"),
        key=("invitation_id",),
    )
    _table(
        "service_limits",
        _column("service_id", identifier),
        _column("limits", sa.Text()),
        _column("updated_at", sa.BigInteger()),
        key=("service_id",),
    )


def _events() -> None:
    _table(
        "events",
        _column("event_id", identifier),
        _column("seq", sa.BigInteger()),
        _column("type", identifier),
        _column("subject", sa.Text()),
        _column("occurred_at", sa.BigInteger()),
        _column("data", sa.Text()),
        _column("due_at", sa.BigInteger(), optional=True),
        sa.UniqueConstraint("tenant_id", "seq", name="uq_events_tenant_id_seq"),
        key=("event_id",),
    )
    waiting = sa.text("due_at IS NOT NULL")
    op.create_index("ix_events_due_at", "events", ["due_at"], sqlite_where=waiting, postgresql_where=waiting)
    _table(
        "webhooks",
        _column("webhook_id", identifier),
        _column("url", sa.Text()),
        _column("types", sa.Text()),
        _column("sealed", sa.LargeBinary()),
        _column("created_at", sa.BigInteger()),
        _column("created_by", sa.Text()),
        _column("disabled_at", sa.BigInteger(), optional=True),
        key=("webhook_id",),
    )
    _table(
        "deliveries",
        _column("event_id", identifier),
        _column("destination", identifier),
        _column("attempts", sa.BigInteger()),
        _column("due_at", sa.BigInteger(), optional=True),
        _column("delivered_at", sa.BigInteger(), optional=True),
        _column("last_status", sa.Text()),
        sa.ForeignKeyConstraint(
            ["tenant_id", "event_id"], ["events.tenant_id", "events.event_id"], name="fk_deliveries_events"
        ),
        key=("event_id", "destination"),
    )
    columns = ["tenant_id", "destination", "event_id"]
    op.create_index("ix_deliveries_tenant_id_destination_event_id", "deliveries", columns)


def _usage() -> None:
    _table(
        "usage",
        _column("day", sa.BigInteger()),
        _column("principal_id", identifier),
        _column("service_id", identifier),
        _column("capability", identifier),
        *(
            _column(name, sa.BigInteger())
            for name in ("calls", "failed", "input_tokens", "output_tokens", "compute_ms", "cost", "breaches")
        ),
        key=("day", "principal_id", "service_id", "capability"),
        sqlite_with_rowid=False,
    )
    _table(
        "usage_marks",
        *(_column(name, sa.BigInteger()) for name in ("next", "measured", "leaf_bytes")),
        key=(),
    )
    _table(
        "storage_measures",
        _column("day", sa.BigInteger()),
        _column("bytes", sa.BigInteger()),
        _column("measured_at", sa.BigInteger()),
        key=("day",),
    )


def downgrade() -> None:
    op.drop_index("ix_deliveries_tenant_id_destination_event_id", "deliveries")
    op.drop_index("ix_events_due_at", "events")
    for table in (
        "storage_measures",
        "usage_marks",
        "usage",
        "deliveries",
        "webhooks",
        "events",
        "service_limits",
        "invitations",
        "members",
    ):
        op.drop_table(table)
    for column in _AT_MOST:
        op.drop_column("decisions", column)
    for column in ("last_used_at", "successor_id", "created_by", "limits"):
        op.drop_column("api_keys", column)
    for column in (
        "erase_at",
        "status_at",
        "updated_at",
        "revision",
        "budget_alerts",
        "budget_period",
        "quota_storage_bytes",
        "limits",
        "outage",
        "place",
        "tier",
        "plan",
    ):
        op.drop_column("tenants", column)
