"""Killing processes that append and sequence: one log, without a gap, a fork or a step back."""

import asyncio
import json
import os
import random
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from caio.audit.checkpoint import read_checkpoint
from caio.audit.merkle import Frontier, leaf_hash, verify_inclusion
from caio.foundation.scope import TenantScope
from caio.registry.audit_log import AuditLog
from caio.storage.sql import Database, open_stores
from caio.storage.sql.upgrade import upgrade
from tests.integration.journal_appender import commitment
from tests.support.logs import KEYRING, origin_of, sequencer
from tests.support.tenants import add_bare_tenants, tenant_named

ROOT = Path(__file__).parents[2]
PROCESS = Path(__file__).parent / "log_sequencer.py"
ACME = TenantScope("acme")


class Processes:
    """Some running copies of ``log_sequencer``; what they said is kept in ``folder``."""

    def __init__(self, url, folder):
        self._url = url
        self._folder = folder
        self._running = []
        self._started = 0

    def start(self):
        self._started += 1
        name = f"process-{self._started}"
        with (self._folder / f"{name}.acknowledged").open("wb") as output:
            command = [sys.executable, PROCESS, name, self._folder / f"{name}.signed"]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, env=environment)
        assert child.stdin is not None
        child.stdin.write(self._url.encode() + b"\n")
        child.stdin.close()
        self._running.append(child)
        return self._folder / f"{name}.signed"

    def kill(self, one):
        assert one.poll() is None, "the process ended by itself"
        one.kill()
        one.wait()
        self._running.remove(one)

    def kill_any(self):
        self.kill(random.choice(self._running))

    def kill_all(self):
        for one in list(self._running):
            self.kill(one)

    def clean_up(self):
        for one in self._running:
            one.kill()
            one.wait()

    def acknowledged(self):
        """(seq, decision id, kind) of every leaf that was acknowledged."""
        lines = [line for path in self._folder.glob("*.acknowledged") for line in path.read_text().split("\n")[:-1]]
        return {(int(seq), name, kind) for seq, name, kind in map(str.split, lines)}

    def signed(self):
        """(holder, checkpoint) of everything signed, and how many steps lost against another process."""
        lines = [line for path in self._folder.glob("*.signed") for line in path.read_text().split("\n")[:-1]]
        found = list(map(json.loads, lines))
        return [(holder, note) for holder, _, note in found if note], sum(lost for _, lost, note in found if not note)


@contextmanager
def processes(url, folder):
    running = Processes(url, folder)
    try:
        yield running
    finally:
        running.clean_up()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request, tmp_path):
    own_file = f"sqlite:///{tmp_path / 'caio.db'}"
    url = own_file if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    await asyncio.to_thread(upgrade, url)
    opened = await Database.open(url)
    await add_bare_tenants(opened, tenant_named("acme"))
    yield url, opened
    await opened.close()


async def until(condition):
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_killed_sequencers_leave_one_log(database, tmp_path):
    url, opened = database
    await kill_again_and_again(url, opened, tmp_path, rounds=2)


@pytest.mark.long
async def test_sequencers_killed_many_times_leave_one_log(database, tmp_path):
    url, opened = database
    await kill_again_and_again(url, opened, tmp_path, rounds=25)


async def kill_again_and_again(url, database, folder, rounds):
    stores, sizes = open_stores(database), [0]
    at_once = 1 if database.dialect == "sqlite" else 2  # as the process lock has it, and beyond what it permits
    with processes(url, folder) as running:
        files = [running.start() for _ in range(at_once)]
        for number in range(rounds):
            enough = sizes[-1] + 20

            async def all_have_signed(enough=enough):
                head = await stores.log.head(ACME)
                sizes.append(head.size if head else 0)
                return sizes[-1] > enough and all(file.exists() and file.stat().st_size for file in files)

            await until(all_have_signed)
            await asyncio.sleep(random.uniform(0, 0.1))
            running.kill_any()
            if number < rounds - 1:
                files.append(running.start())
        running.kill_all()
        acknowledged, (signed, lost) = running.acknowledged(), running.signed()

    last = sequencer(stores.log, every_seconds=3600)
    await last.start()
    await last.stop()
    assert last.faults == {}
    stored = await stores.journal.page(ACME, -1, 10**6)
    head = await stores.log.head(ACME)
    assert head is not None
    sizes.append(head.size)
    await check(stores, stored, head, acknowledged, signed, sizes)
    assert len({holder for holder, _ in signed}) == len(files)
    assert (lost > 0) == (at_once > 1)  # two did grow the log from the same size


async def check(stores, stored, head, acknowledged, signed, sizes):
    places = [(entry.seq, entry.leaf.subject_id, entry.leaf.kind.value) for entry in stored]
    assert [seq for seq, _, _ in places] == list(range(head.size))
    assert len(acknowledged) > 20
    assert acknowledged <= set(places)
    assert all(entry.leaf.commitment == commitment(entry.leaf.subject_id, entry.leaf.kind) for entry in stored)
    assert sizes == sorted(sizes)

    # Whatever anybody ever signed is the beginning of this one log.
    roots, frontier = {}, Frontier()
    for entry in stored:
        frontier = frontier.extended([leaf_hash(entry.leaf.commitment)])
        roots[frontier.size] = frontier.root()
    assert head.root == roots[head.size]
    assert len(signed) > 3
    for _, note in signed:
        checkpoint = read_checkpoint(note)
        assert checkpoint.signed_by(KEYRING.trusted_keys())
        assert checkpoint.checkpoint.origin == origin_of("acme")
        assert checkpoint.checkpoint.root == roots[checkpoint.checkpoint.size]

    log = AuditLog(stores.log, sequencer(stores.log))
    seqs = sorted({seq for seq, _, _ in acknowledged})[:: max(1, len(acknowledged) // 200)]
    inclusion = await log.inclusion(ACME, seqs)
    assert inclusion is not None
    for seq, proof in zip(seqs, inclusion.proofs, strict=True):
        assert verify_inclusion(leaf_hash(stored[seq].leaf.commitment), seq, head.size, proof, head.root)
