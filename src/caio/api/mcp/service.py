"""What MCP's library is told to do: list a caller's tools, and call one along the gateway's path.

The only module that imports the library; ``door`` imports it with the first request. One server for all tenants and
no sessions: whoever calls is in the request's ASGI scope, put there by ``door`` once it has authenticated.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError

from caio._version import __version__
from caio.api.errors import as_caio_error, headers_of, problem
from caio.api.mcp.tools import ANY, Tool, Tools, any_tool_schema, wanted_of, wishes_for
from caio.foundation.errors import CaioError, NoServiceSatisfies
from caio.foundation.quantity import decimal_text
from caio.gateway.intake import RequestBody, read
from caio.gateway.pipeline import Gateway
from caio.gateway.run import Answer, Wanted
from caio.tenancy.principals import Caller

#: Where ``door`` leaves the authenticated caller, and finds the decision that a call led to.
CALLER, DECISION = "caio.caller", "caio.decision"
#: Tools of one answer; a client asks for the next by its cursor.
PAGE = 500
#: Services whose reasons a refusal tells in words; ``_meta`` has all of them.
REASONS_TOLD = 5

_INSTRUCTIONS = (
    "Each tool is one of your organisation's AI services. Every call is decided by its contracts and policies and "
    "leaves a signed receipt: see `_meta.caio` of the result. caio_orchestrate chooses the service itself."
)

Context = ServerRequestContext[Any, Any]


class McpService:
    """Serves one HTTP request at a time, each by itself: any process can answer any of them."""

    def __init__(self, gateway: Gateway, max_body_bytes: int) -> None:
        self._gateway = gateway
        self._max_body_bytes = max_body_bytes
        self._tools = Tools(gateway)
        self._server: Server[Any] = Server(
            "caio",
            version=__version__,
            title="CAIO",
            instructions=_INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )
        # It tells at every request that it starts and ends.
        logging.getLogger("mcp.server").setLevel(logging.WARNING)

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer a POST whose caller is in ``scope``. All that it starts has ended when it returns."""
        manager = StreamableHTTPSessionManager(self._server, stateless=True, max_request_body_size=self._max_body_bytes)
        async with manager.run():
            await manager.handle_request(scope, receive, send)

    async def _list(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        shown = await self._tools.shown(_caller(context))
        after = "" if params is None or params.cursor is None else params.cursor
        page = [tool for tool in shown if tool.name > after][: PAGE + 1]
        found = [_listed(tool) for tool in page[:PAGE]]
        if not after:
            found.insert(0, _any_tool(sorted({tool.capability for tool in shown})))
        return types.ListToolsResult(tools=found, next_cursor=page[PAGE - 1].name if len(page) > PAGE else None)

    async def _call(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        caller, arguments = _caller(context), params.arguments or {}
        tool = None if params.name == ANY else await self._tools.named(caller, params.name)
        if tool is None and params.name != ANY:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        try:
            answer = await self._gateway.orchestrate(_wanted(caller, tool, arguments))
        except Exception as error:  # noqa: BLE001 - the edge: every error becomes a result that a model can read
            known = as_caio_error(error)
            self._gateway.metrics.failed(known, caller.scope.tenant_id)
            _scope(context)[DECISION] = known.decision_id
            return _failed(known)
        _scope(context)[DECISION] = answer.decision_id
        return _answered(answer, tool, caller.tenant.currency)


def _caller(context: Context) -> Caller:
    return cast(Caller, _scope(context)[CALLER])


def _scope(context: Context) -> MutableMapping[str, Any]:
    return cast(MutableMapping[str, Any], context.request.scope)  # type: ignore[union-attr]


def _wanted(caller: Caller, tool: Tool | None, arguments: dict[str, Any]) -> Wanted:
    wishes = read(RequestBody, arguments) if tool is None else wishes_for(tool, arguments)
    return wanted_of(caller, wishes, msgspec.json.encode(wishes.payload))


def _listed(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=dict(tool.input_schema),
        output_schema=None if tool.output_schema is None else dict(tool.output_schema),
        annotations=types.ToolAnnotations(
            title=tool.title, read_only_hint=tool.method == "GET" or None, open_world_hint=tool.needs_internet
        ),
    )


def _any_tool(capabilities: list[str]) -> types.Tool:
    return types.Tool(
        name=ANY,
        title="Any service",
        description="Have the best service that satisfies the request called, and its answer enforced.",
        input_schema=any_tool_schema(capabilities),
    )


def _answered(answer: Answer, tool: Tool | None, currency: str) -> types.CallToolResult:
    """The service's answer. One that broke its output schema is told as an error: clients take structured content
    for true to the schema."""
    broken = any(each.clause == "output_schema" for each in answer.breaches)
    structured = answer.body if isinstance(answer.body, dict) and not broken else None
    meta = {
        "decision_id": answer.decision_id,
        "service": f"{answer.service_id}@{answer.version}",
        "cost": {"amount": decimal_text(answer.charged), "currency": currency},
        "usage": {"input_tokens": answer.usage.input_tokens, "output_tokens": answer.usage.output_tokens},
        "attempts": answer.attempts,
        "violations": [
            {"clause": each.clause, "required": each.required, "observed": each.observed} for each in answer.breaches
        ],
        "receipt": f"/api/v1/decisions/{answer.decision_id}/receipt",
    }
    return types.CallToolResult(
        content=[types.TextContent(text=answer.content.decode())],
        structured_content=structured,
        is_error=broken and tool is not None and tool.output_schema is not None,
        _meta={"caio": meta},
    )


def _failed(error: CaioError) -> types.CallToolResult:
    text = f"{error.message} ({error.code})"
    if isinstance(error, NoServiceSatisfies):
        told = [f"- {each.service_id}: {each.message or each.clause}" for each in error.reasons[:REASONS_TOLD]]
        more = len(error.reasons) - len(told)
        text = "\n".join([text, *told, *([f"- and {more} more"] if more else [])])
    if (wait := headers_of(error).get("Retry-After")) is not None:
        text += f"; try again in {wait} s"
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True, _meta={"caio": problem(error)})
