"""The engine against the specification: certificate, whole ranking and every exclusion record."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from caio.routing import bits
from caio.routing.engine import Snapshot, compile_snapshot, decide
from caio.routing.model import History, InconsistentInputs, Principal, Request
from tests.support.hard_worlds import hard_world, hard_worlds
from tests.support.routing_cases import Document, contract, evidence, policy, request
from tests.support.routing_engine import decided, offers, rules
from tests.support.routing_spec import differences, engineered, in_our_words, specified

WORLDS = 100_000
SHARDS = 50


@contextmanager
def few_up_to(services: int) -> Iterator[None]:
    """The engine takes up to so many services for few, and asks their columns beyond that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bits, "FEW", services)
        yield


#: As few services, and as many.
WAYS = (bits.FEW, 0)


def disagreement(
    evidence: Document, attached: int | None = None, ways: Sequence[int] = WAYS
) -> dict[str, tuple[object, object]]:
    """Where the engine and the specification do not say the same, as (engine's, specification's), in one of ``ways``
    of asking."""
    right = specified(evidence)
    for few in ways:
        with few_up_to(few):
            if found := differences(engineered(evidence, attached), right):
                return found
    return {}


# A world is made from a seed: smaller ones are found by fewer services, and hunting further takes minutes.
@settings(max_examples=150, phases=[Phase.explicit, Phase.reuse, Phase.generate], report_multiple_bugs=False)
@given(hard_worlds(), st.integers(0, 5))
def test_engine_agrees_with_spec(evidence, attached):
    """Whether policies are attached to the tenant or named by the request is no difference."""
    assert disagreement(evidence, min(attached, len(evidence["policies"]))) == {}


@pytest.mark.long
@pytest.mark.parametrize("shard", range(SHARDS))
def test_engine_agrees_with_spec_in_a_hundred_thousand_worlds(shard):
    for seed in range(shard, WORLDS, SHARDS):
        evidence = hard_world(seed)
        attached = seed // SHARDS % (len(evidence["policies"]) + 1)
        ways = WAYS[seed // SHARDS % 2 :][:1]
        assert disagreement(evidence, attached, ways) == {}, f"hard_world({seed}), {attached} attached"


def test_engine_agrees_with_spec_about_a_crowd():
    for seed, size in enumerate((60, bits.FEW, 300)):
        assert disagreement(hard_world(seed, services=size)) == {}


def variants(rng: Random, evidence: Document, count: int) -> Iterator[Document]:
    """The same services and policies under requests that differ in little: one or two fields at a time."""
    for _ in range(count):
        other = hard_world(rng.getrandbits(63), services=0)
        request = {**evidence["request"]}
        request |= {name: other["request"][name] for name in rng.sample(sorted(request), rng.choice((1, 1, 2)))}
        changed = {**evidence, "request": {**request, "tenant_id": "acme"}}
        for name in ("principal", "history"):
            if rng.random() < 0.2:
                changed[name] = other[name]
        yield rng.choice((changed, changed, evidence))


def changed_snapshot(rng: Random, evidence: Document) -> Snapshot:
    """The evidence's services and policies, not compiled at once: some came later, and others have gone."""
    every = {each.key: each for each in offers(evidence["services"])}
    keys = rng.sample(sorted(every), len(every))
    early = keys[: rng.randint(0, len(keys))]
    gone = offers([{"tenant": "acme", "contract": contract(name)} for name in ("0", "beta-2", "zeta")])
    snapshot = compile_snapshot("acme", [*(every[key] for key in early), *gone[:2]], rules([policy("gone")]))
    snapshot = snapshot.with_rules(rules(evidence["policies"])).with_service(gone[2])
    for offer in gone:
        snapshot = snapshot.without(*offer.key)
    for key in keys:
        snapshot = snapshot.with_service(every[key])
    return snapshot


def disagreement_of_one_snapshot(seed: int) -> dict[str, tuple[object, object]]:
    """Where a snapshot that was changed, and that answers many similar requests, first disagrees."""
    rng, evidence = Random(f"{seed} snapshot"), hard_world(seed)
    snapshot = changed_snapshot(rng, evidence)
    with few_up_to(rng.choice(WAYS)):
        return first_disagreement(rng, evidence, snapshot)


def first_disagreement(rng: Random, evidence: Document, snapshot: Snapshot) -> dict[str, tuple[object, object]]:
    for asked in (evidence, *variants(rng, evidence, 8), evidence):
        caller, history = Principal.from_document(asked["principal"]), History.from_document(asked["history"])
        decision = decide(snapshot, Request.from_document(asked["request"]), caller, history)
        if found := differences(in_our_words(decision), specified(asked)):
            return found | {"asked": (asked["request"], asked["principal"])}
    return {}


def test_a_used_and_changed_snapshot_agrees_with_spec():
    for seed in range(60):
        assert disagreement_of_one_snapshot(seed) == {}, seed


@pytest.mark.long
@pytest.mark.parametrize("shard", range(10))
def test_a_used_and_changed_snapshot_agrees_with_spec_in_two_thousand_worlds(shard):
    for seed in range(shard, 2_000, 10):
        assert disagreement_of_one_snapshot(seed) == {}, seed


@pytest.mark.parametrize(
    ("decider", "refusal"), [(decided, InconsistentInputs), (specified, ValueError)], ids=["engine", "spec"]
)
def test_two_things_of_one_name_are_refused(decider, refusal):
    given = evidence(contract(), policies=[policy()])
    twins = {
        "content": {"tenant": "acme", "contract": contract(name="Twin")},
        "owner": {"tenant": "x", "contract": contract()},
    }
    for twin in twins.values():
        with pytest.raises(refusal, match=r"alpha@1\.0\.0"):
            decider({**given, "services": [*given["services"], twin]})
    with pytest.raises(refusal, match="rule@1"):
        decider({**given, "policies": [policy(), policy(message="two")]})


def test_the_last_question_that_has_a_number_is_asked():
    bounds = {f"p{number}.max": "1" for number in range(65_535 - 20)}
    most = evidence(contract(), request=request(bounds=bounds))
    assert engineered(most).exclusions == specified(most).exclusions != []
    for decider in (decided, specified):
        with pytest.raises(ValueError, match="question"):
            decider({**most, "request": request(bounds=bounds | {"one.max": "1"})})


def test_the_same_thing_twice_counts_once():
    given = evidence(contract(), contract("beta"), policies=[policy(then='service.id == "beta"')])
    twice = {**given, "services": given["services"] * 3, "policies": given["policies"] * 2}
    assert disagreement(twice) == {}
    assert specified(twice) == specified(given)


def test_hard_worlds_are_worth_deciding():
    """Most clauses exclude somebody, many worlds have several to rank, and scores do tie."""
    decisions = [specified(hard_world(seed)) for seed in range(600)]
    ranked = [[row[2] for row in decision.ranking] for decision in decisions]
    assert len({record[2] for decision in decisions for record in decision.exclusions}) >= 20
    assert sum(len(scores) > 1 for scores in ranked) > 100
    assert sum(len(set(scores)) < len(scores) for scores in ranked) > 50
    assert sum(len(set(scores)) > 1 for scores in ranked) > 50
