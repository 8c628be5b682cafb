"""The engine against the specification: certificate, whole ranking and every exclusion record."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from caio.routing.model import InconsistentInputs
from tests.support.hard_worlds import hard_world, hard_worlds
from tests.support.routing_cases import contract, evidence, policy
from tests.support.routing_engine import decided
from tests.support.routing_spec import differences, specified

WORLDS = 100_000
SHARDS = 50


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


@pytest.mark.parametrize(
    ("decide", "refusal"), [(decided, InconsistentInputs), (specified, ValueError)], ids=["engine", "spec"]
)
def test_two_things_of_one_name_are_refused(decide, refusal):
    given = evidence(contract(), policies=[policy()])
    twins = {
        "content": {"tenant": "acme", "contract": contract(name="Twin")},
        "owner": {"tenant": "x", "contract": contract()},
    }
    for twin in twins.values():
        with pytest.raises(refusal, match=r"alpha@1\.0\.0"):
            decide({**given, "services": [*given["services"], twin]})
    with pytest.raises(refusal, match="rule@1"):
        decide({**given, "policies": [policy(), policy(message="two")]})


def test_the_same_thing_twice_counts_once():
    given = evidence(contract(), contract("beta"), policies=[policy(then='service.id == "beta"')])
    twice = {**given, "services": given["services"] * 3, "policies": given["policies"] * 2}
    assert differences(twice) == {}
    assert specified(twice) == specified(given)


def test_hard_worlds_are_worth_deciding():
    """Most clauses exclude somebody, many worlds have several to rank, and scores do tie."""
    decisions = [specified(hard_world(seed)) for seed in range(600)]
    ranked = [[row[2] for row in decision.ranking] for decision in decisions]
    assert len({record[2] for decision in decisions for record in decision.exclusions}) >= 20
    assert sum(len(scores) > 1 for scores in ranked) > 100
    assert sum(len(set(scores)) < len(scores) for scores in ranked) > 50
    assert sum(len(set(scores)) > 1 for scores in ranked) > 50
