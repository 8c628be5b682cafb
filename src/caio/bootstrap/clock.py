"""What makes one process's work different from another's: its time, its ids."""

from __future__ import annotations

import os
import secrets
import socket
import time

from caio.foundation.ids import ENTROPY_BYTES, ulid


def now() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


def monotonic() -> int:
    """Microseconds that never go back, since no time in particular."""
    return time.monotonic_ns() // 1000


def new_id(prefix: str) -> str:
    return ulid(prefix, now(), os.urandom(ENTROPY_BYTES))


def process_identity() -> str:
    """This process's name among all that ever serve: for leases, grants and heartbeats."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
