"""Erasing a whole tenant: its data key first, in one transaction with the last leaf; then all that is left.

With the key everything sealed is unreadable at once, whatever happens next; what follows can be
interrupted and repeated. It goes in steps of bounded size, so that other tenants' calls go on.

What stays: the journal's commitments and clear columns, the tree, decisions, outcomes and attempts without
names of people, services and what they do, money and counts; the tenant's row; and documents that it shares
with every tenant, since other tenants' decisions stand on them. Usage is counted anew from what stays. Of the
events, that of a deletion stays until it is delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from caio.audit.custody import Hold, legal_hold
from caio.audit.ports import Leaf
from caio.events.envelope import event_type_of
from caio.foundation.scope import TenantScope
from caio.storage.sql.database import Database, placed
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.statements import insert_if_absent
from caio.storage.sql.tables import (
    acts,
    attempts,
    decisions,
    holds,
    idempotency,
    journal,
    observed,
    outcomes,
    publication_heads,
    publication_tags,
    publications,
    retention,
    secrets,
    snapshots,
    tenant_keys,
)
from caio.storage.sql.tables_calls import model_aliases, workflow_events, workflow_runs, workflow_steps
from caio.storage.sql.tables_tenancy import (
    api_keys,
    deliveries,
    events,
    invitations,
    members,
    service_limits,
    storage_measures,
    tenants,
    webhooks,
)
from caio.storage.sql.usage import count_anew
from caio.tenancy.ports import TenantStatus

#: Rows changed in one transaction.
STEP = 1_000


async def destroy_key(
    database: Database,
    connection: AsyncConnection,
    scope: TenantScope,
    now: int,
    leaf: Leaf,
    standing: Sequence[Hold],
) -> bool:
    """As ``CustodyStore.erase_tenant`` says, under the tenant's lock and with the holds that stand."""
    this_key = tenant_keys.c.tenant_id == scope.tenant_id
    row = (await connection.execute(select(tenant_keys.c.destroyed_at).where(this_key))).first()
    if row is not None and row.destroyed_at is not None:
        return False
    if standing:
        raise legal_hold()
    await overwrite(database, connection)
    gone = {"tenant_id": scope.tenant_id, "wrapped": b"", "destroyed_at": now}
    await connection.execute(insert_if_absent(database, tenant_keys, gone))
    await connection.execute(update(tenant_keys).where(this_key).values(gone))
    await append_within(connection, leaf)
    return True


async def withdraw(
    database: Database, connection: AsyncConnection, scope: TenantScope, now: int, leaves: Sequence[Leaf]
) -> None:
    """What a deletion takes away at once, in its own transaction of the directory and under the tenant's lock:
    everybody who could act for the tenant, what it offers, and its data key behind ``leaves``. Raises Conflict
    ``legal_hold``."""
    own = placed(connection)
    # In a database of the tenant's own it is the copy there that placing a hold locks.
    there = select(tenants.c.tenant_id).where(tenants.c.tenant_id == scope.tenant_id)
    await own.execute(there.with_for_update(key_share=True))
    standing = select(holds.c.hold_id).where(holds.c.tenant_id == scope.tenant_id, holds.c.released_at.is_(None))
    if (await own.execute(standing.limit(1))).first() is not None:
        raise legal_hold()
    await overwrite(database, own)
    await _remove_identities(connection, scope)
    offered = and_(publication_heads.c.tenant_id == scope.tenant_id, publication_heads.c.retired_at.is_(None))
    retired = {"retired_at": now, "revision": publication_heads.c.revision + 1}
    await own.execute(update(publication_heads).where(offered).values(retired))
    for leaf in leaves[:-1]:
        await append_within(own, leaf)
    for leaf in leaves[-1:]:
        await destroy_key(database, own, scope, now, leaf, ())


async def _remove_identities(connection: AsyncConnection, scope: TenantScope) -> None:
    """Who is being let in at this moment holds the invitation's row: it goes first, so that they are met too."""
    for table in (invitations, members, api_keys):
        await connection.execute(delete(table).where(table.c.tenant_id == scope.tenant_id))


async def sweep(database: Database, scope: TenantScope) -> int:
    """As ``CustodyStore.sweep_tenant`` says."""
    emptied = await _step_by_step(
        database, scope, journal.c.seq, update(journal).values(sealed=b""), func.length(journal.c.sealed) > 0
    )
    await _blank(
        database, scope, decisions.c.decision_id, "principal_id", "decision_hash", "service_id", "service_version"
    )
    await _blank(database, scope, decisions.c.decision_id, "capability")
    await _blank(database, scope, outcomes.c.decision_id, "service_id")
    await _blank(database, scope, attempts.c.decision_id, "service_id", "version", "breached")
    await _blank(database, scope, acts.c.act_id, "principal_id", "subject")
    await _step_by_step(database, scope, snapshots.c.digest, delete(snapshots))
    await _step_by_step(database, scope, idempotency.c.idempotency_key, delete(idempotency))
    await _step_by_step(database, scope, observed.c.service_id, delete(observed))
    for of_runs in (workflow_events, workflow_steps, workflow_runs):
        await _step_by_step(database, scope, of_runs.c.run_id, delete(of_runs))
    await _sweep_events(database, scope)
    async with database.writing(scope) as connection:
        await overwrite(database, connection)
        await _remove_documents(connection, scope)
        for table in (secrets, holds, retention, service_limits, storage_measures, model_aliases):
            await connection.execute(delete(table).where(table.c.tenant_id == scope.tenant_id))
        await connection.run_sync(count_anew, database, scope)
    await _sweep_directory(database, scope)
    return emptied


async def _sweep_directory(database: Database, scope: TenantScope) -> None:
    """Of a deleted tenant, remove keys that were made while it was deleted; of one whose content alone was erased,
    what the keys are called."""
    status = select(tenants.c.status).where(tenants.c.tenant_id == scope.tenant_id)
    async with database.writing_directory(scope) as connection:
        await overwrite(database, connection)
        if (await connection.execute(status)).scalar() == TenantStatus.DELETED.value:
            await _remove_identities(connection, scope)
        else:
            await connection.execute(update(api_keys).where(api_keys.c.tenant_id == scope.tenant_id).values(name=""))


async def _sweep_events(database: Database, scope: TenantScope) -> None:
    """Remove the tenant's webhooks, and every event but that of its deletion, which the platform's buses get."""
    last = and_(events.c.tenant_id == scope.tenant_id, events.c.type == event_type_of("tenant.deleted"))
    kept = deliveries.c.event_id.in_(select(events.c.event_id).where(last))
    own = select(webhooks.c.webhook_id).where(webhooks.c.tenant_id == scope.tenant_id)
    to_its_own = deliveries.c.destination.in_(own)
    await _step_by_step(database, scope, deliveries.c.event_id, delete(deliveries), or_(~kept, to_its_own))
    of_others = events.c.type != event_type_of("tenant.deleted")
    await _step_by_step(database, scope, events.c.event_id, delete(events), of_others)
    await _step_by_step(database, scope, webhooks.c.webhook_id, delete(webhooks))


async def _blank(database: Database, scope: TenantScope, key: Column[Any], *names: str) -> None:
    """Empty the text columns ``names`` of the tenant's rows."""
    table = key.table
    some = or_(*(table.c[name] != "" for name in names))
    await _step_by_step(database, scope, key, update(table).values(dict.fromkeys(names, "")), some)


async def overwrite(database: Database, connection: AsyncConnection) -> None:
    """Have SQLite overwrite with zeros what this transaction deletes."""
    if database.dialect == "sqlite":
        await connection.exec_driver_sql("PRAGMA secure_delete = ON")


async def _remove_documents(connection: AsyncConnection, scope: TenantScope) -> None:
    """Delete every publication that is not shared, and the names that nothing is published under any more."""
    own = publications.c.tenant_id == scope.tenant_id
    await connection.execute(delete(publication_tags).where(publication_tags.c.tenant_id == scope.tenant_id))
    await connection.execute(delete(publications).where(own, publications.c.shared.is_(False)))
    left = exists().where(
        own, publications.c.sort == publication_heads.c.sort, publications.c.name == publication_heads.c.name
    )
    await connection.execute(delete(publication_heads).where(publication_heads.c.tenant_id == scope.tenant_id, ~left))


async def _step_by_step(
    database: Database,
    scope: TenantScope,
    key: Column[Any],
    change: Any,
    only: ColumnElement[bool] | None = None,
) -> int:
    """Apply ``change`` to the tenant's rows of a table, or ``only`` to some, a step a transaction; returns
    how many it met. ``key`` is the second column of the table's primary key."""
    whose = key.table.c.tenant_id == scope.tenant_id
    after, changed = None, 0
    while True:
        beyond = whose if after is None else and_(whose, key > after)
        async with database.writing(scope) as connection:
            await overwrite(database, connection)
            step = select(key).where(beyond).order_by(key).limit(STEP)
            keys = list((await connection.execute(step)).scalars())
            if not keys:
                return changed
            of_the_step = and_(beyond, key <= keys[-1])
            wanted = of_the_step if only is None else and_(of_the_step, only)
            changed += (await connection.execute(change.where(wanted))).rowcount
        after = keys[-1]
