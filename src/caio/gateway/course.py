"""A call's course through the services that its decision ranked: who is admitted first, and who comes next.

Every step asks admission again, and goes only to services of the same decision: there is no other way to one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from caio.foundation.errors import (
    FAULTS_WORTH_A_FALLBACK,
    CaioError,
    DeadlineExceeded,
    LimitExceeded,
    UpstreamFailed,
    UpstreamFault,
)
from caio.gateway.asks import Asks
from caio.gateway.attempts import Attempts
from caio.gateway.doors import Doors
from caio.gateway.most import most_of
from caio.gateway.ports import Admission, Clock, Grant, ServiceBusy
from caio.gateway.run import Run, Tried, Wanted
from caio.registry.service_limits import ServiceLimits
from caio.routing.model import Decision, OnViolation
from caio.tenancy.limits import Limits


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision with its id and time: what ``/api/v1/route`` answers."""

    decision_id: str
    decided_at: int
    decision: Decision


class Course:
    """Chooses among a decision's services, by what admission has room for and what came of those before."""

    def __init__(
        self, admission: Admission, service_limits: ServiceLimits, attempts: Attempts, doors: Doors, clock: Clock
    ) -> None:
        self._admission = admission
        self._service_limits = service_limits
        self._attempts = attempts
        self._doors = doors
        self._clock = clock
        self._asks = Asks()

    async def admitted(self, wanted: Wanted, decided: Decided) -> Run:
        """Admit the best ranked service that has room and can take the payload, which the winner can.
        Raises LimitExceeded or BudgetExhausted."""
        soonest: ServiceBusy | None = None
        allowed = await self._allowed(wanted)
        for position, ranked in enumerate(decided.decision.ranked):
            if position > 0 and self._attempts.misfits(wanted, ranked.offer):
                continue
            ask = self._asks.ask(wanted, ranked, decided.decision_id, allowed, decided.decided_at)
            asked_at = self._doors.now()
            try:
                granted = await self._admission.admit(ask, decided.decided_at)
            except LimitExceeded as error:
                self._doors.shut(wanted.caller, error, asked_at)
                raise
            if isinstance(granted, Grant):
                most = most_of(wanted.request, decided.decision, position)
                return Run(wanted, decided.decision, decided.decision_id, decided.decided_at, granted, position, most)
            if soonest is None or granted.retry_after < soonest.retry_after:
                soonest = granted
        assert soonest is not None  # noqa: S101 - a decision that was not refused ranks a service
        raise LimitExceeded(
            f"every service that satisfies the request is at its limit ({soonest.window})",
            window=soonest.window,
            limit=soonest.limit,
            retry_after=soonest.retry_after,
        )

    async def followed(self, run: Run, tried: Tried, *, repeatable: bool = True) -> None:
        """Hand the run on after an attempt that did not do: to the same service once more where the policy wants
        it and the call is ``repeatable``, else to the next one. Raises what the caller is told when nobody is left."""
        first_time = len(run.tried) < 2 or run.tried[-2].ranked is not tried.ranked
        again = repeatable and first_time and tried.fault is None and run.decision.on_violation is OnViolation.RETRY
        if again and await self._moved(run, run.position):
            return
        if not worth_moving(tried, run.decision.on_violation) or not await self._moved_on(run):
            raise failure(run, tried)

    async def _moved_on(self, run: Run) -> bool:
        """Hand the run to the next ranked service that has room, can take the payload, and takes no more than the
        decision says."""
        for position in range(run.position + 1, len(run.decision.ranked)):
            if run.remaining <= 0:
                return False
            ranked = run.decision.ranked[position]
            if self._attempts.misfits(run.wanted, ranked.offer) or not run.most.covers(run.wanted.request, ranked):
                continue
            if await self._moved(run, position):
                return True
        return False

    async def _moved(self, run: Run, position: int) -> bool:
        """Have the run admitted for another call: of the service at ``position``, perhaps the one it has called."""
        allowed, now, ranked = await self._allowed(run.wanted), self._clock(), run.decision.ranked[position]
        ask = self._asks.ask(run.wanted, ranked, run.decision_id, allowed, now, run.elapsed_ms)
        granted = await self._admission.move(run.grant, ask, now)
        if isinstance(granted, ServiceBusy):
            return False
        run.grant, run.position = granted, position
        return True

    async def _allowed(self, wanted: Wanted) -> Mapping[str, Limits]:
        """What the caller's tenant sets for its services."""
        scope = wanted.caller.scope
        fresh = self._service_limits.fresh(scope.tenant_id)
        return await self._service_limits.read(scope) if fresh is None else fresh


def acceptable(tried: Tried, on_violation: OnViolation) -> bool:
    return not tried.breaches or on_violation is OnViolation.REPORT


def worth_moving(tried: Tried, on_violation: OnViolation) -> bool:
    """Whether another service might do better."""
    if tried.fault is not None:
        return tried.fault.fault in FAULTS_WORTH_A_FALLBACK
    return on_violation in (OnViolation.RETRY, OnViolation.FALLBACK)


def failure(run: Run, tried: Tried) -> CaioError:
    """What the caller is told when no service is left to try."""
    name = tried.ranked.offer.service_id
    if tried.fault is None:
        broken = "; ".join(f"{each.clause} {each.observed}" for each in tried.breaches)
        return UpstreamFailed(f"{name} broke its contract: {broken}", UpstreamFault.VIOLATION)
    if run.remaining <= 0 or tried.fault.fault is UpstreamFault.TIMEOUT:
        return DeadlineExceeded(f"{name} did not answer in time ({len(run.tried)} attempt(s))")
    return tried.fault
