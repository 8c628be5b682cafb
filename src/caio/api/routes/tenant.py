"""``/api/v1/tenant``: the caller's own tenant, as far as it is the tenant's to know and to change."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from caio.api.dependencies import DocumentBody, HeavyTurn, ThePlatform, caller_with, etag, required_revision
from caio.api.tenant_views import Alerts, TenantName, TenantView, view_of
from caio.gateway.intake import read
from caio.tenancy.ports import Outage
from caio.tenancy.principals import Caller, Permission
from caio.tenancy.standing import TenantChange

router = APIRouter(prefix="/api/v1/tenant", tags=["tenant"])

Reader = Annotated[Caller, Depends(caller_with(Permission.TENANT_READ))]
Manager = Annotated[Caller, Depends(caller_with(Permission.TENANT_MANAGE))]


class OwnTenantPatch(BaseModel):
    """What to change; what is absent stays. ``outage`` is what happens to calls while the limiter is away;
    ``alerts`` are the percentages of the budget whose passing is told."""

    model_config = ConfigDict(extra="forbid")

    name: TenantName | None = None
    outage: Outage | None = None
    alerts: Alerts | None = None


_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/OwnTenantPatch"}}},
    }
}


@router.get("")
async def get_own_tenant(caller: Reader, platform: ThePlatform, response: Response) -> TenantView:
    """The caller's tenant: its plan, its quotas, its status."""
    tenant = await platform.lifecycle.get(caller.scope)
    response.headers["etag"] = etag(tenant.revision)
    return view_of(tenant)


@router.patch("", openapi_extra=_BODY)
async def change_own_tenant(
    caller: Manager,
    platform: ThePlatform,
    if_match: Annotated[int, Depends(required_revision)],
    body: DocumentBody,
    response: Response,
) -> TenantView:
    """Change what is the tenant's own to change. Plan, quotas and status are the operator's."""
    wish = read(OwnTenantPatch, body)
    quotas = {} if wish.alerts is None else {"alerts": tuple(sorted(set(wish.alerts)))}
    change = TenantChange(name=wish.name, outage=wish.outage, quotas=quotas)
    tenant = await platform.lifecycle.change(caller.scope, caller.principal.principal_id, change, if_match)
    response.headers["etag"] = etag(tenant.revision)
    return view_of(tenant)


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def export_own_tenant(
    caller: Manager,
    _turn: HeavyTurn,
    platform: ThePlatform,
    content: Annotated[bool, Query(description="Open the content of decisions, as far as it was not erased.")] = True,
) -> StreamingResponse:
    """All that is the tenant's, as a zip of JSON Lines with a manifest; no secrets. The export is recorded in the
    audit log before the first byte. An archive without its manifest was cut short, and is none."""
    caller.require(Permission.DECISIONS_READ)
    parts = await platform.tenant_exports.export(caller.scope, caller.principal.principal_id, content=content)
    headers = {"content-disposition": 'attachment; filename="tenant.zip"', "cache-control": "no-store"}
    return StreamingResponse(parts, media_type="application/zip", headers=headers)
