"""The tables of what callers set up for their calls: aliases of models, and runs of workflows. See ``tables``."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, LargeBinary, Table, Text, UniqueConstraint

from caio.storage.sql import schema
from caio.storage.sql.schema import OF_A_TENANT, Identifier, column, tenant_column

metadata = schema.metadata

# ``document`` is the alias's canonical JSON; ``revision`` moves with every change.
model_aliases = Table(
    "model_aliases",
    metadata,
    tenant_column(),
    column("alias", Identifier, key=True),
    column("document", Text),
    column("revision", BigInteger),
    column("created_at", BigInteger),
    column("updated_at", BigInteger),
    info=OF_A_TENANT,
)

# What was asked for and what came of it are sealed with the tenant's key, as every payload is. ``leased_until`` is
# NULL once a run has ended, so that its index holds the open ones alone.
workflow_runs = Table(
    "workflow_runs",
    metadata,
    tenant_column(),
    column("run_id", Identifier, key=True),
    column("principal_id", Text),
    column("status", Text),
    column("code", Text),
    column("plan_hash", Text),
    column("most_cost", BigInteger),
    column("key_name", Text, optional=True),
    column("fingerprint", Text),
    column("created_at", BigInteger),
    column("updated_at", BigInteger),
    column("deadline_at", BigInteger),
    column("owner", Text),
    column("leased_until", BigInteger, optional=True),
    column("sealed", LargeBinary),
    column("sealed_result", LargeBinary, optional=True),
    Index("ix_workflow_runs_leased_until", "leased_until"),
    UniqueConstraint("tenant_id", "key_name"),
    info=OF_A_TENANT,
)

workflow_steps = Table(
    "workflow_steps",
    metadata,
    tenant_column(),
    column("run_id", Identifier, key=True),
    column("step", Identifier, key=True),
    column("status", Text),
    column("code", Text),
    column("decision_id", Text),
    column("service_id", Text),
    column("charged", BigInteger),
    column("started_at", BigInteger),
    column("finished_at", BigInteger, optional=True),
    column("sealed", LargeBinary, optional=True),
    ForeignKeyConstraint(["tenant_id", "run_id"], ["workflow_runs.tenant_id", "workflow_runs.run_id"]),
    info=OF_A_TENANT,
)

# What a listener is told of a run, in order. Names, states and decisions; never what was said.
workflow_events = Table(
    "workflow_events",
    metadata,
    tenant_column(),
    column("run_id", Identifier, key=True),
    column("seq", BigInteger, key=True),
    column("at", BigInteger),
    column("kind", Text),
    column("document", Text),
    ForeignKeyConstraint(["tenant_id", "run_id"], ["workflow_runs.tenant_id", "workflow_runs.run_id"]),
    info=OF_A_TENANT,
)
