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


# The same recursions over the numbers of entries instead of the entries, for trees of any size: an
# entry range (a, b) stands for MTH(D[a:b]).


def PATH_RANGES(m: int, a: int, b: int) -> list[tuple[int, int]]:
    """The ranges whose hashes are PATH(m, D[a:b])."""
    n = b - a
    if n == 1:
        return []
    k = largest_power_of_two_smaller_than(n)
    if m < k:
        return [*PATH_RANGES(m, a, a + k), (a + k, b)]
    return [*PATH_RANGES(m - k, a + k, b), (a, a + k)]


def SUBPROOF_RANGES(m: int, a: int, b: int, whole: bool) -> list[tuple[int, int]]:
    """The ranges whose hashes are SUBPROOF(m, D[a:b], whole)."""
    n = b - a
    if m == n:
        return [] if whole else [(a, b)]
    k = largest_power_of_two_smaller_than(n)
    if m <= k:
        return [*SUBPROOF_RANGES(m, a, a + k, whole), (a + k, b)]
    return [*SUBPROOF_RANGES(m - k, a + k, b, False), (a, a + k)]


# What a proof proves, by undoing PATH and SUBPROOF: None where the proof has a wrong number of hashes.


def path_root(m: int, n: int, entry_hash: bytes, path: Sequence[bytes]) -> bytes | None:
    """The root of the n entries that ``path`` leads to from the hash of entry ``m``."""
    if n == 1:
        return None if path else entry_hash
    if not path:
        return None
    k = largest_power_of_two_smaller_than(n)
    inner = path_root(m, k, entry_hash, path[:-1]) if m < k else path_root(m - k, n - k, entry_hash, path[:-1])
    if inner is None:
        return None
    return HASH(b"\x01" + inner + path[-1]) if m < k else HASH(b"\x01" + path[-1] + inner)


def proof_roots(m: int, n: int, old_root: bytes, proof: Sequence[bytes], b: bool = True) -> tuple[bytes, bytes] | None:
    """The roots of the first ``m`` and of all ``n`` entries that ``proof`` leads to."""
    if m == n:
        if len(proof) != (0 if b else 1):
            return None
        return (old_root, old_root) if b else (proof[0], proof[0])
    if not proof:
        return None
    k = largest_power_of_two_smaller_than(n)
    if m <= k:
        inner = proof_roots(m, k, old_root, proof[:-1], b)
        return inner and (inner[0], HASH(b"\x01" + inner[1] + proof[-1]))
    inner = proof_roots(m - k, n - k, old_root, proof[:-1], False)
    return inner and (HASH(b"\x01" + proof[-1] + inner[0]), HASH(b"\x01" + proof[-1] + inner[1]))


def path_sides(m: int, n: int) -> str:
    """On which side each hash of PATH(m, n entries) goes: ``l`` or ``r``."""
    return "".join("l" if end <= m else "r" for _, end in PATH_RANGES(m, 0, n))


def proof_sides(m: int, n: int) -> str:
    """What each hash of PROOF(m, n entries) is: the first node's own (``o``), left of both, or right of the new."""
    ranges = SUBPROOF_RANGES(m, 0, n, True)
    inside = "".join("l" if end < m else "r" if start >= m else "o" for start, end in ranges)
    return inside if inside.startswith("o") else "root" + inside


def TILE(level: int, number: int, D: Entries) -> bytes:
    """C2SP tlog-tiles: the complete hashes of a tile, of which there may be none."""
    under = 256**level
    starts = [(number * 256 + i) * under for i in range(256)]
    return b"".join(MTH(D[start : start + under]) for start in starts if start + under <= len(D))
