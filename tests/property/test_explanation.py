"""What is explained is what was decided: over the worlds that every implementation of the rules runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from caio.routing.explaining.remedies import MOST_TRIALS
from caio.routing.explanation import SHOWN_GROUPS, SHOWN_LOSERS, SHOWN_POLICIES, SHOWN_RANKED, Remedy, explain
from caio.routing.model import SCALE
from tests.support.routing_cases import Document
from tests.support.routing_engine import decided
from tests.support.routing_strategies import world, worlds


@given(worlds())
def test_the_terms_add_up_to_the_score(evidence: Document) -> None:
    decision, found = decided(evidence), explain(evidence)
    weight = sum(each.weight for each in found.terms)
    for place, side in enumerate(("winner", "runner_up")[: len(decision.ranked)]):
        total = sum(each.weight * getattr(each, side) for each in found.terms)
        assert decision.ranked[place].score == (total // weight if weight else SCALE)
    for each in found.terms:
        assert each.contribution == each.weight * (each.winner - each.runner_up)
        assert each.weight == decision.certificate["weights"][each.term] > 0


@given(worlds())
def test_every_service_is_accounted_for(evidence: Document) -> None:
    decision = decided(evidence)
    found = explain(evidence, decision.certificate)
    assert found.agrees
    assert found.feasible == len(decision.ranked)
    assert found.considered == found.feasible + len(decision.exclusions)
    assert [(each.service, each.score) for each in found.ranked] == [
        (f"{each.offer.service_id}@{each.offer.version}", each.score) for each in decision.ranked[:SHOWN_RANKED]
    ]
    if not found.further_groups:
        assert sum(group.count for group in found.groups) == len(decision.exclusions)
    for group in found.groups:
        alike = [each for each in decision.exclusions if (each.clause, each.subject, each.required) == _key(group)]
        assert group.count == len(alike)
        assert len({each.service for each in group.nearest}) == min(SHOWN_LOSERS, len(alike))
        assert {each.service for each in group.nearest} <= {f"{each.service_id}@{each.version}" for each in alike}


@given(st.integers(0, 2**63))
def test_every_remedy_is_real(seed: int) -> None:
    for number in range(8):  # most worlds have a winner
        evidence = world(seed + number)
        found = explain(evidence)
        assert found.outcome == "refused" or not found.remedies
        assert found.tried <= MOST_TRIALS
        for remedy in found.remedies:
            changed = decided(_with(evidence, remedy))
            assert remedy.qualifying == len(changed.ranked) > 0
            assert changed.winner is not None
            assert remedy.first == f"{changed.winner.offer.service_id}@{changed.winner.offer.version}"


def test_an_explanation_is_a_page() -> None:
    for seed in range(3):
        found = explain(world(seed, services=300, policies=5))
        assert len(found.groups) <= SHOWN_GROUPS
        assert all(len(group.nearest) <= SHOWN_LOSERS for group in found.groups)
        assert len(found.ranked) <= SHOWN_RANKED
        assert len(found.policies) <= SHOWN_POLICIES
        assert len(str(asdict(found))) < 20_000


def _key(group: Any) -> tuple[str, str, str]:
    return group.clause, group.subject, group.required


def _with(evidence: Document, remedy: Remedy) -> Document:
    """The evidence with that one thing changed; exactly one part of it is."""
    assert [bool(remedy.request), bool(remedy.principal), remedy.without is not None].count(True) == 1
    return {
        **evidence,
        "request": {**evidence["request"], **remedy.request},
        "principal": {**evidence["principal"], **remedy.principal},
        "policies": [each for each in evidence["policies"] if f"{each['id']}@{each['version']}" != remedy.without],
    }
