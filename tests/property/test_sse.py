"""The laws of the event-stream reader, against a slow reader of the whole text."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.providers.sse import MAX_EVENT, Event, EventReader, EventTooLong

FIELDS = [b"data", b"data:", b"data: ", b"data:  x", b"event: e", b"event", b":", b": comment", b"id: 1", b"retry: 2"]
ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n"]
BYTES = [b"x", b" ", b"\xef\xbb\xbf", b"\xef", b"\xc3\xbc", b"\xff"]
fragments = st.sampled_from([*FIELDS, *ENDS, *BYTES])
streams = st.lists(fragments, max_size=40).map(b"".join)


def slow(raw: bytes) -> list[Event]:
    """WHATWG HTML 9.2.6, word for word, on the whole stream."""
    lines = raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    events, data, name = [], b"", b""
    for line in lines:
        if line == b"":
            if data != b"":
                events.append(Event(name or b"message", data[:-1]))
            data, name = b"", b""
        elif line[:1] == b":":
            continue
        else:
            field, value = line, b""
            if b":" in line:
                at = line.index(b":")
                field, value = line[:at], line[at + 1 :]
                if value[:1] == b" ":
                    value = value[1:]
            if field == b"event":
                name = value
            elif field == b"data":
                data += value + b"\n"
    return events


def fed(pieces, most=MAX_EVENT) -> list[Event]:
    reader = EventReader(most)
    return [event for piece in pieces for event in reader.feed(piece)]


@given(streams)
def test_reads_as_the_standard_says(raw):
    assert fed([raw]) == slow(raw)


@given(streams, st.lists(st.integers(0, 120), max_size=12))
def test_chunking_does_not_matter(raw, cuts):
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    assert fed(raw[a:b] for a, b in pairwise(edges)) == slow(raw)
    assert fed(raw[at : at + 1] for at in range(len(raw))) == slow(raw)


def test_an_event_is_given_as_soon_as_its_blank_line_ends():
    reader = EventReader()
    assert reader.feed(b"data: 1\r\r") == [Event(b"message", b"1")]
    assert reader.feed(b"\ndata: 2\n\n") == [Event(b"message", b"2")]


@pytest.mark.parametrize("piece", [b"x", b"data: xxxxxx\n", b": xx", b"data:xxxxxxxxxxxxxxxxxxxxxxxx\n"])
def test_lines_and_events_are_bounded(piece):
    with pytest.raises(EventTooLong):
        fed([piece] * 30, most=20)


def test_a_line_of_the_full_length_is_read():
    assert EventReader(most=20).feed(b"data: 01234567890123\n\n") == [Event(b"message", b"01234567890123")]
