"""A Redis as a cloud's: TLS alone, and a password; on a free port of 127.0.0.1, gone with the test process."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.support.certificates import Certificates
from tests.support.redis_server import MISSING, PROGRAM, _die_with_parent, _free_port


class SecuredRedis:
    """``url`` holds no password."""

    def __init__(self, certificates: Certificates, password: str) -> None:
        if PROGRAM is None:
            raise RuntimeError(MISSING)
        self._folder = Path(tempfile.mkdtemp(prefix="caio-secured-redis-"))
        self.port = _free_port()
        self.url = f"rediss://127.0.0.1:{self.port}/0"
        settings = {
            "port": "0",
            "tls-port": str(self.port),
            "tls-cert-file": str(certificates.certificate),
            "tls-key-file": str(certificates.key),
            "tls-ca-cert-file": str(certificates.authority),
            "tls-auth-clients": "no",
            "bind": "127.0.0.1",
            "dir": str(self._folder),
            "save": "",
            "maxmemory-policy": "noeviction",
            "requirepass": password,
        }
        self._process = subprocess.Popen(
            [PROGRAM, *(part for name, value in settings.items() for part in (f"--{name}", value))],
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 -- one call of the C library, no Python lock
        )
        client = redis.Redis(
            port=self.port, password=password, ssl=True, ssl_ca_certs=str(certificates.authority), host="127.0.0.1"
        )
        for _ in range(500):
            try:
                client.ping()
                return
            except (redis.ConnectionError, ssl.SSLError):
                time.sleep(0.02)
            finally:
                client.close()
        self._process.kill()
        raise RuntimeError("Redis did not start")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)
