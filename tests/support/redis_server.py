"""A real Redis for tests: on a free port of 127.0.0.1, in a directory of its own, gone with the test process.

``CAIO_TEST_REDIS_URL`` names a server to use instead, whose databases are emptied; tests that stop, kill or
promote a server always start their own.
"""

from __future__ import annotations

import ctypes
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

#: Where the server's program is, None when it is not installed.
PROGRAM = shutil.which("redis-server")

MISSING = "redis-server is not installed: `make setup-services` installs it (Debian: apt install redis-server)"


def _die_with_parent() -> None:
    """Ask Linux to kill the server when the test process is gone, however that ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


#: Beyond it a server in cluster mode does not start: its bus listens 10,000 above.
_HIGHEST_PORT = 55_535


def _free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            if (port := int(probe.getsockname()[1])) <= _HIGHEST_PORT:
                return port


class RedisServer:
    """A server that can be stopped, killed, suspended and started again on the same port and directory.

    ``persistent`` keeps an append-only file, written at every command; ``options`` are further settings.
    """

    def __init__(self, *, persistent: bool = False, replica_of: RedisServer | None = None, **options: str) -> None:
        if PROGRAM is None:
            raise RuntimeError(MISSING)
        self.folder = Path(tempfile.mkdtemp(prefix="caio-redis-"))
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if persistent else "no",
            "appendfsync": "always",
            "repl-diskless-sync-delay": "0",
        }
        if replica_of is not None:
            settings["replicaof"] = f"127.0.0.1 {replica_of.port}"
        settings |= {name.replace("_", "-"): value for name, value in options.items()}
        self._command = [PROGRAM, *(part for name, value in settings.items() for part in (f"--{name}", value))]
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 -- one call of the C library, no Python lock
            )
        for _ in range(500):
            if self._process.poll() is not None:
                break
            try:
                if self.ask("PING") == "+PONG":
                    return
            except OSError:
                pass
            time.sleep(0.01)
        raise RuntimeError(f"Redis did not start:\n{(self.folder / 'redis.log').read_text()}")

    def ask(self, *words: str) -> str:
        """The first line of what the server answers to a command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            parts = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            connection.sendall(f"*{len(words)}\r\n{parts}".encode())
            with connection.makefile("rb") as answers:
                return answers.readline().decode().rstrip("\r\n")

    def kill(self) -> None:
        """End the server at once, as a power cut does; what it had not written is lost."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def suspend(self) -> None:
        """Let the server neither answer nor go away, until ``resume``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the server and remove its directory."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)
