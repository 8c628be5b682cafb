"""A run goes on only when its decision was durable soon enough after its admission."""

import asyncio
import time

import pytest

from caio.foundation.errors import NotReady
from caio.gateway import in_time
from caio.gateway.in_time import InTime


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(in_time, "GRANT_DURABLE_SECONDS", 0.05)


async def test_a_run_whose_decision_is_not_durable_in_time_is_abandoned():
    entering = asyncio.get_running_loop().create_future()
    started = time.monotonic()
    with pytest.raises(NotReady) as caught, InTime(started, entering):
        await asyncio.sleep(5)
    assert caught.value.code == "journal_overloaded"
    assert time.monotonic() - started < 2


async def test_a_run_whose_decision_is_durable_may_take_its_time():
    entering = asyncio.ensure_future(asyncio.sleep(0))
    with InTime(time.monotonic(), entering):
        await asyncio.sleep(0.15)
    late = asyncio.get_running_loop().create_future()
    # Of somebody else's: not mistaken for a journal's.
    with pytest.raises(TimeoutError), InTime(time.monotonic(), late):
        raise TimeoutError
    late.set_result(None)
    await asyncio.sleep(0)


@pytest.mark.parametrize("turns", range(4))
async def test_a_stalled_loop_lends_no_time(turns):
    """Whatever the loop gets round to first after it: the timer, the decision, or the run itself."""
    entering = asyncio.get_running_loop().create_future()

    async def enter():
        for _ in range(turns):
            await asyncio.sleep(0)
        time.sleep(0.1)  # noqa: ASYNC251 - the stall
        entering.set_result(None)

    stalling = asyncio.ensure_future(enter())
    with pytest.raises(NotReady), InTime(time.monotonic(), entering):
        await asyncio.shield(entering)
    await stalling


async def test_time_before_the_decision_is_entered_counts():
    """Between the admission and the journal the loop may stall too; what is durable then comes too late."""
    entering = asyncio.get_running_loop().create_future()
    entering.set_result(None)
    with pytest.raises(NotReady), InTime(time.monotonic() - 0.06, entering):
        await asyncio.shield(entering)
