"""Identifiers: sortable by time, unguessable, and checked where they come in from outside.

A generated id is ``<prefix>_<26 characters>``: a ULID (48 bits of milliseconds, 80 bits of
entropy, Crockford base 32, lower case). Clock and entropy are arguments, because this room is pure.
"""

from __future__ import annotations

import re

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [high + low for high in _CROCKFORD for low in _CROCKFORD]
ENTROPY_BYTES = 10

SERVICE_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
TENANT_ID = SERVICE_ID
POLICY_ID = SERVICE_ID


def ulid(prefix: str, now: int, entropy: bytes) -> str:
    """An id from ``now`` (microseconds since the epoch) and ``entropy`` (10 random bytes).

    Raises ValueError when the entropy has another length or the time does not fit 48 bits of ms.
    """
    millis = now // 1000
    if len(entropy) != ENTROPY_BYTES or not 0 <= millis < 1 << 48:
        raise ValueError(f"an id needs {ENTROPY_BYTES} bytes of entropy and a time after 1970")
    random = int.from_bytes(entropy, "big")
    pairs = [_PAIRS[millis >> shift & 1023] for shift in (40, 30, 20, 10, 0)]
    pairs += [_PAIRS[random >> shift & 1023] for shift in (70, 60, 50, 40, 30, 20, 10, 0)]
    return f"{prefix}_{''.join(pairs)}"


def is_id(prefix: str, text: str) -> bool:
    """Whether ``text`` has the shape of a generated id; says nothing about its existence."""
    body = text.removeprefix(prefix + "_")
    if len(body) != 26 or len(text) != len(prefix) + 27 or body[0] > "7":  # 26 characters hold 130 bits, an id 128
        return False
    return all(char in _CROCKFORD for char in body)
