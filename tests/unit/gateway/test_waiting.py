"""The laws of waiting for a slot, with the admission of one process behind it."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from caio.gateway import waiting as module
from caio.gateway.ports import Actual, Ask, Grant, ServiceBusy
from caio.gateway.waiting import Place, SlotQueues, WakingAdmission
from tests.support.admissions import ask

BUSY = ServiceBusy("echo concurrent", 1, 1)


class OneSlot:
    """An admission with one slot, which counts how many had it at once."""

    def __init__(self) -> None:
        self.held = 0
        self.asked = 0

    async def admit(self, ask: Ask, now: int) -> Grant | ServiceBusy:
        self.asked += 1
        if self.held:
            return BUSY
        self.held += 1
        return Grant(ask)

    async def move(self, grant: Grant, ask: Ask, now: int) -> Grant | ServiceBusy:
        self.held -= 1
        return Grant(ask)

    async def settle(self, grant: Grant, actual: Actual) -> None:
        self.held -= 1

    def settling(self, grant: Grant, actual: Actual) -> None:
        self.held -= 1


async def _get(queues: SlotQueues, admission: WakingAdmission, seconds: float = 5.0) -> Grant | None:
    """A slot, waited for as ``Course`` does."""
    wish = ask("echo")
    if queues.ahead("acme", "echo", None) is None:
        granted = await admission.admit(wish, 0)
        if isinstance(granted, Grant):
            return granted
    with queues.joined("acme", "echo", BUSY, monotonic() + seconds) as place:
        while place is not None and await queues.turn("acme", "echo", place):
            if queues.ahead("acme", "echo", place) is not None:
                continue
            granted = await admission.admit(wish, 0)
            if isinstance(granted, Grant):
                return granted
    return None


@pytest.fixture
def slot() -> OneSlot:
    return OneSlot()


@pytest.fixture
def queues() -> SlotQueues:
    return SlotQueues()


def _waking(slot: OneSlot, queues: SlotQueues) -> WakingAdmission:
    return WakingAdmission(slot, queues)


async def test_slots_are_given_in_the_order_of_coming(slot: OneSlot, queues: SlotQueues) -> None:
    admission, had = _waking(slot, queues), list[int]()

    async def work(number: int) -> None:
        grant = await _get(queues, admission)
        assert grant is not None
        had.append(number)
        assert slot.held == 1
        await asyncio.sleep(0.002)
        await admission.settle(grant, Actual())

    workers = []
    for number in range(12):
        workers.append(asyncio.ensure_future(work(number)))
        await asyncio.sleep(0)
    started = monotonic()
    await asyncio.gather(*workers)
    assert had == list(range(12))
    assert monotonic() - started < 12 * module.POLL_SECONDS / 2  # woken, not by polls
    assert not queues
    assert queues.waiting("acme", "echo") == 0


async def test_slots_that_other_processes_free_are_found_by_looking(slot: OneSlot, queues: SlotQueues) -> None:
    admission = _waking(slot, queues)
    await slot.admit(ask("echo"), 0)
    waiting = asyncio.ensure_future(_get(queues, admission))
    await asyncio.sleep(0.01)
    slot.held = 0  # nobody here is told
    assert await asyncio.wait_for(waiting, 20) is not None


async def test_nobody_waits_for_long(slot: OneSlot, queues: SlotQueues) -> None:
    admission = _waking(slot, queues)
    await slot.admit(ask("echo"), 0)
    assert await asyncio.wait_for(_get(queues, admission, 0.05), 2) is None
    assert not queues


async def test_no_more_wait_than_may(slot: OneSlot) -> None:
    queues = SlotQueues(most_waiting=2)
    admission = _waking(slot, queues)
    await slot.admit(ask("echo"), 0)
    waiting = [asyncio.ensure_future(_get(queues, admission)) for _ in range(2)]
    await asyncio.sleep(0)
    assert queues.waiting("acme", "echo") == 2
    assert await asyncio.wait_for(_get(queues, admission), 0.5) is None
    assert queues.waiting("acme", "echo") == 2
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not queues


async def test_whoever_leaves_lets_the_next_one_try(slot: OneSlot, queues: SlotQueues) -> None:
    admission = _waking(slot, queues)
    grant = await admission.admit(ask("echo"), 0)
    assert isinstance(grant, Grant)
    first = asyncio.ensure_future(_get(queues, admission))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(_get(queues, admission))
    await asyncio.sleep(0.01)
    await admission.settle(grant, Actual())  # wakes the first one
    first.cancel()  # who goes without taking the slot
    got = await asyncio.wait_for(second, 0.5 * module.POLL_SECONDS + 1)
    assert got is not None
    moved = asyncio.ensure_future(_get(queues, admission))
    await asyncio.sleep(0.01)
    await admission.move(got, ask("other"), 0)  # a fallback frees the slot, too
    assert await asyncio.wait_for(moved, 20) is not None


async def test_who_comes_later_waits_behind(queues: SlotQueues) -> None:
    with queues.joined("acme", "echo", BUSY, monotonic() + 5) as place:
        assert isinstance(place, Place)
        assert queues.ahead("acme", "echo", None) is BUSY
        assert queues.ahead("acme", "echo", place) is None
        assert queues.ahead("rival", "echo", None) is None
        assert queues.ahead("acme", "other", None) is None
    assert queues.ahead("acme", "echo", None) is None
