"""How every example service starts, says it is ready, refuses bad input and stops.

A service is one aiohttp application in a process of its own::

    python examples/services/answer_swift.py --port 0

It prints one JSON line, ``{"service": "answer-swift", "url": "http://127.0.0.1:40123"}``, when it
accepts connections, and exits with status 0 within a second of SIGTERM or SIGINT. It listens on
the loopback address unless ``--host`` says otherwise; it has no authentication, being a demonstration.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from language import TooManySentences

MAX_BODY = 256 * 1024  # bytes
Route = Callable[[dict[str, Any]], dict[str, Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class InvalidInput(Exception):
    """The caller's mistake: answered with 422 and this message."""


def text_field(body: dict[str, Any], name: str, *, required: bool = True, limit: int = 65_536) -> str | None:
    """The string ``body[name]``, or None if it is absent and need not be there.

    Raises InvalidInput if it is missing, not a string, blank, or longer than ``limit`` UTF-8 bytes.
    """
    value = body.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(f"{name!r} must be a non-empty string")
    if len(value.encode("utf-8", "replace")) > limit:
        raise InvalidInput(f"{name!r} is longer than {limit} bytes")
    return value


def count_field(body: dict[str, Any], name: str, default: int, highest: int) -> int:
    """The integer ``body[name]`` between 1 and ``highest``. Raises InvalidInput for anything else."""
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= highest:
        raise InvalidInput(f"{name!r} must be an integer from 1 to {highest}")
    return value


async def json_object(request: web.Request) -> dict[str, Any]:
    """The request's body. Raises ValueError if it is not one JSON object in UTF-8."""
    try:
        body = json.loads((await request.read()).decode("utf-8"))
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    return body


def json_route(answer: Route) -> Handler:
    """Serve a function from JSON object to JSON object: 400 for what is not JSON, 422 for invalid fields."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            body = await json_object(request)
        except ValueError as error:
            return _problem(400, "invalid_json", str(error))
        try:
            return web.json_response(answer(body))
        except (InvalidInput, TooManySentences) as error:
            return _problem(422, "invalid_input", str(error))

    return handle


def json_service(path: str, answer: Route) -> web.Application:
    """An application with one JSON route and ``GET /health``."""
    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_post(path, json_route(answer))
    app.router.add_get("/health", _health)
    return app


def run(service: str, default_port: int, build: Callable[[], web.Application]) -> None:
    """Parse the arguments, build the application (which may train a model), serve until told to stop."""
    parser = argparse.ArgumentParser(description=f"The example service {service}.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=default_port, help="0 takes a free port (default: %(default)s)")
    arguments = parser.parse_args()
    asyncio.run(_serve(service, build(), arguments.host, arguments.port))


async def _serve(service: str, app: web.Application, host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    bound = runner.addresses[0][1]
    sys.stdout.write(json.dumps({"service": service, "url": f"http://{host}:{bound}"}) + "\n")
    sys.stdout.flush()
    await stop.wait()
    await runner.cleanup()


async def _health(_: web.Request) -> web.StreamResponse:
    return web.json_response({"status": "ok"})


def _problem(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
