"""``caio worker``: the loops that carry out what answering leaves to be done, in a process of their own.

For installations of several processes (PostgreSQL and Redis); an installation of one process runs the same loops
beside its API. Any number of workers may run at once. SIGTERM or SIGINT ends it: it is not ready any more and begins
nothing, steps under way are finished, for some seconds; what is cut off then, like after a kill, is taken up by the
next worker.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from caio.cli import output
from caio.cli.listening import operations, operations_socket, url_of
from caio.cli.parameters import DataDir, Json
from caio.foundation.errors import Misconfigured

if TYPE_CHECKING:
    from caio.config import Settings


def worker(
    data_dir: DataDir = None,
    allow_private: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="A private network that webhooks may live in; may be repeated."),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error [info].")] = None,
    as_json: Json = False,
) -> None:
    """Deliver events, add up usage, watch budgets and measure storage until stopped."""
    import uvloop

    from caio.config import read_settings, require_safe
    from caio.observability.logging import configure_logging

    stated = {
        "data_dir": data_dir,
        "outbound_allow": tuple(allow_private) if allow_private else None,
        "log_level": log_level,
    }
    settings = read_settings(**{name: value for name, value in stated.items() if value is not None})
    require_safe(settings)
    if not settings.several_processes:
        raise Misconfigured(
            "a worker of its own needs PostgreSQL and Redis: set CAIO_DATABASE_URL and CAIO_REDIS_URL. "
            "Without them caio serve runs the same loops itself."
        )
    configure_logging(settings.log_level)
    with operations_socket(settings) as for_operations:
        uvloop.run(_work(settings, for_operations, as_json))


async def _work(settings: Settings, for_operations: socket.socket | None, as_json: bool) -> None:
    from caio.api.operations import Upkeep
    from caio.bootstrap import open_installation

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with open_installation(settings, works=True) as installation:
        worker = installation.worker
        assert worker is not None  # noqa: S101 - it was asked to work
        probes = None if for_operations is None else url_of(for_operations)
        upkeep = Upkeep(installation.ping_database, installation.limiter, worker.loops, stopped.is_set)
        async with operations(for_operations, upkeep, installation.metrics):
            loops = [each.name for each in worker.loops]
            if as_json:
                told = {} if probes is None else {"operations": probes}
                output.print_json({"loops": loops, **told, "pid": os.getpid()})
            else:
                output.say("The worker runs; Ctrl-C stops it.")
                output.facts({"loops": ", ".join(loops), "operations": probes})
            await worker.watch(stopped)
            await worker.stop()
    if not as_json:
        output.note("The worker has stopped.")
