"""``/api/v1/decisions``: what was decided, on which evidence, with a receipt to keep.

The list shows clear columns. The content of a decision that was made for another principal is given out
once the log says who reads it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel

from caio.api.dependencies import ThePlatform, caller_with
from caio.audit.ports import DecisionRow, OutcomeRow
from caio.foundation.errors import InvalidInput, Violation
from caio.foundation.quantity import decimal_text
from caio.routing.explanation import Explanation, explain
from caio.tenancy.principals import Caller, Permission

router = APIRouter(tags=["decisions"])

Reader = Annotated[Caller, Depends(caller_with(Permission.DECISIONS_READ))]
DecisionId = Annotated[str, Path(max_length=64, description="As in the header `x-caio-decision-id`.")]


class DecisionSummary(BaseModel):
    """One line of the list. Times in microseconds since the epoch; ``status`` is null while running."""

    decision_id: str
    decided_at: int
    mode: str
    capability: str
    service: str | None
    principal: str
    status: str | None
    latency_ms: int | None
    charged: str | None


class DecisionListing(BaseModel):
    items: list[DecisionSummary]
    next_before: str | None = None


class DecisionView(BaseModel):
    """A decision with its certificate and, once the call has ended, its outcome."""

    decision_id: str
    decided_at: int
    mode: str
    decision_hash: str
    outcome: str
    certificate: dict[str, Any]
    result: dict[str, Any] | None


@router.get("/api/v1/decisions")
async def list_decisions(
    caller: Reader,
    platform: ThePlatform,
    before: Annotated[str | None, Query(max_length=96, description="`next_before` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DecisionListing:
    """The tenant's decisions, newest first."""
    rows = await platform.decisions.page(caller.scope, _cursor(before), limit)
    items = [_summary(decision, outcome) for decision, outcome in rows]
    following = f"{items[-1].decided_at}.{items[-1].decision_id}" if len(items) == limit else None
    return DecisionListing(items=items, next_before=following)


@router.get("/api/v1/decisions/{decision_id}")
@router.get("/api/v1/trace/{decision_id}")
async def get_decision(caller: Reader, platform: ThePlatform, decision_id: DecisionId) -> DecisionView:
    """One decision: the certificate says what was chosen or refused, and commits to why."""
    recorded = await platform.decisions.get(caller.scope, decision_id, caller.principal.principal_id)
    document = recorded.decision.document
    certificate: Mapping[str, Any] = document["certificate"]
    return DecisionView(
        decision_id=document["decision_id"],
        decided_at=document["decided_at"],
        mode=document["mode"],
        decision_hash=document["decision_hash"],
        outcome="routed" if certificate["plan"] else "refused",
        certificate=dict(certificate),
        result=None if recorded.outcome is None else dict(recorded.outcome.document),
    )


@router.get("/api/v1/decisions/{decision_id}/evidence")
@router.get("/api/v1/trace/{decision_id}/evidence")
async def get_evidence(caller: Reader, platform: ThePlatform, decision_id: DecisionId) -> dict[str, Any]:
    """The contracts, policies, request, principal and history that the certificate's hashes stand for."""
    recorded = await platform.decisions.get(caller.scope, decision_id, caller.principal.principal_id)
    return await platform.decisions.evidence(caller.scope, recorded)


@router.get("/api/v1/decisions/{decision_id}/explanation")
@router.get("/api/v1/trace/{decision_id}/explanation")
async def get_explanation(caller: Reader, platform: ThePlatform, decision_id: DecisionId) -> Explanation:
    """Why the winner won, what each loser lacked, and what would have helped a refused request."""
    recorded = await platform.decisions.get(caller.scope, decision_id, caller.principal.principal_id)
    evidence = await platform.decisions.evidence(caller.scope, recorded)
    # The decision is made again from its documents: seconds for ten thousand services.
    return await asyncio.to_thread(explain, evidence, recorded.decision.document["certificate"])


@router.get("/api/v1/decisions/{decision_id}/receipt")
@router.get("/api/v1/trace/{decision_id}/receipt")
async def get_receipt(caller: Reader, platform: ThePlatform, decision_id: DecisionId) -> dict[str, Any]:
    """The signed receipt. Verify it offline: `caio verify receipt.json`."""
    reader = caller.principal.principal_id
    return await platform.decisions.receipt(caller.scope, decision_id, reader, time.time_ns() // 1000)


def _cursor(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    time_text, _, decision_id = text.partition(".")
    if not time_text.isascii() or not time_text.isdecimal() or len(time_text) > 18 or not decision_id:
        raise InvalidInput(
            "not a cursor of this list", [Violation("/query/before", "use `next_before` as it was given")]
        )
    return int(time_text), decision_id


def _summary(decision: DecisionRow, outcome: OutcomeRow | None) -> DecisionSummary:
    return DecisionSummary(
        decision_id=decision.decision_id,
        decided_at=decision.decided_at,
        mode=decision.mode,
        capability=decision.capability,
        service=decision.service_id or None,
        principal=decision.principal_id,
        status=_status(decision, outcome),
        latency_ms=outcome.latency_ms if outcome else None,
        charged=decimal_text(outcome.charged) if outcome else None,
    )


def _status(decision: DecisionRow, outcome: OutcomeRow | None) -> str | None:
    if outcome is not None:
        return outcome.status
    return None if decision.admitted else ("decided" if decision.service_id else "refused")
