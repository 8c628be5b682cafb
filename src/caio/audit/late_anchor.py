"""An anchor that may be away when the process starts: it is opened at its first use that finds it there.

A wrong setting shall end the start, a place that does not answer shall not: nothing waits for anchoring.

Laws (each has a test of the same name)
---------------------------------------
- a_start_does_not_wait_for_the_anchor: for longer than OPENING_SECONDS; what is anchored later goes there.
- a_wrong_setting_ends_the_start: if the anchor answers then; later it is reported as NotReady.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Self

from caio.audit.ports import Anchor
from caio.foundation.errors import Misconfigured, NotReady

#: How long a start waits for an anchor that takes connections and says nothing.
OPENING_SECONDS = 5.0


class LateAnchor:
    """The ``Anchor`` port over the one that ``opening`` gives."""

    def __init__(self, opening: Callable[[], Awaitable[Anchor]]) -> None:
        self._opening = opening
        self._anchor: Anchor | None = None

    @classmethod
    async def open(cls, opening: Callable[[], Awaitable[Anchor]]) -> Self:
        """Try once. Raises what ``opening`` raises, but for NotReady."""
        late = cls(opening)
        with suppress(NotReady, TimeoutError):
            async with asyncio.timeout(OPENING_SECONDS):
                late._anchor = await opening()
        return late

    async def put(self, origin: str, size: int, note: str) -> None:
        await (await self._opened()).put(origin, size, note)

    async def latest(self, origin: str) -> str | None:
        return await (await self._opened()).latest(origin)

    async def notes(self, origin: str, after: int = -1) -> AsyncIterator[str]:
        async for note in (await self._opened()).notes(origin, after):
            yield note

    async def _opened(self) -> Anchor:
        if self._anchor is None:
            try:
                self._anchor = await self._opening()
            except Misconfigured as error:
                raise NotReady(error.message) from error
        return self._anchor
