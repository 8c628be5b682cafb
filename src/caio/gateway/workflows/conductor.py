"""Carrying a run out: each step is a call through the gateway, made as the principal who started the run.

Theory of operation
-------------------
Whoever holds a run's lease asks the conductor for one step at a time; what is written of it is true in any process
and at any time, so that every method may be repeated. A step begins (a row), calls, and ends (the row). Its call
has an idempotency key of its own, made of run and step. A process that is killed between the call and the row
leaves the answer kept under that key, with the outcome that charged it: whoever takes the run up is given that
answer, without a call or a charge. One killed in mid-call leaves a claim without an answer. Only the holder of the
lease calls, so the claim's process is gone, or believes wrongly that it still holds the run: its call is fenced
off by writing its outcome, of which the journal takes one. Then the call is made anew.

The principal is looked up again for each step: who may not call any more ends the run. A step is held to its share
of the plan (``shares``) and to the time that is left; where a limit is full it waits and tries again.

Laws (each has a test of the same name)
---------------------------------------
- a_step_is_charged_once: whatever is killed when; a second conductor gets the first one's answer.
- a_claim_of_a_dead_process_is_fenced_off: it is charged nothing, and the step goes on at once.
- a_run_acts_as_its_principal_at_every_step: revoked, suspended or without the permission, the step fails with that.
- a_step_is_held_to_its_share_and_the_time_left.
- a_run_past_its_deadline_ends_as_such: whether anybody worked on it or not.
- what_was_charged_before_a_run_was_cut_off_is_told: the step has its answer, its decision and its price.
- a_failed_step_lets_no_other_begin: those under way end, and the run fails with its code.
- an_answer_that_is_too_deep_fails_its_step: charged as it was; a run could not be written with it, nor read.
- payloads_are_sealed: rows and events hold names, states, decisions and prices.

Not covered: a process that is stopped for longer than its lease between claiming its key and having its decision
recorded, and goes on afterwards, is charged for an answer that nobody uses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import monotonic
from typing import Any

import msgspec
import structlog

from caio.audit.acts import SYSTEM, Act, Acts
from caio.audit.ports import JournalStore
from caio.foundation.errors import (
    CaioError,
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    LimitExceeded,
    NotReady,
    UpstreamFailed,
    UpstreamFault,
)
from caio.foundation.quantity import decimal_text
from caio.foundation.scope import TenantScope
from caio.gateway.chats import as_payload
from caio.gateway.interrupted import InterruptedCalls
from caio.gateway.pipeline import Gateway
from caio.gateway.ports import Clock, IdempotencyStore, Operation
from caio.gateway.run import Answer, Wanted
from caio.gateway.workflows.ports import News, Run, RunStatus, StepRun, StepStatus, WorkflowStore
from caio.gateway.workflows.records import Opened, Records, fault
from caio.gateway.workflows.runs import of_run
from caio.gateway.workflows.shares import within
from caio.gateway.workflows.templates import INPUT, MAX_DEPTH_PUT_IN, fill, is_nested_deeper
from caio.observability.tracing import Tracing, enter, leave
from caio.routing.model import Request
from caio.tenancy.principals import Caller, Permission

#: Who a principal is by now: ``tenancy.authentication``.
Present = Callable[[TenantScope, str], Awaitable[Caller]]

#: How long a claim may go without a recorded decision before its process is taken for gone, beyond its lease.
UNRECORDED_SECONDS = 5.0

#: What a step's trace says that it is of; a step has no address of its own.
PATH = "/api/v1/workflows/runs"

_LOOK_SECONDS = 0.25
_SECOND = 1_000_000

_logger = structlog.get_logger("caio.workflows")


class Conductor:
    """One of a process that carries runs out; ``owner`` is what it is called in leases."""

    def __init__(
        self,
        store: WorkflowStore,
        gateway: Gateway,
        records: Records,
        present: Present,
        journal: JournalStore,
        interrupted: InterruptedCalls,
        idempotency: IdempotencyStore,
        acts: Acts,
        clock: Clock,
        owner: str,
        lease: int,
        tracing: Tracing | None = None,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._records = records
        self._present = present
        self._journal = journal
        self._interrupted = interrupted
        self._idempotency = idempotency
        self._acts = acts
        self._clock = clock
        self._owner = owner
        self._lease = lease
        self._tracing = tracing
        self._held: dict[str, tuple[Run, Opened]] = {}

    async def attend(self, scope: TenantScope, run_id: str) -> tuple[tuple[int, ...], ...] | None:
        """Become the one who carries the run out, and say which steps come after which. None where there is
        nothing to be done any more."""
        now = self._clock()
        news = News("run.started", {})
        run = await self._store.attend(scope, run_id, self._owner, now, now + self._lease, news)
        if run is None:
            return None
        opened = await self._records.opened(scope, run)
        self._held[run_id] = (run, opened)
        return opened.workflow.graph

    async def step(self, scope: TenantScope, run_id: str, place: int) -> StepStatus:
        """Carry a step out, or find that it was. CANCELLED, and no row, for one that does not begin any more.
        Raises Conflict ``run_lost``, NotReady, and CancelledError for who is cut off: then nothing is written, and
        the step may be asked for again."""
        run, opened = self._held[run_id]
        step = opened.workflow.steps[place]
        rows = {each.step: each for each in await self._store.steps(scope, run_id)}
        mine = rows.get(step.step_id)
        if mine is not None and mine.status is not StepStatus.RUNNING:
            return mine.status
        failed = any(each.status is StepStatus.FAILED for each in rows.values())
        if failed or (await self._store.get(scope, run_id)).status is RunStatus.CANCELLING:
            return StepStatus.CANCELLED if mine is None else await self.cancelled(scope, run_id, place)
        begun = StepRun(step=step.step_id, status=StepStatus.RUNNING, started_at=self._clock())
        begun = await self._store.begin_step(scope, run_id, self._owner, begun, News("step.started", _named(begun)))
        ended = await self._carried_out(scope, run, opened, place, begun, rows)
        await self._store.end_step(scope, run_id, self._owner, ended, News(f"step.{ended.status}", _named(ended)))
        return ended.status

    async def end(self, scope: TenantScope, run_id: str) -> None:
        """Write how the run ended; nothing more happens to it. Raises Conflict ``run_lost``."""
        _, opened = self._held[run_id]
        run = await self._store.get(scope, run_id)
        rows = {each.step: each for each in await self._store.steps(scope, run_id)}
        charged = sum(each.charged for each in rows.values())
        status, result = await self._outcome(scope, run, opened, rows)
        code = result["code"] if status is RunStatus.FAILED else ""
        details = {"status": status.value, "code": code, "charged": decimal_text(charged)}
        ended = replace(
            run,
            status=status,
            code=code,
            updated_at=self._clock(),
            sealed_result=None if result is None else await self._records.resulted(scope, run_id, result),
        )
        leaf = await self._acts.leaf(scope, Act("workflow.ended", SYSTEM, run_id, details))
        told = {"charged": decimal_text(charged)} | ({"code": code} if code else {})
        await self._store.end_run(scope, ended, self._owner, News(f"run.{status}", told), leaf)

    def let_go(self, run_id: str) -> None:
        """Forget what is held of a run."""
        self._held.pop(run_id, None)

    async def cancelled(self, scope: TenantScope, run_id: str, place: int) -> StepStatus:
        """Write that a step was cut off because its run is cancelled; or how it had ended, where its call had ended
        before: that was charged."""
        run, opened = self._held[run_id]
        step, now = opened.workflow.steps[place], self._clock()
        rows = {each.step: each for each in await self._store.steps(scope, run_id)}
        begun = rows.get(step.step_id, StepRun(step=step.step_id, status=StepStatus.RUNNING, started_at=now))
        if begun.status is not StepStatus.RUNNING:
            return begun.status
        row = replace(begun, status=StepStatus.CANCELLED, finished_at=now)
        answer = await self._gateway.kept_answer(scope, _key_of(run, step.step_id))
        if answer is not None:
            row = await self._ended(scope, run_id, begun, answer)
        await self._store.end_step(scope, run_id, self._owner, row, News(f"step.{row.status}", _named(row)))
        return row.status

    async def _outcome(
        self, scope: TenantScope, run: Run, opened: Opened, rows: dict[str, StepRun]
    ) -> tuple[RunStatus, Any]:
        """How the run ends, and with which result or error."""
        failed = next((each for each in rows.values() if each.status is StepStatus.FAILED), None)
        if failed is not None:
            error = await self._records.answer(scope, run.run_id, failed)
            return RunStatus.FAILED, {**error, "step": failed.step}
        if run.status is RunStatus.CANCELLING:
            return RunStatus.CANCELLED, None
        try:
            outputs = await self._records.outputs(scope, run.run_id, rows)
            return RunStatus.SUCCEEDED, opened.workflow.result_of(outputs)
        except InvalidInput as error:
            return RunStatus.FAILED, fault(error)

    async def _carried_out(
        self, scope: TenantScope, run: Run, opened: Opened, place: int, begun: StepRun, rows: dict[str, StepRun]
    ) -> StepRun:
        """The step as it ended, well or not."""
        try:
            # One that was begun before may have its answer: that was charged, whatever may be called by now.
            answer = await self._gateway.kept_answer(scope, _key_of(run, begun.step)) if begun.step in rows else None
            if answer is None:
                needed = {name: rows[name] for name in opened.workflow.steps[place].after}
                outputs = await self._records.outputs(scope, run.run_id, needed)
                answer = await self._answered(scope, run, opened, place, outputs)
        except CaioError as error:
            if isinstance(error, NotReady) or error.code in {"run_lost", "leaf_exists"}:
                raise  # ours, not the run's: whoever carries it out tries again
            _logger.info("a step failed", tenant=scope.tenant_id, run=run.run_id, step=begun.step, code=error.code)
            return replace(
                begun,
                status=StepStatus.FAILED,
                code=error.code,
                decision_id=error.decision_id or "",
                finished_at=self._clock(),
                sealed=await self._records.answered(scope, run.run_id, begun.step, fault(error)),
            )
        return await self._ended(scope, run.run_id, begun, answer)

    async def _ended(self, scope: TenantScope, run_id: str, begun: StepRun, answer: Answer) -> StepRun:
        """The step with its answer: a failure, where nothing can be done with that."""
        unusable = None
        if is_nested_deeper(answer.body, MAX_DEPTH_PUT_IN):
            message = f"the service's answer is nested deeper than {MAX_DEPTH_PUT_IN}"
            unusable = UpstreamFailed(message, UpstreamFault.GARBAGE)
        kept = answer.body if unusable is None else fault(unusable)
        return replace(
            begun,
            status=StepStatus.SUCCEEDED if unusable is None else StepStatus.FAILED,
            code="" if unusable is None else unusable.code,
            decision_id=answer.decision_id,
            service_id=answer.service_id,
            charged=answer.charged,
            finished_at=self._clock(),
            sealed=await self._records.answered(scope, run_id, begun.step, kept),
        )

    async def _answered(
        self, scope: TenantScope, run: Run, opened: Opened, place: int, outputs: dict[str, Any]
    ) -> Answer:
        """The step's answer: of a call made now, or kept from one that was made before. Where it must wait, it
        does, until the run's deadline."""
        step = opened.workflow.steps[place]
        body = fill(step.payload, {INPUT: opened.workflow.run_input, **outputs}, "/payload")
        unrecorded_at: float | None = None
        while True:
            caller = await self._present(scope, run.principal_id)
            caller.require(Permission.ORCHESTRATE)
            wanted = self._wanted(caller, run, opened, place, body)
            try:
                return await self._called(wanted, run, step.step_id)
            except Conflict as error:
                if error.code != "idempotency_in_progress":
                    raise
                now = asyncio.get_running_loop().time()
                unrecorded_at = now if unrecorded_at is None else unrecorded_at
                if await self._freed(scope, wanted, gone=now - unrecorded_at > UNRECORDED_SECONDS):
                    unrecorded_at = None
                    continue
                wait = _LOOK_SECONDS
            except LimitExceeded as error:
                wait = float(error.retry_after)
            await asyncio.sleep(min(wait, max(0.0, self._left(run) / _SECOND)))

    async def _called(self, wanted: Wanted, run: Run, step_id: str) -> Answer:
        """The answer of one call, which is counted and traced as calls of the surfaces are."""
        tracing, metrics = self._tracing, self._gateway.metrics
        trace = None if tracing is None else tracing.begin(None, "STEP", PATH, monotonic())
        entered = None if trace is None else enter(trace)
        told = {"caio.tenant_id": run.tenant_id, "caio.run_id": run.run_id, "caio.step": step_id}
        try:
            answer = await self._gateway.orchestrate(wanted)
            told["caio.decision_id"] = answer.decision_id
            return answer
        except CaioError as error:
            metrics.failed(error, run.tenant_id)
            told |= {"caio.code": error.code} | ({"caio.decision_id": error.decision_id} if error.decision_id else {})
            raise
        finally:
            if trace is not None and entered is not None:
                leave(entered)
                trace.end(**told)

    def _left(self, run: Run) -> int:
        return run.deadline_at - self._clock()

    def _wanted(self, caller: Caller, run: Run, opened: Opened, place: int, body: Any) -> Wanted:
        """The step's call, held to its share and to the time left. Raises DeadlineExceeded, InvalidInput."""
        left = self._left(run) // 1_000
        if left <= 0:
            raise DeadlineExceeded("the run's deadline has passed")
        step, stage = opened.workflow.steps[place], of_run(opened.workflow.plan, run.run_id).stages[place]
        payload = msgspec.json.encode(body)
        if len(payload) > stage.request.input_bytes:
            message = (
                f"the payload of step {step.step_id!r} weighs {len(payload)} bytes, and was planned with at most "
                f"{stage.request.input_bytes}: state a larger input_bytes"
            )
            raise InvalidInput(message, code="step_input_too_large")
        request: Request = within(stage.request, opened.shares[place])
        request = replace(request, input_bytes=len(payload), deadline_ms=min(request.deadline_ms, left))
        sent, request = as_payload(body, request, "/payload")
        return Wanted(
            caller,
            request,
            Operation.JSON,
            sent,
            payload,
            opened.workflow.policies,
            idempotency_key=_key_of(run, step.step_id),
            fingerprint=_key_of(run, step.step_id),
        )

    async def _freed(self, scope: TenantScope, wanted: Wanted, *, gone: bool) -> bool:
        """Fence off the call that holds the step's key, whose process does not hold the run; whether the key can be
        claimed again. One whose decision is not recorded is ``gone`` after a while."""
        key = wanted.idempotency_key or ""
        kept = await self._idempotency.kept(scope, key)
        if kept is None or kept.sealed is not None:
            return True
        call = next(iter(await self._journal.calls(scope, [kept.decision_id])), None)
        if call is None and not gone:
            return False
        if call is not None and call[1] is None:
            await self._interrupted.end(scope, call[0])
        await self._idempotency.release(scope, key, kept.decision_id)
        return True


def _key_of(run: Run, step_id: str) -> str:
    """The idempotency key of a step's call."""
    return f"{run.run_id}/{step_id}"


def _named(step: StepRun) -> dict[str, Any]:
    """What an event says of a step."""
    found: dict[str, Any] = {"step": step.step}
    if step.decision_id:
        found["decision_id"] = step.decision_id
    if step.service_id:
        found |= {"service_id": step.service_id, "charged": decimal_text(step.charged)}
    if step.code:
        found["code"] = step.code
    return found
