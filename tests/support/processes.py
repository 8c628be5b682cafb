"""Several real processes of CAIO over one PostgreSQL and one Redis: servers, a worker, all of them ended for sure.

A process dies with the test process, however that ends. Nothing here shares memory with them.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

#: A start takes a second or two of a processor, of which a busy machine has few.
START_SECONDS = 60.0
STOP_SECONDS = 20.0


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Running:
    """One process, and what it said of itself when it was ready."""

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "caio", *arguments, "--json"],
                env={**environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 -- one call of the C library, no Python lock
            )
        self.said: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return str(self.said["url"])

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def errors(self) -> str:
        return self._log.read_text()

    def await_ready(self) -> Self:
        """Raises RuntimeError, with what it wrote, when the process is not ready in time."""
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        line = self._process.stdout.readline() if readable else b""
        if not line:
            self.kill()
            raise RuntimeError(f"the process did not become ready:\n{self.errors}")
        self.said = json.loads(line)
        return self

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def ask_to_stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Ask it to stop, and its exit code; killed when it does not."""
        self.ask_to_stop()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


class Processes:
    """The processes of one installation, in ``folder``; ``token`` is the first API key."""

    def __init__(self, folder: Path, postgres_url: str, redis_url: str, **settings: str) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CAIO_DATA_DIR": str(folder / "data"),
            "CAIO_DATABASE_URL": postgres_url,
            "CAIO_REDIS_URL": redis_url,
            "CAIO_OUTBOUND_ALLOW": "127.0.0.0/8",
            "CAIO_LOG_LEVEL": "warning",
            "CAIO_ANCHOR": "none",
            **{f"CAIO_{name.upper()}": value for name, value in settings.items()},
        }
        self.servers: list[Running] = []
        self.workers: list[Running] = []
        self.token = ""
        self._started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        everybody = [*self.servers, *self.workers]
        for process in everybody:
            process.ask_to_stop()
        until = time.monotonic() + STOP_SECONDS
        for process in everybody:
            try:
                process._process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of the same installation, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "caio", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )

    def upgrade(self) -> None:
        done = self.command("db", "upgrade")
        if done.returncode:
            raise RuntimeError(done.stderr)

    def start(self, servers: int = 1, workers: int = 0) -> None:
        """Start so many more of each at once, and wait for all of them."""
        new_servers = [self._run("serve", "--port", "0") for _ in range(servers)]
        new_workers = [self._run("worker") for _ in range(workers)]
        self.servers += new_servers
        self.workers += new_workers
        for process in (*new_servers, *new_workers):
            process.await_ready()
            self.token = process.said.get("api_key", self.token)

    def _run(self, *arguments: str) -> Running:
        self._started += 1
        return Running(arguments, self.environment, self.folder / f"{arguments[0]}-{self._started}.log")

    @asynccontextmanager
    async def sessions(self, token: str | None = None) -> AsyncIterator[list[aiohttp.ClientSession]]:
        """A session with each server, in their order, as the bearer of ``token``."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        opened = [
            aiohttp.ClientSession(server.url, headers=headers, connector=aiohttp.TCPConnector(limit=0))
            for server in self.servers
        ]
        try:
            yield opened
        finally:
            await asyncio.gather(*(session.close() for session in opened))
