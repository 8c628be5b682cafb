"""The signing key in the log: from which place on which key signs.

Theory of operation
-------------------
The signing key lives in files, the log in a database, so no transaction can hold both. Every start
compares the key that it will sign with to the last one recorded, and records the change before it
signs anything. That catches each way a key changes: rotated by command, restored from a backup, or
replaced by hand. Who did it is not known to the process, which names itself. A key that was replaced
again before the next start never signed, and is not recorded. The signing key is the installation's;
it is recorded in the operator's tenant, and other tenants see it in their checkpoints' signatures.

Laws (each has a test of the same name)
---------------------------------------
- every_signing_key_is_recorded_before_it_signs: as ``key.activated`` the first, as ``key.rotated`` the others.
- the_same_key_is_recorded_once: however often the process starts.
"""

from __future__ import annotations

from caio.audit.acts import SYSTEM, Act, Acts
from caio.audit.ports import ActStore, JournalStore, LeafKind
from caio.foundation.scope import TenantScope

_FIRST, _FURTHER = "key.activated", "key.rotated"


async def last_signing_key(scope: TenantScope, store: JournalStore) -> str | None:
    """The id of the key that the log of ``scope`` was last said to be signed with, None before any."""
    last = await store.latest_act(scope, LeafKind.KEY, (_FIRST, _FURTHER))
    return None if last is None else last.subject


async def record_signing_key(
    scope: TenantScope, key_id: str, store: JournalStore, acts: Acts, recorded: ActStore
) -> None:
    """Record in the log of ``scope`` that this process signs with ``key_id``, unless the log says so already.
    Raises as ``ActStore.record`` and ``TenantVault.sealer`` do."""
    last = await last_signing_key(scope, store)
    if last == key_id:
        return
    before = {} if last is None else {"before": last}
    act = Act(_FURTHER if before else _FIRST, SYSTEM, key_id, {"use": "signing", **before})
    await recorded.record(scope, await acts.leaf(scope, act))
