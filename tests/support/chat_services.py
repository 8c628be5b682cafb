"""One service that speaks any of the five protocols, real and on this machine, and does what a test plans for it.

A ``Dialect`` writes what its protocol says; every answer, event and error was written for these tests after the
provider's published documentation, none was recorded. A ``Stage`` plays a list of steps: bytes to write, ``CUT`` to
hang up, ``HOLD`` to fall silent until the caller has gone.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, ClassVar, Protocol

import msgspec
from aiohttp import web

from caio.gateway.ports import Provider, Target
from caio.providers import OutboundClient, OutboundLimits, Processes, ProcessLimits, providers
from tests.support.event_streams import event, exception, message

LIMIT = 64 * 1024
TOKENS = 60
CUT, HOLD = "cut", "hold"
Step = bytes | str
KEY_ID, KEY = "AKIDVERYSECRET0123", "kl/ultra+secret0123456789"
TOKEN = "sk-very-secret-0123456789"
HTTP_SECRET = {"scheme": "bearer", "secret": TOKEN}
AWS_SECRET = msgspec.json.encode({"access_key_id": KEY_ID, "secret_access_key": KEY, "session_token": TOKEN}).decode()


@dataclass(frozen=True)
class Failed:
    """A failure as a service tells it: before the answer (for HTTP), or in the middle of a stream."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Dialect(Protocol):
    """What one protocol says. ``faults`` are by the name of the taxonomy; those of ``stream_faults`` come in it."""

    @property
    def name(self) -> str: ...
    @property
    def streams(self) -> bool: ...
    @property
    def media_type(self) -> str: ...
    @property
    def stream_type(self) -> str: ...
    @property
    def faults(self) -> Mapping[str, Sequence[Failed]]: ...
    @property
    def stream_faults(self) -> Mapping[str, Sequence[bytes]]: ...

    def answer(self, text: str) -> bytes: ...
    def begin(self) -> bytes: ...
    def token(self, text: str) -> bytes: ...
    def end(self) -> bytes: ...
    def heartbeat(self) -> bytes: ...
    def garbage(self) -> Sequence[bytes]: ...


def encoded(value: object) -> bytes:
    return msgspec.json.encode(value)


def openai_failed(status: int, code: str) -> Failed:
    return Failed(status, {}, encoded({"error": {"message": f"no: {TOKEN}", "type": "x", "code": code}}))


class OpenAI:
    name, streams, media_type, stream_type = "openai", True, "application/json", "text/event-stream"
    faults: ClassVar[Mapping[str, Sequence[Failed]]] = {
        "auth": [openai_failed(401, "invalid_api_key"), openai_failed(403, "")],
        "quota": [openai_failed(429, "insufficient_quota")],
        "overloaded": [openai_failed(503, "server_overloaded")],
        "invalid": [openai_failed(400, "context_length_exceeded")],
        "timeout": [openai_failed(504, "")],
        "upstream": [openai_failed(500, ""), openai_failed(404, "")],
        "content_filter": [openai_failed(400, "content_filter")],
    }
    stream_faults: ClassVar[Mapping[str, Sequence[bytes]]] = {
        "content_filter": [b'data: {"error": {"code": "content_filter"}}\n\n'],
        "upstream": [b'data: {"error": "broken"}\n\n'],
    }

    def answer(self, text: str) -> bytes:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return encoded({"id": "c", "choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})

    def begin(self) -> bytes:
        return self._event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})

    def token(self, text: str) -> bytes:
        return self._event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})

    def end(self) -> bytes:
        last = self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        usage = self._event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
        return last + usage + b"data: [DONE]\n\n"

    def heartbeat(self) -> bytes:
        return b": alive\n\ndata:\n\n"

    def garbage(self) -> Sequence[bytes]:
        return [b"data: {\n\n", b"data: [1]\n\n", b'data: {"choices": 1}\n\n', b'data: {"x": "\xff"}\n\n']

    def _event(self, document: object) -> bytes:
        return b"data: " + encoded(document) + b"\n\n"


def anthropic_failed(status: int, kind: str) -> Failed:
    return Failed(status, {}, encoded({"type": "error", "error": {"type": kind, "message": f"no: {TOKEN}"}}))


class Anthropic:
    name, streams, media_type, stream_type = "anthropic", True, "application/json", "text/event-stream"
    faults: ClassVar[Mapping[str, Sequence[Failed]]] = {
        "auth": [anthropic_failed(401, "authentication_error"), anthropic_failed(403, "permission_error")],
        "quota": [anthropic_failed(429, "rate_limit_error"), anthropic_failed(402, "billing_error")],
        "overloaded": [anthropic_failed(529, "overloaded_error")],
        "invalid": [anthropic_failed(400, "invalid_request_error"), anthropic_failed(413, "request_too_large")],
        "timeout": [anthropic_failed(504, "timeout_error")],
        "upstream": [anthropic_failed(500, "api_error"), anthropic_failed(404, "not_found_error")],
    }

    @property
    def stream_faults(self) -> Mapping[str, Sequence[bytes]]:
        told = {"overloaded": "overloaded_error", "upstream": "api_error", "quota": "rate_limit_error"}
        return {
            fault: [self._event("error", error={"type": kind, "message": f"no: {TOKEN}"})]
            for fault, kind in told.items()
        }

    def answer(self, text: str) -> bytes:
        content = [{"type": "text", "text": text}]
        usage = {"input_tokens": 3, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0, "output_tokens": 2}
        return encoded(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "claude",
                "content": content,
                "stop_reason": "end_turn",
                "stop_sequence": None,
                "usage": usage,
            }
        )

    def begin(self) -> bytes:
        usage = {"input_tokens": 3, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0, "output_tokens": 1}
        said = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [], "usage": usage}
        block = {"type": "text", "text": ""}
        return self._event("message_start", message=said) + self._event(
            "content_block_start", index=0, content_block=block
        )

    def token(self, text: str) -> bytes:
        return self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def end(self) -> bytes:
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        return (
            self._event("content_block_stop", index=0)
            + self._event("message_delta", delta=delta, usage={"output_tokens": 2})
            + self._event("message_stop")
        )

    def heartbeat(self) -> bytes:
        return self._event("ping") + self._event("something_of_next_year", payload=[1])

    def garbage(self) -> Sequence[bytes]:
        return [
            b"data: {\n\n",
            b"data: [1]\n\n",
            self._event("content_block_delta", index=1, delta={"type": "text_delta", "text": "x"}),
            self._event("content_block_delta", index=0, delta={"type": "text_delta", "text": 1}),
            self._event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            self._event("content_block_stop", index=7),
            self._event("message_stop"),
            self.begin(),
        ]

    def _event(self, kind: str, **more: object) -> bytes:
        return f"event: {kind}\n".encode() + b"data: " + encoded({"type": kind, **more}) + b"\n\n"


def aws_failed(status: int, kind: str, *, in_body: bool = False) -> Failed:
    """AWS names the error in a header, or in the body with its namespace."""
    text = {"message": f"no: {KEY} {TOKEN}"}
    if in_body:
        return Failed(status, {}, encoded({"__type": f"com.amazon.coral.service#{kind}", **text}))
    return Failed(status, {"x-amzn-ErrorType": f"{kind}:http://internal.amazon.com/coral/"}, encoded(text))


class Bedrock:
    name, streams, media_type = "bedrock", True, "application/json"
    stream_type = "application/vnd.amazon.eventstream"
    faults: ClassVar[Mapping[str, Sequence[Failed]]] = {
        "auth": [
            aws_failed(403, "AccessDeniedException"),
            aws_failed(403, "UnrecognizedClientException", in_body=True),
            aws_failed(403, "ExpiredTokenException"),
        ],
        "quota": [aws_failed(429, "ThrottlingException"), aws_failed(400, "ServiceQuotaExceededException")],
        "overloaded": [aws_failed(503, "ServiceUnavailableException"), aws_failed(429, "ModelNotReadyException")],
        "invalid": [aws_failed(400, "ValidationException", in_body=True)],
        "timeout": [aws_failed(408, "ModelTimeoutException")],
        "upstream": [aws_failed(500, "InternalServerException"), aws_failed(424, "ModelErrorException")],
    }
    stream_faults: ClassVar[Mapping[str, Sequence[bytes]]] = {
        "quota": [exception("throttlingException", f"no: {KEY}")],
        "overloaded": [exception("serviceUnavailableException", "no")],
        "invalid": [exception("validationException", f"no: {KEY}")],
        "upstream": [
            exception("modelStreamErrorException", "no"),
            exception("internalServerException", "no"),
            message({":message-type": "error", ":error-code": "x", ":error-message": "no"}, b""),
        ],
    }

    def answer(self, text: str) -> bytes:
        usage = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 9, "cacheReadInputTokens": 4}
        output = {"message": {"role": "assistant", "content": [{"text": text}]}}
        return encoded({"output": output, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}})

    def begin(self) -> bytes:
        return event("messageStart", {"role": "assistant", "p": "abcd"})

    def token(self, text: str) -> bytes:
        return event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})

    def end(self) -> bytes:
        usage = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 9, "cacheReadInputTokens": 4}
        return (
            event("contentBlockStop", {"contentBlockIndex": 0})
            + event("messageStop", {"stopReason": "end_turn"})
            + event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})
        )

    def heartbeat(self) -> bytes:
        return event("somethingOfNextYear", {"payload": [1]})

    def garbage(self) -> Sequence[bytes]:
        good = self.token("x")
        return [
            good[:20] + bytes([good[20] ^ 1]) + good[21:],
            bytes([good[0], good[1] ^ 1]) + good[2:],
            event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": 1}}),
            event("contentBlockDelta", {"delta": {"text": "x"}}),
            event("messageStart", {"role": "assistant"}),
            event("messageStop", {"stopReason": "malformed_model_output"}),
            event("metadata", {}),
            event("contentBlockDelta", [1]),
            message({":message-type": "event", ":event-type": "contentBlockDelta"}, b"{"),
            message({":message-type": "other"}, b"{}"),
            b"data: {}\n\n" * 3,
        ]


class HttpJson(OpenAI):
    """Takes and answers any document; it does not stream."""

    name, streams = "http-json", False

    def answer(self, text: str) -> bytes:
        return encoded({"text": text, "usage": {"input_tokens": 7, "output_tokens": 2}})


def line(**members: object) -> bytes:
    """A line of a command; the script puts the call's id in."""
    return b'{"id": %ID%, ' + encoded(members)[1:] + b"\n"


class Process(OpenAI):
    name = "process"
    faults: ClassVar[Mapping[str, Sequence[Failed]]] = {
        "auth": [Failed(body=line(error={"type": "authentication_error", "message": TOKEN}))],
        "quota": [Failed(body=line(error={"code": 429}))],
        "overloaded": [Failed(body=line(error={"type": "overloaded_error"}))],
        "invalid": [Failed(body=line(error={"code": "invalid_request_error", "message": "no"}))],
        "timeout": [Failed(body=line(error={"code": 504}))],
        "upstream": [Failed(body=line(error="broken")), Failed(body=line(error={"message": "x"}))],
        "content_filter": [Failed(body=line(error={"code": "content_filter"}))],
    }
    stream_faults: ClassVar[Mapping[str, Sequence[bytes]]] = {
        "content_filter": [line(error={"code": "content_filter"})],
        "upstream": [line(error="broken")],
    }

    def answer(self, text: str) -> bytes:
        return line(answer=msgspec.Raw(super().answer(text)))

    def end(self) -> bytes:
        last = self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        usage = self._event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
        return last + usage + line(done=True)

    def heartbeat(self) -> bytes:
        return self._event({"choices": []})

    def garbage(self) -> Sequence[bytes]:
        return [
            b"{\n",
            b"\n",
            b"[1]\n",
            b'{"id": %ID%}\n',
            b'{"id": 77, "done": true}\n',
            b'{"id": "%ID%", "done": true}\n',
            line(chunk=1),
            line(chunk={"choices": 1}),
            b'{"id": %ID%, "chunk": {"x": "\xff"}}\n',
        ]

    def _event(self, document: object) -> bytes:
        return line(chunk=document)


DIALECTS: Mapping[str, Dialect] = {
    each.name: each for each in (OpenAI(), Anthropic(), Bedrock(), HttpJson(), Process())
}


class Stage:
    """A running service. ``received`` are the documents it was sent, ``requests`` what carried them over HTTP."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.provider: Provider
        self.target: Target
        self.received: list[Any] = []
        self.requests: list[tuple[web.BaseRequest, bytes]] = []

    @property
    def secret(self) -> str | None:
        return {"bedrock": AWS_SECRET, "process": None}.get(self.dialect.name, TOKEN)

    async def play(
        self,
        *steps: Step,
        status: int = 200,
        headers: Mapping[str, str] = {},
        media_type: str = "",
        bytewise: bool = False,
    ) -> None:
        raise NotImplementedError

    async def until_left(self) -> None:
        """Wait until the caller's call has ended here: its connection closed, its process gone."""
        raise NotImplementedError


class HttpStage(Stage):
    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect)
        self.left, self.over = asyncio.Event(), asyncio.Event()
        self._plan: tuple[Sequence[Step], int, Mapping[str, str], str, bool] = ((), 200, {}, "", False)

    async def play(
        self,
        *steps: Step,
        status: int = 200,
        headers: Mapping[str, str] = {},
        media_type: str = "",
        bytewise: bool = False,
    ) -> None:
        self._plan = (steps, status, headers, media_type, bytewise)

    async def until_left(self) -> None:
        async with asyncio.timeout(2):
            await self.left.wait()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = await request.read()
        self.requests.append((request, raw))
        self.received.append(msgspec.json.decode(raw))
        steps, status, headers, media_type, bytewise = self._plan
        response = web.StreamResponse(status=status, headers={"Content-Type": media_type, **headers})
        try:
            if steps and steps[0] == HOLD:
                await self.over.wait()
            await response.prepare(request)
            for step in steps:
                if step == CUT:
                    assert request.transport is not None
                    request.transport.close()
                elif step == HOLD:
                    await self.over.wait()
                elif isinstance(step, bytes):
                    for piece in [bytes([byte]) for byte in step] if bytewise else [step]:
                        await response.write(piece)
        except (asyncio.CancelledError, ConnectionResetError):
            self.left.set()
            raise
        return response


#: A command: it plays the plan that lies in a file, and keeps what it was asked beside it.
COMMAND = """
import json, os, sys, time
folder = sys.argv[1]
for line in sys.stdin:
    with open(folder + "/asked", "a") as kept:
        kept.write(line)
    with open(folder + "/pid", "w") as kept:
        kept.write(str(os.getpid()))
    plan = json.load(open(folder + "/plan"))
    for step in plan["steps"]:
        if step == "cut":
            sys.exit(3)
        if step == "hold":
            if os.fork() == 0:
                time.sleep(60)
            time.sleep(60)
        raw = step.encode("latin-1").replace(b"%ID%", str(json.loads(line)["id"]).encode())
        sys.stderr.write("stderr: " + line)
        for piece in [raw[at : at + 1] for at in range(len(raw))] if plan["bytewise"] else [raw]:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
"""


class ProcessStage(Stage):
    def __init__(self, dialect: Dialect, folder: Path) -> None:
        super().__init__(dialect)
        self.folder = folder
        (folder / "command.py").write_text(COMMAND)

    @property
    def argv(self) -> list[str]:
        return [sys.executable, "-I", "-S", str(self.folder / "command.py"), str(self.folder)]

    async def play(
        self,
        *steps: Step,
        status: int = 200,
        headers: Mapping[str, str] = {},
        media_type: str = "",
        bytewise: bool = False,
    ) -> None:
        texts = [step.decode("latin-1") if isinstance(step, bytes) else step for step in steps]
        (self.folder / "plan").write_bytes(encoded({"steps": texts, "bytewise": bytewise}))

    @property
    def asked(self) -> list[Any]:
        kept = self.folder / "asked"
        return [msgspec.json.decode(each) for each in kept.read_bytes().splitlines()] if kept.exists() else []

    async def until_left(self) -> None:
        group = int((self.folder / "pid").read_text())
        async with asyncio.timeout(2):
            while _alive(group):
                await asyncio.sleep(0.01)


def _alive(group: int) -> bool:
    """Whether a process of the group is there; one that has ended and waits for its parent counts no more."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    with suppress(OSError):
        return any(
            text.rpartition(")")[2].split()[0] != "Z" and int(text.rpartition(")")[2].split()[2]) == group
            for each in Path("/proc").glob("[0-9]*/stat")
            if (text := _text(each))
        )
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@asynccontextmanager
async def stage(name: str, folder: Path, limits: ProcessLimits | None = None) -> AsyncIterator[Stage]:
    """A service of this protocol, with the provider and the target to call it by."""
    dialect = DIALECTS[name]
    async with OutboundClient([ip_network("127.0.0.0/8")], limits=OutboundLimits(answer_bytes=LIMIT)) as outbound:
        if name == "process":
            played = ProcessStage(dialect, folder)
            bounds = limits or ProcessLimits(line_bytes=LIMIT, pause_seconds=0.05)
            processes = Processes({"classify": played.argv}, bounds)
            played.provider = processes
            played.target = target_for(name, "", auth_scheme="none", secret_ref=None, command="classify")
            try:
                yield played
            finally:
                await processes.close()
            return
        async with _served(HttpStage(dialect)) as (serving, url):
            serving.provider = providers(outbound)[name]
            aws = {"auth_scheme": "aws", "path": "", "region": "eu-west-1"} if name == "bedrock" else {}
            serving.target = target_for(name, url, **aws)
            yield serving


def target_for(protocol: str, url: str, **more: Any) -> Target:
    fields = {
        "path": "/chat",
        "method": "POST",
        "model": "m.one-v1:0",
        "auth_scheme": "bearer",
        "secret_ref": "k",
        **more,
    }
    return Target(service_id="sut", protocol=protocol, base_url=url, **fields)


@asynccontextmanager
async def _served(serving: HttpStage) -> AsyncIterator[tuple[HttpStage, str]]:
    server = web.Server(serving.handle, handler_cancellation=True, access_log=None)
    runner = web.ServerRunner(server, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield serving, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        serving.over.set()
        await runner.cleanup()
