"""``/api/v1/tenants``: what tenants there are, for the platform's operators. Never what is in them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from caio.api.dependencies import DocumentBody, ThePlatform, caller_with, etag, required_revision
from caio.api.routes.invitations import Days, Email, NewInvitationView, new_view
from caio.api.tenant_views import (
    CountsView,
    Plan,
    QuotasWish,
    TenantName,
    TenantView,
    counted,
    view_of,
)
from caio.foundation.errors import InvalidInput, Violation
from caio.foundation.ids import TENANT_ID
from caio.gateway.intake import read
from caio.tenancy.authentication import scope_of_tenant
from caio.tenancy.ports import Outage, Quotas, Tenant, TenantStatus, Tier
from caio.tenancy.principals import Caller, Permission
from caio.tenancy.standing import TenantChange

router = APIRouter(prefix="/api/v1/tenants", tags=["tenants"])

Reader = Annotated[Caller, Depends(caller_with(Permission.TENANTS_READ))]
Operator = Annotated[Caller, Depends(caller_with(Permission.TENANTS_MANAGE))]
TenantId = Annotated[str, Path(max_length=64)]
Revision = Annotated[int, Depends(required_revision)]
Reason = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]+$")]

#: Days between a cancellation and the deletion.
GRACE_DAYS = 30


class AdminWish(BaseModel):
    """Whom to invite as the tenant's first admin."""

    model_config = ConfigDict(extra="forbid")

    email: Email = ""
    expires_in_days: Days = 7


class TenantWish(BaseModel):
    """A tenant to create. Its currency and its tier stay for good. ``place`` names the database of a silo."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: Annotated[str, Field(pattern=f"^{TENANT_ID.pattern}$")]
    name: TenantName
    plan: Plan = "standard"
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    tier: Tier = Tier.POOL
    place: Annotated[str, Field(pattern=f"^({TENANT_ID.pattern})?$")] = ""
    outage: Outage = Outage.CLOSED
    quotas: QuotasWish = QuotasWish()
    invite: AdminWish | None = None


class TenantPatch(BaseModel):
    """What to change; what is absent stays."""

    model_config = ConfigDict(extra="forbid")

    name: TenantName | None = None
    plan: Plan | None = None
    outage: Outage | None = None
    quotas: QuotasWish = QuotasWish()


class SuspensionWish(BaseModel):
    """Why; it is recorded in the tenant's own audit log for good."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


class CancellationWish(BaseModel):
    """Why, and how many days are left to change one's mind. Nobody exports meanwhile: keep first what shall stay."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason
    grace_days: Annotated[int, Field(ge=0, le=3650)] = GRACE_DAYS


class NewTenantView(TenantView):
    """A tenant just created. The invitation's ``token`` is shown this once."""

    invitation: NewInvitationView | None


class CountedTenantView(TenantView):
    """A tenant, and how much there is in it."""

    counts: CountsView


class TenantListing(BaseModel):
    items: list[TenantView]
    next_after: str | None = None


def _body(model: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post("", status_code=201, openapi_extra=_body("TenantWish"))
async def create_tenant(
    caller: Operator, body: DocumentBody, platform: ThePlatform, response: Response
) -> NewTenantView:
    """Create a tenant, and invite its first admin."""
    wish = read(TenantWish, body)
    scope = scope_of_tenant(caller, wish.tenant_id)
    quotas = Quotas(**wish.quotas.changes())
    wanted = Tenant(
        wish.tenant_id,
        wish.name,
        TenantStatus.ACTIVE,
        wish.currency or caller.tenant.currency,
        quotas,
        created_at=0,
        plan=wish.plan,
        tier=wish.tier,
        place=wish.place,
        outage=wish.outage,
    )
    tenant = await platform.lifecycle.create(scope, caller.principal.principal_id, wanted)
    response.headers["etag"] = etag(tenant.revision)
    invitation = None
    if wish.invite is not None:
        new = await platform.invitations.invite_admin(scope, caller, wish.invite.email, wish.invite.expires_in_days)
        invitation = new_view(new)
    return NewTenantView(**view_of(tenant).model_dump(), invitation=invitation)


@router.get("")
async def list_tenants(
    _caller: Reader,
    platform: ThePlatform,
    status: Annotated[TenantStatus | None, Query(description="Only tenants of this status.")] = None,
    after: Annotated[str, Query(max_length=64, description="`next_after` of the page before.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> TenantListing:
    """The tenants by id, deleted ones included."""
    items = [view_of(tenant) for tenant in await platform.lifecycle.page(status, after, limit)]
    return TenantListing(items=items, next_after=items[-1].tenant_id if len(items) == limit else None)


@router.get("/{tenant_id}")
async def get_tenant(
    caller: Reader, platform: ThePlatform, tenant_id: TenantId, response: Response
) -> CountedTenantView:
    """A tenant, with how much there is in it."""
    scope = scope_of_tenant(caller, tenant_id)
    tenant = await platform.lifecycle.get(scope)
    response.headers["etag"] = etag(tenant.revision)
    return CountedTenantView(**view_of(tenant).model_dump(), counts=counted(await platform.lifecycle.counts(scope)))


@router.post("/{tenant_id}/invitations", status_code=201, openapi_extra=_body("AdminWish"))
async def invite_admin(
    caller: Operator, platform: ThePlatform, tenant_id: TenantId, body: DocumentBody
) -> NewInvitationView:
    """Invite an admin into a tenant that has none: its first one, or when nobody can get in any more."""
    wish, scope = read(AdminWish, body), scope_of_tenant(caller, tenant_id)
    await platform.lifecycle.get(scope)
    return new_view(await platform.invitations.invite_admin(scope, caller, wish.email, wish.expires_in_days))


@router.patch("/{tenant_id}", openapi_extra=_body("TenantPatch"))
async def change_tenant(
    caller: Operator,
    platform: ThePlatform,
    tenant_id: TenantId,
    if_match: Revision,
    body: DocumentBody,
    response: Response,
) -> TenantView:
    """Change a tenant's name, plan, quotas, or what happens while the limiter is away: effective here at once,
    within seconds everywhere. A lowered quota takes nothing away: it refuses what is new."""
    wish = read(TenantPatch, body)
    change = TenantChange(wish.name, wish.plan, wish.outage, wish.quotas.changes())
    scope = scope_of_tenant(caller, tenant_id)
    return _answer(await platform.lifecycle.change(scope, caller.principal.principal_id, change, if_match), response)


@router.post("/{tenant_id}/suspend", openapi_extra=_body("SuspensionWish"))
async def suspend_tenant(
    caller: Operator, platform: ThePlatform, tenant_id: TenantId, body: DocumentBody, response: Response
) -> TenantView:
    """Refuse the tenant's calls, here at once and within seconds everywhere. Its data is kept."""
    wish, scope = read(SuspensionWish, body), scope_of_tenant(caller, tenant_id)
    return _answer(await platform.lifecycle.suspend(scope, caller.principal.principal_id, wish.reason), response)


@router.post("/{tenant_id}/resume")
async def resume_tenant(caller: Operator, platform: ThePlatform, tenant_id: TenantId, response: Response) -> TenantView:
    """Serve a suspended tenant again, or a cancelled one whose grace has not passed."""
    scope = scope_of_tenant(caller, tenant_id)
    return _answer(await platform.lifecycle.resume(scope, caller.principal.principal_id), response)


@router.post("/{tenant_id}/cancel", openapi_extra=_body("CancellationWish"))
async def cancel_tenant(
    caller: Operator, platform: ThePlatform, tenant_id: TenantId, body: DocumentBody, response: Response
) -> TenantView:
    """Refuse the tenant's calls, and delete it when the grace has passed, unless it is resumed before."""
    wish, scope = read(CancellationWish, body), scope_of_tenant(caller, tenant_id)
    by = caller.principal.principal_id
    return _answer(await platform.lifecycle.cancel(scope, by, wish.reason, wish.grace_days), response)


@router.delete("/{tenant_id}")
async def delete_tenant(
    caller: Operator,
    platform: ThePlatform,
    tenant_id: TenantId,
    response: Response,
    confirm: Annotated[str, Query(max_length=64, description="The tenant's id once more.")],
    reason: Annotated[
        str,
        Query(
            min_length=1,
            max_length=1000,
            pattern=r"^[^\x00-\x1f\x7f]+$",
            description="Why; it is recorded with the deletion, and erased with it.",
        ),
    ] = "deleted by the operator",
) -> TenantView:
    """Delete a tenant and all that it has, at once and for good. 409 `legal_hold` while a hold stands."""
    scope = scope_of_tenant(caller, tenant_id)
    await platform.lifecycle.get(scope)
    if confirm != tenant_id:
        raise InvalidInput(
            "a deletion is confirmed by repeating the tenant's id",
            [Violation("/query/confirm", "must be the tenant's id")],
            code="not_confirmed",
        )
    return _answer(await platform.lifecycle.delete(scope, caller.principal.principal_id, reason), response)


def _answer(tenant: Tenant, response: Response) -> TenantView:
    response.headers["etag"] = etag(tenant.revision)
    return view_of(tenant)
