"""The MCP server with the real `mcp` client over HTTP: tools, calls, who may, and what ends a call."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from caio.api.mcp.tools import ANY
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import Served, chat_contract, contract
from tests.support.books import books_of
from tests.support.tenants import add_bare_tenants, tenant_named

INPUT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
ERAS = ["legacy", "2026-07-28"]
FINE = {"text": "Fine."}
HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


@asynccontextmanager
async def session(caio: Served, token: str | None = None, mode: Any = "auto") -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token or caio.token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=20) as http,
        Client(streamable_http_client(f"{caio.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def with_input(service_id: str, url: str, path: str = "/counted") -> dict[str, Any]:
    document = contract(service_id, url, path)
    document["api"]["endpoints"][0]["input_schema"] = INPUT
    return document


async def post(caio: Served, document: Any, **headers: str) -> tuple[int, Any, Any]:
    async with aiohttp.ClientSession() as http:
        raw = io.BytesIO(document if isinstance(document, bytes) else json.dumps(document).encode())
        stated = HEADERS | {"Content-Type": "application/json"} | headers
        async with http.post(f"{caio.url}/mcp", data=raw, headers=stated) as answer:
            return answer.status, await answer.text(), answer.headers


async def add(caio: Served, document: dict[str, Any]) -> None:
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 201, await answer.text()


@pytest.mark.parametrize("mode", ERAS)
async def test_a_services_tool_is_listed_and_called(caio: Served, mode: str) -> None:
    await add(caio, with_input("only", caio.service.url) | {"description": "Says how a text sounds."})
    async with session(caio, mode=mode) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(listed) == {ANY, "only"}
        tool = listed["only"]
        assert tool.input_schema == INPUT
        assert tool.output_schema is not None
        assert tool.output_schema["required"] == ["label"]
        assert (tool.description or "").startswith("Says how a text sounds.")
        result = await client.call_tool("only", FINE)
    assert not result.is_error
    assert result.structured_content == {"label": "good", "usage": {"input_tokens": 5, "output_tokens": 2}}
    assert json.loads(result.content[0].text) == result.structured_content  # type: ignore[union-attr]
    about = (result.meta or {})["caio"]
    assert (about["service"], about["cost"]) == ("only@1.0.0", {"amount": "0.001", "currency": "USD"})
    status, receipt = await caio.get(about["receipt"])
    assert (status, receipt["outcome"]["payload"]["status"]) == (200, "ok")
    assert caio.service.body == FINE
    assert (await books_of(caio.installation)).spent == 1_000_000


async def test_the_tool_for_any_service_chooses_one(caio: Served) -> None:
    await caio.register("dear", cost={"currency": "USD", "per_request": "0.5"})
    await caio.register("cheap")
    async with session(caio) as client:
        (tool,) = [each for each in (await client.list_tools()).tools if each.name == ANY]
        assert tool.input_schema["properties"]["capability"]["enum"] == ["text.sentiment"]
        wanted = {"capability": "text.sentiment", "payload": FINE, "requirements": {"max_cost": "0.01"}}
        result = await client.call_tool(ANY, wanted)
        assert (result.meta or {})["caio"]["service"] == "cheap@1.0.0"
        wrong = await client.call_tool(ANY, {"capability": "text.sentiment", "seedling": 1})
    assert wrong.is_error
    assert (wrong.meta or {})["caio"]["errors"][0]["pointer"] == "/seedling"


async def test_refusals_are_results_with_the_reasons(caio: Served) -> None:
    await caio.register("only")
    async with session(caio) as client:
        wanted = {"capability": "text.sentiment", "payload": FINE, "requirements": {"max_cost": "0.0001"}}
        result = await client.call_tool(ANY, wanted)
    assert result.is_error
    about = (result.meta or {})["caio"]
    assert (about["code"], [each["service_id"] for each in about["reasons"]]) == ("no_service_satisfies", ["only"])
    text = result.content[0].text  # type: ignore[union-attr]
    assert "no_service_satisfies" in text
    assert "- only: " in text
    status, decision = await caio.get(f"/api/v1/decisions/{about['decision_id']}")
    assert (status, decision["outcome"]) == (200, "refused")
    assert not caio.service.received


async def test_the_input_schema_is_enforced_and_a_broken_output_schema_told(caio: Served) -> None:
    await add(caio, with_input("strict", caio.service.url))
    await add(caio, contract("liar", caio.service.url, "/echo"))
    async with session(caio) as client:
        await client.list_tools()
        wrong = await client.call_tool("strict", {"words": 3})
        liar = await client.call_tool("liar", {})
    assert ((wrong.meta or {})["caio"]["code"], wrong.is_error) == ("invalid_payload", True)
    assert [each["clause"] for each in (liar.meta or {})["caio"]["violations"]] == ["output_schema"]
    assert liar.is_error


async def test_a_call_of_a_tool_reserves_what_its_chat_asks_for(caio: Served) -> None:
    await add(caio, chat_contract("talker", caio.service.url) | {"cost": {"currency": "USD", "per_request": "0.001"}})
    chat = {"messages": [{"role": "user", "content": "x"}], "n": 3, "max_tokens": 50}
    async with session(caio) as client:
        await client.list_tools()
        result = await client.call_tool("talker", chat)
        wrong = await client.call_tool("talker", chat | {"n": 1_000})
    _, evidence = await caio.get(f"/api/v1/decisions/{(result.meta or {})['caio']['decision_id']}/evidence")
    assert (evidence["request"]["answers"], evidence["request"]["max_tokens"]) == (3, 50)
    assert ((wrong.meta or {})["caio"]["errors"][0]["pointer"], len(caio.service.received)) == ("/payload/n", 1)


async def test_lists_are_fresh(caio: Served) -> None:
    async with session(caio, mode="legacy") as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == [ANY]
        await caio.register("new")
        assert "new" in {tool.name for tool in (await client.list_tools()).tools}
        async with caio.http.delete("/api/v1/services/new") as answer:
            assert answer.status == 200
        assert "new" not in {tool.name for tool in (await client.list_tools()).tools}
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("new", FINE)


async def test_a_tool_that_is_shown_could_be_called(caio: Served) -> None:
    """A policy that forbids a service takes its tool away, and a call of it all the same is refused."""
    await caio.register("kept")
    await caio.register("barred")
    rule = {"id": "bar", "version": 1, "effect": "forbid", "when": "true", "then": "service.id == 'barred'"}
    async with caio.http.post("/api/v1/policies", json=rule) as answer:
        assert answer.status == 201, await answer.text()
    async with session(caio) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {ANY, "kept"}
        result = await client.call_tool("barred", FINE)
    assert result.is_error
    assert not caio.service.received


async def test_chat_services_take_messages(caio: Served) -> None:
    await add(caio, chat_contract("chatty", caio.service.url))
    async with session(caio) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools["chatty"].input_schema["required"] == ["messages"]
        result = await client.call_tool("chatty", {"messages": [{"role": "user", "content": "Hello?"}]})
    assert result.structured_content["choices"][0]["message"]["content"] == "Grüße"


async def key(caio: Served, *roles: str) -> str:
    async with caio.http.post("/api/v1/keys", json={"name": "a key", "roles": list(roles)}) as answer:
        document = await answer.json()
        assert answer.status == 201, document
        return str(document["token"])


async def test_no_message_without_a_credential(caio: Served) -> None:
    status, _, headers = await post(caio, LIST)
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    for wrong in ("Bearer caio_nobody", "Basic abc", f"Bearer {caio.token}, Bearer {caio.token}"):
        assert (await post(caio, LIST, Authorization=wrong))[0] == 401
    for method in ("GET", "DELETE", "PUT"):
        async with caio.http.request(method, "/mcp") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_a_role_that_may_not_call_is_refused(caio: Served) -> None:
    status, body, _ = await post(caio, LIST, Authorization=f"Bearer {await key(caio, 'auditor')}")
    assert (status, json.loads(body)["code"]) == (403, "not_allowed")
    assert (await post(caio, LIST, Authorization=f"Bearer {await key(caio, 'service')}"))[0] == 200


async def test_pages_of_other_origins_are_refused(caio: Served) -> None:
    authorized = {"Authorization": f"Bearer {caio.token}"}
    for origin in ("https://evil.example", "http://localhost.evil.example", "null", "http://10.0.0.1", "x"):
        assert (await post(caio, LIST, Origin=origin, **authorized))[0] == 403
    for origin in ("http://localhost:6274", "http://127.0.0.1", "http://[::1]:1"):
        assert (await post(caio, LIST, Origin=origin, **authorized))[0] == 200


async def test_bodies_are_bounded_and_read_strictly(caio: Served) -> None:
    authorized = {"Authorization": f"Bearer {caio.token}"}
    huge = b" " * (caio.installation.max_body_bytes + 1)
    assert (await post(caio, huge, **authorized))[0] == 413
    for raw in (b"", b"{", b"[]", b"7", b'{"id": 1}', b'{"jsonrpc": "2.0", "id": 1, "method": 3}', b"\xff"):
        assert (await post(caio, raw, **authorized))[0] == 400


async def other_tenants_key(caio: Served) -> str:
    await add_bare_tenants(caio.installation.database, tenant_named("rival"))
    first = await caio.installation.api_keys.create_first(embedded_scope("rival"))
    assert first is not None
    return first.token


async def test_concurrent_sessions_of_two_tenants_do_not_meet(caio: Served) -> None:
    other = await other_tenants_key(caio)
    await add(caio, contract("mine", caio.service.url))
    theirs: Any = {"json": contract("theirs", caio.service.url), "headers": {"Authorization": f"Bearer {other}"}}
    async with aiohttp.ClientSession() as http, http.post(f"{caio.url}/api/v1/services", **theirs) as answer:
        assert answer.status == 201, await answer.text()
    async with session(caio) as one, session(caio, other, mode="legacy") as two:

        async def used(client: Client, own: str, foreign: str) -> set[str]:
            names = {tool.name for tool in (await client.list_tools()).tools}
            result = await client.call_tool(own, FINE)
            with pytest.raises(MCPError, match="Unknown tool"):
                await client.call_tool(foreign, FINE)
            refused = await client.call_tool(
                ANY, {"capability": "text.sentiment", "constraints": {"services": [foreign]}}
            )
            assert refused.is_error
            return names | {(result.meta or {})["caio"]["service"]}

        found = await asyncio.gather(
            *(used(one, "mine", "theirs") for _ in range(5)), *(used(two, "theirs", "mine") for _ in range(5))
        )
    assert found == [{ANY, "mine", "mine@1.0.0"}] * 5 + [{ANY, "theirs", "theirs@1.0.0"}] * 5


@pytest.mark.parametrize("mode", ERAS)
async def test_a_cancelled_call_is_cancelled_upstream(caio: Served, mode: str) -> None:
    await caio.register("slow", "/slow")
    async with session(caio, mode=mode) as client:
        await client.list_tools()
        calling = asyncio.create_task(client.call_tool("slow", FINE))
        while not caio.service.received:
            await asyncio.sleep(0.01)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await asyncio.wait_for(caio.service.left.wait(), 60)
        assert (await client.list_tools()).tools  # the session goes on
    while (await books_of(caio.installation)).reserved:
        await asyncio.sleep(0.01)


async def test_a_notification_cancels_the_call_of_its_session(caio: Served) -> None:
    """As clients of older versions do, which leave the connection of the call open."""
    await caio.register("slow", "/slow")
    authorized = {"Authorization": f"Bearer {caio.token}"}
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    _, _, headers = await post(caio, LIST | {"method": "initialize", "params": hello}, **authorized)
    named = authorized | {"MCP-Session-Id": headers["MCP-Session-Id"]}
    call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "slow", "arguments": FINE}}
    calling = asyncio.create_task(post(caio, call, **named))
    while not caio.service.received:
        await asyncio.sleep(0.01)
    for request_id, stated in ((8, named), (7, authorized), (7, named)):
        assert not calling.done()
        told = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request_id}}
        assert (await post(caio, told, **stated))[0] == 202
    await asyncio.wait_for(caio.service.left.wait(), 60)
    _, body, _ = await calling
    assert '"result"' not in body


async def test_whoever_goes_away_cancels_the_call(caio: Served) -> None:
    await caio.register("slow", "/slow")
    call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "slow", "arguments": FINE}}
    calling = asyncio.create_task(post(caio, call, Authorization=f"Bearer {caio.token}"))
    while not caio.service.received:
        await asyncio.sleep(0.01)
    calling.cancel()
    await asyncio.wait_for(caio.service.left.wait(), 60)


async def test_a_limit_holds_for_tools_too(caio: Served) -> None:
    await caio.register("only")
    async with caio.http.put("/api/v1/services/only/limits", json={"requests_per_minute": 1}) as answer:
        assert answer.status == 200, await answer.text()
    async with session(caio) as client:
        assert not (await client.call_tool("only", FINE)).is_error
        limited = await client.call_tool("only", FINE)
    assert (limited.is_error, (limited.meta or {})["caio"]["code"]) == (True, "rate_limited")
    assert "try again in" in limited.content[0].text  # type: ignore[union-attr]


LATE = """
import asyncio, json, sys
from caio.api.app import create_app
from caio.bootstrap import open_installation
from caio.config import read_settings

LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()


async def asked(app, method, path, token=None):
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream", "host": "x"}
    headers |= {} if token is None else {"authorization": f"Bearer {token}"}
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
             "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http", "http_version": "1.1",
             "asgi": {"version": "3.0"}, "root_path": "",
             "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
    incoming, statuses = [{"type": "http.request", "body": LIST, "more_body": False}], []

    async def receive():
        return incoming.pop() if incoming else await asyncio.Event().wait()

    async def send(message):
        statuses.append(message.get("status"))

    await app(scope, receive, send)
    heavy = {name.partition(".")[0] for name in sys.modules} & {"mcp", "mcp_types", "httpx2", "sse_starlette"}
    return statuses[0], sorted(heavy)


async def main():
    async with open_installation(read_settings(data_dir=sys.argv[1], log_level="error")) as installation:
        app = create_app(installation)
        asks = ("GET", "/openapi.json", None), ("POST", "/mcp", None), ("POST", "/mcp", sys.argv[2])
        print(json.dumps([await asked(app, *each) for each in asks]))


asyncio.run(main())
"""


def test_the_library_is_loaded_with_the_first_request_that_may_come_in(
    template: tuple[Path, str], tmp_path: Path
) -> None:
    folder, token = template
    shutil.copytree(folder, tmp_path / "data")
    command = [sys.executable, "-c", LATE, str(tmp_path / "data"), token]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    idle, refused, served = json.loads(done.stdout.splitlines()[-1])
    assert (idle, refused) == ([200, []], [401, []])
    assert served[0] == 200
    assert "mcp" in served[1]
