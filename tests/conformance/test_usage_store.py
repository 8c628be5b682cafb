"""Usage on both databases, against the calls it was counted from."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import combinations
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert
from structlog.testing import capture_logs

from caio.audit.custody import Erasure
from caio.audit.record import open_leaf
from caio.foundation.errors import NotReady, TooLarge
from caio.foundation.scope import TenantScope
from caio.metering import statements as statements_module
from caio.metering.ports import Group, Progress, UsageQuery
from caio.metering.rollup import UsageRollup
from caio.metering.statements import Statements
from caio.metering.usage import DAY, Dimension, Place, Recount, Sums, day_of, grouped
from caio.storage.sql import usage as usage_sql
from caio.storage.sql.stores import Stores
from caio.storage.sql.tables_tenancy import usage
from tests.audit_samples import NOW
from tests.support.acts import act_leaf
from tests.support.calls import CallMade, leaves_of, random_call, usage_of
from tests.support.custody import Box

EVERYTHING = UsageQuery(0, 10**6, tuple(Dimension))


class Metered:
    """An open database, the calls that were journalled, and the usage that is kept of them."""

    def __init__(self, stores: Stores, box: Box) -> None:
        self.stores, self.box = stores, box
        self.rollup = UsageRollup(stores.usage, TenantScope, batch=7)
        self.calls: dict[str, list[CallMade]] = {}

    async def call(self, rng: Random, scope: TenantScope, number: int) -> None:
        made = self.calls.setdefault(scope.tenant_id, [])
        further = [random_call(rng, scope, f"dec_{len(made) + each}") for each in range(number)]
        await self.stores.journal.append(leaves_of(further, await self.box.vault.sealer(scope)))
        made += further

    async def kept(self, scope: TenantScope) -> dict[Place, Sums]:
        groups = await self.stores.usage.groups(scope, EVERYTHING, None, 10_000)
        return {Place(*group.key): group.sums for group in groups}  # type: ignore[arg-type]

    def truth(self, scope: TenantScope) -> dict[Place, Sums]:
        return usage_of(self.calls.get(scope.tenant_id, []))


@pytest.fixture
def metered(stores: Stores) -> Metered:
    return Metered(stores, Box(stores, stores.usage.database))


@pytest.mark.parametrize("seed", range(2))
async def test_every_outcome_counts_once(
    metered: Metered, acme: TenantScope, rival: TenantScope, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the batches, whatever fails in the middle of them, and whatever else is in the journal."""
    rng, add = Random(seed), usage_sql._add

    def failing(*arguments: object) -> None:
        add(*arguments)  # type: ignore[arg-type]
        if rng.random() < 0.4:
            raise NotReady("the database went away")

    monkeypatch.setattr(usage_sql, "_add", failing)
    with capture_logs():  # a traceback with all its locals takes longer than everything else here
        for _ in range(12):
            scope = rng.choice((acme, rival))
            await metered.call(rng, scope, rng.randrange(1, 9))
            await metered.stores.journal.append([act_leaf(scope)])
            with suppress(NotReady):
                await metered.stores.usage.take_in(rng.choice((acme, rival)), rng.randrange(1, 12))
            await metered.rollup.step()  # goes on with the other tenant where one fails
    monkeypatch.undo()
    while await metered.rollup.step():
        pass
    for scope in (acme, rival):
        assert await metered.kept(scope) == metered.truth(scope)
        assert await metered.stores.usage.progress(scope) == Progress(0, None)
    assert await metered.rollup.step() == 0


async def test_a_batch_is_what_it_says(metered: Metered, acme: TenantScope) -> None:
    assert await metered.stores.usage.take_in(acme, 100) == 0
    await metered.call(Random(1), acme, 10)
    outcomes = sum(call.outcome is not None for call in metered.calls["acme"])
    first = await metered.stores.usage.take_in(acme, 3)
    assert first == 3
    progress = await metered.stores.usage.progress(acme)
    assert progress.waiting == 10 + outcomes - 3
    rest = await metered.stores.usage.take_in(acme, 100)
    assert first + rest == 10 + outcomes
    assert sum(sums.calls for sums in (await metered.kept(acme)).values()) == outcomes


async def test_a_rebuild_is_equal(metered: Metered, acme: TenantScope, rival: TenantScope) -> None:
    for scope in (acme, rival):
        await metered.call(Random(2), scope, 40)
        await metered.rollup.catch_up(scope)
    before = await metered.kept(acme)
    assert before == metered.truth(acme)
    await metered.stores.usage.begin_anew(acme)
    assert await metered.kept(acme) == {}
    assert await metered.rollup.rebuild(acme) > 40
    assert await metered.kept(acme) == before
    assert await metered.kept(rival) == metered.truth(rival)


async def test_records_say_what_the_columns_say(metered: Metered, acme: TenantScope) -> None:
    """The sealed leaves, opened and checked against their commitments, give the same usage."""
    await metered.call(Random(3), acme, 60)
    await metered.rollup.catch_up(acme)
    sealer, recount = await metered.box.vault.sealer(acme), Recount()
    for stored in await metered.stores.journal.page(acme, -1, 10_000):
        recount.take(open_leaf(stored, sealer).document)
    assert recount.usage == await metered.kept(acme) != {}
    assert recount.unexplained == 0


async def test_groups_add_up_to_the_whole(metered: Metered, acme: TenantScope) -> None:
    await metered.call(Random(4), acme, 80)
    await metered.rollup.catch_up(acme)
    truth = metered.truth(acme)
    today = day_of(NOW)
    for size in range(len(Dimension) + 1):
        for by in combinations(Dimension, size):
            for span in (range(10**6), range(today, today + 2)):
                within = {place: sums for place, sums in truth.items() if place.day in span}
                query = UsageQuery(span.start, span.stop, by)
                found = await metered.stores.usage.groups(acme, query, None, 10_000)
                assert {group.key: group.sums for group in found} == grouped(within, by)
                assert [group.key for group in found] == sorted(group.key for group in found)
                assert [*await _pages(metered.stores, acme, query)] == list(found)


async def _pages(stores: Stores, scope: TenantScope, query: UsageQuery) -> list[Group]:
    found: list[Group] = []
    while page := await stores.usage.groups(scope, query, found[-1] if found else None, 3):
        found += page
    return found


async def test_filters_keep_what_they_name(metered: Metered, acme: TenantScope, rival: TenantScope) -> None:
    await metered.call(Random(5), acme, 50)
    await metered.rollup.catch_up(acme)
    query = UsageQuery(0, 10**6, (), principal="key_a", service="cloud", capability="chat")
    (found,) = await metered.stores.usage.groups(acme, query, None, 10)
    wanted = {place: sums for place, sums in metered.truth(acme).items() if place[1:] == ("key_a", "cloud", "chat")}
    assert {(): found.sums} == grouped(wanted, ())
    assert await metered.stores.usage.groups(rival, query, None, 10) == []
    nobody = UsageQuery(0, 10**6, (), service="nobody")
    assert await metered.stores.usage.groups(acme, nobody, None, 10) == []


async def test_a_late_outcome_belongs_to_its_own_day(metered: Metered, acme: TenantScope) -> None:
    await metered.call(Random(6), acme, 5)
    await metered.rollup.catch_up(acme)
    box = metered.box
    await box.decide(acme, "dec_late", at=NOW - DAY, person="late")
    await metered.rollup.catch_up(acme)
    days = UsageQuery(0, 10**6, (Dimension.DAY,), principal="late")
    (group,) = await metered.stores.usage.groups(acme, days, None, 10)
    assert group.key == (day_of(NOW - DAY),)


async def test_rollups_at_once_count_once(stores_of_two_processes: list[Stores], acme: TenantScope) -> None:
    first = stores_of_two_processes[0]
    metered = Metered(first, Box(first, first.usage.database))
    for number in range(4):
        await metered.call(Random(number), acme, 30)
        rollups = [UsageRollup(stores.usage, TenantScope, batch=5) for stores in stores_of_two_processes]
        taken = await asyncio.gather(*(rollup.catch_up(acme) for rollup in rollups for _ in range(2)))
        assert sum(taken) > 0
    assert await metered.kept(acme) == metered.truth(acme)


async def test_usage_holds_no_principal_that_was_erased(metered: Metered, acme: TenantScope) -> None:
    """And is what a rebuild gives, whether the calls had been taken in before or not."""
    await metered.call(Random(7), acme, 40)
    leaves = await metered.stores.journal.page(acme, -1, 10_000)
    await metered.stores.usage.take_in(acme, len(leaves) // 2)
    made = metered.calls["acme"]
    ids = [call.decision.decision_id for call in made if call.decision.principal_id == "key_a" and call.outcome]
    contents = await metered.box.store.named(acme, ids)
    assert len(contents) == len(ids) > 5
    assert await metered.box.store.erase(acme, Erasure(contents), act_leaf(acme, "content.erased"))
    for _ in range(2):
        kept = await metered.kept(acme)
        assert {place.principal_id for place in kept} <= {"key_b", "key_c", ""}
        assert all(sums.calls > 0 for sums in kept.values())
        await metered.rollup.catch_up(acme)
    kept = await metered.kept(acme)
    by = (Dimension.DAY, Dimension.SERVICE, Dimension.CAPABILITY)
    assert grouped(kept, by) == grouped(metered.truth(acme), by)
    await metered.rollup.rebuild(acme)
    assert await metered.kept(acme) == kept


async def test_an_erasure_at_the_mark_moves_what_was_taken_in_alone(metered: Metered, acme: TenantScope) -> None:
    await metered.box.decide(acme, "dec_1")
    assert await metered.stores.usage.take_in(acme, 1) == 1  # the decision without its outcome
    contents = await metered.box.store.named(acme, ["dec_1"])
    assert await metered.box.store.erase(acme, Erasure(contents), act_leaf(acme, "content.erased"))
    assert await metered.kept(acme) == {}
    await metered.rollup.catch_up(acme)
    assert [(place.principal_id, sums.calls) for place, sums in (await metered.kept(acme)).items()] == [("", 1)]


async def test_an_erased_tenants_usage_keeps_its_sums(metered: Metered, acme: TenantScope, rival: TenantScope) -> None:
    for scope in (acme, rival):
        await metered.call(Random(8), scope, 40)
        await metered.rollup.catch_up(scope)
    assert await metered.box.store.erase_tenant(acme, NOW, act_leaf(acme, "tenant.erased"))
    for _ in range(2):
        await metered.box.store.sweep_tenant(acme)
        await metered.rollup.catch_up(acme)
        kept = await metered.kept(acme)
        assert {place.principal_id for place in kept} == {""}
        by_day = (Dimension.DAY,)
        kept_sums, true_sums = grouped(kept, by_day), grouped(metered.truth(acme), by_day)
        assert [sums[:-1] for sums in kept_sums.values()] == [true_sums[day][:-1] for day in kept_sums]
    assert await metered.kept(rival) == metered.truth(rival)


async def test_a_budget_counts_what_usage_has_not_taken_in(metered: Metered, acme: TenantScope) -> None:
    await metered.call(Random(9), acme, 60)
    made = metered.calls["acme"]
    start = (day_of(NOW) + 1) * DAY
    for limit in (1, 30, 1000):
        await metered.stores.usage.take_in(acme, limit)
        for since in (0, start, start + DAY):
            expected = sum(call.outcome.charged for call in made if call.outcome and call.decision.decided_at >= since)
            assert await metered.stores.usage.charged(acme, since) == expected
    running = [call.decision for call in made if call.outcome is None and call.decision.admitted]
    assert await metered.stores.usage.reserved(acme, 0) == sum(each.reserved for each in running) > 0
    latest = max(each.decided_at for each in running)
    assert await metered.stores.usage.reserved(acme, latest + 1) == 0


async def test_a_call_over_a_periods_end_belongs_to_where_it_was_admitted(metered: Metered, acme: TenantScope) -> None:
    start = (day_of(NOW) + 1) * DAY
    await metered.box.decide(acme, "dec_1", at=start - 1)  # and ends at ``start``
    await metered.box.decide(acme, "dec_2", at=start)
    one = await metered.stores.usage.charged(acme, start)
    assert await metered.stores.usage.charged(acme, 0) == 2 * one > 0
    await metered.rollup.catch_up(acme)
    assert await metered.stores.usage.charged(acme, start) == one
    assert {place.day for place in await metered.kept(acme)} == {day_of(start)}


async def test_a_statement_says_what_it_is_as_of(metered: Metered, acme: TenantScope) -> None:
    stores = metered.stores
    statements = Statements(stores.usage, stores.storage_measures, stores.tenants, lambda: NOW + 99)
    query = UsageQuery(0, 10**6, (Dimension.SERVICE,))
    empty = await statements.usage(acme, query)
    assert (empty.as_of, empty.waiting, list(empty.groups), empty.total) == (NOW + 99, 0, [], Sums())
    await metered.call(Random(10), acme, 1)
    assert (await statements.as_of(acme))[0] == metered.calls["acme"][0].decision.decided_at
    await metered.rollup.catch_up(acme)
    assert (await statements.usage(acme, query)).waiting == 0


async def test_what_lies_below_the_mark_is_not_read(metered: Metered, acme: TenantScope) -> None:
    """Also where row-level security keeps conditions from the index that depend on a subquery."""
    database, asked = metered.stores.usage.database, list[tuple[str, Any]]()
    await metered.call(Random(12), acme, 300)
    await metered.rollup.catch_up(acme)
    if database.dialect == "postgresql":  # which plans by what it has counted
        async with database.engine.begin() as connection:
            await connection.exec_driver_sql("ANALYZE")

    def note(_c: object, _cursor: object, statement: str, parameters: Any, *_others: object) -> None:
        if "journal.seq" in statement and not statement.startswith("EXPLAIN"):
            asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        await metered.stores.usage.progress(acme)
        await metered.stores.usage.charged(acme, NOW)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    lite = database.dialect == "sqlite"
    async with database.reading(acme) as connection:
        if not lite:
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for statement, parameters in asked:
            explained = f"EXPLAIN {'QUERY PLAN ' if lite else ''}{statement}"
            plan = [str(row) for row in await connection.exec_driver_sql(explained, parameters)]
            bound = "seq>?" if lite else "(seq >= "
            assert any(bound in line and ("Index Cond" in line or lite) for line in plan), "\n".join(plan)
    assert len(asked) >= 2


async def test_an_answer_in_one_piece_is_one_question(metered: Metered, acme: TenantScope) -> None:
    """Each question adds up all of the tenant's usage that is asked for."""
    stores, asked = metered.stores, 0

    class Counting(usage_sql.SqlUsage):
        async def groups(self, scope: TenantScope, query: UsageQuery, after: Group | None, limit: int) -> Any:
            nonlocal asked
            asked += 1
            return await super().groups(scope, query, after, limit)

    row = {"tenant_id": "acme", "day": 0, "principal_id": "key_1", "capability": "chat", **Sums()._asdict()}
    async with stores.usage.database.writing(acme) as connection:
        await connection.execute(insert(usage), [row | {"service_id": f"svc_{n}"} for n in range(2_500)])
    counting = Counting(stores.usage.database)
    statements = Statements(counting, stores.storage_measures, stores.tenants, lambda: NOW)
    found = await statements.usage(acme, UsageQuery(0, 10**6, (Dimension.SERVICE,)))
    assert (len(found.groups), asked) == (2_500, 1)


async def test_an_answer_in_one_piece_is_bounded(
    metered: Metered, acme: TenantScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a stream is not: it reads on, page by page."""
    stores = metered.stores
    statements = Statements(stores.usage, stores.storage_measures, stores.tenants, lambda: NOW)
    await metered.call(Random(11), acme, 40)
    await metered.rollup.catch_up(acme)
    number = len(await metered.kept(acme))
    monkeypatch.setattr(statements_module, "_PAGE", 4)
    monkeypatch.setattr(statements_module, "MOST_GROUPS", number)
    assert len((await statements.usage(acme, EVERYTHING)).groups) == number
    monkeypatch.setattr(statements_module, "MOST_GROUPS", number - 1)
    with pytest.raises(TooLarge, match="CSV"):
        await statements.usage(acme, EVERYTHING)
    assert len([group async for group in statements.each(acme, EVERYTHING)]) == number
