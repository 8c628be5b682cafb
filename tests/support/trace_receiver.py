"""A collector of traces: takes OTLP over HTTP as collectors do, and keeps the spans."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PATIENCE_SECONDS = 20.0


@dataclass
class Told:
    """A span as it was received; ids as ``traceparent`` writes them, times in nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    started: int
    ended: int
    failed: bool
    attributes: dict[str, object]


@dataclass
class TraceReceiver:
    url: str = ""
    spans: list[Told] = field(default_factory=list)
    resources: list[dict[str, object]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    async def of(self, trace_id: str, count: int) -> list[Told]:
        """The spans of a trace once there are so many; raises TimeoutError."""
        until = time.monotonic() + PATIENCE_SECONDS
        while len(found := [each for each in self.spans if each.trace_id == trace_id]) < count:
            if time.monotonic() > until:
                raise TimeoutError(f"{len(found)} of {count} spans of {trace_id} came: {[each.name for each in found]}")
            await asyncio.sleep(0.05)
        return found

    async def handle(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        self.raw.append(body := await request.read())
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append({each.key: _value(each.value) for each in resource_spans.resource.attributes})
            self.spans += [_told(span) for scope in resource_spans.scope_spans for span in scope.spans]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


def _told(span: Span) -> Told:
    return Told(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == 2,
        {each.key: _value(each.value) for each in span.attributes},
    )


def _value(value: object) -> object:
    kind = value.WhichOneof("value")  # type: ignore[attr-defined]
    return None if kind is None else getattr(value, kind)


@asynccontextmanager
async def trace_receiver() -> AsyncIterator[TraceReceiver]:
    receiver = TraceReceiver()
    application = web.Application()
    application.router.add_post("/v1/traces", receiver.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
