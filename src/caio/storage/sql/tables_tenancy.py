"""The tables of tenancy: who there is, what they may use, what happened, what was used. See ``tables``."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, LargeBinary, Table, Text, UniqueConstraint, text

from caio.storage.sql import schema
from caio.storage.sql.schema import OF_A_TENANT, Identifier, column, tenant_column

metadata = schema.metadata

tenants = Table(
    "tenants",
    metadata,
    column("tenant_id", Identifier, key=True),
    column("name", Text),
    column("status", Text),
    column("currency", Text),
    column("quota_services", BigInteger),
    column("quota_per_minute", BigInteger),
    column("quota_per_hour", BigInteger),
    column("quota_per_day", BigInteger),
    column("quota_budget", BigInteger, optional=True),
    column("created_at", BigInteger),
    column("plan", Text),
    column("tier", Text),
    column("place", Text),
    column("outage", Text),
    column("limits", Text),
    column("quota_storage_bytes", BigInteger),
    column("budget_period", Text),
    column("budget_alerts", Text),
    column("revision", BigInteger),
    column("updated_at", BigInteger),
    column("status_at", BigInteger),
    column("erase_at", BigInteger, optional=True),
    info={"tenancy": "platform", "reason": "the list of tenants itself, keyed by the tenant"},
)

api_keys = Table(
    "api_keys",
    metadata,
    tenant_column(),
    column("key_id", Identifier, key=True),
    column("name", Text),
    column("prefix", Text),
    column("key_hash", LargeBinary),
    column("roles", Text),
    column("trust_level", Text),
    column("created_at", BigInteger),
    column("expires_at", BigInteger, optional=True),
    column("revoked_at", BigInteger, optional=True),
    column("policies", Text),
    column("limits", Text),
    column("created_by", Text),
    column("successor_id", Text),
    column("last_used_at", BigInteger, optional=True),
    UniqueConstraint("key_hash"),
    info=OF_A_TENANT,
)

# People and programs of an identity provider (``issuer``, ``subject``) that belong to the tenant.
members = Table(
    "members",
    metadata,
    tenant_column(),
    column("member_id", Identifier, key=True),
    column("issuer", Identifier),
    column("subject", Identifier),
    column("name", Text),
    column("email", Text),
    column("roles", Text),
    column("trust_level", Text),
    column("limits", Text),
    column("joined_at", BigInteger),
    column("removed_at", BigInteger, optional=True),
    UniqueConstraint("issuer", "subject", "tenant_id"),
    info=OF_A_TENANT,
)

# ``token_hash`` is keyed, as an API key's; an invitation ends once: accepted, revoked or expired.
invitations = Table(
    "invitations",
    metadata,
    tenant_column(),
    column("invitation_id", Identifier, key=True),
    column("email", Text),
    column("roles", Text),
    column("trust_level", Text),
    column("token_hash", LargeBinary),
    column("created_at", BigInteger),
    column("created_by", Text),
    column("expires_at", BigInteger),
    column("accepted_at", BigInteger, optional=True),
    column("accepted_by", Text, optional=True),
    column("revoked_at", BigInteger, optional=True),
    UniqueConstraint("token_hash"),
    info=OF_A_TENANT,
)

# What the tenant allows one of its services beyond the contract: a JSON object of ``tenancy.limits``.
service_limits = Table(
    "service_limits",
    metadata,
    tenant_column(),
    column("service_id", Identifier, key=True),
    column("limits", Text),
    column("updated_at", BigInteger),
    info=OF_A_TENANT,
)

# The transactional outbox: an event is written with the act it tells of. ``seq`` is the act's place in the
# tenant's journal, so that readers who go by it miss none; ``due_at`` is when the relay looks at the event
# again, absent once no webhook or sink waits for it.
events = Table(
    "events",
    metadata,
    tenant_column(),
    column("event_id", Identifier, key=True),
    column("seq", BigInteger),
    column("type", Identifier),
    column("subject", Text),
    column("occurred_at", BigInteger),
    column("data", Text),
    column("due_at", BigInteger, optional=True),
    UniqueConstraint("tenant_id", "seq"),
    Index(None, "due_at", sqlite_where=text("due_at IS NOT NULL"), postgresql_where=text("due_at IS NOT NULL")),
    info=OF_A_TENANT,
)

# ``types`` is a JSON list of event types or prefixes ending in a point; ``sealed`` is the signing secret.
webhooks = Table(
    "webhooks",
    metadata,
    tenant_column(),
    column("webhook_id", Identifier, key=True),
    column("url", Text),
    column("types", Text),
    column("sealed", LargeBinary),
    column("created_at", BigInteger),
    column("created_by", Text),
    column("disabled_at", BigInteger, optional=True),
    info=OF_A_TENANT,
)

# One event for one destination: a webhook's id, or the name of a sink of the platform.
deliveries = Table(
    "deliveries",
    metadata,
    tenant_column(),
    column("event_id", Identifier, key=True),
    column("destination", Identifier, key=True),
    column("attempts", BigInteger),
    column("due_at", BigInteger, optional=True),
    column("delivered_at", BigInteger, optional=True),
    column("last_status", Text),
    ForeignKeyConstraint(["tenant_id", "event_id"], ["events.tenant_id", "events.event_id"]),
    Index(None, "tenant_id", "destination", "event_id"),
    info=OF_A_TENANT,
)

# Derived from outcomes, exactly once: ``usage_marks`` moves in the transaction that adds to ``usage``.
# ``day`` counts days since the epoch (UTC); money is nano-units.
usage = Table(
    "usage",
    metadata,
    tenant_column(),
    column("day", BigInteger, key=True),
    column("principal_id", Identifier, key=True),
    column("service_id", Identifier, key=True),
    column("capability", Identifier, key=True),
    column("calls", BigInteger),
    column("failed", BigInteger),
    column("input_tokens", BigInteger),
    column("output_tokens", BigInteger),
    column("compute_ms", BigInteger),
    column("cost", BigInteger),
    column("breaches", BigInteger),
    info=OF_A_TENANT,
    sqlite_with_rowid=False,
)

# ``next`` is the seq of the first journal leaf that usage has not taken in. ``leaf_bytes`` is what the leaves
# below ``measured`` take, with their clear rows.
usage_marks = Table(
    "usage_marks",
    metadata,
    tenant_column(),
    column("next", BigInteger),
    column("measured", BigInteger),
    column("leaf_bytes", BigInteger),
    info=OF_A_TENANT,
)

# What the tenant's rows take, in bytes, as last measured on each day.
storage_measures = Table(
    "storage_measures",
    metadata,
    tenant_column(),
    column("day", BigInteger, key=True),
    column("bytes", BigInteger),
    column("measured_at", BigInteger),
    info=OF_A_TENANT,
)
