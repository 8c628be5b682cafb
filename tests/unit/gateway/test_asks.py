"""What admission is asked for, from the limits of tenant, caller, contract and tenant's settings for a service."""

from dataclasses import replace

import pytest

from caio.foundation.money import Prices
from caio.foundation.scope import TenantScope
from caio.gateway.asks import MARGIN, Asks, tighter
from caio.gateway.most import UNBOUNDED_ANSWER
from caio.gateway.ports import Operation, Slots
from caio.gateway.run import Wanted
from caio.metering.ledger import TOTAL, period_start
from caio.routing.model import Access, Capability, Offer, Principal, Privacy, Ranked, Request
from caio.tenancy.limits import UNLIMITED, Limits, Unit
from caio.tenancy.ports import BudgetPeriod, Quotas, Tenant, TenantStatus
from caio.tenancy.principals import Caller
from tests.support.admissions import compute, requests, tokens, windows

NOW = period_start("2026-11") + 5
QUOTAS = Quotas(per_minute=10, per_hour=20, per_day=30)
TENANT_REQUESTS = requests("tenant", minute=10, hour=20, day=30)


def wanted(quotas=QUOTAS, limits=UNLIMITED, **request):
    tenant = Tenant("acme", "acme", TenantStatus.ACTIVE, "USD", quotas, 0)
    principal = Principal("key_1", "api_key", frozenset(), frozenset())
    caller = Caller(TenantScope("acme"), tenant, principal, limits=limits)
    asked = Request("acme", "USD", ("chat",), **{"input_bytes": 100, "max_tokens": 50, "deadline_ms": 9_000} | request)
    return Wanted(caller, asked, Operation.JSON, None, b"")


def ranked(service="echo", timeout_ms=4_000, capability=None, **constraints):
    offered = capability or Capability("chat", frozenset(), None, None, None)
    offer = Offer(
        "acme", service, "1.0.0", f"{service} {constraints} {timeout_ms}", {"chat": offered}, {}, Prices("USD"),
        Privacy("cloud", frozenset(), True, True, None, False, frozenset()),
        Access(frozenset(), frozenset(), "standard", False), "http-json", timeout_ms, False,
        document={"constraints": constraints},
    )  # fmt: skip
    return Ranked(offer, 0, 77)


def asked(asks=None, *, of=None, by=None, allowed=None, now=NOW, elapsed_ms=0):
    return (asks or Asks()).ask(by or wanted(), of or ranked(), "dec_1", allowed or {}, now, elapsed_ms)


def test_without_further_limits_the_tenants_windows_are_asked_for():
    ask = asked()
    assert (ask.tenant_id, ask.grant_id, ask.principal_id, ask.service_id) == ("acme", "dec_1", "key_1", "echo")
    assert (ask.price, ask.budget, ask.period, ask.slots) == (77, None, TOTAL, ())
    assert ask.meters == (TENANT_REQUESTS,)
    assert ask.expires_at == NOW + 9_000_000 + MARGIN


def test_every_limit_is_asked_for_tenant_first_and_service_last():
    some = Limits(requests_per_hour=5, tokens_per_day=6, compute_seconds_per_minute=7, concurrent=8)
    ask = asked(by=wanted(replace(QUOTAS, limits=some), some), allowed={"echo": some})
    expected = [TENANT_REQUESTS]
    for subject in ("tenant", "key:key_1", "service:echo"):
        expected += [] if subject == "tenant" else [requests(subject, hour=5)]
        expected += [tokens(subject, 150, day=6), compute(subject, 4_000, minute=7_000)]
    assert ask.meters == tuple(expected)
    assert ask.slots == tuple(Slots(subject, 8) for subject in ("tenant", "key:key_1", "service:echo"))


def test_a_service_is_held_to_the_tighter_of_contract_and_tenant():
    contract = ranked(rate_limit={"per_minute": 9, "per_hour": 50}, max_concurrent_requests=3)
    allowed = {"echo": Limits(requests_per_minute=12, requests_per_hour=40, requests_per_day=99, concurrent=2)}
    ask = asked(of=contract, allowed=allowed)
    assert ask.meters[1] == requests("service:echo", minute=9, hour=40, day=99)
    assert ask.slots == (Slots("service:echo", 2),)
    assert asked(of=contract).meters[1] == requests("service:echo", minute=9, hour=50)
    assert tighter(UNLIMITED, UNLIMITED) == UNLIMITED


def test_changed_limits_are_taken_up_at_once():
    asks, some = Asks(), Limits(requests_per_minute=1)
    asked(asks)
    assert asked(asks, allowed={"echo": some}).meters[1:] == (requests("service:echo", minute=1),)
    assert asked(asks, by=wanted(limits=some)).meters[1:] == (requests("key:key_1", minute=1),)
    assert asked(asks, by=wanted(replace(QUOTAS, per_day=31))).meters[0].windows == windows(minute=10, hour=20, day=31)
    assert asked(asks).meters == (TENANT_REQUESTS,)


def test_what_stays_the_same_is_made_once():
    asks = Asks()
    assert asked(asks).meters[0] is asked(asks).meters[0]


@pytest.mark.parametrize(
    ("stated", "offered", "expected"),
    [
        (50, None, 150),
        (None, Capability("chat", frozenset(), 8_000, 600, None), 700),
        (None, Capability("chat", frozenset(), 8_000, None, None), 8_100),
        (None, None, 100 + UNBOUNDED_ANSWER),
    ],
)
def test_tokens_are_asked_for_at_the_worst_case(stated, offered, expected):
    by = wanted(limits=Limits(tokens_per_day=10**6), max_tokens=stated)
    meter = asked(of=ranked(capability=offered), by=by).meters[-1]
    assert (meter.unit, meter.amount) == (Unit.TOKENS, expected)


def test_after_other_attempts_the_tenant_is_asked_for_all_the_time_and_the_service_for_its_own():
    some = Limits(compute_seconds_per_day=60)
    by = wanted(replace(QUOTAS, limits=some))
    for elapsed, service in ((0, 4_000), (3_000, 4_000), (7_000, 2_000), (9_500, 0)):
        ask = asked(by=by, allowed={"echo": some}, elapsed_ms=elapsed)
        assert [meter.amount for meter in ask.meters if meter.unit is Unit.COMPUTE_MS] == [elapsed + service, service]


def test_a_months_budget_is_asked_for_by_the_months_name():
    asks, by = Asks(), wanted(replace(QUOTAS, budget=5, budget_period=BudgetPeriod.MONTH))
    periods = [asked(asks, by=by, now=at).period for at in (NOW - 6, NOW, period_start("2026-12") - 1)]
    assert periods == ["2026-10", "2026-11", "2026-11"]
    assert asked(asks, by=by).budget == 5


def test_a_key_without_limits_is_unlimited_itself():
    """So that the look that most calls get away with is by identity."""
    assert Limits.read({}) is UNLIMITED
