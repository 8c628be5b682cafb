"""The checker of plans: true plans are proved, and nothing altered, unsound or second best is."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caio.foundation.canonical import NotCanonical, canonical_json, read_canonical
from caio.foundation.hashing import PLAN, digest_of
from caio.routing.checking import plans as checking
from caio.routing.checking.plans import CLAIMS, check_plan
from tests.support.hard_plans import hard_plan
from tests.support.routing_cases import Document, contract, principal, request
from tests.support.routing_spec import planned

seeds = st.integers(0, 2**32)
TELLING = b'0123456789aefnrt".-,:[]{} \x00\xc3'


def services() -> list[Document]:
    made = []
    for name, p95, p99, longest, price in (("swift", 100, 150, 200, "0.004"), ("steady", 300, 320, 350, "0.001")):
        guarantees = {
            "latency_ms": {"p50": "90", "p95": str(p95), "p99": str(p99), "max": str(longest)},
            "accuracy": {"min": "0.97"},
            "availability": {"min": "0.999"},
            "error_rate": {"max": "0.01"},
            "throughput": {"min": "5"},
            "determinism": {"seed_required": False},
        }
        document = {**contract(name), "guarantees": guarantees, "cost": {"currency": "USD", "per_request": price}}
        made.append({"tenant": "acme", "contract": document})
    return made


def asked(bounds: dict[str, str], max_cost: str | None = None) -> Document:
    """Three stages, the last after the two others; the plan's evidence."""
    stages = [
        {"name": name, "after": after, "request": request(weights={"cost": 1}, seed=name)}
        for name, after in (("find", []), ("read", []), ("write", ["find", "read"]))
    ]
    plan = {"tenant_id": "acme", "currency": "USD", "stages": stages, "bounds": bounds, "max_cost": max_cost}
    return {"plan": plan, "principal": principal(), "services": services(), "policies": [], "history": {}}


FOUND = asked({"latency_ms.p95": "560", "accuracy.min": "0.9", "availability.min": "0.99", "error_rate.max": "0.03"})
IMPOSSIBLE = asked({"latency_ms.max": "399"})
PLANS = {"found": FOUND, "refused": IMPOSSIBLE}


def refuted(certificate: Any, evidence: Any) -> set[str]:
    stated = certificate if isinstance(certificate, dict) else {}
    claims = check_plan(certificate, evidence, digest_of(PLAN, stated))
    assert [claim.name for claim in claims] == list(CLAIMS)
    return {claim.name for claim in claims if claim.proved is False}


@given(seeds)
def test_a_true_plan_is_proved(seed):
    evidence = hard_plan(seed)
    plan = planned(evidence)
    claims = check_plan(plan.certificate, evidence, plan.hash)
    assert [claim.name for claim in claims if not claim.proved] == []


def test_the_plans_below_are_what_they_seem():
    assert [step["service"] for step in planned(FOUND).certificate["selection"]] == ["steady", "steady", "swift"]
    assert planned(IMPOSSIBLE).certificate["refusal"] == {"stage": None}


def documents(certificate: Document, evidence: Document) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
    yield canonical_json(certificate), ("certificate",)
    for name in ("plan", "principal"):
        yield canonical_json(evidence[name]), ("evidence", name)
    yield canonical_json(evidence["services"][0]), ("evidence", "services", 0)


@pytest.mark.parametrize("name", PLANS)
@settings(max_examples=60)
@given(randomly=st.randoms(use_true_random=False))
def test_every_mutation_of_a_plan_is_caught(name, randomly: Random):
    evidence = PLANS[name]
    shown = {"certificate": planned(evidence).certificate, "evidence": evidence}
    raw, path = randomly.choice(list(documents(shown["certificate"], evidence)))
    place, byte = randomly.randrange(len(raw)), randomly.choice(TELLING)
    try:
        value = read_canonical(raw[:place] + bytes([byte]) + raw[place + 1 :])
    except NotCanonical:
        return
    forged = deepcopy(shown)
    target: Any = forged
    for step in path[:-1]:
        target = target[step]
    if target[path[-1]] == value and canonical_json(target[path[-1]]) == raw[:place] + bytes([byte]) + raw[place + 1 :]:
        return
    target[path[-1]] = value
    assert refuted(forged["certificate"], forged["evidence"])


@pytest.mark.parametrize("name", PLANS)
def test_every_field_of_a_plan_is_compared(name):
    evidence = PLANS[name]
    certificate = planned(evidence).certificate
    forgeries = {
        "tenant": ("rival", "tenant"),
        "request": ("0" * 64, "request"),
        "stages": (certificate["stages"][:2], "stages"),
        "score": (certificate["score"] + 1, "score"),
        "guarantees": ({**certificate["guarantees"], "cost.max": "1"}, "guarantees"),
        "refusal": ({"stage": "read"}, "sound"),
    }
    for field, (forged, claim) in forgeries.items():
        assert claim in refuted({**certificate, field: forged}, evidence), field


def test_percentiles_keep_within_the_risk():
    """The p50s together would look far shorter than any p95 that holds."""
    certificate = planned(FOUND).certificate
    shorter = {**certificate["guarantees"], "latency_ms.p95": "180"}
    assert certificate["guarantees"]["latency_ms.p95"] == "450"
    assert refuted({**certificate, "guarantees": shorter}, FOUND) == {"guarantees"}


def reselected(evidence: Document, ranks: tuple[int, ...]) -> Document:
    """A forger's certificate: true in every part, but of a selection of his own."""
    plan = planned({**evidence, "plan": {**evidence["plan"], "bounds": {}, "max_cost": None}})
    certificate = dict(planned(evidence).certificate)
    rows = [decision.ranking[rank] for decision, rank in zip(plan.decisions, ranks, strict=True)]
    by_name = {each["contract"]["service_id"]: each["contract"] for each in evidence["services"]}
    from spec.chains import guarantees, step

    chosen = [by_name[row[0]] for row in rows]
    certificate["selection"] = [step(each, rank) for each, rank in zip(chosen, ranks, strict=True)]
    certificate["score"] = sum(row[2] for row in rows)
    certificate["guarantees"] = guarantees(evidence["plan"], chosen)
    certificate["refusal"] = None
    return certificate


def test_an_unsound_or_second_best_plan_is_refuted():
    assert refuted(reselected(FOUND, (0, 0, 1)), FOUND) == set()
    assert refuted(reselected(FOUND, (0, 0, 0)), FOUND) == {"sound"}
    assert refuted(reselected(FOUND, (1, 1, 1)), FOUND) == {"optimal"}
    assert refuted(reselected(IMPOSSIBLE, (1, 1, 1)), IMPOSSIBLE) == {"sound"}
    refusal = {**planned(FOUND).certificate, "selection": [], "score": 0, "guarantees": {}, "refusal": {"stage": None}}
    assert refuted(refusal, FOUND) == {"optimal"}
    assert refuted({**refusal, "refusal": {"stage": "read"}}, FOUND) == {"sound", "optimal"}


def test_a_refusal_is_refuted_by_whoever_ranks_last():
    """The only sound selection is of the faster and cheaper service, which ties decide against in some stages."""
    evidence = deepcopy(asked({"latency_ms.max": "400"}))
    evidence["services"][0]["contract"]["cost"]["per_request"] = "0.0005"
    for number, stage in enumerate(evidence["plan"]["stages"]):
        stage["request"] |= {"weights": {"preference": 1}, "seed": str(number)}
    found = planned(evidence).certificate
    assert [step["service"] for step in found["selection"]] == ["swift", "swift", "swift"]
    assert any(step["rank"] for step in found["selection"])
    assert refuted({**found, "selection": [], "score": 0, "guarantees": {}, "refusal": {"stage": None}}, evidence) == {
        "optimal"
    }


def test_equal_scores_go_to_the_smaller_ranks():
    twins = {**FOUND, "services": [services()[0], {"tenant": "acme", "contract": {**services()[0]["contract"]}}]}
    twins["services"][1]["contract"]["service_id"] = "twin"
    assert refuted(reselected(twins, (0, 0, 0)), twins) == set()
    assert refuted(reselected(twins, (0, 0, 1)), twins) == {"optimal"}


def test_optimality_beyond_the_limit_is_not_checked(monkeypatch):
    monkeypatch.setattr(checking, "MOST_TRIALS", 1)
    for evidence in PLANS.values():
        plan = planned(evidence)
        claims = {claim.name: claim.proved for claim in check_plan(plan.certificate, evidence, plan.hash)}
        assert claims.pop("optimal") is None
        assert all(claims.values())


@settings(max_examples=25)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_nothing_is_raised(value):
    true = planned(FOUND).certificate
    for name in true:
        claims = check_plan({**true, name: value}, FOUND, "")
        assert [claim.name for claim in claims] == list(CLAIMS)
    for name in FOUND:
        assert any(claim.proved is False for claim in check_plan(true, {**FOUND, name: value}, ""))
    assert check_plan(value, value, "")[0].proved is False
