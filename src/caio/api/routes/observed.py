"""``/api/v1/services/{service_id}/observed``: contract versus observed."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from caio.api.dependencies import ThePlatform, caller_with
from caio.api.routes.services import ServiceId
from caio.foundation.quantity import decimal_text
from caio.registry.observed import LATENCIES, Promise, Report, Window
from caio.tenancy.principals import Caller, Permission

router = APIRouter(prefix="/api/v1/services", tags=["services"])

Reader = Annotated[Caller, Depends(caller_with(Permission.SERVICES_READ))]


class PercentilesView(BaseModel):
    """Milliseconds, rounded down by at most a twentieth; null without answers of this kind."""

    answers: int
    p50: int | None
    p95: int | None
    p99: int | None


class WindowView(BaseModel):
    """What was observed from ``since`` (microseconds, the start of an hour) on. ``breaches`` counts, for
    each clause, the answers that broke it; ``error_rate`` is null without calls."""

    window: Literal["1h", "24h", "30d"]
    since: int
    calls: int
    errors: int
    error_rate: str | None
    breaches: dict[str, int]
    latency_ms: PercentilesView
    first_token_ms: PercentilesView


class FindingView(BaseModel):
    """What a window says of a promise; ``observed`` is null where nothing was seen or measured."""

    window: Literal["1h", "24h", "30d"]
    verdict: Literal["kept", "breached", "too few calls", "not measured"]
    observed: str | None


class PromiseView(BaseModel):
    """One bound of the contract beside what was observed of it."""

    bound: str
    promised: str
    findings: list[FindingView]


class ObservedView(BaseModel):
    """Contract versus observed of one version of a service, over the tenant's own calls."""

    service_id: str
    version: str
    windows: list[WindowView]
    promises: list[PromiseView]


@router.get("/{service_id}/observed")
async def get_observed(
    caller: Reader,
    platform: ThePlatform,
    service_id: ServiceId,
    version: Annotated[str | None, Query(max_length=64, description="A version other than the newest.")] = None,
) -> ObservedView:
    """What the contract promises beside what was observed over the last hour, day and 30 days."""
    return _view(await platform.observed.report(caller.scope, service_id, version))


def _view(report: Report) -> ObservedView:
    return ObservedView(
        service_id=report.service_id,
        version=report.version,
        windows=[_window(each) for each in report.windows],
        promises=[_promise(each, report.windows) for each in report.promises],
    )


def _window(window: Window) -> WindowView:
    whole, streams = (PercentilesView(answers=window.timed(kind), **window.percentiles(kind)) for kind in LATENCIES)
    rate = window.error_rate
    return WindowView.model_validate(
        {
            "window": window.name,
            "since": window.since,
            "calls": window.calls,
            "errors": window.errors,
            "error_rate": None if rate is None else decimal_text(rate),
            "breaches": dict(window.breaches),
            "latency_ms": whole,
            "first_token_ms": streams,
        }
    )


def _promise(promise: Promise, windows: tuple[Window, ...]) -> PromiseView:
    findings = [
        FindingView.model_validate({"window": window.name, "verdict": found.verdict.value, "observed": found.observed})
        for window, found in zip(windows, promise.findings, strict=True)
    ]
    return PromiseView(bound=promise.bound, promised=promise.promised, findings=findings)
