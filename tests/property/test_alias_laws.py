"""The laws of aliases: they bind, and never let a call do more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from caio.foundation.canonical import canonical_json
from caio.foundation.errors import InvalidInput
from caio.gateway.aliases import common, narrowed, terms_of
from caio.routing.engine import compile_snapshot, decide
from caio.routing.model import CLASSIFICATIONS, LOCALITIES, History, OnViolation, Principal, Request
from tests.support.routing_cases import contract, principal
from tests.support.routing_engine import offers

ADDRESSES = st.sets(st.sampled_from(["alpha", "beta", "alpha@1.0.0", "gamma"]), max_size=3)
WORDS = st.sets(st.sampled_from(["json", "tools"]), max_size=2)


def requests() -> st.SearchStrategy[Request]:
    return st.builds(
        Request,
        tenant_id=st.just("acme"),
        currency=st.just("USD"),
        capabilities=st.just(("chat",)),
        bounds=st.sampled_from([(), (("latency_ms.p95", 300 * 10**9),), (("grounding.min", 10**8),)]),
        max_cost=st.none() | st.sampled_from([0, 10**7, 10**9]),
        features=WORDS.map(frozenset),
        context_length=st.none() | st.sampled_from([100, 9000]),
        data_locality=st.none() | st.sampled_from(LOCALITIES),
        regions=st.sets(st.sampled_from(["eu", "us"])).map(frozenset),
        compliance=st.sets(st.sampled_from(["gdpr", "soc2"])).map(frozenset),
        classification=st.sampled_from(CLASSIFICATIONS),
        sensitive=st.booleans(),
        egress=st.booleans(),
        training=st.booleans(),
        max_retention_days=st.none() | st.sampled_from([0, 30]),
        services=ADDRESSES.map(frozenset),
        excluded_services=ADDRESSES.map(frozenset),
        max_tokens=st.none() | st.sampled_from([10, 5000]),
        on_violation=st.none() | st.sampled_from(OnViolation),
    )


TERMS = terms_of("a", '{"target":{"capability":"chat"}}')
CONTRACTS = [
    contract(name, privacy={"data_locality": locality, "compliance": compliance})
    for name, locality, compliance in (("alpha", "on_device", ["gdpr", "soc2"]), ("beta", "cloud", []))
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


@given(requests(), requests())
def test_an_alias_never_widens(asked: Request, own: Request) -> None:
    """``max_tokens`` apart: asking for a shorter answer asks less of a service."""
    asked = replace(asked, max_tokens=None)
    assert feasible(narrow(asked, replace(own, max_tokens=None))) <= feasible(asked)


@given(requests(), requests())
def test_an_alias_always_binds(asked: Request, own: Request) -> None:
    own = replace(own, max_tokens=None)
    assert feasible(narrow(replace(asked, max_tokens=None), own)) <= feasible(own)


@given(requests(), requests())
def test_narrowing_again_changes_nothing(asked: Request, own: Request) -> None:
    once = narrow(asked, own)
    assert narrow(once, own) == once


@given(requests(), requests())
def test_no_more_is_spent_or_waited_for(asked: Request, own: Request) -> None:
    once = narrow(asked, own)
    for limit in ("max_cost", "max_tokens", "max_retention_days"):
        stated = [value for each in (asked, own) if (value := getattr(each, limit)) is not None]
        assert getattr(once, limit) == min(stated, default=None)


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
