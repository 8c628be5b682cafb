"""No byte of a certificate or of its evidence can change without a claim losing its proof.

A changed certificate is shown with its own hash, as a forger would: only the recomputation speaks
against it. Changed evidence is shown beside the certificate that was signed.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caio.foundation.canonical import NotCanonical, canonical_json, read_canonical
from caio.foundation.hashing import FEASIBLE, VERDICTS, digest
from caio.routing.certificate import decision_hash
from caio.routing.checker import check, decide_again, recompute
from tests.support.routing_cases import REMOVED, Document, changed, contract, evidence, policy, principal, request
from tests.support.routing_strategies import world, worlds

#: Bytes that turn one readable document into another: digits, letters, signs, separators, a high bit.
TELLING = b'0123456789aeftnrlu".-,:[]{} \\\x00\x80\xc3'

#: Two feasible services, two excluded for different reasons, policies of each effect, history and bounds.
USUAL = evidence(
    contract("alpha", cost={"per_request": "0.012"}),
    contract("beta", "2.0.0", guarantees={"latency_ms": {"p95": "500"}, "availability": REMOVED}),
    contract("delta", access={"required_permissions": {"all_of": ["admin"]}}),
    contract("gamma", privacy={"data_locality": "cloud"}),
    request=request(bounds={"latency_ms.p95": "1000", "accuracy.min": "0.9"}, max_cost="0.05", seed=None),
    principal=principal(permissions=["a", "b"], roles=["admin", "user"]),
    policies=[
        policy("a", effect="prefer", priority=3, then='service.id == "beta"', weights={"cost": 2, "preference": 1}),
        policy("b", then='service.privacy.data_locality == "cloud"', on_violation="retry"),
        policy("c", effect="require", then="service.api.timeout_ms <= 30000"),
    ],
    history={"alpha": [10, 9, 700], "beta": [80, 80, 300]},
)
REFUSAL = {**USUAL, "policies": [policy("none", effect="require", then="false", message="nobody")]}
STREAM = evidence(
    contract("alpha"),
    contract("beta", guarantees={"first_token_ms": {"p95": "100"}}),
    request=request(
        stream=True,
        bounds={"latency_ms.p95": "400", "first_token_ms.p95": "350"},
        weights={"margin": 1},
        regions=["eu"],
    ),
    policies=[policy("a", effect="prefer", when="request.max_tokens > 1")],
    history={"alpha": [30, 29, 1]},
)
WORLDS = {"usual": USUAL, "refusal": REFUSAL, "stream": STREAM}

Changed = tuple[str, bytes, tuple[str | int, ...]]


def documents(certificate: Document, evidence: Document) -> Iterator[Changed]:
    """Every document by itself: its name, its bytes, and where it stands in ``{"certificate", "evidence"}``."""
    yield "certificate", canonical_json(certificate), ("certificate",)
    for name in ("request", "principal", "history"):
        yield name, canonical_json(evidence[name]), ("evidence", name)
    for name in ("services", "policies"):
        for place, document in enumerate(evidence[name]):
            yield f"{name}/{place}", canonical_json(document), ("evidence", name, place)


def replaced_at(whole: Any, path: Sequence[str | int], value: Any) -> Any:
    """``whole`` with ``value`` in place of what is at ``path``."""
    if not path:
        return value
    if isinstance(whole, list):
        return [replaced_at(each, path[1:], value) if place == path[0] else each for place, each in enumerate(whole)]
    return {name: replaced_at(each, path[1:], value) if name == path[0] else each for name, each in whole.items()}


def escaped(shown: Document, document: Changed, place: int, byte: int) -> bool:
    """Whether the document with one byte changed is still read, and everything about it still proved."""
    _, raw, path = document
    try:
        value = read_canonical(raw[:place] + bytes([byte]) + raw[place + 1 :])
    except NotCanonical:
        return False
    forged = replaced_at(shown, path, value)
    stated = forged["certificate"] if isinstance(forged["certificate"], dict) else {}
    return all(claim.proved for claim in check(forged["certificate"], forged["evidence"], decision_hash(stated)))


@settings(max_examples=15)
@given(worlds(), st.randoms(use_true_random=False))
def test_every_mutation_is_caught(evidence, random):
    shown = {"certificate": recompute(evidence), "evidence": evidence}
    for document in documents(**shown):
        rng, raw = Random(random.getrandbits(32)), document[1]
        for _ in range(4):
            place = rng.randrange(len(raw))
            byte = rng.choice([byte for byte in TELLING if byte != raw[place]])
            assert not escaped(shown, document, place, byte), (document, place, byte)


GUARDED = [
    (world, document[0]) for world, evidence in WORLDS.items() for document in documents(recompute(evidence), evidence)
]


@pytest.mark.long
@pytest.mark.parametrize(("world", "name"), GUARDED, ids=["-".join(each) for each in GUARDED])
def test_every_byte_is_guarded(world, name):
    """Every byte of every document's canonical form: single bits turned, and some telling bytes in its place."""
    shown, rng = {"certificate": recompute(WORLDS[world]), "evidence": WORLDS[world]}, Random(f"{world} {name}")
    [document] = [each for each in documents(**shown) if each[0] == name]
    for place, byte in enumerate(document[1]):
        for other in {byte ^ 1 << bit for bit in (0, 1, 2, 5)} | set(rng.sample(TELLING, 3)) - {byte}:
            assert not escaped(shown, document, place, other), (document, place, other)


# --- changes of structure ---------------------------------------------------------------------------

CERTIFICATE = recompute(USUAL)


def unproved(certificate: Document, given: Document) -> set[str]:
    return {claim.name for claim in check(certificate, given, decision_hash(certificate)) if not claim.proved}


def test_the_usual_world_has_what_can_be_confused():
    decided = decide_again(USUAL)
    assert [number for _, number, _ in decided.verdicts] == [0, 0, 19, 13]
    assert [row.service.key[0] for row in decided.ranked] == ["beta", "alpha"]
    assert len({row.score for row in decided.ranked}) == 2
    assert unproved(CERTIFICATE, USUAL) == set()
    assert recompute(REFUSAL)["plan"] == []
    assert recompute(STREAM)["feasible"]["count"] == 2


def swapped(listed: Sequence[Any], one: int, other: int) -> list[Any]:
    """``listed`` with two of its members in each other's place."""
    copy = list(listed)
    copy[one], copy[other] = copy[other], copy[one]
    return copy


def verdicts(numbers: Sequence[int]) -> str:
    return digest(VERDICTS, b"".join(number.to_bytes(2, "big") for number in numbers))


def feasible(rows: Sequence[Sequence[Any]]) -> Document:
    data = b"".join(number.to_bytes(8, "big") for row in rows for number in row[2:])
    return {"count": len(rows), "hash": digest(FEASIBLE, data)}


FORGED = {
    "two verdicts swapped": ("verdicts", verdicts([0, 0, 13, 19])),
    "a verdict on another service": ("verdicts", verdicts([0, 19, 0, 13])),
    "a verdict of the clause's other question": ("verdicts", verdicts([0, 0, 20, 13])),
    "two scores swapped": ("feasible", feasible(CERTIFICATE["ranked"])),
    "two ranks swapped": ("ranked", swapped(CERTIFICATE["ranked"], 0, 1)),
    "a rank left out": ("ranked", CERTIFICATE["ranked"][:1]),
    "the second best as the plan": (
        "plan",
        [{"service": "alpha", "version": "1.0.0", "contract": CERTIFICATE["plan"][0]["contract"]}],
    ),
    "clauses in another order": ("excluded", swapped(CERTIFICATE["excluded"], 0, 1)),
    "an exclusion by another clause": ("excluded", [{"clause": "policy", "count": 2}]),
    "the counts of version 1": ("excluded", [{**group, "hash": "0" * 64} for group in CERTIFICATE["excluded"]]),
}


def test_an_honest_forger_is_believed():
    """The forgeries below are of the right form: made of the true numbers, they are proved."""
    assert verdicts([0, 0, 19, 13]) == CERTIFICATE["verdicts"]
    assert feasible(swapped(CERTIFICATE["ranked"], 0, 1)) == CERTIFICATE["feasible"]


@pytest.mark.parametrize(("field", "value"), FORGED.values(), ids=FORGED)
def test_a_forged_structure_is_caught(field, value):
    assert unproved({**CERTIFICATE, field: value}, USUAL) == {field}


def with_contracts(changes: dict[int, Document]) -> Document:
    """The usual services, with these contracts changed."""
    services = [
        {**each, "contract": changed(each["contract"], changes.get(place, {}))}
        for place, each in enumerate(USUAL["services"])
    ]
    return {"services": services}


NAMES = {0: {"service_id": "beta", "version": "2.0.0"}, 1: {"service_id": "alpha", "version": "1.0.0"}}
CHANGED_EVIDENCE = {
    "two services under each other's names": (with_contracts(NAMES), "services"),
    "one service's promise is another's": (
        with_contracts({0: {"guarantees": USUAL["services"][1]["contract"]["guarantees"]}}),
        "services",
    ),
    "an excluded service dropped": ({"services": USUAL["services"][:3]}, "services"),
    "an owner changed": ({"services": [{**USUAL["services"][0], "tenant": "b"}, *USUAL["services"][1:]]}, "services"),
    "a policy dropped": ({"policies": USUAL["policies"][:2]}, "policies"),
    "two policies under each other's names": (
        {"policies": [{**USUAL["policies"][0], "id": "b"}, {**USUAL["policies"][1], "id": "a"}, USUAL["policies"][2]]},
        "policies",
    ),
    "two histories swapped": ({"history": {"alpha": [80, 80, 300], "beta": [10, 9, 700]}}, "history"),
    "a bound dropped": ({"request": changed(USUAL["request"], {"bounds": {"accuracy.min": REMOVED}})}, "request"),
    "a permission more": (
        {"principal": changed(USUAL["principal"], {"permissions": ["a", "admin", "b"]})},
        "principal",
    ),
}


@pytest.mark.parametrize(("change", "field"), CHANGED_EVIDENCE.values(), ids=CHANGED_EVIDENCE)
def test_a_changed_structure_of_the_evidence_is_caught(change, field):
    assert field in unproved(CERTIFICATE, {**USUAL, **change})
    assert decision_hash(recompute({**USUAL, **change})) != decision_hash(CERTIFICATE)


# --- nonsense ---------------------------------------------------------------------------------------

NONSENSE: tuple[Any, ...] = (None, True, -1, 1.5, 2**53 - 1, "", "x", "1e9", [], [None], {}, {"x": None})


def replaced(document, rng):
    """``document`` with one value, anywhere in it, replaced by nonsense."""
    names = document if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    if not names or rng.random() < 0.15:
        return rng.choice(NONSENSE)
    chosen = rng.choice(sorted(names))
    changed = {name: replaced(document[name], rng) if name == chosen else document[name] for name in names}
    return changed if isinstance(document, dict) else list(changed.values())


@given(worlds(), st.randoms(use_true_random=False))
def test_no_nonsense_is_raised_or_proved(evidence, random):
    certificate = recompute(evidence)
    trusted, rng = decision_hash(certificate), Random(random.getrandbits(32))
    for _ in range(3):
        for shown, behind in ((replaced(certificate, rng), evidence), (certificate, replaced(evidence, rng))):
            if canonical_json((shown, behind)) != canonical_json((certificate, evidence)):
                assert not all(claim.proved for claim in check(shown, behind, trusted)), (shown, behind)


@given(worlds())
def test_every_honest_certificate_is_proved(evidence):
    certificate = recompute(evidence)
    assert [claim for claim in check(certificate, evidence, decision_hash(certificate)) if not claim.proved] == []


@given(worlds(), st.integers(0, 2**32))
def test_listing_order_is_irrelevant(evidence, seed):
    rng = Random(seed)
    listed = {name: rng.sample(evidence[name], len(evidence[name])) for name in ("services", "policies")}
    assert recompute({**evidence, **listed}) == recompute(evidence)


@given(worlds())
def test_every_service_is_accounted_for(evidence):
    certificate = recompute(evidence)
    keys = {(each["contract"]["service_id"], each["contract"]["version"]) for each in evidence["services"]}
    excluded = sum(group["count"] for group in certificate["excluded"])
    assert certificate["feasible"]["count"] + excluded == certificate["service_count"] == len(keys)


def test_worlds_are_many():
    """The strategies' worlds differ: a sampler that always gave one would prove nothing."""
    assert len({decision_hash(recompute(world(seed))) for seed in range(30)}) == 30
