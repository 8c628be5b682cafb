"""Starting `caio serve` for a benchmark, and stopping it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: where it answers, the key made at its first start (else empty), its process id."""

    url: str
    api_key: str
    pid: int


@contextmanager
def serve(data_dir: Path) -> Iterator[Served]:
    """Run ``caio serve`` on ``data_dir`` and a free port until the block ends."""
    command = [sys.executable, "-m", "caio", "serve", "--json", "--port", "0"]
    command += ["--data-dir", str(data_dir), "--allow-private", "127.0.0.0/8"]
    with (data_dir / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"caio serve did not start: {(data_dir / 'server.log').read_text()}")
        ready = json.loads(line)
        yield Served(ready["url"], ready.get("api_key") or "", process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)
