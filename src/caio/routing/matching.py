"""Stage 1, match: does a contract promise what the request needs?

One function a clause, tried in the order of ``docs/reference/routing-rules.md``; each answers
None (met) or the *lack*: clause, subject, required, offered. Laws: law 5 of DESIGN (a bound is met
by the same or a stronger statistic only) and correctness (the winner passes every clause).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from caio.foundation.canonical import MAX_INTEGER
from caio.foundation.money import Usage
from caio.foundation.quantity import decimal_text
from caio.routing.model import STRENGTH, Capability, Offer, Request

#: Clause, subject, required, offered.
Lack = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Needs:
    """A request prepared once, so that each service is only compared."""

    request: Request
    bounds: tuple[tuple[str, int], ...]
    features: tuple[str, ...]

    @classmethod
    def of(cls, request: Request) -> Needs:
        bounds: dict[str, int] = {}
        for stated, value in request.bounds:
            name = as_evaluated(stated, request.stream)
            tighter = max if name.endswith(".min") else min
            bounds[name] = tighter(value, bounds.get(name, value))
        features = request.features | {"streaming"} if request.stream else request.features
        return cls(request, tuple(sorted(bounds.items())), tuple(sorted(features)))


def as_evaluated(bound: str, stream: bool) -> str:
    """The bound's name as it is compared: a stream's latency is its time to the first token."""
    return f"first_token_ms.{bound[11:]}" if stream and bound.startswith("latency_ms.") else bound


def join(members: Iterable[str]) -> str:
    return ", ".join(sorted(members)) or "none"


def lack(offer: Offer, needs: Needs, worst_cost: int) -> Lack | None:
    """The first clause of this stage that ``offer`` fails, or None."""
    request = needs.request
    if request.services or request.excluded_services:
        named = _unwanted(offer, request)
        if named:
            return named
    offered = offer.capabilities
    for wanted in request.capabilities:
        if wanted not in offered:
            return ("capability", wanted, wanted, join(offered))
    if request.protocols and offer.protocol not in request.protocols:
        return ("protocol", "protocol", join(request.protocols), offer.protocol)
    return _beyond_limits(offer, needs) or _unmet_bound(offer, needs) or _too_dear(offer, request, worst_cost)


def _unwanted(offer: Offer, request: Request) -> Lack | None:
    name, address = offer.service_id, f"{offer.service_id}@{offer.version}"
    if request.services and name not in request.services and address not in request.services:
        return ("service", "services", join(request.services), address)
    if name in request.excluded_services or address in request.excluded_services:
        return ("service", "excluded_services", f"not {join(request.excluded_services)}", address)
    return None


def _beyond_limits(offer: Offer, needs: Needs) -> Lack | None:
    request, wanted = needs.request, [offer.capabilities[name] for name in needs.request.capabilities]
    for capability in wanted:
        for feature in needs.features:
            if feature not in capability.features:
                return ("feature", capability.type, feature, join(capability.features))
    if request.context_length is not None:
        for capability in wanted:
            if (limit := capability.context_length) is None or limit < request.context_length:
                return ("context_length", capability.type, str(request.context_length), _limit(limit))
    if request.max_tokens is not None:
        for capability in wanted:
            if (limit := output_limit(capability)) is None or limit < request.max_tokens:
                return ("max_tokens", capability.type, str(request.max_tokens), _limit(limit))
    for capability in wanted:
        if capability.max_input_bytes is not None and capability.max_input_bytes < request.input_bytes:
            return ("input_size", capability.type, str(request.input_bytes), str(capability.max_input_bytes))
    return None


def _unmet_bound(offer: Offer, needs: Needs) -> Lack | None:
    for name, required in needs.bounds:
        found = tightest(offer.bounds, name)
        lower = name.endswith(".min")
        if found is None or (found[1] < required if lower else found[1] > required):
            sign = ">=" if lower else "<="
            return ("guarantee", name, f"{sign} {decimal_text(required)}", offered_text(name, found))
    return None


def _too_dear(offer: Offer, request: Request, worst_cost: int) -> Lack | None:
    prices = offer.prices
    if prices.currency != request.currency and (
        prices.per_request or prices.per_input_token or prices.per_output_token or prices.per_second
    ):
        return ("currency", "currency", request.currency, prices.currency)
    most = MAX_INTEGER if request.max_cost is None else min(request.max_cost, MAX_INTEGER)
    if worst_cost > most:
        return ("cost", "cost.max", f"<= {decimal_text(most)}", decimal_text(worst_cost))
    return None


def tightest(bounds: Mapping[str, int], name: str) -> tuple[str, int] | None:
    """The statistic and value of the tightest offered bound that may serve ``name``, or None."""
    best: tuple[str, int] | None = None
    for candidate, statistic in qualifying(name):
        value = bounds.get(candidate)
        if value is not None and (best is None or value < best[1]):
            best = (statistic, value)
    return best


@cache
def qualifying(name: str) -> tuple[tuple[str, str], ...]:
    """The bounds that may serve ``name``, weakest statistic first: (bound, statistic)."""
    prefix, statistic = name.rsplit(".", 1)
    usable = STRENGTH[STRENGTH.index(statistic) :] if statistic in STRENGTH else (statistic,)
    return tuple((f"{prefix}.{each}", each) for each in usable)


def offered_text(name: str, found: tuple[str, int] | None) -> str:
    if found is None:
        return "undeclared"
    return decimal_text(found[1]) if name.endswith(".min") else f"{found[0]} {decimal_text(found[1])}"


def output_limit(capability: Capability) -> int | None:
    return capability.max_tokens if capability.max_tokens is not None else capability.context_length


def worst_price(offer: Offer, request: Request) -> int:
    """The most one call can cost, in nano-units: every input byte a token, every limit reached."""
    output = request.max_tokens
    if output is None:
        wanted = [offer.capabilities[name] for name in request.capabilities if name in offer.capabilities]
        output = max((output_limit(capability) or 0 for capability in wanted), default=0)
    milliseconds = min(offer.timeout_ms, request.deadline_ms)
    return offer.prices.of(Usage(request.input_bytes, output, milliseconds))


def _limit(limit: int | None) -> str:
    return "undeclared" if limit is None else str(limit)
