"""Workers that are killed while they deliver: every event arrives, with its own id, and none that did not happen."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest

from caio.audit.acts import Act, Acts
from caio.foundation.ids import ulid
from caio.foundation.scope import TenantScope
from caio.providers.outbound import OutboundClient
from caio.providers.webhooks import WebhookReceiver as Sender
from caio.routing.model import Principal
from caio.storage.sql import Database, open_stores
from caio.storage.sql.journal_within import append_within
from caio.storage.sql.stores import Stores
from caio.storage.sql.upgrade import upgrade
from caio.tenancy.principals import Caller
from caio.tenancy.webhooks import Webhooks
from tests.support.acts import acts_over
from tests.support.tenants import add_bare_tenants, tenant_named
from tests.support.webhook_receiver import verified, webhook_receiver

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).parent / "relay_worker.py"
SCOPES = (TenantScope("acme"), TenantScope("rival"))
LEASE_SECONDS = 1
EVENTS_A_ROUND = 12


def now() -> int:
    return time.time_ns() // 1000


@asynccontextmanager
async def working(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker in a process of its own, killed at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        WORKER,
        str(LEASE_SECONDS),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(url.encode() + b"\n")
        await process.stdin.drain()
        assert await process.stdout.readline() == b"works\n"
        yield process
    finally:
        process.kill()
        await process.wait()


class Failed(Exception):
    """The change that an act would have told of did not come about."""


async def happen(stores: Stores, acts: Acts, scope: TenantScope, *, fails: bool) -> str:
    leaf = await acts.leaf(scope, Act("policy.published", "key_1", "careful"))
    try:
        async with stores.events._database.writing(scope) as connection:
            await append_within(connection, leaf)
            if fails:
                raise Failed
    except Failed:
        pass
    return "evt_" + leaf.subject_id.removeprefix("act_")


@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.long)])
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
async def test_every_event_arrives_whatever_is_killed_when(
    dialect: str, kills: int, request: pytest.FixtureRequest, tmp_path: Path, wait_for_async
) -> None:
    url = f"sqlite:///{tmp_path / 'caio.db'}" if dialect == "sqlite" else request.getfixturevalue("postgres_url")
    await asyncio.to_thread(upgrade, url)
    database = await Database.open(url)
    await add_bare_tenants(database, *(tenant_named(scope.tenant_id) for scope in SCOPES))
    stores = open_stores(database)
    acts, vault = acts_over(stores, now())
    happened: dict[str, str] = {}
    undone: set[str] = set()
    rng = random.Random()
    async with webhook_receiver() as receiver, OutboundClient() as outbound:
        sender = Sender(outbound, (ip_network("127.0.0.0/8"),))
        webhooks = Webhooks(
            stores.webhooks,
            stores.acts,
            acts,
            vault,
            sender,
            now,
            lambda prefix: ulid(prefix, now(), os.urandom(10)),
            os.urandom,
        )
        secrets = {}
        for scope in SCOPES:
            principal = Principal("key_1", "api_key", frozenset(), frozenset(), "standard")
            caller = Caller(scope, tenant_named(scope.tenant_id), principal)
            made = await webhooks.create(caller, f"{receiver.url}/{scope.tenant_id}", ["caio.policy."])
            secrets[f"/{scope.tenant_id}"] = made.secret
        acts._clock = now
        for _ in range(kills):
            async with working(url):
                for number in range(EVENTS_A_ROUND):
                    scope, fails = rng.choice(SCOPES), number % 4 == 3
                    event_id = await happen(stores, acts, scope, fails=fails)
                    if fails:
                        undone.add(event_id)
                    else:
                        happened[event_id] = f"/{scope.tenant_id}"
                await asyncio.sleep(rng.uniform(0, 0.1))
        async with working(url), working(url):  # two at once
            await wait_for_async(lambda: happened.keys() <= set(receiver.ids()), seconds=60)
        bodies = defaultdict(set)
        for got in receiver.received:
            event_id = got.headers["webhook-id"]
            assert happened[event_id] == got.path, "of another tenant, or of nothing that happened"
            assert verified(secrets[got.path], got.headers, got.body)
            bodies[event_id].add(got.body)
    await database.close()
    assert not undone & bodies.keys()
    assert all(len(each) == 1 for each in bodies.values())
