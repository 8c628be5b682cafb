"""The copy of service limits that calls are admitted by: read by one of many, and not kept past a change."""

import asyncio
from typing import Any

import pytest

from caio.registry.service_limits import ServiceLimits
from caio.tenancy.authentication import embedded_scope

SCOPE = embedded_scope("acme")


class Store:
    """Answers when it is let; ``found`` is what stands at that time."""

    def __init__(self) -> None:
        self.asked = 0
        self.found: Any = {}
        self.let = asyncio.Event()

    async def all(self, scope):
        self.asked += 1
        found = self.found
        await self.let.wait()
        if isinstance(found, Exception):
            raise found
        return found


def limits_of(store):
    nobody: Any = None
    return ServiceLimits(store, nobody, nobody, lambda: 0, lambda: 0.0)


async def test_of_many_calls_at_once_one_reads():
    store = Store()
    limits = limits_of(store)
    waiting = [asyncio.create_task(limits.read(SCOPE)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # the one that began it: the others do not notice
    await asyncio.sleep(0)
    store.let.set()
    assert await asyncio.gather(*waiting[1:]) == [{}] * 4
    assert store.asked == 1
    assert limits.fresh(SCOPE.tenant_id) == {}


async def test_a_failed_look_up_is_everybodys_and_is_not_kept():
    store = Store()
    store.found = OSError("away")
    limits = limits_of(store)
    waiting = [asyncio.create_task(limits.read(SCOPE)) for _ in range(2)]
    store.let.set()
    for each in waiting:
        with pytest.raises(OSError, match="away"):
            await each
    store.found = {}
    assert await limits.read(SCOPE) == {}


async def test_what_was_read_before_a_change_is_not_kept():
    store = Store()
    limits = limits_of(store)
    before = asyncio.create_task(limits.read(SCOPE))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    limits._forget(SCOPE.tenant_id)  # as every change does
    store.found = {"echo": "changed"}
    after = asyncio.create_task(limits.read(SCOPE))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    store.let.set()
    assert await before == {}
    assert await after == {"echo": "changed"}
    assert limits.fresh(SCOPE.tenant_id) == {"echo": "changed"}
