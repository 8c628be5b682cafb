"""``caio serve``: one installation and its API in this process.

The socket is bound before anything else, so that a port in use costs nothing and the first API
key is made only by a process that will serve. On SIGTERM the server lets readiness go and serves on for
``CAIO_DRAIN_SECONDS``, so that a load balancer sends to others before it is gone; on SIGINT, when a person
ends it, that time is left out. Then it accepts nothing more, and requests that are under way get ten seconds
to finish. A further signal leaves out whichever of these runs.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from ipaddress import ip_address
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caio._version import __version__
from caio.cli import output
from caio.cli.parameters import DEFAULT_URL, DataDir, Json
from caio.foundation.errors import Misconfigured

if TYPE_CHECKING:
    import uvicorn

    from caio.api.draining import Draining
    from caio.config import Settings

GRACE_SECONDS = 10
_BACKLOG = 2048


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one [8080].")
    ] = None,
    data_dir: DataDir = None,
    allow_private: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="A private network that services may live in; may be repeated."),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error [info].")] = None,
    as_json: Json = False,
) -> None:
    """Serve the API. The first start makes an API key and prints it, once."""
    import uvloop

    from caio.config import read_settings, require_safe
    from caio.observability.logging import configure_logging

    stated = {
        "api_host": host,
        "api_port": port,
        "data_dir": data_dir,
        "outbound_allow": tuple(allow_private) if allow_private else None,
        "log_level": log_level,
    }
    settings = read_settings(**{name: value for name, value in stated.items() if value is not None})
    require_safe(settings)
    configure_logging(settings.log_level)
    listening = _listen(settings.api_host, settings.api_port)
    with listening:
        uvloop.run(_serve(settings, listening, as_json))


async def _serve(settings: Settings, listening: socket.socket, as_json: bool) -> None:
    from caio.api.app import create_app
    from caio.api.draining import Draining
    from caio.bootstrap import open_installation
    from caio.tenancy.authentication import embedded_scope

    url = _url(listening)
    async with AsyncExitStack() as stack:
        with output.waiting("Opening the installation"):
            installation = await stack.enter_async_context(open_installation(settings))
        async with installation.in_turn():  # processes that start together make one key
            first = await installation.api_keys.create_first(embedded_scope())
        token = None if first is None else first.token

        def ready() -> None:
            if as_json:
                key = {} if token is None else {"api_key": token}
                output.print_json({"url": url, "docs": f"{url}/docs", **key, "pid": os.getpid()})
            else:
                _introduce(settings, listening, token)

        app = Draining(create_app(installation))
        await _server(app, ready, settings.drain_seconds).serve(sockets=[listening])
    if not as_json:
        output.note("CAIO has stopped.")


def _server(app: Draining, ready: Callable[[], None], drain_seconds: int) -> uvicorn.Server:
    """A server that calls ``ready`` when its socket accepts, and that signals stop without killing."""
    import uvicorn

    class Server(uvicorn.Server):
        drained_at: float | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            # uvicorn raises the signal again after its shutdown, which would end the process by it.
            handled = (signal.SIGINT, signal.SIGTERM)
            before = {number: signal.signal(number, self.handle_exit) for number in handled}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

        async def on_tick(self, counter: int) -> bool:
            if self.drained_at is not None and monotonic() >= self.drained_at:
                self.should_exit = True
            return await super().on_tick(counter)

        def handle_exit(self, sig: int, frame: Any) -> None:
            if sig == signal.SIGTERM and drain_seconds and self.drained_at is None and not self.should_exit:
                app.begin()
                self.drained_at = monotonic() + drain_seconds
            else:
                self.force_exit = self.should_exit
                self.should_exit = True

    return Server(
        uvicorn.Config(
            app,
            interface="asgi3",
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises Misconfigured for an address that cannot be used."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise Misconfigured(f"{host} is no address to listen on: {error.strerror}", code="address_unusable") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise Misconfigured(
            f"port {port} of {host} cannot be used ({error.strerror}); choose another with --port, or 0 for a free one",
            code="address_unusable",
        ) from error
    return listening


def _url(listening: socket.socket) -> str:
    """The URL on which this machine reaches the socket."""
    host, port = listening.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = "127.0.0.1" if listening.family == socket.AF_INET else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _introduce(settings: Settings, listening: socket.socket, token: str | None) -> None:
    url = _url(listening)
    output.say(f"CAIO {__version__} is serving; Ctrl-C stops it.")
    database = str(settings.sqlite_path.resolve()) if settings.embedded else "PostgreSQL"
    output.facts(
        {"url": url, "docs": f"{url}/docs", "database": database, "keys": settings.data_dir.resolve() / "keys"}
    )
    if not ip_address(listening.getsockname()[0]).is_loopback:
        output.note("warning: others can reach this address and it has no TLS; put a proxy that has in front of it")
    exports = [] if url == DEFAULT_URL else [f"export CAIO_URL={url}"]
    if token is not None:
        output.say()
        output.say("The first API key, an administrator's, shown once: keep it now.")
        output.say(f"  {token}")
        exports.append(f"export CAIO_API_KEY={token}")
    output.next_step(*exports, "caio services register CONTRACT.yaml")
