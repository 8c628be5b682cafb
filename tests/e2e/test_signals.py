"""What a running server tells of its work: counted by the test, scraped from the operations listener, read in the
lines for CloudWatch, and received as traces."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import chat_contract, contract
from tests.support.processes import Processes
from tests.support.trace_receiver import TraceReceiver, trace_receiver
from tests.support.upstreams import Upstream

SAMPLE = re.compile(r"^(?P<name>\w+)(\{(?P<labels>[^}]*)\})? (?P<value>\S+)$")
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SPANS = ("admit", "authenticate", "decide", "journal", "settle")
CHAT = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}


async def scraped(url: str) -> dict[str, float]:
    """Every sample of the page, under its name and labels as they are written."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        text = await answer.text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = [SAMPLE.match(line) for line in lines]
    return {
        match[1] + (f"{{{match['labels']}}}" if match["labels"] else ""): float(match["value"])
        for match in found
        if match
    }


class Served:
    """A server of its own process on SQLite, and who asks it."""

    def __init__(self, processes: Processes, http: aiohttp.ClientSession) -> None:
        self.processes = processes
        self.http = http

    @property
    def operations(self) -> str:
        return str(self.processes.servers[0].said["operations"])

    async def post(self, path: str, document: Any, **headers: str) -> tuple[int, bytes]:
        async with self.http.post(path, json=document, headers=headers) as answer:
            return answer.status, await answer.read()

    async def orchestrate(self, capability: str = "text.sentiment", **headers: str) -> int:
        wanted = {"request": {"capability": capability, "payload": {"text": "Fine."}}}
        return (await self.post("/api/v1/orchestrate", wanted, **headers))[0]

    async def register(self, *documents: Any) -> None:
        for document in documents:
            status, told = await self.post("/api/v1/services", document)
            assert status == 201, told

    def stop(self) -> tuple[str, str]:
        """What it wrote on standard output and on standard error."""
        self.processes.stop(*self.processes.servers)
        out = self.processes.folder / "serve-1.out"
        return out.read_text(), out.with_suffix(".err").read_text()


@asynccontextmanager
async def serving(folder: Path, **settings: str) -> AsyncIterator[Served]:
    with Processes(folder, None, None, ops_port="0", log_level="info", **settings) as processes:
        await asyncio.to_thread(processes.start)
        headers = {"Authorization": f"Bearer {processes.token}"}
        async with aiohttp.ClientSession(processes.servers[0].url, headers=headers) as http:
            yield Served(processes, http)


def named(capability: str, service_id: str, url: str, path: str, price: str) -> dict[str, Any]:
    return contract(service_id, url, path) | {
        "capabilities": [capability],
        "cost": {"currency": "USD", "per_request": price},
    }


async def test_counters_say_what_was_done(tmp_path: Path, service: Upstream) -> None:
    """Calls that are answered, refused, streamed, fail, and fall back, each so many times."""
    async with serving(tmp_path, metrics_emf="true", metrics_tenants="default,acme") as caio:
        await caio.register(
            contract("good", service.url),
            named("text.broken", "broken", service.url, "/status/500", "0.001"),
            named("text.twofold", "a-bad", service.url, "/status/500", "0.0001"),
            named("text.twofold", "b-good", service.url, "/counted", "0.002"),
            chat_contract("talker", service.url, "/stream"),
        )
        before = await scraped(caio.operations)
        assert [await caio.orchestrate() for _ in range(4)] == [200] * 4
        assert await caio.orchestrate(traceparent=f"00-{TRACE}-{SPAN}-01") == 200
        assert service.received[-1][0].headers.get("traceparent") is None  # nothing is traced here
        assert await caio.orchestrate("text.unheard-of") == 422
        assert await caio.orchestrate("text.broken") == 502
        fell_back = await caio.orchestrate("text.twofold")
        for _ in range(3):
            status, body = await caio.post("/v1/chat/completions", {**CHAT, "stream": True})
            assert (status, b"[DONE]" in body) == (200, True)
        assert (await caio.post("/v1/embeddings", {"model": "auto"}))[0] == 422
        async with aiohttp.ClientSession(caio.processes.servers[0].url) as nobody:
            async with nobody.post("/v1/chat/completions", json=CHAT) as answer:
                assert answer.status == 401
            async with nobody.get("/metrics") as answer:  # metrics_are_not_public
                assert answer.status == 404
        after = await scraped(caio.operations)

        def grown(name: str) -> float:
            return after[name] - before.get(name, 0.0)

        assert fell_back == 200
        assert grown('caio_requests_total{status_class="2xx",surface="orchestrate"}') == 6
        assert grown('caio_requests_total{status_class="4xx",surface="orchestrate"}') == 1
        assert grown('caio_requests_total{status_class="5xx",surface="orchestrate"}') == 1
        assert grown('caio_requests_total{status_class="2xx",surface="chat"}') == 3
        assert grown('caio_requests_total{status_class="4xx",surface="chat"}') == 1
        assert grown('caio_requests_total{status_class="4xx",surface="embeddings"}') == 1
        assert grown("caio_request_seconds_count") == 10  # all but the streams
        assert grown("caio_first_token_seconds_count") == 3
        assert grown("caio_routing_seconds_count") == 11
        assert grown('caio_decisions_total{result="admitted"}') == 10
        assert grown('caio_decisions_total{result="refused"}') == 1
        assert grown('caio_decisions_total{result="exhausted"}') == 0
        assert grown('caio_admission_refused_total{reason="no_service"}') == 1
        assert grown("caio_fallbacks_total") == 1
        received = len(service.received)
        attempts = sum(value for name, value in after.items() if name.startswith("caio_upstream_attempts_total"))
        assert attempts == received
        assert grown('caio_upstream_attempts_total{outcome="ok"}') == 5 + 1 + 3
        assert grown('caio_upstream_attempts_total{outcome="upstream"}') == received - 9
        # /counted reports 5 and 2 tokens, a stream 7 and 60.
        assert grown('caio_tokens_total{direction="input"}') == 6 * 5 + 3 * 7
        assert grown('caio_tokens_total{direction="output"}') == 6 * 2 + 3 * 60
        assert after["caio_calls_in_flight"] == after["caio_streams_open"] == 0
        assert after["caio_services"] in (0, 5)  # counted once a minute
        out, err = caio.stop()
    embedded_lines_agree(out)
    log_lines_name_who_called(err)


def embedded_lines_agree(out: str) -> None:
    """After the line that says that it is ready, two lines for CloudWatch and one of a tenant that called nothing."""
    _, *lines = [json.loads(line) for line in out.splitlines()]
    assert [line.get("TenantID") for line in lines] == [None, "default", "acme"]
    of_all, default, acme = lines
    assert of_all["OrchestrationRequests"] == 13
    assert default["OrchestrationRequests"] == 12  # one had no credential
    assert acme["OrchestrationRequests"] == 0
    assert of_all["OrchestrationErrors"] == default["OrchestrationErrors"] == 1
    assert of_all["RefusedRequests"] == default["RefusedRequests"] == 1
    assert of_all["TokensUsed"] == default["TokensUsed"] == 6 * 7 + 3 * 67
    assert of_all["RequestLatency"]["Count"] == 10
    assert of_all["RoutingLatency"]["Count"] == 11
    assert of_all["FirstTokenLatency"]["Count"] == 3
    assert {"ServiceCount", "AuditLag", "JournalWaiting"} <= set(of_all)


def log_lines_name_who_called(err: str) -> None:
    lines = [json.loads(line) for line in err.splitlines()]
    calls = [line for line in lines if line["event"] == "request" and line["method"] == "POST"]
    known = [line for line in calls if line["status"] != 401]
    assert {line["tenant_id"] for line in known} == {"default"}
    assert len({line["principal_id"] for line in known}) == 1
    assert all(line["principal_id"] for line in known)
    (unknown,) = [line for line in calls if line["status"] == 401]
    assert unknown["tenant_id"] is unknown["principal_id"] is None
    assert all("trace_id" not in line for line in lines)


async def test_an_exhausted_limit_is_counted_however_it_is_refused(tmp_path: Path, service: Upstream) -> None:
    async with serving(tmp_path, drain_seconds="2") as caio:
        await caio.register(contract("good", service.url))
        async with caio.http.patch(
            "/api/v1/tenants/default", json={"quotas": {"per_minute": 2}}, headers={"If-Match": '"1"'}
        ) as answer:
            status, told = answer.status, await answer.text()
        if status != 200:
            pytest.fail(told)
        until = time.monotonic() + 20
        while (await caio.orchestrate()) != 429:
            assert time.monotonic() < until
        assert [await caio.orchestrate() for _ in range(20)] == [429] * 20  # most at the door, without a log line
        after = await scraped(caio.operations)
        refused = after['caio_admission_refused_total{reason="requests"}']
        assert refused == after['caio_requests_total{status_class="4xx",surface="orchestrate"}']
        assert refused >= 21
        assert 1 <= after['caio_decisions_total{result="exhausted"}'] < refused
        await readiness_is_the_public_one(caio)


async def readiness_is_the_public_one(caio: Served) -> None:
    """Also while the process drains; then it ends."""
    url = caio.processes.servers[0].url
    assert await status_of(url) == await status_of(caio.operations) == (200, "healthy")
    caio.processes.servers[0].ask_to_stop()
    await asyncio.sleep(0.3)
    assert await status_of(url) == await status_of(caio.operations) == (503, "stopping")
    async with aiohttp.ClientSession() as http, http.get(f"{caio.operations}/health/live") as answer:
        assert answer.status == 200
    await asyncio.to_thread(caio.processes.servers[0].await_end)


async def status_of(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/health/ready") as answer:
        return answer.status, (await answer.json())["status"]


@pytest.mark.long
async def test_two_processes_count_each_their_own(tmp_path: Path, service: Upstream) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with serving(tmp_path / "one") as one, serving(tmp_path / "two") as two:
        await one.register(contract("good", service.url))
        assert await one.orchestrate() == 200
        assert await two.orchestrate() == 422
        name = 'caio_decisions_total{result="admitted"}'
        assert ((await scraped(one.operations))[name], (await scraped(two.operations))[name]) == (1, 0)


async def test_a_trace_goes_from_the_caller_to_the_service(tmp_path: Path, service: Upstream) -> None:
    secret = "sk-nobodys-business-1234567890"
    async with trace_receiver() as receiver:
        async with serving(tmp_path, otlp_endpoint=receiver.url, trace_sample="0") as caio:
            await caio.register(
                named("text.sentiment", "a-bad", service.url, "/status/500", "0.0001"),
                named("text.sentiment", "b-good", service.url, "/counted", "0.002"),
                chat_contract("talker", service.url, "/stream"),
            )
            assert await caio.orchestrate(traceparent=f"00-{TRACE}-{SPAN}-01", baggage=f"key={secret}") == 200
            given = [request.headers.get("traceparent") for request, _ in service.received]
            spans = await receiver.of(TRACE, 8)
            # As many as it likes: at a share of nothing, no more than one a second.
            began, many = time.monotonic(), 10
            assert [await caio.orchestrate(traceparent=f"00-{TRACE}-{SPAN}-01") for _ in range(many)] == [200] * many
            seconds = time.monotonic() - began
            streamed = await traced_stream(caio, receiver)
            _, err = caio.stop()
        assert streamed == ["POST /v1/chat/completions", *SPANS, "call talker"]
        assert sum(each.parent_id == SPAN for each in receiver.spans if each.trace_id == TRACE) <= 1 + min(
            many - 1, 1 + seconds
        )
        (root,) = [each for each in spans if each.parent_id == SPAN]
        below = [each for each in spans if each is not root]
        assert root.name == "POST /api/v1/orchestrate"
        assert {each.parent_id for each in below} == {root.span_id}
        calls = sorted((each for each in below if each.name.startswith("call ")), key=lambda each: each.started)
        assert [each.name for each in calls] == ["call a-bad", "call b-good"]
        assert given == [f"00-{TRACE}-{each.span_id}-01" for each in calls]
        assert [each.failed for each in calls] == [True, False]
        assert sorted(each.name for each in below) == [*SPANS[:2], "call a-bad", "call b-good", *SPANS[2:]]
        assert all(root.started <= each.started <= each.ended <= root.ended for each in below)
        assert root.attributes["http.response.status_code"] == 200
        assert root.attributes["caio.tenant_id"] == "default"
        lines = [json.loads(line) for line in err.splitlines()]
        line = next(each for each in lines if each.get("span_id") == root.span_id)
        assert (line["trace_id"], line["decision_id"]) == (TRACE, root.attributes["caio.decision_id"])
        told = b"".join(receiver.raw)
        for hidden in (secret, caio.processes.token, "Fine."):
            assert hidden.encode() not in told
        assert all(request.headers.get("baggage") is None for request, _ in service.received)


async def traced_stream(caio: Served, receiver: TraceReceiver) -> list[str]:
    """The names of the spans of a stream, once its caller's turn to be traced has come again."""
    trace_id, until = "b" * 32, time.monotonic() + 20
    while not any(each.trace_id == trace_id for each in receiver.spans):
        assert time.monotonic() < until
        headers = {"traceparent": f"00-{trace_id}-{SPAN}-01"}
        status, body = await caio.post("/v1/chat/completions", {**CHAT, "stream": True}, **headers)
        assert (status, b"[DONE]" in body) == (200, True)
        await asyncio.sleep(1.5)
    found = await receiver.of(trace_id, 7)
    root = next(each for each in found if each.parent_id == SPAN)
    mine = [each.name for each in found if each.parent_id == root.span_id]
    return [root.name, *sorted(set(mine) - {"call talker"}), *(name for name in mine if name == "call talker")]
