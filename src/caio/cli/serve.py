"""``caio serve``: one installation and its API in this process.

The socket is bound before anything else, so that a port in use costs nothing and the first API
key is made only by a process that will serve. On SIGTERM the server lets readiness go and serves on for
``CAIO_DRAIN_SECONDS``, so that a load balancer sends to others before it is gone; on SIGINT, when a person
ends it, that time is left out. Then it accepts nothing more, and requests that are under way get
``CAIO_GRACE_SECONDS`` to finish; those that have not are cut off and settled. A further signal leaves out whichever
of these times runs.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from ipaddress import ip_address
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer

from caio._version import __version__
from caio.cli import output
from caio.cli.descriptors import raise_limit
from caio.cli.listening import BACKLOG, listen, operations, operations_socket, url_of
from caio.cli.parameters import DEFAULT_URL, DataDir, Json

if TYPE_CHECKING:
    import uvicorn

    from caio.api.draining import Draining
    from caio.bootstrap import Installation
    from caio.config import Settings

#: What makes an API key where no start does: in the environment, or beside the directory, of a server.
FIRST_KEY = "caio keys create NAME --embedded"

#: How long calls that were cut off may take to be settled; what takes longer is recovered as after a kill.
SETTLING_SECONDS = 5.0


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
    """Serve the API. The first start makes an API key and prints it, once; in production an operator makes it."""
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
    raise_limit()
    # Until there is a server to tell. As a container's first process one would not be ended by the signal otherwise.
    signal.signal(signal.SIGTERM, _end)
    with (
        listen(settings.api_host, settings.api_port, "--port") as listening,
        operations_socket(settings) as for_operations,
    ):
        uvloop.run(_serve(settings, listening, for_operations, as_json))


async def _serve(
    settings: Settings, listening: socket.socket, for_operations: socket.socket | None, as_json: bool
) -> None:
    from caio.api.app import create_app
    from caio.api.draining import Draining
    from caio.bootstrap import open_installation

    url = url_of(listening)
    async with AsyncExitStack() as stack:
        with output.waiting("Opening the installation"):
            installation = await stack.enter_async_context(open_installation(settings))
        token = await _first_key(settings, installation)

        def ready() -> None:
            if as_json:
                key = {} if token is None else {"api_key": token}
                probes = {} if for_operations is None else {"operations": url_of(for_operations)}
                output.print_json({"url": url, "docs": f"{url}/docs", **key, **probes, "pid": os.getpid()})
            else:
                _introduce(settings, listening, for_operations, token)

        app = Draining(create_app(installation))
        await stack.enter_async_context(operations(for_operations, app, installation.metrics))
        leaving = installation.workflows.dismiss
        await _server(app, ready, leaving, settings.drain_seconds, settings.grace_seconds).serve(sockets=[listening])
    if not as_json:
        output.note("CAIO has stopped.")


async def _first_key(settings: Settings, installation: Installation) -> str | None:
    """The first API key, where this start makes it. A deployment's output is kept in logs, so there an operator
    makes it, and is told how."""
    from caio.tenancy.authentication import embedded_scope

    if settings.deployed:
        if await installation.api_keys.are_none(embedded_scope()):
            structlog.get_logger("caio.serve").warning("no_api_key", next_step=FIRST_KEY)
        return None
    async with installation.in_turn():  # processes that start together make one key
        first = await installation.api_keys.create_first(embedded_scope())
    return None if first is None else first.token


def _server(
    app: Draining, ready: Callable[[], None], leaving: Callable[[], None], drain_seconds: int, grace_seconds: int
) -> uvicorn.Server:
    """A server that calls ``ready`` when its socket accepts and ``leaving`` when it begins to end, and that signals
    stop without killing."""
    import uvicorn

    from caio.cli.exchanges import Exchanges

    logging.getLogger("uvicorn.error").addFilter(_is_no_cut)

    class Server(uvicorn.Server):
        drained_at: float | None = None

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            # What a start makes stays. Looking through all of it at each full collection would stop every call for
            # some 60 ms.
            gc.collect()
            gc.freeze()
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

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            leaving()
            # uvicorn does not wait for the calls it cuts off, and cuts off none after a further signal.
            await super().shutdown(sockets)
            cut = set(self.server_state.tasks)
            for task in cut:
                if not task.cancelling():
                    task.cancel()
            if cut:
                await asyncio.wait(cut, timeout=SETTLING_SECONDS)

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
            http=Exchanges,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=grace_seconds,
        )
    )


def _end(number: int, frame: Any) -> None:
    raise SystemExit(0)


def _is_no_cut(record: logging.LogRecord) -> bool:
    """False for the traceback of a call that the server cut off: their number and their own lines tell of them."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _introduce(
    settings: Settings, listening: socket.socket, for_operations: socket.socket | None, token: str | None
) -> None:
    url = url_of(listening)
    output.say(f"CAIO {__version__} is serving; Ctrl-C stops it.")
    database = str(settings.sqlite_path.resolve()) if settings.embedded else "PostgreSQL"
    given = settings.auth_secret_key is not None and settings.signing_secret is not None
    output.facts(
        {
            "url": url,
            "docs": f"{url}/docs",
            "operations": None if for_operations is None else url_of(for_operations),
            "database": database,
            "keys": "of the environment" if given else settings.data_dir.resolve() / "keys",
        }
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
