"""A stream's frames that go the short way: the same ones, in the same order, and settled alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from caio.api.openai.chat import from_chat
from caio.gateway.streams import OpenStream, Patience
from caio.tenancy.authentication import embedded_caller, embedded_scope
from tests.e2e.conftest import Served, chat_contract
from tests.support.books import books_of
from tests.support.upstreams import TOKENS

CHAT = b'{"model": "auto", "messages": [{"role": "user", "content": "Hello"}], "stream": true}'


async def opened(caio: Served, path: str) -> OpenStream:
    document = chat_contract("talker", caio.service.url, path)
    async with caio.http.post("/api/v1/services", json=document) as answer:
        assert answer.status in (201, 409), await answer.text()  # by another stream of the same test
    caller = embedded_caller(await caio.installation.stores.tenants.get(embedded_scope()))
    return await caio.installation.streams.open(await from_chat(caio.installation.model_names, CHAT, {}, caller))


async def outcome(caio: Served) -> Any:
    rows = await caio.installation.decisions.page(embedded_scope(), None, 1)
    assert (await books_of(caio.installation)).reserved == 0
    return rows[0][1]


async def received(caio: Served, path: str, write: Callable[[bytes], bool] | None) -> tuple[list[bytes], int]:
    """The frames in their order, ``write`` asked for each that goes the short way, and how many did."""
    frames: list[bytes] = []
    straight = 0

    def sent(frame: bytes) -> bool:
        nonlocal straight
        straight += 1
        frames.append(frame)
        assert write is not None
        return write(frame)

    stream = await opened(caio, path)
    stream.straight.write = None if write is None else sent
    async for frame in stream.frames:
        frames.append(frame)
        stream.straight.write = None if write is None else sent
    return frames, straight


async def test_the_short_way_tells_the_same(caio: Served) -> None:
    plain, none = await received(caio, "/steady/2", None)
    before = await outcome(caio)
    quick, straight = await received(caio, "/steady/2", lambda frame: True)
    assert b"".join(quick) == b"".join(plain)
    assert b"".join(plain).endswith(b"data: [DONE]\n\n")
    assert (none, straight >= TOKENS // 2) == (0, True)
    after = await outcome(caio)
    assert (after.status, after.charged) == (before.status, before.charged) == ("ok", before.charged)


async def test_who_cannot_take_more_is_waited_for(caio: Served) -> None:
    plain, _ = await received(caio, "/steady/2", None)
    slow, straight = await received(caio, "/steady/2", lambda frame: False)
    assert b"".join(slow) == b"".join(plain)
    assert 0 < straight <= len(slow) // 2  # for each there was one that was iterated


async def test_what_breaks_on_the_short_way_ends_the_stream(caio: Served) -> None:
    def broken(frame: bytes) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await received(caio, "/steady/2", broken)
    assert (await outcome(caio)).status == "failed"


async def test_a_stream_may_go_on_for_longer_than_it_may_stall(caio: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caio.installation.streams, "_patience", Patience(idle_seconds=1.0))
    frames, straight = await received(caio, "/steady/40", lambda frame: True)
    assert straight > 0
    assert frames[-1] == b"data: [DONE]\n\n"


async def test_a_cut_on_the_short_way_never_looks_complete(caio: Served) -> None:
    frames, _ = await received(caio, "/cut/30", lambda frame: True)
    told = b"".join(frames)
    assert told.count(b'"content"') >= 30
    assert b"[DONE]" not in told
    assert b'"error"' in frames[-1]
    assert (await outcome(caio)).status == "failed"
