"""Worlds at the edges: what implementations of the routing rules get wrong, all at once.

``hard_world(seed)`` takes a world of ``routing_strategies`` and *twists* it a few times: numbers at
the ends of their domains, bounds and caps on or one unit beside what some service offers, services
that all tie, crowds, strangers' services, free text in other scripts, contradicting policies. Fast
enough for a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import strategies as st

from caio.foundation.quantity import decimal_text, nanos
from spec.questions import worst_price
from tests.support.routing_cases import Document, changed, policy
from tests.support.routing_strategies import make_policy, world

#: How many services: mostly few, so that each case says much in little time.
_SIZES = [0] * 40 + [1] * 60 + list(range(2, 13)) * 80 + [60] * 10 + [300]
_POLICIES = (0, 0, 1, 2, 3, 5)

LARGEST_INTEGER = 2**53 - 1
_BIG = (10**9, 2**31 - 1, 2**31, 2**32, LARGEST_INTEGER - 1, LARGEST_INTEGER)
_CALLS = (0, 1, 19, 20, 21, 40, 10**6, LARGEST_INTEGER)
_TEXTS = ("", "ünï", "e\u0301", "日本", "😀", "\u2028", "\\\"'\n\t\x00\x7f", "a, b", "none", "x" * 256)
_PRICES = ("0", "0.000000000001", "0.000000001", "999999.999999999999", "1000000")
_PRICE_NAMES = ("per_request", "per_input_token", "per_second")

Twist = Callable[[Random, Document], None]


def hard_worlds() -> st.SearchStrategy[Document]:
    """``hard_world`` of any seed; it shrinks to fewer services and policies."""
    return st.builds(hard_world, st.integers(0, 2**63), st.sampled_from(_SIZES[:-11]), st.sampled_from(_POLICIES))


def hard_world(seed: int, services: int | None = None, policies: int | None = None) -> Document:
    """The hard world of ``seed``, of some size unless one is stated."""
    rng = Random(f"{seed} hard")
    size, rules = rng.choice(_SIZES), rng.choice(_POLICIES)
    evidence = world(seed, size if services is None else services, rules if policies is None else policies)
    if rng.random() < 0.6:
        _willing(rng, evidence)
    for twist in rng.sample(_TWISTS, rng.choice((0, 1, 2, 2, 3))):
        twist(rng, evidence)
    return evidence


def _willing(rng: Random, evidence: Document) -> None:
    """Services that can do what is asked and that the caller may use, so that there is much to rank."""
    evidence["request"] |= {"services": [], "excluded_services": [], "protocols": [], "compliance": [], "regions": []}
    evidence["request"] |= {"bounds": {}, "context_length": None, "data_locality": None}
    for each in evidence["services"]:
        capabilities = [
            {
                "type": kind,
                "features": ["json", "streaming", "tools"],
                "limits": {"max_tokens": rng.choice((1000, 1001))},
            }
            for kind in evidence["request"]["capabilities"]
        ]
        changes = {"capabilities": capabilities, "cost": {"currency": evidence["request"]["currency"]}}
        access = {"required_permissions": {"all_of": [], "any_of": []}, "visibility": "shared"}
        each["contract"] = {**changed(each["contract"], changes), "access": access}


def _offer_edge(rng: Random, evidence: Document) -> None:
    """A bound that some service meets exactly, or misses by a unit."""
    promises = [
        (f"{name}.{statistic}", value)
        for each in evidence["services"]
        for name, promise in each["contract"]["guarantees"].items()
        for statistic, value in promise.items()
        if statistic in {"min", "p50", "p95", "p99", "max"}
    ]
    if promises:
        name, value = rng.choice(promises)
        if rng.random() < 0.3:
            name = name.replace("p99", "p95").replace("max", "p99")
        edge = max(-(10**18), min(10**18, nanos(value) + rng.choice((-1, 0, 0, 1))))
        evidence["request"]["bounds"] = {**evidence["request"]["bounds"], name: decimal_text(edge)}


def _price_edge(rng: Random, evidence: Document) -> None:
    """A cap that some service's worst case meets exactly, or misses by a unit."""
    prices = [_worst(each["contract"], evidence["request"]) for each in evidence["services"]]
    fitting = [price for price in prices if price is not None and price < 10**18]
    if fitting:
        edge = max(0, rng.choice(fitting) + rng.choice((-1, 0, 0, 1)))
        evidence["request"]["max_cost"] = decimal_text(edge)


def _worst(contract: Document, request: Document) -> int | None:
    offered = {each["type"] for each in contract["capabilities"]}
    return worst_price(contract, request) if offered >= set(request["capabilities"]) else None


def _all_alike(rng: Random, evidence: Document) -> None:
    """The same contract under different names: every score ties."""
    first = evidence["services"][0]["contract"] if evidence["services"] else {}
    keep = ("service_id", "version")
    for each in evidence["services"]:
        each["contract"] = {**first, **{name: each["contract"][name] for name in keep}}
    evidence["history"] = {}


def _nearly_alike(rng: Random, evidence: Document) -> None:
    """All the same but for one price: by a pico, which may round to the same or to the next unit."""
    _all_alike(rng, evidence)
    for each in evidence["services"]:
        each["contract"] = changed(each["contract"], {"cost": {"per_request": rng.choice(("0.000000000001", "0"))}})


def _huge_request(rng: Random, evidence: Document) -> None:
    name = rng.choice(("input_bytes", "max_tokens", "context_length", "deadline_ms", "max_retention_days"))
    evidence["request"][name] = rng.choice(_BIG)
    if rng.random() < 0.5:
        evidence["request"]["input_bytes"] = rng.choice(_BIG)


def _huge_limits(rng: Random, evidence: Document) -> None:
    """Services that could answer without end, in an hour."""
    for each in evidence["services"]:
        limits = {name: rng.choice((10**9, 10**9, 1)) for name in ("max_tokens", "context_length", "max_input_bytes")}
        capabilities = [{**kind, "limits": limits} for kind in each["contract"]["capabilities"]]
        changes = {"capabilities": capabilities, "api": {"timeout_ms": rng.choice((1, 3_600_000))}}
        each["contract"] = changed(each["contract"], changes)


def _extreme_prices(rng: Random, evidence: Document) -> None:
    for each in evidence["services"]:
        prices = {name: rng.choice(_PRICES) for name in rng.sample(_PRICE_NAMES, rng.randint(0, 3))}
        each["contract"] = changed(each["contract"], {"cost": {"currency": "USD"}})
        each["contract"]["cost"] = {"currency": "USD", **prices}
    if rng.random() < 0.5:
        evidence["request"]["max_cost"] = rng.choice(("9007199.254740991", "9007199.254740992", "1000000000"))


def _extreme_history(rng: Random, evidence: Document) -> None:
    """Around the twenty calls from which the observed latency counts, and at the ends."""
    for each in evidence["services"]:
        calls = rng.choice(_CALLS)
        successes = rng.choice((0, calls // 2, max(0, calls - 1), calls))
        p95_ms = rng.choice((0, 1, 700, 799, 800, 10**9 - 1, 10**9))
        evidence["history"][each["contract"]["service_id"]] = [calls, successes, p95_ms]


def _extreme_promises(rng: Random, evidence: Document) -> None:
    ends = ("-1000000000", "-0.000000001", "0", "0.000000001", "1000000000")
    for each in evidence["services"]:
        low, high = sorted(rng.choices(ends, k=2), key=ends.index)
        each["contract"] = changed(each["contract"], {"guarantees": {"grounding": {"min": low, "max": high}}})
    bound = rng.choice(("grounding.min", "grounding.max", "grounding.p50"))
    evidence["request"]["bounds"] = {bound: rng.choice(ends)}


def _missing_promises(rng: Random, evidence: Document) -> None:
    for each in evidence["services"]:
        if rng.random() < 0.5:
            each["contract"] = {**each["contract"], "guarantees": {}}


def _strangers(rng: Random, evidence: Document) -> None:
    """Shared services and hidden ones, of others."""
    owners: dict[str, str] = {}
    for each in evidence["services"]:
        key = f"{each['contract']['service_id']}@{each['contract']['version']}"
        each["tenant"] = owners.setdefault(key, rng.choice(("rival", "platform", each["tenant"])))


def _free_text(rng: Random, evidence: Document) -> None:
    request, text = evidence["request"], rng.choice(_TEXTS)
    request["seed"] = rng.choice((text, None))
    request["labels"] = {"team": text, **request["labels"]}
    evidence["principal"]["id"] = text
    for each in evidence["services"]:
        each["contract"] = {**each["contract"], "name": "Größe", "description": "日本 😀"}
    evidence["policies"].append(
        policy("text", effect="prefer", when='request.labels["team"] != "日本"', message="naïve")
    )


def _stream(rng: Random, evidence: Document) -> None:
    """A stream with bounds of both names, which may then be one."""
    times = ("0", "300", "799.999999999", "800", "1000000000")
    statistics = rng.choice((("p95", "p95"), ("max", "p50"), ("min", "min")))
    names = [
        f"{name}.{statistic}" for name, statistic in zip(("latency_ms", "first_token_ms"), statistics, strict=True)
    ]
    evidence["request"] |= {"stream": True, "bounds": {name: rng.choice(times) for name in names}}


def _guarded(rng: Random, evidence: Document) -> None:
    """Data that may not go everywhere, and a rule about where."""
    demands: Document = {
        "classification": rng.choice(("confidential", "restricted", "public")),
        "sensitive": True,
        "regions": rng.choice((["eu"], ["eu", "uk"], ["eu", "uk", "us"])),
        "data_locality": rng.choice(("on_device", "private", "regions", "cloud")),
        "egress": False,
        "training": False,
        "max_retention_days": rng.choice((0, 29, 30, 31)),
        "compliance": ["gdpr"],
        "context_length": rng.choice((0, 1000)),
    }
    evidence["request"] |= {name: demands[name] for name in rng.sample(sorted(demands), rng.randint(1, 2))}
    if rng.random() < 0.3:
        then = rng.choice(('"eu" in service.privacy.regions', 'service.privacy.data_locality == "regions"'))
        evidence["policies"].append(policy("where", version=1 + len(evidence["policies"]), effect="prefer", then=then))


def _contradictions(rng: Random, evidence: Document) -> None:
    """Policies of one priority that say opposite things, with errors between."""
    then = rng.choice(
        ('service.id == "alpha"', 'service.privacy.data_locality == "cloud"', "service.cost.per_second > 0.0")
    )
    effects = rng.sample(("forbid", "require", "prefer"), 2)
    version = 1 + len(evidence["policies"])
    evidence["policies"] += [policy(f"{effect}-it", version=version, effect=effect, then=then) for effect in effects]
    evidence["policies"].append(make_policy(rng, "zz", version))


def _weights(rng: Random, evidence: Document) -> None:
    """One term alone, or all of them as large as they may be."""
    terms = ("margin", "cost", "performance", "reliability", "preference")
    one: dict[str, Any] = {rng.choice(terms): 1}
    evidence["request"]["weights"] = rng.choice((one, dict.fromkeys(terms, 1000)))


def _much_asked(rng: Random, evidence: Document) -> None:
    """As many bounds as one request may state, which most services promise."""
    names = [f"property_{number}" for number in range(13)]
    for each in evidence["services"]:
        promises = {name: {"max": rng.choice(("0.5", "1"))} for name in names}
        if rng.random() < 0.2:
            promises[rng.choice(names)] = {"max": "1.000000001"}
        each["contract"] = changed(each["contract"], {"guarantees": promises})
    bounds = {f"{name}.{rng.choice(('p50', 'max'))}": "1" for name in names}
    evidence["request"]["bounds"] = {**evidence["request"]["bounds"], **bounds}


_TWISTS: tuple[Twist, ...] = (
    *(_offer_edge, _offer_edge, _offer_edge, _price_edge, _price_edge, _all_alike, _nearly_alike, _huge_request),
    *(_huge_limits, _extreme_prices, _extreme_history, _extreme_promises, _missing_promises, _strangers, _free_text),
    *(
        _guarded,
        _guarded,
        _guarded,
        _guarded,
        _stream,
        _stream,
        _contradictions,
        _contradictions,
        _weights,
        _much_asked,
    ),
)
