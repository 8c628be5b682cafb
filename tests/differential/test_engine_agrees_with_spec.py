"""The engine against the specification: certificate, whole ranking and every exclusion record."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from caio.routing.model import InconsistentInputs
from tests.support.hard_worlds import hard_world, hard_worlds
from tests.support.routing_cases import Document, contract, evidence, policy
from tests.support.routing_engine import decided
from tests.support.routing_spec import specified

WORLDS = 100_000
SHARDS = 50


def differences(evidence: Document, attached: int | None = None) -> dict[str, tuple[object, object]]:
    """Where the engine and the specification do not say the same, as (engine's, specification's)."""
    ours, theirs = decided(evidence, attached), specified(evidence)
    ranking = [[each.offer.service_id, each.offer.version, each.score, each.worst_cost] for each in ours.ranked]
    pairs = {name: (ours.certificate.get(name), value) for name, value in theirs.certificate.items()}
    pairs["certificate's fields"] = (sorted(ours.certificate), sorted(theirs.certificate))
    pairs["hash"] = (ours.decision_hash, theirs.hash)
    pairs["ranking"] = (ranking, theirs.ranking)
    pairs["exclusions"] = ([each.document() for each in ours.exclusions], theirs.exclusions)
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


# A world is made from a seed: smaller ones are found by fewer services, and hunting further takes minutes.
@settings(max_examples=150, phases=[Phase.explicit, Phase.reuse, Phase.generate], report_multiple_bugs=False)
@given(hard_worlds(), st.integers(0, 5))
def test_engine_agrees_with_spec(evidence, attached):
    """Whether policies are attached to the tenant or named by the request is no difference."""
    assert differences(evidence, min(attached, len(evidence["policies"]))) == {}


@pytest.mark.long
@pytest.mark.parametrize("shard", range(SHARDS))
def test_engine_agrees_with_spec_in_a_hundred_thousand_worlds(shard):
    for seed in range(shard, WORLDS, SHARDS):
        assert differences(hard_world(seed)) == {}, f"hard_world({seed})"


def test_engine_agrees_with_spec_about_a_crowd():
    for seed, size in enumerate((60, 60, 300)):
        assert differences(hard_world(seed, services=size)) == {}


def test_engine_agrees_with_spec_about_contradictory_inputs():
    """Two things of one name are refused by both; the same thing twice counts once for both."""
    given, twin = evidence(contract(), policies=[policy()]), contract(name="Another")
    for services in ([twin], [contract()]):
        listed = [
            *given["services"],
            *({"tenant": owner, "contract": each} for owner in ("acme", "x") for each in services),
        ]
        for decide, error in ((decided, InconsistentInputs), (specified, ValueError)):
            with pytest.raises(error, match=r"alpha@1\.0\.0"):
                decide({**given, "services": listed})
    for decide, error in ((decided, InconsistentInputs), (specified, ValueError)):
        with pytest.raises(error, match="rule@1"):
            decide({**given, "policies": [policy(), policy(message="two")]})
    assert differences({**given, "services": given["services"] * 3, "policies": given["policies"] * 2}) == {}


def test_hard_worlds_are_worth_deciding():
    """Most clauses exclude somebody, many worlds have several to rank, and scores do tie."""
    decisions = [specified(hard_world(seed)) for seed in range(600)]
    ranked = [[row[2] for row in decision.ranking] for decision in decisions]
    assert len({record[2] for decision in decisions for record in decision.exclusions}) >= 20
    assert sum(len(scores) > 1 for scores in ranked) > 100
    assert sum(len(set(scores)) < len(scores) for scores in ranked) > 50
    assert sum(len(set(scores)) > 1 for scores in ranked) > 50
