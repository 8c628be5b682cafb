"""An answer that is given to its reader as it arrives: all of it, in its order, whatever the reader says."""

import asyncio
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.providers.http1 import STEP_BYTES
from caio.providers.outbound import OutboundClient, OutboundLimits

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(piece):
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class Service:
    """Answers one request, as it is told to."""

    def __init__(self):
        self.asked = asyncio.Event()

    async def serve(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        self.writer = writer
        writer.write(HEAD)
        self.asked.set()

    async def sends(self, data):
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0.02)


@asynccontextmanager
async def answered(**limits):
    service = Service()
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with (
        server,
        OutboundClient([ip_network("127.0.0.1/32")], limits=OutboundLimits(**limits)) as client,
        client.request("GET", url, subject="It", seconds=20) as answer,
    ):
        yield service, answer
        service.writer.close()


class Reader:
    """Takes what it is given, says that there is something to be done about each ``stop``, and raises at ``fail``."""

    def __init__(self, stop=b"!", fail=b"?"):
        self.stop, self.fail, self.pieces = stop, fail, []

    def take(self, piece):
        self.pieces.append(piece)
        if self.fail in piece:
            raise LookupError(piece)
        return self.stop not in piece


async def test_what_arrives_is_given_with_no_task_between():
    async with answered() as (service, answer):
        reader = Reader()
        giving = asyncio.create_task(answer.give(reader.take))
        for piece in (b"one", b"two", b"three"):
            await service.sends(chunk(piece))
        assert reader.pieces == [b"one", b"two", b"three"]
        assert not giving.done()
        await service.sends(chunk(b"four") + END)
        assert await giving is False
        assert reader.pieces[3:] == [b"four"]
        assert await answer.give(reader.take) is False


async def test_nothing_is_lost_where_the_reader_stops():
    async with answered() as (service, answer):
        reader = Reader()
        giving = asyncio.create_task(answer.give(reader.take))
        await service.sends(chunk(b"one"))
        await service.sends(chunk(b"two!"))
        assert await giving is True
        await service.sends(chunk(b"three"))  # while nobody waits
        await service.sends(chunk(b"four"))
        assert reader.pieces == [b"one", b"two!"]
        giving = asyncio.create_task(answer.give(reader.take))
        await asyncio.sleep(0)
        await service.sends(chunk(b"five!") + END)
        assert await giving is True
        assert await answer.give(reader.take) is False
        assert b"".join(reader.pieces) == b"onetwo!threefourfive!"


async def test_it_is_the_waiter_who_is_told_of_an_error():
    async with answered() as (service, answer):
        reader = Reader()
        giving = asyncio.create_task(answer.give(reader.take))
        await service.sends(chunk(b"one?"))
        with pytest.raises(LookupError):
            await giving
        await service.sends(chunk(b"two"))
        assert reader.pieces == [b"one?"]


async def test_who_was_cancelled_is_given_nothing():
    async with answered() as (service, answer):
        reader = Reader()
        giving = asyncio.create_task(answer.give(reader.take))
        await service.sends(chunk(b"one"))
        giving.cancel()
        service.writer.write(chunk(b"two"))
        with pytest.raises(asyncio.CancelledError):
            await giving
        await asyncio.sleep(0.02)
        assert reader.pieces == [b"one"]


async def test_others_have_their_turn_between_steps():
    body = bytes(range(256)) * 1024
    async with answered() as (service, answer):
        reader = Reader(stop=b"none", fail=b"never")
        giving = asyncio.create_task(answer.give(reader.take))
        await asyncio.sleep(0.02)
        await service.sends(chunk(body))
        await service.sends(END)
        assert await giving is False
        assert b"".join(reader.pieces) == body
        assert max(map(len, reader.pieces)) <= STEP_BYTES


async def test_what_came_before_a_cut_is_given():
    async with answered() as (service, answer):
        reader = Reader()
        giving = asyncio.create_task(answer.give(reader.take))
        await service.sends(chunk(b"half"))
        service.writer.close()
        with pytest.raises(UpstreamFailed) as caught:
            await giving
        assert caught.value.fault is UpstreamFault.UPSTREAM
        assert reader.pieces == [b"half"]


async def test_what_is_given_is_bounded():
    async with answered(answer_bytes=10) as (service, answer):
        reader = Reader()
        giving = asyncio.create_task(answer.give(reader.take))
        await service.sends(chunk(b"0123456789"))
        await service.sends(chunk(b"0"))
        with pytest.raises(UpstreamFailed) as caught:
            await giving
        assert caught.value.fault is UpstreamFault.GARBAGE
        assert reader.pieces == [b"0123456789"]
