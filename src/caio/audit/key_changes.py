"""The signing key in the log: from which place on which key signs.

Theory of operation
-------------------
The signing key lives in files, the log in a database, so no transaction can hold both. Every start
compares the key that it will sign with to the last one recorded, and records the change before it
signs anything. That catches each way a key changes: rotated by command, restored from a backup, or
replaced by hand. Who did it is not known to the process, which names itself. A key that was replaced
again before the next start never signed, and is not recorded. The signing key is the installation's;
it is recorded in the operator's tenant, and other tenants see it in their checkpoints' signatures.

The master key shows itself: what is stored does not open with another. Where a key service wraps the tenants'
keys instead, it would not, and every API key would be unknown. There the first start records which one it is, by
an id that tells nothing of it.

Laws (each has a test of the same name)
---------------------------------------
- every_signing_key_is_recorded_before_it_signs: as ``key.activated`` the first, as ``key.rotated`` the others.
- the_same_key_is_recorded_once: however often the process starts.
- another_master_key_is_noticed: at its first start, before anything is done with it.
"""

from __future__ import annotations

from caio.audit.acts import SYSTEM, Act, Acts
from caio.audit.ports import ActStore, JournalStore, LeafKind
from caio.foundation.errors import Misconfigured
from caio.foundation.hashing import keyed
from caio.foundation.scope import TenantScope

_FIRST, _FURTHER = "key.activated", "key.rotated"
_BOUND = "key.bound"
_MASTER_ID = b"caio/master-key-id/v1"


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


def master_key_id(master: bytes) -> str:
    """The id of a master key: 16 hexadecimal characters that only whoever has the key can make."""
    return keyed(master, _MASTER_ID).hex()[:16]


async def bind_master_key(
    scope: TenantScope, master: bytes, store: JournalStore, acts: Acts, recorded: ActStore
) -> None:
    """Record that the database belongs with ``master``, the first time. Raises Misconfigured when it belongs with
    another; otherwise as ``record_signing_key``."""
    key_id = master_key_id(master)
    last = await store.latest_act(scope, LeafKind.KEY, (_BOUND,))
    if last is None:
        await recorded.record(scope, await acts.leaf(scope, Act(_BOUND, SYSTEM, key_id, {"use": "master"})))
    elif last.subject != key_id:
        raise Misconfigured(
            f"this database belongs with the master key {last.subject}, and this process has {key_id}: no API key "
            "would be known. Give it the CAIO_AUTH_SECRET_KEY or keys/master.key that the database was begun with",
            code="keys_differ",
        )
