"""Whether a log only grew between two of its checkpoints. Pure.

A monitor that keeps the last checkpoint it saw, and asks for proofs between it and the next, need not
keep anything else of the log: a consistency proof shows that the later tree begins with the earlier.

Law (a test of the same name)
- only_growth_passes: every other pair of checkpoints of a log is a fork, or the log was set back.

Not checked here: signatures, and whether others were shown the same checkpoints (anchors, witnesses).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from caio.audit.checkpoint import Checkpoint
from caio.audit.merkle import EMPTY_ROOT, verify_consistency


class Growth(StrEnum):
    """What became of a log between two checkpoints."""

    SAME = "same"
    GROWN = "grown"
    FORKED = "forked"
    SET_BACK = "set_back"
    #: Another log took its place, as ``audit.restart`` begins one anew when its history was lost.
    RESTARTED = "restarted"

    @property
    def honest(self) -> bool:
        return self in (Growth.SAME, Growth.GROWN)


def needs_proof(old: Checkpoint, new: Checkpoint) -> bool:
    """Whether ``growth`` needs a consistency proof to tell."""
    return 0 < old.size < new.size


def growth(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> Growth:
    """What became of the log from ``old`` to ``new``; without a proof that verifies, growth is a fork.

    Raises ValueError for checkpoints of different logs.
    """
    if old.origin != new.origin:
        raise ValueError("checkpoints of different logs are not compared")
    if new.size < old.size:
        return Growth.SET_BACK
    if old.size == 0:
        return Growth.FORKED if old.root != EMPTY_ROOT else Growth.GROWN if new.size else _same(old, new)
    if old.size == new.size:
        return _same(old, new)
    proved = verify_consistency(old.size, old.root, new.size, new.root, proof)
    return Growth.GROWN if proved else Growth.FORKED


def begun_anew(old: str, new: str) -> bool:
    """Whether the log of the origin ``new`` stands in the place of that of ``old``: another generation of it."""
    return old != new and _without_generation(old) == _without_generation(new)


def _without_generation(origin: str) -> list[str]:
    *before, tenant = origin.split("/")
    return [*(before[:-1] if before[-1:] and before[-1].isdecimal() else before), tenant]


def _same(old: Checkpoint, new: Checkpoint) -> Growth:
    return Growth.SAME if old.root == new.root else Growth.FORKED
