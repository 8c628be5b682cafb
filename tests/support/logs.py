"""Journals with leaves whose commitments are known, for tests of the trees over them."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from caio.audit.checkpoint import Checkpoint, read_checkpoint
from caio.audit.merkle import leaf_hash, root_of
from caio.audit.ports import ActRow, Leaf, LeafKind, LogHead, LogStore
from caio.audit.sequencer import Sequencer
from caio.audit.signing import Keyring, SigningKey
from caio.storage.sql.stores import Stores

KEYRING = Keyring(SigningKey.generate(bytes(range(32))))


def commitment(tenant: str, number: int) -> bytes:
    return hashlib.sha256(f"{tenant} {number}".encode()).digest()


def act_leaf(tenant: str, number: int) -> Leaf:
    name = f"act_{number}"
    row = ActRow(name, LeafKind.ACCESS, number, "audit.read", "user", name)
    return Leaf(tenant, LeafKind.ACCESS, name, number, commitment(tenant, number), b"sealed", row)


async def append(stores: Stores, tenant: str, start: int, end: int) -> None:
    """Append the leaves ``start`` to ``end - 1``, which must be the journal's next."""
    assert await stores.journal.append([act_leaf(tenant, number) for number in range(start, end)]) == list(
        range(start, end)
    )


def root(tenant: str, size: int) -> bytes:
    return root_of([leaf_hash(commitment(tenant, number)) for number in range(size)])


def origin_of(tenant: str) -> str:
    return f"test.example/{tenant}"


def now() -> int:
    return time.time_ns() // 1000


def sequencer(store: LogStore, *, holder: str = "one", keyring: Keyring = KEYRING, **options: Any) -> Sequencer:
    """A sequencer that looks often."""
    return Sequencer(store, keyring, origin_of, holder, now, **{"every_seconds": 0.02, **options})


async def signed_heads(store: LogStore) -> dict[str, LogHead]:
    """Every log's head, after its checkpoint was found to be signed and to say what the head says."""
    heads = {head.tenant_id: head for head in await store.heads("", 10_000)}
    for name, head in heads.items():
        signed = read_checkpoint(head.checkpoint)
        assert signed.signed_by(KEYRING.trusted_keys())
        assert signed.checkpoint == Checkpoint(origin_of(name), head.size, head.root)
    return heads


class Faulty:
    """Something whose methods raise ``away`` while that is set; ``calls`` names those that were called."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.away: Exception | None = None
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)

        async def guarded(*arguments: Any) -> Any:
            self.calls.append(name)
            if self.away is not None:
                raise self.away
            return await method(*arguments)

        return guarded
