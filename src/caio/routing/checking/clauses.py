"""The clauses, one ``yield`` for each way to fail, in the order of the rules' table.

Each generator is read up to its first failure and no further: a later clause may rely on the
earlier ones having held (a feature is asked of a capability that is there). What each clause is
for is told in docs/reference/routing-rules.md, whose order and words these are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from caio.foundation.canonical import MAX_INTEGER
from caio.foundation.money import Prices, Usage, picos
from caio.foundation.quantity import NANO, decimal_text, read_nanos
from caio.routing.checking.evidence import Document, Rule, Service, Unreadable, World
from caio.routing.model import LOCALITIES, STRENGTH, TRUST_LEVELS, Effect

_PRICES = ("per_request", "per_input_token", "per_output_token", "per_second")
_AT_HOME = ("on_device", "private")


class Failure(NamedTuple):
    """Why a service is excluded, in the words of its exclusion record."""

    clause: str
    subject: str
    required: str
    offered: str


def first_failure(world: World, service: Service) -> Failure | None:
    """The first clause that ``service`` fails, None for a feasible one."""
    for clauses in (_match(world, service), _rules(world.rules, service), _security(world, service)):
        for failure in clauses:
            return failure
    return None


def tightest(contract: Document, bound: str) -> tuple[int, str] | None:
    """What ``contract`` offers for ``bound``, in nanos and in words; None when undeclared."""
    prop, _, statistic = bound.rpartition(".")
    promised = contract["guarantees"].get(prop, {})
    if statistic == "min":
        if prop == "determinism":
            return (NANO, "1") if prop in contract["guarantees"] else None
        return (read_nanos(promised["min"]), promised["min"]) if "min" in promised else None
    strong_enough = STRENGTH[STRENGTH.index(statistic) :]
    offers = [(read_nanos(promised[name]), f"{name} {promised[name]}") for name in strong_enough if name in promised]
    return min(offers, key=lambda offer: offer[0], default=None)


def worst_cost(request: Document, contract: Document) -> int:
    """The price of the dearest call that ``request`` allows, in nano-units."""
    output_tokens = request["max_tokens"]
    if output_tokens is None:
        limits = [_output_limit(_capability(contract, wanted)) for wanted in request["capabilities"]]
        output_tokens = max((limit for limit in limits if limit is not None), default=0)
    milliseconds = min(contract["api"]["timeout_ms"], request["deadline_ms"])
    return _prices(contract).of(Usage(request["input_bytes"], output_tokens, milliseconds))


def joined(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _match(world: World, service: Service) -> Iterator[Failure]:
    request, contract = world.request, service.contract
    names = {contract["service_id"], service.pinned}
    if request["services"] and not names & set(request["services"]):
        yield Failure("service", "services", joined(request["services"]), service.pinned)
    if names & set(request["excluded_services"]):
        yield Failure("service", "excluded_services", f"not {joined(request['excluded_services'])}", service.pinned)

    types = [capability["type"] for capability in contract["capabilities"]]
    for wanted in request["capabilities"]:
        if wanted not in types:
            yield Failure("capability", wanted, wanted, joined(types))
    protocol = contract["api"]["protocol"]
    if request["protocols"] and protocol not in request["protocols"]:
        yield Failure("protocol", "protocol", joined(request["protocols"]), protocol)
    yield from _capability_clauses(request, contract)

    for bound, required in world.bounds.items():
        offered, lower = tightest(contract, bound), bound.endswith(".min")
        if offered is None or (offered[0] < required if lower else offered[0] > required):
            sign = ">=" if lower else "<="
            text = "undeclared" if offered is None else offered[1]
            yield Failure("guarantee", bound, f"{sign} {decimal_text(required)}", text)

    prices = _prices(contract)
    if prices.currency != request["currency"] and any(getattr(prices, name) for name in _PRICES):
        yield Failure("currency", "currency", request["currency"], prices.currency)
    most = MAX_INTEGER if request["max_cost"] is None else min(MAX_INTEGER, read_nanos(request["max_cost"]))
    if (worst := worst_cost(request, contract)) > most:
        yield Failure("cost", "cost.max", f"<= {decimal_text(most)}", decimal_text(worst))


def _capability_clauses(request: Document, contract: Document) -> Iterator[Failure]:
    needed = sorted({*request["features"], *(["streaming"] if request["stream"] else [])})
    for wanted in request["capabilities"]:
        features = _capability(contract, wanted)["features"]
        for feature in needed:
            if feature not in features:
                yield Failure("feature", wanted, feature, joined(features))
    for wanted in request["capabilities"]:
        context = _capability(contract, wanted).get("limits", {}).get("context_length")
        yield from _too_small("context_length", wanted, request["context_length"], context)
    for wanted in request["capabilities"]:
        output = _output_limit(_capability(contract, wanted))
        yield from _too_small("max_tokens", wanted, request["max_tokens"], output)
    for wanted in request["capabilities"]:
        limit = _capability(contract, wanted).get("limits", {}).get("max_input_bytes")
        if limit is not None:
            yield from _too_small("input_size", wanted, request["input_bytes"], limit)


def _too_small(clause: str, subject: str, needed: int | None, limit: int | None) -> Iterator[Failure]:
    if needed is not None and (limit is None or limit < needed):
        yield Failure(clause, subject, str(needed), "undeclared" if limit is None else str(limit))


def _rules(rules: Iterable[Rule], service: Service) -> Iterator[Failure]:
    for rule in rules:
        if rule.effect is Effect.PREFER or rule.in_force is False:
            continue
        verdict = None if rule.in_force is None else rule.says(service)
        if verdict is None:
            yield Failure("policy_error", rule.pinned, rule.effect.value, "")
        elif verdict is (rule.effect is Effect.FORBID):
            yield Failure("policy", rule.pinned, rule.effect.value, "")


def _security(world: World, service: Service) -> Iterator[Failure]:
    request, principal, contract = world.request, world.principal, service.contract
    access = contract["access"]
    if service.owner != request["tenant_id"] and access["visibility"] != "shared":
        yield Failure("visibility", "visibility", "own or shared", "not shared")

    held, wanted = principal["permissions"], access["required_permissions"]
    for permission in sorted(wanted["all_of"]):
        if permission not in held:
            yield Failure("permission", "permission", permission, "not held")
    if wanted["any_of"] and not set(wanted["any_of"]) & set(held):
        yield Failure("permission", "permission", f"one of {joined(wanted['any_of'])}", "none held")

    level, required = principal["trust_level"], access.get("required_trust_level", TRUST_LEVELS[0])
    if TRUST_LEVELS.index(level) < TRUST_LEVELS.index(required):
        yield Failure("trust", "trust_level", required, level)
    yield from _privacy(request, contract["privacy"], contract["constraints"]["requires"]["internet"])


def _privacy(request: Document, privacy: Document, needs_internet: bool) -> Iterator[Failure]:
    locality, regions = _locality(privacy)
    at_home, asked = locality in _AT_HOME, request["data_locality"]
    if asked is not None and LOCALITIES.index(locality) > LOCALITIES.index(asked):
        yield Failure("locality", "data_locality", asked, locality)
    confined = bool(regions) and set(regions) <= set(request["regions"])
    if request["regions"] and locality != "on_device" and not confined:
        yield Failure("residency", "regions", joined(request["regions"]), joined(regions) if regions else locality)

    classification, encryption = request["classification"], privacy["encryption"]
    if classification == "restricted" and not at_home:
        yield Failure("sensitivity", "data_classification", "on_device or private", locality)
    encrypted = encryption["in_transit"] and encryption["at_rest"]
    if (request["sensitive"] or classification == "confidential") and not at_home and not encrypted:
        yield Failure("sensitivity", "data_classification", "on_device, private or encrypted", locality)
    sensitive = request["sensitive"] or classification in ("confidential", "restricted")
    if (sensitive or not request["training"]) and privacy.get("trains_on_data", True):
        yield Failure("training", "trains_on_data", "false", "true")

    longest, days = request["max_retention_days"], privacy.get("data_retention_days")
    if longest is not None and (days is None or days > longest):
        offered = "undeclared" if days is None else str(days)
        yield Failure("retention", "data_retention_days", f"<= {longest}", offered)
    for framework in sorted(request["compliance"]):
        if framework not in privacy["compliance"]:
            yield Failure("compliance", "compliance", framework, joined(privacy["compliance"]))
    if not request["egress"] and (needs_internet or not at_home):
        yield Failure("egress", "egress", "none", "internet" if needs_internet else locality)


def _capability(contract: Document, wanted: str) -> Document:
    found: Document = next(each for each in contract["capabilities"] if each["type"] == wanted)
    return found


def _output_limit(capability: Document) -> int | None:
    limits = capability.get("limits", {})
    limit: int | None = limits.get("max_tokens", limits.get("context_length"))
    return limit


def _prices(contract: Document) -> Prices:
    cost = contract["cost"]
    return Prices(cost["currency"], **{name: picos(cost[name]) for name in _PRICES if name in cost})


def _locality(privacy: Document) -> tuple[str, list[str]]:
    stated = privacy["data_locality"]
    if isinstance(stated, list):
        return "regions", stated
    if stated not in LOCALITIES or stated == "regions":
        raise Unreadable(f"{stated!r} is no data locality")
    return stated, []
