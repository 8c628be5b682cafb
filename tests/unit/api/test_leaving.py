"""The laws of noticing that a caller has gone away."""

import asyncio

import pytest

from caio.api import leaving
from caio.api.leaving import ClientGone, unless_gone


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(leaving, "WATCH_AFTER", 0.02)


class Caller:
    def __init__(self):
        self.left = asyncio.Event()
        self.asked = 0

    async def receive(self):
        self.asked += 1
        await self.left.wait()
        return {"type": "http.disconnect"}


async def test_a_caller_who_leaves_cancels_the_work():
    caller, seen = Caller(), []

    async def work():
        try:
            await asyncio.sleep(5)
        finally:
            await asyncio.sleep(0.01)  # what must be done in any case
            seen.append("ended")

    asyncio.get_running_loop().call_later(0.05, caller.left.set)
    with pytest.raises(ClientGone):
        await unless_gone(caller.receive, work())
    assert seen == ["ended"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # the task goes on as if nothing had been


async def test_who_left_before_is_noticed_too():
    caller = Caller()
    caller.left.set()
    with pytest.raises(ClientGone):
        await unless_gone(caller.receive, asyncio.sleep(5))


async def test_a_call_that_is_soon_over_is_not_watched():
    caller = Caller()
    assert await unless_gone(caller.receive, asyncio.sleep(0, "answer")) == "answer"
    await asyncio.sleep(0.05)
    assert caller.asked == 0


async def test_an_error_of_the_work_is_its_own():
    async def work():
        await asyncio.sleep(0.05)
        raise ValueError

    caller = Caller()
    with pytest.raises(ValueError):
        await unless_gone(caller.receive, work())
    assert caller.asked == 1
    caller.left.set()
    await asyncio.sleep(0.01)  # nobody is cancelled any more


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_cancelled_call_is_not_mistaken_for_one_whose_caller_left(leaves):
    caller = Caller()
    calling = asyncio.create_task(unless_gone(caller.receive, asyncio.sleep(5)))
    await asyncio.sleep(0.05)
    if leaves:
        caller.left.set()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
