"""The calls that carry traffic, as a lean ASGI application in front of the control plane.

Four paths are answered here with nothing between the socket and the gateway but this file:
``/api/v1/orchestrate``, ``/v1/chat/completions``, ``/v1/embeddings`` and ``/v1/responses``. Everything else goes on
to the control plane. FastAPI's machinery would cost more than the whole decision.

Whoever was just refused and cannot be admitted yet is refused before the body is read, with bytes that are
prepared: this is the cheapest answer there is, so that who calls at many times its limit costs the others
little. The server drains what it has not read of the body before the connection's next request.

A caller who goes away cancels the work: the upstream call ends and what was used is settled.

With the header ``x-caio-receipt: body`` an orchestrated answer carries its receipt in place of the
receipt's address. The outcome commits to the answer's bytes, and the receipt shows that commitment,
so it is over the bytes with the address: whoever puts it back has them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from time import monotonic
from typing import Any, TypeVar

import msgspec
import structlog

from caio.api.errors import (
    MethodNotAllowed,
    as_caio_error,
    headers_of,
    openai_error,
    problem,
    rate_limit_headers,
    status_of,
)
from caio.api.leaving import ClientGone, unless_gone
from caio.api.openai.chat import from_chat
from caio.api.openai.embeddings import from_embeddings
from caio.api.openai.naming import ModelNames
from caio.api.openai.responses import from_responses
from caio.api.platform import Platform
from caio.api.presented import Presented
from caio.api.request_log import RefusalLog, log_request, new_request_id
from caio.api.wanted import (
    CACHE,
    cache_seconds,
    fingerprint_of,
    from_orchestrate,
    idempotency_key,
    receipt_in_body,
)
from caio.foundation.errors import CaioError, Category, InvalidInput, LimitExceeded, TooLarge
from caio.foundation.quantity import decimal_text
from caio.gateway.ports import Standing
from caio.gateway.run import Answer, Wanted
from caio.gateway.streams import OpenStream
from caio.observability.metrics import CALLS
from caio.observability.tracing import Trace, current, enter, leave
from caio.tenancy.principals import Caller, Permission
from caio.tenancy.turns import Unserved

T = TypeVar("T")

_logger = structlog.get_logger("caio.api")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ORCHESTRATE = "/api/v1/orchestrate"
CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
RESPONSES = "/v1/responses"

_SURFACES = dict(zip((ORCHESTRATE, CHAT, EMBEDDINGS, RESPONSES), CALLS, strict=True))

_JSON = b"application/json"

#: How the names begin of the headers that say what is asked for; who asks is read by ``Presented``.
_READ = (b"x-caio-", b"idempotency-key", b"content-length")

#: How long a body may take to arrive.
BODY_SECONDS = 30.0

#: Refusals whose answers are kept: they differ by tenant's limit, window, and the seconds left.
_PREPARED = 4096

#: What a call fails with before it is admitted, by its caller's fault.
_FAULTS = {Category.INVALID, Category.NOT_FOUND, Category.TOO_LARGE, Category.REFUSED, Category.EXHAUSTED}

Headers = list[tuple[bytes, bytes]]
Handler = Callable[["_Request", Caller, bytes], Awaitable[None]]
#: From a body to what the gateway is asked for: the names of models, the body, its headers, who asks, the
#: idempotency key and what that is bound to.
Reading = Callable[[ModelNames, bytes, Mapping[str, str], Caller, str | None, str], Awaitable[Wanted]]


class HotPaths:
    """The ASGI application that ``api.app`` serves."""

    def __init__(self, platform: Platform, control_plane: App) -> None:
        self._platform = platform
        self._control_plane = control_plane
        self._handlers: dict[str, Handler] = {
            ORCHESTRATE: self._orchestrate,
            CHAT: partial(self._openai, from_chat),
            EMBEDDINGS: partial(self._openai, from_embeddings),
            RESPONSES: partial(self._openai, from_responses),
        }
        self._metrics = platform.metrics
        self._tracing = platform.tracing
        self._refusals = RefusalLog()
        self._unserved = Unserved(lambda: time.monotonic_ns() // 1000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._handlers.get(scope["path"]) if scope["type"] == "http" else None
        if handler is None:
            await self._control_plane(scope, receive, send)
            return
        request = _Request(scope, receive, send, self._platform.max_body_bytes)
        presented = Presented(scope, self._platform.addresses)
        if self._tracing is None:
            await self._call(request, presented, handler)
            return
        trace = self._tracing.begin(presented.traceparent, scope["method"], request.path, request.started)
        if trace is None:
            await self._call(request, presented, handler)
        else:
            await self._traced_call(request, presented, handler, trace)

    async def _traced_call(self, request: _Request, presented: Presented, handler: Handler, trace: Trace) -> None:
        entered = enter(trace)
        try:
            await self._call(request, presented, handler)
        finally:
            leave(entered)
            trace.end(**_told_of(request))

    async def _call(self, request: _Request, presented: Presented, handler: Handler) -> None:
        logged = True
        try:
            if request.method != "POST":
                raise MethodNotAllowed("POST")
            caller = request.caller = await presented.caller(self._platform.authenticator)
            if (trace := current()) is not None:
                trace.span("authenticate", request.started)
            caller.require(Permission.ORCHESTRATE)
            refusal = self._platform.gateway.refusal(caller)
            if refusal is not None and not request.may_be_a_repetition:
                await request.refuse(refusal)
                self._metrics.failed(refusal, caller.scope.tenant_id)
                logged = self._refusals.is_first(caller.scope.tenant_id, refusal.window)
            else:
                await self._begun(request, handler, caller)
        except ClientGone:
            request.status = 499
        except Exception as error:  # noqa: BLE001 - the edge of the process: every error becomes an answer
            await self._failed(request, as_caio_error(error))
        self._ended(request, logged=logged)

    async def _begun(self, request: _Request, handler: Handler, caller: Caller) -> None:
        self._unserved.check(caller.tenant)
        starts = self._platform.starts
        waits = starts.begin(caller.scope.tenant_id)
        try:
            if waits is not None:
                await waits
            await self._served(handler, request, caller)
        finally:
            starts.ended()

    async def _failed(self, request: _Request, error: CaioError) -> None:
        self._metrics.failed(error, None if request.caller is None else request.caller.scope.tenant_id)
        await request.fail(error)

    def _ended(self, request: _Request, *, logged: bool) -> None:
        """Count the call, and tell of it."""
        caller = request.caller
        self._metrics.call(
            _SURFACES[request.path],
            request.status,
            monotonic() - request.started,
            None if caller is None else caller.scope.tenant_id,
            streamed=request.streamed,
        )
        if logged:
            log_request(
                method=request.method,
                path=request.path,
                status=request.status,
                request_id=request.request_id,
                decision_id=request.decision_id,
                started=request.started,
                caller=caller,
                trace=current(),
            )

    async def _served(self, handler: Handler, request: _Request, caller: Caller) -> None:
        """Answer the call; take note when it is its caller's fault that it was not admitted."""
        try:
            await handler(request, caller, await request.body())
        except CaioError as error:
            if error.category in _FAULTS:
                self._unserved.count(caller.tenant)
            raise

    async def _orchestrate(self, request: _Request, caller: Caller, raw: bytes) -> None:
        in_body = receipt_in_body(request.headers)
        if in_body:
            caller.require(Permission.DECISIONS_READ)
        render = partial(_orchestrated, currency=caller.tenant.currency)
        wanted = from_orchestrate(raw, caller, *request.idempotency(caller, raw), render)
        if (seconds := cache_seconds(request.headers, wanted.request)) is not None:
            wanted = replace(wanted, cache_seconds=seconds)
        answer = await request.unless_gone(self._platform.gateway.orchestrate(wanted))
        await request.answer(await self._with_receipt(answer, caller) if in_body else answer)

    async def _with_receipt(self, answer: Answer, caller: Caller) -> Answer:
        """The answer with its receipt in place of the receipt's address. What was called and paid for is
        answered, also when there is no receipt to be had now: then with the address."""
        try:
            receipt = await self._platform.decisions.receipt(
                caller.scope, answer.decision_id, caller.principal.principal_id, time.time_ns() // 1000
            )
        except CaioError as error:
            _logger.warning("receipt_left_out", decision_id=answer.decision_id, code=error.code)
            return answer
        before = answer.content.removesuffix(msgspec.json.encode(_address(answer.decision_id)) + b"}")
        return replace(answer, content=before + msgspec.json.encode(receipt) + b"}")

    async def _openai(self, read: Reading, request: _Request, caller: Caller, raw: bytes) -> None:
        """Answer as OpenAI does: whole, or in pieces."""
        wanted = await read(self._platform.model_names, raw, request.headers, caller, *request.idempotency(caller, raw))
        if (seconds := cache_seconds(request.headers, wanted.request)) is not None:
            wanted = replace(wanted, cache_seconds=seconds)
        if wanted.request.stream:
            await request.stream(await request.unless_gone(self._platform.streams.open(wanted)))
        else:
            await request.answer(await request.unless_gone(self._platform.gateway.orchestrate(wanted)))


def _told_of(request: _Request) -> dict[str, str | int | float]:
    """What a trace says of its call as a whole."""
    told: dict[str, str | int | float] = {"http.response.status_code": request.status}
    told["caio.request_id"] = request.request_id
    if request.caller is not None:
        told["caio.tenant_id"] = request.caller.scope.tenant_id
    if request.decision_id is not None:
        told["caio.decision_id"] = request.decision_id
    return told


def _orchestrated(answer: Answer, currency: str) -> bytes:
    """The native surface's answer: the output with where it came from and what it cost. The receipt is last."""
    document = {
        "decision_id": answer.decision_id,
        "service": {"id": answer.service_id, "version": answer.version},
        "output": answer.body,
        "usage": {"input_tokens": answer.usage.input_tokens, "output_tokens": answer.usage.output_tokens},
        "cost": {"amount": decimal_text(answer.charged), "currency": currency},
        "latency_ms": answer.latency_ms,
        "attempts": answer.attempts,
        "violations": [
            {"clause": each.clause, "required": each.required, "observed": each.observed} for each in answer.breaches
        ],
        "receipt": _address(answer.decision_id),
    }
    return msgspec.json.encode(document)


def _address(decision_id: str) -> str:
    return f"/api/v1/decisions/{decision_id}/receipt"


class _Request:
    """One HTTP exchange on a hot path."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._max_body_bytes = max_body_bytes
        self._released = False
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.started = monotonic()
        self.caller: Caller | None = None
        self.streamed = False
        self._stated: Headers = scope["headers"]
        self.request_id = new_request_id()
        self.status = 0
        self.decision_id: str | None = None

    @cached_property
    def headers(self) -> dict[str, str]:
        """Those that a call is read by; of a name that is stated twice the last."""
        return {
            name.decode("latin-1"): value.decode("latin-1") for name, value in self._stated if name.startswith(_READ)
        }

    @property
    def may_be_a_repetition(self) -> bool:
        """Whether an answer may be kept for it, which is given again whatever the limits say."""
        return any(name == b"idempotency-key" for name, _ in self._stated)

    async def body(self) -> bytes:
        """The whole body; raises TooLarge, before reading on, beyond the limit, and InvalidInput for one that does
        not come: a call has its place in the process before anything limits how many its caller may make."""
        declared = self.headers.get("content-length", "0")
        size = int(declared) if declared.isdecimal() else 0
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more and max(size, len(body)) <= self._max_body_bytes:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
        except TimeoutError:
            raise InvalidInput(f"the body was not complete within {BODY_SECONDS:g} s", code="invalid_request") from None
        if max(size, len(body)) > self._max_body_bytes:
            raise TooLarge(f"the body is larger than the limit of {self._max_body_bytes} bytes")
        return bytes(body)

    def idempotency(self, caller: Caller, raw: bytes) -> tuple[str | None, str]:
        """The call's idempotency key, if it has one, and what the key is bound to."""
        key = idempotency_key(self.headers)
        return key, fingerprint_of(self.path, raw, self.headers, caller) if key else ""

    def unless_gone(self, work: Awaitable[T]) -> Awaitable[T]:
        """The work's result; cancels it and raises ClientGone when the caller disconnects first."""
        return unless_gone(self._receive, work)

    async def answer(self, answer: Answer) -> None:
        body = answer.content
        headers = _decision_headers(answer.decision_id, answer.service_id, answer.version, answer.standing)
        if answer.replayed:
            headers.append((b"idempotency-replayed", b"true"))
        if CACHE in self.headers:
            told = "miss" if answer.answer_from is None else f"hit; from={answer.answer_from}"
            headers.append((CACHE.encode(), told.encode()))
        self.decision_id = answer.decision_id
        await self._start(200, [(b"content-type", _JSON), (b"content-length", str(len(body)).encode()), *headers])
        await self._send({"type": "http.response.body", "body": body})

    async def stream(self, opened: OpenStream) -> None:
        """Send the frames as they come; stop, and cancel upstream, when the caller goes away."""
        self.streamed = True
        self.decision_id = opened.decision_id
        headers = _decision_headers(opened.decision_id, opened.service_id, opened.version, opened.standing)
        try:
            # A send waits for a caller who does not read; the stream's slot is not kept for that.
            async with asyncio.timeout(opened.seconds_left):
                await self.unless_gone(self._send_frames(opened, headers))
        except TimeoutError:
            raise ClientGone from None

    async def _send_frames(self, opened: OpenStream, headers: Headers) -> None:
        frames = opened.frames
        try:
            content = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
            await self._start(200, [*content, *headers])
            async for frame in frames:
                await self._send({"type": "http.response.body", "body": frame, "more_body": True})
        finally:
            await frames.aclose()
        await self._send({"type": "http.response.body", "body": b""})

    async def fail(self, error: CaioError) -> None:
        """Answer with an error, unless part of an answer is already on its way."""
        self.decision_id = error.decision_id or self.decision_id
        if self._released:
            return
        await self._fail_with(status_of(error), *_failure(error, self.path.startswith("/api/")))

    async def refuse(self, error: LimitExceeded) -> None:
        """Answer as ``fail`` does, in less time."""
        native = self.path.startswith("/api/")
        prepared = _refusal(error.message, error.window, error.limit, error.retry_after, error.span, native)
        await self._fail_with(429, *prepared)

    async def _fail_with(self, status: int, headers: Headers, body: bytes) -> None:
        await self._start(status, [*headers])
        await self._send({"type": "http.response.body", "body": body})

    async def _start(self, status: int, headers: Headers) -> None:
        self._released = True
        self.status = status
        headers.append((b"x-request-id", self.request_id.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


def _failure(error: CaioError, native: bool) -> tuple[Headers, bytes]:
    """The headers and the body that tell an error, as ``/api/v1`` or as ``/v1`` does."""
    body = msgspec.json.encode(problem(error) if native else openai_error(error))
    extra = [(name.lower().encode(), value.encode()) for name, value in headers_of(error).items()]
    kind = b"application/problem+json" if native else _JSON
    return [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *extra], body


@lru_cache(_PREPARED)
def _refusal(
    message: str, window: str, limit: int, retry_after: int, span: int | None, native: bool
) -> tuple[Headers, bytes]:
    """The failure of a full window, made once."""
    error = LimitExceeded(message, window=window, limit=limit, retry_after=retry_after, span=span)
    return _failure(error, native)


def _decision_headers(decision_id: str, service_id: str, version: str, standing: Standing | None) -> Headers:
    named = decision_id.encode()
    return [
        *(() if standing is None else _stands(standing)),
        (b"x-caio-decision-id", named),
        _service_header(service_id, version),
        (b"x-caio-receipt", named),
    ]


def _stands(standing: Standing) -> Headers:
    fields = rate_limit_headers(standing.window, standing.limit, standing.span, standing.remaining, standing.reset)
    return [(_field_name(name), value.encode()) for name, value in fields.items()]


@lru_cache(_PREPARED)
def _service_header(service_id: str, version: str) -> tuple[bytes, bytes]:
    return b"x-caio-service", f"{service_id}@{version}".encode()


@lru_cache(16)
def _field_name(name: str) -> bytes:
    return name.lower().encode()
