"""What the server does at once for calls: the same to the byte as message by message."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from caio.api.asgi import EXCHANGE
from caio.cli.exchanges import Exchanges

HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"2"), (b"x-request-id", b"req_1")]
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n"


class Wire(asyncio.Transport):
    """The client's end: what was written to it."""

    def __init__(self):
        super().__init__()
        self.written, self.closed, self.reading = b"", False, True

    def get_extra_info(self, name, default=None):
        return default

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    def write(self, data):
        self.written += data

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True


class Served:
    """One connection to an application that answers ``{}``, at once where it ``may``."""

    def __init__(self, may=True, headers=HEADERS, body=b"{}", pieces=()):
        self.may, self.headers, self.body, self.pieces = may, headers, body, pieces
        self.bodies, self.at_once = [], []
        self.wire, self.ready, self.goes_on = Wire(), asyncio.Event(), asyncio.Event()
        self.ready.set()
        self.state = ServerState()
        self.state.default_headers = [(b"date", b"Sat, 21 Nov 2026 20:00:00 GMT")]
        config = uvicorn.Config(self.answer, lifespan="off", access_log=False, log_config=None)
        config.load()
        config.loaded_app = self.answer
        self.protocol = Exchanges(config, self.state, {}, asyncio.get_running_loop())
        self.protocol.connection_made(self.wire)

    async def answer(self, scope, receive, send):
        exchange = scope[EXCHANGE]
        self.bodies.append(exchange.body() if self.may else (await receive())["body"])
        await asyncio.sleep(0)
        await self.ready.wait()
        if self.pieces:
            await self.stream(exchange, send)
            return
        if self.may:
            self.at_once.append(exchange.answer(200, self.headers, self.body))
        if not self.may or not self.at_once[-1]:
            await send({"type": "http.response.start", "status": 200, "headers": self.headers})
            await send({"type": "http.response.body", "body": self.body})

    async def stream(self, exchange, send):
        """Each piece at once where the one before said so; ``at_once`` says which were."""
        assert exchange.pieces() is None
        await send({"type": "http.response.start", "status": 200, "headers": self.headers[:1]})
        write = exchange.pieces() if self.may else None
        for piece in self.pieces:
            if piece is None:
                await self.goes_on.wait()
                continue
            self.at_once.append(write is not None)
            if write is None:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                write = exchange.pieces() if self.may else None
            elif not write(piece):
                write = None
        await send({"type": "http.response.body", "body": b""})
        assert exchange.pieces() is None

    async def sends(self, data):
        self.protocol.data_received(data)
        for _ in range(6):
            await asyncio.sleep(0)
        return self.wire.written


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize(
    "more", [b"", b"expect: 100-continue\r\n", b"connection: close\r\n", b"connection: keep-alive\r\n"]
)
@pytest.mark.parametrize("method", [b"POST", b"HEAD"])
async def test_an_answer_is_the_same_to_the_byte(version, more, method):
    request = HEAD.replace(b"1.1", version).replace(b"POST", method) + more + b"\r\nhello"
    at_once, by_messages = Served(), Served(may=False)
    assert (await at_once.sends(request)) == (await by_messages.sends(request)).removeprefix(
        b"HTTP/1.1 100 Continue\r\n\r\n"
    )
    assert at_once.bodies == by_messages.bodies == [b"hello"]
    assert at_once.wire.closed == by_messages.wire.closed
    assert at_once.state.total_requests == by_messages.state.total_requests == 1


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("more", [b"", b"connection: close\r\n"])
@pytest.mark.parametrize("method", [b"POST", b"HEAD"])
async def test_a_stream_is_the_same_to_the_byte(version, more, method):
    request = HEAD.replace(b"1.1", version).replace(b"POST", method) + more + b"\r\nhello"
    pieces = (b"data: 1\n\n", b"x" * 300, b"data: [DONE]\n\n")
    at_once, by_messages = Served(pieces=pieces), Served(may=False, pieces=pieces)
    assert (await at_once.sends(request)) == (await by_messages.sends(request)).removeprefix(
        b"HTTP/1.1 100 Continue\r\n\r\n"
    )
    assert at_once.at_once == [method == b"POST"] * 3
    assert at_once.wire.closed == by_messages.wire.closed
    assert at_once.state.total_requests == 1


async def test_a_piece_for_who_does_not_read_waits():
    served = Served(pieces=(b"one", None, b"two", b"three", b"four"))
    await served.sends(HEAD + b"\r\nhello")
    served.protocol.pause_writing()
    served.goes_on.set()
    written = await served.sends(b"")
    assert written.endswith(b"3\r\none\r\n3\r\ntwo\r\n")  # the next is one that waits
    served.protocol.resume_writing()
    assert (await served.sends(b"")).endswith(b"two\r\n5\r\nthree\r\n4\r\nfour\r\n0\r\n\r\n")
    assert served.at_once == [True, True, False, True]


async def test_nothing_is_sent_to_who_is_gone():
    served = Served(pieces=(None, b"one", b"two"))
    await served.sends(HEAD + b"\r\nhello")
    served.protocol.connection_lost(None)
    served.goes_on.set()
    await asyncio.sleep(0.01)
    assert b"one" not in served.wire.written
    assert served.at_once == [True, False]


async def test_requests_follow_each_other_and_may_be_sent_ahead():
    served = Served()
    first = await served.sends(HEAD + b"\r\nfirst")
    both = await served.sends(HEAD + b"\r\nahead" + HEAD + b"\r\nagain")
    assert both == first * 3
    assert served.bodies == [b"first", b"ahead", b"again"]
    assert served.at_once == [True] * 3


async def test_a_body_that_has_not_arrived_is_received():
    served = Served()
    await served.sends(HEAD + b"\r\nhel")
    assert served.bodies == [None]


async def test_who_leaves_is_noticed_after_the_body_was_taken():
    served = Served()
    served.ready.clear()
    await served.sends(HEAD + b"\r\nhello")
    assert served.bodies == [b"hello"]
    told = asyncio.ensure_future(served.protocol.cycle.receive())
    await asyncio.sleep(0)
    assert not told.done()
    served.protocol.connection_lost(None)
    assert await told == {"type": "http.disconnect"}
    served.ready.set()
    for _ in range(6):
        await asyncio.sleep(0)
    assert (served.at_once, served.wire.written) == ([False], b"")


async def test_what_is_out_of_the_ordinary_is_declined():
    unread = Served()
    unread.protocol.pause_writing()
    await unread.sends(HEAD + b"\r\nhello")
    assert (unread.at_once, unread.wire.written) == ([False], b"")
    unread.protocol.resume_writing()
    assert (await unread.sends(b"")).endswith(b"{}")

    stopping = Served()
    stopping.protocol.data_received(HEAD + b"\r\nhello")
    stopping.protocol.shutdown()
    assert b"connection: close\r\n" in await stopping.sends(b"")
    assert (stopping.at_once, stopping.wire.closed) == ([False], True)


@pytest.mark.parametrize(
    "header", [(b"x-a", b"1\r\nx-b: 2"), (b"x-a", b"1\n2"), (b"x-a", b"1\r2"), (b"x-a", b"\0"), (b"x a", b"1")]
)
async def test_no_header_breaks_out_of_its_line(header):
    served = Served(headers=[*HEADERS, header])
    written = await served.sends(HEAD + b"\r\nhello")
    assert served.at_once == [False]
    assert b"x-b" not in written
    assert b"{}" not in written
