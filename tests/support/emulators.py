"""An emulator of AWS as a process of its own, on a free port of 127.0.0.1; it ends with the test, however that ends."""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def port_for_an_emulator() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def emulator(
    command: Sequence[str | Path], port: int, folder: Path, *, environment: Mapping[str, str], at: Path, seconds: float
) -> Iterator[str]:
    """The address of the emulator that `command`, run in `at`, serves on `port`, there while the block runs.

    What it writes is kept in `folder`. Raises RuntimeError, with that, when it does not listen within `seconds`.
    """
    log = folder / "emulator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=at,
            stdout=output,
            stderr=output,
            env=environment,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 -- one call of the C library, no Python lock
        )
    try:
        end = time.monotonic() + seconds
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the emulator did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
