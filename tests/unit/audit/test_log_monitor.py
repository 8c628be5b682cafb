"""Between two checkpoints of one log nothing but growth passes."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.audit.checkpoint import Checkpoint
from caio.audit.log_monitor import Growth, begun_anew, growth, needs_proof
from caio.audit.merkle import leaf_hash, root_of
from caio.audit.tiles import Edge, TileId, consistency_proof

ORIGIN = "caio.localhost/acme"
LEAVES = [leaf_hash(b"%d" % number) for number in range(200)]


def checkpoint(size, leaves=LEAVES):
    return Checkpoint(ORIGIN, size, root_of(leaves[:size]))


def proof(old, new, leaves=LEAVES):
    if not 0 < old < new:
        return []
    edge, _ = Edge.empty().grow(leaves[:new])
    return consistency_proof(old, new, {TileId(level, 0): tile for level, tile in edge.partial().items()})


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 199))
def test_only_growth_passes(old, new, changed):
    honest = growth(checkpoint(old), checkpoint(new), proof(old, new))
    assert honest is (Growth.SET_BACK if new < old else Growth.SAME if new == old else Growth.GROWN)
    assert honest.honest == (new >= old)
    other = [*LEAVES]
    other[changed] = hashlib.sha256(b"another").digest()
    if new >= old > changed:
        assert growth(checkpoint(old), checkpoint(new, other), proof(old, new, other)) is Growth.FORKED
    if new > old > 0:
        assert needs_proof(checkpoint(old), checkpoint(new))
        assert growth(checkpoint(old), checkpoint(new), []) is Growth.FORKED
    wrong = replace(checkpoint(0), root=b"x" * 32)
    assert growth(wrong, checkpoint(new), []) is Growth.FORKED


def test_checkpoints_of_different_logs_are_not_compared():
    with pytest.raises(ValueError, match="different logs"):
        growth(checkpoint(1), replace(checkpoint(2), origin="caio.localhost/other"), [])


def test_a_log_begun_anew_is_known_by_its_origin():
    assert begun_anew("caio.localhost/acme", "caio.localhost/2/acme")
    assert begun_anew("caio.localhost/2/acme", "caio.localhost/3/acme")
    assert not begun_anew("caio.localhost/acme", "caio.localhost/acme")
    assert not begun_anew("caio.localhost/acme", "caio.localhost/other")
    assert not begun_anew("caio.localhost/acme", "elsewhere/acme")
    assert begun_anew("acme", "2/acme")
