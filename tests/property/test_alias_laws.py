"""The laws of aliases: they bind, and never let a call do more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from caio.foundation.canonical import canonical_json
from caio.foundation.errors import InvalidInput
from caio.gateway.aliases import common, narrowed, terms_of
from caio.routing.engine import compile_snapshot, decide
from caio.routing.model import CLASSIFICATIONS, LOCALITIES, History, OnViolation, Principal, Request
from tests.support.routing_cases import contract, principal
from tests.support.routing_engine import offers

ADDRESSES = st.sets(st.sampled_from(["alpha", "beta", "alpha@1.0.0", "gamma"]), max_size=3)
WORDS = st.sets(st.sampled_from(["json", "vision"]), max_size=2)


DEMANDS: dict[str, st.SearchStrategy[Any]] = {
    "bounds": st.sampled_from(
        [(("latency_ms.p95", value * 10**9),) for value in (100, 250, 1000)]
        + [(("accuracy.min", value * 10**7),) for value in (50, 90, 99)]
    ),
    "max_cost": st.sampled_from([0, 10**7, 10**9]),
    "features": WORDS.map(frozenset),
    "context_length": st.sampled_from([100, 9000]),
    "data_locality": st.sampled_from(LOCALITIES),
    "regions": st.sets(st.sampled_from(["eu", "us"])).map(frozenset),
    "compliance": st.sets(st.sampled_from(["gdpr", "soc2"])).map(frozenset),
    "classification": st.sampled_from(CLASSIFICATIONS),
    "sensitive": st.just(True),
    "egress": st.just(False),
    "training": st.just(False),
    "max_retention_days": st.sampled_from([0, 30]),
    "services": ADDRESSES.map(frozenset),
    "excluded_services": ADDRESSES.map(frozenset),
    "max_tokens": st.sampled_from([10, 5000]),
    "on_violation": st.sampled_from(OnViolation),
}


@st.composite
def pairs(draw: st.DrawFn, name: str | None = None) -> tuple[Request, Request]:
    """A call's request and an alias's, which speak of ``name`` or another thing, and perhaps of one more."""
    names = draw(st.sets(st.sampled_from(sorted(DEMANDS)), min_size=name is None, max_size=1 + (name is None)))
    names = names | ({name} if name else set())
    plain = Request("acme", "USD", ("chat",), classification="public")
    of_call, of_alias = ({name: draw(DEMANDS[name]) for name in names if draw(st.integers(0, 3))} for _ in range(2))
    return replace(plain, **of_call), replace(plain, **of_alias)


TERMS = terms_of("a", '{"target":{"capability":"chat"}}')
CONTRACTS = [
    contract(
        name,
        privacy={
            "data_locality": locality,
            "compliance": compliance,
            "data_retention_days": days,
            "encryption": sealed,
        },
        guarantees={"latency_ms": {"p95": latency}, "accuracy": {"min": "0.95" if latency == "900" else "0.6"}},
    )
    for name, locality, compliance, days, latency, sealed in (
        ("alpha", "on_device", ["gdpr", "soc2"], 0, "200", {"in_transit": True, "at_rest": True}),
        ("beta", "cloud", [], 30, "900", {"in_transit": False, "at_rest": False}),
        ("gamma", ["eu"], ["gdpr"], 30, "90", {"in_transit": True, "at_rest": True}),
        ("delta", "private", ["soc2"], 90, "900", {"in_transit": True, "at_rest": True}),
    )
]
SNAPSHOT = compile_snapshot("acme", offers([{"tenant": "acme", "contract": each} for each in CONTRACTS]), [])
CALLER = Principal.from_document(principal())


def feasible(request: Request) -> set[str]:
    decision = decide(SNAPSHOT, replace(request, seed="s"), CALLER, History(), [])
    return {each.offer.service_id for each in decision.ranked}


def narrow(asked: Request, own: Request) -> Request:
    try:
        return narrowed(asked, replace(TERMS, request=own), deadline_stated=False)
    except InvalidInput:
        assume(False)
        raise


def within_both(both: tuple[Request, Request], of: int) -> bool:
    """Whether who satisfies the narrowed request satisfies that ``of`` the two. ``max_tokens`` apart: asking for a
    shorter answer asks less of a service."""
    asked, own = (replace(each, max_tokens=None) for each in both)
    return feasible(narrow(asked, own)) <= feasible((asked, own)[of])


@pytest.mark.parametrize("name", sorted(DEMANDS))
@settings(max_examples=20)
@given(st.data())
def test_an_alias_never_widens(name: str, data: st.DataObject) -> None:
    assert within_both(data.draw(pairs(name)), 0)


@pytest.mark.parametrize("name", sorted(DEMANDS))
@settings(max_examples=20)
@given(st.data())
def test_an_alias_always_binds(name: str, data: st.DataObject) -> None:
    assert within_both(data.draw(pairs(name)), 1)


@given(pairs())
def test_who_satisfies_both_satisfies_the_narrowed_request(both: tuple[Request, Request]) -> None:
    asked, own = (replace(each, max_tokens=None) for each in both)
    assert feasible(asked) & feasible(own) <= feasible(narrow(asked, own))


@given(pairs())
def test_narrowing_again_changes_nothing(both: tuple[Request, Request]) -> None:
    once = narrow(*both)
    assert narrow(once, both[1]) == once


@given(pairs())
def test_no_more_is_spent_or_waited_for(both: tuple[Request, Request]) -> None:
    once = narrow(*both)
    for limit in ("max_cost", "max_tokens", "max_retention_days"):
        stated = [value for each in both if (value := getattr(each, limit)) is not None]
        assert getattr(once, limit) == min(stated, default=None)


@pytest.mark.parametrize(("one", "other", "holds"), [("report", "fail", "fail"), ("fallback", "retry", "fallback")])
def test_the_stricter_reaction_holds(one: str, other: str, holds: str) -> None:
    for asked, own in ((one, other), (other, one)):
        request = Request("acme", "USD", ("chat",), on_violation=OnViolation(asked))
        terms = replace(TERMS.request, on_violation=OnViolation(own))
        assert narrow(request, terms).on_violation is OnViolation(holds)


@pytest.mark.parametrize(
    ("stated", "own", "deadline"), [(True, 5_000, 5_000), (True, 90_000, 30_000), (False, 90_000, 90_000)]
)
def test_a_deadline_is_the_aliass_unless_the_call_states_an_earlier_one(stated: bool, own: int, deadline: int) -> None:
    asked = Request("acme", "USD", ("chat",), deadline_ms=30_000)
    terms = replace(TERMS, deadline_ms=own)
    assert narrowed(asked, terms, deadline_stated=stated).deadline_ms == deadline


@pytest.mark.parametrize(
    ("some", "others", "both"),
    [
        ((), ("a",), ("a",)),
        (("a",), ("a@1",), ("a@1",)),
        (("a@1",), ("a", "b"), ("a@1",)),
        (("a@1",), ("a@2",), ()),
        (("a", "b"), ("b", "c"), ("b",)),
    ],
)
def test_services_that_both_allow(some: Any, others: Any, both: Any) -> None:
    assert common(frozenset(some), frozenset(others)) == common(frozenset(others), frozenset(some)) == frozenset(both)


@pytest.mark.parametrize("name", ["services", "regions"])
def test_a_call_that_is_left_with_nothing_is_refused(name: str) -> None:
    asked = replace(Request("acme", "USD", ("chat",)), **{name: frozenset({"a"})})  # type: ignore[arg-type]
    own = replace(TERMS.request, **{name: frozenset({"b"})})  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=name):
        narrowed(asked, replace(TERMS, request=own), deadline_stated=False)


def test_what_an_alias_leaves_unsaid_narrows_nothing() -> None:
    asked = Request("acme", "USD", ("chat",), classification="public", deadline_ms=7, stream=True, answers=3)
    assert narrowed(asked, TERMS, deadline_stated=True) == asked


def test_wishes_of_an_alias_are_read_like_a_requests() -> None:
    document = {
        "target": {"services": ["alpha"]},
        "policies": ["p"],
        "wishes": {
            "requirements": {"max_cost": "0.5", "latency_ms": {"p95": 300}, "features": ["json"]},
            "constraints": {"egress": False},
            "on_violation": "fail",
        },
    }
    terms = terms_of("mine", canonical_json(document).decode())
    assert (terms.capabilities, terms.policies) == ((), ("p",))
    assert terms.request.max_cost == 5 * 10**8
    assert terms.request.bounds == (("latency_ms.p95", 300 * 10**9),)
    assert (terms.request.egress, terms.request.on_violation) == (False, OnViolation.FAIL)
