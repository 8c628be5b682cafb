"""A receiver of webhooks on 127.0.0.1 that behaves as told, and verifies signatures by the published procedure."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


def verified(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Standard Webhooks' own procedure, written from the specification: any of the signatures may match."""
    key = base64.b64decode(secret.split("_", 1)[1])
    content = b"%s.%s.%s" % (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body)
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    given = [part.split(",", 1) for part in headers["webhook-signature"].split(" ")]
    return any(version == "v1" and hmac.compare_digest(value, expected) for version, value in given)


@dataclass
class Received:
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class WebhookReceiver:
    """``status`` and ``headers`` are the answer on every path; ``/hang`` answers when ``hold`` is set."""

    url: str = ""
    status: int = 200
    answer: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    def ids(self, path: str | None = None) -> list[str]:
        return [each.headers["webhook-id"] for each in self.received if path in (None, each.path)]

    def types(self) -> list[str]:
        return [each.document["type"] for each in self.received]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.received.append(Received(request.path, dict(request.headers), await request.read()))
        if request.path == "/hang":
            await self.hold.wait()
        return web.Response(status=self.status, headers=self.answer, text="thank you")


@asynccontextmanager
async def webhook_receiver() -> AsyncIterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        receiver.hold.set()
        await runner.cleanup()
