"""uvicorn's HTTP protocol, which offers applications an ``Exchange``.

An answer that is sent message by message has each of its headers read again by the server, and a body that has
arrived is waited for. For calls, which come and go whole, both are done at once here; the pieces of a stream are
sent as they come. Whatever is out of the ordinary (a connection that is to be closed, a client who does not read, one
who is gone) is declined, and is uvicorn's own as before.

Laws (each has a test of the same name)
---------------------------------------
- an_answer_is_the_same_to_the_byte, whichever way it is sent.
- what_is_out_of_the_ordinary_is_declined.
- no_header_breaks_out_of_its_line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from caio.api.asgi import EXCHANGE


class Exchanges(HttpToolsProtocol):
    """A connection whose requests have an ``Exchange``."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.scope[EXCHANGE] = _Cycle(cycle)  # type: ignore[literal-required]
        super()._start_asgi_task(cycle, app)


class _Cycle:
    """The exchange of one of uvicorn's cycles."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def body(self) -> bytes | None:
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected or cycle.response_complete:
            return None
        body, cycle.body = cycle.body, bytearray()
        cycle.waiting_for_100_continue = False  # it was not waited for
        cycle.message_event.clear()
        cycle.flow.resume_reading()
        return bytes(body)

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        cycle = self._cycle
        plain = cycle.keep_alive and not (cycle.response_started or cycle.disconnected or cycle.flow.write_paused)
        if not plain or cycle.scope["method"] == "HEAD":
            return False
        names, values = zip(*headers, strict=True)
        if HEADER_RE.search(b"".join(names)) or HEADER_VALUE_RE.search(b"".join(values)):
            return False
        lines = b"".join([b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)])
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[status], lines, body))
        cycle.message_event.set()
        cycle.on_response()
        return True

    def pieces(self) -> Callable[[bytes], bool] | None:
        cycle = self._cycle
        begun = cycle.response_started and cycle.chunked_encoding and not cycle.response_complete
        plain = begun and cycle.scope["method"] != "HEAD" and not cycle.flow.write_paused
        return self._piece if plain else None

    def _piece(self, piece: bytes) -> bool:
        cycle = self._cycle
        if cycle.disconnected:
            return False
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        return not cycle.flow.write_paused
