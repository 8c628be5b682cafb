"""A proxy in front of a real server that loses, delays and refuses what it is told to, one act a request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import msgspec
from aiohttp import web

#: What happens to the requests in their order; those after the last are forwarded.
FORWARD = "forward"
#: Carried out by the server, but its answer never arrives.
LOSE = "lose"
#: Closed without having reached the server.
DROP = "drop"


@dataclass
class Refuse:
    """Answered by the proxy itself."""

    status: int
    code: str
    retry_after: int | None = None


Act = str | Refuse


@dataclass
class Proxy:
    url: str
    acts: list[Act]
    keys: list[str | None] = field(default_factory=list)
    """The idempotency key of each request that came."""


@asynccontextmanager
async def faulty_proxy(target: str, acts: Sequence[Act] = ()) -> AsyncIterator[Proxy]:
    proxy = Proxy("", list(acts))

    async def handle(request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        proxy.keys.append(request.headers.get("Idempotency-Key"))
        act = proxy.acts.pop(0) if proxy.acts else FORWARD
        if isinstance(act, Refuse):
            headers = {} if act.retry_after is None else {"Retry-After": str(act.retry_after)}
            document = msgspec.json.encode({"code": act.code, "detail": "as the test wants it", "status": act.status})
            return web.Response(body=document, status=act.status, headers=headers, content_type="application/json")
        if act != DROP:
            url = target + request.path_qs
            async with http.request(request.method, url, data=raw, headers=request.headers) as answer:
                body = await answer.read()
            if act == FORWARD:
                kept = {name: value for name, value in answer.headers.items() if name.lower().startswith("x-")}
                kept["Content-Type"] = answer.headers["Content-Type"]
                return web.Response(body=body, status=answer.status, headers=kept)
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    async with aiohttp.ClientSession() as http:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield proxy
        finally:
            await runner.cleanup()
