"""The laws of addresses: which ones a tenant may make this process call."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.providers.addresses import HostRefused, literal, read_address, refusal

LOOPBACK = (ip_network("127.0.0.0/8"),)
EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))

PUBLIC = ["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "192.0.1.1"]
PUBLIC += ["223.255.255.255", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8", "2a00:1450::1"]

SPECIAL = {
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fdff::1"],
    "link-local": ["169.254.1.1", "fe80::1", "febf::1"],
    "NAT": ["100.64.0.1", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1"],
    "reserved": ["192.0.0.8", "192.88.99.1", "240.0.0.1", "255.255.255.255", "2001:1::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarking": ["198.18.0.1", "198.19.255.255"],
    "outside": ["100::1", "4000::1", "fec0::1", "64:ff9b:1::808:808"],
}

METADATA = ["169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16", "192.0.0.192"]
METADATA += ["169.254.0.23", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "::ffff:169.254.169.254"]
METADATA += ["64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "::169.254.169.254"]


def carriers(inner: IPv4Address) -> dict[str, IPv6Address]:
    """Every IPv6 form that carries an IPv4 address, built from its definition."""
    number = int(inner)
    return {
        "mapped": IPv6Address(0xFFFF << 32 | number),
        "compatible": IPv6Address(number),
        "translated": IPv6Address(0xFFFF << 48 | number),
        "nat64": IPv6Address(0x64FF9B << 96 | number),
        "local nat64": IPv6Address(0x64FF9B << 96 | 1 << 80 | number),
        "6to4": IPv6Address(0x2002 << 112 | number << 80 | 1),
        "teredo server": IPv6Address(0x20010000 << 96 | number << 64),
        "teredo client": IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | number ^ 0xFFFFFFFF),
        "isatap": IPv6Address(0x2A001450 << 96 | 0x5EFE << 32 | number),
        "global isatap": IPv6Address(0x2A001450 << 96 | 0x2005EFE << 32 | number),
    }


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_may_be_called(text):
    assert refusal(ip_address(text), ()) is None


@pytest.mark.parametrize(("what", "text"), [(what, text) for what, texts in SPECIAL.items() for text in texts])
def test_special_addresses_are_refused(what, text):
    reason = refusal(ip_address(text), ())
    assert reason is not None
    assert what in reason.what
    assert reason.allowable


@given(st.ip_addresses(v=4))
def test_embedded_addresses_are_judged_too(inner):
    alone = refusal(inner, ())
    for form, outer in carriers(inner).items():
        reason = refusal(outer, ())
        if alone is not None:
            assert reason is not None, form
            assert reason.allowable <= alone.allowable, form
        if form == "mapped":
            assert reason == alone


@pytest.mark.parametrize("inner", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.1.1"])
def test_no_form_hides_a_refused_address(inner):
    """Allowing the carrying network does not allow what it carries."""
    for form, outer in carriers(IPv4Address(inner)).items():
        allow = () if form == "mapped" else (ip_network(f"{outer}/16", strict=False),)
        assert refusal(outer, allow) is not None, form


def test_the_allow_list_lifts_refusals():
    assert refusal(ip_address("127.0.0.1"), LOOPBACK) is None
    assert refusal(ip_address("::ffff:127.0.0.1"), LOOPBACK) is None
    assert refusal(ip_address("10.0.0.1"), LOOPBACK) is not None
    assert refusal(ip_address("::1"), LOOPBACK) is not None
    assert refusal(ip_address("64:ff9b::127.0.0.1"), LOOPBACK) is None
    assert refusal(ip_address("2002:7f00:1::"), LOOPBACK) is not None


@pytest.mark.parametrize("text", METADATA)
def test_metadata_is_never_allowed(text):
    reason = refusal(ip_address(text), EVERYTHING)
    assert reason is not None
    assert not reason.allowable


ODD = ["127.1", "2130706433", "0x7f000001", "0X7F.1", "0177.0.0.1", "127.0.0.01", "127.0.0.1.", "1.2.3.4.5", "0x"]
ODD += ["256.1.1.1", "1.2.3", "a.b.1", "fe80::1%eth0", "fe80::1%25eth0", "1:2", "::ffff:1.2.3", "127.0.0.1%00.x"]
ODD += ["", ".", "a..b", "-a.b", "a b", "a\x00b", "a/b", "ünïcode", "x" * 64, f"a.{'x' * 64}.example", "x" * 254]


@pytest.mark.parametrize("host", ODD)
def test_odd_spellings_are_refused(host):
    with pytest.raises(HostRefused):
        literal(host)


def test_plain_hosts_are_read():
    assert literal("127.0.0.1") == ip_address("127.0.0.1")
    assert literal("::1") == ip_address("::1")
    for name in ("localhost", "api.example.com", "a_b.internal", "xn--bcher-kva.example", "0x7f.example", "host."):
        assert literal(name) is None
    assert literal(f"{'x' * 63}.example") is None


def test_resolved_addresses_carry_no_zone():
    assert read_address("8.8.8.8") == ip_address("8.8.8.8")
    for text in ("fe80::1%eth0", "nonsense", "127.1"):
        with pytest.raises(HostRefused):
            read_address(text)
