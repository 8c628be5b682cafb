"""The Merkle tree of RFC 9162 (the one of RFC 6962): its root, how it grows, and what its proofs prove.

Theory of operation
-------------------
The hash of a leaf is SHA-256(0x00 ‖ entry), of a node SHA-256(0x01 ‖ left ‖ right), so that no leaf
passes for a node. A tree of n leaves splits at the largest power of two below n. Its right edge is
therefore a row of *perfect* subtrees, one for each bit of n that is set, largest first. A
``Frontier`` keeps their roots: enough to grow the tree and to give its root, whatever its size.
Growing works level by level, on rows of concatenated hashes: a pending left sibling goes in front,
pairs become the row above, and what is left over waits. A perfect subtree is hashed once.

Every hash of a proof is the root of a *span* of leaves, and a span is again a row of perfect
subtrees. ``inclusion_spans`` and ``consistency_spans`` say which spans, ``subtrees`` of what they
are made; whoever has the hashes of perfect subtrees can make proofs (``caio.audit.tiles``).

Laws (each has a test of the same name)
---------------------------------------
- roots_are_the_rfcs: the root is MTH of RFC 9162, section 2.1.1, for every size.
- growing_in_any_chunks_is_the_same: a frontier depends on the leaves, not on how they arrived.
- proofs_are_the_rfcs: the spans are those of PATH and PROOF (sections 2.1.3.1 and 2.1.4.1), in order.
- every_proof_verifies: the proofs of a tree verify against its roots.
- any_flipped_byte_is_refused: in a proof, a root, an entry's hash; and so is a hash more, less or swapped.
- one_index_fits_a_size: with size and root fixed, a proof of a leaf verifies at one index only.
- sides_are_all_that_is_proved_of_a_size: an inclusion proof says on which side each of its hashes
  goes, and no more of index and size. Sizes that agree on the sides are not told apart: the size
  must come from the checkpoint that the root came from. The same holds of consistency proofs.
- verification_never_raises: whatever the lengths and numbers.

Not known here: what an entry means, where hashes are stored, and who vouches for a root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

HASH_BYTES = 32
#: Sizes fit a signed 64-bit integer, as in the logs' other implementations and in a database.
MAX_SIZE = 2**63 - 1
EMPTY_ROOT = hashlib.sha256(b"").digest()

_LEAF, _NODE = b"\x00", b"\x01"


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf that holds ``entry``."""
    return hashlib.sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of the node above two hashes."""
    return hashlib.sha256(_NODE + left + right).digest()


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """The root of the tree over these leaves (MTH of RFC 9162, section 2.1.1)."""
    return Frontier.of(leaf_hashes).root()


def row_above(row: bytes) -> bytes:
    """The nodes above a row of concatenated hashes, two by two. A last one without a partner is left out."""
    sha256 = hashlib.sha256
    pair = 2 * HASH_BYTES
    return b"".join([sha256(_NODE + row[at : at + pair]).digest() for at in range(0, len(row) - HASH_BYTES, pair)])


@dataclass(frozen=True, slots=True)
class Frontier:
    """The roots of the perfect subtrees that a tree of ``size`` leaves is made of, largest first.

    Raises ValueError if the hashes are not as many as the size has bits set, or are not 32 bytes each.
    Whether they are the roots of any leaves is not checked.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE:
            raise ValueError(f"a tree has 0 to 2^63 - 1 leaves, not {self.size}")
        if len(self.hashes) != self.size.bit_count():
            raise ValueError(
                f"the frontier of {self.size} leaves has {self.size.bit_count()} hashes, not {len(self.hashes)}"
            )
        _check_hashes(self.hashes)

    @classmethod
    def of(cls, leaf_hashes: Sequence[bytes]) -> Frontier:
        """The frontier of the tree over these leaves."""
        return cls().extended(leaf_hashes)

    def extended(self, leaf_hashes: Sequence[bytes]) -> Frontier:
        """The frontier after these leaves are appended. Raises ValueError for a hash that is not 32 bytes."""
        return self.grown(leaf_hashes)[0]

    def grown(self, leaf_hashes: Sequence[bytes]) -> tuple[Frontier, list[bytes]]:
        """The frontier after these leaves are appended, and the roots of all perfect subtrees that this completes.

        The roots are one row of concatenated hashes for each level, the leaves' first: those of the
        subtrees of 2^level leaves from number ``self.size >> level`` on.
        """
        _check_hashes(leaf_hashes)
        row = b"".join(leaf_hashes)
        rows: list[bytes] = []
        waiting = list(self.hashes)
        left_over: list[bytes] = []
        while row:
            pending = waiting.pop() if self.size >> len(rows) & 1 else b""
            rows.append(row)
            row = pending + row
            if len(row) // HASH_BYTES & 1:
                left_over.append(row[-HASH_BYTES:])
            row = row_above(row)
        return Frontier(self.size + len(leaf_hashes), (*waiting, *reversed(left_over))), rows

    def root(self) -> bytes:
        """The root of the tree."""
        return fold(self.hashes) if self.hashes else EMPTY_ROOT


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over a row of perfect subtrees, of which each is larger than the next."""
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


class Subtree(NamedTuple):
    """The perfect subtree over the 2^level leaves from ``number << level`` on."""

    level: int
    number: int


class Span(NamedTuple):
    """The leaves from ``start`` to before ``end``, under one node of some tree."""

    start: int
    end: int


def subtrees(span: Span) -> Iterator[Subtree]:
    """The perfect subtrees that a span is made of, largest first; ``fold`` of their roots is the span's."""
    start, end = span
    while start < end:
        level = (end - start).bit_length() - 1
        yield Subtree(level, start >> level)
        start += 1 << level


def inclusion_spans(index: int, size: int) -> list[Span]:
    """The spans whose roots prove that leaf ``index`` is in a tree of ``size`` leaves, in the proof's order.

    RFC 9162, section 2.1.3.1. Raises ValueError if the tree has no such leaf.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    start, end = 0, size
    spans: list[Span] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            spans.append(Span(middle, end))
            end = middle
        else:
            spans.append(Span(start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(old: int, new: int) -> list[Span]:
    """The spans whose roots prove that the tree of ``new`` leaves begins with that of ``old``, in the proof's order.

    RFC 9162, section 2.1.4.1; none for equal sizes. Raises ValueError unless 1 <= old <= new.
    """
    if not 1 <= old <= new <= MAX_SIZE:
        raise ValueError(f"there is no proof from a tree of {old} leaves to one of {new}")
    start, end = 0, new
    spans: list[Span] = []
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            spans.append(Span(middle, end))
            end = middle
        else:
            spans.append(Span(start, middle))
            start = middle
    if start > 0:  # otherwise the old tree is a node of the new one, and its root is known
        spans.append(Span(start, end))
    return spans[::-1]


def verify_inclusion(entry_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof`` shows that leaf ``index`` of the tree of ``size`` leaves with this root has this hash.

    ``entry_hash`` is ``leaf_hash(entry)``. RFC 9162, section 2.1.3.2; never raises. The proof binds
    the leaf to the root. Index and size it binds only together (see the module's laws): size and
    root must come from one checkpoint. Whether anybody vouches for the root is not checked.
    """
    if not 0 <= index < size <= MAX_SIZE or not _are_hashes(entry_hash, root, *proof):
        return False
    place, last = index, size - 1
    node = entry_hash
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = node_hash(sibling, node)
            while not place & 1 and place:  # levels at which the node has no sibling
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the tree of the new root begins with the leaves of the old one, in order.

    RFC 9162, section 2.1.4.2; never raises. Between equal sizes the proof is empty and the roots are
    equal. An ``old_size`` of 0 is refused: every tree begins with the empty one, there is nothing to
    prove. Sizes must come from the roots' checkpoints, as with ``verify_inclusion``.
    """
    if not 1 <= old_size <= new_size <= MAX_SIZE or not _are_hashes(old_root, new_root, *proof):
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    if not proof:
        return False
    # An old tree that is perfect is a node of the new one: the proof leaves its root out.
    first, *others = (old_root, *proof) if old_size & (old_size - 1) == 0 else proof
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = first
    for sibling in others:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


def _split(leaves: int) -> int:
    """The largest power of two below ``leaves``, at least 2: how many go to the left."""
    return 1 << (leaves - 1).bit_length() - 1


def _are_hashes(*hashes: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in hashes)


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if not {len(value) for value in hashes} <= {HASH_BYTES}:
        raise ValueError("a hash has 32 bytes")
