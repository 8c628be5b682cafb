"""The demonstration's child processes: started in parallel, killed on purpose, and never left behind.

Each child says that it is ready by one JSON line on its standard output; all else it says goes to
a file. Children live in sessions of their own, so that Ctrl-C reaches the demonstration alone, which
then ends them in order. Should it die without a word, Linux kills them with it (PR_SET_PDEATHSIG);
elsewhere a SIGKILL of the demonstration leaves them running.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

READY_SECONDS = 60.0
STOP_SECONDS = 5.0

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class DidNotStart(Exception):
    """A child ended, or said nothing useful, before it was ready. The message names its log."""


@dataclass(slots=True)
class Child:
    """A running process. ``ready`` is what it said, ``seconds`` how long that took."""

    name: str
    process: asyncio.subprocess.Process
    ready: Mapping[str, Any]
    seconds: float
    draining: asyncio.Task[None]

    @property
    def url(self) -> str:
        return str(self.ready["url"])


class Children:
    """Every process that the demonstration has started. Logs go to ``logs/<name>.log``."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = dict(environment)
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._draining: set[asyncio.Task[None]] = set()

    async def start(self, name: str, command: Sequence[str]) -> Child:
        """Start ``command`` and wait until it is ready; raises DidNotStart."""
        started = monotonic()
        log = self._logs / f"{name}.log"
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=self._environment,
                start_new_session=True,
                preexec_fn=_dying_with(os.getpid()),
            )
        self._processes[name] = process
        try:
            ready = await asyncio.wait_for(_ready_line(process), READY_SECONDS)
        except (TimeoutError, ValueError) as error:
            raise DidNotStart(f"{name} did not start: {_last_line(log) or error} (log: {log})") from None
        draining = asyncio.create_task(_drain(process))
        self._draining.add(draining)
        draining.add_done_callback(self._draining.discard)
        return Child(name, process, ready, monotonic() - started, draining)

    async def kill(self, name: str) -> int:
        """End a child with SIGKILL, as a crash would; its exit status."""
        process = self._processes.pop(name)
        _signal(process, signal.SIGKILL)
        return await process.wait()

    async def stop(self) -> None:
        """End every child: politely, and after five seconds not."""
        processes = list(self._processes.values())
        self._processes.clear()
        for process in processes:
            _signal(process, signal.SIGTERM)
        waiting = [asyncio.ensure_future(process.wait()) for process in processes]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=STOP_SECONDS)
            if late:
                for process in processes:
                    _signal(process, signal.SIGKILL)
                await asyncio.wait(waiting)
        await asyncio.gather(*self._draining, return_exceptions=True)


def _dying_with(parent: int) -> Callable[[], None] | None:
    """What a child does before it becomes its program, so that it ends with ``parent``."""
    if _libc is None:
        return None
    prctl = _libc.prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Signal a child and what it started: it leads its session."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


async def _ready_line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
    line = await process.stdout.readline()
    if not line:
        raise ValueError("it ended without a word")
    ready = json.loads(line)
    if not isinstance(ready, dict) or "url" not in ready:
        raise ValueError(f"it said {line[:80]!r} instead of where it listens")
    return ready


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Read on, so that a child that says more is never held up by a full pipe."""
    assert process.stdout is not None  # noqa: S101 - it was opened as a pipe
    while await process.stdout.read(65_536):
        pass


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else ""
