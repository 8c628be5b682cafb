"""The laws of one process's breakers."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.gateway.breakers import MOST_UNTOLD, Breakers
from caio.gateway.health import FAILED_OF_WINDOW, FIRST_WAIT, IN_A_ROW, WINDOW, Cause
from caio.routing.model import Offer, Ranked

NOW = 1_700_000_000_000_000
FAULT = UpstreamFailed("no", UpstreamFault.UPSTREAM)


def offer(name: str, version: str = "1.0.0") -> Offer:
    return cast(Offer, SimpleNamespace(service_id=name, version=version))


def ranked(*names: str) -> Sequence[Ranked]:
    return [cast(Ranked, SimpleNamespace(offer=offer(name))) for name in names]


def open_up(breakers: Breakers, name: str, tenant_id: str = "acme") -> None:
    for _ in range(IN_A_ROW):
        breakers.failed(tenant_id, offer(name), FAULT, NOW)


def eject(breakers: Breakers, name: str) -> None:
    for _ in range(FAILED_OF_WINDOW):
        breakers.succeeded("acme", offer(name), NOW)
        breakers.failed("acme", offer(name), FAULT, NOW)


def test_one_tenants_trouble_is_no_others() -> None:
    breakers = Breakers()
    open_up(breakers, "a")
    assert breakers.order("acme", ranked("a"), NOW) == []
    assert list(breakers.order("rival", ranked("a"), NOW)) == [0]
    assert not breakers.has_trouble("rival")


def test_another_version_is_another_service() -> None:
    breakers = Breakers()
    open_up(breakers, "a")
    newer = [cast(Ranked, SimpleNamespace(offer=offer("a", "1.0.1")))]
    assert breakers.order("acme", newer, NOW) == [0]


def test_shut_services_are_left_out_and_ejected_ones_come_last() -> None:
    breakers = Breakers()
    open_up(breakers, "a")
    eject(breakers, "b")
    assert breakers.order("acme", ranked("a", "b", "c", "d"), NOW) == [2, 3, 1]
    assert breakers.wait("acme", ranked("a", "b"), NOW) == FIRST_WAIT
    assert breakers.wait("acme", ranked("a", "c"), NOW) == 0


def test_at_most_half_are_ejected() -> None:
    breakers = Breakers()
    for name in "abc":
        eject(breakers, name)
    assert breakers.order("acme", ranked("a", "b", "c", "d"), NOW) == [2, 3, 0, 1]
    assert breakers.order("acme", ranked("a", "d"), NOW) == [1, 0]
    assert breakers.order("acme", ranked("a"), NOW) == [0]


def test_of_calls_at_once_one_is_the_probe() -> None:
    breakers = Breakers()
    open_up(breakers, "a")
    assert not breakers.take_probe("acme", offer("a"), NOW)
    later = NOW + FIRST_WAIT
    assert breakers.order("acme", ranked("a"), later) == [0]
    assert breakers.take_probe("acme", offer("a"), later)
    assert not breakers.take_probe("acme", offer("a"), later)
    assert breakers.order("acme", ranked("a"), later) == []
    assert breakers.wait("acme", ranked("a"), later) > 0
    breakers.give_back_probe("acme", offer("a"))
    assert breakers.take_probe("acme", offer("a"), later)
    breakers.succeeded("acme", offer("a"), later, probe=True)
    assert breakers.order("acme", ranked("a"), later) == [0]


def test_healthy_services_hold_nothing() -> None:
    breakers = Breakers()
    for _ in range(3):
        breakers.succeeded("acme", offer("a"), NOW)
    breakers.failed("acme", offer("a"), UpstreamFailed("no", UpstreamFault.INVALID), NOW)
    assert (len(breakers), breakers.has_trouble("acme")) == (0, False)
    breakers.failed("acme", offer("a"), FAULT, NOW)
    assert len(breakers) == 1
    for _ in range(WINDOW):
        breakers.succeeded("acme", offer("a"), NOW)
    assert (len(breakers), breakers.has_trouble("acme")) == (0, False)


def test_memory_is_bounded() -> None:
    breakers = Breakers(most=3)
    for number in range(5):
        open_up(breakers, f"s{number}", tenant_id=f"t{number % 2}")
    assert len(breakers) == 3
    assert breakers.order("t0", ranked("s4"), NOW) == []
    for number in range(MOST_UNTOLD + 5):
        breakers.failed("acme", offer(f"n{number}"), UpstreamFailed("no", UpstreamFault.QUOTA), NOW)
    told = breakers.untold()
    assert len(told) == MOST_UNTOLD
    assert told[-1].service_id == f"n{MOST_UNTOLD + 4}"


def test_what_changes_is_told_once_and_taken_over() -> None:
    one, other = Breakers(), Breakers()
    open_up(one, "a")
    assert one.changed.is_set()
    changes = one.untold()
    assert [(each.service_id, each.cause) for each in changes] == [("a", Cause.IN_A_ROW)]
    assert not one.untold()
    for each in changes:
        other.adopt(each)
    assert other.order("acme", ranked("a"), NOW) == []
    assert not other.untold()  # what is taken over is not told again
    later = NOW + FIRST_WAIT
    assert other.take_probe("acme", offer("a"), later)
    other.succeeded("acme", offer("a"), later, probe=True)
    for each in other.untold():
        one.adopt(each)
    assert one.order("acme", ranked("a"), later) == [0]


def test_what_could_not_be_told_gives_way_to_what_is_newer() -> None:
    breakers = Breakers()
    open_up(breakers, "a")
    old = breakers.untold()
    later = NOW + FIRST_WAIT
    breakers.take_probe("acme", offer("a"), later)
    breakers.succeeded("acme", offer("a"), later, probe=True)
    breakers.tell_again(old)
    assert [each.cause for each in breakers.untold()] == [None]
