"""The laws of who begins next: on a real event loop."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest

from caio.foundation.errors import NotReady
from caio.gateway import starts as module
from caio.gateway.starts import Starts


async def _call(starts: Starts, name: str, began: list[str]) -> None:
    waits = starts.begin(name[0])
    try:
        if waits is not None:
            await waits
        began.append(name)
    finally:
        starts.ended()


async def test_one_call_a_turn_begins() -> None:
    starts, began = Starts(100), list[str]()
    calls = [asyncio.ensure_future(_call(starts, f"a{number}", began)) for number in range(4)]
    counts = []
    while len(began) < 4:
        await asyncio.sleep(0)
        counts.append(len(began))
    await asyncio.gather(*calls)
    assert max(later - earlier for earlier, later in pairwise(counts)) == 1
    assert began == ["a0", "a1", "a2", "a3"]
    await asyncio.sleep(0)
    assert starts.begin("a") is None  # nothing waits: at once
    starts.ended()


async def test_tenants_take_turns() -> None:
    starts, began = Starts(1_000), list[str]()
    burst = [asyncio.ensure_future(_call(starts, f"a{number:02}", began)) for number in range(50)]
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(_call(starts, name, began)) for name in ("b1", "c1", "b2")]
    await asyncio.gather(*burst, *others)
    for tenant in "abc":
        mine = [name for name in began if name[0] == tenant]
        assert mine == sorted(mine)
    # Who has few calls waits for as many of the others as there are others, and no more.
    assert max(began.index(name) for name in ("b1", "c1")) <= 6
    assert began.index("b2") <= 9


async def test_the_longest_queue_is_cut() -> None:
    starts, began = Starts(1_000, most_waiting=10), list[str]()
    burst = [asyncio.ensure_future(_call(starts, f"a{number:02}", began)) for number in range(20)]
    await asyncio.sleep(0)
    quiet = [asyncio.ensure_future(_call(starts, f"b{number}", began)) for number in range(3)]
    results = await asyncio.gather(*burst, *quiet, return_exceptions=True)
    refused = [result for result in results if result is not None]
    assert all(isinstance(result, NotReady) and result.code == "overloaded" for result in refused)
    assert {"b0", "b1", "b2"} <= set(began)
    assert starts.sent_away == len(refused) >= 8
    assert (starts.in_flight, starts.waiting) == (0, 0)


async def test_no_more_in_flight_than_may_be() -> None:
    starts = Starts(2)
    first, second = starts.begin("a"), starts.begin("b")
    assert first is None
    assert second is not None
    assert starts.is_shedding
    with pytest.raises(NotReady) as caught:
        starts.begin("c")
    assert caught.value.retry_after == 1
    second.cancel()  # its caller went before it began
    starts.ended()
    starts.ended()
    assert starts.in_flight == 0
    for _ in range(3):
        await asyncio.sleep(0)
    assert starts.begin("c") is None


async def test_a_call_whose_caller_went_takes_no_turn() -> None:
    starts, began = Starts(100), list[str]()
    calls = [asyncio.ensure_future(_call(starts, f"a{number}", began)) for number in range(5)]
    await asyncio.sleep(0)
    for gone in calls[1:4]:
        gone.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert began == ["a0", "a4"]
    assert (starts.in_flight, starts.waiting) == (0, 0)


def _late(starts: Starts) -> bool:
    return starts.is_late


async def test_a_process_that_runs_late_sends_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PULSE_SECONDS", 0.005)
    monkeypatch.setattr(module, "LATE_SECONDS", 0.05)
    starts = Starts(100)
    await starts.start()
    try:
        for number in range(20):
            assert not (_late(starts) and number < module.LATE_TIMES)
            if _late(starts):
                break
            await asyncio.sleep(0.002)
            time.sleep(0.08)  # noqa: ASYNC251 - what makes a loop late
        assert _late(starts)
        with pytest.raises(NotReady):
            starts.begin("a")
        for _ in range(200):
            await asyncio.sleep(0.01)
            if not _late(starts):
                break
        assert starts.begin("a") is None
    finally:
        await starts.stop()
