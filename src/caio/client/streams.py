"""What a stream's events say: pieces, the end, or that it broke.

Laws (each has a test of the same name)
---------------------------------------
- a_cut_stream_never_looks_complete: without its end mark it raises StreamBroken.
- a_run_is_followed_to_its_end: however often the connection breaks, each event comes once, in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from caio.client import answers
from caio.client.errors import StreamBroken
from caio.client.sse import Events

_END = "[DONE]"


class ChatEvents:
    """The chunks of one chat stream. Feed it bytes; ``ended`` once there is no more to come."""

    def __init__(self) -> None:
        self._events = Events()
        self.ended = False

    def feed(self, piece: bytes) -> Iterator[answers.ChatChunk]:
        """Raises StreamBroken for what the server says of a break, and for what is no chunk."""
        for event in self._events.feed(piece):
            if self.ended:
                return
            if event.data == _END:
                self.ended = True
            else:
                yield _chunk(event.data)

    def close(self) -> None:
        """The bytes have come to an end; raises StreamBroken unless the stream has too."""
        if not self.ended:
            raise broken("it was cut off")


#: Connections in a row that may break without having brought an event.
MOST_IN_VAIN = 5


class RunEvents:
    """The events of one run, over as many connections as it takes. ``last`` is where the next is to begin."""

    def __init__(self, after: str) -> None:
        self.last = after
        self.ended = False
        self._events = Events()
        self._in_vain = 0

    def feed(self, piece: bytes) -> Iterator[answers.RunEvent]:
        """Raises StreamBroken for what the server says of a break."""
        for event in self._events.feed(piece):
            document = _object(event.data)
            if event.name == "error":
                raise StreamBroken("the server ended the stream", code=str(document.get("code")))
            self.last, self._in_vain = event.id, 0
            self.ended = event.name.startswith("run.") and event.name.removeprefix("run.") in answers.ENDED
            at = document.pop("at", 0)
            yield answers.RunEvent(id=event.id, kind=event.name, at=at if isinstance(at, int) else 0, document=document)

    def interrupted(self, why: str) -> None:
        """The connection has ended; raises StreamBroken when it is no use to try again."""
        self._events = Events()
        self._in_vain += 1
        if not self.ended and self._in_vain > MOST_IN_VAIN:
            raise broken(why)


def broken(why: str) -> StreamBroken:
    return StreamBroken(f"the stream is not complete: {why}")


def _chunk(data: str) -> answers.ChatChunk:
    try:
        raw = _object(data)
        error = raw.get("error")
        if isinstance(error, dict):
            decision_id = error.get("decision_id")
            raise StreamBroken(str(error.get("message")), code=str(error.get("code")), decision_id=decision_id)
        return msgspec.convert({**raw, "raw": raw}, answers.ChatChunk, strict=False)
    except msgspec.ValidationError as fault:
        raise broken(f"it holds what is no chunk ({fault})") from None


def _object(data: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as fault:
        raise broken(f"it holds what is no JSON object ({fault})") from None
