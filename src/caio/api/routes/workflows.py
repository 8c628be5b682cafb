"""``/api/v1/workflows/runs``: several calls for one job, under bounds that hold end to end; and plans of such."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from caio.api.dependencies import DocumentBody, HeavyTurn, ThePlatform, any_caller, caller_with, listening_caller
from caio.api.platform import Platform
from caio.api.routes.routing import ExcludedService
from caio.api.wanted import idempotency_key
from caio.foundation.errors import CaioError, InvalidInput, Violation
from caio.foundation.quantity import decimal_text
from caio.gateway.workflows.ports import Event, Run
from caio.gateway.workflows.runs import RunView, StepView
from caio.routing.plans import PlanDecision
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/api/v1", tags=["workflows"])

#: How often a listener's run is looked at, and how long a stream may be silent before it says that it is there.
_LOOK_SECONDS = 0.25
_SILENT_SECONDS = 15.0

RunId = Annotated[str, Path(max_length=64)]
Runner = Annotated[Caller, Depends(caller_with(Permission.ORCHESTRATE))]
Anybody = Annotated[Caller, Depends(any_caller)]


Listener = Annotated[Caller, Depends(listening_caller)]


class RunSummary(BaseModel):
    """A run of a workflow. Times are microseconds since the epoch; ``most_cost`` is the most that it can cost."""

    run_id: str
    status: Annotated[str, Field(description="queued, running, cancelling, succeeded, failed or cancelled.")]
    code: Annotated[str | None, Field(description="Why it failed: an error's code.")] = None
    principal_id: str
    plan_hash: str
    most_cost: str
    created_at: int
    updated_at: int
    deadline_at: int


class StepAnswer(BaseModel):
    """A step of a run: `waiting` until those it comes after have ended. `output` is what it answered."""

    id: str
    after: list[str]
    status: Annotated[str, Field(description="waiting, running, succeeded, failed, cancelled or skipped.")]
    max_cost: Annotated[str, Field(description="Its share of what the run may cost.")]
    decision_id: str | None = None
    service_id: str | None = None
    charged: str | None = None
    started_at: int | None = None
    finished_at: int | None = None
    output: Any = None
    error: dict[str, Any] | None = None


class RunAnswer(RunSummary):
    """A run with its steps and, when it has ended, its result or what went wrong."""

    steps: list[StepAnswer]
    charged: str
    result: Any = None
    error: dict[str, Any] | None = None


class RunListing(BaseModel):
    items: list[RunSummary]
    next_before: str | None = None


class PlannedStage(BaseModel):
    stage: str
    service_id: str
    version: str
    rank: Annotated[int, Field(description="The service's place in the stage's own ranking, from 0.")]
    max_cost: str


class PlanAnswer(BaseModel):
    """One service for each stage and what they promise together; or what is missing. The certificate can be checked
    without CAIO: `caio verify`."""

    outcome: Annotated[str, Field(description="planned or refused.")]
    choices: list[PlannedStage]
    guarantees: dict[str, str]
    refusal: str | None = None
    excluded: list[ExcludedService] = []
    plan_hash: str
    certificate: dict[str, Any]


def _body(name: str) -> dict[str, object]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("/plan", openapi_extra=_body("PlanBody"))
async def make_plan(caller: Runner, _turn: HeavyTurn, body: DocumentBody, platform: ThePlatform) -> PlanAnswer:
    """Choose a service for each of several stages, so that they keep bounds from end to end. Calls nobody; that the
    plan was made, and its hash, is recorded in the audit log."""
    return _planned(await platform.workflows.plan(caller, body))


@router.post("/workflows/runs", status_code=202, openapi_extra=_body("RunBody"))
async def start_run(
    caller: Runner,
    _turn: HeavyTurn,
    body: DocumentBody,
    platform: ThePlatform,
    response: Response,
    key: Annotated[
        str | None,
        Header(alias="Idempotency-Key", description="A repeated request with the same key finds the run it began."),
    ] = None,
) -> RunSummary:
    """Begin a run: it is planned now, and refused unless some services keep its bounds together. Then it is carried
    out, step by step, as whoever began it; a process that is killed takes nothing of it along."""
    checked = idempotency_key({} if key is None else {"idempotency-key": key})
    run, found = await platform.workflows.start(caller, body, checked)
    response.headers["location"] = f"/api/v1/workflows/runs/{run.run_id}"
    if found:
        response.headers["idempotency-replayed"] = "true"
    return _summary(run)


@router.get("/workflows/runs")
async def list_runs(
    caller: Anybody,
    platform: ThePlatform,
    everyones: Annotated[bool, Query(description="Also others' runs, for those who may read decisions.")] = False,
    before: Annotated[str | None, Query(max_length=64, description="`next_before` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> RunListing:
    """The caller's runs, newest first."""
    runs = await platform.workflows.page(caller, before, limit, everyones=everyones)
    return RunListing(
        items=[_summary(each) for each in runs], next_before=runs[-1].run_id if len(runs) == limit else None
    )


@router.get("/workflows/runs/{run_id}")
async def get_run(caller: Anybody, platform: ThePlatform, run_id: RunId) -> RunAnswer:
    """A run with its steps, what they answered, and its result. Reading another principal's is recorded in the audit
    log."""
    return _answer(await platform.workflows.get(caller, run_id))


@router.post("/workflows/runs/{run_id}/cancel", status_code=202)
async def cancel_run(caller: Runner, platform: ThePlatform, run_id: RunId) -> RunSummary:
    """Have the caller's own run cancelled: steps under way are cut off, and no other begins. A run that has ended
    stays as it is."""
    return _summary(await platform.workflows.cancel(caller, run_id))


@router.get(
    "/workflows/runs/{run_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def follow_run(
    caller: Listener,
    platform: ThePlatform,
    run_id: RunId,
    last: Annotated[
        str | None, Header(alias="Last-Event-ID", description="Begin behind this event: where a stream broke.")
    ] = None,
) -> StreamingResponse:
    """What happens to a run, as server-sent events, from its beginning to its end: `run.…` and `step.…` with names,
    states and decisions. The stream ends behind the run's last event; before, where the process that tells it stops:
    who comes again with the last id misses nothing."""
    await platform.workflows.visible(caller, run_id)
    lines = _told(platform, caller, run_id, _place(last))
    return StreamingResponse(lines, media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _told(platform: Platform, caller: Caller, run_id: str, after: int) -> AsyncIterator[bytes]:
    """The events as they are written, by whichever process; ends with the run, or with the caller's permission."""
    spoken = monotonic()
    while True:
        try:
            events, over = await platform.workflows.events(caller, run_id, after)
            for event in events:
                yield _sent(event)
                after, spoken = event.seq, monotonic()
            if over:
                return
            if platform.workflows.is_dismissing:
                yield b": this process ends; come again behind the last event\n\n"
                return
            if monotonic() - spoken > _SILENT_SECONDS:
                await platform.authenticator.present(caller.scope, caller.principal.principal_id)
                yield b": still here\n\n"
                spoken = monotonic()
        except CaioError as error:  # nothing else can be said by now: the client comes back behind the last event
            yield b"event: error\ndata: " + msgspec.json.encode({"code": error.code}) + b"\n\n"
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _sent(event: Event) -> bytes:
    data = msgspec.json.encode({"at": event.at, **event.document})
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.kind.encode(), data)


def _place(last: str | None) -> int:
    if last is None or last == "":
        return 0
    if not last.isascii() or not last.isdecimal() or len(last) > 9:
        violations = [Violation("/header/last-event-id", "must be an id of this stream's events")]
        raise InvalidInput("Last-Event-ID is none of this stream's", violations, code="invalid_header")
    return int(last)


def _summary(run: Run) -> RunSummary:
    return RunSummary(**_facts(run))


def _facts(run: Run) -> dict[str, Any]:
    names = ("run_id", "principal_id", "plan_hash", "created_at", "updated_at", "deadline_at")
    facts = {name: getattr(run, name) for name in names}
    return facts | {"status": run.status.value, "code": run.code or None, "most_cost": decimal_text(run.most_cost)}


def _answer(view: RunView) -> RunAnswer:
    failed = bool(view.run.code)
    return RunAnswer(
        **_facts(view.run),
        steps=[_step(each, over=view.run.status.has_ended) for each in view.steps],
        charged=decimal_text(sum(each.row.charged for each in view.steps if each.row is not None)),
        result=None if failed else view.result,
        error=view.result if failed else None,
    )


def _step(view: StepView, *, over: bool) -> StepAnswer:
    told = {"id": view.step_id, "after": list(view.after), "max_cost": decimal_text(view.max_cost)}
    row = view.row
    if row is None:
        return StepAnswer(**told, status="skipped" if over else "waiting")
    return StepAnswer(
        **told,
        status=row.status.value,
        decision_id=row.decision_id or None,
        service_id=row.service_id or None,
        charged=decimal_text(row.charged),
        started_at=row.started_at,
        finished_at=row.finished_at,
        output=None if row.code else view.answer,
        error=view.answer if row.code else None,
    )


def _planned(plan: PlanDecision) -> PlanAnswer:
    refused = next(
        (
            own
            for stage, own in zip(plan.request.stages, plan.decisions, strict=True)
            if stage.name == plan.refused_stage
        ),
        None,
    )
    reasons = [] if refused is None else [each.reason() for each in refused.exclusions]
    return PlanAnswer(
        outcome="refused" if plan.is_refused else "planned",
        choices=[
            PlannedStage(
                stage=each.stage,
                service_id=each.chosen.offer.service_id,
                version=each.chosen.offer.version,
                rank=each.rank,
                max_cost=decimal_text(each.chosen.worst_cost),
            )
            for each in plan.choices
        ],
        guarantees={bound: decimal_text(value) for bound, value in sorted(plan.guarantees.items())},
        refusal=plan.refusal() or None,
        excluded=[
            ExcludedService(
                service_id=each.service_id,
                version=each.version,
                clause=each.clause,
                subject=each.subject,
                required=each.required,
                offered=each.offered,
                message=each.message,
            )
            for each in reasons
        ],
        plan_hash=plan.plan_hash,
        certificate=dict(plan.certificate),
    )
