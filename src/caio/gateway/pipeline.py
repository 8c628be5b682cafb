"""The request path, for answers that come whole.

decide (pure) → admit the winner → journal the decision *while* the service is called → enforce
the guarantees → settle → journal the outcome → answer. The laws are in README.md beside this file;
``streams`` walks the same path for answers that come in pieces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

import msgspec

from caio.audit.ports import Mode, Status
from caio.audit.sealing import TenantVault, sealing_context
from caio.foundation.errors import (
    CaioError,
    Conflict,
    InvalidInput,
    LimitExceeded,
    NoServiceSatisfies,
    NotReady,
    UpstreamFailed,
    UpstreamFault,
)
from caio.foundation.scope import TenantScope
from caio.gateway.answer_cache import AnswerCache, Cached, Sought
from caio.gateway.attempts import Attempts
from caio.gateway.books import KEPT_ANSWER, Books, Ending
from caio.gateway.breakers import Breakers
from caio.gateway.course import Course, Decided, acceptable
from caio.gateway.doors import Doors
from caio.gateway.in_time import InTime
from caio.gateway.ports import (
    Admission,
    Clock,
    IdempotencyStore,
    NewId,
)
from caio.gateway.run import Answer, Run, Tried, Wanted, named
from caio.gateway.waiting import SlotQueues
from caio.metering.storage_measure import StorageGauge
from caio.observability.metrics import Metrics
from caio.observability.tracing import current
from caio.registry.histories import Histories
from caio.registry.service_limits import ServiceLimits
from caio.registry.views import Reference, Views
from caio.routing.engine import decide
from caio.routing.model import History, Offer
from caio.routing.plans import PlanDecision, PlanRequest, Solver, plan
from caio.routing.rules import Rule
from caio.tenancy.principals import Caller


class Gateway:
    """Decides, calls and answers. One instance a process; safe for concurrent requests of one loop."""

    def __init__(
        self,
        views: Views,
        histories: Histories,
        admission: Admission,
        service_limits: ServiceLimits,
        attempts: Attempts,
        books: Books,
        idempotency: IdempotencyStore,
        vault: TenantVault,
        storage: StorageGauge,
        answers: AnswerCache,
        breakers: Breakers,
        queues: SlotQueues,
        clock: Clock,
        new_id: NewId,
        metrics: Metrics,
    ) -> None:
        self._views = views
        self._histories = histories
        self._doors = Doors()
        self._idempotency = idempotency
        self._vault = vault
        self._storage = storage
        self._clock = clock
        self._new_id = new_id
        self.attempts = attempts
        self.books = books
        self.breakers = breakers
        self.queues = queues
        self._answers = answers
        self.metrics = metrics
        self.course = Course(admission, service_limits, attempts, self._doors, breakers, queues, clock, metrics)

    async def decide(
        self,
        wanted: Wanted,
        history: History | None = None,
        decision_id: str | None = None,
        *,
        recorded: bool = True,
    ) -> Decided:
        """Decide, without admitting, calling or journalling anything. ``history`` replaces what was
        observed, for callers who keep their own; ``decision_id`` is a new one unless given. What only
        evidence needs is stored unless the decision will not be ``recorded``. Raises LimitExceeded ``storage``
        for one that will, when the tenant's storage is full."""
        now, started = self._clock(), monotonic()
        scope = wanted.caller.scope
        if recorded:
            await self._storage.admit(scope, wanted.caller.tenant.quotas.storage_bytes)
        view = await self._views.current(scope)
        named: Sequence[Rule] = ()
        if wanted.policies or wanted.caller.policies:
            named = await self._views.rules(scope, view, wanted.policies, wanted.caller.policies, keep=recorded)
        if history is None:
            history = await self._histories.current(scope, now)
        else:
            await self._histories.keep(scope, history)
        if named:
            await self._views.compiled(scope, view, named)
        decision = decide(view.snapshot, wanted.request, wanted.caller.principal, history, named)
        self.metrics.routing_seconds.add(monotonic() - started)
        if (trace := current()) is not None:
            trace.span("decide", started, **{"caio.services.ranked": len(decision.ranked)})
        return Decided(decision_id or self._new_id("dec"), now, decision)

    async def admit_storage(self, caller: Caller) -> None:
        """Raises LimitExceeded ``storage`` when nothing further is to be stored for the caller's tenant."""
        await self._storage.admit(caller.scope, caller.tenant.quotas.storage_bytes)

    async def offers(self, scope: TenantScope) -> Sequence[Offer]:
        """The services that a decision of the tenant may choose from now, its own and shared ones, by id."""
        return (await self._views.current(scope)).snapshot.offers

    async def plan(
        self,
        caller: Caller,
        request: PlanRequest,
        policies: Sequence[Reference] = (),
        history: History | None = None,
        solver: Solver | None = None,
    ) -> PlanDecision:
        """Plan several stages, without admitting, calling or journalling anything; a refusal is an answer.
        Raises TooLarge ``plan_too_hard``."""
        view = await self._views.current(caller.scope)
        named = await self._views.rules(caller.scope, view, policies, caller.policies)
        seen = await self._histories.current(caller.scope, self._clock()) if history is None else history
        # A large plan is seconds of arithmetic: in a thread, so that requests go on meanwhile.
        return await asyncio.to_thread(plan, view.snapshot, request, caller.principal, seen, named, solver)

    async def route(self, wanted: Wanted, history: History | None = None) -> Decided:
        """Decide and journal; raises NoServiceSatisfies with the reasons."""
        decided = await self.decide(wanted, history)
        await self.books.enter(wanted, decided.decision, decided.decision_id, decided.decided_at, Mode.ROUTE)
        if decided.decision.winner is None:
            raise refusal(decided)
        return decided

    async def orchestrate(self, wanted: Wanted) -> Answer:
        """Route the request, call the winner, enforce, and answer. Raises what the tree in
        ``foundation.errors`` names; an error raised once the decision is durable carries ``decision_id``."""
        decision_id = self._new_id("dec")
        try:
            # Before deciding: a kept answer is given again even when today's decision would differ.
            replayed = await self._claim(wanted, decision_id)
            if replayed is not None:
                return replayed
            return await self._answer(await self.admitted(wanted, decision_id))
        except BaseException:
            if wanted.idempotency_key is not None:
                release = self._idempotency.release(wanted.caller.scope, wanted.idempotency_key, decision_id)
                await self.books.to_the_end(release)
            raise

    def refusal(self, caller: Caller) -> LimitExceeded | None:
        """With what any new call of this caller would surely be refused now; None when one might be admitted. An
        answer that is kept for an idempotency key is given all the same."""
        return self._doors.refusal(caller)

    async def decided(self, wanted: Wanted, decision_id: str | None = None) -> Decided:
        """Decide; journal and raise a refusal; raise LimitExceeded at once for whoever was just refused and cannot be
        admitted yet."""
        self._doors.check(wanted.caller)
        decided = await self.decide(wanted, decision_id=decision_id)
        if decided.decision.winner is None:
            self.metrics.refused += 1
            await self.books.enter(wanted, decided.decision, decided.decision_id, decided.decided_at, Mode.ORCHESTRATE)
            raise refusal(decided)
        return decided

    async def admitted(self, wanted: Wanted, decision_id: str | None = None) -> Run:
        """Decide and admit. Raises what ``decided`` and ``Course.admitted`` raise; a decision whose services are all
        left alone is journalled."""
        decided = await self.decided(wanted, decision_id)
        began = monotonic()
        try:
            run = await self.course.admitted(wanted, decided)
        except InvalidInput:
            raise
        except CaioError as error:
            self.metrics.exhausted += 1
            if isinstance(error, NotReady) and error.code == "services_unavailable":
                error.decision_id = decided.decision_id
                decision, at = decided.decision, decided.decided_at
                await self.books.enter(wanted, decision, decided.decision_id, at, Mode.ORCHESTRATE)
            raise
        self.metrics.admitted += 1
        if (trace := current()) is not None:
            trace.span("admit", began)
        return run

    def enter(self, run: Run) -> asyncio.Future[int]:
        """Start journalling the run's decision; await the result before releasing anything."""
        return self.books.entering(run)

    async def _answer(self, run: Run) -> Answer:
        entering = self.enter(run)
        try:
            with InTime(run.started, entering):
                cached = await self._cached(run)
                tried = await self._try_in_turn(run) if cached is None else Tried(run.candidate, 0, body=cached.body)
                answer = _answer_of(run, tried, cached)
                kept = None if run.wanted.idempotency_key is None else msgspec.json.encode(answer)
                await entering
        except (Exception, asyncio.CancelledError) as error:
            self.course.left(run)
            await self.books.abandon(run, entering, ended_by(error))
            if isinstance(error, CaioError):  # the decision is durable, or ``abandon`` would have raised
                raise named(error, run.decision_id) from error.__cause__
            raise
        status = Status.VIOLATED if tried.breaches else Status.OK
        ending = Ending(status, tried.usage, tried.cost, answer.content, kept, answer.answer_from)
        try:
            await self.books.finish(run, ending)
        except CaioError as error:
            raise named(error, run.decision_id) from error.__cause__
        if cached is None and not tried.breaches and (sought := _sought(run)) is not None:
            with suppress(CaioError):  # what is answered and charged is answered, kept or not
                await self._answers.keep(sought, run.decision_id, tried.body)
        return answer

    async def _cached(self, run: Run) -> Cached | None:
        """The answer that the winner gave before, where the caller wants it and there is one."""
        sought = _sought(run)
        cached = None if sought is None else await self._answers.find(sought)
        if cached is not None:
            self.course.left(run)
        return cached

    async def _try_in_turn(self, run: Run) -> Tried:
        """Call the candidates in rank order until one answers acceptably."""
        while True:
            tried = await self.attempts.call(run)
            run.tried.append(tried)
            self.course.told(run, tried)
            if tried.fault is None and acceptable(tried, run.decision.on_violation):
                return tried
            await self.course.followed(run, tried)

    async def _claim(self, wanted: Wanted, decision_id: str) -> Answer | None:
        """Take the idempotency key, or give back the answer that it stands for."""
        key, scope = wanted.idempotency_key, wanted.caller.scope
        if key is None:
            return None
        kept = await self._idempotency.claim(scope, key, wanted.fingerprint, decision_id, self._clock())
        if kept is None:
            return None
        if kept.request_hash != wanted.fingerprint:
            raise InvalidInput("this Idempotency-Key was used for a different request", code="idempotency_key_reused")
        if kept.sealed is None:
            raise Conflict("the first call with this Idempotency-Key is still running", code="idempotency_in_progress")
        return await self._opened(scope, kept.decision_id, kept.sealed)

    async def kept_answer(self, scope: TenantScope, key: str) -> Answer | None:
        """The answer that an idempotency key stands for, if there is one by now. Calls and takes nothing."""
        kept = await self._idempotency.kept(scope, key)
        if kept is None or kept.sealed is None:
            return None
        return await self._opened(scope, kept.decision_id, kept.sealed)

    async def _opened(self, scope: TenantScope, decision_id: str, sealed: bytes) -> Answer:
        context = sealing_context(scope.tenant_id, KEPT_ANSWER, decision_id)
        return _thawed((await self._vault.sealer(scope)).open(sealed, context))


def refusal(decided: Decided) -> NoServiceSatisfies:
    """The kernel's refusal as an error: one reason a service."""
    reasons = [each.reason() for each in decided.decision.exclusions]
    message = (
        f"none of {len(reasons)} registered services satisfies the request"
        if reasons
        else ("no service is registered: caio services register CONTRACT")
    )
    return NoServiceSatisfies(message, reasons, decided.decision_id)


def ended_by(error: BaseException) -> Status:
    """What the outcome says of a run that an error ended before there was an answer."""
    if isinstance(error, asyncio.CancelledError):
        return Status.CANCELLED
    violated = isinstance(error, UpstreamFailed) and error.fault is UpstreamFault.VIOLATION
    return Status.VIOLATED if violated else Status.FAILED


def _sought(run: Run) -> Sought | None:
    """What an answer would have to match to be given again; None where the caller does not want that, or where
    what was asked is sensitive."""
    wanted, offer = run.wanted, run.candidate.offer
    if wanted.cache_seconds is None or wanted.request.sensitive:
        return None
    capability = wanted.request.capabilities[0]
    return Sought(
        wanted.caller.scope, offer.contract_hash, wanted.operation, capability, wanted.body, wanted.cache_seconds
    )


def _answer_of(run: Run, tried: Tried, cached: Cached | None) -> Answer:
    answer = Answer(
        run.decision_id,
        tried.ranked.offer.service_id,
        tried.ranked.offer.version,
        tried.body,
        tried.latency_ms,
        tried.usage,
        tried.cost,
        tried.breaches,
        len(run.tried),
        answer_from=None if cached is None else cached.decision_id,
        standing=run.grant.standing,
    )
    answer.content = run.wanted.render(answer)
    return answer


def _thawed(raw: bytes) -> Answer:
    fields: dict[str, Any] = msgspec.json.decode(raw)
    return msgspec.convert({**fields, "replayed": True, "standing": None}, Answer)
