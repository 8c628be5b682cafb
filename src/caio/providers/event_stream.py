"""An incremental reader of AWS's binary event streams (``application/vnd.amazon.eventstream``).

Theory of operation
-------------------
A message is a prelude of twelve bytes (its whole length, the length of its headers, the CRC-32 of these eight
bytes), the headers, the payload, and the CRC-32 of all before. Bytes arrive in pieces of any size; what is no
whole message yet waits. The prelude is checked before its lengths are believed, so that a broken length neither
waits for gigabytes nor reads another message's bytes.

Laws (each has a test of the same name)
---------------------------------------
- reads_as_botocore_does: the messages of any stream, however it is split.
- a_flipped_bit_is_noticed: anywhere in a message.
- messages_are_bounded: EventStreamBroken for one beyond ``most`` bytes, before it has arrived.

Source: "Event stream encoding", https://smithy.io/2.0/aws/amazon-eventstream.html.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

MAX_MESSAGE = 1 << 20

_PRELUDE = struct.Struct(">III")
_LENGTH = struct.Struct(">H")
_CRC = struct.Struct(">I")
_OVERHEAD = _PRELUDE.size + _CRC.size

#: Bytes of the values of fixed size, by their type: two truth values, four integers, a time and a UUID.
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES, _TEXT = 6, 7


class EventStreamBroken(ValueError):
    """The bytes are no event stream, were changed on their way, or hold a message that is too long."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message; of its headers those whose values are text, which is all that services use."""

    headers: dict[str, str]
    payload: bytes


class MessageReader:
    """Feed it bytes; it gives the messages that they complete."""

    def __init__(self, most: int = MAX_MESSAGE) -> None:
        self._most = most
        self._waiting = bytearray()

    def feed(self, piece: bytes) -> Iterator[Message]:
        """The messages that ``piece`` completes, in order, to be read to the end; raises EventStreamBroken where one
        is broken, after those before it."""
        self._waiting += piece
        at = 0
        while (size := self._size(at)) is not None and at + size <= len(self._waiting):
            yield _message(bytes(self._waiting[at : at + size]))
            at += size
        del self._waiting[:at]

    @property
    def between_messages(self) -> bool:
        """Whether the stream could end here without cutting a message."""
        return not self._waiting

    def _size(self, at: int) -> int | None:
        """The whole length of the message at ``at``, once its prelude is there."""
        if at + _PRELUDE.size > len(self._waiting):
            return None
        size, headers, check = _PRELUDE.unpack_from(self._waiting, at)
        if crc32(self._waiting[at : at + 8]) != check:
            raise EventStreamBroken("a message's prelude does not match its checksum")
        if not _OVERHEAD + headers <= size <= self._most:
            raise EventStreamBroken(f"a message's lengths contradict each other, or it is longer than {self._most}")
        return int(size)


def _message(raw: bytes) -> Message:
    if crc32(raw[: -_CRC.size]) != _CRC.unpack(raw[-_CRC.size :])[0]:
        raise EventStreamBroken("a message does not match its checksum")
    end = _PRELUDE.size + _PRELUDE.unpack_from(raw)[1]
    try:
        return Message(_headers(raw[_PRELUDE.size : end]), raw[end : -_CRC.size])
    except (IndexError, struct.error, UnicodeDecodeError):
        pass
    raise EventStreamBroken("a message's headers cannot be read")  # outside the handler, whose error may quote it


def _headers(raw: bytes) -> dict[str, str]:
    found, at = {}, 0
    while at < len(raw):
        name = raw[at + 1 : at + 1 + raw[at]].decode()
        at += 1 + raw[at]
        kind, at = raw[at], at + 1
        if kind in (_BYTES, _TEXT):
            size = _LENGTH.unpack_from(raw, at)[0]
            at += _LENGTH.size
            if kind == _TEXT:
                found[name] = raw[at : at + size].decode()
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise IndexError(kind)
        at += size
    if at != len(raw):
        raise IndexError(at)
    return found
