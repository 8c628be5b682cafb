"""What the audit log needs of a test: leaves for the stores, makers of real ones, and a reader of acts."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from itertools import count
from typing import Any

from caio.audit.acts import Act, Acts
from caio.audit.ports import ActRow, JournalStore, Leaf, LeafKind
from caio.audit.record import open_leaf
from caio.audit.sealing import LocalWrapping, TenantVault
from caio.foundation.ids import ulid
from caio.foundation.scope import TenantScope
from caio.storage.sql.stores import Stores

_NOT_ACTS = {LeafKind.DECISION, LeafKind.OUTCOME}
_numbers = count()


def act_leaf(scope: TenantScope, action: str = "contract.published", subject: str = "summarizer") -> Leaf:
    """A leaf that no other is like, for a store: what it seals is nothing."""
    act = Act(action, "key_1", subject)
    act_id = f"act_{next(_numbers):026}"
    row = ActRow(act_id, act.kind, 1, action, act.principal_id, subject)
    return Leaf(scope.tenant_id, act.kind, act_id, 1, act_id.encode().ljust(32), act_id.encode(), row)


def acts_over(stores: Stores, now: int = 1) -> tuple[Acts, TenantVault]:
    """A maker of real leaves over ``stores``, always at ``now``, and the vault that opens them."""
    vault = TenantVault(LocalWrapping(b"m" * 32, os.urandom), stores.tenant_keys, os.urandom, time.monotonic)
    return Acts(vault, lambda: now, lambda prefix: ulid(prefix, now, os.urandom(10)), os.urandom), vault


async def acts_told(journal: JournalStore, vault: TenantVault, scope: TenantScope) -> list[Mapping[str, Any]]:
    """The documents of the tenant's acts, opened and checked, in the order of the log."""
    sealer = await vault.sealer(scope)
    leaves = await journal.page(scope, -1, 100_000)
    return [open_leaf(stored, sealer).document for stored in leaves if stored.leaf.kind not in _NOT_ACTS]
