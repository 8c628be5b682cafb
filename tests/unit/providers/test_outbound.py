"""The laws of the guarded client, on real sockets of this machine."""

import asyncio
import ssl
import time
from ipaddress import ip_address, ip_network

import pytest

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.providers.dialling import checked_socket
from caio.providers.outbound import OutboundClient, OutboundLimits
from tests.support.upstreams import raw_server, self_signed, upstream

LOCAL = [ip_network("127.0.0.1/32")]


class ChangingResolver:
    """Gives its answers in turn, the last one for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host, port):
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def get(client, url, **more):
    async with client.request("GET", url, subject="It", seconds=2, **more) as answer:
        return answer.status, await answer.read()


async def refused(client, url, fault=UpstreamFault.BLOCKED, **more):
    with pytest.raises(UpstreamFailed) as caught:
        await get(client, url, **more)
    assert caught.value.fault is fault, caught.value.message
    return caught.value.message


def named(url):
    return url.replace("127.0.0.1", "service.test")


BAD_URLS = [
    "http://127.0.0.1:9/",
    "http://127.1:9/",
    "http://2130706433:9/",
    "http://0x7f000001:9/",
    "http://0177.0.0.1:9/",
]
BAD_URLS += [
    "http://[::1]:9/",
    "http://[::ffff:127.0.0.1]:9/",
    "http://[64:ff9b::7f00:1]:9/",
    "http://[fe80::1%25lo]:9/",
]
BAD_URLS += [
    "http://\uff11\uff12\uff17.0.0.1:9/",
    "http://127。0。0。1:9/",
    "http://localhost:9/",
    "http://127.0.0.1.:9/",
]
BAD_URLS += ["ftp://example.com/", "file:///etc/passwd", "//example.com/", "http:///x", "http://", "", "http://[::1"]
BAD_URLS += [
    "http://user:pw@example.com/",
    "http://user@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://exa mple.com/",
    "http://a\r\nb/",
]
BAD_URLS += ["http://example.com:99999/", "http://a%2eb/", "gopher://127.0.0.1/", "unix:///var/run/docker.sock"]


@pytest.mark.parametrize("url", BAD_URLS)
async def test_bad_addresses_are_blocked(url):
    async with OutboundClient() as client:
        await refused(client, url)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_refusal_says_what_an_operator_can_do(method):
    async with OutboundClient() as client:
        message = await refused(client, "http://127.0.0.1:9/")
        assert "a loopback address" in message
        assert "--allow-private CIDR" in message
        assert "CAIO_OUTBOUND_ALLOW" in message
    async with OutboundClient([ip_network("0.0.0.0/0")]) as client:
        message = await refused(client, "http://169.254.169.254/latest/meta-data/")
        assert "metadata" in message
        assert "--allow-private" not in message


async def test_only_checked_addresses_are_connected_to():
    """A name that first stands for an allowed address, and for a refused one at the next look."""
    async with upstream() as service:
        resolve = ChangingResolver(["127.0.0.1"], ["127.0.0.2"])
        limits = OutboundLimits(keepalive_seconds=60)
        async with OutboundClient(LOCAL, resolve=resolve, limits=limits) as client:
            assert (await get(client, f"{named(service.url)}/echo"))[0] == 200
            assert resolve.asked == 1  # the check and the connection shared one look-up
            assert (await get(client, f"{named(service.url)}/echo"))[0] == 200
            assert resolve.asked == 1  # the connection was used again
        assert {request.headers["Host"] for request, _ in service.received} == {
            named(service.url).removeprefix("http://")
        }


async def test_a_rebound_name_is_refused_at_the_next_connection():
    async with raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as url:
        resolve = ChangingResolver(["127.0.0.1"], ["127.0.0.2"])
        async with OutboundClient(LOCAL, resolve=resolve) as client:
            assert (await get(client, named(url)))[0] == 200
            assert "loopback" in await refused(client, named(url))


@pytest.mark.parametrize("bad", ["10.0.0.1", "127.0.0.2", "::1", "169.254.169.254", "fe80::1%lo", "nonsense"])
async def test_one_refused_address_refuses_the_name(bad):
    async with upstream() as service:
        for answer in (["127.0.0.1", bad], [bad, "127.0.0.1"]):
            async with OutboundClient(LOCAL, resolve=ChangingResolver(answer)) as client:
                await refused(client, f"{named(service.url)}/echo")
        assert service.received == []


async def test_the_socket_is_checked_where_it_is_made():
    for address in ("127.0.0.2", "10.0.0.1"):
        with pytest.raises(PermissionError):
            checked_socket(ip_address(address), LOCAL)
    checked_socket(ip_address("127.0.0.1"), LOCAL).close()


@pytest.mark.parametrize("answer", [[], OSError("no such name")])
async def test_a_name_without_an_address_is_unreachable(answer):
    async with OutboundClient(LOCAL, resolve=ChangingResolver(answer)) as client:
        await refused(client, "http://service.test/", UpstreamFault.UNREACHABLE)


async def test_a_resolver_that_hangs_costs_the_connect_time_only():
    async def hang(host, port):
        await asyncio.sleep(60)
        return []

    started = time.monotonic()
    async with OutboundClient(LOCAL, resolve=hang, limits=OutboundLimits(connect_seconds=0.1)) as client:
        await refused(client, "http://service.test/", UpstreamFault.TIMEOUT)
    assert time.monotonic() - started < 1


async def test_redirects_are_not_followed():
    async with upstream() as service, OutboundClient(LOCAL) as client:
        assert (await get(client, f"{service.url}/status/302"))[0] == 302
        assert len(service.received) == 1


async def test_the_environment_is_ignored(monkeypatch, free_port, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with upstream() as service, OutboundClient(LOCAL) as client:
        assert (await get(client, f"{service.url}/echo"))[0] == 200
        assert "Authorization" not in service.received[0][0].headers
        assert service.received[0][0].headers["Accept-Encoding"] == "identity"


async def test_cookies_are_forgotten():
    async with upstream() as service, OutboundClient(LOCAL) as client:
        for _ in range(2):
            assert (await get(client, f"{service.url}/cookie"))[1] == b'{"sent": null}'


async def test_answers_are_bounded():
    async with upstream() as service, OutboundClient(LOCAL, limits=OutboundLimits(answer_bytes=1000)) as client:
        assert (await get(client, f"{service.url}/json?text={'1' * 1000}"))[0] == 200
        await refused(client, f"{service.url}/json?text={'1' * 1001}", UpstreamFault.GARBAGE)
        await refused(client, f"{service.url}/huge", UpstreamFault.GARBAGE)


@pytest.mark.parametrize("headers", [b"X-Big: " + b"x" * 9000 + b"\r\n", b"X-Many: x\r\n" * 150])
async def test_heads_are_bounded(headers):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + headers + b"\r\n"
    async with raw_server(answer) as url, OutboundClient(LOCAL) as client:
        await refused(client, url, UpstreamFault.GARBAGE)


async def test_deadlines_are_not_rounded_up():
    async with upstream() as service, OutboundClient(LOCAL) as client:
        started = time.monotonic()
        with pytest.raises(UpstreamFailed):
            async with client.request("GET", f"{service.url}/slow", subject="It", seconds=0.1):
                pass
        assert time.monotonic() - started < 0.9


@pytest.mark.parametrize(
    ("name", "value"),
    [("X", "a\r\nY: b"), ("X", "a\n"), ("X\r\nY", "a"), ("X", ""), ("", "a"), ("X Y", "a"), ("X", "ü")],
)
async def test_headers_cannot_be_broken_out_of(name, value):
    async with upstream() as service, OutboundClient(LOCAL) as client:
        await refused(client, f"{service.url}/echo", headers={name: value})
        assert service.received == []


async def test_certificates_are_checked_against_the_name(tmp_path):
    path = self_signed(tmp_path, "service.test")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    trusted = ssl.create_default_context(cafile=str(path))
    resolve = ChangingResolver(["127.0.0.1"])
    async with upstream(server) as service, OutboundClient(LOCAL, resolve=resolve, tls=trusted) as client:
        assert (await get(client, f"{named(service.url)}/echo"))[0] == 200
        await refused(client, f"{service.url.replace('127.0.0.1', 'other.test')}/echo", UpstreamFault.UNREACHABLE)
        assert len(service.received) == 1


@pytest.mark.parametrize(("connections", "per_host"), [(2, 99), (99, 2)])
async def test_the_pool_is_bounded(wait_for_async, connections, per_host):
    limits = OutboundLimits(connections=connections, connections_per_host=per_host)
    async with upstream() as service, OutboundClient(LOCAL, limits=limits) as client:
        waiting = [asyncio.create_task(get(client, f"{service.url}/slow")) for _ in range(4)]
        await wait_for_async(lambda: len(service.received) == 2)
        await asyncio.sleep(0.05)
        assert len(service.received) == 2
        service.hold.set()
        await asyncio.gather(*waiting)
        assert len(service.connections) == 2


async def test_a_closed_client_calls_nobody():
    client = OutboundClient(LOCAL)
    await client.close()
    await refused(client, "http://127.0.0.1:9/", UpstreamFault.UNREACHABLE)
