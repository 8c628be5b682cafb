"""An incremental reader of event streams (WHATWG HTML, section 9.2.6, "event stream interpretation").

Theory of operation
-------------------
Bytes arrive in pieces of any size. Complete lines are read at once; what follows the last line end
waits, as pieces, until its own line end arrives, so that a long line costs linear time. A line ends
with CR, LF or CRLF; a CR at the end of a piece ends its line immediately, and a LF that then opens
the next piece belongs to it. Line ends are never part of a multi-byte UTF-8 character, so the reader
works on bytes and leaves decoding to whoever knows what the data is.

Most pieces are whole events of one ``data`` line each: these are not read line by line.

Laws (each has a test of the same name)
---------------------------------------
- chunking_does_not_matter: any split of the same bytes gives the same events.
- reads_as_the_standard_says: compared with a slow reader of the whole text.
- lines_and_events_are_bounded: EventTooLong beyond ``most`` bytes, and beyond MAX_EVENTS of them: whoever keeps
  them needs many times the bytes of small ones.

An event without its closing blank line is never given: it may have been cut. ``id`` and ``retry`` serve
reconnection, which a call to a service does not do; the protocols that are spoken repeat an event's type in its
data. They are ignored.
"""

from __future__ import annotations

MAX_EVENT = 1 << 20
MAX_EVENTS = 1 << 17
_BOM = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """A line, an event's data or the stream's number of events is more than the reader accepts."""


class EventReader:
    """Feed it bytes; it gives the data of the events that they complete: their data lines, joined by LF."""

    def __init__(self, most: int = MAX_EVENT) -> None:
        self._most = most
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._after_cr = False
        self._at_start = True
        self._data: list[bytes] = []
        self._data_size = 0
        self._between_events = False
        self._given = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The events that ``piece`` completes, in order; raises EventTooLong."""
        events = self._plain(piece) if self._between_events else None
        if events is None:
            events = self._read(piece)
            self._between_events = not (self._at_start or self._after_cr or self._waiting or self._data)
        self._given += len(events)
        if self._given > MAX_EVENTS:
            raise EventTooLong(f"a stream has more than {MAX_EVENTS} events")
        return events

    def _plain(self, piece: bytes) -> list[bytes] | None:
        """The events of a piece that is nothing but events of one data line each; None for any other."""
        if not piece.endswith(b"\n\n") or b"\r" in piece or len(piece) > self._most:
            return None
        if piece.startswith(b"data: ") and piece.find(b"\n") == len(piece) - 2:
            return [piece[6:-2]]
        events = piece[:-2].split(b"\n\n")
        for place, event in enumerate(events):
            if not event.startswith(b"data:") or b"\n" in event:
                return None
            events[place] = event[6:] if event.startswith(b" ", 5) else event[5:]
        return events

    def _read(self, piece: bytes) -> list[bytes]:
        if self._at_start:
            piece = self._without_bom(piece)
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")
        if not piece:
            return []
        if b"\n" not in piece and b"\r" not in piece:
            self._wait(piece)
            return []
        lines = b"".join((*self._waiting, piece)).splitlines(keepends=True)
        self._waiting, self._waiting_size = [], 0
        rest = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        self._after_cr = not rest and lines[-1].endswith(b"\r")
        events = [event for line in lines if (event := self._line(line.rstrip(b"\r\n"))) is not None]
        self._wait(rest)
        return events

    def _without_bom(self, piece: bytes) -> bytes:
        """Drop one byte order mark at the very start, which may itself arrive in pieces."""
        start = b"".join((*self._waiting, piece))
        self._waiting, self._waiting_size = [], 0
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._wait(start)
            return b""
        self._at_start = False
        return start.removeprefix(_BOM)

    def _wait(self, piece: bytes) -> None:
        if piece:
            self._waiting.append(piece)
            self._waiting_size += len(piece)
            if self._waiting_size > self._most:
                raise EventTooLong(f"a line of the stream is longer than {self._most} bytes")

    def _line(self, line: bytes) -> bytes | None:
        if not line:
            return self._dispatch()
        if len(line) > self._most:
            raise EventTooLong(f"a line of the stream is longer than {self._most} bytes")
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._data_size += len(value) + 1
            if self._data_size > self._most:
                raise EventTooLong(f"an event of the stream is longer than {self._most} bytes")
        return None

    def _dispatch(self) -> bytes | None:
        data, self._data, self._data_size = self._data, [], 0
        return b"\n".join(data) if data else None
