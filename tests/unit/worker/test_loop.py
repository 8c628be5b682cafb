"""Loops and the worker that runs them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from caio.worker.loop import Loop, Worker


async def test_a_step_never_overlaps_itself() -> None:
    inside, most, steps = 0, 0, 0

    async def step() -> int:
        nonlocal inside, most, steps
        inside, steps = inside + 1, steps + 1
        most = max(most, inside)
        await asyncio.sleep(0.001)
        inside -= 1
        return 1

    loop = Loop("busy", 0.001, step)
    worker = Worker([loop])
    await worker.start()
    for _ in range(50):
        loop.wake()
        await asyncio.sleep(0.001)
    await worker.stop()
    assert steps > 10
    assert most == 1


async def test_a_failure_ends_no_loop(wait_for_async: Callable[..., Awaitable[object]]) -> None:
    outcomes: list[RuntimeError | int] = [RuntimeError("away"), RuntimeError("away"), 0, 0, 0]
    made: list[int] = []

    async def step() -> int:
        made.append(len(made))
        outcome = outcomes[min(len(made), len(outcomes)) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    worker = Worker([Loop("flaky", 0.01, step)])
    await worker.start()
    await wait_for_async(lambda: len(made) >= 5)
    assert worker.trouble is None
    await worker.stop()


async def test_a_failure_waits_longer_each_time() -> None:
    async def step() -> int:
        raise RuntimeError("away")

    loop = Loop("down", 1.0, step)
    pauses = [await loop._once() for _ in range(12)]
    for number, pause in enumerate(pauses):
        longest = min(60.0, 2.0 ** (number + 1))
        assert longest / 2 <= pause <= longest


async def test_one_loops_trouble_stays_its_own(wait_for_async: Callable[..., Awaitable[object]]) -> None:
    good: list[int] = []

    async def bad_step() -> int:
        raise RuntimeError("broken")

    async def good_step() -> int:
        good.append(1)
        return 0

    worker = Worker([Loop("bad", 0.01, bad_step), Loop("good", 0.01, good_step)])
    await worker.start()
    await wait_for_async(lambda: len(good) > 3)
    await worker.stop()


async def test_stopping_finishes_the_present_step() -> None:
    began, ended, finished = asyncio.Event(), False, False

    async def step() -> int:
        nonlocal ended
        assert not ended, "no step begins after the stop"
        began.set()
        await asyncio.sleep(0.05)
        ended = True
        return 1

    async def finish() -> None:
        nonlocal finished
        assert ended
        finished = True

    worker = Worker([Loop("slow", 0.001, step, finish=finish)])
    await worker.start()
    await began.wait()
    await worker.stop()
    assert ended
    assert finished
    await worker.stop()


async def test_a_step_that_does_not_end_is_cut_off_after_the_grace() -> None:
    cut = False

    async def step() -> int:
        nonlocal cut
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cut = True
            raise
        return 0

    worker = Worker([Loop("stuck", 1, step)], grace=0.05)
    await worker.start()
    await asyncio.sleep(0.01)
    await worker.stop()
    assert cut


async def test_health_is_what_was_done() -> None:
    now, fails = 1000.0, False

    async def step() -> int:
        if fails:
            raise RuntimeError("away")
        return 0

    loop = Loop("measured", 30.0, step, monotonic=lambda: now)
    worker = Worker([loop])

    def trouble() -> str | None:
        return worker.trouble

    assert trouble() == "the worker does not run"
    await worker.start()
    await asyncio.sleep(0.01)
    assert trouble() is None
    now += 90
    assert trouble() is None, "three periods are not over"
    now += 1
    assert trouble() == "measured has not succeeded for 91 s"
    fails = True
    loop.wake()
    await asyncio.sleep(0.01)
    assert trouble() is not None, "a failure is no sign of health"
    await worker.stop()
    assert trouble() is not None


async def test_work_waits_for_its_time() -> None:
    steps = 0

    async def step() -> int:
        nonlocal steps
        steps += 1
        return 5

    later = Worker([Loop("later", 0.001, step, first_after=60)])
    await later.start()
    await asyncio.sleep(0.02)
    assert later.trouble is None
    await later.stop()
    assert steps == 0
    whole = Worker([Loop("whole", 60, step, drains=False)])
    await whole.start()
    await asyncio.sleep(0.02)
    await whole.stop()
    assert steps == 1, "a step that does all there is, is not followed at once"


async def test_a_worker_starts_once() -> None:
    worker = Worker([])
    await worker.stop()
    running = Worker([Loop("one", 1, lambda: asyncio.sleep(0, 0))])
    await running.start()
    with pytest.raises(RuntimeError):
        await running.start()
    await running.stop()


async def test_trouble_is_logged_once_while_it_lasts() -> None:
    clock = [0.0]

    async def hang() -> int:
        await asyncio.Event().wait()
        return 0

    worker, stopped = Worker([Loop("stuck", 1.0, hang, monotonic=lambda: clock[0])], grace=0.0), asyncio.Event()
    await worker.start()
    await asyncio.sleep(0)
    with capture_logs() as logs:
        watching = asyncio.create_task(worker.watch(stopped, every=0.01))
        await asyncio.sleep(0.05)
        assert logs == []
        clock[0] = 3600.0
        await asyncio.sleep(0.1)
        stopped.set()
        await watching
    assert [(each["event"], each["trouble"]) for each in logs] == [
        ("the worker is in trouble", "stuck has not succeeded for 3600 s")
    ]
    await worker.stop()


async def test_a_loop_tells_its_age_and_its_failures() -> None:
    now, good = 100.0, True

    async def step() -> int:
        if not good:
            raise RuntimeError("away")
        return 0

    loop = Loop("told", 1.0, step, monotonic=lambda: now)
    assert (loop.age, loop.failed) == (0.0, 0)  # it does not run yet
    await loop._once()
    now = 107.5
    assert (loop.age, loop.failed) == (7.5, 0)
    good = False
    for _ in range(3):
        await loop._once()
    now = 110.0
    assert (loop.age, loop.failed) == (10.0, 3)
    good = True
    await loop._once()
    assert (loop.age, loop.failed) == (0.0, 3)  # what failed stays counted


async def test_a_loop_that_fails_is_not_stuck() -> None:
    now, away, ends = 0.0, True, asyncio.Event()

    async def step() -> int:
        if away:
            raise RuntimeError("away")
        await ends.wait()
        return 0

    loop = Loop("told", 1.0, step, monotonic=lambda: now)

    def stuck() -> bool:
        return loop.stuck

    assert not stuck()  # it does not run yet
    for _ in range(30):
        now += 60.0  # the longest pause
        await loop._once()
        assert not stuck()
    away = False
    hanging = asyncio.create_task(loop._once())
    await asyncio.sleep(0)
    now += 360.0
    assert not stuck()
    now += 1.0
    assert stuck()
    ends.set()
    await hanging
    assert not stuck()
