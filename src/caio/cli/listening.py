"""Sockets that the server processes listen on, and the operations listener."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING

from caio.foundation.errors import Misconfigured

if TYPE_CHECKING:
    from caio.api.asgi import App
    from caio.config import Settings
    from caio.observability.metrics import Metrics

BACKLOG = 2048


def listen(host: str, port: int, change: str) -> socket.socket:
    """A listening socket; raises Misconfigured for an address that cannot be used. ``change`` says how another port
    is chosen."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Misconfigured(f"{host} is no address to listen on: {error.strerror}", code="address_unusable") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise Misconfigured(
            f"port {port} of {host} cannot be used ({error.strerror}); choose another with {change}, or 0 for a free "
            "one",
            code="address_unusable",
        ) from error
    return listening


def url_of(listening: socket.socket) -> str:
    """The URL on which this machine reaches the socket."""
    host, port = listening.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = "127.0.0.1" if listening.family == socket.AF_INET else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def operations_socket(settings: Settings) -> Iterator[socket.socket | None]:
    """The operations listener's socket, bound; None where there is to be none."""
    if settings.ops_port is None:
        yield None
        return
    with listen(settings.ops_host, settings.ops_port, "CAIO_OPS_PORT") as listening:
        yield listening


@asynccontextmanager
async def operations(listening: socket.socket | None, health: App, metrics: Metrics) -> AsyncIterator[None]:
    """Answer probes and ``/metrics`` on this socket until the block ends; nothing without one."""
    if listening is None:
        yield
        return
    import uvicorn

    from caio.api.operations import Operations
    from caio.observability.exposition import CONTENT_TYPE, exposition

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # they are for the process, whose work ends before its probes do

    server = Server(
        uvicorn.Config(
            Operations(health, lambda: exposition(metrics), CONTENT_TYPE),
            interface="asgi3",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="operations")
    try:
        yield
    finally:
        server.should_exit = True
        await serving
