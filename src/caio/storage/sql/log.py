"""Storing the Merkle trees: what is alike on both databases. The statements are in ``log_sqlite`` and
``log_postgres``, raw ones: a proof shall take no longer than its reads.

Theory of operation
-------------------
Full tiles of every level are stored, and above level 0 the partial ones. The partial tile of level 0
is not: it is the hashes of the journal's own commitments, at most 255, so that a small log costs no
write but its head. Tiles and those commitments are read in one statement, hence as of one moment.

Laws (each has a test of the same name, for both databases)
-----------------------------------------------------------
- tiles_are_the_trees: at every size, the tiles read give the root that the head says.
- one_of_two_advances_wins: of two from one size, whoever comes second has written nothing.
- a_gap_is_left_out: a tenant whose journal lacks a leaf gets no commitments; the others get theirs.
- a_lease_is_kept_from_others: until it expires or is released.
- whoever_waited_longest_comes_first: claims go round, however many tenants are behind.
- tenants_do_not_meet: neither heads nor tiles of another tenant are ever read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from caio.audit.merkle import HASH_BYTES, leaf_hash
from caio.audit.ports import Advance, LogHead
from caio.audit.tiles import HEIGHT, WIDTH

PartialTiles = dict[str, dict[int, bytes]]


def head_of(row: Sequence[Any]) -> LogHead:
    """The head in a row of tenant, origin, size, root, checkpoint and time."""
    tenant_id, origin, size, root, checkpoint, signed_at = row
    return LogHead(tenant_id, origin, size, root, checkpoint, signed_at)


def tile_of(entries: Sequence[bytes]) -> bytes:
    """The tile of level 0 over these commitments."""
    return b"".join([leaf_hash(entry) for entry in entries])


def entries_in(joined: bytes) -> list[bytes]:
    """The commitments that were joined to one value."""
    return [joined[at : at + HASH_BYTES] for at in range(0, len(joined), HASH_BYTES)]


def edge_places(tenant_id: str, size: int) -> list[tuple[str, int, int, int]]:
    """(tenant, level, position, bytes) of each partial tile above level 0 in a tree of ``size`` leaves."""
    places = []
    level = 1
    while rest := size >> HEIGHT * level:
        if width := rest % WIDTH:
            places.append((tenant_id, level, rest >> HEIGHT, width * HASH_BYTES))
        level += 1
    return places


def unmoved(advances: Collection[Advance], sizes: dict[str, int]) -> list[Advance]:
    """The advances whose log still has the size they grew from, by tenant: locks are taken in this order."""
    kept = [advance for advance in advances if sizes.get(advance.head.tenant_id) == advance.old_size]
    return sorted(kept, key=lambda advance: advance.head.tenant_id)


def tile_rows(advances: Collection[Advance]) -> list[tuple[str, int, int, bytes]]:
    return [(advance.head.tenant_id, *tile) for advance in advances for tile in advance.tiles]
