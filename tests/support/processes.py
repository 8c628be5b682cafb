"""Real processes of CAIO over one database, and one Redis where they are several: all of them ended for sure.

One parent imports everything and forks for each process, so that a start does not pay for imports each time. A
process dies with its parent, and that with the test process, however it ends. Nothing here shares memory with
them but code.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import aiohttp

from caio.storage.sql.upgrade import upgrade

#: A busy machine has little time for a start.
START_SECONDS = 120.0
STOP_SECONDS = 30.0

PRELOADED = (
    "uvicorn",
    "uvloop",
    "caio.api.app",
    "caio.bootstrap",
    "caio.cli.db",
    "caio.cli.serve",
    "caio.cli.worker",
    "caio.storage.redis.held",
    "caio.storage.sql.journal_postgres",
    "caio.storage.sql.log_postgres",
)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Parent:
    """The process that forks the others."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 -- one call of the C library, no Python lock
        )

    def fork(self, arguments: tuple[str, ...], environment: Mapping[str, str], log: Path) -> int:
        """The pid of a new process that runs ``caio`` with these arguments; it writes to ``log``.out and .err."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {"arguments": arguments, "environment": {**environment}, "log": str(log)}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=STOP_SECONDS)


@cache
def _parent() -> Parent:
    """The one of this process, started with its first installation."""
    parent = Parent()
    atexit.register(parent.close)
    return parent


@cache
def upgraded_file() -> bytes:
    """An SQLite database with this version's tables: whoever starts on a copy is spared the upgrade."""
    with TemporaryDirectory() as folder:
        upgrade(f"sqlite:///{folder}/caio.db")
        return Path(folder, "caio.db").read_bytes()


class Running:
    """One process, and what it said of itself when it was ready."""

    def __init__(self, parent: Parent, arguments: tuple[str, ...], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        self.pid = parent.fork((*arguments, "--json"), environment, log)
        self.said: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return str(self.said["url"])

    @property
    def errors(self) -> str:
        return self._log.with_suffix(".err").read_text()

    @property
    def is_alive(self) -> bool:
        with suppress(ProcessLookupError):
            os.kill(self.pid, 0)
            return True
        return False

    def await_ready(self) -> Self:
        """Raises RuntimeError, with what it wrote, when the process is not ready in time."""
        until = time.monotonic() + START_SECONDS
        while not (said := self._log.with_suffix(".out").read_text()).endswith("\n"):
            if time.monotonic() > until or not self.is_alive:
                self.kill()
                raise RuntimeError(f"the process did not become ready:\n{self.errors}")
            time.sleep(0.05)
        self.said = json.loads(said.splitlines()[0])
        return self

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._signal(signal.SIGKILL)
        self.await_end()

    def ask_to_stop(self) -> None:
        self._signal(signal.SIGTERM)

    def await_end(self, seconds: float = STOP_SECONDS) -> None:
        """Raises TimeoutError for one that goes on."""
        until = time.monotonic() + seconds
        while self.is_alive:
            if time.monotonic() > until:
                raise TimeoutError(f"process {self.pid} goes on:\n{self.errors}")
            time.sleep(0.02)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Processes:
    """The processes of one installation, in ``folder``; ``token`` is the first API key. Without a URL of PostgreSQL
    the database is SQLite, and without one of Redis there is one process at a time."""

    def __init__(self, folder: Path, postgres_url: str | None, redis_url: str | None, **settings: str) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CAIO_DATA_DIR": str(folder / "data"),
            **({"CAIO_DATABASE_URL": postgres_url} if postgres_url else {}),
            **({"CAIO_REDIS_URL": redis_url} if redis_url else {}),
            "CAIO_OUTBOUND_ALLOW": "127.0.0.0/8",
            "CAIO_LOG_LEVEL": "warning",
            "CAIO_ANCHOR": "none",
            "CAIO_CONTROL_PLANE_PER_MINUTE": "100000",  # tests poll
            **{f"CAIO_{name.upper()}": value for name, value in settings.items()},
        }
        self._parent = _parent()
        self.servers: list[Running] = []
        self.workers: list[Running] = []
        self.token = ""
        self._started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(*self.servers, *self.workers)

    def stop(self, *processes: Running) -> None:
        """Ask them to stop, and wait until they have; raises TimeoutError for one that had to be killed."""
        for process in processes:
            process.ask_to_stop()
        late = []
        for process in processes:
            try:
                process.await_end()
            except TimeoutError as error:
                late.append(error)
                process.kill()
        if late:
            raise late[0]

    def upgrade(self) -> None:
        upgrade(self.environment["CAIO_DATABASE_URL"])

    def start(self, servers: int = 1, workers: int = 0) -> None:
        """Start so many more of each at once, and wait for all of them."""
        data = self.folder / "data"
        if "CAIO_DATABASE_URL" not in self.environment and not data.exists():
            data.mkdir(mode=0o700)
            (data / "caio.db").write_bytes(upgraded_file())
        new_servers = [self._run("serve", "--port", "0") for _ in range(servers)]
        new_workers = [self._run("worker") for _ in range(workers)]
        self.servers += new_servers
        self.workers += new_workers
        for process in (*new_servers, *new_workers):
            process.await_ready()
            self.token = process.said.get("api_key", self.token)

    def _run(self, *arguments: str) -> Running:
        self._started += 1
        return Running(self._parent, arguments, self.environment, self.folder / f"{arguments[0]}-{self._started}")

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


def _serve() -> None:
    from importlib import import_module

    from caio.cli.main import main

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children: none stays behind as a zombie
    for name in PRELOADED:
        import_module(name)
    gc.freeze()  # a child that collects would copy the pages it shares
    for line in sys.stdin:
        job = json.loads(line)
        for suffix in (".out", ".err"):
            Path(job["log"] + suffix).touch()
        child = os.fork()
        if child == 0:
            _become(job)
            try:
                main()
            except SystemExit as ended:
                os._exit(int(ended.code or 0))
            os._exit(0)
        print(child, flush=True)


def _become(job: Mapping[str, Any]) -> None:
    _die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, place in enumerate((os.devnull, job["log"] + ".out", job["log"] + ".err")):
        descriptor = os.open(place, os.O_WRONLY | os.O_APPEND if number else os.O_RDONLY)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(Path(job["log"]).parent)
    sys.argv = ["caio", *job["arguments"]]


if __name__ == "__main__":
    _serve()
