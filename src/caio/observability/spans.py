"""The spans of traced calls, made by the OpenTelemetry SDK and sent by it in batches (OTLP over HTTP).

The only module that knows the SDK; imported where an endpoint is configured. Sending is the SDK's own thread's work:
a collector that is away costs calls nothing, and beyond MOST_WAITING spans are dropped. Ids are random, which X-Ray
takes too (through a collector of 2023 or later).

Laws (each has a test of the same name)
---------------------------------------
- a_collector_that_is_away_holds_up_nothing: neither a call nor, for long, the end of the process.
- every_begun_span_ends: also those of a call that was cut off.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from caio._version import __version__
from caio.observability.tracing import Parent, Sampling, Trace

MOST_WAITING = 1024
_BATCH = 512

#: For how long a batch is tried to be sent; what waits at the end is two of them, at most.
_SEND_SECONDS = 2.0

_NANO = 1_000_000_000


class OtlpTracing:
    """Traces the calls that ``sampling`` takes and sends them to ``endpoint``, the collector's base URL."""

    def __init__(self, endpoint: str, sampling: Sampling, environment: str) -> None:
        self._sampling = sampling
        resource = Resource.create(
            {"service.name": "caio", "service.version": __version__, "deployment.environment.name": environment}
        )
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_SEND_SECONDS)
        self._provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=MOST_WAITING, max_export_batch_size=_BATCH)
        )
        self._tracer = self._provider.get_tracer("caio", __version__)

    def begin(self, stated: str | None, method: str, path: str, started: float) -> Trace | None:
        taken, parent = self._sampling.takes(stated)
        return _Spans(self._tracer, parent, method, path, started) if taken else None

    def close(self) -> None:
        self._provider.shutdown()


class _Spans:
    """One call's spans: the call itself, and below it what it was made of."""

    def __init__(self, tracer: Tracer, parent: Parent | None, method: str, path: str, started: float) -> None:
        self._tracer = tracer
        self._offset = time.time_ns() - time.monotonic_ns()
        around = None if parent is None else set_span_in_context(NonRecordingSpan(_remote(parent)))
        self._root = tracer.start_span(
            f"{method} {path}",
            around,
            SpanKind.SERVER,
            {"http.request.method": method, "url.path": path},
            start_time=self._at(started),
        )
        self._below = set_span_in_context(self._root)
        self._call: Span | None = None
        own = self._root.get_span_context()
        self.trace_id, self.span_id = f"{own.trace_id:032x}", f"{own.span_id:016x}"

    def span(self, name: str, started: float, **attributes: str | int | float) -> None:
        self._begin(name, started, **attributes).end()

    def until(self, done: asyncio.Future[Any], name: str) -> None:
        span = self._begin(name, time.monotonic())
        done.add_done_callback(lambda _: span.end())

    def calling(self, service_id: str, version: str) -> str:
        self.called("left")
        self._call = span = self._tracer.start_span(
            f"call {service_id}",
            self._below,
            SpanKind.CLIENT,
            {"caio.service.id": service_id, "caio.service.version": version},
        )
        return f"00-{self.trace_id}-{span.get_span_context().span_id:016x}-01"

    def called(self, outcome: str) -> None:
        if self._call is None:
            return
        self._call.set_attribute("caio.outcome", outcome)
        if outcome not in ("ok", "left"):
            self._call.set_status(StatusCode.ERROR)
        self._call.end()
        self._call = None

    def end(self, **attributes: str | int | float) -> None:
        self.called("left")
        self._root.set_attributes(attributes)
        status = attributes.get("http.response.status_code", 0)
        if isinstance(status, int) and status >= 500:
            self._root.set_status(StatusCode.ERROR)
        self._root.end()

    def _begin(self, name: str, started: float, **attributes: str | int | float) -> Span:
        return self._tracer.start_span(name, self._below, attributes=attributes, start_time=self._at(started))

    def _at(self, monotonic: float) -> int:
        """The time of a reading of the monotonic clock, in nanoseconds since the epoch."""
        return int(monotonic * _NANO) + self._offset


def _remote(parent: Parent) -> SpanContext:
    return SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
