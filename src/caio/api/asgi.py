"""The names of ASGI's parts, for applications that are written without a framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Where a scope has its ``Exchange``, if the server offers one. Who gives an application another ``receive`` or
#: ``send`` takes it out.
EXCHANGE = "caio.exchange"


class Exchange(Protocol):
    """What a server can do at once of what ASGI does message by message; it may decline at any time."""

    def body(self) -> bytes | None:
        """The whole body, once: where all of it has arrived and nothing of it was received."""
        ...

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send a whole answer, whose headers state its length; False when nothing was sent."""
        ...

    def pieces(self) -> Callable[[bytes], bool] | None:
        """What sends a further piece, never empty, of an answer that was begun and goes on; it says whether the next
        piece may be sent so, too. None when none may."""
        ...
