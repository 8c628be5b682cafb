"""What anybody would write first: every service against every clause, one after the other, in Python.

It uses the same compiled expressions as the kernel and asks only what the generated worlds can fail,
so it does less; and it writes no certificate.
"""

from __future__ import annotations

from collections.abc import Sequence

from caio.foundation.money import Usage
from caio.routing.expressions import EvaluationError
from caio.routing.matching import qualifying
from caio.routing.model import Effect, Offer, Principal, Request
from caio.routing.rules import Rule
from caio.routing.variables import principal_variables, request_variables


def choose(offers: Sequence[Offer], rules: Sequence[Rule], request: Request, principal: Principal) -> Offer | None:
    """The cheapest service that passes everything."""
    read = {
        "request": request_variables(request.document()),
        "principal": principal_variables(principal.document()),
    }
    active = [rule for rule in rules if _holds(rule, read)]
    feasible = [offer for offer in offers if _fits(offer, request, principal) and _allowed(offer, active)]
    return min(feasible, key=lambda offer: _price(offer, request), default=None)


def _fits(offer: Offer, request: Request, principal: Principal) -> bool:
    for wanted in request.capabilities:
        capability = offer.capabilities.get(wanted)
        if capability is None or not request.features <= capability.features:
            return False
        if request.max_tokens is not None and (capability.max_tokens or 0) < request.max_tokens:
            return False
    for name, required in request.bounds:
        offered = [offer.bounds[each] for each, _ in qualifying(name) if each in offer.bounds]
        if not offered or (min(offered) < required if name.endswith(".min") else min(offered) > required):
            return False
    if request.max_cost is not None and _price(offer, request) > request.max_cost:
        return False
    return offer.access.all_of <= principal.permissions and request.compliance <= offer.privacy.compliance


def _price(offer: Offer, request: Request) -> int:
    milliseconds = min(offer.timeout_ms, request.deadline_ms)
    return offer.prices.of(Usage(request.input_bytes, request.max_tokens or 0, milliseconds))


def _holds(rule: Rule, read: dict[str, dict[str, object]]) -> bool:
    try:
        return rule.applies(read)
    except EvaluationError:
        return True


def _allowed(offer: Offer, active: Sequence[Rule]) -> bool:
    for rule in active:
        effect = rule.policy.effect
        if effect is not Effect.PREFER and _said(rule, offer) is not (effect is not Effect.FORBID):
            return False
    return True


def _said(rule: Rule, offer: Offer) -> bool | None:
    try:
        return rule.says({"service": offer.variables})
    except EvaluationError:
        return None
