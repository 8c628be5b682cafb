"""RFC 9162, section 2.1, as it is written: the truth that ``caio.audit.merkle`` and ``tiles`` are compared with.

Recursive, slow, over lists of entries, and without a line of the code under test. Names are the RFC's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

Entries = Sequence[bytes]


def HASH(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def MTH(D: Entries) -> bytes:
    """Section 2.1.1: the Merkle Tree Hash."""
    n = len(D)
    if n == 0:
        return HASH(b"")
    if n == 1:
        return HASH(b"\x00" + D[0])
    k = largest_power_of_two_smaller_than(n)
    return HASH(b"\x01" + MTH(D[0:k]) + MTH(D[k:n]))


def PATH(m: int, D: Entries) -> list[bytes]:
    """Section 2.1.3.1: the inclusion proof of entry ``m``."""
    n = len(D)
    if n == 1:
        return []
    k = largest_power_of_two_smaller_than(n)
    if m < k:
        return [*PATH(m, D[0:k]), MTH(D[k:n])]
    return [*PATH(m - k, D[k:n]), MTH(D[0:k])]


def PROOF(m: int, D: Entries) -> list[bytes]:
    """Section 2.1.4.1: the consistency proof of the first ``m`` entries."""
    return SUBPROOF(m, D, True)


def SUBPROOF(m: int, D: Entries, b: bool) -> list[bytes]:
    n = len(D)
    if m == n:
        return [] if b else [MTH(D)]
    k = largest_power_of_two_smaller_than(n)
    if m <= k:
        return [*SUBPROOF(m, D[0:k], b), MTH(D[k:n])]
    return [*SUBPROOF(m - k, D[k:n], False), MTH(D[0:k])]


def largest_power_of_two_smaller_than(n: int) -> int:
    """For n > 1: the k with k < n <= 2k."""
    k = 1
    while 2 * k < n:
        k = 2 * k
    return k
