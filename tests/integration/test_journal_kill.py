"""Killing a process that appends to the journal: what it acknowledged is there, without a gap."""

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caio.audit.ports import LeafKind
from caio.foundation.scope import TenantScope
from caio.storage.sql import Database, open_stores
from caio.storage.sql.upgrade import upgrade
from tests.support.tenants import add_bare_tenants, tenant_named

APPENDER = Path(__file__).parent / "journal_appender.py"
ENOUGH = 1_000_000


def acknowledged_before_kill(url, name, rng):
    """Start an appender, SIGKILL it a random moment after its first leaf, and return what it had printed."""
    command = [sys.executable, APPENDER, name, str(ENOUGH)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(url + "\n")
            child.stdin.flush()
            lines = [child.stdout.readline()]
            time.sleep(rng.uniform(0, 0.08))
        finally:
            child.kill()
        lines += child.stdout.read().splitlines()
    # The last line may have been cut off in the middle.
    whole = [line.split() for line in lines]
    return {(int(fields[0]), fields[1], fields[2]) for fields in whole[:-1]}


@pytest.mark.parametrize("rounds", [2, pytest.param(12, marks=pytest.mark.long)])
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
async def test_acknowledged_leaves_survive_a_kill(dialect, rounds, request, tmp_path):
    url = f"sqlite:///{tmp_path / 'caio.db'}" if dialect == "sqlite" else request.getfixturevalue("postgres_url")
    await asyncio.to_thread(upgrade, url)
    database = await Database.open(url)
    await add_bare_tenants(database, tenant_named("acme"))
    await database.close()

    rng, acknowledged = random.Random(), set()
    for number in range(rounds):
        acknowledged |= await asyncio.to_thread(acknowledged_before_kill, url, f"round-{number}", rng)
    database = await Database.open(url)
    journal = open_stores(database).journal
    stored = await journal.page(TenantScope("acme"), -1, ENOUGH)
    decisions = await journal.decisions(TenantScope("acme"), None, ENOUGH)
    await database.close()

    assert len(acknowledged) > rounds
    assert acknowledged <= {(entry.seq, entry.leaf.subject_id, entry.leaf.kind.value) for entry in stored}
    assert [entry.seq for entry in stored] == list(range(len(stored)))
    # Every leaf has its projection, and no projection is without its leaf.
    for kind, rows in (
        (LeafKind.DECISION, {row.decision_id for row, _ in decisions}),
        (LeafKind.OUTCOME, {row.decision_id for row, outcome in decisions if outcome is not None}),
    ):
        assert rows == {entry.leaf.subject_id for entry in stored if entry.leaf.kind is kind}
