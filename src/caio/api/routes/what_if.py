"""``/api/v1/what-if``: a change tried on the decisions that were made, before it is made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

import msgspec
from fastapi import APIRouter, Depends
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from caio.api.dependencies import DocumentBody, HeavyTurn, ThePlatform, caller_with
from caio.api.platform import Platform
from caio.api.routes.routing import ExcludedService
from caio.foundation.errors import InvalidInput
from caio.foundation.quantity import decimal_text
from caio.gateway.intake import Term, read
from caio.registry.what_if import MOST_DECISIONS, Ended, Moved, Report, Totals, putting_policy, putting_service
from caio.routing.model import TERMS
from caio.routing.replay import Cause, Change, Outcome, PutWeights, Why
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/api/v1", tags=["decisions"])

Reader = Annotated[Caller, Depends(caller_with(Permission.DECISIONS_READ))]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WEEK = 7 * 86_400
_LONGEST = 3_660 * 86_400
_CHANGES = ("contract", "policy", "retire_service", "retire_policy", "weights")


def _some_weight(weights: dict[Term, int]) -> dict[Term, int]:
    if not any(weights.values()):
        raise ValueError("at least one weight must be above 0")
    return weights


def _since(stated: object) -> int | datetime:
    if type(stated) is int and 1 <= stated <= _LONGEST:
        return stated
    if isinstance(stated, str) and "T" in stated.upper():
        try:
            moment = datetime.fromisoformat(stated)
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None:
            return moment
    raise ValueError("must be a number of seconds back, or a time such as 2026-01-31T12:00:00Z")


Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Weights = Annotated[dict[Term, Annotated[int, Field(ge=0, le=1000)]], AfterValidator(_some_weight)]
Since = Annotated[
    Any,
    PlainValidator(_since),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": _LONGEST},
                {"type": "string", "format": "date-time"},
            ],
            "description": "How far back: seconds, or a time.",
        }
    ),
]


class WhatIfBody(BaseModel):
    """Exactly one change, and the decisions to try it on: those since ``since``, the newest ``limit``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    contract: dict[str, Any] | None = None
    policy: dict[str, Any] | None = None
    retire_service: Id | None = None
    retire_policy: Id | None = None
    weights: Weights | None = None
    since: Since = _WEEK
    limit: Annotated[int, Field(ge=1, le=MOST_DECISIONS)] = 1_000

    @model_validator(mode="after")
    def _one_change(self) -> Self:
        if sum(getattr(self, name) is not None for name in _CHANGES) != 1:
            raise ValueError(f"state exactly one change: {', '.join(_CHANGES)}")
        return self


class _Documents(msgspec.Struct):
    """The documents in the body as they were written: a number is read as its digits say."""

    contract: msgspec.Raw = msgspec.Raw()
    policy: msgspec.Raw = msgspec.Raw()


class WhatIfTotals(BaseModel):
    """Sums before and after over the ``compared`` decisions that have the figure on both sides."""

    before: str
    after: str
    compared: int


class WhatIfLatency(WhatIfTotals):
    """Sums of the p95 to expect of the winner, in milliseconds: observed where the recorded history had
    enough calls (of ``observed_before`` and ``observed_after`` winners), else promised. ``without`` are
    decisions of which one side has neither."""

    without: int
    observed_before: int
    observed_after: int


class WhatIfFlow(BaseModel):
    """How many requests go from one service to another; null is a refusal."""

    before: str | None
    after: str | None
    count: int


class WhatIfWhy(BaseModel):
    """Why: the clause that the loser fails (or that the winner failed), or both scores of 0 to 1,000,000,000."""

    cause: Cause
    clause: ExcludedService | None
    winner_score: int | None
    loser_score: int | None
    message: str


class WhatIfMoved(BaseModel):
    decision_id: str
    decided_at: int
    capability: str
    before: str | None
    after: str | None
    why: WhatIfWhy


class WhatIfAnswer(BaseModel):
    """``unchanged``, ``moved``, ``newly_refused`` and ``newly_served`` add up to ``replayed``. ``ended``
    is `complete` when every decision since ``since`` was looked at; else the newest were, down to the one
    decided at ``reached``. Times in microseconds since the epoch; ``requests`` are the newest 100."""

    since: int
    reached: int | None
    ended: Ended
    replayed: int
    not_reproduced: int
    unchanged: int
    moved: int
    newly_refused: int
    newly_served: int
    currency: str
    worst_cost: WhatIfTotals
    latency_ms: WhatIfLatency
    flows: list[WhatIfFlow]
    requests: list[WhatIfMoved]


_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": WhatIfBody.model_json_schema()}}}}


@router.post("/what-if", openapi_extra=_BODY)
async def what_if(caller: Reader, _turn: HeavyTurn, body: DocumentBody, platform: ThePlatform) -> WhatIfAnswer:
    """Decide recorded requests again, as they were and with one change, and say what would move.

    The change is a contract or policy (a new one, or the next version of one in force), a service or
    policy to retire, or weights in place of the requests' own. Nothing is stored and nobody is called."""
    caller.require(Permission.SERVICES_READ)
    caller.require(Permission.POLICIES_READ)
    wanted = read(WhatIfBody, body)
    change = await _change(wanted, body, caller, platform)
    report = await platform.what_if.replay(caller.scope, change, _moment(wanted.since), wanted.limit)
    return _answer(report, caller.tenant.currency)


async def _change(wanted: WhatIfBody, body: bytes, caller: Caller, platform: Platform) -> Change:
    written = msgspec.json.decode(body, type=_Documents)
    if wanted.contract is not None:
        with _under("/contract"):
            return putting_service(caller.scope, bytes(written.contract))
    if wanted.policy is not None:
        with _under("/policy"):
            return putting_policy(bytes(written.policy))
    if wanted.retire_service is not None:
        return await platform.what_if.retiring_service(caller.scope, wanted.retire_service)
    if wanted.retire_policy is not None:
        return await platform.what_if.retiring_policy(caller.scope, wanted.retire_policy)
    weights = wanted.weights or {}
    return PutWeights(tuple((term, weights[term]) for term in sorted(TERMS) if term in weights))


@contextmanager
def _under(pointer: str) -> Iterator[None]:
    """Whatever InvalidInput the block raises is about this part of the body."""
    try:
        yield
    except InvalidInput as error:
        moved = [replace(each, pointer=pointer + each.pointer, line=None) for each in error.violations]
        raise InvalidInput(error.message, moved, code=error.code) from error


def _moment(since: int | datetime) -> int:
    """Microseconds since the epoch."""
    if isinstance(since, int):
        return time.time_ns() // 1_000 - since * 1_000_000
    return (since - _EPOCH) // timedelta(microseconds=1)


def _answer(report: Report, currency: str) -> WhatIfAnswer:
    return WhatIfAnswer(
        since=report.since,
        reached=report.reached,
        ended=report.ended,
        replayed=report.replayed,
        not_reproduced=report.not_reproduced,
        unchanged=report.unchanged,
        moved=report.moved,
        newly_refused=report.newly_refused,
        newly_served=report.newly_served,
        currency=currency,
        worst_cost=WhatIfTotals(**_totals(report.cost)),
        latency_ms=WhatIfLatency(
            **_totals(report.latency),
            without=report.without_latency,
            observed_before=report.observed[0],
            observed_after=report.observed[1],
        ),
        flows=[WhatIfFlow(before=way[0], after=way[1], count=count) for way, count in report.flows.most_common()],
        requests=[_moved(each) for each in report.requests],
    )


def _totals(totals: Totals) -> dict[str, Any]:
    return {
        "before": decimal_text(totals.before),
        "after": decimal_text(totals.after),
        "compared": totals.compared,
    }


def _moved(moved: Moved) -> WhatIfMoved:
    return WhatIfMoved(
        decision_id=moved.decision_id,
        decided_at=moved.decided_at,
        capability=moved.capability,
        before=_pinned(moved.before),
        after=_pinned(moved.after),
        why=_why(moved.why),
    )


def _why(why: Why) -> WhatIfWhy:
    winner, loser = why.scores or (None, None)
    clause = None if why.exclusion is None else ExcludedService(**asdict(why.exclusion.reason()))
    return WhatIfWhy(cause=why.cause, clause=clause, winner_score=winner, loser_score=loser, message=why.message)


def _pinned(outcome: Outcome | None) -> str | None:
    return None if outcome is None else f"{outcome.service_id}@{outcome.version}"
