"""``/mcp``: who may come in, how much they may send, and when their calls end.

Streamable HTTP in its stateless form: one POST a message, nothing kept between two of them, so that several processes
can stand behind a balancer. Every message is authenticated as any call of the API is, by its own bearer credential,
before anything of it is read. There is no stream of the server's own (GET) and no session to delete (DELETE): both
are answered with 405, as the protocol allows; lists are fresh at each asking.

A page of another origin is refused (DNS rebinding): an ``Origin`` that is not this machine's is never right, since no
browser can read what is answered here without headers that are not sent.

Laws (each has a test of the same name)
---------------------------------------
- no_message_without_a_credential.
- pages_of_other_origins_are_refused.
- whoever_goes_away_cancels_the_call.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from ipaddress import ip_address
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from caio.api.errors import MethodNotAllowed, as_caio_error, headers_of, problem, status_of
from caio.api.mcp.running import Key, Running
from caio.api.platform import Platform
from caio.api.presented import Presented
from caio.api.request_log import log_request, new_request_id
from caio.foundation.errors import CaioError, Misconfigured, NotAllowed, TooLarge
from caio.observability.tracing import Trace, enter, leave
from caio.tenancy.principals import Caller, Permission
from caio.tenancy.turns import Weight

PATH = "/mcp"
SESSION = b"mcp-session-id"
_CALL = "tools/call"
_CANCELLED = "notifications/cancelled"


class _Gone(Exception):
    """The caller closed the connection, or cancelled: there is nobody to answer."""


class McpDoor:
    """The ASGI application that answers ``/mcp`` and hands everything else ``beyond``."""

    def __init__(self, platform: Platform, beyond: ASGIApp) -> None:
        self._platform = platform
        self._beyond = beyond
        self._running = Running()
        self._service: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._beyond(scope, receive, send)
            return
        started, telling, caller = monotonic(), _Telling(send), None
        try:
            if scope["method"] != "POST":
                raise MethodNotAllowed("POST")
            _refuse_other_origins(scope)
            presented = Presented(scope, self._platform.addresses)
            caller = await presented.caller(self._platform.authenticator)
            caller.require(Permission.ORCHESTRATE)
            raw = await _body(receive, self._platform.max_body_bytes)
            message = _message(raw)
            with self._traced(scope, telling, caller, message, presented.traceparent, started):
                try:
                    await self._answer(scope, receive, telling, caller, raw, message)
                except Exception as error:  # noqa: BLE001 - as below, while the trace can tell of it
                    await self._ended(telling, caller, error)
        except Exception as error:  # noqa: BLE001 - the edge of the process: every error becomes an answer
            await self._ended(telling, caller, error)
        log_request(
            method=scope["method"],
            path=PATH,
            status=telling.status,
            request_id=telling.request_id,
            decision_id=scope.get("caio.decision"),
            started=started,
            caller=caller,
            trace=telling.trace,
        )
        self._platform.metrics.request("mcp", telling.status)

    async def _ended(self, telling: _Telling, caller: Caller | None, error: Exception) -> None:
        """Answer with the error, or end what nobody waits for."""
        if isinstance(error, _Gone):
            await telling.end()
            return
        known = as_caio_error(error)
        self._platform.metrics.failed(known, None if caller is None else caller.scope.tenant_id)
        await telling.fail(known)

    @contextmanager
    def _traced(
        self,
        scope: Scope,
        telling: _Telling,
        caller: Caller,
        message: dict[str, Any],
        stated: str | None,
        started: float,
    ) -> Iterator[None]:
        """A call inside the block is traced as calls of other surfaces are; other messages are not."""
        tracing, trace = self._platform.tracing, None
        if tracing is not None and message.get("method") == _CALL:
            trace = tracing.begin(stated, "POST", PATH, started)
        if trace is None:
            yield
            return
        telling.trace = trace
        trace.span("authenticate", started)
        entered = enter(trace)
        try:
            yield
        finally:
            leave(entered)
            told = {"caio.request_id": telling.request_id, "caio.tenant_id": caller.scope.tenant_id}
            if (decision_id := scope.get("caio.decision")) is not None:
                told["caio.decision_id"] = decision_id
            trace.end(**{"http.response.status_code": telling.status or 499}, **told)

    async def _answer(
        self, scope: Scope, receive: Receive, telling: _Telling, caller: Caller, raw: bytes, message: dict[str, Any]
    ) -> None:
        session = _session_of(scope)
        if message.get("method") == "initialize":
            telling.session = os.urandom(16).hex().encode()
        if message.get("method") == _CANCELLED:
            self._running.cancel(_key(caller, session, (message.get("params") or {}).get("requestId")))
        async with self._turn(caller, message):
            service = await self._serving()
            with self._running.call(_key(caller, session, message.get("id"))) as cancelled:
                await _unless_ended(service, {**scope, "caio.caller": caller}, raw, receive, telling, cancelled, scope)

    @asynccontextmanager
    async def _turn(self, caller: Caller, message: dict[str, Any]) -> AsyncIterator[None]:
        """Calls are admitted by the gateway; everything else takes a turn as what manages a tenant does."""
        if message.get("method") == _CALL:
            yield
            return
        turns, tenant_id = self._platform.turns, caller.scope.tenant_id
        turns.count(tenant_id, caller.principal.principal_id)
        async with turns.turn(tenant_id, Weight.ANY):
            yield

    async def _serving(self) -> ASGIApp:
        """The library behind the door, loaded with the first request that comes in."""
        if self._service is None:
            try:
                # A second of work, in which others are to be served.
                module = await asyncio.to_thread(import_module, "caio.api.mcp.service")
            except ModuleNotFoundError as error:
                if error.name not in ("mcp", "mcp_types"):
                    raise
                raise Misconfigured("MCP needs the extra: pip install 'caio-platform[mcp]'") from error
            self._service = module.McpService(self._platform.gateway, self._platform.max_body_bytes)
        return self._service


class _Telling:
    """What is sent of the answer, with the request's id and, where one begins, the session's name."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.request_id = new_request_id()
        self.session: bytes | None = None
        self.trace: Trace | None = None
        self.status = 0
        self._ended = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode())]
            if self.session is not None and self.status == 200:
                headers.append((SESSION, self.session))
            message = {**message, "headers": headers}
        else:
            self._ended = not message.get("more_body", False)
        await self._send(message)

    async def fail(self, error: CaioError) -> None:
        """Answer with a problem document, unless part of an answer is already on its way."""
        if self.status:
            await self.end()
            return
        body = msgspec.json.encode(problem(error))
        extra = [(name.lower().encode(), value.encode()) for name, value in headers_of(error).items()]
        kind = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode())]
        await self({"type": "http.response.start", "status": status_of(error), "headers": [*kind, *extra]})
        await self({"type": "http.response.body", "body": body})

    async def end(self) -> None:
        """End an answer that nobody waits for."""
        if not self.status:
            await self({"type": "http.response.start", "status": 499, "headers": [(b"content-length", b"0")]})
        if not self._ended:
            await self({"type": "http.response.body", "body": b""})


async def _unless_ended(
    service: ASGIApp,
    scope: Scope,
    raw: bytes,
    receive: Receive,
    telling: _Telling,
    cancelled: asyncio.Future[None],
    outer: Scope,
) -> None:
    """Have the message served; cancel that and raise _Gone when the caller disconnects or cancels first."""
    whole: list[Message] = [{"type": "http.request", "body": raw, "more_body": False}]
    gone = asyncio.ensure_future(_disconnected(receive))

    async def replayed() -> Message:
        if whole:
            return whole.pop()
        await asyncio.shield(gone)
        return {"type": "http.disconnect"}

    working = asyncio.ensure_future(service(scope, replayed, telling))
    try:
        await asyncio.wait({working, gone, cancelled}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise _Gone
        await working
    finally:
        outer["caio.decision"] = scope.get("caio.decision")
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Receive, limit: int) -> bytes:
    """The whole body; raises TooLarge, before reading on, beyond the limit."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise TooLarge(f"the body is larger than the limit of {limit} bytes")
    return bytes(body)


def _message(raw: bytes) -> dict[str, Any]:
    """The message, as far as the door needs it; what is none is for the library to refuse."""
    try:
        message = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return {}
    if not isinstance(message, dict) or not isinstance(message.get("params", {}), dict):
        return {}
    return message


def _key(caller: Caller, session: str, request_id: object) -> Key:
    return caller.scope.tenant_id, caller.principal.principal_id, session, repr(request_id)


def _session_of(scope: Scope) -> str:
    stated = [value for name, value in scope["headers"] if name == SESSION]
    return stated[0].decode("latin-1") if len(stated) == 1 else ""


def _refuse_other_origins(scope: Scope) -> None:
    for name, value in scope["headers"]:
        if name == b"origin" and not _is_here(value.decode("latin-1")):
            raise NotAllowed("pages of other origins may not call this", code="origin_not_allowed")


def _is_here(origin: str) -> bool:
    try:
        host = urlsplit(origin).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
