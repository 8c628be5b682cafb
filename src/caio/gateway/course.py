"""A call's course through the services that its decision ranked: who is admitted first, and who comes next.

Theory of operation
-------------------
Every step asks admission again, and goes only to services of the same decision: there is no other way to one. A
service whose breaker is open (``breakers``) is passed over, one that is ejected comes last. Where slots are all that
is missing the call waits for one in turn (``waiting``).

After a fault that a further try may mend, the same service is called again, at most ``MOST_REPEATS`` times, each time
after a random part of a pause that doubles; then the next one. A service that says when to come back is not called
before. A repetition must end within what the decision's record says of the call (``most``).

Laws (each has a test of the same name)
---------------------------------------
- open_services_are_passed_over: at admission, at a fallback and at a repetition; when all are, none is called.
- one_probe_is_let_through: of calls that come at once, too, however long admission takes.
- a_repetition_needs_a_fault_that_may_pass, and a call of which nothing was done or that may be done twice.
- a_payload_goes_to_the_best_service_that_can_take_it: its input schema, and what its protocol can say.
- no_more_repetitions_than_may, and none before the service said.
- the_callers_hurry_is_no_fault_of_the_service: a deadline that leaves a service less than ``FAIR_MS``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic

from caio.foundation.errors import (
    FAULTS_WORTH_A_FALLBACK,
    CaioError,
    DeadlineExceeded,
    LimitExceeded,
    NotReady,
    UpstreamFailed,
    UpstreamFault,
)
from caio.gateway.asks import Asks
from caio.gateway.attempts import Attempts, Unsaid
from caio.gateway.breakers import Breakers
from caio.gateway.doors import Doors
from caio.gateway.most import most_of
from caio.gateway.ports import Admission, Clock, Grant, Operation, ServiceBusy
from caio.gateway.refusals import is_for_slots
from caio.gateway.run import Run, Tried, Wanted
from caio.gateway.waiting import WAIT_SECONDS, Place, SlotQueues
from caio.observability.metrics import Metrics
from caio.observability.tracing import current
from caio.registry.service_limits import ServiceLimits
from caio.routing.model import Decision, OnViolation, Ranked
from caio.tenancy.limits import Limits

#: Repetitions at one service, and the longest pause before the first, in seconds; it doubles.
MOST_REPEATS = 2
PAUSE = 0.05

#: A service that asks for a longer pause than this is not waited for.
LONGEST_PAUSE = 2.0

#: A service that had so many milliseconds and did not answer has failed, whatever deadline the caller set.
FAIR_MS = 10_000

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision with its id and time: what ``/api/v1/route`` answers."""

    decision_id: str
    decided_at: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class _Busy:
    """No service had room: the refusal that ends soonest, and the best ranked service that lacks a slot alone."""

    soonest: ServiceBusy
    slots: tuple[str, ServiceBusy] | None


class Course:
    """Chooses among a decision's services, by what admission has room for and what came of those before. ``chance``
    gives numbers from 0 to 1."""

    def __init__(
        self,
        admission: Admission,
        service_limits: ServiceLimits,
        attempts: Attempts,
        doors: Doors,
        breakers: Breakers,
        queues: SlotQueues,
        clock: Clock,
        metrics: Metrics,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._admission = admission
        self._service_limits = service_limits
        self._attempts = attempts
        self._doors = doors
        self._breakers = breakers
        self._queues = queues
        self._clock = clock
        self._metrics = metrics
        self._chance = chance
        self._asks = Asks()

    async def admitted(self, wanted: Wanted, decided: Decided) -> Run:
        """Admit the best ranked service that has room and can take the payload. Waits a moment where slots alone are
        missing. Raises LimitExceeded or BudgetExhausted, InvalidInput ``invalid_payload`` when no service can take
        the payload, and NotReady ``services_unavailable`` when every service is left alone at present."""
        found = await self._first_with_room(wanted, decided)
        if isinstance(found, Run):
            return found
        if found.slots is not None:
            found = await self._when_a_slot_is_free(wanted, decided, found, *found.slots)
        if isinstance(found, Run):
            return found
        soonest = found.soonest
        raise LimitExceeded(
            f"every service that satisfies the request is at its limit ({soonest.window})",
            window=soonest.window,
            limit=soonest.limit,
            retry_after=soonest.retry_after,
        )

    async def _when_a_slot_is_free(
        self, wanted: Wanted, decided: Decided, found: _Busy, service_id: str, busy: ServiceBusy
    ) -> Run | _Busy:
        """The run, or what was in the way when there was no more time to wait."""
        started, tenant_id = monotonic(), wanted.caller.scope.tenant_id
        until = started + min(WAIT_SECONDS, wanted.request.deadline_ms / 2000)
        with self._queues.joined(tenant_id, service_id, busy, until) as place:
            while place is not None and await self._queues.turn(tenant_id, service_id, place):
                # Decided as before, and admitted now: what the records say of it begins now.
                now = replace(decided, decided_at=self._clock())
                tried = await self._first_with_room(wanted, now, place, monotonic() - started)
                if isinstance(tried, Run):
                    return tried
                found = tried
        return found

    async def _first_with_room(
        self, wanted: Wanted, decided: Decided, place: Place | None = None, waited: float = 0.0
    ) -> Run | _Busy:
        soonest: ServiceBusy | None = None
        slots: tuple[str, ServiceBusy] | None = None
        ranked, tenant_id = decided.decision.ranked, wanted.caller.scope.tenant_id
        allowed = await self._allowed(wanted)
        order = self._breakers.order(tenant_id, ranked, decided.decided_at)
        unsaid: Unsaid = {}
        for position in order:
            candidate = ranked[position]
            offer = candidate.offer
            if not self._attempts.takes(wanted, offer, unsaid):
                await asyncio.sleep(0)  # asking takes a while of a large payload, and services may be many
                continue
            granted: Grant | ServiceBusy | None = None
            if self._queues:
                granted = self._queues.ahead(tenant_id, offer.service_id, place)
            probe = False
            if granted is None:
                if type(order) is list:
                    # Before admission is asked, which may take a while: or all who ask meanwhile would be probes.
                    probe = self._breakers.take_probe(tenant_id, offer, decided.decided_at)
                    if not probe and self._breakers.is_shut(tenant_id, offer, decided.decided_at):
                        continue
                granted = await self._granted(wanted, decided, candidate, allowed, waited, probe=probe)
            if isinstance(granted, Grant):
                decision, most = decided.decision, most_of(wanted.request, decided.decision, position)
                run = Run(wanted, decision, decided.decision_id, decided.decided_at, granted, position, candidate, most)
                run.waited, run.probe = waited, probe
                return run
            if slots is None and is_for_slots(granted):
                slots = offer.service_id, granted
            if soonest is None or granted.retry_after < soonest.retry_after:
                soonest = granted
        if soonest is None:
            if (unfit := self._attempts.taken_by_none(wanted, ranked, unsaid)) is not None:
                raise unfit
            raise none_callable(self._breakers.wait(tenant_id, ranked, decided.decided_at))
        return _Busy(soonest, slots)

    async def _granted(
        self,
        wanted: Wanted,
        decided: Decided,
        ranked: Ranked,
        allowed: Mapping[str, Limits],
        waited: float,
        *,
        probe: bool,
    ) -> Grant | ServiceBusy:
        """What admission says; a ``probe`` that is not admitted is given back."""
        granted: Grant | ServiceBusy | None = None
        ask = self._asks.ask(wanted, ranked, decided.decision_id, allowed, decided.decided_at, int(waited * 1000))
        asked_at = self._doors.now()
        try:
            granted = await self._admission.admit(ask, decided.decided_at)
        except LimitExceeded as error:
            self._doors.shut(wanted.caller, error, asked_at)
            raise
        finally:
            if probe and not isinstance(granted, Grant):
                self._breakers.give_back_probe(wanted.caller.scope.tenant_id, ranked.offer)
        return granted

    def told(self, run: Run, tried: Tried) -> None:
        """Take note, for the service's health, of how an attempt of the run ended."""
        if (trace := current()) is not None:
            trace.called(tried.outcome)
        tenant_id, offer = run.wanted.caller.scope.tenant_id, tried.ranked.offer
        if tried.fault is not None and not hurried(run, tried):
            self._breakers.failed(tenant_id, offer, tried.fault, self._clock(), probe=run.probe)
        elif tried.fault is not None:
            self.left(run)
        elif run.probe or self._breakers.has_trouble(tenant_id):
            self._breakers.succeeded(tenant_id, offer, self._clock(), probe=run.probe)
        run.probe = False

    def left(self, run: Run) -> None:
        """Take note that the run's present attempt was given up, for no fault of its service."""
        if (trace := current()) is not None:
            trace.called("left")
        if run.probe:
            self._breakers.give_back_probe(run.wanted.caller.scope.tenant_id, run.candidate.offer)
            run.probe = False

    async def followed(self, run: Run, tried: Tried, *, repeatable: bool = True) -> None:
        """Hand the run on after an attempt that did not do and was ``told``: to the same service once more, where
        that may help or, for what broke its contract, where the policy wants it and the answer is ``repeatable``;
        else to the next one. Raises what the caller is told when nobody is left."""
        if await self._repeated(run, tried, repeatable):
            return
        if not worth_moving(tried, run.decision.on_violation) or not await self._moved_on(run):
            raise failure(run, tried)

    async def _repeated(self, run: Run, tried: Tried, repeatable: bool) -> bool:
        before = attempts_in_a_row(run)
        if tried.fault is None:
            again = repeatable and before == 1 and run.decision.on_violation is OnViolation.RETRY
            return again and await self._moved(run, run.position)
        pause = self._pause(run, tried.fault, before)
        if pause is None:
            return False
        await asyncio.sleep(pause)
        return await self._moved(run, run.position)

    def _pause(self, run: Run, fault: UpstreamFailed, before: int) -> float | None:
        """The seconds until the same service is called again; None where that is no use, or leaves no time."""
        offer = run.candidate.offer
        if before > MOST_REPEATS or not may_pass(fault, twice=self._may_be_done_twice(run)):
            return None
        if self._breakers.is_shut(run.wanted.caller.scope.tenant_id, offer, self._clock()):
            return None
        if (asked := fault.retry_after or 0.0) > LONGEST_PAUSE:
            return None
        pause = asked + self._chance() * PAUSE * 2 ** (before - 1)
        left_ms = (run.remaining - pause) * 1000
        ends_ms = run.elapsed_ms + pause * 1000 + min(left_ms, offer.timeout_ms)
        return pause if left_ms > pause * 1000 and ends_ms <= run.most.compute_ms + 1 else None

    def _may_be_done_twice(self, run: Run) -> bool:
        """Whether the service may be asked again although it may have done what it was asked."""
        wanted, offer = run.wanted, run.candidate.offer
        if wanted.operation is not Operation.JSON or run.decision.on_violation is OnViolation.RETRY:
            return True
        if "determinism" in offer.document["guarantees"]:
            return True
        target = self._attempts.endpoint(offer, wanted.request.capabilities[0]).target
        return target.protocol == "http-json" and target.method.upper() == "GET"

    async def _moved_on(self, run: Run) -> bool:
        """Hand the run to the next ranked service that has room, can take the payload, and takes no more than the
        decision says."""
        tenant_id, ranked = run.wanted.caller.scope.tenant_id, run.decision.ranked
        unsaid: Unsaid = {}
        for position in self._breakers.order(tenant_id, ranked, self._clock()):
            if position <= run.position:
                continue
            if run.remaining <= 0:
                return False
            offer = ranked[position].offer
            takes = self._attempts.takes(run.wanted, offer, unsaid)
            if not takes or not run.most.covers(run.wanted.request, ranked[position]):
                continue
            if self._queues and self._queues.ahead(tenant_id, offer.service_id, None) is not None:
                continue
            if await self._moved(run, position):
                return True
        return False

    async def _moved(self, run: Run, position: int) -> bool:
        """Have the run admitted for another call: of the service at ``position``, perhaps the one it has called.
        Not where the service has been left alone since it was chosen."""
        allowed, now, ranked = await self._allowed(run.wanted), self._clock(), run.decision.ranked[position]
        ask = self._asks.ask(run.wanted, ranked, run.decision_id, allowed, now, run.elapsed_ms)
        tenant_id, granted = run.wanted.caller.scope.tenant_id, None
        probe = self._breakers.take_probe(tenant_id, ranked.offer, now)
        if not probe and self._breakers.is_shut(tenant_id, ranked.offer, now):
            return False
        try:
            granted = await self._admission.move(run.grant, ask, now)
        finally:
            if probe and not isinstance(granted, Grant):
                self._breakers.give_back_probe(tenant_id, ranked.offer)
        if isinstance(granted, ServiceBusy):
            return False
        self._metrics.fallbacks += position != run.position
        run.grant, run.position, run.candidate, run.probe = granted, position, ranked, probe
        return True

    async def _allowed(self, wanted: Wanted) -> Mapping[str, Limits]:
        """What the caller's tenant sets for its services."""
        scope = wanted.caller.scope
        fresh = self._service_limits.fresh(scope.tenant_id)
        return await self._service_limits.read(scope) if fresh is None else fresh


def none_callable(wait: int) -> NotReady:
    """What the caller is told when every service is left alone for so many microseconds yet."""
    return NotReady(
        "every service that satisfies the request has failed and is left alone for the moment; "
        "caio services health ID says why",
        code="services_unavailable",
        retry_after=-(-wait // _MICROSECONDS),
    )


def acceptable(tried: Tried, on_violation: OnViolation) -> bool:
    return not tried.breaches or on_violation is OnViolation.REPORT


def worth_moving(tried: Tried, on_violation: OnViolation) -> bool:
    """Whether another service might do better."""
    if tried.fault is not None:
        return tried.fault.fault in FAULTS_WORTH_A_FALLBACK
    return on_violation in (OnViolation.RETRY, OnViolation.FALLBACK)


def may_pass(fault: UpstreamFailed, *, twice: bool) -> bool:
    """Whether the same service may well answer the next time. ``twice`` says that it may be asked again although
    it may have done what it was asked; else only where it surely has not."""
    if fault.fault is UpstreamFault.UNREACHABLE:
        return True
    if fault.fault is UpstreamFault.OVERLOADED:
        return twice or fault.retry_after is not None
    return twice and fault.fault is UpstreamFault.UPSTREAM and fault.status is not None and fault.status >= 500


def attempts_in_a_row(run: Run) -> int:
    """How often the service that was tried last has been tried, the last times."""
    last, found = run.tried[-1].ranked.offer, 0
    for each in reversed(run.tried):
        if (each.ranked.offer.service_id, each.ranked.offer.version) != (last.service_id, last.version):
            break
        found += 1
    return found


def hurried(run: Run, tried: Tried) -> bool:
    """Whether the caller's deadline ended an attempt that had little time."""
    late = tried.fault is not None and tried.fault.fault is UpstreamFault.TIMEOUT
    return late and run.remaining <= 0 and max(tried.usage.milliseconds, tried.latency_ms) < FAIR_MS


def failure(run: Run, tried: Tried) -> CaioError:
    """What the caller is told when no service is left to try."""
    name = tried.ranked.offer.service_id
    if tried.fault is None:
        broken = "; ".join(f"{each.clause} {each.observed}" for each in tried.breaches)
        return UpstreamFailed(f"{name} broke its contract: {broken}", UpstreamFault.VIOLATION)
    if run.remaining <= 0 or tried.fault.fault is UpstreamFault.TIMEOUT:
        return DeadlineExceeded(f"{name} did not answer in time ({len(run.tried)} attempt(s))")
    return tried.fault
