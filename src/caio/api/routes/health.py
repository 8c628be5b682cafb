"""``/health*`` and the public verification keys: the only paths that need no credential."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from caio.api.dependencies import ThePlatform
from caio.audit.signing import key_set
from caio.foundation.errors import CaioError, NotReady

router = APIRouter(tags=["health"])


class Component(BaseModel):
    """One thing this process depends on. ``latency_ms`` is how long the check took; of the cache how long its server
    took to answer last."""

    status: str
    latency_ms: float
    detail: str | None = None


class Health(BaseModel):
    status: str
    components: dict[str, Component] = {}


@router.get("/health/live")
async def live() -> Health:
    """The process runs. Says nothing about whether it can serve."""
    return Health(status="healthy")


@router.get("/health", responses={503: {"model": Health}}, response_model=Health)
@router.get("/health/ready", responses={503: {"model": Health}}, response_model=Health)
async def ready(platform: ThePlatform) -> JSONResponse:
    """The process can serve: the database answers, its tables are not older than this version, the journal writes.

    An audit log that lags behind its journal, or cannot be anchored, is shown and makes the status
    `degraded`, but takes no process out of service: every decision is durable in the journal, and what
    lacks is only its proof, which another process could not give either. So it is with the worker's loops,
    where they run in this process: events and sums come later. And with the shared limiter and its server,
    `cache`: while it is away, tenants are served their share or not at all, by every process alike. A process
    that sends calls away for having too many is `degraded`, too: it serves as many as it can.
    """

    async def journal() -> None:
        if platform.journal.failing:
            raise NotReady("the last write to the journal failed")

    async def audit_log() -> None:
        if trouble := platform.sequencer.trouble:
            raise NotReady(trouble)

    async def worker() -> None:
        if platform.worker is not None and (trouble := platform.worker.trouble):
            raise NotReady(trouble)

    async def limiter() -> None:
        if platform.limiter is not None and (trouble := platform.limiter.degraded()):
            raise NotReady(trouble)

    async def calls() -> None:
        if platform.starts.is_shedding:
            raise NotReady("this process has more calls than it can serve, and sends some away")

    components = {
        "database": await _check(platform.ping_database),
        "migrations": await _check(platform.check_migrations),
        "journal": await _check(journal),
    }
    serving = all(each.status == "healthy" for each in components.values())
    components["calls"] = await _check(calls)
    components["audit_log"] = await _check(audit_log)
    if platform.worker is not None:
        components["worker"] = await _check(worker)
    if platform.limiter is not None:
        components["limiter"] = await _check(limiter)
        answered = round(platform.limiter.round_trip * 1000, 3)
        components["cache"] = components["limiter"].model_copy(update={"latency_ms": answered})
    whole = all(each.status == "healthy" for each in components.values())
    status = "unhealthy" if not serving else "healthy" if whole else "degraded"
    health = Health(status=status, components=components)
    return JSONResponse(health.model_dump(exclude_none=True), status_code=200 if serving else 503)


@router.get("/.well-known/caio-keys.json", tags=["receipts"])
async def verification_keys(platform: ThePlatform) -> dict[str, Any]:
    """The public keys that receipts are signed with, retired ones included. Pin them."""
    return key_set(platform.keyring)


async def _check(probe: Callable[[], Awaitable[None]]) -> Component:
    started = monotonic()
    try:
        await probe()
        status, detail = "healthy", None
    except CaioError as error:
        status, detail = "unhealthy", error.message
    return Component(status=status, latency_ms=round((monotonic() - started) * 1000, 3), detail=detail)
