"""What the process tells of its work: its metrics, the lines for CloudWatch, traces."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

from caio.bootstrap.audit import Audit
from caio.bootstrap.clock import now
from caio.bootstrap.gateway import RequestPath
from caio.bootstrap.storage import Storage
from caio.config import Settings
from caio.foundation.errors import Misconfigured
from caio.observability.embedded_metrics import EVERY_SECONDS, EmbeddedMetrics
from caio.observability.metrics import Metrics
from caio.observability.tracing import Sampling, Tracing
from caio.worker.loop import Loop, Worker


async def open_metrics(stack: AsyncExitStack, settings: Settings, *, works: bool) -> Metrics:
    """The process's counts, written as lines for CloudWatch where that is wanted. To be opened first: what is
    counted while the rest closes is told, too."""
    metrics = Metrics(settings.metrics_tenants)
    if settings.metrics_emf:
        calls = not (works and settings.several_processes)  # a worker of its own serves none
        lines = EmbeddedMetrics(metrics, settings.env, now, _print, calls=calls)
        loop = Loop(
            "embedded metrics",
            EVERY_SECONDS,
            lines.step,
            first_after=EVERY_SECONDS,
            drains=False,
            finish=lines.finish,
        )
        worker = Worker([loop])
        await worker.start()
        stack.push_async_callback(worker.stop)
    return metrics


def _print(lines: str) -> None:
    sys.stdout.write(lines)
    sys.stdout.flush()


def open_tracing(stack: AsyncExitStack, settings: Settings) -> Tracing | None:
    """None where no endpoint is set. Raises Misconfigured without the extra."""
    if settings.otlp_endpoint is None:
        return None
    try:
        from caio.observability.spans import OtlpTracing
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise Misconfigured("CAIO_OTLP_ENDPOINT needs the extra: pip install 'caio-platform[tracing]'.") from error
    tracing = OtlpTracing(settings.otlp_endpoint, Sampling(settings.trace_sample), settings.env)

    async def close() -> None:
        await asyncio.to_thread(tracing.close)

    stack.push_async_callback(close)
    return tracing


def watch_process(metrics: Metrics, audit: Audit, path: RequestPath, *, works: bool) -> None:
    """Have what waits, lags and fails read from the parts that know it."""
    metrics.watch("caio_calls_in_flight", lambda: path.starts.in_flight)
    metrics.watch("caio_calls_shed_total", lambda: path.starts.sent_away)
    metrics.watch("caio_breakers_open", path.gateway.breakers.not_closed)
    metrics.watch("caio_journal_waiting", lambda: audit.journal.waiting)
    if works:  # elsewhere nobody looks how far the logs are behind
        metrics.watch("caio_audit_lag_seconds", lambda: audit.sequencer.lag)
    if (limiter := path.limiter) is not None:
        metrics.watch("caio_limiter_up", lambda: limiter.degraded() is None)


def counting_services(metrics: Metrics, storage: Storage) -> Loop:
    """Counts the services in the database, for all processes of it."""
    counted = 0

    async def step() -> int:
        nonlocal counted
        counted = await storage.stores.contracts.in_service()
        metrics.watch("caio_services", lambda: counted)
        return 0

    return Loop("counting of services", EVERY_SECONDS, step, drains=False)
