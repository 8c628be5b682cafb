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


class KeptAnchor:
    """An anchor in memory, of what was put and in which order; ``away`` it raises what it is given."""

    def __init__(self) -> None:
        self.put_notes: list[str] = []
        self.away: Exception | None = None

    async def put(self, origin: str, size: int, note: str) -> None:
        self._answer()
        for each in self._of(origin):
            if each.checkpoint.size == size:
                if each.checkpoint != read_checkpoint(note).checkpoint:
                    from caio.foundation.errors import Conflict

                    raise Conflict("another is there", code="anchor_conflict")
                return
        self.put_notes.append(note)

    async def latest(self, origin: str) -> str | None:
        self._answer()
        notes = sorted(self._of(origin), key=lambda each: each.checkpoint.size)
        return str(notes[-1].note) if notes else None

    async def notes(self, origin: str, after: int = -1) -> Any:
        self._answer()
        for each in sorted(self._of(origin), key=lambda each: each.checkpoint.size):
            if each.checkpoint.size > after:
                yield str(each.note)

    def sizes(self, tenant: str) -> list[int]:
        return [each.checkpoint.size for each in self._of(origin_of(tenant))]

    def _of(self, origin: str) -> list[Any]:
        return [each for each in map(read_checkpoint, self.put_notes) if each.checkpoint.origin == origin]

    def _answer(self) -> None:
        if self.away is not None:
            raise self.away
