"""Calls of MCP's tools and of workflows' steps are counted and traced as those of the other surfaces are."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from caio.api.mcp.door import McpDoor
from tests.e2e.conftest import contract, served, template  # noqa: F401 - a fixture
from tests.e2e.test_signals import SPAN, SPANS, TRACE, Served, scraped, serving
from tests.support.trace_receiver import Told, trace_receiver
from tests.support.upstreams import Upstream, upstream

RUNS = "/api/v1/workflows/runs"
MCP = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
FINE = {"text": "Fine."}


@pytest.fixture
async def service() -> AsyncIterator[Upstream]:
    async with upstream() as running:
        yield running


async def call_tool(caio: Served, name: str, arguments: Any, **headers: str) -> Any:
    params = {"name": name, "arguments": arguments}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    status, body = await caio.post("/mcp", message, **MCP, **headers)
    assert status == 200, body
    data = next((line[6:] for line in body.splitlines() if line.startswith(b"data: ")), body)
    return json.loads(data)["result"]


async def begun(caio: Served) -> str:
    """The id of a run of one step."""
    step = {"id": "only", "request": {"capability": "text.sentiment"}, "payload": FINE}
    status, body = await caio.post(RUNS, {"workflow": {"steps": [step], "deadline_ms": 60_000}})
    assert status == 202, body
    return str(json.loads(body)["run_id"])


async def ended(caio: Served, run_id: str) -> dict[str, Any]:
    until = time.monotonic() + 60
    while True:
        async with caio.http.get(f"{RUNS}/{run_id}") as answer:
            run: dict[str, Any] = await answer.json()
        if run["status"] in ("succeeded", "failed"):
            return run
        assert time.monotonic() < until, run
        await asyncio.sleep(0.1)


async def test_refusals_of_tools_and_steps_are_counted(tmp_path: Path, service: Upstream) -> None:
    async with serving(tmp_path) as caio:
        await caio.register(contract("good", service.url))
        impossible = {"capability": "text.sentiment", "payload": FINE, "requirements": {"max_cost": "0.0000001"}}
        assert (await call_tool(caio, "caio_orchestrate", impossible))["isError"]
        after = await scraped(caio.operations)
        assert after['caio_admission_refused_total{reason="no_service"}'] == 1
        async with caio.http.patch(
            "/api/v1/tenants/default", json={"quotas": {"per_minute": 1}}, headers={"If-Match": '"1"'}
        ) as answer:
            assert answer.status == 200, await answer.text()
        until = time.monotonic() + 20
        while not (await call_tool(caio, "good", FINE)).get("isError"):
            assert time.monotonic() < until
        refused = (await scraped(caio.operations))['caio_admission_refused_total{reason="requests"}']
        assert refused == 1
        await begun(caio)
        until = time.monotonic() + 60
        while (await scraped(caio.operations))['caio_admission_refused_total{reason="requests"}'] == refused:
            assert time.monotonic() < until
            await asyncio.sleep(0.2)


async def test_calls_of_tools_are_traced(tmp_path: Path, service: Upstream) -> None:
    async with trace_receiver() as receiver, serving(tmp_path, otlp_endpoint=receiver.url, trace_sample="0") as caio:
        await caio.register(contract("good", service.url))
        result = await call_tool(caio, "good", FINE, traceparent=f"00-{TRACE}-{SPAN}-01")
        given = service.received[-1][0].headers.get("traceparent")
        spans = await receiver.of(TRACE, 7)
        _, err = caio.stop()
    root = _whole(spans, "POST /mcp", "good", given)
    assert root.parent_id == SPAN
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["caio.decision_id"] == result["_meta"]["caio"]["decision_id"]
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["trace_id"] for line in lines if line.get("span_id") == root.span_id] == [TRACE]


async def test_a_tool_that_breaks_is_traced_as_it_is_answered(
    tmp_path: Path,
    template: tuple[Path, str],  # noqa: F811
    service: Upstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(door: McpDoor) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(McpDoor, "_serving", broken)
    folder, token = template
    shutil.copytree(folder, tmp_path / "data")
    async with (
        trace_receiver() as receiver,
        served(tmp_path / "data", token, service, otlp_endpoint=receiver.url) as caio,
    ):
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "good", "arguments": FINE}}
        headers = MCP | {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        async with caio.http.post("/mcp", json=message, headers=headers) as answer:
            assert answer.status == 500, await answer.text()
        (root,) = [each for each in await receiver.of(TRACE, 2) if each.name == "POST /mcp"]
    assert root.attributes["http.response.status_code"] == 500


async def test_steps_are_traced(tmp_path: Path, service: Upstream) -> None:
    async with trace_receiver() as receiver, serving(tmp_path, otlp_endpoint=receiver.url, trace_sample="1") as caio:
        await caio.register(contract("good", service.url))
        run = await ended(caio, await begun(caio))
        assert run["status"] == "succeeded", run
        given = service.received[-1][0].headers["traceparent"]
        spans = await receiver.of(given.split("-")[1], 6)
    root = _whole(spans, f"STEP {RUNS}", "good", given, without="authenticate")
    assert root.attributes["caio.run_id"] == run["run_id"]
    assert root.attributes["caio.decision_id"] == run["steps"][0]["decision_id"]
    assert root.attributes["caio.tenant_id"] == "default"
    assert b"Fine." not in b"".join(receiver.raw)


def _whole(spans: list[Told], name: str, service_id: str, given: str | None, without: str = "") -> Told:
    """The root of a trace with this name, once it is certain that the rest of a call is below it."""
    (root,) = [each for each in spans if each.name == name]
    below = {each.name: each for each in spans if each is not root}
    assert set(below) == {*SPANS, f"call {service_id}"} - {without}
    assert {each.parent_id for each in below.values()} == {root.span_id}
    assert given == f"00-{root.trace_id}-{below[f'call {service_id}'].span_id}-01"
    return root
