"""``/api/v1/route`` and ``/api/v1/discover``: decisions without a call."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from caio.api.dependencies import DocumentBody, ThePlatform, caller_with
from caio.api.wanted import from_orchestrate
from caio.foundation.quantity import decimal_text
from caio.gateway.course import Decided
from caio.routing.model import Ranked
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/api/v1", tags=["routing"])

Asker = Annotated[Caller, Depends(caller_with(Permission.ORCHESTRATE))]


class RankedService(BaseModel):
    """A service that satisfies everything: its score (0 to 1,000,000,000) and worst-case price."""

    service: str
    version: str
    score: int
    worst_cost: str


class RouteAnswer(BaseModel):
    """The winner and the order in which the others would be tried."""

    decision_id: str
    decision_hash: str
    service: RankedService
    ranked: list[RankedService]
    certificate: dict[str, Any]


class ExcludedService(BaseModel):
    """The first clause that a service failed."""

    service_id: str
    version: str
    clause: str
    subject: str
    required: str
    offered: str
    message: str


class DiscoverAnswer(BaseModel):
    """Who could take the request, and what each of the others lacks."""

    ranked: list[RankedService]
    excluded: list[ExcludedService]


def request_body(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/OrchestrateBody"}
    return {
        "requestBody": {
            "required": True,
            "description": description,
            "content": {"application/json": {"schema": schema}},
        }
    }


@router.post("/route", openapi_extra=request_body("As for `/api/v1/orchestrate`; the payload counts by its size."))
async def route(caller: Asker, body: DocumentBody, platform: ThePlatform) -> RouteAnswer:
    """Decide and record, without calling anyone. 422 `no_service_satisfies` names what each service lacks."""
    decided = await platform.gateway.route(from_orchestrate(body, caller))
    return _route_answer(decided)


@router.post("/discover", openapi_extra=request_body("As for `/api/v1/orchestrate`; nothing is recorded."))
async def discover(caller: Asker, body: DocumentBody, platform: ThePlatform) -> DiscoverAnswer:
    """Which services could take such a request, best first, and why the others could not."""
    decision = (await platform.gateway.decide(from_orchestrate(body, caller), recorded=False)).decision
    return DiscoverAnswer(
        ranked=[_ranked(each) for each in decision.ranked],
        excluded=[ExcludedService(**asdict(each.reason())) for each in decision.exclusions],
    )


def _route_answer(decided: Decided) -> RouteAnswer:
    ranked = [_ranked(each) for each in decided.decision.ranked]
    return RouteAnswer(
        decision_id=decided.decision_id,
        decision_hash=decided.decision.decision_hash,
        service=ranked[0],
        ranked=ranked,
        certificate=dict(decided.decision.certificate),
    )


def _ranked(ranked: Ranked) -> RankedService:
    offer = ranked.offer
    return RankedService(
        service=offer.service_id, version=offer.version, score=ranked.score, worst_cost=decimal_text(ranked.worst_cost)
    )
