"""Appending at full speed: leaves durable, in the tree, and under a checkpoint each second."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import uvloop
from sqlalchemy import insert

from caio.audit.checkpoint import read_checkpoint
from caio.audit.journal import Journal
from caio.audit.merkle import leaf_hash, root_of
from caio.audit.ports import Leaf, LeafKind
from caio.audit.sequencer import Sequencer
from caio.audit.signing import Keyring, SigningKey
from caio.foundation.hashing import DIGEST_BYTES
from caio.foundation.scope import PlatformScope, TenantScope
from caio.storage.sql.database import Database
from caio.storage.sql.stores import Stores, open_stores
from caio.storage.sql.tables_tenancy import tenants as tenant_rows
from caio.storage.sql.upgrade import upgrade
from caio.tenancy.authentication import embedded_scope

CALLERS = 4096
SEALED_BYTES = 300
POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Appended:
    """What one run did: leaves whose callers were told, a second; the seconds between two checkpoints of
    a log that grows all the time, median and longest; and the seconds after the last append until every
    leaf was under a checkpoint."""

    rate: float
    between: float
    longest: float
    caught_up: float


def append(url: str, tenants: int, leaves: int, name: str = "tenant") -> Appended:
    """Append ``leaves`` acts, to ``tenants`` in turn, as fast as 4,096 callers get through; then compare
    every log's root with the root over the commitments that were appended."""
    upgrade(url)
    return uvloop.run(_append(url, [f"{name}-{number:04}" for number in range(tenants)], leaves))


async def _append(url: str, tenants: list[str], count: int) -> Appended:
    database = await Database.open(url)
    stores, key = open_stores(database), SigningKey.generate(os.urandom(32))
    await _create(database, tenants)
    journal = Journal(stores.journal)
    sequencer = Sequencer(stores.log, Keyring(key), lambda tenant: f"benchmark.example/{tenant}", "benchmark", _now)
    await journal.start()
    await sequencer.start()
    leaves = [leaf(tenants[number % len(tenants)], number) for number in range(count)]
    gc.collect()
    gc.freeze()  # a server does not hold what its callers are about to append
    changes: list[float] = []
    watching = asyncio.create_task(_watch(stores, embedded_scope(tenants[0]), changes))
    started, upcoming = time.perf_counter(), iter(leaves)
    await asyncio.gather(*(_caller(journal, upcoming) for _ in range(CALLERS)))
    ended = time.perf_counter()
    watching.cancel()
    await asyncio.gather(*(sequencer.take_in(name) for name in tenants))
    caught_up = time.perf_counter() - ended
    await journal.stop()
    await sequencer.stop()
    await _compare(stores, key, tenants, leaves)
    await database.close()
    gc.unfreeze()
    waits = [later - earlier for earlier, later in pairwise([started, *changes])]
    return Appended(count / (ended - started), median(waits), max(waits), caught_up)


async def _create(database: Database, tenants: list[str]) -> None:
    row = {"status": "active", "currency": "USD", "created_at": _now()}
    row |= dict.fromkeys(("quota_services", "quota_per_minute", "quota_per_hour", "quota_per_day"), 1)
    async with database.writing(PlatformScope("benchmark")) as connection:
        await connection.execute(insert(tenant_rows), [{"tenant_id": name, "name": name, **row} for name in tenants])


def leaf(tenant: str, number: int) -> Leaf:
    """An act's leaf without a projection: what the journal and the tree cost, and nothing else."""
    return Leaf(
        tenant, LeafKind.ACCESS, f"act_{number:026}", _now(), os.urandom(DIGEST_BYTES), os.urandom(SEALED_BYTES)
    )


async def _caller(journal: Journal, leaves: Iterator[Leaf]) -> None:
    for leaf in leaves:
        await journal.append(leaf)


async def _watch(stores: Stores, scope: TenantScope, changes: list[float]) -> None:
    """Note when the log's checkpoint changes."""
    size = 0
    while True:
        await asyncio.sleep(POLL_SECONDS)
        head = await stores.log.head(scope)
        if head is not None and head.size > size:
            size = head.size
            changes.append(time.perf_counter())


async def _compare(stores: Stores, key: SigningKey, tenants: list[str], leaves: list[Leaf]) -> None:
    """A rate counts only if the logs hold what was appended: raises RuntimeError when one does not."""
    for place, name in enumerate(tenants):
        appended = [leaf_hash(leaf.commitment) for leaf in leaves[place :: len(tenants)]]
        head = await stores.log.head(embedded_scope(name))
        signed = None if head is None else read_checkpoint(head.checkpoint)
        if (
            signed is None
            or signed.checkpoint.size != len(appended)
            or not signed.signed_by({key.key_id: key.public_key})
        ):
            raise RuntimeError(f"the log of {name} does not hold what was appended")
        if signed.checkpoint.root != root_of(appended):
            raise RuntimeError(f"the root of {name} is not that of its leaves")


def _now() -> int:
    return time.time_ns() // 1000
