"""The laws of client.sse and client.streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.client import StreamBroken
from caio.client.answers import RunEvent
from caio.client.sse import MOST_BYTES, Event, Events
from caio.client.streams import MOST_IN_VAIN, ChatEvents, RunEvents

LINES = ["data: a", "data:b", "data: ü", "event: told", "id: 7", "id: 8", ": a comment", "retry: 3", "data", "", ""]


@given(
    st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(["\n", "\r\n", "\r"])), max_size=20),
    st.lists(st.integers(1, 7), min_size=1),
)
def test_pieces_do_not_matter(lines: list[tuple[str, str]], sizes: list[int]) -> None:
    raw = ("".join(line + end for line, end in lines) + ".\n").encode()
    whole, piecewise, found, at = Events().feed(raw), Events(), [], 0
    while at < len(raw):
        size = sizes[at % len(sizes)]
        found += piecewise.feed(raw[at : at + size])
        at += size
    assert found == whole


def test_events_are_read_as_the_standard_says() -> None:
    raw = b": hello\n\nid: 4\nevent: step\ndata: a\ndata:b\n\ndata: c\n\nid\ndata:  d\n\ndata: cut"
    assert Events().feed(raw) == [Event("a\nb", "step", "4"), Event("c", "message", "4"), Event(" d", "message", "")]


def test_an_event_is_bounded() -> None:
    almost = b"x" * (MOST_BYTES - 10)
    for before, further in ((b"data: " + almost, b"xxxxx"), (b"data: " + almost + b"\n", b"data: xxxxx\n")):
        events = Events()
        assert events.feed(before) == []
        with pytest.raises(StreamBroken):
            events.feed(further)


@pytest.mark.parametrize("raw", [b"", b'data: {"choices": []}\n\n', b'data: {"choices": []}\n\ndata: [DONE]'])
def test_a_cut_stream_never_looks_complete(raw: bytes) -> None:
    events = ChatEvents()
    assert all(chunk.choices == [] for chunk in events.feed(raw))
    with pytest.raises(StreamBroken, match="not complete"):
        events.close()


def test_an_end_mark_ends_it() -> None:
    events = ChatEvents()
    assert list(events.feed(b'data: [DONE]\n\ndata: {"choices": []}\n\n')) == []
    events.close()


def test_a_break_that_is_told_is_raised_with_its_code() -> None:
    told = b'data: {"error": {"message": "it fell silent", "code": "deadline_exceeded", "decision_id": "dec_1"}}\n\n'
    with pytest.raises(StreamBroken) as raised:
        list(ChatEvents().feed(told))
    assert (str(raised.value), raised.value.code, raised.value.decision_id) == (
        "it fell silent",
        "deadline_exceeded",
        "dec_1",
    )


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"choices": 3}', b"\xff"])
def test_what_is_no_chunk_breaks_it(data: bytes) -> None:
    with pytest.raises(StreamBroken):
        list(ChatEvents().feed(b"data: " + data + b"\n\n"))


def event(seq: int, kind: str) -> bytes:
    return b'id: %d\nevent: %s\ndata: {"at": %d, "step": "one"}\n\n' % (seq, kind.encode(), seq)


@given(st.lists(st.integers(0, 400), max_size=MOST_IN_VAIN))
def test_a_run_is_followed_to_its_end(breaks: list[int]) -> None:
    told = [event(1, "run.queued"), event(2, "step.failed"), event(3, "run.cancelling"), event(4, "run.cancelled")]
    found: list[RunEvent] = []
    events = RunEvents("")
    for at in [*breaks, 10_000]:
        begun = int(events.last or 0)
        found += events.feed(b"".join(told[begun:])[:at])
        if events.ended:
            break
        events.interrupted("cut")
    assert [(each.id, each.at) for each in found] == [(str(seq), seq) for seq in (1, 2, 3, 4)]
    assert (found[1].kind, found[1].document) == ("step.failed", {"step": "one"})


def test_connections_that_bring_nothing_are_given_up() -> None:
    events = RunEvents("7")
    for _ in range(MOST_IN_VAIN):
        events.interrupted("cut")
    with pytest.raises(StreamBroken, match="cut"):
        events.interrupted("cut")
    with pytest.raises(StreamBroken) as raised:
        list(RunEvents("").feed(b'event: error\ndata: {"code": "not_ready"}\n\n'))
    assert raised.value.code == "not_ready"
