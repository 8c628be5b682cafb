"""Every table, once, for both databases; ``tables_tenancy`` and ``tables_calls`` hold those of their names.

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

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from caio.storage.sql import tables_calls, tables_tenancy  # noqa: F401 - importing one adds its tables
from caio.storage.sql.schema import OF_A_TENANT, Identifier, column, tenant_column

#: Of all tables: those here refer to those of tenancy.
metadata = tables_tenancy.metadata

# A destroyed key leaves its row, with nothing wrapped, so that no second key is ever made.
tenant_keys = Table(
    "tenant_keys",
    metadata,
    tenant_column(),
    column("wrapped", LargeBinary),
    column("destroyed_at", BigInteger, optional=True),
    info=OF_A_TENANT,
)

# ``sort`` is what is published: contracts or policies. ``version`` of a head is the newest one.
publication_heads = Table(
    "publication_heads",
    metadata,
    tenant_column(),
    column("sort", Identifier, key=True),
    column("name", Identifier, key=True),
    column("version", Identifier),
    column("revision", BigInteger),
    column("retired_at", BigInteger, optional=True),
    info=OF_A_TENANT,
)

publications = Table(
    "publications",
    metadata,
    tenant_column(),
    column("sort", Identifier, key=True),
    column("name", Identifier, key=True),
    column("version", Identifier, key=True),
    column("digest", Identifier),
    column("document", Text),
    column("tags", Text),
    column("shared", Boolean),
    column("published_at", BigInteger),
    ForeignKeyConstraint(
        ["tenant_id", "sort", "name"],
        ["publication_heads.tenant_id", "publication_heads.sort", "publication_heads.name"],
    ),
    Index(None, "sort", "digest"),
    Index("ix_publications_shared", "sort", sqlite_where=text("shared"), postgresql_where=text("shared")),
    info=OF_A_TENANT,
)

# The tags of each name's newest version, laid out for look-up by tag.
publication_tags = Table(
    "publication_tags",
    metadata,
    tenant_column(),
    column("sort", Identifier, key=True),
    column("tag", Identifier, key=True),
    column("name", Identifier, key=True),
    ForeignKeyConstraint(
        ["tenant_id", "sort", "name"],
        ["publication_heads.tenant_id", "publication_heads.sort", "publication_heads.name"],
    ),
    info=OF_A_TENANT,
)

snapshots = Table(
    "snapshots",
    metadata,
    tenant_column(),
    column("digest", Identifier, key=True),
    column("body", LargeBinary),
    info=OF_A_TENANT,
)

# ``next`` is the seq of the tenant's next leaf; its row is the lock that keeps seq gapless.
journal_heads = Table(
    "journal_heads", metadata, tenant_column(), column("next", BigInteger), info=OF_A_TENANT, sqlite_with_rowid=False
)

# ``sealed`` is empty once a leaf's content was erased; the other columns stay.
journal = Table(
    "journal",
    metadata,
    tenant_column(),
    column("seq", BigInteger, key=True),
    column("kind", Identifier),
    column("subject_id", Identifier),
    column("recorded_at", BigInteger),
    column("commitment", LargeBinary),
    column("sealed", LargeBinary),
    # The subject first: ids grow with time, so that all tenants' leaves are indexed at one end.
    UniqueConstraint("subject_id", "kind", "tenant_id"),
    info=OF_A_TENANT,
)

# The clear columns of leaves that are neither decision nor outcome; ``act_id`` is the leaf's subject.
acts = Table(
    "acts",
    metadata,
    tenant_column(),
    column("act_id", Identifier, key=True),
    column("kind", Identifier),
    column("recorded_at", BigInteger),
    column("action", Text),
    column("principal_id", Text),
    column("subject", Text),
    Index(None, "tenant_id", "recorded_at", "act_id"),
    info=OF_A_TENANT,
    sqlite_with_rowid=False,
)

# How far a tenant's journal has been taken into its tree, and the checkpoint signed over it. ``origin``
# is fixed with the first row. The lease saves work; ``size`` guards against a second sequencer.
log_heads = Table(
    "log_heads",
    metadata,
    tenant_column(),
    column("origin", Text),
    column("size", BigInteger),
    column("root", LargeBinary),
    column("checkpoint", Text),
    column("signed_at", BigInteger),
    column("holder", Text),
    column("leased_until", BigInteger),
    info=OF_A_TENANT,
)

# Tiles as C2SP tlog-tiles defines them: the full ones of every level and, above level 0, the last
# partial one, which is replaced as it grows. Level 0's partial tile is hashed from the journal.
log_tiles = Table(
    "log_tiles",
    metadata,
    tenant_column(),
    column("level", Integer, key=True),
    column("position", BigInteger, key=True),
    column("hashes", LargeBinary),
    info=OF_A_TENANT,
)

# What must not be erased while it stands. Empty text and absent times restrict nothing.
holds = Table(
    "holds",
    metadata,
    tenant_column(),
    column("hold_id", Identifier, key=True),
    column("reason", Text),
    column("service_id", Text),
    column("principal_id", Text),
    column("since", BigInteger, optional=True),
    column("until", BigInteger, optional=True),
    column("placed_at", BigInteger),
    column("placed_by", Text),
    column("released_at", BigInteger, optional=True),
    column("released_by", Text, optional=True),
    info=OF_A_TENANT,
)

# How long the content of decisions is kept; no row keeps it for good. Everything older than
# ``erased_before`` has been erased but for what a hold covers.
retention = Table(
    "retention",
    metadata,
    tenant_column(),
    column("days", BigInteger, optional=True),
    column("erased_before", BigInteger),
    info=OF_A_TENANT,
)

decisions = Table(
    "decisions",
    metadata,
    tenant_column(),
    column("decision_id", Identifier, key=True),
    column("decided_at", BigInteger),
    column("mode", Text),
    column("capability", Text),
    column("service_id", Text),
    column("service_version", Text),
    column("principal_id", Text),
    column("decision_hash", Text),
    column("admitted", Boolean),
    column("reserved", BigInteger),
    column("most_cost", BigInteger),
    column("most_tokens", BigInteger),
    column("most_compute_ms", BigInteger),
    Index(None, "tenant_id", "decided_at", "decision_id"),
    info=OF_A_TENANT,
    sqlite_with_rowid=False,
)

outcomes = Table(
    "outcomes",
    metadata,
    tenant_column(),
    column("decision_id", Identifier, key=True),
    column("finished_at", BigInteger),
    column("status", Text),
    column("service_id", Text),
    column("latency_ms", BigInteger),
    column("input_tokens", BigInteger),
    column("output_tokens", BigInteger),
    column("charged", BigInteger),
    ForeignKeyConstraint(["tenant_id", "decision_id"], ["decisions.tenant_id", "decisions.decision_id"]),
    info=OF_A_TENANT,
    sqlite_with_rowid=False,
)

# ``breached`` holds the names of the clauses that the answer broke, with blanks between.
attempts = Table(
    "attempts",
    metadata,
    tenant_column(),
    column("decision_id", Identifier, key=True),
    column("position", Integer, key=True),
    column("finished_at", BigInteger),
    column("service_id", Text),
    column("succeeded", Boolean),
    column("latency_ms", BigInteger),
    column("version", Text),
    column("streamed", Boolean),
    column("breached", Text),
    ForeignKeyConstraint(["tenant_id", "decision_id"], ["outcomes.tenant_id", "outcomes.decision_id"]),
    Index(None, "tenant_id", "finished_at"),
    info=OF_A_TENANT,
    sqlite_with_rowid=False,
)

# Derived from ``attempts``, in the transaction that writes them; ``measure`` and ``bucket`` are those of
# ``registry.observed``. No reference to publications: a service may be another tenant's.
observed = Table(
    "observed",
    metadata,
    tenant_column(),
    column("service_id", Identifier, key=True),
    column("version", Identifier, key=True),
    column("hour", BigInteger, key=True),
    column("measure", Identifier, key=True),
    column("bucket", Integer, key=True),
    column("calls", BigInteger),
    info=OF_A_TENANT,
    sqlite_with_rowid=False,
)

# No reference to decisions: a key is claimed before its decision is written.
idempotency = Table(
    "idempotency",
    metadata,
    tenant_column(),
    column("idempotency_key", Identifier, key=True),
    column("request_hash", Text),
    column("decision_id", Identifier),
    column("sealed", LargeBinary, optional=True),
    column("claimed_at", BigInteger),
    Index(None, "tenant_id", "claimed_at"),
    Index(None, "tenant_id", "decision_id"),
    info=OF_A_TENANT,
)

secrets = Table(
    "secrets",
    metadata,
    tenant_column(),
    column("name", Identifier, key=True),
    column("sealed", LargeBinary),
    column("updated_at", BigInteger),
    info=OF_A_TENANT,
)
