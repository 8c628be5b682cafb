"""``/api/v1/services/{service_id}/limits``: what a tenant allows a service beyond its contract."""

from __future__ import annotations

from fastapi import APIRouter

from caio.api.dependencies import DocumentBody, ThePlatform
from caio.api.limits import LimitsBody
from caio.api.routes.services import Reader, ServiceId, Writer
from caio.gateway.intake import read

router = APIRouter(prefix="/api/v1/services", tags=["services"])


@router.get("/{service_id}/limits", response_model_exclude_none=True)
async def get_limits(caller: Reader, platform: ThePlatform, service_id: ServiceId) -> LimitsBody:
    """The limits that the tenant sets for a service; what its contract states holds beside them."""
    return LimitsBody.of(await platform.service_limits.of(caller.scope, service_id))


_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/LimitsBody"}}},
    }
}


@router.put("/{service_id}/limits", response_model_exclude_none=True, openapi_extra=_BODY)
async def put_limits(caller: Writer, platform: ThePlatform, service_id: ServiceId, body: DocumentBody) -> LimitsBody:
    """Limit a service for this tenant, in place of earlier limits. They hold on every process within five seconds;
    what was admitted before counts."""
    return LimitsBody.of(await platform.service_limits.put(caller, service_id, read(LimitsBody, body).limits()))


@router.delete("/{service_id}/limits", response_model_exclude_none=True)
async def delete_limits(caller: Writer, platform: ThePlatform, service_id: ServiceId) -> LimitsBody:
    """Take the tenant's limits of a service away; its contract's hold on. Answers what is left: none."""
    return LimitsBody.of(await platform.service_limits.delete(caller, service_id))
