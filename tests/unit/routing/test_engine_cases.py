"""The engine against the table of literal exclusion records that the checker is held to as well."""

import pytest

from caio.foundation.hashing import VERDICTS, digest
from caio.routing.certificate import RANKED_ROWS
from caio.routing.checker import recompute
from caio.routing.engine import compile_snapshot, decide
from caio.routing.model import SCALE, History, InconsistentInputs, OnViolation, Principal, Request
from tests.support.routing_cases import (
    ALLOWED,
    CASES,
    LADDER,
    REMOVED,
    changed,
    contract,
    evidence,
    policy,
    principal,
    request,
)
from tests.support.routing_engine import decided, offers, rules


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_failed_clause_is_the_exclusion_record(case):
    decision = decided(case.evidence())
    assert [each.document() for each in decision.exclusions] == [["alpha", "1.0.0", *case.expected]]
    assert decision.certificate["verdicts"] == digest(VERDICTS, case.question.to_bytes(2, "big"))
    assert (decision.ranked, decision.winner, decision.certificate["plan"]) == ((), None, [])


@pytest.mark.parametrize("case", ALLOWED, ids=str)
def test_what_lies_at_an_edge_is_feasible(case):
    decision = decided(case.evidence())
    assert decision.exclusions == ()
    assert decision.winner is not None
    assert (decision.winner.offer.key, decision.winner.score) == (("alpha", "1.0.0"), SCALE)


@pytest.mark.parametrize(
    ("clause", "given"), LADDER, ids=[f"{step}-{clause}" for step, (clause, _) in enumerate(LADDER)]
)
def test_clauses_are_tried_in_order(clause, given):
    assert [each.clause for each in decided(given).exclusions] == ([] if clause is None else [clause])


def test_an_input_limit_holds_at_its_edge_beside_a_smaller_one():
    sizes = {"alpha": 100, "beta": 99, "gamma": 101}
    services = [
        contract(
            name,
            capabilities=[{"type": "chat", "limits": {"max_input_bytes": size}, "features": []}],
            cost={"per_output_token": REMOVED},
        )
        for name, size in sizes.items()
    ]
    decision = decided(evidence(*services, request=request(input_bytes=100)))
    assert [each.document() for each in decision.exclusions] == [["beta", "1.0.0", "input_size", "chat", "100", "99"]]


def test_there_may_be_more_rules_than_a_word_has_bits():
    names = ("alpha", "beta", "gamma", "delta")
    prefers = [
        policy(f"prefer-{number:03}", effect="prefer", priority=number, then=f'service.id == "{names[number % 3]}"')
        for number in range(1, 151)
    ]
    forbids = [policy(f"forbid-{number:03}", then=f'service.id == "{number}"') for number in range(140)]
    last = policy("last", priority=0, then='service.id == "delta"')
    given = evidence(*map(contract, names), policies=[*prefers, *forbids, last])
    decision = decided(given)
    assert [each.document() for each in decision.exclusions] == [["delta", "1.0.0", "policy", "last@1", "forbid", ""]]
    # Only the preferences tell the three apart; each satisfies every third.
    preferred = {name: sum(range(first, 151, 3)) for name, first in (("alpha", 3), ("beta", 1), ("gamma", 2))}
    assert {each.offer.service_id: each.score for each in decision.ranked} == {
        name: priorities * SCALE // sum(range(1, 151)) for name, priorities in preferred.items()
    }
    assert dict(decision.certificate) == recompute(given)


def test_a_reason_carries_the_policys_message():
    [exclusion] = decided(evidence(contract(), policies=[policy(message="not today")])).exclusions
    assert exclusion.reason().message == "not today"
    assert "not today" not in exclusion.document()


def test_a_policy_counts_the_same_attached_or_named():
    given = evidence(
        contract(),
        contract("beta"),
        policies=[policy("a", then='service.id == "alpha"'), policy("b", effect="prefer", then="true", priority=3)],
    )
    decisions = [decided(given, attached=count) for count in range(3)]
    assert len({each.decision_hash for each in decisions}) == 1


def test_a_named_policy_leaves_no_trace_in_the_snapshot():
    snapshot = compile_snapshot("acme", offers(evidence(contract())["services"]))
    asked, caller = Request.from_document(request()), Principal.from_document(principal())
    before = decide(snapshot, asked, caller, History())
    assert decide(snapshot, asked, caller, History(), rules([policy()])).winner is None
    assert decide(snapshot, asked, caller, History()) == before


def test_verdicts_of_many_named_policies_are_not_mixed_up():
    """More policies than verdicts are kept for, each forbidding one of two services."""
    snapshot = compile_snapshot("acme", offers(evidence(contract("alpha"), contract("beta"))["services"]))
    asked, caller = Request.from_document(request()), Principal.from_document(principal())
    for number in [*range(600), *range(600)]:
        banned, left = ("alpha", "beta") if number % 2 else ("beta", "alpha")
        rule = rules([policy(then=f'service.id == "{banned}" && {number} >= 0')])
        winner = decide(snapshot, asked, caller, History(), rule).winner
        assert winner is not None
        assert winner.offer.service_id == left
    assert len(snapshot._combined) <= 300


@pytest.mark.parametrize("other", [{"name": "Another"}, None], ids=["content", "owner"])
def test_two_services_of_one_name_are_refused(other):
    given = evidence(contract())
    twin = {"tenant": "acme", "contract": contract(**other)} if other else {"tenant": "x", "contract": contract()}
    with pytest.raises(InconsistentInputs, match=r"alpha@1\.0\.0"):
        decided({**given, "services": [*given["services"], twin]})


@pytest.mark.parametrize("attached", [0, 1, 2])
def test_two_policies_of_one_name_are_refused(attached):
    given = evidence(contract(), policies=[policy(message="one"), policy(message="two")])
    with pytest.raises(InconsistentInputs, match="rule@1"):
        decided(given, attached)
    assert decided(evidence(contract(), policies=[policy(), policy()]), attached).exclusions[0].clause == "policy"


def test_a_request_of_another_tenant_is_a_mistake_of_the_callers():
    snapshot = compile_snapshot("rival", [])
    with pytest.raises(ValueError, match="different tenants"):
        decide(snapshot, Request.from_document(request()), Principal.from_document(principal()), History())


@pytest.mark.parametrize(
    ("by_policy", "by_request", "used"),
    [
        (None, None, "report"),
        (None, "retry", "retry"),
        ("fail", "retry", "fail"),
    ],
)
def test_what_a_violation_leads_to(by_policy, by_request, used):
    policies = [] if by_policy is None else [policy(then="false", on_violation=by_policy)]
    decision = decided(evidence(contract(), request=request(on_violation=by_request), policies=policies))
    assert decision.on_violation is OnViolation(used)
    assert decision.certificate["on_violation"] == used


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], {"cost": 7}),
        ([policy("a", when="false", then="false", weights={"margin": 1})], {"cost": 7}),
        ([policy("a", when="request.max_tokens > 1", effect="prefer", weights={"margin": 1})], {"cost": 7}),
        ([policy("b", then="false", weights={"margin": 1}), policy("a", then="false")], {"margin": 1}),
        (
            [
                policy("b", then="false", weights={"margin": 1}),
                policy("c", then="false", weights={"reliability": 2}, priority=11),
                policy("a", then="false", weights={"performance": 3}),
            ],
            {"reliability": 2},
        ),
    ],
    ids=["request", "not in force", "erring", "one states them", "first in order"],
)
def test_whose_weights_are_used(policies, expected):
    terms = dict.fromkeys(("margin", "cost", "performance", "reliability", "preference"), 0)
    decision = decided(evidence(contract(), request=request(weights={"cost": 7}), policies=policies))
    assert decision.certificate["weights"] == terms | expected


def test_every_term_moves_the_ranking_by_its_formula():
    """Two services that differ in all five terms, each weighed alone: hand-computed scores."""
    alpha = contract(cost={"per_request": "0.012"})
    beta = contract("beta", guarantees={"latency_ms": {"p95": "500"}, "availability": REMOVED}, cost={"per_request": 0})
    gamma = contract(
        "gamma", guarantees={"latency_ms": {"p50": "250", "p95": "650", "p99": "650"}}, cost={"per_request": "0.003"}
    )
    scores = {
        "margin": {"alpha": 200_000_000, "beta": 500_000_000, "gamma": 350_000_000},
        "cost": {"alpha": 0, "beta": SCALE, "gamma": 750_000_000},
        "performance": {"alpha": 0, "beta": SCALE, "gamma": 300_000_000},  # beta as observed: 300 ms
        "reliability": {"alpha": 990_000_000, "beta": 980_000_000, "gamma": (3 * SCALE + 20 * 990_000_000) // 30},
        "preference": {"alpha": 3 * SCALE // 4, "beta": SCALE // 4, "gamma": SCALE // 4},
    }
    policies = [
        policy("a", effect="prefer", priority=3, then='service.id == "alpha"'),
        policy("b", effect="prefer", priority=1, then='service.id != "alpha"'),
        policy("c", effect="prefer", priority=50, when="false"),
    ]
    for term, expected in scores.items():
        decision = decided(
            evidence(
                alpha,
                beta,
                gamma,
                request=request(bounds={"latency_ms.p95": "1000"}, weights={term: 5}),
                policies=policies,
                history={"beta": [80, 80, 300], "gamma": [10, 3, 9]},
            )
        )
        assert {each.offer.service_id: each.score for each in decision.ranked} == expected
        best = decision.certificate["ranked"][0]
        assert best[0] == max(expected, key=lambda name: expected[name])


def test_an_erring_preference_prefers_nothing():
    erring = policy(effect="prefer", then='service.id == "beta" || service.cost.per_second > 0.0')
    decision = decided(evidence(contract(), contract("beta"), policies=[erring]))
    assert {each.offer.service_id: each.score for each in decision.ranked} == {"alpha": 0, "beta": SCALE}


def test_a_streams_two_lower_bounds_are_the_larger():
    bounds = {"latency_ms.min": "1", "first_token_ms.min": "3"}
    offered = contract(guarantees={"first_token_ms": {"min": "2"}})
    [excluded] = decided(evidence(offered, request=request(stream=True, bounds=bounds))).exclusions
    assert excluded.document()[2:] == ["guarantee", "first_token_ms.min", ">= 3", "2"]


def test_what_the_plan_guarantees():
    asked = request(bounds={"latency_ms.p50": "5000", "accuracy.min": "0.9"})
    decision = decided(evidence(contract(guarantees={"latency_ms": {"p50": REMOVED}}), request=asked))
    assert decision.certificate["guarantees"] == {
        "latency_ms.p50": "p95 800",
        "accuracy.min": "0.95",
        "cost.max": "0.013",
    }


def test_the_certificate_shows_few_rows_and_commits_to_all():
    services = [contract(f"s{number}") for number in range(RANKED_ROWS + 3)]
    decision = decided(evidence(*services))
    shown = decision.certificate["ranked"]
    assert len(shown) == RANKED_ROWS
    assert [row[0] for row in shown] == [each.offer.service_id for each in decision.ranked][:RANKED_ROWS]
    assert decision.certificate["feasible"]["count"] == len(services)
    dearer = decided(evidence(*services[:-1], changed(services[-1], {"cost": {"per_request": "0.02"}})))
    assert dearer.certificate["feasible"]["hash"] != decision.certificate["feasible"]["hash"]
