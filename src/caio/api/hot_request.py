"""A request on a hot path: its body, its answer whole or in pieces, its failure. No framework is between it and the
server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cached_property, lru_cache
from time import monotonic
from typing import TypeVar

import msgspec

from caio.api.asgi import EXCHANGE, Exchange, Receive, Scope, Send
from caio.api.errors import headers_of, openai_error, problem, rate_limit_headers, status_of
from caio.api.leaving import ClientGone, unless_gone
from caio.api.request_log import new_request_id
from caio.api.wanted import CACHE, fingerprint_of, idempotency_key
from caio.foundation.errors import CaioError, InvalidInput, LimitExceeded, TooLarge
from caio.gateway.ports import Standing
from caio.gateway.run import Answer
from caio.gateway.streams import OpenStream
from caio.tenancy.principals import Caller

T = TypeVar("T")

Headers = list[tuple[bytes, bytes]]

#: How long a body may take to arrive.
BODY_SECONDS = 30.0

#: How long a caller who does not read holds up the event that says why its stream was cut off.
LAST_WORD_SECONDS = 1.0

_JSON = b"application/json"

#: How the names begin of the headers that say what is asked for; who asks is read by ``Presented``.
_READ = (b"x-caio-", b"idempotency-key", b"content-length")

#: Refusals whose answers are kept: they differ by tenant's limit, window, and the seconds left.
_PREPARED = 4096


class HotRequest:
    """One HTTP exchange on a hot path. ``started`` is when it arrived, by the monotonic clock; ``caller`` is None until
    somebody was authenticated; ``broke_off`` says that part of an answer was sent, and not its end."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._exchange: Exchange | None = scope.get(EXCHANGE)
        self._max_body_bytes = max_body_bytes
        self._released = False
        self._opened: OpenStream | None = None
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.started = monotonic()
        self.caller: Caller | None = None
        self.streamed = self.broke_off = False
        self._stated: Headers = scope["headers"]
        self.request_id = new_request_id()
        self.status = 0
        self.decision_id: str | None = None

    @cached_property
    def headers(self) -> dict[str, str]:
        """Those that a call is read by. A name that is stated twice states both, with a comma between: of two lists
        of policies neither is lost, and two bounds are none that can be read."""
        found: dict[str, str] = {}
        for name, value in self._stated:
            if name.startswith(_READ):
                stated, text = name.decode("latin-1"), value.decode("latin-1")
                found[stated] = f"{found[stated]}, {text}" if stated in found else text
        return found

    @property
    def may_be_a_repetition(self) -> bool:
        """Whether an answer may be kept for it, which is given again whatever the limits say."""
        return any(name == b"idempotency-key" for name, _ in self._stated)

    async def body(self) -> bytes:
        """The whole body; raises TooLarge, before reading on, beyond the limit, and InvalidInput for one that does
        not come: a call has its place in the process before anything limits how many its caller may make."""
        if self._exchange is not None and (whole := self._exchange.body()) is not None:
            if len(whole) > self._max_body_bytes:
                raise self._too_large()
            return whole
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
            raise self._too_large()
        return bytes(body)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than the limit of {self._max_body_bytes} bytes")

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
        await self._answer(200, [(b"content-type", _JSON), (b"content-length", b"%d" % len(body)), *headers], body)

    async def stream(self, opened: OpenStream) -> None:
        """Send the frames as they come; stop, and cancel upstream, when the caller goes away."""
        self.streamed = self.broke_off = True
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
            self._begin(200, headers)
            await self._send({"type": "http.response.start", "status": 200, "headers": [*content, *headers]})
            self._opened = opened
            opened.straight.write = self._pieces()
            async for frame in frames:
                await self._send({"type": "http.response.body", "body": frame, "more_body": True})
                opened.straight.write = self._pieces()
        finally:
            await frames.aclose()
        await self._send({"type": "http.response.body", "body": b""})
        self.broke_off = False

    def _pieces(self) -> Callable[[bytes], bool] | None:
        return None if self._exchange is None else self._exchange.pieces()

    async def fail(self, error: CaioError) -> None:
        """Answer with an error; a stream that is on its way is ended by one, where its caller still reads it."""
        self.decision_id = error.decision_id or self.decision_id
        if self._released:
            if self._opened is not None and (told := self._opened.end.told(error)):
                with suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WORD_SECONDS):
                        await self._send({"type": "http.response.body", "body": told})
                        self.broke_off = False
            return
        headers, body = _failure(error, self.path.startswith("/api/"))
        await self._answer(status_of(error), headers, body)

    async def refuse(self, error: LimitExceeded) -> None:
        """Answer as ``fail`` does, in less time."""
        native = self.path.startswith("/api/")
        headers, body = _refusal(error.message, error.window, error.limit, error.retry_after, error.span, native)
        await self._answer(429, [*headers], body)

    async def _answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send an answer that is whole."""
        self._begin(status, headers)
        if self._exchange is None or not self._exchange.answer(status, headers, body):
            await self._send({"type": "http.response.start", "status": status, "headers": headers})
            await self._send({"type": "http.response.body", "body": body})

    def _begin(self, status: int, headers: Headers) -> None:
        self._released = True
        self.status = status
        headers.append((b"x-request-id", self.request_id.encode()))


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
