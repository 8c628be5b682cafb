"""Services for the provider tests: real servers on 127.0.0.1 that answer, break and misbehave on demand.

``Upstream`` is an aiohttp application whose path names what happens; it records what it received
and whether its callers left. ``raw_server`` writes bytes that no library would.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOKENS = 60

AnyUpstream = TypeVar("AnyUpstream", bound="Upstream")


def frame(text: str, **more: object) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + msgspec.json.encode({"id": "c", "choices": [choice], **more}) + b"\n\n"


USAGE = {"prompt_tokens": 7, "completion_tokens": TOKENS, "total_tokens": TOKENS + 7}
ROLE = b'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n\n'
LAST = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
COUNT = b"data: " + msgspec.json.encode({"choices": [], "usage": USAGE}) + b"\n\n"
DONE = b"data: [DONE]\n\n"


class Upstream:
    """One service. ``hold`` keeps stalled exchanges open until the test is over."""

    def __init__(self) -> None:
        self.received: list[tuple[web.Request, bytes]] = []
        self.connections: set[int] = set()
        self.left = asyncio.Event()
        self.hold = asyncio.Event()
        self.running = self.most_at_once = 0
        self.url = ""

    @property
    def body(self) -> Any:
        """The last request's document."""
        return msgspec.json.decode(self.received[-1][1])

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.received.append((request, await request.read()))
        self.connections.add(id(request.transport))
        act: Callable[[web.Request], Awaitable[web.StreamResponse]] = getattr(self, request.path.split("/")[1])
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            return await act(request)
        except (asyncio.CancelledError, ConnectionResetError):
            self.left.set()
            raise
        finally:
            self.running -= 1

    # --- complete answers

    async def chat(self, request: web.Request) -> web.StreamResponse:
        choice = {"index": 0, "message": {"role": "assistant", "content": "Grüße"}, "finish_reason": "stop"}
        return web.json_response({"id": "c", "choices": [choice], "usage": USAGE, "extra": {"kept": True}})

    async def uncounted(self, request: web.Request) -> web.StreamResponse:
        """A thought, an answer and a tool's call of 400 bytes each, whose tokens nobody counts."""
        function = {"name": "f", "arguments": "a" * 399}
        said = {
            "content": "c" * 400,
            "reasoning_content": "r" * 400,
            "tool_calls": [{"index": 0, "function": function}],
        }
        if not self.body.get("stream"):
            return web.json_response({"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]})
        response = await self._begin(request)
        await response.write(
            b"data: " + msgspec.json.encode({"choices": [{"index": 0, "delta": said}]}) + b"\n\n" + DONE
        )
        return response

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}})

    async def echo(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"method": request.method, "query": dict(request.query), "choices": []})

    async def counted(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"label": "good", "usage": {"input_tokens": 5, "output_tokens": 2}})

    async def json(self, request: web.Request) -> web.StreamResponse:
        """Whatever JSON text the query asks for."""
        return web.Response(text=request.query["text"], content_type="application/json")

    async def status(self, request: web.Request) -> web.StreamResponse:
        headers = {"Retry-After": "7", "Location": f"{self.url}/chat"}
        body = request.query.get("body", '{"error": {"message": "no", "code": null}}')
        return web.Response(status=int(request.path.split("/")[2]), text=body, headers=headers)

    async def slow(self, request: web.Request) -> web.StreamResponse:
        await self.hold.wait()
        return await self.chat(request)

    async def late(self, request: web.Request) -> web.StreamResponse:
        """An answer after the number of milliseconds in the path."""
        await asyncio.sleep(int(request.path.split("/")[2]) / 1000)
        return await self.counted(request)

    async def text(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text='{"choices": []}', content_type="text/plain")

    async def huge(self, request: web.Request) -> web.StreamResponse:
        response = await self._begin(request, request.query.get("type", "application/json"))
        for _ in range(64):
            await response.write(b" " * 4096)
        return response

    async def packed(self, request: web.Request) -> web.StreamResponse:
        response = web.json_response({"choices": []})
        response.headers["Content-Encoding"] = "br"
        return response

    async def broken_body(self, request: web.Request) -> web.StreamResponse:
        """The head promises more than arrives."""
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"choices": [')
        return self._cut(request, response)

    async def cookie(self, request: web.Request) -> web.StreamResponse:
        response = web.json_response({"sent": request.headers.get("Cookie")})
        response.set_cookie("session", "1")
        return response

    # --- streams

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = await self._begin(request)
        await response.write(b": hello\n\n" + ROLE)
        for number in range(TOKENS):
            await response.write(frame(f"t{number} "))
        await response.write(LAST + COUNT + DONE)
        return response

    async def steady(self, request: web.Request) -> web.StreamResponse:
        """A stream with the number of milliseconds in the path between its tokens."""
        response = await self._begin(request)
        await response.write(ROLE)
        for number in range(TOKENS):
            await asyncio.sleep(int(request.path.split("/")[2]) / 1000)
            await response.write(frame(f"t{number} "))
        await response.write(LAST + COUNT + DONE)
        return response

    async def split(self, request: web.Request) -> web.StreamResponse:
        """Every byte in a packet of its own."""
        response = await self._begin(request)
        for byte in ROLE + frame("Grüße 🌍 ") + LAST + COUNT + DONE:
            await response.write(bytes([byte]))
        return response

    async def cut(self, request: web.Request) -> web.StreamResponse:
        """Broken off after the number of tokens in the path; ``clean`` ends it politely, but too early."""
        response = await self._begin(request)
        await response.write(ROLE)
        for number in range(int(request.path.split("/")[2])):
            await response.write(frame(f"t{number} "))
        return response if "clean" in request.query else self._cut(request, response)

    async def stall(self, request: web.Request) -> web.StreamResponse:
        response = await self._begin(request)
        await response.write(ROLE + frame("one"))
        await self.hold.wait()
        return response

    async def after(self, request: web.Request) -> web.StreamResponse:
        """One token, then the frame that the query holds, then a proper end."""
        response = await self._begin(request)
        await response.write(frame("one") + request.query["frame"].encode("latin-1") + b"\n\n" + DONE)
        return response

    async def late_end(self, request: web.Request) -> web.StreamResponse:
        """The end of the answer a moment after the end mark."""
        response = await self._begin(request)
        await response.write(frame("one") + DONE)
        await asyncio.sleep(0.01)
        return response

    async def endless_end(self, request: web.Request) -> web.StreamResponse:
        """The end mark, and then a connection that stays open."""
        response = await self._begin(request)
        await response.write(frame("one") + DONE)
        await self.hold.wait()
        return response

    async def _begin(self, request: web.Request, kind: str = "text/event-stream") -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        return response

    def _cut(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return response


@asynccontextmanager
async def upstream(tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    async with serving(Upstream(), tls) as service:
        yield service


@asynccontextmanager
async def serving(service: AnyUpstream, tls: ssl.SSLContext | None = None) -> AsyncIterator[AnyUpstream]:
    """``service``, listening."""
    application = web.Application(client_max_size=8 << 20)
    application.router.add_route("*", "/{tail:.*}", service.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.2, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    service.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        service.hold.set()
        await runner.cleanup()


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[str]:
    """Reads a request's head, writes ``answer``, hangs up."""

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            serving.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    if serving:
        await asyncio.wait(serving, timeout=1)  # a connection that outlives its loop is told of in another test


def self_signed(folder: Path, name: str = "service.test", lasts: timedelta = timedelta(hours=1)) -> Path:
    """A certificate with its key for ``name`` and 127.0.0.1, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + lasts)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path
