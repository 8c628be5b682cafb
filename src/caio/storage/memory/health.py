"""Breakers told within one process: where one process serves, and for gateways of a test."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from caio.gateway.breakers import MOST
from caio.gateway.health import Change


class Board:
    """What was told last of each breaker, latest last."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, str, str], tuple[int, Change]] = OrderedDict()
        self._number = 0

    def write(self, change: Change) -> None:
        self._number += 1
        self._told[change[:3]] = self._number, change
        self._told.move_to_end(change[:3])
        if len(self._told) > MOST:
            self._told.popitem(last=False)

    def since(self, number: int) -> tuple[int, list[Change]]:
        """The latest number, and what was told after the one given."""
        found: list[Change] = []
        for told_at, change in reversed(self._told.values()):
            if told_at <= number:
                break
            found.append(change)
        return self._number, found[::-1]


class BoardHealth:
    """The ``SharedHealth`` port: one reader's view of a board."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._read = 0

    async def tell(self, changes: Sequence[Change]) -> None:
        for each in changes:
            self._board.write(each)

    async def told(self) -> Sequence[Change]:
        self._read, found = self._board.since(self._read)
        return found
