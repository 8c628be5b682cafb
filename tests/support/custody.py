"""An installation's custody over one open database, with a journal to fill and ways to look at what is left."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from sqlalchemy import Table, select

from caio.audit.custody import Erasure, Hold
from caio.audit.merkle import leaf_hash, root_of
from caio.audit.ports import KeptAnswer, Leaf, LeafKind
from caio.audit.record import leaf_of, open_leaf
from caio.foundation.errors import Erased
from caio.foundation.scope import PlatformScope, TenantScope
from caio.registry.custody import Custody
from caio.registry.expiry import Expiry
from caio.storage.sql import Database
from caio.storage.sql.custody import SqlCustody
from caio.storage.sql.stores import Stores
from tests.audit_samples import NOW, decision_record, outcome_record
from tests.support.acts import acts_over, acts_told

BOTH = ["decision", "outcome"]

_ids = count()


class Box:
    """One open database: its stores, the custody of it, and a journal to fill."""

    def __init__(self, stores: Stores, database: Database, clock: int = NOW) -> None:
        self.stores, self.database = stores, database
        self.acts, self.vault = acts_over(stores, clock)
        self.store = SqlCustody(database)
        self.custody = Custody(
            self.store, self.acts, self.vault, lambda: clock, lambda prefix: f"{prefix}_{next(_ids)}"
        )
        self.expiry = Expiry(self.store, self.acts, lambda: clock, batch=2)

    async def decide(
        self,
        scope: TenantScope,
        decision_id: str,
        *,
        at: int = NOW,
        running: bool = False,
        person: str = "ann",
        service: str = "svc",
        key: str | None = None,
    ) -> None:
        """A decision in the journal, with its outcome unless it is ``running``."""
        sealer = await self.vault.sealer(scope)
        tenant: dict[str, Any] = {"tenant_id": scope.tenant_id, "decision_id": decision_id}
        decision = decision_record(**tenant, decided_at=at, principal_id=person, service_id=service)
        leaves = [leaf_of(decision, sealer, os.urandom(32))]
        if key is not None:
            await self.stores.idempotency.claim(scope, key, "hash", decision_id, at)
        if not running:
            leaves.append(await self.outcome(scope, decision_id, at, key))
        await self.stores.journal.append(leaves)

    async def outcome(self, scope: TenantScope, decision_id: str, at: int = NOW, key: str | None = None) -> Leaf:
        kept = None if key is None else KeptAnswer(key, decision_id, b"the sealed answer")
        record = outcome_record(tenant_id=scope.tenant_id, decision_id=decision_id, finished_at=at + 1)
        return leaf_of(record, await self.vault.sealer(scope), os.urandom(32), kept)

    async def leaves(self, scope: TenantScope) -> list[Leaf]:
        return [stored.leaf for stored in await self.stores.journal.page(scope, -1, 100_000)]

    async def root(self, scope: TenantScope, size: int) -> bytes:
        return root_of([leaf_hash(leaf.commitment) for leaf in (await self.leaves(scope))[:size]])

    async def readable(self, scope: TenantScope) -> dict[str, list[str]]:
        """The decisions whose leaves open, by id, each with the kinds of them."""
        sealer = await self.vault.sealer(scope)
        found: dict[str, list[str]] = {}
        for stored in await self.stores.journal.page(scope, -1, 100_000):
            if stored.leaf.kind in (LeafKind.DECISION, LeafKind.OUTCOME):
                try:
                    open_leaf(stored, sealer)
                    found.setdefault(stored.leaf.subject_id, []).append(stored.leaf.kind.value)
                except Erased:
                    pass
        return found

    async def rows(self, table: Table) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for place in await self.database.places():
            async with self.database.reading(PlatformScope("test"), place) as connection:
                found += [row._asdict() for row in await connection.execute(select(table))]
        return found

    async def plan(self, scope: TenantScope, *ids: str) -> Erasure:
        return Erasure(await self.store.named(scope, ids))

    async def told(self, scope: TenantScope, action: str = "content.erased") -> list[Mapping[str, Any]]:
        found = await acts_told(self.stores.journal, self.vault, scope)
        return [document for document in found if document["action"] == action]


def hold(**changes: Any) -> Hold:
    return replace(Hold(f"hold_{next(_ids)}", "a lawsuit", "", "", None, None, NOW, "key_1"), **changes)
