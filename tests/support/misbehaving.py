"""Services that misbehave within a stream, beyond what ``upstreams`` has: each real, on 127.0.0.1."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from caio.providers.sse import MAX_EVENT
from tests.support.upstreams import DONE, ROLE, TOKENS, Upstream, frame, self_signed, serving


class Misbehaving(Upstream):
    """Paths name what happens, as in ``Upstream``."""

    async def flaky(self, request: web.Request) -> web.StreamResponse:
        """``/flaky/STATUS/TIMES/WAIT``: so many times that status, with Retry-After unless WAIT is ``-``."""
        _, _, status, times, wait = request.path.split("/")
        calls = sum(each.path == request.path for each, _ in self.received)
        if calls > int(times):
            return await self.counted(request)
        headers = {} if wait == "-" else {"Retry-After": wait}
        return web.json_response({"error": "not now"}, status=int(status), headers=headers)

    async def flood(self, request: web.Request) -> web.StreamResponse:
        """Tokens without end."""
        response = await self._begin(request)
        while True:
            await response.write(frame("x" * 16_384))

    async def broken(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "broke"}}, status=500)

    async def garbled(self, request: web.Request) -> web.StreamResponse:
        """One token, and then a frame that is no JSON."""
        response = await self._begin(request)
        await response.write(frame("one") + b"data: {]\n\n" + DONE)
        return response

    async def ended(self, request: web.Request) -> web.StreamResponse:
        """Thirty tokens and an end without fault, but for the missing end mark."""
        response = await self._begin(request)
        for number in range(30):
            await response.write(frame(f"t{number} "))
        return response

    async def slow_first(self, request: web.Request) -> web.StreamResponse:
        """A head and a role, and then no token."""
        response = await self._begin(request)
        await response.write(ROLE)
        await self.hold.wait()
        return response

    async def fails_after_head(self, request: web.Request) -> web.StreamResponse:
        """A head that promises a stream, and then the server's error in it."""
        response = await self._begin(request)
        await response.write(b'data: {"error": {"message": "broke", "code": "server_error"}}\n\n')
        return response

    async def oversized(self, request: web.Request) -> web.StreamResponse:
        """One frame that is larger than anybody accepts."""
        response = await self._begin(request)
        await response.write(frame("x" * (MAX_EVENT + 1)))
        return response

    async def page(self, request: web.Request) -> web.StreamResponse:
        """A stream's frames under another content type."""
        response = await self._begin(request, "text/html")
        for number in range(TOKENS):
            await response.write(frame(f"t{number} "))
        return response


@dataclass(frozen=True)
class Services:
    """A service that misbehaves on demand, the same behind a certificate nobody trusts, and an address where
    nobody listens."""

    plain: Misbehaving
    untrusted: Misbehaving
    silent_url: str


@contextmanager
def closed_port() -> Iterator[str]:
    """An address that refuses connections as long as the block runs: bound, and not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@asynccontextmanager
async def misbehaving_services(folder: Path) -> AsyncIterator[Services]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(self_signed(folder))
    async with serving(Misbehaving()) as plain, serving(Misbehaving(), tls) as untrusted:
        with closed_port() as silent_url:
            yield Services(plain, untrusted, silent_url)
