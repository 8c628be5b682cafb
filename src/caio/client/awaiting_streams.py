"""What ``caio.AsyncClient`` gives piece by piece: chats, and the events of a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

import httpx2

from caio.client import answers, calls
from caio.client.errors import Misused, StreamBroken
from caio.client.exchange import Call, Received
from caio.client.streams import ChatEvents, RunEvents, broken
from caio.client.transport import lost_by

if TYPE_CHECKING:
    from caio.client.awaiting import AsyncClient


class AsyncChatStream:
    """A chat completion, piece by piece. Iterate it to the end, or close it: that cancels what is left of the call.

    It begins when it is entered or first iterated; ``routing`` is known from then on.
    """

    def __init__(self, client: AsyncClient, call: Call[Received]) -> None:
        self._client = client
        self._call = call
        self._received: Received | None = None
        self._closed = False
        self._chunks = self._iterate()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[answers.ChatChunk]:
        return self

    async def __anext__(self) -> answers.ChatChunk:
        return await anext(self._chunks)

    @property
    def routing(self) -> answers.Routing:
        """Which decision it comes of, and which service tells it. Raises Misused before it has begun."""
        if self._received is None:
            raise Misused("the stream has not begun: enter it, or take its first piece")
        return calls.routing_of(self._received)

    async def text(self) -> str:
        """All the text that is still to come."""
        return "".join([chunk.text async for chunk in self])

    async def close(self) -> None:
        """Nothing more is wanted of it."""
        self._closed = True
        if self._received is not None:
            await self._received.opened.aclose()

    async def _open(self) -> Received:
        if self._received is None:
            if self._closed:
                raise Misused("the stream is closed")
            self._received = await self._client._ask(self._call)
        return self._received

    async def _iterate(self) -> AsyncIterator[answers.ChatChunk]:
        response, events = (await self._open()).opened, ChatEvents()
        try:
            async for piece in response.aiter_bytes():
                for chunk in events.feed(piece):
                    yield chunk
                if events.ended:
                    break
            events.close()
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            fault: StreamBroken = broken(str(lost_by(error)))
        else:
            return
        finally:
            await response.aclose()
        raise fault


async def run_events(client: AsyncClient, run_id: str, after: str) -> AsyncIterator[answers.RunEvent]:
    """A run's events to its last; where the connection breaks, another begins behind the event that came last."""
    events = RunEvents(after)
    while not events.ended:
        response = (await client._ask(calls.run_events(run_id, events.last))).opened
        try:
            async for piece in response.aiter_bytes():
                for event in events.feed(piece):
                    yield event
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            why = str(lost_by(error))
        else:
            # A proxy may end an answer in good order that is none; the run itself knows.
            if events.ended or (await client._ask(calls.run_of(run_id))).has_ended:
                return
            why = "it was cut off"
        finally:
            await response.aclose()
        events.interrupted(why)
