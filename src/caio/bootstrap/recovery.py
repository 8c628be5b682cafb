"""Taking up where the last process stopped: only for a process that is the only one."""

from __future__ import annotations

import os

from caio.bootstrap.audit import Audit
from caio.bootstrap.clock import now
from caio.bootstrap.gateway import RequestPath
from caio.bootstrap.storage import Storage
from caio.gateway.interrupted import InterruptedCalls
from caio.registry.histories import since
from caio.registry.observed import LONGEST
from caio.storage.sql.stores import Stores
from caio.tenancy.authentication import embedded_scope


async def recover(storage: Storage, audit: Audit, path: RequestPath) -> None:
    """End the calls that were left open, and rebuild what was observed; admission rebuilds itself by tenant."""
    stores = storage.stores
    await _end_open_calls(stores, audit)
    await stores.idempotency.release_unfinished()
    await stores.observed.forget(now() - LONGEST)
    await _restore(stores, path)


async def _end_open_calls(stores: Stores, audit: Audit) -> None:
    interrupted = InterruptedCalls(audit.journal, audit.vault, now, os.urandom)
    for tenant_id, row in await stores.journal.unfinished():
        await interrupted.end(embedded_scope(tenant_id), row)


async def _restore(stores: Stores, path: RequestPath) -> None:
    for tenant_id, finished_at, _, attempt in await stores.journal.attempts_since(since(now())):
        path.histories.observe(tenant_id, attempt, finished_at)
