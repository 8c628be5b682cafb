"""Worlds to decide in: small, contradictory, and full of edges.

``world(seed)`` makes one evidence document, fast enough for a hundred thousand of them;
``worlds()`` is the same as a strategy that shrinks to fewer services and policies. Values come from few
and telling choices, so that a bound meets an offer exactly, scores tie, regions overlap and policies
contradict each other. A world makes few demands at a time, so that most have a winner and every
clause excludes somebody now and then. Contracts and policies are canonical documents, as
``Contract.document()`` and ``PolicyDocument.document()`` write them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from hypothesis import strategies as st

from caio.foundation.quantity import nanos
from caio.routing.model import (
    CLASSIFICATIONS,
    LOCALITIES,
    STRENGTH,
    TERMS,
    TRUST_LEVELS,
    OnViolation,
    Principal,
    Request,
)
from tests.support.routing_cases import TENANT, Document, contract

MOST_SERVICES = 8
MOST_POLICIES = 5

_IDS = ("alpha", "beta", "gamma", "delta")
_VERSIONS = ("1.0.0", "1.1.0", "10.0.0-rc.1")
_FEATURES = ("json", "streaming", "tools")
_REGIONS = ("eu", "uk", "us")
_FRAMEWORKS = ("gdpr", "hipaa", "soc2")
_NAMED = (*_IDS, "alpha@1.0.0", "beta@1.1.0")
_PRICES = ("0", "0.000000000001", "0.000001", "0.01", "0.01")
_TRACKS = ([1, 0, 900], [1, 1, 5], [80, 80, 300], [19, 19, 300], [20, 19, 700], [21, 0, 300], [10**6, 999_999, 1])
_PERMISSIONS = ("a", "b", "services:use")
# Ascending: an offer's larger bounds are drawn from what follows.
_TIMES = ("0", "0.000000001", "300", "799.999999999", "800", "800.000000001", "1200", "1000000000")
_RATIOS = ("0", "0.9", "0.95", "0.950000001", "1")
_ANY_SIGN = ("-1000000000", "-1", "0", "0.5", "1", "1000000000")
_BOUNDS = {
    **{f"{prop}.{name}": _TIMES for prop in ("latency_ms", "first_token_ms") for name in STRENGTH},
    "accuracy.min": _RATIOS,
    "availability.min": _RATIOS,
    "error_rate.max": _RATIOS,
    "determinism.min": ("0", "1", "2"),
    "grounding.min": _ANY_SIGN,
    "grounding.max": _ANY_SIGN,
}
_WHEN = (
    "true",
    "true",
    "true",
    "false",
    "request.sensitive",
    "!request.sensitive",
    'request.data_classification == "internal"',
    '"admin" in principal.roles',
    'principal.trust_level != "untrusted"',
    "request.max_tokens > 100",  # an error while unstated
    'request.labels["team"] == "red"',  # likewise
    'request.bounds["accuracy.min"] >= 0.95',  # likewise
    "has(request.max_cost) && request.max_cost < 1.0",
    "request.input_bytes / 0 == 1",
)
_THEN = (
    "true",
    "false",
    'service.id == "alpha"',
    'service.privacy.data_locality == "cloud"',
    'service.privacy.data_locality in ["on_device", "private"]',
    '"eu" in service.privacy.regions',  # an error without regions
    "service.guarantees.accuracy.min >= 0.95",  # an error while undeclared
    "service.cost.per_second > 0.0",  # likewise
    "has(service.cost.per_request) && service.cost.per_request < 0.02",
    '"tools" in service.features || service.guarantees.grounding.min > 0.0',
    '!("gdpr" in service.privacy.compliance)',
    'service.capabilities.exists(type, type == "embed")',
)


def worlds() -> st.SearchStrategy[Document]:
    """Evidence of at most 8 services and 5 policies, listed in any order and some of them repeatedly."""
    return st.builds(
        world, st.integers(0, 2**63), services=st.integers(0, MOST_SERVICES), policies=st.integers(0, MOST_POLICIES)
    )


def world(seed: int, services: int = MOST_SERVICES, policies: int = MOST_POLICIES) -> Document:
    """The world of ``seed``; a smaller one of the same seed has some of the same services and policies."""
    rng, caller, past = Random(seed), Random(f"{seed} principal"), Random(f"{seed} history")
    crowd = (f"service-{number}" for number in range(max(0, services - len(_IDS) * len(_VERSIONS))))
    keys = [
        *((service_id, version) for service_id in _IDS for version in _VERSIONS),
        *((name, "1.0.0") for name in crowd),
    ]
    rule_keys = [(policy_id, version) for policy_id in ("a", "b", "c") for version in (1, 2, 10)]
    rng.shuffle(keys)
    rng.shuffle(rule_keys)
    rule_count = min(policies, rng.choice((0, 1, 2, 3, MOST_POLICIES)))
    entries: list[Document] = []
    for service_id, version in keys[:services]:
        entries.append(_service(Random(f"{seed} {service_id} {version}"), service_id, version, entries))
    listed = entries + rng.sample(entries, min(len(entries), rng.choice((0, 0, 2))))
    rng.shuffle(listed)
    return {
        "request": make_request(Random(f"{seed} request")).document(),
        "principal": _principal(caller).document(),
        "services": listed,
        "policies": [make_policy(Random(f"{seed} {key}"), *key) for key in rule_keys[:rule_count]],
        "history": {name: past.choice(_TRACKS) for name in (*_IDS, "stranger") if _one_in(past, 2)},
    }


def make_contract(rng: Random, service_id: str, version: str) -> Document:
    """One canonical contract document."""
    kinds = rng.choice((["chat"], ["chat"], ["chat", "embed"], ["embed", "chat"], ["embed", "chat"], ["embed"]))
    capabilities = [_capability(rng, kind) for kind in kinds]
    access = {
        "required_permissions": {
            name: _some(rng, _PERMISSIONS) if _one_in(rng, 6) else [] for name in ("all_of", "any_of")
        },
        "visibility": rng.choice(("tenant", "shared")),
    }
    if _one_in(rng, 3):
        access["required_trust_level"] = rng.choice(TRUST_LEVELS)
    return {
        **contract(service_id, version),
        "capabilities": capabilities,
        "guarantees": _guarantees(rng),
        "constraints": {"requires": {"gpu": False, "internet": _one_in(rng, 2)}},
        "cost": _cost(rng, capabilities),
        "privacy": _privacy(rng),
        "access": access,
        "api": {
            "protocol": rng.choice(("openai", "openai", "anthropic", "http-json")),
            "base_url": "https://service.example",
            "endpoints": [],
            "timeout_ms": rng.choice((1, 1000, 30_000)),
        },
    }


def make_policy(rng: Random, policy_id: str, version: int) -> Document:
    """One canonical policy document; some fail to evaluate for some requests or services."""
    document: Document = {
        "id": policy_id,
        "version": version,
        "priority": rng.choice((1, 10, 10, 1000)),
        "effect": rng.choice(("forbid", "require", "prefer", "prefer", "prefer")),
        "when": rng.choice(_WHEN),
        "then": rng.choice(_THEN),
        "message": "",
        "attach": rng.choice(("tenant", "request")),
    }
    if _one_in(rng, 4):
        document["weights"] = dict(_weights(rng))
    if _one_in(rng, 4):
        document["on_violation"] = rng.choice(tuple(OnViolation)).value
    return document


def make_request(rng: Random) -> Request:
    """A request with up to three demands; its bounds lie on, or just beside, what contracts offer."""
    demands: dict[str, Callable[[], Any]] = {
        "currency": lambda: "EUR",
        "max_cost": lambda: rng.choice((0, 10**7, 13 * 10**6, 10**9)),
        "features": lambda: frozenset(_some(rng, _FEATURES)),
        "context_length": lambda: rng.choice((1000, 1001, 8000)),
        "data_locality": lambda: rng.choice(LOCALITIES),
        "regions": lambda: frozenset(_some(rng, _REGIONS)),
        "compliance": lambda: frozenset(_some(rng, _FRAMEWORKS)),
        "classification": lambda: rng.choice(CLASSIFICATIONS),
        "sensitive": lambda: True,
        "egress": lambda: False,
        "training": lambda: False,
        "max_retention_days": lambda: rng.choice((0, 30)),
        "services": lambda: frozenset(_some(rng, _NAMED)),
        "excluded_services": lambda: frozenset(rng.sample(_NAMED, 2)),
        "protocols": lambda: frozenset(_some(rng, ("anthropic", "openai"))),
        "stream": lambda: True,
        "max_tokens": lambda: rng.choice((0, 100, 1000, 1001)),
        "answers": lambda: rng.choice((1, 2, 128)),
        "weights": lambda: _weights(rng),
        "on_violation": lambda: rng.choice(tuple(OnViolation)),
        "bounds": lambda: _bounds(rng),
    }
    names = set(rng.choices((*demands, "bounds", "bounds"), k=rng.randint(0, 3)))
    return Request(
        **{"tenant_id": TENANT, "currency": "USD"} | {name: demands[name]() for name in sorted(names)},
        capabilities=rng.choice((*[("chat",)] * 7, ("embed",), ("chat", "embed"), ("embed", "chat"))),
        input_bytes=rng.choice((0, 1, 10, 1000, 1000, 1001)),
        deadline_ms=rng.choice((1, 1000, 60_000)),
        labels=(("team", rng.choice(("red", "blue"))),) if _one_in(rng, 2) else (),
        seed=rng.choice((None, "", "seed", "sëed")),
    )


def _service(rng: Random, service_id: str, version: str, earlier: Sequence[Document]) -> Document:
    """A service, one in three a twin of an earlier one, so that scores tie."""
    document = make_contract(rng, service_id, version)
    if earlier and _one_in(rng, 3):
        document = {**rng.choice(earlier)["contract"], "service_id": service_id, "version": version}
    return {"tenant": rng.choice((TENANT, TENANT, TENANT, "platform")), "contract": document}


def _capability(rng: Random, kind: str) -> Document:
    limits = {
        name: rng.choice((1000, 8000))
        for name in ("max_tokens", "context_length", "max_input_bytes")
        if _one_in(rng, 2)
    }
    features = _some(rng, _FEATURES) if _one_in(rng, 4) else sorted(_FEATURES)
    return {"type": kind, "features": features} | ({"limits": limits} if limits else {})


def _guarantees(rng: Random) -> Document:
    low, high = sorted(rng.choices(_ANY_SIGN, k=2), key=_ANY_SIGN.index)
    choices: Document = {
        "latency_ms": _percentiles(rng),
        "first_token_ms": _percentiles(rng),
        "accuracy": {"min": rng.choice(_RATIOS), "verified": "measured"},
        "availability": {"min": rng.choice(_RATIOS)},
        "error_rate": {"max": rng.choice(_RATIOS)},
        "determinism": {"seed_required": _one_in(rng, 2)},
        "grounding": {"min": low, "max": high},
    }
    return {name: value for name, value in choices.items() if not _one_in(rng, 4)}


def _percentiles(rng: Random) -> Document:
    """Declared upper bounds, each at least as large as the weaker ones; some missing, some equal."""
    values = sorted(rng.choices(_TIMES, k=4), key=_TIMES.index)
    bounds = dict(zip(STRENGTH, values, strict=True))
    return {name: bounds[name] for name in rng.sample(STRENGTH, rng.randint(1, 4))}


def _cost(rng: Random, capabilities: Sequence[Document]) -> Document:
    names = ["per_request", "per_input_token", "per_second"]
    if all({"max_tokens", "context_length"} & set(each.get("limits", {})) for each in capabilities):
        names.append("per_output_token")
    prices = {name: "1000000" if _one_in(rng, 20) else rng.choice(_PRICES) for name in names if _one_in(rng, 2)}
    return {"currency": "EUR" if _one_in(rng, 8) else "USD", **prices}


def _privacy(rng: Random) -> Document:
    privacy: Document = {
        "data_locality": rng.choice(("on_device", "private", "cloud", ["eu"], ["eu", "uk"], ["us"], list(_REGIONS))),
        "encryption": {"in_transit": not _one_in(rng, 3), "at_rest": not _one_in(rng, 3)},
        "compliance": _some(rng, _FRAMEWORKS) if _one_in(rng, 2) else sorted(_FRAMEWORKS),
    }
    if not _one_in(rng, 3):
        privacy["data_retention_days"] = rng.choice((0, 30, 31))
    if not _one_in(rng, 4):
        privacy["trains_on_data"] = _one_in(rng, 3)
    return privacy


def _principal(rng: Random) -> Principal:
    return Principal(
        principal_id="ada",
        kind=rng.choice(("user", "api_key")),
        roles=frozenset(_some(rng, ("admin", "user"))),
        permissions=frozenset(_some(rng, _PERMISSIONS)),
        trust_level=rng.choice((*TRUST_LEVELS, "privileged", "privileged")),
    )


def _bounds(rng: Random) -> tuple[tuple[str, int], ...]:
    names = sorted(rng.sample(sorted(_BOUNDS), rng.randint(1, 2)))
    return tuple((name, nanos(rng.choice(_BOUNDS[name]))) for name in names)


def _weights(rng: Random) -> tuple[tuple[str, int], ...]:
    """Weights for some of the terms, at least one of them above 0."""
    first, *others = rng.sample(TERMS, rng.randint(1, len(TERMS)))
    return tuple(sorted([(first, rng.choice((1, 1000))), *((term, rng.choice((0, 1, 2, 1000))) for term in others)]))


def _some(rng: Random, names: Sequence[str]) -> list[str]:
    return sorted(rng.sample(names, rng.randint(0, len(names))))


def _one_in(rng: Random, number: int) -> bool:
    return rng.randrange(number) == 0
