"""An answer of a service, from the request that asks for it to the last byte that is read of it.

Its laws are those of ``outbound``, whose calls it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.providers.http1 import STEP_BYTES, Connection

if TYPE_CHECKING:
    from caio.providers.dialling import Origin
    from caio.providers.outbound import OutboundClient

DRAIN_SECONDS = 0.05

#: What is read of a failed answer's body, and for how long.
BRIEF_BYTES = 1 << 16
BRIEF_SECONDS = 1.0

#: A kept connection that was closed in the meantime shows that within this time of the request.
STALE_SECONDS = 1.0

_FAILED = {
    Connection.CUT: "ended the connection before its answer was complete",
    Connection.GARBAGE: "answered something that is not HTTP, or headers that are too large",
    Connection.LATE: "did not answer in time",
}


class Answer:
    """An exchange: entering it sends the request and waits for the answer's head, whatever its status; leaving
    it before the end of the answer cancels the call. All of it raises UpstreamFailed only."""

    __slots__ = (
        "_bodiless",
        "_client",
        "_connection",
        "_deadline",
        "_left",
        "_origin",
        "_raw",
        "_rest",
        "_subject",
        "_twice",
        "status",
    )

    def __init__(
        self,
        client: OutboundClient,
        origin: Origin,
        raw: bytes,
        subject: str,
        deadline: float,
        most: int,
        *,
        bodiless: bool,
        twice: bool,
    ) -> None:
        self._client = client
        self._origin = origin
        self._raw = raw
        self._subject = subject
        self._deadline = deadline
        self._left = most
        self._bodiless = bodiless
        self._twice = twice
        self._rest = b""
        self._connection: Connection
        self.status = 0

    async def __aenter__(self) -> Self:
        client = self._client
        now = asyncio.get_running_loop().time
        kept, began = client.pool.idle(self._origin), now()
        connection = kept or await client.connected(self._origin, self._subject, self._deadline)
        while True:
            self._connection = connection
            connection.begin(self._raw, self._deadline, bodiless=self._bodiless)
            try:
                while connection.awaits_head:
                    await connection.news()
            except BaseException:
                connection.end()
                raise
            failure = connection.failure
            if failure is None:
                self.status = connection.status
                return self
            connection.end()
            stale = failure is Connection.CUT and connection is kept and not kept.answered
            if not stale or (connection.sent and not (self._twice and now() - began < STALE_SECONDS)):
                raise self._failed(failure)
            connection = await client.connected(self._origin, self._subject, self._deadline, new=True)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection.end():
            self._client.pool.give_back(self._connection, self._origin)

    def header(self, name: str) -> str | None:
        value = self._connection.headers.get(name.lower().encode())
        return None if value is None else value.decode("latin-1")

    @property
    def media_type(self) -> str:
        """The content type in lower case without its parameters; empty when there is none."""
        stated = self._connection.headers.get(b"content-type", b"")
        return stated.decode("latin-1").partition(";")[0].strip().lower()

    async def next_piece(self) -> bytes:
        """Some bytes as they arrived; empty at the end. Too many are GARBAGE, a cut is UPSTREAM."""
        while (piece := self._taken()) is None:
            await self._connection.news()
        return piece

    async def next_step(self) -> bytes:
        """Like ``next_piece``, but no more at once than others on the loop can wait for while it is read: of frames
        of a few bytes there are tens of thousands in a piece."""
        if self._rest:
            await asyncio.sleep(0)
            piece: bytes | None = self._rest
            self._rest = b""
        else:
            piece = self._taken()
        while piece is None:
            await self._connection.news()
            piece = self._taken()
        return self._step(piece)

    async def give(self, take: Callable[[bytes], bool]) -> bool:
        """Give the steps to ``take``, each as soon as it has arrived and with no task between, until that returns
        False; whether it did, and the answer has not come to its end. Raises what ``take`` raises."""

        def at_once(piece: bytes) -> bool:
            self._count(piece)
            return take(piece)

        while True:
            if self._rest:
                piece: bytes | None = await self.next_step()
            elif (piece := self._taken()) is None:
                if await self._connection.news(at_once):
                    return True
                continue
            if not piece:
                return False
            if not take(self._step(piece)):
                return True

    def _step(self, piece: bytes) -> bytes:
        """The first step of a piece; the rest is for the next."""
        if len(piece) > STEP_BYTES:
            self._rest = piece[STEP_BYTES:]
            return piece[:STEP_BYTES]
        return piece

    def _count(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            raise UpstreamFailed(f"{self._subject} answered more than is accepted", UpstreamFault.GARBAGE)

    def _taken(self) -> bytes | None:
        """The next piece, if it is there."""
        piece = self._connection.taken()
        if piece:
            self._count(piece)
        elif piece is not None and self._connection.failure is not None:
            raise self._failed(self._connection.failure)
        return piece

    async def read(self) -> bytes:
        """The whole body."""
        piece = self._taken()
        if piece is None:
            piece = await self.next_piece()
        if not self._connection.is_taken:
            pieces = [piece]
            while piece := await self.next_piece():
                pieces.append(piece)
            piece = b"".join(pieces)
        return piece

    async def read_in_brief(self) -> bytes:
        """The whole body where it is short and comes soon, else nothing: of an answer whose status says enough."""
        self._left = min(self._left, BRIEF_BYTES)
        try:
            async with asyncio.timeout(BRIEF_SECONDS):
                return await self.read()
        except (TimeoutError, UpstreamFailed):
            return b""

    async def finish(self) -> None:
        """Read what is left of an answer that is complete in substance, for a moment only, so that
        the connection can be used again. What arrives late, or too much, costs the connection."""
        if self._connection.complete:
            return
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while await self.next_piece():
                    pass
        except (TimeoutError, UpstreamFailed):
            self._connection.abort()

    def _failed(self, fault: UpstreamFault) -> UpstreamFailed:
        return UpstreamFailed(f"{self._subject} {_FAILED[fault]}", fault)
