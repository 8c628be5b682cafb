"""A stream that CAIO itself cuts off after content says so, as one that its service broke does. What becomes of streams
at the end of a server's grace: test_graceful_stop.py."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from caio.api import hot_request
from caio.api.hot_request import HotRequest
from caio.api.openai.response_events import ResponseFrames
from caio.foundation.errors import NotReady
from caio.gateway.frames import ChatFrames, End
from caio.gateway.streams import OpenStream
from tests.e2e.conftest import Served, chat_contract

CHAT = {"model": "auto:chat", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
RESPONSE = {"model": "auto:chat", "input": "Hello", "stream": True}


def failing(frames: type[ChatFrames | ResponseFrames]) -> Callable[..., bytes]:
    """``chunk``, with an error of the program's own at its second content."""
    told, before = frames.chunk, list[bytes]()

    def chunk(self: Any, chunk: Any) -> bytes:
        before.extend([chunk.data] * chunk.has_content)
        if len(before) == 2:
            raise ZeroDivisionError("not for the caller's eyes")
        return told(self, chunk)

    return chunk


@pytest.mark.parametrize(
    ("path", "body", "frames"),
    [("/v1/chat/completions", CHAT, ChatFrames), ("/v1/responses", RESPONSE, ResponseFrames)],
)
async def test_an_error_of_the_program_ends_a_stream_with_an_error_event(
    caio: Served, monkeypatch, path: str, body: dict[str, Any], frames: type[ChatFrames | ResponseFrames]
) -> None:
    document = chat_contract("talker", caio.service.url, "/steady/20")
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 201
    monkeypatch.setattr(frames, "chunk", failing(frames))
    async with caio.http.post(path, json=body) as answer:
        events = (await answer.read()).decode().split("\n\n")  # and not ClientPayloadError
        decision_id = answer.headers["x-caio-decision-id"]
    assert any("t0" in event for event in events[:-2])
    data = json.loads(events[-2].rpartition("data: ")[2])
    assert data["error"]["code"] == "internal_error"
    assert data["error"]["decision_id"] == decision_id
    assert "eyes" not in events[-2]
    assert events[-1] == ""
    assert "[DONE]" not in "".join(events)
    assert "response.completed" not in "".join(events)
    with closing(sqlite3.connect(caio.data_dir / "caio.db")) as database:
        assert database.execute("SELECT decision_id, status FROM outcomes").fetchall() == [(decision_id, "failed")]


class Unread:
    """A caller who takes the head and the first frame, and then reads no more."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.is_full = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Any) -> None:
        if len(self.taken) >= 2:
            self.is_full.set()
            await asyncio.Event().wait()
        self.taken.append(message)


async def endless():
    while True:
        yield b"data: {}\n\n"


async def test_who_does_not_read_is_not_waited_for_with_the_last_word(monkeypatch) -> None:
    monkeypatch.setattr(hot_request, "LAST_WORD_SECONDS", 0.05)
    caller, loop = Unread(), asyncio.get_running_loop()
    scope = {"path": "/v1/chat/completions", "method": "POST", "headers": []}
    request = HotRequest(scope, caller.receive, caller.send, 1000)
    end = End(ChatFrames(), "dec_1")
    opened = OpenStream("dec_1", "talker", "1.0.0", endless(), end, None, loop.time() + 600)
    sending = asyncio.create_task(request.stream(opened))
    await caller.is_full.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    async with asyncio.timeout(5):
        await request.fail(NotReady("this process is stopping; try again"))
    assert request.broke_off
    assert len(caller.taken) == 2


def test_one_end_is_told() -> None:
    """Of a stream whose end was on its way when it was cut off nobody hears another."""
    end, broken = End(ChatFrames(), "dec_1"), End(ChatFrames(), "dec_1")
    assert (end.told(None), end.told(NotReady("stopping"))) == (b"data: [DONE]\n\n", b"")
    assert b"stopping" in broken.told(NotReady("stopping"))
    assert broken.told(None) == b""
