"""What admission is asked for: a call's meters, slots and price, put together from everybody's limits.

What does not change from call to call (whose windows there are, and that a call is one request) is worked out
once for a tenant's quotas, a caller's limits and a contract, and kept. A service is held to the tighter of what
its contract states and what the tenant sets for it.

Tokens and compute are asked for at the worst case, as the price is: every input byte a token, and the longest
answer that the request or else the contract allows; for the service the time it may take, for the tenant and
the caller with what the call has taken before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caio.gateway.most import worst_tokens
from caio.gateway.ports import Ask, Meter, Slots
from caio.gateway.refusals import KEY, SERVICE, TENANT
from caio.gateway.run import Wanted
from caio.metering.ledger import TOTAL, month_of
from caio.routing.model import Offer, Ranked
from caio.tenancy.limits import UNLIMITED, Limits, Unit, Window
from caio.tenancy.ports import BudgetPeriod, Quotas
from caio.tenancy.rate_limit import DAY, HOUR, MINUTE

#: How much longer than its deadline a call may take until everything of it is written, in microseconds.
MARGIN = 60_000_000
#: Subjects whose parts are kept, of each sort.
KEPT = 10_000


@dataclass(frozen=True, slots=True)
class _Part:
    """One subject's part of an ask: ``requests`` as it always is, the windows of what differs from call to call."""

    limits: Limits | Quotas
    subject: str
    requests: tuple[Meter, ...]
    tokens: tuple[Window, ...]
    compute: tuple[Window, ...]
    slots: tuple[Slots, ...]
    varies: bool

    @classmethod
    def of(
        cls, subject: str, limits: Limits, key: Limits | Quotas, requests: tuple[Window, ...] | None = None
    ) -> _Part:
        counted = limits.windows(Unit.REQUESTS) if requests is None else requests
        tokens, compute = limits.windows(Unit.TOKENS), limits.windows(Unit.COMPUTE_MS)
        return cls(
            key,
            subject,
            (Meter(subject, Unit.REQUESTS, 1, counted),) if counted else (),
            tokens,
            compute,
            () if limits.concurrent is None else (Slots(subject, limits.concurrent),),
            bool(tokens or compute),
        )

    def meters(self, tokens: int, compute_ms: int) -> tuple[Meter, ...]:
        if not self.varies:
            return self.requests
        varying = ((Unit.TOKENS, tokens, self.tokens), (Unit.COMPUTE_MS, compute_ms, self.compute))
        return (*self.requests, *(Meter(self.subject, unit, most, each) for unit, most, each in varying if each))


class Asks:
    """Makes the asks of one process. Holds nothing but what it has worked out before."""

    def __init__(self) -> None:
        self._tenants: dict[str, _Part] = {}
        self._callers: dict[tuple[str, str], _Part] = {}
        self._services: dict[tuple[str, str], _Part] = {}
        self._day = -1
        self._month = ""

    def ask(
        self,
        wanted: Wanted,
        ranked: Ranked,
        decision_id: str,
        allowed: Mapping[str, Limits],
        now: int,
        elapsed_ms: int = 0,
    ) -> Ask:
        """The ask for calling ``ranked`` at ``now``, when the request has already taken ``elapsed_ms``. ``allowed``
        is what the tenant sets for its services."""
        caller, request, offer = wanted.caller, wanted.request, ranked.offer
        principal_id, quotas = caller.principal.principal_id, caller.tenant.quotas
        tenant = self._tenant(caller.tenant.tenant_id, quotas)
        service = self._service(caller.tenant.tenant_id, offer, allowed.get(offer.service_id, UNLIMITED))
        if caller.limits is UNLIMITED and not tenant.varies and not service.varies:
            meters, slots = tenant.requests + service.requests, tenant.slots + service.slots
        else:
            key = self._caller(caller.tenant.tenant_id, principal_id, caller.limits)
            tokens = worst_tokens(request, offer)
            longest = min(max(0, request.deadline_ms - elapsed_ms), offer.timeout_ms)
            whole = elapsed_ms + longest
            meters = tenant.meters(tokens, whole) + key.meters(tokens, whole) + service.meters(tokens, longest)
            slots = tenant.slots + key.slots + service.slots
        return Ask(
            caller.scope,
            decision_id,
            principal_id,
            offer.service_id,
            ranked.worst_cost,
            quotas.budget,
            TOTAL if quotas.budget_period is BudgetPeriod.TOTAL else self._month_of(now),
            meters,
            slots,
            now + (request.deadline_ms - elapsed_ms) * 1000 + MARGIN,
            caller.tenant.outage,
        )

    def _tenant(self, tenant_id: str, quotas: Quotas) -> _Part:
        known = self._tenants.get(tenant_id)
        if known is None or (known.limits is not quotas and known.limits != quotas):
            requests = (
                Window("minute", quotas.per_minute, MINUTE),
                Window("hour", quotas.per_hour, HOUR),
                Window("day", quotas.per_day, DAY),
            )
            _make_room(self._tenants)
            known = self._tenants[tenant_id] = _Part.of(TENANT, quotas.limits, quotas, requests)
        return known

    def _caller(self, tenant_id: str, principal_id: str, limits: Limits) -> _Part:
        of = (tenant_id, principal_id)
        known = self._callers.get(of)
        if known is None or (known.limits is not limits and known.limits != limits):
            _make_room(self._callers)
            known = self._callers[of] = _Part.of(KEY + principal_id, limits, limits)
        return known

    def _service(self, tenant_id: str, offer: Offer, allowed: Limits) -> _Part:
        of = (tenant_id, offer.contract_hash)
        known = self._services.get(of)
        if known is None or (known.limits is not allowed and known.limits != allowed):
            _make_room(self._services)
            limits = tighter(stated_limits(offer.document), allowed)
            known = self._services[of] = _Part.of(SERVICE + offer.service_id, limits, allowed)
        return known

    def _month_of(self, now: int) -> str:
        if (day := now // DAY) != self._day:
            self._day, self._month = day, month_of(now)
        return self._month


def stated_limits(document: Mapping[str, Any]) -> Limits:
    """The limits that a contract states for its service."""
    constraints = document["constraints"]
    rate = constraints.get("rate_limit", {})
    return Limits(
        requests_per_minute=rate.get("per_minute"),
        requests_per_hour=rate.get("per_hour"),
        concurrent=constraints.get("max_concurrent_requests"),
    )


def tighter(one: Limits, other: Limits) -> Limits:
    """Of each limit the smaller."""
    found = one.document()
    for name, limit in other.document().items():
        found[name] = min(limit, found.get(name, limit))
    return Limits(**found)


def _make_room(kept: dict[Any, _Part]) -> None:
    if len(kept) >= KEPT:
        kept.clear()
