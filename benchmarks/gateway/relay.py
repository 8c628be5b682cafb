"""The floor: a relay on uvicorn and aiohttp that passes the body on and the answer back, and does nothing else.

Run as a process: ``python -m benchmarks.gateway.relay UPSTREAM_PORT`` prints its port.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import uvicorn
import uvloop


class Relay:
    """The smallest ASGI application that calls a service for its caller."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        url = self._url + scope["path"]
        async with self._session.post(url, data=body, headers={"content-type": "application/json"}) as answer:
            content = await answer.read()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


async def main(upstream_port: int) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session:
        relay = Relay(session, f"http://127.0.0.1:{upstream_port}")
        config = uvicorn.Config(relay, port=0, log_level="error", access_log=False, lifespan="off", loop="uvloop")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await serving


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
