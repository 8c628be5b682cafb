"""The laws of ``tenancy.throttle`` and ``tenancy.addresses``."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.foundation.errors import LimitExceeded
from caio.tenancy.addresses import CallerAddresses
from caio.tenancy.throttle import FAILURES, MOST, REFILL, Throttle

A = "198.51.100.1"
TRUSTED = CallerAddresses([ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")])


def is_held_up(throttle: Throttle, address: str, now: int) -> bool:
    try:
        throttle.check(address, now)
    except LimitExceeded:
        return True
    return False


@given(st.lists(st.integers(0, 3 * REFILL), max_size=80))
def test_an_address_fails_so_often_and_no_more(pauses: list[int]) -> None:
    """Against the exact account of an allowance that comes back."""
    throttle, now, used = Throttle(), 10**15, 0
    for pause in pauses:
        now += pause
        used = max(0, used - pause)
        assert is_held_up(throttle, A, now) == (used > (FAILURES - 1) * REFILL)
        if used <= (FAILURES - 1) * REFILL:
            throttle.failed(A, now)
            used += REFILL


def test_who_is_held_up_is_told_when_to_come_back() -> None:
    throttle = Throttle()
    for _ in range(FAILURES):
        assert not is_held_up(throttle, A, 0)
        throttle.failed(A, 0)
    with pytest.raises(LimitExceeded) as caught:
        throttle.check(A, 0)
    wait = caught.value.retry_after
    assert not is_held_up(throttle, A, wait * 1_000_000)
    assert is_held_up(throttle, A, (wait - 1) * 1_000_000)


def test_memory_is_bounded() -> None:
    throttle = Throttle()
    for number in range(MOST + 10):
        throttle.failed(f"address {number}", number)
    assert len(throttle._full_at) == MOST
    assert "address 9" not in throttle._full_at
    assert f"address {MOST + 9}" in throttle._full_at


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:198.51.100.1", A, True),
        (A, "198.51.100.2", False),
    ],
)
def test_a_network_of_ipv6_is_one_address(one: str, other: str, alike: bool) -> None:
    throttle = Throttle(failures=1)
    throttle.failed(one, 0)
    assert is_held_up(throttle, other, 0) is alike


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_an_untrusted_peer_is_the_caller(forwarded: list[bytes]) -> None:
    for addresses in (TRUSTED, CallerAddresses()):
        assert addresses.of("203.0.113.9", forwarded) == "203.0.113.9"
        assert addresses.of(None, forwarded) == ""


@pytest.mark.parametrize(
    ("forwarded", "caller"),
    [
        ([], "10.0.0.1"),
        ([b"198.51.100.1"], A),
        ([b"1.2.3.4, 198.51.100.1"], A),
        ([b"1.2.3.4", b"198.51.100.1"], A),
        ([b"198.51.100.1", b"10.9.9.9, 10.8.8.8"], A),
        ([b"198.51.100.1:4711"], A),
        ([b"[2001:470::1]:443"], "2001:470::1"),
        ([b"[2001:470::1]"], "2001:470::1"),
        ([b"2001:470::1"], "2001:470::1"),
        ([b"::ffff:198.51.100.1"], A),
        ([b"2001:470::1, 2001:db8::5"], "2001:470::1"),
        ([b"10.2.2.2, 10.3.3.3"], "10.2.2.2"),
    ],
)
def test_the_rightmost_untrusted_address_is_the_caller(forwarded: list[bytes], caller: str) -> None:
    assert TRUSTED.of("10.0.0.1", forwarded) == caller


@pytest.mark.parametrize(
    "garbage",
    [b"", b"unknown", b"_hidden", b"198.51.100.1 evil", b"198.51.100.1:", b"198.51.100.1:x", b"[::1", b"fe80::1%eth0",
     b"\xff\xfe", b"0x7f.1", b"127.1", b"198.51.100.1:123456", b"[2001:470::1]x"],
)  # fmt: skip
def test_garbage_ends_the_chain(garbage: bytes) -> None:
    assert TRUSTED.of("10.0.0.1", [b"198.51.100.1, " + garbage]) == "10.0.0.1"
    assert TRUSTED.of("10.0.0.1", [b"198.51.100.1, " + garbage + b", 10.5.5.5"]) == "10.5.5.5"


@given(st.lists(st.binary(max_size=100), max_size=4))
def test_whatever_is_sent_something_is_the_caller(forwarded: list[bytes]) -> None:
    assert TRUSTED.of("10.0.0.1", forwarded)


def test_a_long_chain_is_read_from_its_end() -> None:
    assert TRUSTED.of("10.0.0.1", [b"1.1.1.1, " * 100_000 + A.encode()]) == A
    assert TRUSTED.of("10.0.0.1", [b"1.1.1.1" + b", 10.1.1.1" * 1000]).startswith("10.1")
