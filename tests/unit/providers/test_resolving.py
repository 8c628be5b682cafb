"""The laws of looking up names."""

import asyncio
from threading import Event

import pytest

from caio.providers.resolving import MOST_EACH, Resolver


@pytest.fixture
def held():
    """Set at the end, so that no thread is left behind."""
    event = Event()
    yield event
    event.set()


async def test_a_slow_domain_holds_up_itself_alone(held):
    asked = []

    def look_up(host):
        asked.append(host)
        if host.endswith("hostile.example"):
            held.wait(5)
        return ["192.0.2.1"]

    resolver = Resolver(look_up)
    slow = [asyncio.create_task(resolver.addresses(f"a{at}.hostile.example", 80)) for at in range(4 * MOST_EACH)]
    await asyncio.sleep(0.05)
    for each in slow[:20]:
        each.cancel()  # who gives up frees no thread
    found = [resolver.addresses(name, 80) for name in ("good.example", "api.other.example", "localhost")]
    assert await asyncio.wait_for(asyncio.gather(*found), 2) == [["192.0.2.1"]] * 3
    assert sum(host.endswith("hostile.example") for host in asked) == MOST_EACH
    held.set()
    assert await asyncio.wait_for(asyncio.gather(*slow[20:]), 2) == [["192.0.2.1"]] * (len(slow) - 20)


async def test_a_name_is_looked_up_once_at_a_time(held):
    asked = []

    def look_up(host):
        asked.append(host)
        held.wait(5)
        return ["192.0.2.1"]

    resolver = Resolver(look_up)
    waiting = [asyncio.create_task(resolver.addresses("a.example", 80)) for _ in range(9)]
    await asyncio.sleep(0.05)
    waiting[0].cancel()
    held.set()
    assert await asyncio.gather(*waiting[1:]) == [["192.0.2.1"]] * 8
    assert await resolver.addresses("a.example", 80) == ["192.0.2.1"]
    assert asked == ["a.example"] * 2


@pytest.mark.parametrize("error", [OSError("nothing"), UnicodeError("no name")])
async def test_a_name_without_an_address_is_an_os_error(error):
    def look_up(host):
        raise error

    with pytest.raises(OSError, match="no address"):
        await Resolver(look_up).addresses("a.example", 80)


async def test_the_system_is_asked():
    assert "127.0.0.1" in await Resolver().addresses("localhost", 80)
