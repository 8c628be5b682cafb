"""The laws of a stream's waits, on the real clock: each is given many times longer than it needs."""

import asyncio
from collections.abc import Awaitable
from time import monotonic

import pytest

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.gateway.waits import Waits

FAR = 3600.0


async def wait(waits: Waits, work: Awaitable[object]) -> None:
    with waits:
        await work


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_wait_ends_when_it_is_idle_too_long() -> None:
    waits = Waits(0.3, monotonic() + FAR)
    began = monotonic()
    for _ in range(40):  # longer together than one may be
        await wait(waits, asyncio.sleep(0.01))
    last = monotonic()
    assert last - began > 0.3
    async with asyncio.timeout(10):
        with pytest.raises(UpstreamFailed, match=r"stalled for 0\.3 s") as caught:
            await wait(waits, never())
    assert caught.value.fault is UpstreamFault.TIMEOUT
    assert monotonic() - last >= 0.29
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_wait_that_is_renewed_begins_anew() -> None:
    waits = Waits(0.3, monotonic() + FAR)
    began = monotonic()

    async def renewed() -> None:
        for _ in range(40):  # longer together than one may be
            await asyncio.sleep(0.01)
            waits.renew()
        await never()

    async with asyncio.timeout(10):
        with pytest.raises(UpstreamFailed, match="stalled"):
            await wait(waits, renewed())
    assert monotonic() - began >= 0.4 + 0.29


async def test_a_wait_ends_at_the_deadline() -> None:
    waits = Waits(FAR, monotonic() + 0.05)
    async with asyncio.timeout(10):
        with pytest.raises(UpstreamFailed, match="passed the request's deadline"):
            await wait(waits, never())
    late = Waits(FAR, monotonic() - 1)
    await wait(late, asyncio.sleep(0))  # what is at hand is taken all the same
    async with asyncio.timeout(10):
        with pytest.raises(UpstreamFailed, match="passed the request's deadline"):
            await wait(late, never())


async def test_time_between_waits_is_nobody_s() -> None:
    waits = Waits(0.1, monotonic() + FAR)
    await wait(waits, asyncio.sleep(0))
    await asyncio.sleep(0.35)
    began = monotonic()
    await wait(waits, asyncio.sleep(0.05))
    async with asyncio.timeout(10):
        with pytest.raises(UpstreamFailed, match="stalled"):
            await wait(waits, never())
    assert monotonic() - began >= 0.14


async def test_a_cancelled_wait_is_not_mistaken_for_a_long_one() -> None:
    waits = Waits(0.05, monotonic() + FAR)
    waiting = asyncio.create_task(wait(waits, never()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_who_is_cancelled_and_waits_too_long_is_cancelled() -> None:
    """Whoever cancelled it is owed that: the wait takes back no more than its own."""
    waits = Waits(0.05, monotonic() + FAR)

    async def stubborn() -> None:
        try:
            await never()
        finally:
            await asyncio.sleep(0.1)  # past the time of the wait

    waiting = asyncio.create_task(wait(waits, stubborn()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_closing_leaves_no_timer() -> None:
    waits = Waits(0.02, monotonic() + FAR)
    await wait(waits, asyncio.sleep(0))
    waits.close()
    with waits:
        waits.close()
        await asyncio.sleep(0.06)
