"""Runs of workflows for those who ask for them: begun, looked at, followed, cancelled.

Theory of operation
-------------------
A run is planned as a whole before it begins (``routing.plans``): it is refused unless some services keep its
end-to-end bounds together, and what it can cost at most is known. From then on it is a row; whoever carries runs
out (``worker.workflows``) finds it there, in this process or another.

A run is seen by the principal who started it, and by those who may read others' decisions; their reads are told in
the audit log before anything is given out, as reads of decisions are.

Laws (each has a test of the same name)
---------------------------------------
- what_cannot_keep_its_bounds_never_begins: and is told the reasons.
- one_key_begins_one_run: whoever repeats a request gets the run that it began.
- a_full_tenant_begins_no_run: what it asks for would be stored, whether or not a step is ever called.
- a_run_is_seen_by_its_own_principal: by others who may, recorded; and by nobody else, as if there were none.
- listeners_hold_up_no_end: those of a process that ends are sent away, and go on elsewhere behind the last event.
- a_beginning_is_an_act: in the tenant's log, with the plan's hash and the most that the run can cost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from caio.audit.acts import Act, Acts
from caio.audit.ports import ActStore
from caio.audit.reads import Reads
from caio.foundation.errors import InvalidInput, NoServiceSatisfies, NotFound
from caio.foundation.quantity import decimal_text
from caio.gateway.pipeline import Gateway
from caio.gateway.plan_intake import read_plan
from caio.gateway.ports import Clock, NewId
from caio.gateway.workflows.definition import read_workflow
from caio.gateway.workflows.ports import Event, News, Run, RunStatus, StepRun, WorkflowStore
from caio.gateway.workflows.records import Records
from caio.gateway.workflows.shares import shares_of
from caio.routing.plans import PlanDecision, PlanRequest, Solver
from caio.tenancy.principals import Caller, Permission

#: Runs of one tenant that have not ended.
MOST_OPEN = 100

#: Events that a listener is given at once.
EVENTS = 200

_MILLISECOND = 1_000


class NoPlan(NoServiceSatisfies):
    """No selection of services keeps a workflow's bounds; reasons where a step has no service at all."""

    code = "no_plan"


@dataclass(frozen=True, slots=True)
class StepView:
    """A step as its run's principal sees it; ``row`` is None while it has not begun."""

    step_id: str
    after: tuple[str, ...]
    max_cost: int
    row: StepRun | None
    answer: Any


@dataclass(frozen=True, slots=True)
class RunView:
    """A run with its steps, in an order in which each comes after those it needs."""

    run: Run
    steps: tuple[StepView, ...]
    result: Any


class Workflows:
    """One a process. ``wake`` is called when there is a further run to carry out."""

    def __init__(
        self,
        store: WorkflowStore,
        gateway: Gateway,
        records: Records,
        acts: Acts,
        recorded: ActStore,
        reads: Reads,
        clock: Clock,
        new_id: NewId,
        solver: Solver | None = None,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._records = records
        self._acts = acts
        self._recorded = recorded
        self._reads = reads
        self._clock = clock
        self._new_id = new_id
        self._solver = solver
        self.wake: Callable[[], None] = _nobody
        #: Whether listeners are to go: this process ends, and any other tells them the rest.
        self.is_dismissing = False

    def dismiss(self) -> None:
        """Have those who follow runs go, for good."""
        self.is_dismissing = True

    async def start(self, caller: Caller, source: bytes, key: str | None = None) -> tuple[Run, bool]:
        """Begin a run, or find the one that ``key`` began; whether it was found. Raises InvalidInput with every
        violation, NoServiceSatisfies ``no_plan``, Conflict ``quota_exceeded``, TooLarge ``plan_too_hard``,
        LimitExceeded ``storage``."""
        caller.require(Permission.ORCHESTRATE)
        await self._gateway.admit_storage(caller)
        scope, by, run_id = caller.scope, caller.principal.principal_id, self._new_id("wfr")
        workflow = read_workflow(source, tenant_id=scope.tenant_id, currency=caller.tenant.currency)
        labelled = of_run(workflow.plan, run_id)
        decision = await self._gateway.plan(caller, labelled, workflow.policies, solver=self._solver)
        if decision.is_refused:
            raise no_plan(decision)
        shares = shares_of(decision)
        now, most = self._clock(), sum(each.max_cost for each in shares)
        run = Run(
            tenant_id=scope.tenant_id,
            run_id=run_id,
            principal_id=by,
            status=RunStatus.QUEUED,
            plan_hash=decision.plan_hash,
            most_cost=most,
            key_name=None if key is None else _digest(by.encode(), key.encode()),
            fingerprint=_digest(source),
            created_at=now,
            updated_at=now,
            deadline_at=now + workflow.deadline_ms * _MILLISECOND,
            leased_until=now,
            sealed=await self._records.asked(scope, run_id, source, caller.tenant.currency, shares),
        )
        details = {
            "plan": decision.plan_hash,
            "steps": len(workflow.steps),
            "most_cost": decimal_text(most),
            "deadline_at": run.deadline_at,
        }
        leaf = await self._acts.leaf(scope, Act("workflow.started", by, run_id, details))
        begun = await self._store.add(scope, run, MOST_OPEN, News("run.queued", {}), leaf)
        if begun.fingerprint != run.fingerprint:
            raise InvalidInput("this Idempotency-Key was used for a different request", code="idempotency_key_reused")
        self.wake()
        return begun, begun.run_id != run_id

    async def plan(self, caller: Caller, source: bytes) -> PlanDecision:
        """Plan several stages; a refusal is an answer. That it was made is recorded before it is given out. Raises
        InvalidInput with every violation, TooLarge ``plan_too_hard``."""
        caller.require(Permission.ORCHESTRATE)
        scope = caller.scope
        request, policies = read_plan(source, tenant_id=scope.tenant_id, currency=caller.tenant.currency)
        made = await self._gateway.plan(caller, request, policies, solver=self._solver)
        details = {"stages": len(request.stages), "outcome": "refused" if made.is_refused else "planned"}
        act = Act("workflow.planned", caller.principal.principal_id, made.plan_hash, details)
        await self._recorded.record(scope, await self._acts.leaf(scope, act))
        return made

    async def get(self, caller: Caller, run_id: str) -> RunView:
        """Raises NotFound, for another's run as for one that never was."""
        run = await self._visible(caller, run_id)
        opened = await self._records.opened(caller.scope, run)
        rows = {each.step: each for each in await self._store.steps(caller.scope, run_id)}
        steps: list[StepView] = []
        for step, share in zip(opened.workflow.steps, opened.shares, strict=True):
            row = rows.get(step.step_id)
            answer = None if row is None else await self._records.answer(caller.scope, run_id, row)
            steps.append(StepView(step.step_id, tuple(sorted(step.after)), share.max_cost, row, answer))
        return RunView(run, tuple(steps), await self._records.result(caller.scope, run))

    async def page(self, caller: Caller, before: str | None, limit: int, *, everyones: bool) -> Sequence[Run]:
        """The caller's runs, or ``everyones``, which takes the permission to read decisions; newest first."""
        caller.require(Permission.DECISIONS_READ if everyones else Permission.ORCHESTRATE)
        by = None if everyones else caller.principal.principal_id
        return await self._store.page(caller.scope, by, before, limit)

    async def events(self, caller: Caller, run_id: str, after: int) -> tuple[Sequence[Event], bool]:
        """What happened to the run behind event ``after``, and whether nothing more will. The caller has seen the
        run before (``visible``)."""
        run = await self._store.get(caller.scope, run_id)
        events = await self._store.events(caller.scope, run_id, after, EVENTS)
        return events, run.status.has_ended and len(events) < EVENTS

    async def visible(self, caller: Caller, run_id: str) -> None:
        """Raises NotFound as ``get`` does."""
        await self._visible(caller, run_id)

    async def cancel(self, caller: Caller, run_id: str) -> Run:
        """Ask for the caller's own run to be cancelled. What has ended stays as it is. Raises NotFound."""
        caller.require(Permission.ORCHESTRATE)
        run = await self._store.get(caller.scope, run_id)
        if run.principal_id != caller.principal.principal_id:
            raise _missing()
        leaf = await self._acts.leaf(caller.scope, Act("workflow.cancelled", run.principal_id, run_id))
        asked = await self._store.ask_to_cancel(caller.scope, run_id, self._clock(), News("run.cancelling", {}), leaf)
        self.wake()
        return asked

    async def _visible(self, caller: Caller, run_id: str) -> Run:
        permissions = caller.principal.permissions
        if not permissions & {Permission.ORCHESTRATE, Permission.DECISIONS_READ}:
            caller.require(Permission.ORCHESTRATE)
        run = await self._store.get(caller.scope, run_id)
        if run.principal_id != caller.principal.principal_id:
            if Permission.DECISIONS_READ not in permissions:
                raise _missing()
            await self._reads.record(caller.scope, caller.principal.principal_id, "audit.read", "run", {"run": run_id})
        return run


def of_run(plan: PlanRequest, run_id: str) -> PlanRequest:
    """The plan's stages labelled with the run, as their calls will be."""
    stages = tuple(
        replace(
            stage,
            request=replace(
                stage.request, labels=tuple(sorted({**dict(stage.request.labels), "workflow": run_id}.items()))
            ),
        )
        for stage in plan.stages
    )
    return replace(plan, stages=stages)


def no_plan(decision: PlanDecision) -> NoPlan:
    """A plan's refusal as an error: of a stage without candidates, one reason a service."""
    names = [stage.name for stage in decision.request.stages]
    reasons = []
    if decision.refused_stage is not None:
        refused = decision.decisions[names.index(decision.refused_stage)]
        reasons = [each.reason() for each in refused.exclusions]
    return NoPlan(f"no plan keeps these bounds: {decision.refusal()}", reasons)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(msgspec.json.encode([part.hex() for part in parts])).hexdigest()


def _missing() -> NotFound:
    return NotFound("there is no such run")


def _nobody() -> None:
    """Nobody in this process carries runs out."""
