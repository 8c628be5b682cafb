"""Every known way of naming a place that a tenant must not make this process call, in one table.

Each row is an address as it could stand in a contract, a webhook, an issuer's keys or a witness: all of these go
through ``OutboundClient`` (``tests/architecture/test_outbound.py``), which is asked here. Redirects need no row: they
are not followed, so nothing that a service answers is an address (``test_outbound.py``, and the providers' suite).
"""
# ruff: noqa: RUF001 - characters that look like others are what some forgeries are made of

from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.providers.addresses import is_callable_port
from caio.providers.outbound import OutboundClient

EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))

#: What names stand for in these tests, by the resolver's look; the last look holds on.
NAMES: dict[str, list[list[str]]] = {
    "localhost": [["127.0.0.1", "::1"]],
    "localhost.": [["127.0.0.1"]],
    "intranet": [["10.1.2.3"]],
    "metadata.google.internal": [["169.254.169.254"]],
    "localtest.me": [["127.0.0.1"]],
    "mixed.example": [["93.184.216.34", "192.168.0.1"]],
    "mixed6.example": [["2606:4700::1", "fd00::1"]],
    "zone.example": [["fe80::1%eth0"]],
    "nat64.example": [["64:ff9b::a00:1"]],
    "odd.example": [["0x7f.1"]],
    "xn--bcher-kva.example": [["127.0.0.1"]],
}

FORGERIES = {
    "IPv4, plain": [
        "http://127.0.0.1/",
        "http://127.255.255.254/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "http://192.168.0.1/",
        "http://100.64.0.1/",
        "http://169.254.1.1/",
        "http://192.0.0.8/",
        "http://198.18.0.1/",
        "http://224.0.0.1/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
    ],
    "IPv4, decimal, octal, hexadecimal, mixed": [
        "http://2130706433/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://0177.0.0.01/",
        "http://0x7f000001/",
        "http://0x7f.0x0.0x0.0x1/",
        "http://0X7F.0.0.1/",
        "http://0x7f.1/",
        "http://127.0x1/",
        "http://00000127.0.0.1/",
        "http://4294967296/",
        "http://2130706433.0/",
    ],
    "IPv4, short and long": [
        "http://127.1/",
        "http://127.0.1/",
        "http://10.1/",
        "http://0/",
        "http://1.2.3.4.5/",
        "http://256.0.0.1/",
        "http://127.0.0.1./",
        "http://127.0.0.1../",
        "http://.127.0.0.1/",
    ],
    "IPv6, plain": [
        "http://[::]/",
        "http://[::1]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[fc00::1]/",
        "http://[fdff::1]/",
        "http://[fe80::1]/",
        "http://[fec0::1]/",
        "http://[ff02::1]/",
        "http://[100::1]/",
        "http://[2001:db8::1]/",
        "http://[3fff::1]/",
        "http://[4000::1]/",
        "http://[5f00::1]/",
    ],
    "IPv4 within IPv6": [
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[0:0:0:0:0:ffff:127.0.0.1]/",
        "http://[::127.0.0.1]/",
        "http://[::7f00:1]/",
        "http://[::ffff:0:127.0.0.1]/",
        "http://[64:ff9b::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b:1::7f00:1]/",
        "http://[64:ff9b:1:7f00:0:100::]/",
        "http://[2002:7f00:1::1]/",
        "http://[2001:0:7f00:1::]/",
        "http://[2001:0:808:808::80ff:fffe]/",
        "http://[2a00:1450::5efe:7f00:1]/",
        "http://[2a00:1450::200:5efe:7f00:1]/",
    ],
    "zones": [
        "http://[fe80::1%eth0]/",
        "http://[fe80::1%25eth0]/",
        "http://[::1%lo]/",
        "http://[2606:4700::1%1]/",
        "http://127.0.0.1%00.example.com/",
    ],
    "brackets": [
        "http://[127.0.0.1]/",
        "http://[8.8.8.8]/",
        "http://[localhost]/",
        "http://[::1/",
        "http://::1/",
        "http://[::1]]/",
        "http://[[::1]]/",
        "http://[]/",
        "http://[::1]example.com/",
        "http://[v1.fe80::1]/",
    ],
    "letters and digits beyond ASCII": [
        "http://１２７.0.0.1/",
        "http://①②⑦.⓪.⓪.①/",
        "http://127。0。0。1/",
        "http://127．0．0．1/",
        "http://127｡0｡0｡1/",
        "http://ⓛocalhost/",
        "http://localhoſt/",
        "http://\u212aelvin.example/",
        "http://b\u00fccher.example/",
        "http://xn--bcher-kva.example/",
        "http://١٢٧.٠.٠.١/",
        "http://exa\u00admple.com/",
        "http://example.com\u2044.evil/",
        "http://[\uff1a\uff1a1]/",
    ],
    "percent signs in the host": [
        "http://%31%32%37.0.0.1/",
        "http://localhost%2e/",
        "http://a%2eb/",
        "http://127.0.0.1%2f.example.com/",
        "http://example.com%40127.0.0.1/",
    ],
    "users, backslashes, fragments": [
        "http://user@127.0.0.1/",
        "http://example.com@127.0.0.1/",
        "http://127.0.0.1@8.8.8.8/",
        "http://user:pw@8.8.8.8/",
        "http://@8.8.8.8/",
        "http://8.8.8.8\\@127.0.0.1/",
        "http://127.0.0.1\\.example.com/",
        "http:\\\\127.0.0.1/",
        "http://8.8.8.8#@127.0.0.1/",
        "http://8.8.8.8?@127.0.0.1/",
        "http://example.com#.127.0.0.1/",
        "http:///127.0.0.1/",
        "http:127.0.0.1/",
        "http:/127.0.0.1/",
        "//127.0.0.1/",
    ],
    "space and control characters": [
        " http://8.8.8.8/",
        "http://8.8.8.8 /",
        "http://8.8.8.8\t/",
        "http://8.8.8.8/\r\nHost: 127.0.0.1",
        "http://8.8.8.8/ HTTP/1.1\r\nX: y\r\n\r\nGET /",
        "http://127.0.0.1\x00.example.com/",
        "ht\ntp://127.0.0.1/",
        "http://127.0.\n0.1/",
    ],
    "other schemes": [
        "file:///etc/passwd",
        "ftp://8.8.8.8/",
        "gopher://8.8.8.8:70/_x",
        "dict://8.8.8.8/",
        "unix:///var/run/docker.sock",
        "jar:http://8.8.8.8!/",
        "data:,x",
        "javascript:1",
        "ws://8.8.8.8/",
        "https+unix://x/",
        "",
        "8.8.8.8",
    ],
    "ports": [
        "http://8.8.8.8:0/",
        "http://8.8.8.8:65536/",
        "http://8.8.8.8:99999/",
        "http://8.8.8.8:-1/",
        "http://8.8.8.8:+80/",
        "http://8.8.8.8:8 0/",
        "http://8.8.8.8:80:80/",
        "http://8.8.8.8:0x50/",
        "http://8.8.8.8:\u0668\u0660/",
        "http://8.8.8.8:22/",
        "http://8.8.8.8:25/",
        "http://8.8.8.8:6379/",
        "http://8.8.8.8:11211/",
        "http://8.8.8.8:05432/",
    ],
    "names": [f"http://{name}/" for name in NAMES if "odd" not in name] + ["http://odd.example/", "http://LOCALHOST/"],
}

METADATA = {
    "AWS, Azure, Google, Oracle, OpenStack and others": [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://[fd20:ce::254]/",
        "http://[fd00:c1::a9fe:a9fe]/",
        "http://[fe80::a9fe:a9fe]/",
        "http://metadata.google.internal/",
    ],
    "credentials of containers": ["http://169.254.170.2/", "http://169.254.170.23/", "http://[fd00:ec2::23]/"],
    "AWS's names and time": ["http://169.254.169.253/", "http://169.254.169.123/", "http://[fd00:ec2::253]/"],
    "Azure's wire server": ["http://168.63.129.16/"],
    "Alibaba, Tencent, Oracle classic, Scaleway, Akamai": [
        "http://100.100.100.200/",
        "http://169.254.0.23/",
        "http://192.0.0.192/",
        "http://169.254.42.42/",
        "http://[fd00:42::42]/",
        "http://[fd00:a9fe:a9fe::1]/",
    ],
    "carried": [
        "http://[::ffff:169.254.169.254]/",
        "http://[::169.254.169.254]/",
        "http://[::ffff:0:169.254.169.254]/",
        "http://[64:ff9b::169.254.169.254]/",
        "http://[64:ff9b:1::169.254.169.254]/",
        "http://[64:ff9b:1:a9fe:a9:fe00::]/",
        "http://[2002:a9fe:a9fe::1]/",
        "http://[2001:0:a9fe:a9fe::]/",
        "http://[2001:0:808:808::5601:5601]/",
        "http://[2a00:1450::5efe:a9fe:a9fe]/",
    ],
}


class Names:
    """A resolver of the names above. It never leaves this process; what it was asked is kept."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        looks = NAMES.get(host)
        if looks is None:
            raise OSError(host)
        self.asked.append(host)
        return looks[min(self.asked.count(host), len(looks)) - 1]


async def fate(url: str, allow: Sequence[object] = ()) -> UpstreamFailed:
    async with OutboundClient(allow, resolve=Names()) as client:  # type: ignore[arg-type]
        with pytest.raises(UpstreamFailed) as caught:
            async with client.request("GET", url, subject="sut", seconds=2):
                pass
    return caught.value


@pytest.mark.parametrize("form", FORGERIES)
async def test_no_forgery_is_called(form: str) -> None:
    told = {url: (await fate(url)).fault for url in FORGERIES[form] if not is_public_at_heart(url)}
    assert {url: fault for url, fault in told.items() if fault is not UpstreamFault.BLOCKED} == {}


def is_public_at_heart(url: str) -> bool:
    """Forms that every parser reads as the public address before them; they are called as that."""
    return url in ("http://8.8.8.8#@127.0.0.1/", "http://8.8.8.8?@127.0.0.1/", "http://example.com#.127.0.0.1/")


async def test_what_follows_a_host_is_no_host() -> None:
    """A question or number sign ends the host, in whatever way the rest looks like one."""
    for rest in (
        "#@93.184.216.34/",
        "?@93.184.216.34/",
        "#.93.184.216.34",
        "/@93.184.216.34",
        "?x=http://93.184.216.34/",
    ):
        assert "a loopback address" in (await fate(f"http://127.0.0.1{rest}")).message


@pytest.mark.parametrize("form", METADATA)
async def test_metadata_is_not_called_even_where_everything_is_allowed(form: str) -> None:
    for url in METADATA[form]:
        error = await fate(url, EVERYTHING)
        assert error.fault is UpstreamFault.BLOCKED, url
        assert "metadata" in error.message, url
        assert "--allow-private" not in error.message, url


async def test_refusals_of_public_places_are_none() -> None:
    """The table would pass on a client that refuses everything: these get as far as the look-up."""
    for url in ("http://unknown.example/", "https://unknown.example:8443/v1", "http://a_b.example:8080/x"):
        assert (await fate(url)).fault is UpstreamFault.UNREACHABLE


def test_ports_of_other_protocols_are_refused() -> None:
    for port in (22, 25, 53, 110, 143, 389, 587, 993, 2049, 5432, 6000, 6379, 6667, 11211, 27017):
        assert not is_callable_port(port)
    for port in (80, 443, 3000, 5000, 8000, 8080, 8443, 9000, 11434, 40000, 65535):
        assert is_callable_port(port)
    assert not is_callable_port(0)
    assert not is_callable_port(1 << 16)
