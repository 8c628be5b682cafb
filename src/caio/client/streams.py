"""What a stream's events say: pieces, the end, or that it broke.

Laws (each has a test of the same name)
---------------------------------------
- a_cut_stream_never_looks_complete: without its end mark it raises StreamBroken.
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


def broken(why: str) -> StreamBroken:
    return StreamBroken(f"the stream is not complete: {why}")


def _chunk(data: str) -> answers.ChatChunk:
    try:
        raw: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
        error = raw.get("error")
        if isinstance(error, dict):
            decision_id = error.get("decision_id")
            raise StreamBroken(str(error.get("message")), code=str(error.get("code")), decision_id=decision_id)
        return msgspec.convert({**raw, "raw": raw}, answers.ChatChunk, strict=False)
    except (msgspec.DecodeError, msgspec.ValidationError) as fault:
        raise broken(f"it holds what is no chunk ({fault})") from None
