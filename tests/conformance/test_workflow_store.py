"""Runs of workflows in both databases: leases, turns, keys, events, what is forgotten."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from sqlalchemy import insert

from caio.foundation.errors import Conflict, NotFound
from caio.foundation.scope import TenantScope
from caio.gateway.workflows.ports import News, Run, RunStatus, StepRun, StepStatus
from caio.storage.sql.stores import Stores
from caio.storage.sql.tables import retention
from caio.storage.sql.workflows import SqlWorkflows
from tests.support.acts import act_leaf

ACME, RIVAL = TenantScope("acme"), TenantScope("rival")
QUEUED = News("run.queued", {})
DAY = 86_400 * 1_000_000

_numbers = count()


@pytest.fixture
def store(stores: Stores) -> SqlWorkflows:
    return stores.workflows


def run_of(scope: TenantScope, at: int = 10, **changes: Any) -> Run:
    run = Run(
        tenant_id=scope.tenant_id,
        run_id=f"wfr_{next(_numbers):026}",
        principal_id="key_1",
        status=RunStatus.QUEUED,
        plan_hash="plan",
        most_cost=3,
        fingerprint="asked",
        created_at=at,
        updated_at=at,
        deadline_at=1_000,
        leased_until=at,
        sealed=b"sealed",
    )
    return replace(run, **changes)


async def added(store: SqlWorkflows, scope: TenantScope, most: int = 100, **changes: Any) -> Run:
    run = run_of(scope, **changes)
    return await store.add(scope, run, most, QUEUED, act_leaf(scope, "workflow.started", run.run_id))


async def claimed(store: SqlWorkflows, owner: str, now: int, limit: int = 10, **more: Any) -> list[str]:
    options: dict[str, Any] = {"shares": {}, "share": 4, "alone": False} | more
    found = await store.claim(owner, now, now + 5, limit, options["shares"], options["share"], alone=options["alone"])
    return [run_id for _, run_id in found]


async def ended(store: SqlWorkflows, run: Run, owner: str, at: int = 50) -> None:
    over = replace(run, status=RunStatus.SUCCEEDED, updated_at=at, sealed_result=b"result")
    scope = TenantScope(run.tenant_id)
    leaf = act_leaf(scope, "workflow.ended", run.run_id)
    await store.end_run(scope, over, owner, News("run.succeeded", {}), leaf)


async def test_a_leased_run_is_nobody_elses(store: SqlWorkflows) -> None:
    run = await added(store, ACME)
    assert await claimed(store, "one", 20) == [run.run_id]
    assert await claimed(store, "two", 24) == []
    assert await store.renew("one", 40) == {run.run_id: RunStatus.QUEUED}
    assert await claimed(store, "two", 39) == []
    assert await claimed(store, "two", 40) == [run.run_id]  # the lease has ended
    assert await store.renew("one", 60) == {}
    await store.release("two", 41)
    assert await claimed(store, "one", 41) == [run.run_id]
    assert await claimed(store, "two", 42, alone=True) == [run.run_id]  # others are gone
    assert await claimed(store, "two", 43, alone=True) == []
    await store.release("two", 50, [run.run_id])
    assert await claimed(store, "one", 49, alone=True) == []


async def test_who_lost_a_run_writes_nothing_of_it(store: SqlWorkflows) -> None:
    run = await added(store, ACME)
    await claimed(store, "one", 20)
    assert (await store.attend(ACME, run.run_id, "one", 21, 26, News("run.started", {}))) is not None
    step = StepRun(step="a", status=StepStatus.RUNNING, started_at=22)
    assert await store.begin_step(ACME, run.run_id, "one", step, News("step.started", {})) == step
    await claimed(store, "two", 30)
    done = replace(step, status=StepStatus.SUCCEEDED, finished_at=31, sealed=b"said")
    for attempt in (
        store.begin_step(ACME, run.run_id, "one", step, News("step.started", {})),
        store.end_step(ACME, run.run_id, "one", done, News("step.succeeded", {})),
        ended(store, run, "one"),
    ):
        with pytest.raises(Conflict) as raised:
            await attempt
        assert raised.value.code == "run_lost"
    assert await store.steps(ACME, run.run_id) == [step]
    assert (await store.get(ACME, run.run_id)).status is RunStatus.RUNNING
    again = await store.begin_step(ACME, run.run_id, "two", replace(step, started_at=33), News("step.started", {}))
    assert again == step  # as it was begun before
    await store.end_step(ACME, run.run_id, "two", done, News("step.succeeded", {}))
    await ended(store, run, "two")
    assert await store.attend(ACME, run.run_id, "two", 60, 65, News("run.started", {})) is None
    assert await store.tenant_of(run.run_id) is None
    assert [each.kind for each in await store.events(ACME, run.run_id, 0, 100)] == [
        *("run.queued", "run.started", "step.started", "step.resumed", "step.succeeded", "run.succeeded")
    ]


async def test_tenants_are_claimed_in_turn(store: SqlWorkflows) -> None:
    many = [(await added(store, ACME, at=number)).run_id for number in range(5)]
    few = (await added(store, RIVAL, at=9)).run_id
    assert sorted(await claimed(store, "one", 20, limit=2)) == sorted([many[0], few])
    assert sorted(await claimed(store, "one", 20, share=3, shares={"acme": 2})) == many[1:3]
    assert await claimed(store, "one", 20, shares={"acme": 0}) == []
    assert sorted(await claimed(store, "two", 20)) == many[3:]


async def test_one_key_begins_one_run(store: SqlWorkflows) -> None:
    runs = await asyncio.gather(*(added(store, ACME, key_name="k") for _ in range(5)))
    assert len({run.run_id for run in runs}) == 1
    assert (await added(store, RIVAL, key_name="k")).run_id != runs[0].run_id
    assert len(await store.page(ACME, None, None, 100)) == 1


async def test_no_tenant_has_more_open_runs_than_it_may(store: SqlWorkflows) -> None:
    begun = await asyncio.gather(*(added(store, ACME, most=2) for _ in range(5)), return_exceptions=True)
    refused = [each for each in begun if isinstance(each, Conflict)]
    assert [each.code for each in refused] == ["quota_exceeded"] * 3
    await claimed(store, "one", 20)
    await ended(store, (await store.page(ACME, None, None, 1))[0], "one")
    await added(store, ACME, most=2)
    await added(store, RIVAL, most=1)


async def test_events_are_numbered_without_a_gap(store: SqlWorkflows) -> None:
    run = await added(store, ACME)
    await claimed(store, "one", 20)
    steps = [StepRun(step=f"s{number}", status=StepStatus.RUNNING, started_at=21) for number in range(8)]
    told = News("step.started", {"x": 1})
    await asyncio.gather(*(store.begin_step(ACME, run.run_id, "one", step, told) for step in steps))
    events = await store.events(ACME, run.run_id, 0, 100)
    assert [each.seq for each in events] == list(range(1, 10))
    assert [each.seq for each in await store.events(ACME, run.run_id, 4, 2)] == [5, 6]
    assert await store.events(RIVAL, run.run_id, 0, 100) == []


async def test_what_has_not_ended_is_never_forgotten(store: SqlWorkflows, stores: Stores) -> None:
    runs = [await added(store, scope) for scope in (ACME, ACME, RIVAL)]
    await claimed(store, "one", 20)
    for run in runs[1:]:
        await ended(store, run, "one", at=100)
    now = 100 + 3 * DAY
    assert await store.forget(now, 100, 10) == 0
    async with stores.workflows._database.writing(RIVAL) as connection:
        await connection.execute(insert(retention).values(tenant_id="rival", days=2, erased_before=0))
    assert await store.forget(now, 100, 10) == 1  # whose tenant keeps content for two days
    with pytest.raises(NotFound):
        await store.get(RIVAL, runs[2].run_id)
    assert await store.forget(now, 101, 10) == 1
    assert [run.run_id for run in await store.page(ACME, None, None, 10)] == [runs[0].run_id]


async def test_runs_are_listed_newest_first(store: SqlWorkflows) -> None:
    runs = [(await added(store, ACME, principal_id=f"key_{number % 2}")).run_id for number in range(5)]
    first = await store.page(ACME, None, None, 3)
    second = await store.page(ACME, None, first[-1].run_id, 3)
    assert [run.run_id for run in (*first, *second)] == runs[::-1]
    assert [run.run_id for run in await store.page(ACME, "key_1", None, 9)] == [runs[3], runs[1]]
    with pytest.raises(NotFound):
        await store.get(RIVAL, runs[0])


async def test_a_run_is_asked_once_to_be_cancelled(store: SqlWorkflows) -> None:
    run = await added(store, ACME)
    for _ in range(2):
        leaf = act_leaf(ACME, "workflow.cancelled", run.run_id)
        asked = await store.ask_to_cancel(ACME, run.run_id, 30, News("run.cancelling", {}), leaf)
        assert asked.status is RunStatus.CANCELLING
    assert [each.kind for each in await store.events(ACME, run.run_id, 0, 9)] == ["run.queued", "run.cancelling"]
    leaf = act_leaf(RIVAL, "workflow.cancelled", run.run_id)
    with pytest.raises(NotFound):
        await store.ask_to_cancel(RIVAL, run.run_id, 30, News("run.cancelling", {}), leaf)
