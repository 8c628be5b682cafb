"""Spans: what a collector is sent of a call, and what happens while there is none."""

import asyncio
import logging
import socket
import threading
import time

import pytest

from caio.observability.spans import OtlpTracing
from caio.observability.tracing import Sampling
from tests.support.trace_receiver import trace_receiver

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def quiet():
    """The exporter's own warnings, which operators see in the log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def test_a_call_is_told_as_it_was():
    async with trace_receiver() as receiver:
        tracing = OtlpTracing(receiver.url + "/", Sampling(1.0), "staging")
        started = time.monotonic() - 0.5
        before = time.time_ns()
        trace = tracing.begin(f"00-{TRACE}-{SPAN}-01", "POST", "/v1/chat/completions", started)
        assert trace is not None
        durable = asyncio.get_running_loop().create_future()
        trace.until(durable, "journal")
        trace.span("decide", started, **{"caio.services.ranked": 3})
        parent = trace.calling("first", "1.0.0")
        trace.called("upstream")
        trace.calling("second", "2.0.0")
        durable.set_result(1)
        await asyncio.sleep(0)
        trace.end(**{"http.response.status_code": 502})
        await asyncio.to_thread(tracing.close)
        spans = {each.name: each for each in receiver.spans}
        root = spans["POST /v1/chat/completions"]
        assert set(spans) == {root.name, "journal", "decide", "call first", "call second"}
        assert {each.trace_id for each in spans.values()} == {TRACE}
        assert root.parent_id == SPAN
        assert {each.parent_id for name, each in spans.items() if name != root.name} == {root.span_id}
        assert (trace.trace_id, trace.span_id) == (TRACE, root.span_id)
        assert parent == f"00-{TRACE}-{spans['call first'].span_id}-01"
        assert root.failed
        assert spans["call first"].failed
        assert spans["call first"].attributes["caio.outcome"] == "upstream"
        assert (spans["call second"].attributes["caio.outcome"], spans["call second"].failed) == ("left", False)
        assert spans["decide"].attributes == {"caio.services.ranked": 3}
        assert root.attributes["http.response.status_code"] == 502
        assert abs(root.started - (before - 500_000_000)) < 200_000_000
        assert receiver.resources[0]["service.name"] == "caio"
        assert receiver.resources[0]["deployment.environment.name"] == "staging"


async def test_every_begun_span_ends():
    async with trace_receiver() as receiver:
        tracing = OtlpTracing(receiver.url, Sampling(1.0), "test")
        trace = tracing.begin(None, "POST", "/x", time.monotonic())
        assert trace is not None
        trace.calling("service", "1.0.0")
        trace.end(**{"http.response.status_code": 499})
        await asyncio.to_thread(tracing.close)
        assert {each.name for each in receiver.spans} == {"POST /x", "call service"}
        assert all(each.ended >= each.started > 0 for each in receiver.spans)


async def test_calls_that_are_not_traced_make_nothing():
    async with trace_receiver() as receiver:
        tracing = OtlpTracing(receiver.url, Sampling(0.0), "test")
        tracing._tracer = None  # type: ignore[assignment]  # to be asked for nothing
        assert all(tracing.begin(None, "POST", "/x", 0.0) is None for _ in range(100))
        await asyncio.to_thread(tracing.close)
        assert receiver.spans == []


def test_a_collector_that_is_away_holds_up_nothing(quiet):
    with socket.socket() as silent:  # it takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        tracing = OtlpTracing(f"http://127.0.0.1:{silent.getsockname()[1]}", Sampling(1.0), "test")
        started = time.monotonic()
        for _ in range(3000):
            trace = tracing.begin(None, "POST", "/x", started)
            assert trace is not None
            trace.end()
        assert time.monotonic() - started < 3.0
        stopping = time.monotonic()
        tracing.close()
        assert time.monotonic() - stopping < 10.0
    assert not [each.name for each in threading.enumerate() if "Batch" in each.name and not each.daemon]
