"""What admission is rebuilt from, as both databases tell it; and the limits that tenants set for services."""

from dataclasses import replace

import pytest

from caio.audit.ports import Mode
from caio.foundation.errors import NotFound
from caio.gateway.ports import PastCall
from caio.storage.sql import admission_records
from caio.tenancy.limits import Limits
from tests.conformance.test_journal_store import NOW, decision, outcome
from tests.support.acts import act_leaf


async def test_calls_since_a_time_are_told_oldest_first(stores, acme, rival):
    await stores.journal.append(
        [
            decision("dec_before", at=10),
            decision("dec_running", at=30, reserved=70),
            decision("dec_done", at=20, reserved=50),
            decision("dec_rival", "rival", at=30),
            decision("dec_refused", at=40, admitted=False),
            decision("dec_asked", at=50, mode=Mode.ROUTE),
            outcome("dec_done", at=90, charged=2**61),
            outcome("dec_before", at=95, charged=2**61),
        ]
    )
    row, ended = decision("dec_done").projection, outcome("dec_done").projection
    further = tuple((each.service_id, 90) for each in ended.attempts[1:])
    past = await stores.admission_records.since(acme, 20, 0)
    assert past.spent == 2**62
    assert list(past.calls) == [
        PastCall(
            "dec_done",
            row.principal_id,
            20,
            ((row.service_id, 20), *further),
            50,
            2**61,
            ended.input_tokens + ended.output_tokens,
            ended.latency_ms,
        ),
        PastCall("dec_running", row.principal_id, 30, ((row.service_id, 30),), 70, None, 0, 0),
    ]
    assert further
    [call] = (await stores.admission_records.since(rival, 0, 0)).calls
    assert call.decision_id == "dec_rival"


async def test_a_call_that_has_not_ended_is_told_at_its_most(stores, acme):
    leaf = decision("dec_1", at=10, reserved=50)
    most = replace(leaf.projection, most_cost=90, most_tokens=2**40, most_compute_ms=7_000)
    await stores.journal.append([replace(leaf, projection=most)])
    assert [row for row, _ in await stores.journal.calls(acme, ["dec_1"])] == [most]
    [call] = (await stores.admission_records.since(acme, 0, 0)).calls
    assert (call.reserved, call.charged, call.tokens, call.compute_ms) == (90, None, 2**40, 7_000)
    await stores.journal.append([outcome("dec_1", at=50, charged=7)])
    [call] = (await stores.admission_records.since(acme, 0, 0)).calls
    assert (call.charged, call.tokens < 2**40, call.compute_ms < 7_000) == (7, True, True)


async def test_pages_leave_nothing_out(stores, acme, monkeypatch):
    """Also of calls that were decided in the same microsecond, and of services that they were handed on to."""
    names = [f"dec_{number}" for number in range(7)]
    await stores.journal.append([decision(name, at=20 + number // 3) for number, name in enumerate(names)])
    await stores.journal.append([outcome(name, at=50, charged=1) for name in names])
    whole = await stores.admission_records.since(acme, 20, 0)
    assert [call.decision_id for call in whole.calls] == names
    assert all(len(call.services) > 1 for call in whole.calls)
    for size in (1, 2, 3, 7):
        monkeypatch.setattr(admission_records, "PAGE", size)
        assert await stores.admission_records.since(acme, 20, 0) == whole
    assert len((await stores.admission_records.since(acme, 21, 0)).calls) == 4


async def test_a_period_holds_the_money_of_the_calls_admitted_in_it(stores, acme):
    await stores.journal.append([decision("dec_1", at=10), decision("dec_2", at=20), decision("dec_3", at=30)])
    await stores.journal.append([outcome(name, at=50, charged=7) for name in ("dec_1", "dec_2")])
    spent = [(await stores.admission_records.since(acme, 0, start)).spent for start in (0, 10, 11, 20, 21)]
    assert spent == [14, 14, 7, 7, 0]


async def test_a_tenant_without_calls_has_used_nothing(stores, acme):
    past = await stores.admission_records.since(acme, 0, 0)
    assert (past.calls, past.spent) == ((), 0)


async def test_limits_of_services_are_replaced_and_deleted_with_the_act_that_tells_it(stores, acme, rival):
    limits, store = Limits(tokens_per_day=5, concurrent=2), stores.service_limits
    assert await store.all(acme) == {}
    await store.put(acme, "echo", replace(limits, concurrent=9), NOW, act_leaf(acme, "limits.changed", "echo"))
    await store.put(acme, "echo", limits, NOW, act_leaf(acme, "limits.changed", "echo"))
    await store.put(rival, "echo", Limits(), NOW, act_leaf(rival, "limits.changed", "echo"))
    assert await store.all(acme) == {"echo": limits}
    assert len(await stores.journal.page(acme, -1, 9)) == 2
    await store.delete(acme, "echo", act_leaf(acme, "limits.changed", "echo"))
    with pytest.raises(NotFound):
        await store.delete(acme, "echo", act_leaf(acme, "limits.changed", "echo"))
    assert await store.all(acme) == {}
    assert await store.all(rival) == {"echo": Limits()}
    assert len(await stores.journal.page(acme, -1, 9)) == 3
