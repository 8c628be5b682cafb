"""Generated worlds of a size: services, rules, requests and a history, the same for the same seed.

About four services in ten offer what is asked for, most of those meet its bounds, and rules take away
a part of the rest: one in ten of the services ends up feasible, or somewhat more. A rule holds either
for one team in ten (``teams``) or for everybody, so that a tenth or all of the rules are in force.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from caio.foundation.hashing import CONTRACT, POLICY, digest_of
from caio.foundation.quantity import nanos
from caio.routing.model import History, Offer, Principal, Request, Track
from caio.routing.offers import offer_of
from caio.routing.policies import compile_policy
from caio.routing.rules import Rule

TENANT = "acme"
CAPABILITIES = ("chat", "embed", "translate", "summarise", "transcribe", "classify", "rerank", "speak")
REGIONS = ("eu-west", "eu-north", "eu-south", "us-east", "us-west", "ap-east", "ap-south", "sa-east")
FRAMEWORKS = ("gdpr", "hipaa", "soc2", "iso27001", "pci_dss")
FEATURES = ("streaming", "tools", "json", "vision", "batch")
TEAMS = 10

PRINCIPAL = Principal("ada", "user", frozenset({"user"}), frozenset({"services:use", "models:premium"}))


@dataclass(frozen=True, slots=True)
class World:
    """``documents`` are the contracts that ``offers`` were read from, ``policies`` those of ``rules``."""

    offers: list[Offer]
    rules: list[Rule]
    policies: list[dict[str, Any]]
    history: History


def world(services: int, rules: int, *, everybody: bool, seed: int = 7) -> World:
    """``everybody`` puts every rule in force for every request; otherwise a tenth of them are."""
    rng = Random(seed)
    contracts = [_contract(rng, number) for number in range(services)]
    offers = [offer_of(TENANT, each, digest_of(CONTRACT, each)) for each in contracts]
    policies = [_policy(rng, number, everybody) for number in range(rules)]
    compiled = [compile_policy(each, digest_of(POLICY, each)) for each in policies]
    return World(offers, compiled, policies, history(rng, offers))


def history(rng: Random, offers: list[Offer]) -> History:
    """Half of the services were called in the last hour."""
    seen = [offer.service_id for offer in offers if rng.random() < 0.5]
    return History({name: _track(rng) for name in seen})


def after_calls(given: History, more: int) -> History:
    """``given`` after as many more good calls of every service."""
    tracks = given.tracks.items()
    return History({name: Track(track.calls + more, track.successes + more, track.p95_ms) for name, track in tracks})


def requests(count: int, sorts: int, *, first_sort: int = 0, seed: int = 11) -> Iterator[Request]:
    """Requests of as many ``sorts`` as applications might send, in turns; no two are the same."""
    rng = Random(seed)
    for number in range(count):
        sort = first_sort + number % sorts
        latency = 1500 + 1000 * sort // (first_sort + sorts)
        yield Request(
            TENANT,
            "EUR",
            ("chat",),
            bounds=(("accuracy.min", nanos("0.8")), ("latency_ms.p95", nanos(latency))),
            max_cost=nanos("2"),
            features=frozenset({"json"}) if sort % 3 else frozenset(),
            compliance=frozenset({"gdpr"}) if sort % 4 == 0 else frozenset(),
            input_bytes=rng.randrange(100, 20_000),
            max_tokens=(256, 512, 1024)[sort % 3],
            labels=(("call", str(number)), ("team", f"team-{sort % TEAMS}")),
        )


def _track(rng: Random) -> Track:
    calls = rng.randrange(1, 1000)
    return Track(calls, calls - rng.randrange(0, calls // 10 + 1), rng.randrange(50, 3000))


def _contract(rng: Random, number: int) -> dict[str, Any]:
    offered = ["chat"] if rng.random() < 0.4 else []
    offered += rng.sample(CAPABILITIES[1:], rng.randrange(1, 3))
    regional = rng.random() < 0.6
    return {
        "service_id": f"service-{number:06}",
        "name": f"Service {number}",
        "version": f"1.{rng.randrange(10)}.0",
        "tags": [f"tag-{rng.randrange(1000)}", rng.choice(["stable", "beta"])],
        "capabilities": [
            {
                "type": name,
                "limits": {"max_tokens": rng.choice([1024, 4096, 16384]), "context_length": 128_000},
                "features": sorted(rng.sample(FEATURES, rng.randrange(3, 6))),
            }
            for name in offered
        ],
        "guarantees": {
            "latency_ms": {"p50": str(rng.randrange(50, 400)), "p95": str(rng.randrange(400, 2400))},
            "accuracy": {"min": f"0.{rng.randrange(75, 99)}"},
            "availability": {"min": f"0.99{rng.randrange(1, 9)}"},
        },
        "constraints": {"requires": {"gpu": rng.random() < 0.5, "internet": True}},
        "cost": {
            "currency": "EUR",
            "per_request": f"0.00{rng.randrange(1, 9)}",
            "per_input_token": f"0.00000{rng.randrange(1, 99)}",
            "per_output_token": f"0.00000{rng.randrange(1, 99)}",
        },
        "privacy": {
            "data_locality": sorted(rng.sample(REGIONS, rng.randrange(1, 4))) if regional else "cloud",
            "encryption": {"in_transit": True, "at_rest": rng.random() < 0.9},
            "data_retention_days": rng.choice([0, 7, 30]),
            "trains_on_data": rng.random() < 0.1,
            "compliance": sorted(rng.sample(FRAMEWORKS, rng.randrange(2, 6))),
        },
        "access": {
            "required_permissions": {"all_of": ["models:premium"] if rng.random() < 0.2 else [], "any_of": []},
            "visibility": "tenant",
        },
        "api": {"protocol": "openai", "base_url": "https://models.example", "endpoints": [], "timeout_ms": 30_000},
    }


#: What rules say of a service, each with the range its number is drawn from.
_SAYS = (
    ("forbid", '"tag-{}" in service.tags', 1000),
    ("forbid", 'service.id == "service-{:06}"', 10_000),
    ("forbid", "service.cost.per_output_token > 0.000098{:03}", 1000),
    ("require", "service.guarantees.latency_ms.p95 < 2390.{:03}", 1000),
    ("require", '!("tag-{}" in service.tags) || service.privacy.encryption.at_rest', 1000),
    ("forbid", 'service.privacy.data_locality == "cloud" && "tag-{}" in service.tags', 1000),
    (
        "require",
        "has(service.guarantees.accuracy.min) && service.guarantees.accuracy.min > 0.75{:03}",
        1000,
    ),
    ("prefer", '"stable" in service.tags && service.guarantees.latency_ms.p50 < {}.0', 400),
)

#: When they apply: to one team, or to everybody.
_TEAM = 'request.labels.team == "team-{}"'
_EVERYBODY = (
    "true",
    'request.data_classification in ["public", "internal"]',
    '"user" in principal.roles && request.deadline_ms > {}',
    "request.input_bytes < 1{:06}",
    'principal.kind == "user"',
)


def _policy(rng: Random, number: int, everybody: bool) -> dict[str, Any]:
    effect, then, most = _SAYS[number % len(_SAYS)]
    when = _EVERYBODY[number % len(_EVERYBODY)] if everybody else _TEAM
    return {
        "id": f"rule-{number:04}",
        "version": 1,
        "priority": rng.randrange(1, 1000),
        "effect": effect,
        "when": when.format(number % TEAMS if not everybody else number),
        "then": then.format(rng.randrange(most)),
        "message": "",
        "attach": "tenant",
    }
