"""The laws of ``tenancy.attempts``."""

from __future__ import annotations

import asyncio

import pytest

from caio.foundation.errors import LimitExceeded, Unauthenticated
from caio.tenancy.attempts import Attempts
from caio.tenancy.authentication import Authenticator
from caio.tenancy.throttle import FAILURES, REFILL, Throttle

A, NOW = "198.51.100.1", 10**15


class Crowd:
    """Attempts of one address, each of which ends when it is told to."""

    def __init__(self, failures: int) -> None:
        self.attempts = Attempts(Throttle(failures), lambda: NOW)
        self.begun: list[int] = []
        self.ends: dict[int, asyncio.Future[bool]] = {}

    async def attempt(self, number: int) -> str:
        try:
            await self.attempts.begin(A)
        except LimitExceeded:
            return "held up"
        try:
            self.begun.append(number)
            self.ends[number] = asyncio.get_running_loop().create_future()
            if await self.ends[number]:
                return "passed"
            self.attempts.failed(A)
            return "failed"
        finally:
            self.attempts.end(A)

    def end(self, number: int, *, well: bool) -> None:
        self.ends.pop(number).set_result(well)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_as_many_at_a_time_as_may_fail() -> None:
    crowd = Crowd(3)
    tasks = [asyncio.create_task(crowd.attempt(number)) for number in range(100)]
    await settled()
    assert crowd.begun == [0, 1, 2]
    crowd.end(0, well=False)
    await settled()
    assert crowd.begun == [0, 1, 2]
    crowd.end(1, well=True)
    await settled()
    assert len(crowd.begun) == 4
    while crowd.ends:
        crowd.end(next(iter(crowd.ends)), well=False)
        await settled()
    answers = await asyncio.gather(*tasks)
    assert [answers.count(each) for each in ("failed", "passed", "held up")] == [3, 1, 96]


async def test_who_waits_gets_a_turn() -> None:
    crowd = Crowd(2)
    tasks = [asyncio.create_task(crowd.attempt(number)) for number in range(50)]
    await settled()
    for task in tasks[2:20]:
        task.cancel()
    await settled()
    while crowd.ends:
        number = next(iter(crowd.ends))
        crowd.end(number, well=True)
        tasks[30].cancel()
        await settled()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert done.count("passed") == 50 - 18 - 1


async def test_nothing_is_kept_of_an_address_without_attempts() -> None:
    attempts = Attempts(Throttle(), lambda: NOW)
    for number in range(100):
        await attempts.begin(f"10.0.0.{number}")
        assert len(attempts._lines) == 1
        attempts.end(f"10.0.0.{number}")
    assert attempts._lines == {}
    held_up = Attempts(Throttle(failures=1), lambda: NOW)
    held_up.failed(A)
    with pytest.raises(LimitExceeded):
        await held_up.begin(A)
    assert held_up._lines == {}


@pytest.mark.parametrize("used", [0, 1, REFILL - 1, REFILL, 3 * REFILL, FAILURES * REFILL])
def test_as_many_are_left_as_could_fail(used: int) -> None:
    throttle, failed = Throttle(), 0
    throttle._full_at[A] = NOW + used
    left = throttle.left(A, NOW)
    while True:
        try:
            throttle.check(A, NOW)
        except LimitExceeded:
            break
        throttle.failed(A, NOW)
        failed += 1
    assert failed == left


async def test_a_failing_address_is_held_up_before_any_look_up() -> None:
    """Also when all its attempts come at once."""
    looked_up = []

    class Keys:
        async def locate(self, key_hash: bytes) -> None:
            looked_up.append(key_hash)
            await asyncio.sleep(0)

    authenticator = Authenticator(Keys(), None, b"k" * 32, lambda: NOW)  # type: ignore[arg-type]
    guesses = (authenticator.authenticate(f"Bearer caio_dev_{n}", None, A) for n in range(500))
    answers = await asyncio.gather(*guesses, return_exceptions=True)
    assert len(looked_up) == FAILURES
    assert [type(each) for each in answers].count(Unauthenticated) == FAILURES
    assert [type(each) for each in answers].count(LimitExceeded) == 500 - FAILURES
