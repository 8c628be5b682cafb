"""``/api/v1/audit/{holds,retention,erasures}``: how long the log's content is kept, and what goes."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from caio.api.dependencies import DocumentBody, ThePlatform, caller_with
from caio.api.routes.audit_entries import LARGEST, cursor_of, place_of
from caio.audit.custody import Hold
from caio.gateway.intake import read
from caio.registry.custody import Coverage
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])

Reader = Annotated[Caller, Depends(caller_with(Permission.AUDIT_READ))]
Manager = Annotated[Caller, Depends(caller_with(Permission.AUDIT_MANAGE))]

Reason = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]+$")]
Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Micros = Annotated[int, Field(ge=0, le=LARGEST)]


class HoldWish(BaseModel):
    """A hold to place: it covers the decisions that match all that is stated, and all when nothing is.

    A service covers what chose it, called it or was answered by it. Times in microseconds since the
    epoch, of the decision: `since` <= time < `until`.
    """

    model_config = ConfigDict(extra="forbid")

    reason: Reason
    service: Name | None = None
    principal: Name | None = None
    since: Micros | None = None
    until: Micros | None = None

    @model_validator(mode="after")
    def _covers_some_time(self) -> Self:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("until must lie after since")
        return self


class HoldView(BaseModel):
    """A hold. It stands until ``released_at``."""

    hold_id: str
    reason: str
    service: str | None
    principal: str | None
    since: int | None
    until: int | None
    placed_at: int
    placed_by: str
    released_at: int | None
    released_by: str | None


class HoldListing(BaseModel):
    items: list[HoldView]
    next_before: str | None = None


class RetentionWish(BaseModel):
    """``days`` that the content of decisions is kept; null keeps it for good."""

    model_config = ConfigDict(extra="forbid")

    days: Annotated[int, Field(ge=1, le=36_500)] | None


class RetentionView(BaseModel):
    """Content from before ``erased_before`` (microseconds since the epoch) is gone, but for what is held."""

    days: int | None
    erased_before: int | None


class ErasureWish(BaseModel):
    """What to erase: the content of these decisions, or of all that were made for one principal."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason
    decision_ids: Annotated[list[Name], Field(min_length=1, max_length=1000)] | None = None
    principal: Name | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.decision_ids is None) == (self.principal is None):
            raise ValueError("state decision_ids or principal, and not both")
        return self


class ErasureView(BaseModel):
    """What became of the decisions. Those still ``running`` were left: ask again when they have ended."""

    erased: int
    already_erased: int
    running: int
    unknown: int


def _body(model: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.get("/holds")
async def list_holds(
    caller: Reader,
    platform: ThePlatform,
    standing: Annotated[bool, Query(description="All that were not released, on one page.")] = False,
    before: Annotated[str | None, Query(max_length=96, description="`next_before` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> HoldListing:
    """The tenant's legal holds, newest first."""
    if standing:
        return HoldListing(items=[_hold(each) for each in await platform.custody.standing(caller.scope)])
    found = await platform.custody.holds(caller.scope, place_of(before), limit)
    following = cursor_of(found[-1].place) if len(found) == limit else None
    return HoldListing(items=[_hold(each) for each in found], next_before=following)


@router.post("/holds", status_code=201, openapi_extra=_body("HoldWish"))
async def place_hold(caller: Manager, body: DocumentBody, platform: ThePlatform) -> HoldView:
    """Place a legal hold: what it covers is erased neither by retention nor on request until it is released."""
    wish = read(HoldWish, body)
    coverage = Coverage(wish.service or "", wish.principal or "", wish.since, wish.until)
    return _hold(await platform.custody.place(caller.scope, caller.principal.principal_id, wish.reason, coverage))


@router.delete("/holds/{hold_id}")
async def release_hold(
    caller: Manager, platform: ThePlatform, hold_id: Annotated[str, Path(max_length=64)]
) -> HoldView:
    """Release a hold; what it covered may go from now on."""
    return _hold(await platform.custody.release(caller.scope, caller.principal.principal_id, hold_id))


@router.get("/retention")
async def get_retention(caller: Reader, platform: ThePlatform) -> RetentionView:
    """How long the content of decisions is kept."""
    found = await platform.custody.retention(caller.scope)
    return RetentionView(days=found.days, erased_before=found.erased_before or None)


@router.put("/retention", openapi_extra=_body("RetentionWish"))
async def set_retention(caller: Manager, body: DocumentBody, platform: ThePlatform) -> RetentionView:
    """Say how long the content of decisions is kept. What is older goes within the hour."""
    wish = read(RetentionWish, body)
    found = await platform.custody.keep(caller.scope, caller.principal.principal_id, wish.days)
    return RetentionView(days=found.days, erased_before=found.erased_before or None)


@router.post("/erasures", openapi_extra=_body("ErasureWish"))
async def erase(caller: Manager, body: DocumentBody, platform: ThePlatform) -> ErasureView:
    """Erase content for good. 409 `legal_hold`, nothing erased, when a hold covers any of it."""
    wish = read(ErasureWish, body)
    by = caller.principal.principal_id
    if wish.principal is not None:
        tally = await platform.custody.erase_principal(caller.scope, by, wish.principal, wish.reason)
    else:
        tally = await platform.custody.erase_decisions(caller.scope, by, wish.decision_ids or (), wish.reason)
    return ErasureView(
        erased=tally.erased, already_erased=tally.already_erased, running=tally.running, unknown=tally.unknown
    )


def _hold(hold: Hold) -> HoldView:
    return HoldView(
        hold_id=hold.hold_id,
        reason=hold.reason,
        service=hold.service_id or None,
        principal=hold.principal_id or None,
        since=hold.since,
        until=hold.until,
        placed_at=hold.placed_at,
        placed_by=hold.placed_by,
        released_at=hold.released_at,
        released_by=hold.released_by,
    )
