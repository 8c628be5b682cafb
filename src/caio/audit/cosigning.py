"""Having witnesses cosign a log's checkpoints.

Each witness is asked with a proof from the size that it cosigned last, as far as this process knows; one
that knows another size says so and is asked once more. A witness that does not cosign is left out and
logged, once until it cosigns again: it can neither stop a log nor hold it up for longer than its time-out.
One that did not answer at all is left alone for a while, since thousands of logs may be waiting behind it.

Laws (each has a test of the same name)
---------------------------------------
- every_witness_that_answers_cosigns: also one whose size was not known, by asking it twice.
- a_witness_that_fails_is_left_out: the others' lines are there.
- a_silent_witness_is_not_waited_for_by_every_log: it is asked again after QUIET_SECONDS.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from caio.audit.forks import Tiles
from caio.audit.notes import VerifierKey
from caio.audit.ports import LogHead
from caio.audit.tiles import TileId, consistency_proof, tiles_for_consistency
from caio.audit.witnessing import WitnessConflict, add_cosignature
from caio.foundation.errors import CaioError, UpstreamFailed, UpstreamFault

_logger = structlog.get_logger("caio.audit")

#: How long a witness that did not answer is not asked again.
QUIET_SECONDS = 30.0

_SILENCE = frozenset({UpstreamFault.TIMEOUT, UpstreamFault.UNREACHABLE})


class Witness(Protocol):
    """One witness, and the key that its cosignatures are verified with."""

    @property
    def key(self) -> VerifierKey: ...

    async def cosign(self, note: str, old_size: int, proof: Sequence[bytes]) -> str:
        """The witness' verified line. Raises WitnessConflict when it knows another size, and other errors of
        CAIO's when it does not cosign."""
        ...


class Cosigners:
    """The witnesses of this installation's logs."""

    def __init__(
        self, witnesses: Sequence[Witness], store: Tiles, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._witnesses = witnesses
        self._store = store
        self._monotonic = monotonic
        self._quiet_until: dict[str, float] = {}  # by witness
        self._sizes: dict[tuple[str, str], int] = {}  # by witness and origin
        self._failing: set[str] = set()

    async def cosigned(self, head: LogHead) -> str:
        """The head's checkpoint with the lines of all witnesses that cosign it now."""
        lines = await asyncio.gather(*(self._line(witness, head) for witness in self._witnesses))
        note = head.checkpoint
        for line in lines:
            if line is not None:
                note = add_cosignature(note, line)
        return note

    async def _line(self, witness: Witness, head: LogHead) -> str | None:
        name = witness.key.name
        if self._monotonic() < self._quiet_until.get(name, 0.0):
            return None
        try:
            line = await self._ask(witness, head)
        except CaioError as error:
            if isinstance(error, UpstreamFailed) and error.fault in _SILENCE:
                self._quiet_until[name] = self._monotonic() + QUIET_SECONDS
            if name not in self._failing:
                _logger.warning(
                    "witness_failing", witness=name, origin=head.origin, code=error.code, detail=error.message
                )
            self._failing.add(name)
            return None
        if name in self._failing:
            _logger.info("witness_recovered", witness=name)
            self._failing.discard(name)
        self._sizes[name, head.origin] = head.size
        return line

    async def _ask(self, witness: Witness, head: LogHead) -> str:
        known = min(self._sizes.get((witness.key.name, head.origin), 0), head.size)
        try:
            return await witness.cosign(head.checkpoint, known, await self._proof(head, known))
        except WitnessConflict as conflict:
            if conflict.forked or conflict.size > head.size:
                raise
            return await witness.cosign(head.checkpoint, conflict.size, await self._proof(head, conflict.size))

    async def _proof(self, head: LogHead, old: int) -> list[bytes]:
        if old in (0, head.size):
            return []
        needed = tiles_for_consistency(old, head.size)
        found = await self._store.tiles_of(head.tenant_id, [(tile.level, tile.index) for tile in needed])
        return consistency_proof(old, head.size, {TileId(*place): content for place, content in found.items()})
