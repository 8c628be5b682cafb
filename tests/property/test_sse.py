"""The laws of the event-stream reader, against a slow reader of the whole text."""

from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.providers.sse import MAX_EVENT, EventReader, EventTooLong

FIELDS = [b"data", b"data:", b"data: ", b"data:  x", b"event: e", b"event", b":", b": comment", b"id: 1", b"retry: 2"]
ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n"]
BYTES = [b"x", b" ", b"\xef\xbb\xbf", b"\xef", b"\xc3\xbc", b"\xff"]
noise = st.lists(st.sampled_from([*FIELDS, *ENDS, *BYTES]), max_size=30).map(b"".join)
lines = st.tuples(st.sampled_from(FIELDS), st.sampled_from([b"", b"x", b"\xc3\xbc"]), st.sampled_from(ENDS)).map(
    b"".join
)
starts = st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb", b"\xef\xbb\xbf\xef\xbb\xbf"])
streams = st.builds(lambda start, body, rest: start + b"".join(body) + rest, starts, st.lists(lines, max_size=8), noise)


def slow(raw: bytes) -> list[bytes]:
    """WHATWG HTML 9.2.6, word for word, on the whole stream."""
    lines = raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    events, data = [], b""
    for line in lines:
        if line == b"":
            if data != b"":
                events.append(data[:-1])
            data = b""
        elif line[:1] == b":":
            continue
        else:
            field, value = line, b""
            if b":" in line:
                at = line.index(b":")
                field, value = line[:at], line[at + 1 :]
                if value[:1] == b" ":
                    value = value[1:]
            if field == b"data":
                data += value + b"\n"
    return events


def fed(pieces, most=MAX_EVENT) -> list[bytes]:
    reader = EventReader(most)
    return [event for piece in pieces for event in reader.feed(piece)]


@given(streams)
def test_reads_as_the_standard_says(raw):
    assert fed([raw]) == slow(raw)


def pieces(raw, sizes):
    """``raw`` in pieces of the given sizes, over and over."""
    size, at = cycle(sizes), 0
    while at < len(raw):
        at, start = at + next(size), at
        yield raw[start:at]


@given(streams, st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_chunking_does_not_matter(raw, sizes):
    assert fed(pieces(raw, sizes)) == slow(raw)
    assert fed(pieces(raw, [1])) == slow(raw)


whole = st.sampled_from([b"data: {}\n\n", b"data:x\n\n", b"data:  \n\n", b"data: 1\n\ndata:2\n\n", b"data: 1\n\n\n"])


@given(st.lists(whole | whole | streams, max_size=8))
def test_pieces_that_are_whole_events_read_the_same(pieces):
    assert fed(pieces) == slow(b"".join(pieces))


def test_an_event_is_given_as_soon_as_its_blank_line_ends():
    reader = EventReader()
    assert reader.feed(b"data: 1\r\r") == [b"1"]
    assert reader.feed(b"\ndata: 2\n\n") == [b"2"]


@pytest.mark.parametrize(
    "piece", [b"x", b"data: xxxxxx\n", b": xx", b": xxxxxxxxxxxxxxxxxxxx\n", b"data:xxxxxxxxxxxxxxxxxxxxxxxx\n"]
)
def test_lines_and_events_are_bounded(piece):
    with pytest.raises(EventTooLong):
        fed([piece] * 30, most=20)


def test_events_are_bounded_in_number(monkeypatch):
    monkeypatch.setattr("caio.providers.sse.MAX_EVENTS", 3)
    reader = EventReader()
    assert len(reader.feed(b"data:{}\n\n" * 3)) == 3
    with pytest.raises(EventTooLong):
        reader.feed(b"data:{}\n\n")


def test_a_line_of_the_full_length_is_read():
    assert EventReader(most=20).feed(b"data: 01234567890123\n\n") == [b"01234567890123"]


def test_a_line_feed_ends_the_line_that_waits_whatever_ended_the_one_before():
    assert fed([b"data: 1\rdata: 2", b"\n\n"]) == [b"1\n2"]
