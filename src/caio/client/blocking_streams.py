"""What ``caio.Client`` gives piece by piece: chats, and the events of a run."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

import httpx2

from caio.client import answers, calls
from caio.client.errors import Misused, StreamBroken
from caio.client.exchange import Call, Received
from caio.client.streams import ChatEvents, RunEvents, broken
from caio.client.transport import lost_by

if TYPE_CHECKING:
    from caio.client.blocking import Client


class ChatStream:
    """A chat completion, piece by piece. Iterate it to the end, or close it: that cancels what is left of the call.

    It begins when it is entered or first iterated; ``routing`` is known from then on.
    """

    def __init__(self, client: Client, call: Call[Received]) -> None:
        self._client = client
        self._call = call
        self._received: Received | None = None
        self._closed = False
        self._chunks = self._iterate()

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[answers.ChatChunk]:
        return self

    def __next__(self) -> answers.ChatChunk:
        return next(self._chunks)

    @property
    def routing(self) -> answers.Routing:
        """Which decision it comes of, and which service tells it. Raises Misused before it has begun."""
        if self._received is None:
            raise Misused("the stream has not begun: enter it, or take its first piece")
        return calls.routing_of(self._received)

    def text(self) -> str:
        """All the text that is still to come."""
        return "".join(chunk.text for chunk in self)

    def close(self) -> None:
        """Nothing more is wanted of it."""
        self._closed = True
        if self._received is not None:
            self._received.opened.close()

    def _open(self) -> Received:
        if self._received is None:
            if self._closed:
                raise Misused("the stream is closed")
            self._received = self._client._ask(self._call)
        return self._received

    def _iterate(self) -> Iterator[answers.ChatChunk]:
        response, events = self._open().opened, ChatEvents()
        try:
            for piece in response.iter_bytes():
                yield from events.feed(piece)
                if events.ended:
                    break
            events.close()
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            fault: StreamBroken = broken(str(lost_by(error)))
        else:
            return
        finally:
            response.close()
        raise fault


def run_events(client: Client, run_id: str, after: str) -> Iterator[answers.RunEvent]:
    """A run's events to its last; where the connection breaks, another begins behind the event that came last."""
    events = RunEvents(after)
    while not events.ended:
        response = client._ask(calls.run_events(run_id, events.last)).opened
        try:
            for piece in response.iter_bytes():
                yield from events.feed(piece)
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            why = str(lost_by(error))
        else:
            # A proxy may end an answer in good order that is none; the run itself knows.
            if events.ended or (client._ask(calls.run_of(run_id))).has_ended:
                return
            why = "it was cut off"
        finally:
            response.close()
        events.interrupted(why)
