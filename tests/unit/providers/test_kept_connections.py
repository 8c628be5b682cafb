"""The laws of one HTTP/1.1 connection and of the pool that keeps several, against bytes on real sockets."""

import asyncio
import socket
import struct
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network
from time import monotonic

import pytest

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.providers.http1 import HELD_BYTES
from caio.providers.outbound import OutboundClient, OutboundLimits
from tests.support.upstreams import upstream

LOCAL = [ip_network("127.0.0.1/32"), ip_network("127.0.0.2/32")]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Scripted:
    """Answers the requests of its n-th connection with the n-th script: bytes to write, None to hang up. What a
    script does not foresee is not answered. ``asked`` are the requests' bytes, by connection."""

    def __init__(self, *scripts: list[bytes | None]) -> None:
        self.scripts = list(scripts)
        self.asked: list[list[bytes]] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.url = ""
        self.serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self.serving.add(task)
        asked: list[bytes] = []
        script = self.scripts[len(self.asked)]
        self.asked.append(asked)
        self.writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            for answer in script:
                if answer is None:
                    break
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                asked.append(head + await reader.readexactly(int(length or 0)))
                writer.write(answer)
                await writer.drain()
            else:
                await reader.read()
        writer.close()

    async def gone(self) -> None:
        for writer in self.writers:
            writer.close()
        await asyncio.wait(self.serving, timeout=1)


@asynccontextmanager
async def scripted(*scripts):
    service = Scripted(*scripts)
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        yield service
        await service.gone()


async def call(client, url, body=None, seconds=2.0, twice=False):
    async with client.request("POST", url, subject="It", seconds=seconds, body=body, twice=twice) as answer:
        return answer.status, await answer.read()


async def failing(client, url, fault, **more):
    with pytest.raises(UpstreamFailed) as caught:
        await call(client, url, **more)
    assert caught.value.fault is fault, caught.value.message


async def test_interim_answers_are_skipped():
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\nX: interim\r\n\r\n"
    async with scripted([interim + OK, OK]) as service, OutboundClient(LOCAL) as client:
        async with client.request("GET", service.url, subject="It", seconds=2) as answer:
            assert (answer.status, answer.header("X"), await answer.read()) == (200, None, b"ok")
        assert await call(client, service.url) == (200, b"ok")
        assert len(service.asked) == 1


async def test_a_body_without_a_length_ends_with_the_connection():
    until_close = b"HTTP/1.1 200 OK\r\n\r\nall of it"
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
    scripts = [[until_close, None], [cut, None], [chunked, None], [b"HTTP/1.1 200 OK\r\nX: half a he", None]]
    async with scripted(*scripts) as service, OutboundClient(LOCAL) as client:
        assert await call(client, service.url) == (200, b"all of it")
        for _ in range(3):
            await failing(client, service.url, UpstreamFault.UPSTREAM)


@pytest.mark.parametrize(("before", "seconds"), [(60.0, 0.3), (0.5, 1.2)])
async def test_each_exchange_has_its_own_deadline(before, seconds):
    """Whatever that of the exchange before it was, whose timer may be set still."""
    async with scripted([OK, b""]) as service, OutboundClient(LOCAL) as client:
        await call(client, service.url, seconds=before)
        began = monotonic()
        await failing(client, service.url, UpstreamFault.TIMEOUT, seconds=seconds)
        assert seconds - 0.05 <= monotonic() - began < 30
        assert len(service.asked) == 1


async def test_a_reset_is_no_end_of_a_body():
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await asyncio.sleep(0.05)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, OutboundClient(LOCAL) as client:
        await failing(client, url, UpstreamFault.UPSTREAM)


async def test_what_came_before_a_cut_is_given():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
    async with (
        scripted([chunked, None]) as service,
        OutboundClient(LOCAL) as client,
        client.request("GET", service.url, subject="It", seconds=2) as answer,
    ):
        await asyncio.sleep(0.05)
        assert await answer.next_piece() == b"half"
        with pytest.raises(UpstreamFailed):
            await answer.next_piece()


@pytest.mark.parametrize("late", [0, 0.05])
async def test_what_nobody_asked_for_ends_the_connection(late):
    """An answer too many, in the same packet or later, is never the answer to the next request."""
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
    async with scripted([OK if late else OK + forged, OK], [OK]) as service, OutboundClient(LOCAL) as client:
        assert await call(client, service.url) == (200, b"ok")
        if late:
            service.writers[0].write(forged)
            await asyncio.sleep(late)
        assert await call(client, service.url) == (200, b"ok")
        assert len(service.asked) == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_who_does_not_keep_a_connection_is_called_on_another(answer):
    async with scripted([answer, OK], [OK]) as service, OutboundClient(LOCAL) as client:
        assert await call(client, service.url) == (200, b"ok")
        assert await call(client, service.url) == (200, b"ok")
        assert [len(asked) for asked in service.asked] == [1, 1]


async def test_a_stale_connection_costs_a_second_try():
    """The service reads the second request, and hangs up without a word."""
    async with scripted([OK, b"", None], [OK]) as service, OutboundClient(LOCAL) as client:
        assert await call(client, service.url, b"first") == (200, b"ok")
        assert await call(client, service.url, b"second", twice=True) == (200, b"ok")
        assert [asked[-1].endswith(b"second") for asked in service.asked] == [True, True]


async def test_what_may_not_be_done_twice_is_not_sent_twice():
    async with scripted([OK, b"", None], [OK]) as service, OutboundClient(LOCAL) as client:
        assert await call(client, service.url, b"first") == (200, b"ok")
        await failing(client, service.url, UpstreamFault.UPSTREAM, body=b"second")
        assert len(service.asked) == 1


async def test_what_never_left_is_sent_once_more():
    async with scripted([OK], [OK]) as service, OutboundClient(LOCAL) as client:
        assert await call(client, service.url, b"first") == (200, b"ok")
        next(iter(client.pool._origins)).abort()  # and the loop has not told of it yet
        assert await call(client, service.url, b"second") == (200, b"ok")
        assert [asked[-1][-6:] for asked in service.asked] == [b"\nfirst", b"second"]


async def test_a_service_that_was_at_work_is_not_asked_again(monkeypatch):
    monkeypatch.setattr("caio.providers.answers.STALE_SECONDS", 0.05)
    async with scripted([OK, b""], [OK]) as service, OutboundClient(LOCAL) as client:
        assert await call(client, service.url) == (200, b"ok")
        asyncio.get_running_loop().call_later(0.1, service.writers[0].close)
        await failing(client, service.url, UpstreamFault.UPSTREAM, twice=True)
        assert len(service.asked) == 1


async def test_an_answer_that_was_begun_is_not_asked_for_again():
    async with scripted([OK, b"HTTP/1.1 2", None], [OK]) as service, OutboundClient(LOCAL) as client:
        assert await call(client, service.url) == (200, b"ok")
        await failing(client, service.url, UpstreamFault.UPSTREAM)
        assert len(service.asked) == 1


async def test_a_new_connection_is_not_tried_twice():
    async with scripted([b"", None], [OK]) as service, OutboundClient(LOCAL) as client:
        await failing(client, service.url, UpstreamFault.UPSTREAM)
        assert len(service.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX" + b"x" * 70_000,
        b"HTTP/1.1 200 " + b"O" * 70_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" + b"X: y\r\n" * 101,
    ],
)
async def test_heads_are_bounded(answer):
    """What could be read in two ways, what is endless, and what is no HTTP."""
    async with scripted([answer]) as service, OutboundClient(LOCAL) as client:
        await failing(client, service.url, UpstreamFault.GARBAGE)


async def test_a_slow_reader_holds_up_the_service():
    size = 64 << 20
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    async with (
        scripted([head + bytes(size)]) as service,
        OutboundClient(LOCAL, limits=OutboundLimits(answer_bytes=size)) as client,
        client.request("GET", service.url, subject="It", seconds=20) as answer,
    ):
        await asyncio.sleep(0.2)
        taken = len(await answer.next_piece())
        assert taken < 4 * HELD_BYTES
        while piece := await answer.next_piece():
            taken += len(piece)
        assert taken == size


async def test_an_early_answer_costs_the_connection_only():
    """The service answers before it has read what is sent to it."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await asyncio.sleep(0.1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, OutboundClient(LOCAL) as client:
        assert await call(client, url, bytes(32 << 20)) == (200, b"ok")
        assert client.pool.idle(next(iter(client._origins.values()))) is None
        await asyncio.sleep(0.15)


async def test_leaving_early_closes_the_connection():
    async with (
        scripted([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"], [OK]) as service,
        OutboundClient(LOCAL) as client,
    ):
        async with client.request("GET", service.url, subject="It", seconds=2) as answer:
            assert await answer.next_piece() == b"half"
        assert await call(client, service.url) == (200, b"ok")
        assert len(service.asked) == 2


async def test_a_cancelled_call_closes_its_connection():
    async with upstream() as service, OutboundClient(LOCAL) as client:
        calling = asyncio.create_task(call(client, f"{service.url}/slow", seconds=20))
        while not service.received:
            await asyncio.sleep(0.01)
        calling.cancel()
        await asyncio.wait_for(service.left.wait(), 20)


async def test_idle_connections_make_room():
    async with scripted([OK], [OK]) as one, scripted([OK]) as other:
        async with OutboundClient(LOCAL, limits=OutboundLimits(connections=1)) as client:
            for url in (one.url, other.url, one.url):
                assert await call(client, url) == (200, b"ok")
        assert (len(one.asked), len(other.asked)) == (2, 1)


async def test_an_idle_connection_makes_room_for_who_waits():
    """Also while its own service goes on being called."""
    limits = OutboundLimits(connections=2)
    async with upstream() as one, upstream() as other, OutboundClient(LOCAL, limits=limits) as client:
        busy = [asyncio.create_task(call(client, f"{one.url}/late/20", seconds=5)) for _ in range(6)]
        await asyncio.sleep(0.01)
        waiting = [asyncio.create_task(call(client, f"{other.url}/counted", seconds=5)) for _ in range(3)]
        assert {status for status, _ in await asyncio.gather(*busy, *waiting)} == {200}


async def test_nobody_passes_who_waits():
    """One tenant's calls, one after another without a pause, and one call of another's."""
    limits = OutboundLimits(connections=2)
    async with upstream() as one, upstream() as other, OutboundClient(LOCAL, limits=limits) as client:

        async def again():
            while True:
                await call(client, f"{one.url}/late/10", seconds=5)

        busy = [asyncio.create_task(again()) for _ in range(4)]
        await asyncio.sleep(0.05)
        assert (await call(client, f"{other.url}/counted", seconds=1))[0] == 200
        for each in busy:
            each.cancel()
        await asyncio.wait(busy)


async def test_idle_connections_grow_old():
    async with (
        scripted([OK, OK], [OK]) as service,
        OutboundClient(LOCAL, limits=OutboundLimits(keepalive_seconds=0.05)) as client,
    ):
        assert await call(client, service.url) == (200, b"ok")
        await asyncio.sleep(0.15)
        assert all(writer.transport.is_closing() for writer in service.writers)
        assert await call(client, service.url) == (200, b"ok")
        assert [len(asked) for asked in service.asked] == [1, 1]


async def test_who_stops_waiting_wakes_the_next():
    async with upstream() as service, OutboundClient(LOCAL, limits=OutboundLimits(connections=1)) as client:
        first = asyncio.create_task(call(client, f"{service.url}/late/50", seconds=5))
        await asyncio.sleep(0.01)
        second, third = (asyncio.create_task(call(client, f"{service.url}/counted", seconds=5)) for _ in "ab")
        await first
        second.cancel()  # it was given its turn, and has not run yet
        assert (await asyncio.wait_for(third, 20))[0] == 200


async def test_waiting_for_room_is_bounded_by_the_call():
    async with upstream() as service, OutboundClient(LOCAL, limits=OutboundLimits(connections=1)) as client:
        first = asyncio.create_task(call(client, f"{service.url}/slow", seconds=5))
        await asyncio.sleep(0.01)
        await failing(client, f"{service.url}/counted", UpstreamFault.TIMEOUT, seconds=0.05)
        service.hold.set()
        await first


async def test_the_next_address_is_tried_when_one_does_not_answer():
    async def resolve(host, port):
        return ["127.0.0.2", "127.0.0.1"]

    async with scripted([OK]) as service, OutboundClient(LOCAL, resolve=resolve) as client:
        assert await call(client, service.url.replace("127.0.0.1", "service.test")) == (200, b"ok")


async def test_a_call_under_way_fails_when_the_client_is_closed():
    async with upstream() as service:
        client = OutboundClient(LOCAL)
        calling = asyncio.create_task(failing(client, f"{service.url}/slow", UpstreamFault.UPSTREAM))
        while not service.received:
            await asyncio.sleep(0.01)
        await client.close()
        await calling


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Connection"])
async def test_the_connections_own_headers_are_not_set_by_others(name):
    async with OutboundClient(LOCAL) as client:
        with pytest.raises(UpstreamFailed) as caught:
            client.request("GET", "http://127.0.0.1:9/", subject="It", seconds=1, headers={name: "a"})
        assert caught.value.fault is UpstreamFault.BLOCKED


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("", "/"),
        ("a%2Fb?c=d%20e#f?g", "/a%2Fb?c=d%20e"),
        ("ü/{x}?é=|", "/%C3%BC/%7Bx%7D?%C3%A9=%7C"),
        ("a/../b?", "/a/../b"),
        ("model/a.b-v1:0/converse", "/model/a.b-v1:0/converse"),
    ],
)
async def test_addresses_are_sent_as_they_are_written(path, sent):
    async with scripted([OK]) as service, OutboundClient(LOCAL) as client:
        assert await call(client, service.url + path) == (200, b"ok")
        assert service.asked[0][0].split()[1].decode() == sent


@pytest.mark.parametrize("url", ["http://b\u00fccher.example/", "http://\u212aelvin.example/", "http://a.example:0/"])
async def test_hosts_are_read_in_one_way_only(url):
    async with OutboundClient(LOCAL) as client:
        await failing(client, url, UpstreamFault.BLOCKED)
