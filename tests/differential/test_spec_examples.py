"""The specification against literal examples: the clauses' table, and plans computed by hand."""

from random import Random

import pytest
from cel_expr_python import cel

from spec.questions import answers, question_count
from spec.routing import decide
from tests.support.hard_worlds import hard_world
from tests.support.routing_cases import ALLOWED, CASES, LADDER, contract, evidence, policy, principal, request
from tests.support.routing_spec import evaluate, planned, specified
from tests.support.routing_strategies import world


@pytest.mark.parametrize("case", [*CASES, *ALLOWED], ids=str)
def test_a_failed_clause_is_the_exclusion_record(case):
    expected = [] if case.expected is None else [["alpha", "1.0.0", *case.expected]]
    assert specified(case.evidence()).exclusions == expected


@pytest.mark.parametrize(
    ("clause", "given"), LADDER, ids=[f"{step}-{clause}" for step, (clause, _) in enumerate(LADDER)]
)
def test_clauses_are_tried_in_order(clause, given):
    assert [each[2] for each in specified(given).exclusions] == ([] if clause is None else [clause])


def test_every_feasible_service_is_asked_as_many_questions():
    """So that a question's number means the same for every service."""
    feasible = 0
    for seed in range(300):
        given = hard_world(seed)
        asked, caller, policies = given["request"], given["principal"], {p["id"]: p for p in given["policies"]}.values()
        ranked = {tuple(row[:2]) for row in specified(given).ranking}
        rules = [(each, None if each["effect"] == "prefer" else False) for each in policies]
        for each in given["services"]:
            if (each["contract"]["service_id"], each["contract"]["version"]) in ranked:
                given_answers = list(answers(each, asked, caller, rules, evaluate))
                assert (len(given_answers), set(given_answers)) == (question_count(asked, list(policies)), {None})
                feasible += 1
    assert feasible > 200


def test_more_questions_than_a_verdict_can_number_are_refused():
    bounds = {f"p{number}.max": "1" for number in range(65_535 - 20)}
    assert len(specified(evidence(contract(), request=request(bounds=bounds))).exclusions) == 1
    with pytest.raises(ValueError, match="65535"):
        specified(evidence(request=request(bounds=bounds | {"one.max": "1"})))


def test_googles_language_decides_the_same():
    """The rules with another implementation of the language; in these worlds the two do not differ."""
    env = cel.NewEnv(variables=dict.fromkeys(("request", "principal", "service"), cel.Type.DYN))

    def google(source, variables):
        value = env.compile(source, disable_check=True).eval(data=variables)
        return value.plain_value() if value.type() == cel.Type.BOOL else None

    for seed in range(60):
        given = world(seed, policies=5)
        assert decide(given, google) == specified(given), seed


# --- plans --------------------------------------------------------------------------------------


def service(name, kind, **changes):
    """A service of one capability and price 0.001, unless changed."""
    offered = {"type": kind, "limits": {"max_tokens": 1000}, "features": ["streaming"]}
    cost = {"currency": "USD", "per_request": "0.001"}
    return {**contract(name), "capabilities": [offered], "guarantees": {}, "cost": cost} | changes


def stage(kind, *after, **changes):
    return {"name": kind, "after": sorted(after), "request": request(capabilities=[kind], **changes)}


def plan_evidence(stages, services, bounds=None, max_cost=None):
    shape = {"tenant_id": "acme", "currency": "USD", "stages": stages, "bounds": bounds or {}, "max_cost": max_cost}
    given = evidence(*services)
    return {name: given[name] for name in ("services", "policies", "history")} | {
        "plan": shape,
        "principal": principal(),
    }


def promised(stages, services, *names):
    """What a plan that asks for next to nothing promises end to end; None where nothing is declared."""
    offers = []
    for name in names:
        loose = "0" if name.endswith(".min") else "1000000000"
        offers.append(planned(plan_evidence(stages, services, {name: loose})).certificate["guarantees"].get(name))
    return offers


def latency(**statistics):
    return {"latency_ms": {name: str(value) for name, value in statistics.items()}}


CHAIN = [stage("a"), stage("b", "a")]
FORK = [stage("a"), stage("b", "a"), stage("c", "a")]


def test_maxima_add_along_the_longest_path():
    services = [
        service(name, name, guarantees=latency(max=value)) for name, value in (("a", 100), ("b", 30), ("c", 50))
    ]
    assert promised(CHAIN, services, "latency_ms.max") == ["130"]
    assert promised(FORK, services, "latency_ms.max") == ["150"]
    assert promised([stage("a"), stage("b"), stage("c")], services, "latency_ms.max") == ["100"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"p95": 100}, {"p95": 30}, None),
        ({"p95": 100}, {"p95": 30, "p99": 70, "max": 80}, "180"),
        ({"p95": 100, "p99": 140}, {"p95": 30, "p99": 35, "max": 80}, "175"),
        ({"p99": 100}, {"p99": 30}, "130"),
        ({"p50": 100, "max": 900}, {"p95": 30}, "930"),
    ],
)
def test_percentiles_are_composed_by_their_risks(first, second, expected):
    """A p95 of both is a p90 of the whole: one of the two must be a maximum, or both a p99."""
    services = [service("a", "a", guarantees=latency(**first)), service("b", "b", guarantees=latency(**second))]
    given = plan_evidence(CHAIN, services, {"latency_ms.p95": "1000"})
    assert planned(given).certificate["guarantees"].get("latency_ms.p95") == expected


def test_risks_are_those_of_all_stages():
    """The slow branch alone would keep within a p95; the quick one fails its own in five of a hundred too."""
    parallel = [stage("a"), stage("b")]
    services = [service("a", "a", guarantees=latency(p95=100)), service("b", "b", guarantees=latency(p95=30))]
    assert planned(plan_evidence(parallel, services, {"latency_ms.p95": "1000"})).selection is None


def test_risks_are_used_up_exactly():
    """Five stages may each be slow in one call of a hundred and the whole in five; a sixth is too many.
    One that is slow in half of the calls leaves nothing for another."""
    names = "abcdef"
    services = [service(name, name, guarantees=latency(p99=10)) for name in names]
    assert promised([stage(name) for name in names[:5]], services, "latency_ms.p95") == ["10"]
    refused = plan_evidence([stage(name) for name in names], services, {"latency_ms.p95": "1000"})
    assert planned(refused).selection is None
    half = service("a", "a", guarantees=latency(p50=10))
    for other, found in ((latency(max=7), (0, 0)), (latency(p99=7), None)):
        given = plan_evidence(CHAIN, [half, service("b", "b", guarantees=other)], {"latency_ms.p50": "17"})
        assert planned(given).selection == found


def test_ratios_compose():
    guarantees = {
        "a": {"availability": {"min": "0.999999999"}, "accuracy": {"min": "0.9"}, "error_rate": {"max": "0.01"}},
        "b": {"availability": {"min": "0.9"}, "accuracy": {"min": "0.95"}, "error_rate": {"max": "0.02"}},
    }
    services = [service(name, name, guarantees=value) for name, value in guarantees.items()]
    names = ("availability.min", "accuracy.min", "error_rate.max")
    assert promised(CHAIN, services, *names) == ["0.899999999", "0.85", "0.03"]
    poor = {"accuracy": {"min": "0.4"}, "error_rate": {"max": "0.7"}}
    services = [service(name, name, guarantees=poor) for name in ("a", "b")]
    assert promised(CHAIN, services, "accuracy.min", "error_rate.max") == ["0", "1"]


def test_what_all_must_promise():
    offered = {"throughput": {"min": "7"}, "determinism": {"seed_required": True}}
    services = [
        service("a", "a", guarantees=offered),
        service("b", "b", guarantees={**offered, "throughput": {"min": "5"}}),
    ]
    assert promised(CHAIN, services, "throughput.min", "determinism.min", "cost.max") == ["5", "1", "0.002"]
    for name in ("throughput.min", "determinism.min", "availability.min", "accuracy.min", "error_rate.max"):
        silent = planned(plan_evidence(CHAIN, [services[0], service("b", "b")], {name: "0"}))
        assert silent.certificate["refusal"] == {"stage": None}


def test_the_best_sound_selection_is_chosen():
    """Cheap is best for each stage by itself; the bound of the whole makes one of them take the dear one,
    and of two ways to do so the one that gives up less."""
    services = [
        service("cheap-a", "a", guarantees=latency(max=500)),
        service("dear-a", "a", guarantees=latency(max=100), cost={"currency": "USD", "per_request": "0.002"}),
        service("cheap-b", "b", guarantees=latency(max=500)),
        service("middle-b", "b", guarantees=latency(max=100), cost={"currency": "USD", "per_request": "0.0015"}),
        service("dear-b", "b", guarantees=latency(max=100), cost={"currency": "USD", "per_request": "0.002"}),
    ]
    stages = [stage("a", weights={"cost": 1}), stage("b", "a", weights={"cost": 1})]

    def chosen(**limits):
        found = planned(plan_evidence(stages, services, **limits))
        return [each["service"] for each in found.certificate["selection"]], found.certificate["score"]

    assert chosen() == (["cheap-a", "cheap-b"], 2 * 10**9)
    assert chosen(bounds={"latency_ms.max": "600"}) == (["cheap-a", "middle-b"], 15 * 10**8)
    assert chosen(bounds={"latency_ms.max": "200"}) == (["dear-a", "middle-b"], 5 * 10**8)
    assert chosen(bounds={"latency_ms.max": "200"}, max_cost="0.0035") == (["dear-a", "middle-b"], 5 * 10**8)
    assert chosen(bounds={"latency_ms.max": "200"}, max_cost="0.003499999") == ([], 0)
    assert chosen(bounds={"cost.max": "0.001999999"}) == ([], 0)


def test_of_equal_selections_the_first_ranks_are_chosen():
    """All score alike, and either stage may give way: the later one does, whatever the order of the names."""
    for seed in range(20):
        quick, slow = latency(max=100), latency(max=500)
        offers = [(name, quick if Random(f"{seed}{name}").random() < 0.5 else slow) for name in ("x", "y", "z")]
        services = [
            service(f"{kind}-{name}", kind, guarantees=promise) for kind in ("a", "b") for name, promise in offers
        ]
        stages = [stage("a", seed=str(seed)), stage("b", "a", seed=str(seed))]
        found = planned(plan_evidence(stages, services, {"latency_ms.max": "600"}))
        lengths = [
            [500 if dict(offers)[row[0][2:]] is slow else 100 for row in decision.ranking]
            for decision in found.decisions
        ]
        sound = [(i, j) for i in range(3) for j in range(3) if lengths[0][i] + lengths[1][j] <= 600]
        assert found.selection == (sound[0] if sound else None)


def test_a_stage_without_candidates_refuses_the_plan():
    refused = planned(plan_evidence([*CHAIN, stage("c", "a")], [service("a", "a")])).certificate
    assert (refused["refusal"], refused["selection"], refused["guarantees"]) == ({"stage": "b"}, [], {})
    assert [each["candidates"] for each in refused["stages"]] == [1, 0, 0]


@pytest.mark.parametrize(
    ("stages", "bounds"),
    [
        ([], {}),
        ([stage("a")] * 2, {}),
        ([stage(str(number)) for number in range(9)], {}),
        ([stage("a", "b"), stage("b")], {}),
        ([stage("a", "a")], {}),
        ([stage("a"), stage("b"), {**stage("c"), "after": ["b", "a"]}], {}),
        ([stage("a", currency="EUR")], {}),
        ([stage("a", tenant_id="rival")], {}),
        ([stage("a")], {"first_token_ms.p95": "1"}),
        ([stage("a")], {"availability.max": "1"}),
        ([stage("a")], {"latency_ms.min": "1"}),
    ],
)
def test_what_is_no_plan_is_refused(stages, bounds):
    with pytest.raises(ValueError, match=r"."):
        planned(plan_evidence(stages, [service("a", "a")], bounds))


def test_policies_hold_in_every_stage():
    given = plan_evidence(CHAIN, [service("a", "a"), service("b", "b")])
    forbidden = planned({**given, "policies": [policy(then='service.id == "b"')]})
    assert forbidden.certificate["refusal"] == {"stage": "b"}
