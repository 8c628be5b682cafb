"""The processes of a run: how they are started, and what the kernel says they used."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Child:
    """A process that serves on ``port``."""

    pid: int
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def module(name: str, *arguments: str) -> Iterator[Child]:
    """A module of ours that prints its port, run until the block ends."""
    child = subprocess.Popen([sys.executable, "-m", name, *arguments], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        yield Child(child.pid, int(child.stdout.readline()))
    finally:
        child.terminate()
        child.communicate(timeout=10)


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """What the process with its threads and living children has used so far."""
    used = 0.0
    for each in (pid, *_children(pid)):
        fields = Path(f"/proc/{each}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        used += (int(fields[11]) + int(fields[12])) / _TICKS
    return used


def resident_mb(pid: int) -> float:
    """The process's resident memory, in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        direct = [int(child) for child in (task / "children").read_text(encoding="utf-8").split()]
        found += [*direct, *(below for child in direct for below in _children(child))]
    return found
