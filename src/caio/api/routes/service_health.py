"""``/api/v1/services/{service_id}/health``: whether a service is called at present."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from caio.api.dependencies import ThePlatform, caller_with
from caio.api.routes.services import ServiceId
from caio.gateway.health import WINDOW, Breaker, Cause
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/api/v1/services", tags=["services"])

Reader = Annotated[Caller, Depends(caller_with(Permission.SERVICES_READ))]


class ServiceHealthView(BaseModel):
    """How one version of a service stands with the tenant's calls, as the process sees it that answers."""

    service_id: str
    version: str
    state: Literal["closed", "open", "half_open"] = Field(
        description="`closed`: it is called. `open`: it is not, or only where too few others are left. "
        "`half_open`: one call is let through to find out."
    )
    cause: Literal["faults_in_a_row", "failing_share", "credentials", "quota"] | None
    faults: int = Field(description="Calls that failed among the last that are remembered.")
    remembered: int = Field(description="How many calls are remembered at most.")
    until: int | None = Field(description="When one call is let through again (microseconds); null when closed.")
    waiting: int = Field(description="Calls that wait for one of the service's slots.")


@router.get("/{service_id}/health")
async def get_service_health(
    caller: Reader,
    platform: ThePlatform,
    service_id: ServiceId,
    version: Annotated[str | None, Query(max_length=64, description="A version other than the newest.")] = None,
) -> ServiceHealthView:
    """Whether the service is called at present, and why not. Processes tell each other within a second."""
    found = (await platform.catalog.contracts.get(caller.scope, service_id, version)).publication
    tenant_id, gateway = caller.scope.tenant_id, platform.gateway
    breaker = gateway.breakers.of_service(tenant_id, service_id).get(found.version, Breaker())
    state = breaker.state(time.time_ns() // 1000)
    cause: Cause | None = breaker.cause
    return ServiceHealthView(
        service_id=service_id,
        version=found.version,
        state=state.value,
        cause=None if cause is None else cause.value,
        faults=breaker.faults,
        remembered=WINDOW,
        until=None if cause is None else breaker.until,
        waiting=gateway.queues.waiting(tenant_id, service_id),
    )
