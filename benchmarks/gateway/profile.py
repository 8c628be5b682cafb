"""Where a request's time goes: the processor time of a call, by the room that spends it.

``python -m benchmarks.gateway.profile [native|chat|stream]``. The server is sampled while sixteen connections send:
by py-spy, which this script installs as it does the peers and which stands outside the process, or where that cannot
be had by `benchmarks.gateway.sampled`. A sample belongs to the innermost frame that is of a room or of a library
named here; what runs below it, in the standard library or in compiled code, was called by it. The microseconds are
those that the kernel counted, shared out by the samples.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from benchmarks.frame import Report
from benchmarks.gateway import world
from benchmarks.gateway.load import Target, run
from benchmarks.gateway.peers import CACHE, Unavailable, install_python
from benchmarks.gateway.processes import cpu_seconds, module
from benchmarks.server import serve

PY_SPY = "py-spy==0.4.1"
SECONDS, CONNECTIONS, RATE = 10.0, 16, 200
SURFACES = {
    "native": (world.NATIVE, world.native, {}),
    "chat": (world.CHAT, world.chat, {}),
    "stream": (world.CHAT, world.chat, {"stream": True}),
}
#: What a frame has in it, and what its time is called; the first that fits.
LIBRARIES = {
    "uvicorn/": "uvicorn",
    "aiohttp/": "http client (aiohttp)",
    "sqlalchemy/": "storage: SQLAlchemy",
    "aiosqlite/": "storage: driver",
    "asyncpg/": "storage: driver",
    "structlog/": "observability: structlog",
    "fastapi/": "control plane",
    "starlette/": "control plane",
}
#: The room that runs the event loop: what nobody else is in is the loop's own, in compiled code.
OUTERMOST, LOOP = "cli", "event loop"


def main(surface: str) -> int:
    path, request, more = SURFACES[surface]
    report = Report(f"gateway-profile-{surface}")
    with tempfile.TemporaryDirectory() as folder:
        out, spy = Path(folder) / "stacks.txt", _py_spy()
        program = ("-m", "caio") if spy else ("-m", "benchmarks.gateway.sampled", str(out))
        with ExitStack() as running:
            upstream = running.enter_context(module("benchmarks.gateway.upstream"))
            served = running.enter_context(serve(Path(folder), program=program))
            tenant = served.tenant("bench")
            world.furnish(tenant, upstream.url)
            target = Target(tenant.url, path, world.sorts(request, **more), tenant.api_key)
            run(target, CONNECTIONS, 2.0)
            watching = _begin(spy, served.pid, out)
            before = cpu_seconds(served.pid)
            calls = len(run(target, CONNECTIONS, SECONDS).latencies)
            spent = 1e6 * (cpu_seconds(served.pid) - before) / calls
            if watching is not None:
                watching.wait(timeout=60)
        rooms = by_room(out.read_text(encoding="utf-8"))
    for room, samples in rooms.most_common():
        share = samples / rooms.total()
        report.note(room, 100 * share, "% of the processor")
    for room, samples in rooms.most_common():
        report.note(f"{room}: a call", spent * samples / rooms.total(), "µs a call")
    report.note("all: a call", spent, "µs a call")
    return report.finish()


def by_room(stacks: str) -> Counter[str]:
    """Samples by room, from lines of a stack, outermost first, and how often it was met."""
    rooms: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        rooms[_room(stack.split(";"))] += int(count)
    return rooms


def _room(stack: list[str]) -> str:
    for frame in reversed(stack):
        _, inside, below = frame.rpartition("caio/")
        if inside and ".py" in below:
            room = below.split("/")[0].partition(".py")[0]
            return LOOP if room == OUTERMOST else room
        for part, name in LIBRARIES.items():
            if part in frame:
                return name
    return LOOP


def _py_spy() -> Path | None:
    place = CACHE / "py-spy"
    try:
        install_python(place, PY_SPY)
    except Unavailable as why:
        print(f"without py-spy: {why}")
        return None
    return place / "bin" / "py-spy"


def _begin(spy: Path | None, pid: int, out: Path) -> subprocess.Popen[bytes] | None:
    if spy is None:
        os.kill(pid, signal.SIGUSR1)
        return None
    command = [str(spy), "record", "--pid", str(pid), "--duration", str(int(SECONDS)), "--rate", str(RATE)]
    command += ["--format", "raw", "--output", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1] if len(sys.argv) > 1 else "native"))
