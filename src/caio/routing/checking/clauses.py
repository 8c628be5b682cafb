"""The clauses: one ``yield`` for each question, in the order in which the rules number them.

A question yields None when it is passed, and else the failure. The generators are read up to the
first failure and no further: a later question may rely on the earlier ones having been passed (a
feature is asked of a capability that is there). What each clause is for is told in
docs/reference/routing-rules.md, whose order and words these are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from caio.foundation.canonical import MAX_INTEGER
from caio.foundation.money import Prices, Usage, picos
from caio.foundation.quantity import decimal_text, read_nanos
from caio.routing.checking.evidence import Document, Rule, Service, World, place
from caio.routing.model import CLASSIFICATIONS, LOCALITIES, STRENGTH, TRUST_LEVELS, Effect

_PRICES = ("per_request", "per_input_token", "per_output_token", "per_second")


class Failure(NamedTuple):
    """Why a service is excluded, in the words of its exclusion record."""

    clause: str
    subject: str
    required: str
    offered: str


def verdict(world: World, service: Service) -> tuple[int, Failure | None]:
    """The number of the first question that ``service`` fails, and how; 0 and None for a feasible one."""
    for number, failure in enumerate(questions(world, service), 1):
        if failure is not None:
            return number, failure
    return 0, None


def questions(world: World, service: Service) -> Iterator[Failure | None]:
    return chain(_match(world, service), _rules(world.rules, service), _security(world, service))


def question_count(world: World) -> int:
    """How many questions ``questions`` asks of a service that passes them all."""
    capabilities = len(world.request["capabilities"])
    asked_of_each = 1 + len(_needed_features(world.request)) + 3  # there at all; features; the three limits
    listed = len(world.bounds) + 2 * len(world.rules) + len(world.request["compliance"])
    return 16 + capabilities * asked_of_each + listed


def tightest(contract: Document, bound: str) -> tuple[int | None, str]:
    """What ``contract`` offers for ``bound``, in nanos and in words; ``None, "undeclared"`` without an offer."""
    (prop, _, statistic), guarantees = bound.rpartition("."), contract["guarantees"]
    promised = {"min": "1"} if prop == "determinism" and prop in guarantees else guarantees.get(prop, {})
    names = ("min",) if statistic == "min" else STRENGTH[place(STRENGTH, statistic) :]
    offers = [(read_nanos(promised[name]), f"{name} {promised[name]}") for name in names if name in promised]
    nanos, words = min(offers, key=lambda offer: offer[0], default=(None, "undeclared"))
    return nanos, words.removeprefix("min ")


def worst_cost(request: Document, contract: Document) -> int:
    """The price of the dearest call that ``request`` allows, in nano-units."""
    requested = [each for each in contract["capabilities"] if each["type"] in request["capabilities"]]
    limits = [_limit(each, "max_tokens", "context_length") or 0 for each in requested]
    output_tokens = max(limits, default=0) if request["max_tokens"] is None else request["max_tokens"]
    milliseconds = min(contract["api"]["timeout_ms"], request["deadline_ms"])
    output_tokens *= request.get("answers", 1)
    return _prices(contract).of(Usage(request["input_bytes"], output_tokens, milliseconds))


def joined(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _unless(passed: bool, clause: str, subject: str, required: str, offered: str) -> Failure | None:
    return None if passed else Failure(clause, subject, required, offered)


def _match(world: World, service: Service) -> Iterator[Failure | None]:
    request, contract = world.request, service.contract
    names, wanted, unwanted = {service.key[0], service.pinned}, request["services"], request["excluded_services"]
    yield _unless(not wanted or not names.isdisjoint(wanted), "service", "services", joined(wanted), service.pinned)
    free = names.isdisjoint(unwanted)
    yield _unless(free, "service", "excluded_services", f"not {joined(unwanted)}", service.pinned)

    offered = {capability["type"]: capability for capability in contract["capabilities"]}
    for name in request["capabilities"]:
        yield _unless(name in offered, "capability", name, name, joined(offered))
    protocols, protocol = request["protocols"], contract["api"]["protocol"]
    yield _unless(not protocols or protocol in protocols, "protocol", "protocol", joined(protocols), protocol)

    capabilities = [offered[name] for name in request["capabilities"]]
    for each in capabilities:
        for feature in _needed_features(request):
            yield _unless(feature in each["features"], "feature", each["type"], feature, joined(each["features"]))
    for each in capabilities:
        yield _fits("context_length", each, request["context_length"], "context_length")
    for each in capabilities:
        yield _fits("max_tokens", each, request["max_tokens"], "max_tokens", "context_length")
    for each in capabilities:
        limited = _limit(each, "max_input_bytes") is not None
        yield _fits("input_size", each, request["input_bytes"] if limited else None, "max_input_bytes")

    for bound, required in world.bounds.items():
        (nanos, words), lower = tightest(contract, bound), bound.endswith(".min")
        met = nanos is not None and (nanos >= required if lower else nanos <= required)
        yield _unless(met, "guarantee", bound, f"{'>=' if lower else '<='} {decimal_text(required)}", words)

    prices, currency, most = _prices(contract), request["currency"], request["max_cost"]
    payable = prices.currency == currency or not any(getattr(prices, name) for name in _PRICES)
    yield _unless(payable, "currency", "currency", currency, prices.currency)
    worst, limit = worst_cost(request, contract), MAX_INTEGER if most is None else min(MAX_INTEGER, read_nanos(most))
    yield _unless(worst <= limit, "cost", "cost.max", f"<= {decimal_text(limit)}", decimal_text(worst))


def _rules(rules: Iterable[Rule], service: Service) -> Iterator[Failure | None]:
    for rule in rules:
        silent = rule.effect is Effect.PREFER or rule.in_force is False
        said = None if silent or rule.in_force is None else rule.says(service)
        yield _unless(silent or said is not None, "policy_error", rule.pinned, rule.effect, "")
        yield _unless(silent or said is (rule.effect is Effect.REQUIRE), "policy", rule.pinned, rule.effect, "")


def _security(world: World, service: Service) -> Iterator[Failure | None]:
    request, principal, access = world.request, world.principal, service.contract["access"]
    own = service.owner == request["tenant_id"]
    yield _unless(own or access["visibility"] == "shared", "visibility", "visibility", "own or shared", "not shared")

    held, asked = principal["permissions"], access["required_permissions"]
    missing = [name for name in sorted(asked["all_of"]) if name not in held]
    yield _unless(not missing, "permission", "permission", "".join(missing[:1]), "not held")
    any_held = not asked["any_of"] or not set(asked["any_of"]).isdisjoint(held)
    yield _unless(any_held, "permission", "permission", f"one of {joined(asked['any_of'])}", "none held")
    level, required = principal["trust_level"], access.get("required_trust_level", TRUST_LEVELS[0])
    yield _unless(place(TRUST_LEVELS, level) >= place(TRUST_LEVELS, required), "trust", "trust_level", required, level)
    yield from _privacy(request, service.contract["privacy"], service.contract["constraints"]["requires"]["internet"])


def _privacy(request: Document, privacy: Document, needs_internet: bool) -> Iterator[Failure | None]:
    stated, limit = privacy["data_locality"], request["data_locality"] or LOCALITIES[-1]
    locality, regions = ("regions", stated) if isinstance(stated, list) else (stated, [])
    at_home, near = locality in ("on_device", "private"), place(LOCALITIES, locality) <= place(LOCALITIES, limit)
    yield _unless(near, "locality", "data_locality", limit, locality)
    confined = locality == "on_device" or (bool(regions) and set(regions) <= set(request["regions"]))
    where = joined(regions) if regions else locality
    yield _unless(confined or not request["regions"], "residency", "regions", joined(request["regions"]), where)

    secrecy, restricted = place(CLASSIFICATIONS, request["classification"]), place(CLASSIFICATIONS, "restricted")
    safe = at_home or secrecy < restricted
    yield _unless(safe, "sensitivity", "data_classification", "on_device or private", locality)
    sensitive = request["sensitive"] or secrecy >= place(CLASSIFICATIONS, "confidential")
    safe = at_home or not sensitive or (privacy["encryption"]["in_transit"] and privacy["encryption"]["at_rest"])
    yield _unless(safe, "sensitivity", "data_classification", "on_device, private or encrypted", locality)
    untaught = (request["training"] and not sensitive) or not privacy.get("trains_on_data", True)
    yield _unless(untaught, "training", "trains_on_data", "false", "true")

    days, most = privacy.get("data_retention_days"), request["max_retention_days"]
    short = most is None or (days is not None and days <= most)
    yield _unless(short, "retention", "data_retention_days", f"<= {most}", _stated(days))
    for framework in sorted(request["compliance"]):
        declared = privacy["compliance"]
        yield _unless(framework in declared, "compliance", "compliance", framework, joined(declared))
    sealed = request["egress"] or (at_home and not needs_internet)
    yield _unless(sealed, "egress", "egress", "none", "internet" if needs_internet else locality)


def _needed_features(request: Document) -> list[str]:
    return sorted({*request["features"], *(["streaming"] if request["stream"] else [])})


def _fits(clause: str, capability: Document, needed: int | None, *limits: str) -> Failure | None:
    limit = _limit(capability, *limits)
    enough = needed is None or (limit is not None and needed <= limit)
    return _unless(enough, clause, capability["type"], str(needed), _stated(limit))


def _stated(number: int | None) -> str:
    return "undeclared" if number is None else str(number)


def _limit(capability: Document, *names: str) -> int | None:
    """The first of the limits ``names`` that ``capability`` declares."""
    return next((capability["limits"][name] for name in names if name in capability.get("limits", {})), None)


def _prices(contract: Document) -> Prices:
    cost = contract["cost"]
    return Prices(cost["currency"], **{name: picos(cost[name]) for name in _PRICES if name in cost})
