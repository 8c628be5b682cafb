"""What every anchor agrees on: under which name a checkpoint is kept, and when two notes are of one checkpoint.

Theory of operation
-------------------
A checkpoint's place is ``<origin>/<size, 20 digits>.note``, so that names sort by size. The origin's
segments stand as folders; whatever could leave a folder, collide with another name or vanish on a file
system that folds case is written as ``%`` and two hexadecimal digits of its UTF-8.

Laws (each has a test of the same name)
---------------------------------------
- places_are_distinct: also where case is folded; and no place lies inside a note.
- places_stay_inside: no segment is empty, ``.``, ``..`` or hidden, and none holds a separator.
"""

from __future__ import annotations

import re

from caio.audit.checkpoint import Checkpoint, read_checkpoint
from caio.foundation.errors import Conflict, InvalidInput

_NOTE = re.compile(r"(?P<size>[0-9]{20})\.note")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_~")


def folder_of(origin: str) -> str:
    """The folder of a log's checkpoints, with ``/`` between its parts."""
    return "/".join(_segment(part) for part in origin.split("/"))


def name_of(size: int) -> str:
    """The name of a checkpoint in its log's folder."""
    return f"{size:020d}.note"


def size_of(name: str) -> int | None:
    """The size in a name that ``name_of`` gives, None for any other name."""
    found = _NOTE.fullmatch(name)
    return int(found["size"]) if found else None


def checkpoint_of(note: str, origin: str, size: int) -> Checkpoint:
    """The checkpoint in ``note``; raises ValueError unless it is one of this origin and size."""
    try:
        checkpoint = read_checkpoint(note).checkpoint
    except InvalidInput as error:
        raise ValueError("what is anchored must be a signed checkpoint") from error
    if (checkpoint.origin, checkpoint.size) != (origin, size):
        raise ValueError("what is anchored must be a checkpoint of the origin and size it is anchored under")
    return checkpoint


def held(note: str, origin: str, size: int) -> Checkpoint:
    """The checkpoint in a ``note`` that an anchor holds; raises Conflict ``anchor_tampered`` for anything that
    ``put`` cannot have left there."""
    try:
        return checkpoint_of(note, origin, size)
    except ValueError as error:
        raise tampered(origin, size, "what it holds is no checkpoint of that log and size") from error


def must_agree(note: str, checkpoint: Checkpoint) -> None:
    """Raise Conflict ``anchor_conflict`` unless the ``note`` that an anchor holds is of this very checkpoint."""
    if held(note, checkpoint.origin, checkpoint.size) != checkpoint:
        raise Conflict(
            f"The anchor holds another checkpoint of {checkpoint.origin} at size {checkpoint.size}: the log was "
            "forked or set back, or somebody else writes to the anchor. Compare both before anything else.",
            code="anchor_conflict",
        )


def tampered(origin: str, size: int, how: str) -> Conflict:
    """What to raise when an anchor was written to by others than ``put``."""
    return Conflict(
        f"The anchor of {origin} was tampered with at size {size}: {how}. Whoever may write there is under suspicion.",
        code="anchor_tampered",
    )


def _segment(part: str) -> str:
    if not part:
        return "%"  # nothing else is written as a lone sign
    dots = "" if part.startswith(".") or part.endswith(".note") else "."
    return "".join(
        letter if letter in _PLAIN or letter == dots else "".join(f"%{byte:02X}" for byte in letter.encode())
        for letter in part
    )
