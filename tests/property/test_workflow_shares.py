"""Shares of a plan: whatever services the steps go to within them, the whole keeps what was planned."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from caio.gateway.workflows.shares import shares_of, within
from caio.routing.engine import compile_snapshot, decide
from caio.routing.model import History, Principal
from caio.routing.plans import PlanDecision, PlanRequest, plan
from caio.routing.plans.composition import Composition, is_met
from tests.support.hard_plans import hard_plan
from tests.support.routing_cases import Document
from tests.support.routing_engine import offers, rules

seeds = st.integers(0, 2**32)


def made(evidence: Document) -> PlanDecision:
    snapshot = compile_snapshot("acme", offers(evidence["services"]), rules(evidence["policies"]))
    request = PlanRequest.from_document(evidence["plan"])
    plain = (replace(stage, request=replace(stage.request, stream=False)) for stage in request.stages)
    request = replace(request, stages=tuple(plain))  # a step is asked for its answer as a whole
    return plan(snapshot, request, Principal.from_document(evidence["principal"]), History())


@given(seeds)
def test_services_within_their_shares_keep_the_whole(seed: int) -> None:
    evidence = hard_plan(seed)
    decision = made(evidence)
    if decision.is_refused:
        return
    snapshot = compile_snapshot("acme", offers(evidence["services"]), rules(evidence["policies"]))
    who, rng = Principal.from_document(evidence["principal"]), Random(seed)
    ranked = []
    for stage, share, choice in zip(decision.request.stages, shares_of(decision), decision.choices, strict=True):
        found = decide(snapshot, within(stage.request, share), who, History())
        assert choice.chosen.offer.key in {each.offer.key for each in found.ranked}  # the planned one at least
        ranked.append(list(found.ranked))
    composition = Composition(decision.request.predecessors)
    for _ in range(5):
        chosen = [rng.choice(each) for each in ranked]
        together = [{**each.offer.bounds, "cost.max": each.worst_cost} for each in chosen]
        for bound, limit in decision.request.bounds:
            assert is_met(bound, limit, composition.compose(bound, together))


@given(seeds)
def test_shares_of_money_never_exceed_the_bound(seed: int) -> None:
    decision = made(hard_plan(seed))
    if decision.is_refused:
        return
    shares = shares_of(decision)
    assert all(share.max_cost >= each.chosen.worst_cost for share, each in zip(shares, decision.choices, strict=True))
    limits = [value for bound, value in decision.request.bounds if bound == "cost.max"]
    if decision.request.max_cost is not None:
        limits.append(decision.request.max_cost)
    if limits:
        assert sum(each.max_cost for each in shares) <= min(limits)


def test_plans_are_worth_sharing() -> None:
    """Many are made, many of these with bounds, and steps may often go elsewhere than planned."""
    decisions = [each for each in map(made, map(hard_plan, range(200))) if not each.is_refused]
    assert len(decisions) > 60
    assert sum(bool(each.request.bounds) for each in decisions) > 30
