"""Plans against slow truths: the specification, trying every selection, trying every statistic."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.foundation.errors import TooLarge
from caio.foundation.quantity import NANO, decimal_text
from caio.routing.engine import compile_snapshot
from caio.routing.model import History, Principal
from caio.routing.plans import PlanDecision, PlanRequest, plan
from caio.routing.plans.composition import RISKS, Composition, is_met
from caio.routing.plans.milp import guided
from caio.routing.plans.problem import Candidate, Problem, Selection
from caio.routing.plans.relaxation import Prices, guide, sums
from caio.routing.plans.search import Guide, TooManySelections, best_selection
from tests.support.hard_plans import hard_plan
from tests.support.routing_engine import offers, rules
from tests.support.routing_spec import planned

seeds = st.integers(0, 2**32)
SHAPES = {
    "chain": ((), (0,), (1,)),
    "fork and join": ((), (0,), (0,), (1, 2)),
    "independent": ((), (), ()),
    "one": ((),),
    "diamond with a short cut": ((), (0,), (0, 1), (0, 2)),
}
BOUNDS = (
    *("latency_ms.p50", "latency_ms.p95", "latency_ms.p99", "latency_ms.max", "cost.max", "throughput.min"),
    *("availability.min", "accuracy.min", "error_rate.max", "determinism.min"),
)


def offered(rng: Random) -> dict[str, int]:
    """What one service offers: few values, so that many are equal; some undeclared."""
    times = sorted(rng.choice((0, 1, 2, 5, 9)) for _ in RISKS)
    found = {f"latency_ms.{name}": time for name, time in zip(RISKS, times, strict=True) if rng.random() < 0.8}
    found["cost.max"] = rng.randint(0, 3)
    for name, values in {
        "availability.min": (0, NANO - 10, NANO - 1, NANO),
        "accuracy.min": (NANO // 2, NANO - 1, NANO),
        "error_rate.max": (0, 1, NANO // 2),
        "throughput.min": (1, 2),
        "determinism.min": (NANO,),
    }.items():
        if rng.random() < 0.9:
            found[name] = rng.choice(values)
    return found


def small_problem(seed: int) -> Problem:
    """A few candidates in each stage; limits lie on, or a unit beside, what some selection offers."""
    rng = Random(seed)
    composition = Composition(SHAPES[rng.choice(sorted(SHAPES))])
    stages = []
    for _ in composition.predecessors:
        scores = sorted((rng.choice((0, 1, 2, 3, NANO - 1, NANO)) for _ in range(rng.randint(1, 5))), reverse=True)
        stages.append(tuple(Candidate(rank, score, offered(rng)) for rank, score in enumerate(scores)))
    some = [rng.choice(stage).offers for stage in stages]
    limits = []
    for bound in sorted(rng.sample(BOUNDS, rng.choice((0, 1, 2, 3, 4)))):
        found = composition.compose(bound, some)
        limits.append((bound, 1 if found is None else found + rng.choice((-1, 0, 0, 1))))
    return Problem(composition, tuple(stages), tuple(limits))


def by_trying_everything(problem: Problem) -> Selection | None:
    """The definition: all selections, the sound ones, the best."""
    best: tuple[int, Selection] | None = None
    for chosen in product(*problem.stages):
        sound = all(
            is_met(bound, limit, problem.composition.compose(bound, [each.offers for each in chosen]))
            for bound, limit in problem.limits
        )
        key = (-sum(each.score for each in chosen), tuple(each.rank for each in chosen))
        if sound and (best is None or key < best):
            best = key
    return None if best is None else best[1]


def guides(problem: Problem, rng: Random) -> list[Guide | None]:
    """None, HiGHS's, and one of arbitrary prices and any start."""
    if not all(problem.stages):
        return [None]
    found = sums(problem)

    def price() -> int:
        return rng.choice((0, 1, 7, NANO))

    percentiles = [(price(), [price() for _ in each.paths]) for each in found.percentiles]
    prices = Prices(rng.choice((0, 1, 3)), [price() for _ in found.rows], percentiles)
    start = tuple(rng.choice(stage).rank for stage in problem.stages)
    return [None, guided(problem), guide(problem, found, prices, start)]


@given(seeds)
def test_the_search_finds_what_trying_everything_finds(seed):
    problem = small_problem(seed)
    expected, reduced = by_trying_everything(problem), problem.reduced()
    assert best_selection(problem) == expected
    for each in guides(reduced, Random(seed)):
        assert best_selection(reduced, each) == expected


@given(seeds)
def test_reduction_keeps_the_best_selection(seed):
    problem = small_problem(seed)
    assert by_trying_everything(problem.reduced()) == by_trying_everything(problem)


@given(seeds)
def test_no_prices_exclude_a_sound_selection(seed):
    problem = small_problem(seed).reduced()
    for each in guides(problem, Random(seed))[1:]:
        for places in product(*(range(len(stage)) for stage in problem.stages)):
            chosen = [stage[place] for stage, place in zip(problem.stages, places, strict=True)]
            if each is not None and problem.is_sound([one.offers for one in chosen]):
                worth = sum(row[place] for row, place in zip(each.worth, places, strict=True))
                assert each.scale * sum(one.score for one in chosen) <= each.constant + worth


def test_a_guide_that_is_exact_keeps_the_order_of_equals():
    stages = tuple(tuple(Candidate(rank, 5, {"cost.max": 2 - rank}) for rank in range(3)) for _ in range(2))
    problem = Problem(Composition(((), ())), stages, (("cost.max", 2),))
    exact = Guide(1, 0, [[5, 5, 5], [5, 5, 5]], start=(2, 2))
    assert best_selection(problem, exact) == best_selection(problem) == (0, 2)


@given(st.lists(st.integers(NANO // 2, NANO), min_size=1, max_size=8))
def test_logarithms_are_rounded_to_the_safe_side(availabilities):
    """A selection exactly at its limit, whatever the price of availability."""
    composition = Composition([()] * len(availabilities))
    stages = tuple((Candidate(0, 0, {"availability.min": each}),) for each in availabilities)
    limit = composition.compose("availability.min", [stage[0].offers for stage in stages])
    assert limit is not None
    problem = Problem(composition, stages, (("availability.min", limit),))
    (row,) = sums(problem).rows
    assert 0 <= row.most - sum(uses[0] for uses in row.uses) < 10**5


@pytest.mark.parametrize("shape", ["chain", "fork and join"])
def test_the_guide_changes_no_larger_plan(shape):
    """Too many selections to try them all: with HiGHS and without, by another way, the same one."""
    rng = Random(shape)
    composition = Composition(SHAPES[shape])
    stages = []
    for _ in composition.predecessors:
        scores = sorted((rng.randrange(NANO) for _ in range(30)), reverse=True)
        made = []
        for rank, score in enumerate(scores):
            time, price = rng.randint(100, 1000), rng.randint(1, 1000)
            times = {f"latency_ms.{name}": time * factor for name, factor in zip(RISKS, (1, 2, 3, 6), strict=True)}
            made.append(Candidate(rank, score, {**times, "cost.max": price}))
        stages.append(tuple(made))
    limits = (("cost.max", 250 * len(stages)), ("latency_ms.p95", 3000))
    problem = Problem(composition, tuple(stages), limits).reduced()
    alone = best_selection(problem)
    assert alone is not None
    assert any(alone)
    assert best_selection(problem, guided(problem)) == alone


def test_small_problems_are_worth_solving():
    """Most are possible, many not by the first of each stage; some are impossible."""
    found = [by_trying_everything(small_problem(seed)) for seed in range(300)]
    assert sum(each is not None and any(each) for each in found) > 60
    assert sum(each is None for each in found) > 60


def test_a_search_that_is_too_long_says_so():
    stages = tuple(tuple(Candidate(rank, 9 - rank, {"cost.max": 9 - rank}) for rank in range(5)) for _ in range(4))
    problem = Problem(Composition(((), (0,), (1,), (2,))), stages, (("cost.max", 28),))
    assert best_selection(problem) is not None
    with pytest.raises(TooManySelections):
        best_selection(problem, most_steps=6)


@given(seeds)
def test_percentiles_are_the_best_choice_within_the_risk(seed):
    rng = Random(seed)
    composition = Composition(SHAPES[rng.choice(sorted(SHAPES))])
    stages = [offered(rng) for _ in composition.predecessors]
    for name, risk in RISKS.items():
        choices = [[(own, each.get(f"latency_ms.{other}")) for other, own in RISKS.items()] for each in stages]
        found = [
            finished(composition.predecessors, [time for _, time in choice if time is not None])
            for choice in product(*choices)
            if sum(own for own, _ in choice) <= risk and all(time is not None for _, time in choice)
        ]
        bound, shortest = f"latency_ms.{name}", min(found, default=None)
        assert composition.compose(bound, stages) == shortest
        for limit in range(12):
            assert composition.holds(bound, limit, stages) == is_met(bound, limit, shortest)


def finished(predecessors: tuple[tuple[int, ...], ...], times: list[int]) -> int:
    """When the last stage ends, each beginning as soon as it may."""
    ends: list[int] = []
    for before, time in zip(predecessors, times, strict=True):
        ends.append(max((ends[place] for place in before), default=0) + time)
    return max(ends)


@given(seeds)
def test_a_better_offer_never_composes_worse(seed):
    rng = Random(seed)
    composition = Composition(SHAPES[rng.choice(sorted(SHAPES))])
    stages = [offered(rng) for _ in composition.predecessors]
    place, changed = rng.randrange(len(stages)), rng.choice(BOUNDS)
    lower = changed.endswith(".min")
    value = stages[place].get(changed, 0 if lower else 10) + (1 if lower else -1)
    better = [*stages[:place], {**stages[place], changed: max(0, value)}, *stages[place + 1 :]]
    for bound in BOUNDS:
        before = composition.compose(bound, stages)
        if before is not None:
            assert is_met(bound, before, composition.compose(bound, better)), bound


def test_one_stage_keeps_its_own_promise():
    alone = {"latency_ms.p95": 5, "cost.max": 3, "availability.min": 7, "accuracy.min": 8, "error_rate.max": 9}
    for bound, value in alone.items():
        assert Composition(((),)).compose(bound, [alone]) == value


def engineered(evidence: dict, guided_by=None) -> PlanDecision:
    request = PlanRequest.from_document(evidence["plan"])
    snapshot = compile_snapshot(request.tenant_id, offers(evidence["services"]), rules(evidence["policies"]))
    principal, history = Principal.from_document(evidence["principal"]), History.from_document(evidence["history"])
    return plan(snapshot, request, principal, history, solver=guided_by)


@given(seeds)
def test_the_plan_is_the_one_the_specification_finds(seed):
    evidence = hard_plan(seed)
    ours, theirs = engineered(evidence), planned(evidence)
    assert dict(ours.certificate) == theirs.certificate
    assert ours.plan_hash == theirs.hash


@given(seeds)
def test_the_solver_changes_no_plan(seed):
    evidence = hard_plan(seed)
    assert engineered(evidence, guided).certificate == engineered(evidence).certificate


@given(seeds)
def test_a_refusal_says_what_is_missing(seed):
    found = engineered(hard_plan(seed))
    assert bool(found.refusal()) == found.is_refused
    if found.refused_stage is not None:
        place = [stage.name for stage in found.request.stages].index(found.refused_stage)
        assert not found.decisions[place].ranked
        assert found.shortfalls == ()
        return
    stated = {bound for bound, _ in found.request.bounds} | (
        {"cost.max"} if found.request.max_cost is not None else set()
    )
    if found.is_refused:
        assert {each.bound for each in found.shortfalls} == stated
    for each in found.shortfalls:
        # Asked for exactly the best, and for nothing else, there is a plan; asked for more, none.
        for change, is_possible in ((0, True), (1 if each.bound.endswith(".min") else -1, False)):
            if each.best is not None and each.best + change >= 0:
                alone = {**found.request.document(), "max_cost": None}
                alone["bounds"] = {each.bound: decimal_text(each.best + change)}
                again = engineered({**hard_plan(seed), "plan": alone})
                assert again.is_refused != is_possible


def test_a_plan_too_hard_is_refused_with_advice():
    evidence = hard_plan(3)
    request = PlanRequest.from_document(evidence["plan"])
    snapshot = compile_snapshot(request.tenant_id, offers(evidence["services"]), rules(evidence["policies"]))
    principal = Principal.from_document(evidence["principal"])
    with pytest.raises(TooLarge, match=r"caio-platform\[plans\]") as caught:
        plan(snapshot, request, principal, History(), most_steps=0)
    assert caught.value.code == "plan_too_hard"
