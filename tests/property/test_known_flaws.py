"""The flaws that routing designs of this kind have, each absent here.

Every test is named after its flaw and asks the same of the engine, of the specification, and of a
copy of the specification that has the flaw: there it must fail, or it would prove nothing.
"""

import hmac
import re
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import caio.routing
from caio.foundation.quantity import NANO
from caio.routing.model import SCALE
from spec.routing import Decision
from tests.support.routing_cases import Document, contract, evidence, policy, principal, request
from tests.support.routing_spec import broken, engineered, planned, specified

Decide = Callable[[Document], Decision]
Claim = Callable[[Decide], None]


@pytest.fixture(name="flawed")
def _flawed(tmp_path: Path) -> Callable[..., None]:
    """``flawed(claim, file, right, wrong)``: the claim holds, and fails once ``right`` reads ``wrong``."""

    def check(claim: Claim, file: str, right: str, wrong: str) -> None:
        claim(engineered)
        claim(specified)
        decide, _ = broken(tmp_path, file, right, wrong)
        with pytest.raises(AssertionError):
            claim(decide)

    return check


def scores(decision: Decision) -> dict[str, int]:
    return {row[0]: row[2] for row in decision.ranking}


def clauses(decision: Decision) -> dict[str, str]:
    return {record[0]: record[2] for record in decision.exclusions}


def test_reversed_max_bounds(flawed):
    """A faster service meets a latency bound, a slower one does not; for a lower bound it is the larger."""
    fast = contract("fast", guarantees={"latency_ms": {"p95": "500"}, "accuracy": {"min": "0.90"}})
    slow = contract("slow", guarantees={"latency_ms": {"p95": "1100"}, "accuracy": {"min": "0.99"}})

    def claim(decide: Decide) -> None:
        assert set(scores(decide(evidence(fast, slow, request=request(bounds={"latency_ms.p95": "600"}))))) == {"fast"}
        assert set(scores(decide(evidence(fast, slow, request=request(bounds={"accuracy.min": "0.95"}))))) == {"slow"}

    right = 'found[1] >= required if sign == ">=" else found[1] <= required'
    flawed(claim, "questions", right, right.replace("<= required", ">= required"))
    flawed(claim, "questions", right, right.replace(">= required", "<= required"))


def test_a_reversed_margin(flawed):
    """What stays further below an upper bound scores higher."""
    fast, asked = contract("fast", guarantees={"latency_ms": {"p95": "500"}}), {"latency_ms.p95": "1000"}

    def claim(decide: Decide) -> None:
        given = evidence(fast, contract("slow"), request=request(bounds=asked, weights={"margin": 1}))
        assert scores(decide(given)) == {"fast": SCALE // 2, "slow": SCALE // 5}

    flawed(claim, "routing", "(required - offered[1], required)", "(offered[1] - required, offered[1])")


def test_positive_score_terms_equal_for_all_candidates(flawed):
    """Everything but the price is equal: the dearest scores 0 and the cheapest SCALE, not something
    between that equal terms had lifted."""
    dear = contract("dear", cost={"per_request": "1"})

    def claim(decide: Decide) -> None:
        assert scores(decide(evidence(contract("cheap"), dear))) == {"cheap": SCALE, "dear": 0}
        assert scores(decide(evidence(contract("one"), contract("two")))) == {"one": SCALE, "two": SCALE}

    flawed(claim, "routing", " and len(set(terms[name])) > 1", "")


@pytest.mark.parametrize(
    "weights", [{"cost": 1, "reliability": 1}, {"cost": 3, "reliability": 1000}, {"cost": 2, "margin": 1}]
)
def test_weights_that_do_not_normalise(flawed, weights):
    """Whatever the weights, a score is a share of SCALE, and only their ratio matters."""
    promises = {"latency_ms": {"p95": "500"}, "availability": {"min": "0.5"}}
    services = (contract(), contract("other", cost={"per_request": "0.02"}, guarantees=promises))
    bounds = {"latency_ms.p95": "1000"}

    def claim(decide: Decide) -> None:
        once, more = (
            scores(decide(evidence(*services, request=request(bounds=bounds, weights=stated))))
            for stated in (
                weights,
                {term: 7 * weight for term, weight in weights.items() if 7 * weight <= 1000} or weights,
            )
        )
        assert all(0 <= score <= SCALE for score in (*once.values(), *more.values()))
        if max(weights.values()) * 7 <= 1000:
            assert once == more

    flawed(claim, "routing", "// total for index", "// 1 for index")


def test_percentiles_that_add(tmp_path):
    """Two stages within 100 ms in 95 of 100 calls are within 200 ms in 90 of 100 only: a p95 of the whole
    needs stronger promises, and p50 + p50 is no p50 either."""
    limits = {"max_tokens": 10}

    def stage(kind: str, *after: str) -> Document:
        return {"name": kind, "after": [*after], "request": request(capabilities=[kind])}

    def given(promise: dict[str, str], bound: str) -> Document:
        services = [
            contract(f"{kind}-service", capabilities=[{"type": kind, "features": [], "limits": limits}])
            for kind in ("ask", "write")
        ]
        services = [{**each, "guarantees": {"latency_ms": promise}} for each in services]
        alone = evidence(*services)
        shape = {"tenant_id": "acme", "currency": "USD", "stages": [stage("ask"), stage("write", "ask")]}
        return {**{name: alone[name] for name in ("services", "policies", "history", "principal")}} | {
            "plan": {**shape, "bounds": {bound: "200"}, "max_cost": None}
        }

    def claim(plan: Callable[[Document], Any]) -> None:
        for statistic in ("p50", "p95", "p99"):
            assert plan(given({statistic: "100"}, f"latency_ms.{statistic}")).selection is None, statistic
        assert plan(given({"max": "100"}, "latency_ms.p95")).selection == (0, 0)
        assert plan(given({"p99": "100"}, "latency_ms.p95")).selection == (0, 0)

    claim(planned)
    _, plan = broken(tmp_path, "chains", "sum(risk for risk, _ in choice)", "max(risk for risk, _ in choice)")
    with pytest.raises(AssertionError):
        claim(plan)


def test_a_weaker_percentile_that_serves(flawed):
    """A p50 promise, however good, does not stand for a p95; what a plan guarantees is a declared bound."""
    offered = contract(guarantees={"latency_ms": {"p50": "1", "p95": "800", "p99": "1200"}})

    def claim(decide: Decide) -> None:
        refused = decide(evidence(offered, request=request(bounds={"latency_ms.p95": "799"}))).exclusions
        assert refused == [["alpha", "1.0.0", "guarantee", "latency_ms.p95", "<= 799", "p95 800"]]
        asked = request(bounds={"latency_ms.p50": "900", "latency_ms.p95": "900"})
        promised = decide(evidence(offered, request=asked)).certificate["guarantees"]
        assert promised == {"latency_ms.p50": "p50 1", "latency_ms.p95": "p95 800", "cost.max": "0.013"}

    flawed(claim, "words", "STRENGTH[STRENGTH.index(statistic) :]", "STRENGTH")


def test_an_empty_permission_list_that_denies_everyone(flawed):
    nobody = principal(permissions=[], trust_level="untrusted")

    def claim(decide: Decide) -> None:
        assert set(scores(decide(evidence(contract(), principal=nobody)))) == {"alpha"}

    flawed(claim, "questions", "any_of and not held & set(any_of)", "not held & set(any_of)")


def test_one_shared_permission_that_authorises(flawed):
    """Holding one of all that are needed is not enough; holding one of several alternatives is."""
    both = contract("both", access={"required_permissions": {"all_of": ["a", "b"]}})
    either = contract("either", access={"required_permissions": {"any_of": ["a", "b"]}})

    def claim(decide: Decide) -> None:
        decision = decide(evidence(both, either, principal=principal(permissions=["a", "services:use"])))
        assert (set(scores(decision)), clauses(decision)) == ({"either"}, {"both": "permission"})

    right = 'sorted(set(access["required_permissions"]["all_of"]) - held)'
    flawed(claim, "questions", right, f'{right} if not held & set(access["required_permissions"]["all_of"]) else []')


def test_unkeyed_hashes(flawed):
    """The order of equal scores is an HMAC under the seed: no name wins by its hash alone."""
    services = [contract(f"s{number}") for number in range(7)]

    def claim(decide: Decide) -> None:
        orders = set()
        for seed in ("", "one", "zwei"):
            names = [row[0] for row in decide(evidence(*services, request=request(seed=seed))).ranking]
            tags = [hmac.new(seed.encode(), f"{name}@1.0.0".encode(), sha256).digest() for name in names]
            assert tags == sorted(tags)
            orders.add(tuple(names))
        assert len(orders) == 3

    flawed(claim, "routing", "hmac.digest(seed.encode()", 'hmac.digest(b""')


def test_hashes_of_different_things_that_meet(flawed):
    """Equal bytes of different kinds have different hashes: nothing passes for something else."""

    def claim(decide: Decide) -> None:
        given = decide({**evidence(), "history": {}, "policies": [], "services": []}).certificate
        named = ("request", "principal", "services", "policies", "history", "verdicts")
        assert len({given[name] for name in named}) == len(named)

    flawed(claim, "words", 'purpose.encode() + b"\\x00" + data', "data")


def test_now_inside_a_deterministic_trace(flawed):
    """The same inputs give the same bytes, whenever; and the kernel holds no clock to ask."""

    def claim(decide: Decide) -> None:
        first, second = (decide(evidence(contract())) for _ in range(2))
        assert (first.certificate, first.hash) == (second.certificate, second.hash)

    flawed(claim, "routing", '"v": 2,', '"v": 2, "at": __import__("time").time_ns(),')
    kernel = list(Path(caio.routing.__path__[0]).rglob("*.py"))
    assert len(kernel) > 10
    for path in kernel:
        clocks = re.findall(
            r"^\s*(?:import|from) (?:time|datetime|random|os|secrets|uuid)\b", path.read_text(), re.MULTILINE
        )
        assert clocks == [], path


@pytest.mark.parametrize(
    "erring",
    [
        policy("erring", when="request.max_tokens > 1", then='service.id == "beta"'),
        policy("erring", then="service.cost.per_second > 1.0"),
        policy("erring", effect="require", when='request.labels["x"] == "y"'),
        policy("erring", effect="require", then="service.guarantees.grounding.min > 0.0"),
    ],
    ids=["when of forbid", "then of forbid", "when of require", "then of require"],
)
def test_rule_errors_that_skip_a_forbid(flawed, erring):
    def claim(decide: Decide) -> None:
        excluded = decide(evidence(contract(), policies=[erring])).exclusions
        assert excluded == [["alpha", "1.0.0", "policy_error", "erring@1", erring["effect"], ""]]

    flawed(claim, "questions", "binding and error", "False")


def test_an_error_that_hides_a_later_forbid(flawed):
    """A preference that errs first changes nothing about the forbid behind it."""
    rules = [
        policy("first", priority=99, effect="prefer", when="request.max_tokens > 1"),
        policy("second", then='service.id == "alpha"'),
    ]

    def claim(decide: Decide) -> None:
        assert clauses(decide(evidence(contract(), policies=rules))) == {"alpha": "policy"}

    flawed(claim, "questions", "    for policy, holds in rules:\n", _STOPPING_AT_ERRORS)


_STOPPING_AT_ERRORS = """    for policy, holds in rules:
        if holds is None:
            break
"""


def test_amounts_that_are_floats(flawed):
    """A price whose float is off by one unit at the cap: exactly at it is allowed, a unit above is not."""
    cost = {"per_request": "0.254740991", "per_input_token": "0", "per_output_token": "9007.199"}
    offered = contract(cost=cost)  # a thousand tokens out

    def claim(decide: Decide) -> None:
        ranking = decide(evidence(offered, request=request(max_cost="9007199.254740991"))).ranking
        assert [row[3] for row in ranking] == [9_007_199_254_740_991]
        assert not decide(evidence(offered, request=request(max_cost="9007199.25474099"))).ranking

    flawed(claim, "words", 'int(whole + part.ljust(places, "0"))', "int(float(decimal) * 10**places)")


def test_scores_that_are_floats(flawed):
    """Five equal steps of price are five equal steps of score, to the unit, at any size."""
    prices = [f"{number}.000000001" for number in (0, 250_000, 500_000, 750_000, 1_000_000 - 1)]

    def claim(decide: Decide) -> None:
        services = [contract(f"s{place}", cost={"per_request": price}) for place, price in enumerate(prices)]
        found = decide(evidence(*services, request=request(weights={"cost": 1}))).ranking
        dearest, cheapest = max(row[3] for row in found), min(row[3] for row in found)
        assert all(row[2] == (dearest - row[3]) * SCALE // (dearest - cheapest) for row in found)
        assert all(one[2] > other[2] for one, other in pairwise(found))
        assert found[0][2] == SCALE == NANO

    flawed(
        claim,
        "routing",
        "(most - value) * SCALE // (most - least)",
        "int((most - value) * 1e6 / (most - least)) * 1000",
    )
