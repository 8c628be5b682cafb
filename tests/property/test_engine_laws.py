"""The engine's laws and the invariants of routing, over generated worlds."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from caio.foundation.hashing import HISTORY, PRINCIPAL, REQUEST, digest_of
from caio.foundation.money import Usage
from caio.routing.certificate import decision_hash
from caio.routing.checker import check, recompute
from caio.routing.engine import compile_snapshot, decide
from caio.routing.model import (
    SCALE,
    STRENGTH,
    TRUST_LEVELS,
    Decision,
    History,
    Offer,
    Principal,
    Privacy,
    Request,
)
from tests.support.hard_worlds import hard_worlds
from tests.support.routing_cases import Document, changed, contract, evidence, policy, request
from tests.support.routing_engine import decided, offers, rules
from tests.support.routing_strategies import world, worlds

# A world is made from a seed: smaller ones are found by fewer services, and hunting further takes minutes.
quick = settings(max_examples=60, phases=[Phase.explicit, Phase.reuse, Phase.generate], report_multiple_bugs=False)
seeds = st.integers(0, 2**63)


def keys(decision: Decision) -> set[tuple[str, str]]:
    return {each.offer.key for each in decision.ranked}


def differences(evidence: Document) -> dict[str, tuple[object, object]]:
    """Where the engine's certificate and the checker's are not the same."""
    ours, theirs = dict(decided(evidence).certificate), recompute(evidence)
    return {
        name: (ours.get(name), theirs.get(name))
        for name in {*ours, *theirs}
        if json.dumps(ours.get(name), sort_keys=True) != json.dumps(theirs.get(name), sort_keys=True)
    }


# --- the engine and its checker -----------------------------------------------------------------


@settings(quick, max_examples=100)
@given(worlds())
def test_engine_and_checker_agree(evidence):
    assert differences(evidence) == {}


@quick
@given(hard_worlds())
def test_engine_and_checker_agree_on_hard_worlds(evidence):
    """A sample: what they both mean is held against the specification in tests/differential."""
    assert differences(evidence) == {}


@quick
@given(worlds())
def test_every_decision_has_a_valid_certificate(evidence):
    decision = decided(evidence)
    assert decision.decision_hash == decision_hash(decision.certificate)
    claims = check(decision.certificate, evidence, decision.decision_hash)
    assert [claim for claim in claims if not claim.proved] == []


# --- determinism --------------------------------------------------------------------------------


@quick
@given(worlds(), st.randoms(use_true_random=False))
def test_same_inputs_same_decision(evidence, random):
    once, shuffled = decided(evidence), {**evidence}
    for part in ("services", "policies"):
        entries = evidence[part] + random.sample(evidence[part], len(evidence[part]) // 2)
        shuffled[part] = random.sample(entries, len(entries))
    for part in ("request", "principal", "history"):
        entries = list(evidence[part].items())
        shuffled[part] = dict(random.sample(entries, len(entries)))
    assert decided(shuffled) == once
    assert decided(shuffled, attached=random.randint(0, len(shuffled["policies"]))).decision_hash == once.decision_hash


def test_same_decision_in_every_process(tmp_path):
    worlds_file = tmp_path / "worlds.json"
    worlds_file.write_text(json.dumps([world(seed) for seed in range(40)]))
    program = (
        "import json, sys\n"
        "from tests.support.routing_engine import decided\n"
        "print([decided(each).decision_hash for each in json.load(open(sys.argv[1]))])\n"
    )
    root = Path(__file__).parents[2]
    said = {
        subprocess.run(
            [sys.executable, "-c", program, worlds_file],
            cwd=root,
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1")
    }
    assert said == {f"{[decided(world(seed)).decision_hash for seed in range(40)]}\n"}


def test_equal_scores_are_ordered_by_the_seed_alone():
    services = [contract(f"s{number}") for number in range(6)]
    orders = set()
    for seed in map(str, range(20)):
        forward = decided(evidence(*services, request=request(seed=seed)))
        backward = decided(evidence(*reversed(services), request=request(seed=seed)))
        assert forward == backward
        orders.add(tuple(each.offer.service_id for each in forward.ranked))
    assert len(orders) > 15
    assert len({order[0] for order in orders}) > 3


def test_without_a_seed_the_request_is_the_seed():
    services = [contract(f"s{number}") for number in range(6)]
    decisions = [decided(evidence(*services, request=request(seed=None, input_bytes=size))) for size in range(20)]
    for decision in decisions:
        assert decision.certificate["seed"] == decision.certificate["request"]
    assert len({tuple(each.offer.service_id for each in decision.ranked) for decision in decisions}) > 15


@quick
@given(worlds(), seeds)
def test_every_input_is_in_the_decisions_hash(evidence, seed):
    """No input can change without the decision's hash: the hash names its inputs, whoever won."""
    rng, once = Random(seed), decided(evidence).decision_hash
    others = [
        {**evidence, "request": changed(evidence["request"], {"labels": {"other": "1"}})},
        {**evidence, "principal": changed(evidence["principal"], {"id": "bob"})},
        {**evidence, "history": {**evidence["history"], "newcomer": [1, 1, 1]}},
        {**evidence, "policies": [*evidence["policies"], policy("zz", when="false")]},
        {**evidence, "services": [*evidence["services"], {"tenant": "acme", "contract": contract("zz")}]},
    ]
    if evidence["services"]:
        place = rng.randrange(len(evidence["services"]))
        removed = evidence["services"][place]
        others.append({**evidence, "services": [each for each in evidence["services"] if each != removed]})
    hashes = [decided(each).decision_hash for each in others]
    assert len({once, *hashes}) == len(others) + 1


@quick
@given(worlds())
def test_traceability(evidence):
    """Every service is accounted for exactly once, and the inputs are named by their hashes."""
    decision = decided(evidence)
    certificate = decision.certificate
    given_keys = {(each["contract"]["service_id"], each["contract"]["version"]) for each in evidence["services"]}
    excluded = [(each.service_id, each.version) for each in decision.exclusions]
    assert sorted([*excluded, *(each.offer.key for each in decision.ranked)]) == sorted(given_keys)
    assert certificate["service_count"] == len(given_keys)
    assert sum(group["count"] for group in certificate["excluded"]) == len(excluded)
    for name, purpose in (("request", REQUEST), ("principal", PRINCIPAL), ("history", HISTORY)):
        assert certificate[name] == digest_of(purpose, evidence[name])


# --- correctness, straight from the meaning of the words --------------------------------------------


def passes(offer: Offer, asked: Request, caller: Principal) -> bool:
    """Whether an offer may be chosen, as a person would check it, without clauses or their order."""
    wanted = [offer.capabilities.get(name) for name in asked.capabilities]
    pinned = {offer.service_id, f"{offer.service_id}@{offer.version}"}
    if any(each is None for each in wanted) or pinned & asked.excluded_services:
        return False
    needed = asked.features | ({"streaming"} if asked.stream else frozenset())
    fits = all(
        needed <= each.features
        and (asked.context_length is None or (each.context_length or -1) >= asked.context_length)
        and (asked.max_tokens is None or _output(each) >= asked.max_tokens)
        and (each.max_input_bytes is None or asked.input_bytes <= each.max_input_bytes)
        for each in wanted
        if each is not None
    )
    return (
        fits
        and (not asked.services or bool(pinned & asked.services))
        and (not asked.protocols or offer.protocol in asked.protocols)
        and may_be_used(offer, asked, caller)
    )


def may_be_used(offer: Offer, asked: Request, caller: Principal) -> bool:
    """Whether this caller may use the service, and this data may go there."""
    return (
        (offer.tenant_id == asked.tenant_id or offer.access.shared)
        and offer.access.all_of <= caller.permissions
        and (not offer.access.any_of or bool(offer.access.any_of & caller.permissions))
        and TRUST_LEVELS.index(caller.trust_level) >= TRUST_LEVELS.index(offer.access.trust_level)
        and _private_enough(offer.privacy, asked, offer.needs_internet)
    )


def _output(capability) -> int:
    limit = capability.max_tokens if capability.max_tokens is not None else capability.context_length
    return -1 if limit is None else limit


def _private_enough(privacy: Privacy, asked: Request, internet: bool) -> bool:
    at_home = privacy.locality in {"on_device", "private"}
    secret = asked.sensitive or asked.classification in {"confidential", "restricted"}
    order = ["on_device", "private", "regions", "cloud"]
    within = privacy.locality == "on_device" or (privacy.locality == "regions" and privacy.regions <= asked.regions)
    retained = privacy.retention_days
    return (
        (asked.data_locality is None or order.index(privacy.locality) <= order.index(asked.data_locality))
        and (not asked.regions or within)
        and (asked.classification != "restricted" or at_home)
        and (not secret or at_home or (privacy.encrypted_in_transit and privacy.encrypted_at_rest))
        and (not privacy.trains_on_data or (asked.training and not secret))
        and (asked.max_retention_days is None or (retained is not None and retained <= asked.max_retention_days))
        and asked.compliance <= privacy.compliance
        and (asked.egress or (at_home and not internet))
    )


@quick
@given(worlds())
def test_winner_is_in_every_set(evidence):
    decision, asked = decided(evidence), Request.from_document(evidence["request"])
    caller = Principal.from_document(evidence["principal"])
    assert decision.winner is None or decision.winner == decision.ranked[0]
    for each in decision.ranked:
        assert passes(each.offer, asked, caller)
        assert 0 <= each.score <= SCALE
    assert [each.score for each in decision.ranked] == sorted((each.score for each in decision.ranked), reverse=True)


@quick
@given(worlds())
def test_security(evidence):
    """Nobody is ranked whom the caller may not use or the data may not reach; lifting every wish about
    capability, bounds and price adds nobody either who is not allowed."""
    wishes: Document = {
        "bounds": {},
        "max_cost": None,
        "features": [],
        "context_length": None,
        "max_tokens": None,
        "stream": False,
    }
    for request_document in (evidence["request"], {**evidence["request"], **wishes, "services": [], "protocols": []}):
        asked, caller = Request.from_document(request_document), Principal.from_document(evidence["principal"])
        for each in decided({**evidence, "request": request_document}).ranked:
            assert may_be_used(each.offer, asked, caller)


@quick
@given(worlds())
def test_guarantee_preservation(evidence):
    """What was asked for is promised: by the statistic asked for or a stronger one, and never looser."""
    decision, asked = decided(evidence), Request.from_document(evidence["request"])
    for each in decision.ranked:
        for stated, required in asked.bounds:
            name = stated.replace("latency_ms", "first_token_ms") if asked.stream else stated
            prefix, statistic = name.rsplit(".", 1)
            offered = each.offer.bounds
            if statistic == "min":
                assert offered[name] >= required
            else:
                stronger = STRENGTH[STRENGTH.index(statistic) :]
                assert min(offered[f"{prefix}.{s}"] for s in stronger if f"{prefix}.{s}" in offered) <= required


@quick
@given(worlds())
def test_bounds_hold(evidence):
    """No use within the request's and the service's limits can cost more than the worst case, and that
    is within the cap and in the tenant's currency."""
    decision, asked = decided(evidence), Request.from_document(evidence["request"])
    for each in decision.ranked:
        offer = each.offer
        limits = [_output(offer.capabilities[name]) for name in asked.capabilities]
        output = asked.max_tokens if asked.max_tokens is not None else max(0, *limits)
        longest = min(asked.deadline_ms, offer.timeout_ms)
        assert offer.prices.of(Usage(asked.input_bytes, output * asked.answers, longest)) <= each.worst_cost
        assert each.worst_cost <= (2**53 - 1 if asked.max_cost is None else asked.max_cost)
        assert each.worst_cost == 0 or offer.prices.currency == asked.currency


# --- permission ---------------------------------------------------------------------------------


def silent() -> Document:
    """A contract that says nothing beyond its form."""
    document = contract(capabilities=[{"type": "chat", "features": []}])
    privacy = {"data_locality": "cloud", "encryption": {"in_transit": False, "at_rest": False}, "compliance": []}
    return {**document, "guarantees": {}, "cost": {"currency": "USD"}, "privacy": privacy}


@pytest.mark.parametrize(
    "demand",
    [
        {"bounds": {"latency_ms.max": "1000000000"}},
        {"bounds": {"grounding.min": "-1000000000"}},
        {"bounds": {"determinism.min": "0"}},
        {"features": ["json"]},
        {"context_length": 0},
        {"max_tokens": 0},
        {"data_locality": "regions"},
        {"regions": ["eu", "uk", "us"]},
        {"compliance": ["gdpr"]},
        {"classification": "confidential"},
        {"classification": "restricted"},
        {"sensitive": True},
        {"egress": False},
        {"training": False},
        {"max_retention_days": 10**6},
        {"stream": True},
    ],
    ids=str,
)
def test_default_deny(demand):
    """What a contract does not say counts against it as soon as anybody asks."""
    assert decided(evidence(silent())).winner is not None
    assert decided(evidence(silent(), request=request(**demand))).winner is None
    assert decided(evidence(request=request(**demand))).winner is None


@quick
@given(worlds(), st.sampled_from([0, 1, 10**6]))
def test_forbid_beats_everything(evidence, priority):
    """A forbid excludes whom it names, at any priority and beside any other policy, and nobody else
    becomes feasible by it."""
    before = keys(decided(evidence))
    forbid = policy("zz", priority=priority, then='service.id == "alpha"')
    after = keys(decided({**evidence, "policies": [*evidence["policies"], forbid]}))
    assert after == {key for key in before if key[0] != "alpha"}


@quick
@given(worlds(), st.sampled_from(["forbid", "require", "prefer"]), st.booleans())
def test_an_error_denies(evidence, effect, in_when):
    """An erring forbid or require excludes everybody it errs for; an erring preference nobody."""
    error = "request.input_bytes / 0 == 1" if in_when else "service.cost.per_second / 0.0 < service.guarantees.no.min"
    erring = policy("zz", priority=0, effect=effect, **{"when" if in_when else "then": error})
    before, after = decided(evidence), decided({**evidence, "policies": [*evidence["policies"], erring]})
    assert keys(after) == (keys(before) if effect == "prefer" else set())


@quick
@given(worlds(), seeds)
def test_tightening_never_adds_a_candidate(evidence, seed):
    # Unconditional policies: a tighter request may rightly escape a condition.
    loose = {**evidence, "policies": [{**each, "when": "true"} for each in evidence["policies"]]}
    before, rng = keys(decided(loose)), Random(seed)
    for name, tighten in TIGHTER.items():
        tighter = {**evidence["request"], **tighten(evidence["request"], rng)}
        assert keys(decided({**loose, "request": tighter})) <= before, name
    held = evidence["principal"]["permissions"]
    for caller in ({"permissions": held[1:]}, {"trust_level": TRUST_LEVELS[0]}):
        assert keys(decided({**loose, "principal": {**evidence["principal"], **caller}})) <= before
    further = policy("zz", effect=rng.choice(["forbid", "require"]), then='service.id == "beta"')
    assert keys(decided({**loose, "policies": [*loose["policies"], further]})) <= before


def _less(value: int | None, rng: Random, most: int) -> int:
    return rng.randint(0, most if value is None else value)


def _more(value: int | None, rng: Random, most: int) -> int:
    return rng.randint(value or 0, most)


TIGHTER: dict[str, Callable[[Document, Random], Document]] = {
    "bounds": lambda r, rng: {"bounds": {**r["bounds"], rng.choice(["latency_ms.p95", "error_rate.max"]): "0"}},
    "lower bounds": lambda r, rng: {
        "bounds": {**r["bounds"], rng.choice(["accuracy.min", "grounding.min"]): "1000000000"}
    },
    "features": lambda r, rng: {"features": sorted({*r["features"], rng.choice(["json", "tools"])})},
    "capabilities": lambda r, _: {"capabilities": sorted({*r["capabilities"], "embed"}), "max_tokens": r["max_tokens"]},
    "protocols": lambda r, _: {"protocols": r["protocols"][:1] or ["openai"]},
    "services": lambda r, _: {"services": r["services"][:1] or ["alpha", "beta@1.1.0"]},
    "excluded": lambda r, rng: {"excluded_services": sorted({*r["excluded_services"], rng.choice(["alpha", "gamma"])})},
    "context": lambda r, rng: {"context_length": _more(r["context_length"], rng, 9000)},
    "input": lambda r, rng: {"input_bytes": _more(r["input_bytes"], rng, 9000)},
    "max cost": lambda r, rng: {"max_cost": _cost(r["max_cost"], rng)},
    "locality": lambda r, rng: {"data_locality": _stricter(r["data_locality"], rng)},
    "regions": lambda r, _: {"regions": r["regions"][:1] or ["eu", "uk"]},
    "compliance": lambda r, rng: {"compliance": sorted({*r["compliance"], rng.choice(["gdpr", "hipaa"])})},
    "classification": lambda r, _: {"classification": "restricted"},
    "sensitive": lambda r, _: {"sensitive": True},
    "egress": lambda r, _: {"egress": False},
    "training": lambda r, _: {"training": False},
    "retention": lambda r, rng: {"max_retention_days": _less(r["max_retention_days"], rng, 40)},
}


def _cost(value: str | None, rng: Random) -> str:
    return "0" if value is None or value == "0" else rng.choice(["0", value])


def _stricter(value: str | None, rng: Random) -> str:
    order = ["on_device", "private", "regions", "cloud"]
    return rng.choice(order[: order.index(value) + 1] if value else order)


# --- ranking ------------------------------------------------------------------------------------


@quick
@given(worlds())
def test_preferences_only_reorder(evidence):
    rest = [each for each in evidence["policies"] if each["effect"] != "prefer"]
    assert keys(decided(evidence)) == keys(decided({**evidence, "policies": rest}))


@quick
@given(worlds(), st.integers(2, 50))
def test_weights_are_relative(evidence, factor):
    plain = [{name: value for name, value in each.items() if name != "weights"} for each in evidence["policies"]]
    weights = {"cost": 2, "reliability": 3, "preference": 1}
    larger = {name: factor * weight for name, weight in weights.items()}
    scores = [
        [(each.offer.key, each.score) for each in decided(given).ranked]
        for given in (
            {**evidence, "policies": plain, "request": {**evidence["request"], "weights": stated, "seed": "s"}}
            for stated in (weights, larger)
        )
    ]
    assert scores[0] == scores[1]


@quick
@given(worlds())
def test_snapshots_are_not_changed_by_decisions(evidence):
    asked, caller = Request.from_document(evidence["request"]), Principal.from_document(evidence["principal"])
    snapshot = compile_snapshot("acme", offers(evidence["services"]), rules(evidence["policies"]))
    history = History.from_document(evidence["history"])
    first = decide(snapshot, asked, caller, history)
    decide(snapshot, replace(asked, sensitive=True, stream=True), caller, History(), rules([policy("zz")]))
    assert decide(snapshot, asked, caller, history) == first
