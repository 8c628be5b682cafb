"""The ASGI entry point, ``caio.api.app:app``, and the application over a given platform.

``create_app`` is what ``caio serve`` runs. ``app`` is for other ASGI servers: it opens the
installation described by the environment when the server starts, and closes it when it stops.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from importlib import import_module

from caio.api.asgi import App, Receive, Scope, Send
from caio.api.control_plane import control_plane
from caio.api.cors import with_cors
from caio.api.hot_paths import HotPaths
from caio.api.mcp.door import McpDoor
from caio.api.platform import Platform


def create_app(platform: Platform) -> App:
    """The whole API over a platform that is already open."""
    return with_cors(HotPaths(platform, McpDoor(platform, control_plane(platform))), platform.cors_origins)


class _OpenedByTheServer:
    """An application that opens its platform in the server's lifespan."""

    def __init__(self) -> None:
        self._app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        else:
            raise RuntimeError("the server must run the lifespan protocol: uvicorn --lifespan on")

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            try:
                # The composition root lies above this room, so it is found by name, not imported.
                platform = await stack.enter_async_context(import_module("caio.bootstrap").open_from_environment())
            except Exception as error:  # noqa: BLE001 - the protocol's way to say that start-up failed
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            self._app = create_app(platform)
            await send({"type": "lifespan.startup.complete"})
            await asyncio.shield(receive())
        await send({"type": "lifespan.shutdown.complete"})


app = _OpenedByTheServer()
