"""Server-sent events (WHATWG HTML, 9.2), from bytes in any pieces. Pure.

Laws (each has a test of the same name)
---------------------------------------
- pieces_do_not_matter: the same bytes in other pieces give the same events.
- an_event_is_bounded: one larger than MOST_BYTES raises StreamBroken.
"""

from __future__ import annotations

from dataclasses import dataclass

from caio.client.errors import StreamBroken

MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """``id`` is the last that the stream named, also in an earlier event."""

    data: str
    name: str = "message"
    id: str = ""


class Events:
    """Feed it what arrives; it gives the events that are complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._size = 0
        self._data: list[str] = []
        self._name = ""
        self._id = ""

    def feed(self, piece: bytes) -> list[Event]:
        """Raises StreamBroken for an event that is too large or no text."""
        self._rest += piece
        # A piece may end between the two bytes of a line's end; the line is then not over yet.
        held = self._rest.endswith(b"\r")
        lines = (self._rest[:-1] if held else self._rest).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + (b"\r" if held else b"")
        found = [event for line in lines if (event := self._line(line)) is not None]
        if self._size + len(self._rest) > MOST_BYTES:
            raise StreamBroken("the stream sent an event that is larger than any of CAIO's")
        return found

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatched()
        self._size += len(line)
        try:
            field, _, value = line.decode().partition(":")
        except UnicodeDecodeError:
            raise StreamBroken("the stream sent what is no text") from None
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        elif field == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatched(self) -> Event | None:
        data, name = self._data, self._name
        self._data, self._name, self._size = [], "", 0
        return Event("\n".join(data), name or "message", self._id) if data else None
