"""Every table, once, for both databases.

Conventions
-----------
- ``Table.info["tenancy"]`` is ``tenant`` or ``platform``; a platform table also gives its reason.
- A tenant table's primary key starts with ``tenant_id``, which refers to ``tenants``.
- Times are BIGINT microseconds since the epoch, money is BIGINT nano-units of the tenant's currency.
- Documents are TEXT holding canonical JSON, byte for byte what was hashed.
- Identifiers compare byte by byte (collation "C" on PostgreSQL, SQLite's own default), so a page's
  order is the same on both databases and under any locale.

Laws (each has a test of the same name)
---------------------------------------
- every_table_declares_its_tenancy: and a tenant table is keyed by its tenant first.
- migrations_build_these_tables: on both databases, with nothing left over.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

#: Text that orders and compares byte by byte.
Identifier = Text().with_variant(Text(collation="C"), "postgresql")

_OF_A_TENANT = {"tenancy": "tenant"}


def _column(name: str, kind: Any, *, key: bool = False, optional: bool = False) -> Column[Any]:
    return Column(name, kind, primary_key=key, nullable=optional, autoincrement=False)


def _tenant() -> Column[Any]:
    return Column("tenant_id", Identifier, ForeignKey("tenants.tenant_id"), primary_key=True, nullable=False)


tenants = Table(
    "tenants",
    metadata,
    _column("tenant_id", Identifier, key=True),
    _column("name", Text),
    _column("status", Text),
    _column("currency", Text),
    _column("quota_services", BigInteger),
    _column("quota_per_minute", BigInteger),
    _column("quota_per_hour", BigInteger),
    _column("quota_per_day", BigInteger),
    _column("quota_budget", BigInteger, optional=True),
    _column("created_at", BigInteger),
    info={"tenancy": "platform", "reason": "the list of tenants itself, keyed by the tenant"},
)

api_keys = Table(
    "api_keys",
    metadata,
    _tenant(),
    _column("key_id", Identifier, key=True),
    _column("name", Text),
    _column("prefix", Text),
    _column("key_hash", LargeBinary),
    _column("roles", Text),
    _column("trust_level", Text),
    _column("created_at", BigInteger),
    _column("expires_at", BigInteger, optional=True),
    _column("revoked_at", BigInteger, optional=True),
    _column("policies", Text),
    UniqueConstraint("key_hash"),
    info=_OF_A_TENANT,
)

# A destroyed key leaves its row, with nothing wrapped, so that no second key is ever made.
tenant_keys = Table(
    "tenant_keys",
    metadata,
    _tenant(),
    _column("wrapped", LargeBinary),
    _column("destroyed_at", BigInteger, optional=True),
    info=_OF_A_TENANT,
)

# ``sort`` is what is published: contracts or policies. ``version`` of a head is the newest one.
publication_heads = Table(
    "publication_heads",
    metadata,
    _tenant(),
    _column("sort", Identifier, key=True),
    _column("name", Identifier, key=True),
    _column("version", Identifier),
    _column("revision", BigInteger),
    _column("retired_at", BigInteger, optional=True),
    info=_OF_A_TENANT,
)

publications = Table(
    "publications",
    metadata,
    _tenant(),
    _column("sort", Identifier, key=True),
    _column("name", Identifier, key=True),
    _column("version", Identifier, key=True),
    _column("digest", Identifier),
    _column("document", Text),
    _column("tags", Text),
    _column("shared", Boolean),
    _column("published_at", BigInteger),
    ForeignKeyConstraint(
        ["tenant_id", "sort", "name"],
        ["publication_heads.tenant_id", "publication_heads.sort", "publication_heads.name"],
    ),
    Index(None, "sort", "digest"),
    Index("ix_publications_shared", "sort", sqlite_where=text("shared"), postgresql_where=text("shared")),
    info=_OF_A_TENANT,
)

# The tags of each name's newest version, laid out for look-up by tag.
publication_tags = Table(
    "publication_tags",
    metadata,
    _tenant(),
    _column("sort", Identifier, key=True),
    _column("tag", Identifier, key=True),
    _column("name", Identifier, key=True),
    ForeignKeyConstraint(
        ["tenant_id", "sort", "name"],
        ["publication_heads.tenant_id", "publication_heads.sort", "publication_heads.name"],
    ),
    info=_OF_A_TENANT,
)

snapshots = Table(
    "snapshots",
    metadata,
    _tenant(),
    _column("digest", Identifier, key=True),
    _column("body", LargeBinary),
    info=_OF_A_TENANT,
)

# ``next`` is the seq of the tenant's next leaf; its row is the lock that keeps seq gapless.
journal_heads = Table(
    "journal_heads", metadata, _tenant(), _column("next", BigInteger), info=_OF_A_TENANT, sqlite_with_rowid=False
)

# ``sealed`` is empty once a leaf's content was erased; the other columns stay.
journal = Table(
    "journal",
    metadata,
    _tenant(),
    _column("seq", BigInteger, key=True),
    _column("kind", Identifier),
    _column("subject_id", Identifier),
    _column("recorded_at", BigInteger),
    _column("commitment", LargeBinary),
    _column("sealed", LargeBinary),
    # The subject first: ids grow with time, so that all tenants' leaves are indexed at one end.
    UniqueConstraint("subject_id", "kind", "tenant_id"),
    info=_OF_A_TENANT,
)

# The clear columns of leaves that are neither decision nor outcome; ``act_id`` is the leaf's subject.
acts = Table(
    "acts",
    metadata,
    _tenant(),
    _column("act_id", Identifier, key=True),
    _column("kind", Identifier),
    _column("recorded_at", BigInteger),
    _column("action", Text),
    _column("principal_id", Text),
    _column("subject", Text),
    Index(None, "tenant_id", "recorded_at", "act_id"),
    info=_OF_A_TENANT,
    sqlite_with_rowid=False,
)

# How far a tenant's journal has been taken into its tree, and the checkpoint signed over it. ``origin``
# is fixed with the first row. The lease saves work; ``size`` guards against a second sequencer.
log_heads = Table(
    "log_heads",
    metadata,
    _tenant(),
    _column("origin", Text),
    _column("size", BigInteger),
    _column("root", LargeBinary),
    _column("checkpoint", Text),
    _column("signed_at", BigInteger),
    _column("holder", Text),
    _column("leased_until", BigInteger),
    info=_OF_A_TENANT,
)

# Tiles as C2SP tlog-tiles defines them: the full ones of every level and, above level 0, the last
# partial one, which is replaced as it grows. Level 0's partial tile is hashed from the journal.
log_tiles = Table(
    "log_tiles",
    metadata,
    _tenant(),
    _column("level", Integer, key=True),
    _column("position", BigInteger, key=True),
    _column("hashes", LargeBinary),
    info=_OF_A_TENANT,
)

# What must not be erased while it stands. Empty text and absent times restrict nothing.
holds = Table(
    "holds",
    metadata,
    _tenant(),
    _column("hold_id", Identifier, key=True),
    _column("reason", Text),
    _column("service_id", Text),
    _column("principal_id", Text),
    _column("since", BigInteger, optional=True),
    _column("until", BigInteger, optional=True),
    _column("placed_at", BigInteger),
    _column("placed_by", Text),
    _column("released_at", BigInteger, optional=True),
    _column("released_by", Text, optional=True),
    info=_OF_A_TENANT,
)

# How long the content of decisions is kept; no row keeps it for good. Everything older than
# ``erased_before`` has been erased but for what a hold covers.
retention = Table(
    "retention",
    metadata,
    _tenant(),
    _column("days", BigInteger, optional=True),
    _column("erased_before", BigInteger),
    info=_OF_A_TENANT,
)

decisions = Table(
    "decisions",
    metadata,
    _tenant(),
    _column("decision_id", Identifier, key=True),
    _column("decided_at", BigInteger),
    _column("mode", Text),
    _column("capability", Text),
    _column("service_id", Text),
    _column("service_version", Text),
    _column("principal_id", Text),
    _column("decision_hash", Text),
    _column("admitted", Boolean),
    _column("reserved", BigInteger),
    Index(None, "tenant_id", "decided_at", "decision_id"),
    info=_OF_A_TENANT,
    sqlite_with_rowid=False,
)

outcomes = Table(
    "outcomes",
    metadata,
    _tenant(),
    _column("decision_id", Identifier, key=True),
    _column("finished_at", BigInteger),
    _column("status", Text),
    _column("service_id", Text),
    _column("latency_ms", BigInteger),
    _column("input_tokens", BigInteger),
    _column("output_tokens", BigInteger),
    _column("charged", BigInteger),
    ForeignKeyConstraint(["tenant_id", "decision_id"], ["decisions.tenant_id", "decisions.decision_id"]),
    info=_OF_A_TENANT,
    sqlite_with_rowid=False,
)

# ``breached`` holds the names of the clauses that the answer broke, with blanks between.
attempts = Table(
    "attempts",
    metadata,
    _tenant(),
    _column("decision_id", Identifier, key=True),
    _column("position", Integer, key=True),
    _column("finished_at", BigInteger),
    _column("service_id", Text),
    _column("succeeded", Boolean),
    _column("latency_ms", BigInteger),
    _column("version", Text),
    _column("streamed", Boolean),
    _column("breached", Text),
    ForeignKeyConstraint(["tenant_id", "decision_id"], ["outcomes.tenant_id", "outcomes.decision_id"]),
    Index(None, "tenant_id", "finished_at"),
    info=_OF_A_TENANT,
    sqlite_with_rowid=False,
)

# Derived from ``attempts``, in the transaction that writes them; ``measure`` and ``bucket`` are those of
# ``registry.observed``. No reference to publications: a service may be another tenant's.
observed = Table(
    "observed",
    metadata,
    _tenant(),
    _column("service_id", Identifier, key=True),
    _column("version", Identifier, key=True),
    _column("hour", BigInteger, key=True),
    _column("measure", Identifier, key=True),
    _column("bucket", Integer, key=True),
    _column("calls", BigInteger),
    info=_OF_A_TENANT,
    sqlite_with_rowid=False,
)

# No reference to decisions: a key is claimed before its decision is written.
idempotency = Table(
    "idempotency",
    metadata,
    _tenant(),
    _column("idempotency_key", Identifier, key=True),
    _column("request_hash", Text),
    _column("decision_id", Identifier),
    _column("sealed", LargeBinary, optional=True),
    _column("claimed_at", BigInteger),
    Index(None, "tenant_id", "claimed_at"),
    Index(None, "tenant_id", "decision_id"),
    info=_OF_A_TENANT,
)

secrets = Table(
    "secrets",
    metadata,
    _tenant(),
    _column("name", Identifier, key=True),
    _column("sealed", LargeBinary),
    _column("updated_at", BigInteger),
    info=_OF_A_TENANT,
)
