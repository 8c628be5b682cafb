"""The flaws that routing designs of this kind have, each shown to be absent here."""

import hmac
import inspect
from hashlib import sha256

import pytest

from caio.foundation.quantity import NANO
from caio.routing import certificate, composition, engine, matching, model, optimization, policies, rules, security
from caio.routing.model import SCALE
from tests.support.routing_cases import contract, evidence, policy, principal, request
from tests.support.routing_engine import decided


def winner(decision):
    return decision.winner and decision.winner.offer.service_id


def scores(decision):
    return {each.offer.service_id: each.score for each in decision.ranked}


def test_max_bounds_are_not_reversed():
    """A faster service meets a latency bound, a slower one does not; for a lower bound it is the larger."""
    fast = contract("fast", guarantees={"latency_ms": {"p95": "500"}, "accuracy": {"min": "0.90"}})
    slow = contract("slow", guarantees={"latency_ms": {"p95": "1100"}, "accuracy": {"min": "0.99"}})
    assert set(scores(decided(evidence(fast, slow, request=request(bounds={"latency_ms.p95": "600"}))))) == {"fast"}
    assert set(scores(decided(evidence(fast, slow, request=request(bounds={"accuracy.min": "0.95"}))))) == {"slow"}


def test_a_roomier_margin_scores_higher():
    fast = contract("fast", guarantees={"latency_ms": {"p95": "500"}})
    asked = request(bounds={"latency_ms.p95": "1000"}, weights={"margin": 1})
    assert scores(decided(evidence(fast, contract("slow"), request=asked))) == {"fast": SCALE // 2, "slow": SCALE // 5}


def test_terms_equal_for_all_say_nothing():
    """Everything but the price is equal: the dearest scores 0 and the cheapest SCALE, not something
    between that equal terms had lifted."""
    dear = contract("dear", cost={"per_request": "1"})
    assert scores(decided(evidence(contract("cheap"), dear))) == {"cheap": SCALE, "dear": 0}
    assert scores(decided(evidence(contract("one"), contract("two")))) == {"one": SCALE, "two": SCALE}


@pytest.mark.parametrize(
    "weights", [{"cost": 1}, {"cost": 1000}, {"cost": 3, "reliability": 1000}, {"cost": 0, "margin": 1}]
)
def test_weights_normalise(weights):
    """Whatever the weights, a score is a share of SCALE."""
    dear = contract("dear", cost={"per_request": "1"}, guarantees={"availability": {"min": "0.5"}})
    for score in scores(decided(evidence(contract(), dear, request=request(weights=weights)))).values():
        assert 0 <= score <= SCALE
    doubled = {term: 2 * weight for term, weight in weights.items()}
    assert scores(decided(evidence(contract(), dear, request=request(weights=doubled)))) == scores(
        decided(evidence(contract(), dear, request=request(weights=weights)))
    )


def test_percentiles_are_neither_added_nor_weakened():
    """A p50 promise, however good, does not stand for a p95; what a plan guarantees is a declared bound."""
    offered = contract(guarantees={"latency_ms": {"p50": "1", "p95": "800", "p99": "1200"}})
    [refused] = decided(evidence(offered, request=request(bounds={"latency_ms.p95": "799"}))).exclusions
    assert (refused.clause, refused.offered) == ("guarantee", "p95 800")
    asked = request(bounds={"latency_ms.p50": "900", "latency_ms.p95": "900"})
    promised = decided(evidence(offered, request=asked)).certificate["guarantees"]
    assert promised == {"latency_ms.p50": "p50 1", "latency_ms.p95": "p95 800", "cost.max": "0.013"}


def test_an_empty_permission_list_asks_for_nothing():
    nobody = principal(permissions=[], trust_level="untrusted")
    assert winner(decided(evidence(contract(), principal=nobody))) == "alpha"


def test_one_shared_permission_does_not_authorise():
    """Holding one of all that are needed is not enough; holding one of several alternatives is."""
    both = contract(access={"required_permissions": {"all_of": ["a", "b"]}})
    either = contract(access={"required_permissions": {"any_of": ["a", "b"]}})
    one = principal(permissions=["a", "services:use"])
    assert winner(decided(evidence(both, principal=one))) is None
    assert winner(decided(evidence(either, principal=one))) == "alpha"


def test_hashes_that_decide_are_keyed():
    """The order of equal scores is an HMAC under the seed: no name wins by its hash alone."""
    services = [contract(f"s{number}") for number in range(7)]
    for seed in ("", "one", "zwei"):
        ranked = decided(evidence(*services, request=request(seed=seed))).ranked
        tags = [hmac.new(seed.encode(), f"{r.offer.service_id}@1.0.0".encode(), sha256).digest() for r in ranked]
        assert tags == sorted(tags)


def test_hashes_of_different_things_never_meet():
    """An empty history and an empty request of the same bytes have different hashes: each purpose has its own."""
    given = decided(evidence(contract())).certificate
    named = ("request", "principal", "services", "policies", "history")
    assert len({given[name] for name in named}) == len(named)
    assert decided(evidence()).certificate["services"] != decided(evidence()).certificate["policies"]


def test_no_time_in_a_deterministic_trace():
    """The kernel holds no clock to ask."""
    kernel = (certificate, composition, engine, matching, model, optimization, policies, rules, security)
    for module in kernel:
        assert not {"time", "datetime", "random", "os", "secrets", "uuid"} & set(vars(module)), module
        assert "now()" not in inspect.getsource(module)


@pytest.mark.parametrize(
    "broken",
    [
        policy("broken", when="request.max_tokens > 1", then='service.id == "beta"'),
        policy("broken", then="service.cost.per_second > 1.0"),
        policy("broken", effect="require", when='request.labels["x"] == "y"'),
        policy("broken", effect="require", then="service.guarantees.grounding.min > 0.0"),
    ],
    ids=["when of forbid", "then of forbid", "when of require", "then of require"],
)
def test_a_rule_error_does_not_skip_the_rule(broken):
    [excluded] = decided(evidence(contract(), policies=[broken])).exclusions
    assert (excluded.clause, excluded.subject) == ("policy_error", "broken@1")


def test_an_error_does_not_hide_a_later_forbid():
    """A preference that errs first changes nothing about the forbid behind it."""
    policies = [
        policy("first", priority=99, effect="prefer", when="request.max_tokens > 1"),
        policy("second", then='service.id == "alpha"'),
    ]
    assert winner(decided(evidence(contract(), policies=policies))) is None


def test_amounts_are_never_floats():
    """A price whose float is off by one unit at the cap: exactly at it is allowed, a unit above is not."""
    cost = {"per_request": "0.254740991", "per_input_token": "0", "per_output_token": "9007.199"}
    offered = contract(cost=cost)  # a thousand tokens out
    [best] = decided(evidence(offered, request=request(max_cost="9007199.254740991"))).ranked
    assert best.worst_cost == 9_007_199_254_740_991
    assert not decided(evidence(offered, request=request(max_cost="9007199.25474099"))).ranked
    assert all(type(value) is int for value in best.offer.bounds.values())
    assert best.offer.bounds["accuracy.min"] == 95 * NANO // 100
