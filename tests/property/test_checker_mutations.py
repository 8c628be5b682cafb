"""No byte of a certificate or of its evidence can change without a claim losing its proof."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caio.foundation.canonical import NotCanonical, canonical_json, read_canonical
from caio.routing.certificate import decision_hash
from caio.routing.checker import check, recompute
from tests.support.routing_strategies import world, worlds

#: Bytes that turn one readable document into another: digits, letters, signs, separators, a high bit.
TELLING = b'0123456789aeftnrlu".-,:[]{} \\\x00\x80\xc3'


def parts(certificate, evidence):
    """Every document by itself, and how to put a changed one back in its place."""
    yield "certificate", certificate, lambda value: (value, evidence)
    for name in ("request", "principal", "history"):
        yield name, evidence[name], lambda value, name=name: (certificate, {**evidence, name: value})
    for name in ("services", "policies"):
        for place, document in enumerate(evidence[name]):
            yield (
                f"{name}/{place}",
                document,
                lambda value, name=name, place=place: (
                    certificate,
                    {**evidence, name: [*evidence[name][:place], value, *evidence[name][place + 1 :]]},
                ),
            )


def escaped(raw, place, byte, replace, trusted):
    """Whether the changed document is still read, and everything about it still proved."""
    changed = raw[:place] + bytes([byte]) + raw[place + 1 :]
    try:
        certificate, evidence = replace(read_canonical(changed))
    except NotCanonical:
        return False
    return all(claim.proved for claim in check(certificate, evidence, trusted))


@settings(max_examples=15)
@given(worlds(), st.randoms(use_true_random=False))
def test_every_mutation_is_caught(evidence, random):
    certificate = recompute(evidence)
    trusted = decision_hash(certificate)
    for name, document, replace in parts(certificate, evidence):
        raw = canonical_json(document)
        rng = Random(random.getrandbits(32))
        for _ in range(4):
            place = rng.randrange(len(raw))
            byte = rng.choice([byte for byte in TELLING if byte != raw[place]])
            assert not escaped(raw, place, byte, replace, trusted), (name, raw, place, byte)


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


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_every_byte_is_guarded(seed):
    evidence = world(seed, services=3)
    certificate = recompute(evidence)
    trusted = decision_hash(certificate)
    for name, document, replace in parts(certificate, evidence):
        raw = canonical_json(document)
        for place, byte in enumerate(raw):
            for bit in range(8):
                assert not escaped(raw, place, byte ^ 1 << bit, replace, trusted), (name, raw, place, bit)


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
