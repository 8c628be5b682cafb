"""``/api/v1/me``: who the credential is, where, and what it may do."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from caio.api.dependencies import any_caller
from caio.api.limits import LimitsBody
from caio.tenancy.principals import Caller

router = APIRouter(prefix="/api/v1/me", tags=["identity"])


class TenantOfMine(BaseModel):
    tenant_id: str
    name: str
    status: str
    plan: str


class Me(BaseModel):
    """The caller. ``expires_at`` is when an API key ends, in microseconds since the epoch."""

    tenant: TenantOfMine
    principal_id: str
    kind: str
    roles: list[str]
    permissions: list[str]
    trust_level: str
    policies: list[str]
    limits: LimitsBody
    expires_at: int | None


@router.get("")
async def read_me(caller: Annotated[Caller, Depends(any_caller)]) -> Me:
    """Who you are here: your tenant, roles, permissions and limits. Every credential may ask."""
    principal, tenant = caller.principal, caller.tenant
    return Me(
        tenant=TenantOfMine(tenant_id=tenant.tenant_id, name=tenant.name, status=tenant.status.value, plan=tenant.plan),
        principal_id=principal.principal_id,
        kind=principal.kind,
        roles=sorted(principal.roles),
        permissions=sorted(principal.permissions),
        trust_level=principal.trust_level,
        policies=list(caller.policies),
        limits=LimitsBody.of(caller.limits),
        expires_at=caller.ends_at,
    )
