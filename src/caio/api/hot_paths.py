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
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from time import monotonic

import msgspec
import structlog

from caio.api.asgi import App, Receive, Scope, Send
from caio.api.errors import MethodNotAllowed, as_caio_error
from caio.api.hot_request import HotRequest
from caio.api.leaving import ClientGone
from caio.api.openai.chat import from_chat
from caio.api.openai.embeddings import from_embeddings
from caio.api.openai.naming import ModelNames
from caio.api.openai.responses import from_responses
from caio.api.platform import Platform
from caio.api.presented import Presented
from caio.api.request_log import RefusalLog, log_request
from caio.api.wanted import cache_seconds, from_orchestrate, receipt_in_body
from caio.foundation.errors import CaioError, Category, NotReady
from caio.foundation.quantity import decimal_text
from caio.gateway.run import Answer, Wanted
from caio.observability.metrics import CALLS
from caio.observability.tracing import Trace, current, enter, leave
from caio.tenancy.principals import Caller, Permission
from caio.tenancy.turns import Unserved

_logger = structlog.get_logger("caio.api")

ORCHESTRATE = "/api/v1/orchestrate"
CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
RESPONSES = "/v1/responses"

_SURFACES = dict(zip((ORCHESTRATE, CHAT, EMBEDDINGS, RESPONSES), CALLS, strict=True))

#: What a call fails with before it is admitted, by its caller's fault.
_FAULTS = {Category.INVALID, Category.NOT_FOUND, Category.TOO_LARGE, Category.REFUSED, Category.EXHAUSTED}

Handler = Callable[[HotRequest, Caller, bytes], Awaitable[None]]
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
        request = HotRequest(scope, receive, send, self._platform.max_body_bytes)
        presented = Presented(scope, self._platform.addresses)
        if self._tracing is None:
            await self._call(request, presented, handler)
            return
        trace = self._tracing.begin(presented.traceparent, scope["method"], request.path, request.started)
        if trace is None:
            await self._call(request, presented, handler)
        else:
            await self._traced_call(request, presented, handler, trace)

    async def _traced_call(self, request: HotRequest, presented: Presented, handler: Handler, trace: Trace) -> None:
        entered = enter(trace)
        try:
            await self._call(request, presented, handler)
        finally:
            leave(entered)
            trace.end(**_told_of(request))

    async def _call(self, request: HotRequest, presented: Presented, handler: Handler) -> None:
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
        except asyncio.CancelledError:  # the process ends, and so does its time for calls
            await self._failed(request, NotReady("this process is stopping; try again"))
            if request.broke_off:  # the connection does, too, so that nobody takes the part for the whole
                self._ended(request, logged=logged)
                raise
        except Exception as error:  # noqa: BLE001 - the edge of the process: every error becomes an answer
            await self._failed(request, as_caio_error(error))
        self._ended(request, logged=logged)

    async def _begun(self, request: HotRequest, handler: Handler, caller: Caller) -> None:
        """Answer the call when it may begin; take note when it is its caller's fault that it was not admitted."""
        self._unserved.check(caller.tenant)
        starts = self._platform.starts
        waits = starts.begin(caller.scope.tenant_id)
        try:
            if waits is not None:
                await waits
            await handler(request, caller, await request.body())
        except CaioError as error:
            if error.category in _FAULTS:
                self._unserved.count(caller.tenant)
            raise
        finally:
            starts.ended()

    async def _failed(self, request: HotRequest, error: CaioError) -> None:
        self._metrics.failed(error, None if request.caller is None else request.caller.scope.tenant_id)
        await request.fail(error)

    def _ended(self, request: HotRequest, *, logged: bool) -> None:
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

    async def _orchestrate(self, request: HotRequest, caller: Caller, raw: bytes) -> None:
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

    async def _openai(self, read: Reading, request: HotRequest, caller: Caller, raw: bytes) -> None:
        """Answer as OpenAI does: whole, or in pieces."""
        wanted = await read(self._platform.model_names, raw, request.headers, caller, *request.idempotency(caller, raw))
        if (seconds := cache_seconds(request.headers, wanted.request)) is not None:
            wanted = replace(wanted, cache_seconds=seconds)
        if wanted.request.stream:
            await request.stream(await request.unless_gone(self._platform.streams.open(wanted)))
        else:
            await request.answer(await request.unless_gone(self._platform.gateway.orchestrate(wanted)))


def _told_of(request: HotRequest) -> dict[str, str | int | float]:
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
