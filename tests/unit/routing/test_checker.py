"""The checker against literal records and numbers worked out by hand from the routing rules."""

import hmac
from hashlib import sha256
from typing import Any

import pytest

from caio.foundation.canonical import canonical_json
from caio.routing.certificate import CLAUSES, FIELDS, decision_hash
from caio.routing.checker import CLAIMS, MOST_QUESTIONS, check, decide_again, exclusions, ranking, recompute
from caio.routing.checking.clauses import question_count, questions
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

SCALE = 10**9


def digest(purpose, value):
    """The rules' hash, by the standard library."""
    return sha256(purpose.encode() + b"\0" + canonical_json(value)).hexdigest()


def bytes_digest(purpose, data):
    return sha256(purpose.encode() + b"\0" + data).hexdigest()


def verdicts(*numbers):
    """The certificate's commitment to these verdicts, two bytes each."""
    return bytes_digest("caio/verdicts/v1", b"".join(number.to_bytes(2, "big") for number in numbers))


def eight(*numbers):
    return b"".join(number.to_bytes(8, "big") for number in numbers)


def unproved(certificate, given, trusted=None):
    claims = check(certificate, given, decision_hash(certificate) if trusted is None else trusted)
    assert tuple(claim.name for claim in claims) == CLAIMS
    return {claim.name for claim in claims if not claim.proved}


# --- clauses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_clause_is_recomputed(case):
    assert case.expected is not None
    certificate = recompute(case.evidence())
    assert exclusions(case.evidence()) == [["alpha", "1.0.0", *case.expected]]
    assert certificate["excluded"] == [{"clause": case.expected[0], "count": 1}]
    assert certificate["verdicts"] == verdicts(case.question)
    assert (certificate["plan"], certificate["guarantees"], certificate["ranked"]) == ([], {}, [])


@pytest.mark.parametrize("case", ALLOWED, ids=str)
def test_what_lies_at_the_edge_is_allowed(case):
    certificate = recompute(case.evidence())
    assert (certificate["excluded"], certificate["verdicts"]) == ([], verdicts(0))
    assert exclusions(case.evidence()) == []
    assert certificate["ranked"][0][:3] == ["alpha", "1.0.0", SCALE]


def test_the_cases_cover_the_table():
    assert {case.expected[0] for case in CASES if case.expected} == set(CLAUSES)


@pytest.mark.parametrize(
    ("clause", "given"), LADDER, ids=[f"{step}-{clause}" for step, (clause, _) in enumerate(LADDER)]
)
def test_the_first_clause_that_fails_is_named(clause, given):
    assert [group["clause"] for group in recompute(given)["excluded"]] == ([] if clause is None else [clause])


def test_the_ladder_climbs_every_clause_in_order():
    climbed = [clause for clause, _ in LADDER if clause is not None]
    assert sorted(set(climbed), key=climbed.index) == list(CLAUSES)


def test_the_ladder_climbs_the_questions():
    numbers = [decide_again(given).verdicts[0][1] for _, given in LADDER]
    # 13 and 14 are the policy's of a policy that errs, and the error of one that does not; 22 is for restricted data.
    assert numbers == [*range(1, 13), *range(15, 22), *range(23, 28), 0]


@pytest.mark.parametrize("case", ALLOWED, ids=str)
def test_a_feasible_service_is_asked_every_question(case):
    decided = decide_again(case.evidence())
    [(service, _, _)] = decided.verdicts
    assert len(list(questions(decided.world, service))) == question_count(decided.world)


@pytest.mark.parametrize("services", [[], [contract()]], ids=["none", "one"])
def test_more_questions_than_two_bytes_number_are_refused(services):
    frameworks = [f"framework-{number:05}" for number in range(MOST_QUESTIONS - 19)]  # 20 questions are others
    most = evidence(*services, request=request(compliance=frameworks[1:]))
    assert question_count(decide_again(most).world) == MOST_QUESTIONS
    with pytest.raises(ValueError, match="65536 questions are more than 65535"):
        recompute(evidence(*services, request=request(compliance=frameworks)))


@pytest.mark.parametrize("second", ["3", "0.5"])
def test_a_streams_two_lower_bounds_are_the_larger(second):
    asked = request(stream=True, bounds={"latency_ms.min": second, "first_token_ms.min": "2.5"})
    larger = "3" if second == "3" else "2.5"
    assert exclusions(evidence(contract(guarantees={"first_token_ms": {"min": "2"}}), request=asked)) == [
        ["alpha", "1.0.0", "guarantee", "first_token_ms.min", f">= {larger}", "2"]
    ]


def test_groups_follow_the_clauses_and_records_the_services():
    given = evidence(
        contract("delta", privacy={"data_retention_days": 90}),
        contract("beta", "2.0.0", privacy={"compliance": []}),
        contract("beta", "10.0.0", privacy={"compliance": []}),
        contract("alpha", privacy={"data_retention_days": 90}),
        request=request(compliance=["gdpr"], max_retention_days=30),
    )
    retention, compliance = (
        [[name, "1.0.0", "retention", "data_retention_days", "<= 30", "90"] for name in ("alpha", "delta")],
        [["beta", version, "compliance", "compliance", "gdpr", "none"] for version in ("10.0.0", "2.0.0")],
    )
    certificate = recompute(given)
    assert certificate["excluded"] == [{"clause": "retention", "count": 2}, {"clause": "compliance", "count": 2}]
    assert exclusions(given) == [retention[0], *compliance, retention[1]]
    # One capability and one framework: 18 questions, then retention, then compliance.
    assert certificate["verdicts"] == verdicts(19, 20, 20, 19)


# --- ranking ------------------------------------------------------------------------------------


def rows(*contracts, **parts):
    return recompute(evidence(*contracts, **parts))["ranked"]


def test_the_terms_are_weighed():
    alpha = contract()  # margin (1000 - 800) / 1000, cheapest, slowest, reliability (20 * 0.99) / 20
    beta = contract(
        "beta",
        guarantees={"latency_ms": {"p95": "500"}, "availability": REMOVED},
        cost={"per_request": "0.017"},
    )  # margin (1000 - 500) / 1000, dearest, fastest, reliability (80 + 20 * 0.9) / 100
    asked = request(bounds={"latency_ms.p95": "1000"})
    assert rows(alpha, beta, request=asked, history={"beta": [80, 80, 300], "gamma": [9, 0, 1]}) == [
        ["beta", "1.0.0", (500_000_000 + 2 * SCALE + 2 * 980_000_000) // 7, 20_000_000],
        ["alpha", "1.0.0", (200_000_000 + 2 * SCALE + 2 * 990_000_000) // 7, 13_000_000],
    ]


def test_one_feasible_service_scores_full():
    assert rows(contract(), contract("beta", api={"protocol": "process"}), request=request(protocols=["openai"])) == [
        ["alpha", "1.0.0", SCALE, 13_000_000]
    ]


@pytest.mark.parametrize(
    ("bounds", "offers", "margin"),
    [
        ({"accuracy.min": "0.5"}, {"accuracy": {"min": "0.8"}}, 375_000_000),
        ({"accuracy.min": "-0.5"}, {"accuracy": {"min": "0"}}, 0),
        ({"drift.min": "-1"}, {"drift": {"min": "0.5"}}, SCALE),  # 3 * SCALE, clipped
        ({"drift.max": "3"}, {"drift": {"max": "-3"}}, SCALE),  # 2 * SCALE, clipped
        ({"drift.max": "0"}, {"drift": {"max": "-3"}}, 0),
        ({"drift.max": "-1"}, {"drift": {"max": "-3"}}, 0),
        ({"drift.max": "3"}, {"drift": {"max": "2"}}, 333_333_333),
        ({"drift.max": "1000000000"}, {"drift": {"max": "0.000000001"}}, 999_999_999),
        ({"drift.max": "3", "accuracy.min": "0.5"}, {"drift": {"max": "2"}, "accuracy": {"min": "0.8"}}, 354_166_666),
    ],
)
def test_margin(bounds, offers, margin):
    worst = {
        name: {statistic: bounds.get(f"{name}.{statistic}")} for name, bound in offers.items() for statistic in bound
    }
    floor = contract("floor", guarantees=worst)
    # Where the edge itself has margin 0, the other's margin is its score; else the term is dropped.
    scores = {
        row[0]: row[2]
        for row in rows(contract(guarantees=offers), floor, request=request(bounds=bounds, weights={"margin": 1}))
    }
    assert scores == ({"alpha": SCALE, "floor": SCALE} if margin == 0 else {"alpha": margin, "floor": 0})


def test_performance_compares_those_that_declare():
    services = [
        contract("fast", guarantees={"latency_ms": {"p95": "900", "p99": "200"}}),
        contract("middle", guarantees={"latency_ms": {"p95": REMOVED, "p99": REMOVED, "max": "500"}}),
        contract("slow"),
        contract("silent", guarantees={"latency_ms": {"p95": REMOVED, "p99": REMOVED}}),
    ]
    ranked = rows(*services, request=request(weights={"performance": 3}))
    assert {name: score for name, _, score, _ in ranked} == {
        "fast": SCALE,
        "middle": SCALE // 2,
        "slow": 0,
        "silent": 0,
    }


@pytest.mark.parametrize(
    ("track", "stream", "first"),
    [
        ([20, 20, 1], False, "alpha"),  # enough calls: the observed 1 ms, not the declared 950
        ([19, 19, 1], False, "beta"),
        ([20, 0, 899], False, "alpha"),  # also by answers that broke a promise
        ([99, 0, 0], False, "beta"),  # what never answered whole was not fast
        ([20, 20, 1], True, "beta"),  # what was observed is not of the first token
        ([20, 20, 899], False, "alpha"),
        ([20, 20, 901], False, "beta"),
        ([20, 0, 0], False, "beta"),  # no answer came whole: there is no latency
        ([20, 20, 10**9], False, "beta"),
    ],
)
def test_performance_is_what_was_observed(track, stream, first):
    services = [
        contract(name, guarantees={"latency_ms": {"p95": REMOVED, "p99": REMOVED}}) for name in ("alpha", "beta")
    ]
    alpha = changed(services[0], {"guarantees": {"latency_ms": {"p95": "950"}, "first_token_ms": {"p95": "950"}}})
    beta = changed(services[1], {"guarantees": {"latency_ms": {"p95": "900"}, "first_token_ms": {"p95": "900"}}})
    ranked = rows(alpha, beta, history={"alpha": track}, request=request(stream=stream, weights={"performance": 1}))
    assert [(name, score) for name, _, score, _ in ranked] == [
        (first, SCALE),
        ({"alpha": "beta", "beta": "alpha"}[first], 0),
    ]


def test_performance_that_nobody_declares_and_somebody_showed():
    services = [contract(name, guarantees={"latency_ms": {"p95": REMOVED, "p99": REMOVED}}) for name in "abc"]
    history = {"a": [50, 50, 300], "b": [50, 50, 300]}
    ranked = rows(*services, history=history, request=request(weights={"performance": 1}))
    assert {name: score for name, _, score, _ in ranked} == {"a": SCALE, "b": SCALE, "c": 0}


def test_performance_of_a_stream_is_of_its_first_token():
    services = [contract(), contract("beta", guarantees={"latency_ms": {"p95": "1"}, "first_token_ms": {"p95": "400"}})]
    assert rows(*services, request=request(stream=True, weights={"performance": 1}))[0][0] == "alpha"


def test_preferences_weigh_by_priority():
    prefers = [
        policy("a", effect="prefer", priority=30, then='service.id == "alpha"'),
        policy("b", effect="prefer", priority=10, then='service.id == "beta"'),
        policy("c", effect="prefer", priority=20, then="service.cost.per_second > 1.0"),  # in force, and erring
        policy("d", effect="prefer", priority=40, when="request.sensitive", then='service.id == "beta"'),
        policy("e", effect="prefer", priority=40, when="request.max_tokens > 5", then='service.id == "beta"'),
    ]
    ranked = rows(contract(), contract("beta"), policies=prefers)
    assert ranked == [["alpha", "1.0.0", SCALE // 2, 13_000_000], ["beta", "1.0.0", SCALE // 6, 13_000_000]]


def test_reliability_is_that_of_the_id_and_the_prior_is_clipped():
    history = {"alpha": [100, 50, 1]}
    services = [
        contract(version="1.0.0"),
        contract(version="2.0.0"),
        contract("beta", guarantees={"availability": {"min": "1"}}),
    ]
    ranked = rows(*services, history=history, request=request(weights={"reliability": 1}))
    known = (50 * SCALE + 20 * 990_000_000) // 120
    assert [row[2] for row in ranked] == [SCALE, known, known]


def test_equals_are_ordered_by_the_seed():
    services = [contract(name, version) for name in ("alpha", "beta", "gamma") for version in ("1.0.0", "2.0.0")]

    def expected(seed):
        names = [f"{each['service_id']}@{each['version']}" for each in services]
        return sorted(names, key=lambda name: hmac.digest(seed.encode(), name.encode(), "sha256"))

    for seed in ("seed", "", "sëed"):
        certificate = recompute(evidence(*services, request=request(seed=seed)))
        assert [f"{row[0]}@{row[1]}" for row in certificate["ranked"]] == expected(seed)[:5]
        assert (certificate["seed"], certificate["feasible"]["count"]) == (seed, 6)
    derived = recompute(evidence(*services, request=request(seed=None)))
    assert derived["seed"] == derived["request"]
    assert [f"{row[0]}@{row[1]}" for row in derived["ranked"]] == expected(derived["request"])[:5]


# --- objective ----------------------------------------------------------------------------------

OWN = {"margin": 0, "cost": 0, "performance": 0, "reliability": 1, "preference": 0}


def objective(policies=(), **changes):
    certificate = recompute(evidence(contract(), request=request(**changes), policies=list(policies)))
    return certificate["weights"], certificate["on_violation"]


def test_the_objective_is_the_policys_then_the_requests_then_the_default():
    default = {"margin": 1, "cost": 2, "performance": 2, "reliability": 2, "preference": 3}
    assert objective() == (default, "report")
    assert objective(weights={"reliability": 1}, on_violation="fail") == (OWN, "fail")
    policies = [
        policy("a", priority=9, weights={"cost": 9}, on_violation="retry", then="false"),
        policy("b", priority=5, weights={"cost": 5}, on_violation="fallback", effect="prefer"),
        policy("c", priority=99, weights={"cost": 99}, when="request.sensitive"),
        policy("d", priority=99, weights={"cost": 99}, effect="prefer", when="request.max_tokens > 5"),
    ]
    assert objective(policies, weights={"reliability": 1}) == ({**OWN, "reliability": 0, "cost": 9}, "retry")


# --- certificate --------------------------------------------------------------------------------


def test_the_whole_certificate():
    alpha, beta = contract(), contract("beta", api={"protocol": "process"})
    rule = policy("calm", effect="prefer")
    given = evidence(
        beta,
        alpha,
        request=request(bounds={"latency_ms.p50": "300", "accuracy.min": "0.9"}, protocols=["openai"]),
        policies=[rule],
        history={"alpha": [1, 1, 5]},
    )
    alpha_hash, beta_hash = digest("caio/contract/v1", alpha), digest("caio/contract/v1", beta)
    services = [
        digest("caio/service/v1", row)
        for row in (["alpha", "1.0.0", alpha_hash, "acme"], ["beta", "1.0.0", beta_hash, "acme"])
    ]
    ranked = [["alpha", "1.0.0", SCALE, 13_000_000]]
    assert recompute(given) == {
        "v": 2,
        "tenant": "acme",
        "request": digest("caio/request/v1", given["request"]),
        "principal": digest("caio/principal/v1", given["principal"]),
        "services": bytes_digest("caio/services/v2", bytes.fromhex(services[0]) + bytes.fromhex(services[1])),
        "policies": digest("caio/policies/v1", [["calm", 1, digest("caio/policy/v1", rule)]]),
        "history": digest("caio/history/v1", {"alpha": [1, 1, 5]}),
        "service_count": 2,
        "seed": "seed",
        "weights": {"margin": 1, "cost": 2, "performance": 2, "reliability": 2, "preference": 3},
        "on_violation": "report",
        "verdicts": verdicts(0, 4),
        "feasible": {"count": 1, "hash": bytes_digest("caio/feasible/v2", eight(SCALE, 13_000_000))},
        "ranked": ranked,
        "excluded": [{"clause": "protocol", "count": 1}],
        "plan": [{"service": "alpha", "version": "1.0.0", "contract": alpha_hash}],
        "guarantees": {"accuracy.min": "0.95", "latency_ms.p50": "p50 200", "cost.max": "0.013"},
    }


def test_the_feasible_are_committed_to_by_name_and_ranked_by_score():
    given = evidence(*(contract(name, cost={"per_request": f"0.0{digit}"}) for digit, name in enumerate("cab", 1)))
    certificate = recompute(given)
    assert ranking(given) == [
        ["c", "1.0.0", SCALE, 13_000_000],
        ["a", "1.0.0", SCALE // 2, 23_000_000],
        ["b", "1.0.0", 0, 33_000_000],
    ]
    assert certificate["ranked"] == ranking(given)
    by_name = eight(SCALE // 2, 23_000_000, 0, 33_000_000, SCALE, 13_000_000)
    assert certificate["feasible"] == {"count": 3, "hash": bytes_digest("caio/feasible/v2", by_name)}


def test_ranking_and_exclusions_are_whole():
    many = [contract(f"s{number}") for number in range(9)]
    others = [contract(f"t{number}", api={"protocol": "process"}) for number in range(9)]
    given = evidence(*others, *many, request=request(protocols=["openai"]))
    assert sorted(row[0] for row in ranking(given)) == [each["service_id"] for each in many]
    assert ranking(given)[:5] == recompute(given)["ranked"]
    assert exclusions(given) == [
        [each["service_id"], "1.0.0", "protocol", "protocol", "openai", "process"] for each in others
    ]


def test_a_streams_guarantee_is_named_as_evaluated():
    given = evidence(contract(), request=request(stream=True, bounds={"latency_ms.p50": "300"}))
    assert recompute(given)["guarantees"] == {"first_token_ms.p50": "p95 300", "cost.max": "0.013"}


GIVEN = evidence(
    contract(),
    contract("beta", cost={"per_request": "0.02"}),
    contract("gamma", api={"protocol": "process"}),
    request=request(protocols=["openai"], bounds={"latency_ms.p95": "900"}),
    policies=[policy("calm", effect="prefer")],
    history={"alpha": [10, 9, 700]},
)
CERTIFICATE = recompute(GIVEN)

#: For each field a value that a dishonest certificate might show instead.
FORGERIES = {
    "v": 1,
    "tenant": "other",
    "request": "0" * 64,
    "principal": "0" * 64,
    "services": "0" * 64,
    "policies": "0" * 64,
    "history": "0" * 64,
    "service_count": 2,
    "seed": "another",
    "weights": {**CERTIFICATE["weights"], "cost": 1},
    "on_violation": "fail",
    "verdicts": verdicts(0, 4, 0),
    "feasible": {**CERTIFICATE["feasible"], "count": 1},
    "ranked": CERTIFICATE["ranked"][::-1],
    "excluded": [],
    "plan": [],
    "guarantees": {**CERTIFICATE["guarantees"], "cost.max": "0.01"},
}


def test_an_honest_certificate_is_proved():
    assert unproved(CERTIFICATE, GIVEN) == set()


@pytest.mark.parametrize("field", FIELDS)
def test_a_forged_field_is_unproved_although_its_hash_is_right(field):
    claim = "form" if field == "v" else field
    assert claim in unproved({**CERTIFICATE, field: FORGERIES[field]}, GIVEN)


def details(certificate, given):
    return {claim.name: claim.detail for claim in check(certificate, given, "")}


def test_what_the_claims_say():
    proved = details(CERTIFICATE, GIVEN)
    assert list(proved) == ["form", "decision hash", "evidence", *(name for name in FIELDS if name != "v")]
    assert proved["form"] == "version 2"
    assert proved["decision hash"] == f"the certificate's digest is {decision_hash(CERTIFICATE)}"
    assert proved["evidence"] == "complete"
    assert proved["service_count"] == "3"
    assert proved["weights"] == '{"cost":2,"margin":1,"performance":2,"preference":3,"reliability":2}'
    assert proved["ranked"] == canonical_json(CERTIFICATE["ranked"]).decode()[:80]
    assert details({**CERTIFICATE, "service_count": 4}, GIVEN)["service_count"] == "4, recomputed 3"
    unreadable = details(CERTIFICATE, {"request": {}})
    assert unreadable["evidence"] == "fields missing or unknown: history, policies, principal, services"
    assert unreadable["plan"] == "certificate or evidence cannot be read"
    assert details(CERTIFICATE, {**GIVEN, "principal": {}})["evidence"] == "KeyError: 'id'"


def test_another_version_is_named():
    first = {name: value for name, value in CERTIFICATE.items() if name != "verdicts"} | {"v": 1}
    claims = {claim.name: claim for claim in check(first, GIVEN, decision_hash(first))}
    assert claims["form"].detail == "version 1 is not 2"
    assert [name for name, claim in claims.items() if claim.proved] == ["evidence"]


def test_another_decisions_hash_is_unproved():
    assert unproved(CERTIFICATE, GIVEN, "0" * 64) == {"decision hash"}


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_unproved(field):
    assert "form" in unproved({name: CERTIFICATE[name] for name in FIELDS if name != field}, GIVEN)


def test_an_unknown_field_is_unproved():
    assert "form" in unproved({**CERTIFICATE, "id": "x"}, GIVEN)
    assert "evidence" in unproved(CERTIFICATE, {**GIVEN, "id": "x"})


def test_truth_is_not_one():
    assert "feasible" in unproved({**CERTIFICATE, "feasible": {**CERTIFICATE["feasible"], "count": 2.5}}, GIVEN)
    single = evidence(contract())
    certificate = recompute(single)
    assert "service_count" in unproved({**certificate, "service_count": True}, single)


CHANGES = {
    "a contract missing": {"services": GIVEN["services"][:2]},
    "a contract added": {"services": [*GIVEN["services"], {"tenant": "acme", "contract": contract("delta")}]},
    "a contract twice, differently": {
        "services": [*GIVEN["services"], {"tenant": "acme", "contract": contract(name="Other")}]
    },
    "an excluded contract changed": {
        "services": [
            *GIVEN["services"][:2],
            {"tenant": "acme", "contract": contract("gamma", api={"protocol": "bedrock"})},
        ]
    },
    "an owner changed": {"services": [{**each, "tenant": "other"} for each in GIVEN["services"]]},
    "a field of a service added": {"services": [{**each, "note": ""} for each in GIVEN["services"]]},
    "a policy missing": {"policies": []},
    "a policy changed without effect": {"policies": [policy("calm", effect="prefer", message="other")]},
    "a request changed without effect": {"request": changed(GIVEN["request"], {"labels": {"a": "b"}})},
    "a principal changed without effect": {"principal": principal(id="eve")},
    "history changed without effect": {"history": {**GIVEN["history"], "stranger": [1, 1, 1]}},
    "history impossible": {"history": {"alpha": [1, 2, 1]}},
    "sets in disorder": {"principal": principal(roles=["user", "admin"])},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_evidence_is_unproved(change):
    assert unproved(CERTIFICATE, {**GIVEN, **change})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"services": [*GIVEN["services"], {"tenant": "acme", "contract": contract(name="Other")}]}, "alpha@1.0.0"),
        ({"services": [*GIVEN["services"], {"tenant": "other", "contract": contract()}]}, "alpha@1.0.0"),
        ({"policies": [policy("calm"), policy("calm", message="other")]}, "calm@1"),
        ({"history": {"alpha": [1, 2, 1]}}, "successes"),
        ({"history": {"alpha": [True, 1, 1]}}, "history row"),
        ({"history": {"alpha": [1, 1, 10**9 + 1]}}, "p95_ms"),
        ({"history": {"alpha": [1, 1, -1]}}, "p95_ms"),
        ({"history": {"alpha": [1, -1, 1]}}, "successes"),
        ({"principal": principal(roles=["user", "admin"])}, "canonical"),
        ({"request": request(regions=["us", "eu"])}, "canonical"),
        ({"request": request(classification="secret")}, "secret"),
        ({"request": request(bounds={"latency_ms.avg": "1"})}, "avg"),
        ({"request": request(bounds={"latency_ms.p95": "1.0"})}, "shortest"),
        ({"request": request(weights={"speed": 1})}, "weights"),
        ({"request": request(weights={"cost": -1})}, "weights"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_no_decision_could_be_made_from_is_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        recompute({**GIVEN, **change})


def test_order_is_irrelevant():
    first, second = policy("a", then="false"), policy("b", priority=99, effect="prefer")
    given = {**GIVEN, "policies": [first, second]}
    shuffled = {
        **given,
        "services": [*GIVEN["services"][::-1], GIVEN["services"][1]],
        "policies": [second, first, second],
    }
    assert canonical_json(recompute(shuffled)) == canonical_json(recompute(given))
    assert unproved(recompute(given), shuffled) == set()


NONSENSE: list[Any] = [None, 1, "x", [], {}, {"v": 1}, {"v": float("nan")}, {1: 2}, {"request": object()}]


@pytest.mark.parametrize("value", NONSENSE, ids=range(len(NONSENSE)))
def test_nothing_is_raised(value):
    assert {"form", "decision hash"} <= {each.name for each in check(value, GIVEN, "") if not each.proved}
    assert "evidence" in {each.name for each in check(CERTIFICATE, value, "") if not each.proved}
    for part in GIVEN:
        assert not all(each.proved for each in check(CERTIFICATE, {**GIVEN, part: value}, decision_hash(CERTIFICATE)))


def test_a_bottomless_document_is_unproved():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert "evidence" in {each.name for each in check(CERTIFICATE, {**GIVEN, "history": deep}, "") if not each.proved}
    assert "form" in {each.name for each in check({**CERTIFICATE, "plan": deep}, GIVEN, "") if not each.proved}


@pytest.mark.parametrize("weights", [{"cost": 1, "margin": -1}, {"cost": 1, "margin": True}, {"cost": 1, "luck": 1}])
def test_one_weight_that_is_none_makes_the_evidence_unreadable(weights):
    given = evidence(contract(), policies=[policy(weights=weights, then="false")])
    with pytest.raises(ValueError, match="weights are non-negative integers"):
        recompute(given)
