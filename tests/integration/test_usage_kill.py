"""Processes that roll usage up: killed at any moment, and several at once."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from caio.foundation.scope import TenantScope
from caio.metering.ports import Progress, UsageQuery
from caio.metering.usage import Dimension, Place, Sums
from caio.storage.sql import Database, open_stores
from caio.storage.sql.upgrade import upgrade
from tests.support.acts import acts_over
from tests.support.calls import CallMade, leaves_of, random_call, usage_of
from tests.support.tenants import add_bare_tenants, tenant_named

ROLLER = Path(__file__).parent / "usage_roller.py"
ACME = TenantScope("acme")
CALLS = 400


def _start(url: str, batch: int) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, ROLLER, str(batch)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    child.stdin.write(url + "\n")
    child.stdin.flush()
    return child


def _killed(url: str, rng: random.Random) -> int:
    """How many leaves a roller said it had taken in before it was killed."""
    child = _start(url, batch=3)
    assert child.stdout is not None
    with child:
        try:
            assert child.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0, 0.05))
        finally:
            child.kill()
        # The last line may have been cut off in the middle.
        return sum(int(line) for line in child.stdout.read().split("\n")[:-1])


@pytest.mark.parametrize(
    ("dialect", "kills"),
    [("sqlite", 2), *(pytest.param(dialect, 6, marks=pytest.mark.long) for dialect in ("sqlite", "postgresql"))],
)
async def test_killing_a_rollup_loses_and_repeats_nothing(
    dialect: str, kills: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'caio.db'}" if dialect == "sqlite" else request.getfixturevalue("postgres_url")
    calls = await _journalled(url)
    rng, told = random.Random(), 0
    for _ in range(kills):
        told += await asyncio.to_thread(_killed, url, rng)
        kept, progress = await _usage(url)
        assert sum(sums.calls for sums in kept.values()) <= sum(call.outcome is not None for call in calls)
        assert told <= _leaves(calls) - progress.waiting
    rollers = [_start(url, batch=5) for _ in range(2)]  # the rest, two at once
    rest = [await asyncio.to_thread(roller.communicate) for roller in rollers]
    assert [roller.returncode for roller in rollers] == [0, 0], rest
    assert await _usage(url) == (usage_of(calls), Progress(0, None))


def _leaves(calls: list[CallMade]) -> int:
    return len(calls) + sum(call.outcome is not None for call in calls)


async def _journalled(url: str) -> list[CallMade]:
    await asyncio.to_thread(upgrade, url)
    database = await Database.open(url)
    await add_bare_tenants(database, tenant_named("acme"))
    stores, rng = open_stores(database), random.Random(1)
    calls = [random_call(rng, ACME, f"dec_{number}") for number in range(CALLS)]
    _, vault = acts_over(stores)
    await stores.journal.append(leaves_of(calls, await vault.sealer(ACME)))
    await database.close()
    return calls


async def _usage(url: str) -> tuple[dict[Place, Sums], Progress]:
    database = await Database.open(url)
    store: Any = open_stores(database).usage
    groups = await store.groups(ACME, UsageQuery(0, 10**6, tuple(Dimension)), None, 10_000)
    progress = await store.progress(ACME)
    await database.close()
    return {Place(*group.key): group.sums for group in groups}, progress
