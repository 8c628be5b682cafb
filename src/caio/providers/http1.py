"""One HTTP/1.1 connection to a service, used for one exchange after another.

Theory of operation
-------------------
llhttp (``httptools``) reads the answers, in its strict mode: what could be read in two ways is an error. What
it has read of a body waits here until it is taken; beyond HELD_BYTES the socket is not read any more, so that
a service that is faster than its reader is held up by TCP. An exchange has one deadline; its timer is that of the
exchange before, where it goes off in time, and is set anew when it does.

A connection is used again only when nothing at all is left of the exchange before: the answer came to its end,
no byte came after it, and the request was written in full. A byte that arrives while nobody asked ends it.

Laws (each has a test of the same name)
---------------------------------------
- interim_answers_are_skipped (RFC 9110, section 15.2).
- a_body_without_a_length_ends_with_the_connection (RFC 9112, section 6.3), and any other is cut by that; a reset
  cuts every one.
- what_nobody_asked_for_ends_the_connection: it never answers the next request.
- a_slow_reader_holds_up_the_service.
- each_exchange_has_its_own_deadline.
- heads_are_bounded: each line, their number, and what is neither head nor body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import cast

import httptools

from caio.foundation.errors import UpstreamFault

#: Bytes of a body that wait for their reader before the socket is left alone.
HELD_BYTES = 1 << 18

#: The most that is read of a body before others have their turn.
STEP_BYTES = 1 << 14

#: The most bytes in a row that bring nothing of a body: a head, a chunk's extensions, trailers.
BARREN_BYTES = 1 << 16

_SWITCHING = 101


class Connection(asyncio.Protocol):
    """``begin`` an exchange, read it, and ``end`` it before the next. ``lost`` is called once, when it is closed.

    ``status`` and ``headers`` (names in lower case, the first of each) hold once it ``awaits_head`` no more, with no
    ``failure``. A failure is CUT, GARBAGE or LATE; what came before it can still be taken.
    """

    CUT, GARBAGE, LATE = UpstreamFault.UPSTREAM, UpstreamFault.GARBAGE, UpstreamFault.TIMEOUT

    def __init__(self, most_headers: int, longest_header: int, lost: Callable[[Connection], None]) -> None:
        self._most_headers = most_headers
        self._longest_header = longest_header
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[bool] | None = None
        self._take: Callable[[bytes], bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = inf  # of the exchange, where there is one
        self._transport: asyncio.Transport
        self._pieces: list[bytes] = []
        self._held = self._barren = self._counted = 0
        self._paused = self._reusable = self._interim = self._bodiless = self._head = False
        self.is_closed = False
        self.idle_since = 0.0
        self.sent = False  # whether anything of this exchange's request may have left
        self.answered = False  # whether anything arrived in this exchange
        self.complete = True
        self.failure: UpstreamFault | None = None
        self.status = 0
        self.headers: dict[bytes, bytes] = {}

    # --- the exchange

    def begin(self, request: bytes, deadline: float, *, bodiless: bool = False) -> None:
        """Send a request; what arrives from now on answers it, until the ``deadline`` of the loop's clock."""
        self.headers = {}
        self.failure = self._take = None
        self._barren = self._counted = 0
        self._head = self.complete = self.sent = self.answered = self._reusable = False
        self._bodiless = bodiless
        if self.is_closed or self._transport.is_closing():
            self._fail(self.CUT)
            return
        self._deadline = deadline
        if self._timer is None or self._timer.when() > deadline:
            self._set_timer()
        self.sent = True
        self._transport.write(request)

    @property
    def awaits_head(self) -> bool:
        """Whether there is ``news`` to be waited for before the answer's head has come, or its failure."""
        return not self._head and self.failure is None

    def taken(self) -> bytes | None:
        """What has arrived of the body, at least a byte; empty at its end, and at a failure; None while there is
        ``news`` to be waited for."""
        pieces = self._pieces
        if not pieces:
            return b"" if self.complete or self.failure is not None else None
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._let_go()
        return piece

    def news(self, take: Callable[[bytes], bool] | None = None) -> asyncio.Future[bool]:
        """Done when something has come of the answer, or it has ended. For one who waits at a time.

        What comes of the body is given to ``take`` at once, in steps of STEP_BYTES at most, and is no news until that
        returns False: then the news is True. It is the waiter who is told what ``take`` raises."""
        self._take = take
        self._waiter = waiter = self._loop.create_future()
        return waiter

    @property
    def is_taken(self) -> bool:
        """Whether the whole answer has arrived, and all of it was taken."""
        return self.complete and not self._pieces

    def end(self) -> bool:
        """Leave the exchange, wherever it is; whether the connection can have another one. If not, it is closed."""
        self._deadline = inf
        self._let_go()
        transport = self._transport
        if self._reusable and not transport.is_closing() and not transport.get_write_buffer_size():
            return True
        transport.abort()
        return False

    def abort(self) -> None:
        """Close it at once; an exchange that is under way is cut."""
        self._transport.abort()

    def _let_go(self) -> None:
        """Hold no body any more, and read on."""
        self._pieces.clear()
        self._held = 0
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._loop.time() >= self._deadline:
            self._fail(self.LATE)
        elif self._deadline < inf:
            self._set_timer()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(False)

    def _give(self, take: Callable[[bytes], bool]) -> None:
        """Give what has come to ``take``, where somebody waits; wake who waits when there is news for it."""
        waiter = self._waiter
        if waiter is None or waiter.done() or self._held > STEP_BYTES:
            self._wake()
        elif (piece := self.taken()) is None:  # nothing of the body
            return
        elif not piece:
            self._wake()
        else:
            try:
                goes_on = take(piece)
            except Exception as error:  # noqa: BLE001 - it is the waiter's
                self._waiter = None
                waiter.set_exception(error)
                return
            if not goes_on:
                self._waiter = None
                waiter.set_result(True)
            elif self.complete or self.failure is not None:
                self._wake()

    def _fail(self, fault: UpstreamFault) -> None:
        if not self.complete and self.failure is None:
            self.failure = fault
            self._transport.abort()
            self._wake()

    # --- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.complete:
            self._reusable = False
            self._transport.abort()
            return
        self.answered = True
        self._barren += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._reusable = False
        except httptools.HttpParserError:
            self._reusable = False
            self._fail(self.GARBAGE)
        if self._barren > BARREN_BYTES:
            self._fail(self.GARBAGE)
        if self._take is None:
            self._wake()
        else:
            self._give(self._take)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        # A reset is no end of a body: only a connection that was closed in order has told all.
        ended = error is None and self._ends_with_connection()
        if self._head and not self.complete and self.failure is None and ended:
            self.complete = True
        if not self.complete and self.failure is None:
            self.failure = self.CUT
        self._wake()
        self._lost(self)

    def _ends_with_connection(self) -> bool:
        return not (self._bodiless or b"content-length" in self.headers or b"transfer-encoding" in self.headers)

    # --- what the parser tells

    def on_message_begin(self) -> None:
        if self.complete:  # more than was asked for
            self._reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._counted += 1
        if self._counted > self._most_headers or len(name) + len(value) > self._longest_header:
            self._fail(self.GARBAGE)
        elif not self._head:
            self.headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        self.status = status = self._parser.get_status_code()
        if 100 <= status < 200 and status != _SWITCHING:
            self._interim = True
            self.headers = {}
            return
        self._head = True
        if self._bodiless:
            self.complete = True

    def on_body(self, body: bytes) -> None:
        self._barren = 0
        if self.complete:
            return
        self._pieces.append(body)
        self._held += len(body)
        if self._held > HELD_BYTES and not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        elif not self.complete and self.failure is None:
            self.complete = True
            self._reusable = self._parser.should_keep_alive() and self.status != _SWITCHING
