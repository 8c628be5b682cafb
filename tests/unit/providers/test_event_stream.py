"""The laws of the event-stream reader, beside botocore's own."""

import struct
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from caio.providers.event_stream import EventStreamBroken, Message, MessageReader
from tests.support.event_streams import message

headers = st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=40), max_size=4)
messages = st.lists(st.tuples(headers, st.binary(max_size=80)), min_size=1, max_size=5)


@given(messages, st.data())
def test_reads_as_botocore_does(drawn: list[tuple[dict[str, str], bytes]], data: st.DataObject) -> None:
    stream = b"".join(message(*each) for each in drawn)
    theirs = EventStreamBuffer()
    theirs.add_data(stream)
    expected = [Message(dict(each.headers), each.payload) for each in theirs]
    reader, rest = MessageReader(), stream
    found: list[Message] = []
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        found += reader.feed(rest[:size])
        rest = rest[size:]
    assert found == expected == [Message(*each) for each in drawn]
    assert reader.between_messages


@given(messages, st.data())
def test_a_flipped_bit_is_noticed(drawn: list[tuple[dict[str, str], bytes]], data: st.DataObject) -> None:
    stream = bytearray(b"".join(message(*each) for each in drawn))
    place = data.draw(st.integers(0, len(stream) * 8 - 1))
    stream[place // 8] ^= 1 << place % 8
    with pytest.raises(EventStreamBroken):
        list(MessageReader().feed(bytes(stream)))


def test_messages_are_bounded() -> None:
    whole = message({}, b"x" * 100)
    assert len(list(MessageReader(len(whole)).feed(whole))) == 1
    with pytest.raises(EventStreamBroken, match="longer than"):
        list(MessageReader(len(whole) - 1).feed(whole[:12]))


def test_every_kind_of_header_is_passed_over() -> None:
    sizes = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
    block = b"".join(b"\x01k" + bytes([kind]) + b"\0" * size for kind, size in sizes.items())
    block += b"\x01b\x06\x00\x02\xff\xff" + b"\x01t\x07\x00\x03yes"
    assert list(MessageReader().feed(framed(block))) == [Message({"t": "yes"}, b"")]


@pytest.mark.parametrize(
    "block", [b"\x05a", b"\x01a", b"\x01a\x0a", b"\x01a\x07\x00\x09x", b"\x01a\x05\x00", b"\x02\xff\xff\x00"]
)
def test_headers_that_cannot_be_read(block: bytes) -> None:
    with pytest.raises(EventStreamBroken, match="headers"):
        list(MessageReader().feed(framed(block)))


def framed(block: bytes) -> bytes:
    """A message whose header block is ``block`` as it is."""
    prelude = struct.pack(">II", 16 + len(block), len(block))
    body = prelude + struct.pack(">I", crc32(prelude)) + block
    return body + struct.pack(">I", crc32(body))
