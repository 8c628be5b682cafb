"""The counts by hour that the journal writes with each attempt, and the sums over them."""

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest
from sqlalchemy import text

from caio.audit.ports import Attempt, DecisionRow, Leaf, LeafKind, Mode, OutcomeRow, Status
from caio.foundation.errors import Conflict
from caio.foundation.latencies import bucket_of
from caio.registry.observed import HOUR
from caio.storage.sql import Database
from caio.storage.sql.upgrade import downgrade, upgrade

NOW = 1_700_000_000_000_000 // HOUR * HOUR
GOOD = Attempt("svc", "1.0.0", True, 700, False, ())


def call(number, *attempts, tenant="acme", at=NOW):
    """A decision and its outcome."""
    name = f"dec_{number}"
    decision = DecisionRow(name, at, Mode.ORCHESTRATE, "chat", "svc", "1.0.0", "user", "ab", True, 5)
    outcome = OutcomeRow(name, at, Status.OK, "svc", 7, 1, 2, 3, attempts)
    return [
        Leaf(tenant, LeafKind.DECISION, name, at, bytes(32), b"sealed", decision),
        Leaf(tenant, LeafKind.OUTCOME, name, at, bytes(32), b"sealed", outcome),
    ]


async def totals(stores, scope, service="svc", version="1.0.0", since=NOW):
    found = await stores.observed.totals(scope, service, version, since)
    sums = {(each.measure, each.bucket): each.calls for each in found}
    assert len(sums) == len(found)
    return sums


async def test_each_attempt_is_counted_under_what_it_was(stores, acme):
    attempts = (
        GOOD,
        Attempt("svc", "1.0.0", True, 701, False, ("latency_ms.max", "output_schema")),
        Attempt("svc", "1.0.0", True, 90, True, ("first_token_ms.max",)),
        Attempt("svc", "1.0.0", False, 9_000, False, ()),
        Attempt("svc", "2.0.0", True, 5, False, ()),
        Attempt("other", "1.0.0", True, 5, False, ("output_schema", "output_schema")),
    )
    await stores.journal.append(call(1, *attempts))
    assert bucket_of(700) == bucket_of(701)
    assert await totals(stores, acme) == {
        ("latency_ms", bucket_of(700)): 2,
        ("first_token_ms", bucket_of(90)): 1,
        ("error", 0): 1,
        ("breach:latency_ms.max", 0): 1,
        ("breach:output_schema", 0): 1,
        ("breach:first_token_ms.max", 0): 1,
    }
    assert await totals(stores, acme, version="2.0.0") == {("latency_ms", 5): 1}
    assert await totals(stores, acme, "other") == {("latency_ms", 5): 1, ("breach:output_schema", 0): 1}
    assert await totals(stores, acme, "nobody") == {}


async def test_what_one_tenant_called_is_not_seen_by_another(stores, acme, rival):
    await stores.journal.append([*call(1, GOOD), *call(1, GOOD, GOOD, tenant="rival")])
    assert sum((await totals(stores, acme)).values()) == 1
    assert sum((await totals(stores, rival)).values()) == 2


async def test_a_sum_begins_with_its_hour(stores, acme):
    moments = (NOW - 1, NOW, NOW + HOUR - 1, NOW + HOUR)
    await stores.journal.append([leaf for n, at in enumerate(moments) for leaf in call(n, GOOD, at=at)])
    for since, calls in ((NOW - HOUR, 4), (NOW, 3), (NOW + HOUR, 1), (NOW + 2 * HOUR, 0)):
        assert sum((await totals(stores, acme, since=since)).values()) == calls


async def test_a_failed_append_counts_nothing(stores, acme):
    await stores.journal.append(call(1, GOOD))
    with pytest.raises(Conflict):
        await stores.journal.append([*call(2, GOOD), *call(1, GOOD)])
    assert sum((await totals(stores, acme)).values()) == 1


async def test_the_counts_are_those_of_the_attempts(stores_of_two_processes, acme, rival):
    """Written by several at once; then counted again from every attempt that the journal holds."""
    rng, numbers = Random(3), iter(range(10_000))

    async def append_some(stores):
        for _ in range(8):
            leaves = []
            for _ in range(rng.randint(1, 4)):
                tried = [random_attempt(rng) for _ in range(rng.randint(0, 3))]
                tenant, at = rng.choice(["acme", "rival"]), NOW + rng.randrange(3) * HOUR
                leaves += call(next(numbers), *tried, tenant=tenant, at=at)
            await stores.journal.append(leaves)

    await asyncio.gather(*(append_some(stores) for stores in stores_of_two_processes * 3))
    stores = stores_of_two_processes[0]
    kept = await stores.journal.attempts_since(0)
    assert len(kept) > 50
    for scope in (acme, rival):
        for service, version in (("svc", "1.0.0"), ("svc", "1.1.0"), ("b", "1.0.0"), ("b", "1.1.0")):
            for since in (NOW, NOW + 2 * HOUR):
                own = [
                    each
                    for tenant, at, _, each in kept
                    if (tenant, each.service_id, each.version) == (scope.tenant_id, service, version) and at >= since
                ]
                assert await totals(stores, scope, service, version, since) == recounted(own)


def random_attempt(rng):
    breached = tuple(rng.sample(["cost.max", "latency_ms.max", "output_schema"], rng.choice([0, 0, 1, 2])))
    return Attempt(
        rng.choice(["svc", "b"]),
        rng.choice(["1.0.0", "1.1.0"]),
        rng.random() < 0.8,
        rng.randrange(40),
        rng.random() < 0.3,
        breached,
    )


def recounted(attempts):
    counts: Counter[Any] = Counter()
    for each in attempts:
        if not each.succeeded:
            counts["error", 0] += 1
        elif each.streamed:
            counts["first_token_ms", bucket_of(each.latency_ms)] += 1
        else:
            counts["latency_ms", bucket_of(each.latency_ms)] += 1
        for clause in each.breached:
            counts[f"breach:{clause}", 0] += 1
    return counts


async def test_attempts_of_before_keep_what_was_known_of_them(empty_url):
    await asyncio.to_thread(upgrade, empty_url, "0001")
    await run(
        empty_url,
        "INSERT INTO tenants VALUES ('acme', 'Acme', 'active', 'USD', 1, 1, 1, 1, NULL, 1)",
        "INSERT INTO decisions VALUES ('acme', 'd', 1, 'orchestrate', 'chat', 'svc', '1.2.0', 'me', 'ab', true, 5)",
        "INSERT INTO outcomes VALUES ('acme', 'd', 2, 'ok', 'svc', 7, 1, 2, 3)",
        "INSERT INTO attempts VALUES ('acme', 'd', 0, 2, 'svc', true, 7, 2)",
        "INSERT INTO attempts VALUES ('acme', 'd', 1, 2, 'other', true, 8, 0)",
    )
    await asyncio.to_thread(upgrade, empty_url)
    query = "SELECT service_id, version, streamed, breached FROM attempts ORDER BY position"
    assert [tuple(row) for row in await run(empty_url, query)] == [
        ("svc", "1.2.0", True, "unrecorded"),
        ("other", "", True, ""),
    ]
    await run(empty_url, "UPDATE attempts SET breached = 'cost.max output_schema' WHERE position = 1")
    await asyncio.to_thread(downgrade, empty_url, "0001")
    rows = await run(empty_url, "SELECT service_id, latency_ms, violations FROM attempts ORDER BY position")
    assert [tuple(row) for row in rows] == [("svc", 7, 1), ("other", 8, 2)]


async def run(url, *statements):
    """The rows of the last statement, if it gives any."""
    database = await Database.open(url)
    async with database.as_login() as connection:
        for statement in statements:
            done = await connection.execute(text(statement))
        rows = done.all() if done.returns_rows else []
    await database.close()
    return rows


async def test_what_is_forgotten_is_what_lies_before(stores, acme, rival):
    for number, at in enumerate((NOW - HOUR, NOW, NOW + HOUR)):
        await stores.journal.append(call(number, GOOD, at=at))
        await stores.journal.append(call(number + 10, GOOD, at=at, tenant="rival"))
    await stores.observed.forget(NOW)
    place = ("latency_ms", bucket_of(700))
    assert await totals(stores, acme, since=0) == await totals(stores, rival, since=0) == {place: 2}
    await stores.observed.forget(NOW + 1)
    assert await totals(stores, acme, since=0) == {place: 1}
