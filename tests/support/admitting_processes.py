"""Real processes that admit calls through one Redis, and the file in which they make them durable.

Each line of the file is written whole and at once: a call's decision before the call goes on, its outcome when it
has ended. That is what a killed process leaves, what accounts are rebuilt from, and the exact log that a test reads.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

from caio.foundation.errors import BudgetExhausted, LimitExceeded, NotReady
from caio.foundation.scope import TenantScope
from caio.gateway.ports import Actual, Grant, Meter, PastCall, PastUse
from caio.tenancy.limits import Unit, Window
from caio.tenancy.ports import Outage
from tests.support.admissions import ask
from tests.support.redis_admissions import running_admission


@dataclass(frozen=True, slots=True)
class Logged:
    """A call that went on: between ``asked`` and ``admitted``, microseconds, the limiter let it."""

    name: str
    asked: int
    admitted: int
    price: int
    charged: int | None


class FileRecords:
    """The ``AdmissionRecords`` port over the file, for one tenant."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, **fields: Any) -> None:
        line = json.dumps(fields).encode() + b"\n"
        with self._path.open("ab", buffering=0) as file:
            file.write(line)

    def calls(self) -> list[Logged]:
        decisions: dict[str, dict[str, Any]] = {}
        charged: dict[str, int] = {}
        for line in self._path.read_bytes().splitlines() if self._path.exists() else ():
            fields = json.loads(line)
            if "charged" in fields:
                charged[fields["name"]] = fields["charged"]
            else:
                decisions[fields["name"]] = fields
        return [Logged(**fields, charged=charged.get(name)) for name, fields in decisions.items()]

    async def since(self, scope: TenantScope, since: int, period_start: int) -> PastUse:
        calls = sorted(self.calls(), key=lambda call: call.asked)
        past = (
            PastCall(call.name, "key_1", call.asked, (("echo", call.asked),), call.price, call.charged, 0, 0)
            for call in calls
            if call.asked >= since
        )
        return PastUse(tuple(past), sum(call.charged or 0 for call in calls))


@dataclass(frozen=True, slots=True)
class Work:
    """What each process does: ``calls`` calls (or as many as it can until ``seconds`` have passed), ``at_once`` of
    them together, each within ``limit`` in ``span`` and, where there is one, the budget."""

    url: str
    path: Path
    limit: int
    span: int
    calls: int = 10**9
    seconds: float = 60.0
    at_once: int = 8
    price: int = 0
    budget: int | None = None
    processes: int = 4
    outage: Outage = Outage.CLOSED
    durable: float = 0.5
    late: int = 5_000_000
    #: Of a hundred calls, how many end their process at once, and how many end without a word.
    deadly: int = 0
    lasts: float = 0.4


async def _admit(work: Work, number: int) -> None:
    records, rng = FileRecords(work.path), Random(number)
    end = time.monotonic() + work.seconds
    meter = Meter("tenant", Unit.REQUESTS, 1, (Window("moment", work.limit, work.span),))
    left = iter(range(work.calls))
    async with running_admission(
        work.url, records, processes=work.processes, durable=work.durable, late=work.late, lasts=work.lasts
    ) as admission:

        async def one(name: str) -> bool:
            """Whether the call is over: admitted or refused, not only put off."""
            price = rng.randint(0, work.price)
            asked_at = _now()
            more: Any = {"budget": work.budget, "outage": work.outage, "expires_at": asked_at + 10**8}
            asked = ask("echo", meter, price=price, grant=name, **more)
            try:
                grant = await admission.admit(asked, asked_at)
            except LimitExceeded as refused:
                return refused.window != "recovering"
            except BudgetExhausted:
                return True
            except NotReady:
                return False
            admitted_at = _now()
            assert isinstance(grant, Grant)
            records.write(name=name, asked=asked_at, admitted=admitted_at, price=price)
            if rng.randrange(100) < work.deadly:
                os.kill(os.getpid(), 9)
            charged = rng.randint(0, price)
            await admission.settle(grant, Actual(charged))
            records.write(name=name, charged=charged)
            return True

        async def some() -> None:
            for place in left:
                attempt = 0
                while time.monotonic() < end and not await one(f"dec_{os.getpid()}_{place}_{attempt}"):
                    attempt += 1
                    await asyncio.sleep(0.02)
                if time.monotonic() >= end:
                    return
                if work.calls > 10**6:
                    await asyncio.sleep(0.002)

        await asyncio.gather(*(some() for _ in range(work.at_once)))


def _now() -> int:
    return time.time_ns() // 1000


def _run(work: Work, number: int) -> None:
    asyncio.run(_admit(work, number))


@contextmanager
def admitting(work: Work, processes: int) -> Iterator[Callable[[], Sequence[BaseProcess]]]:
    """Start the processes; what it yields waits for them. None outlives the block."""
    context = multiprocessing.get_context("fork")
    started = [context.Process(target=_run, args=(work, number)) for number in range(processes)]
    for process in started:
        process.start()

    def joined() -> Sequence[BaseProcess]:
        for process in started:
            process.join(work.seconds + 20)
        return started

    try:
        yield joined
    finally:
        for process in started:
            if process.is_alive():
                process.kill()
            process.join(10)


def most_in_any(calls: Sequence[Logged], span: int) -> int:
    """The most calls that were surely admitted within one rolling window of ``span`` microseconds."""
    ordered = sorted(calls, key=lambda call: call.asked)
    return max(
        (
            sum(call.asked >= first.asked and call.admitted < first.asked + span for call in ordered[place:])
            for place, first in enumerate(ordered)
        ),
        default=0,
    )
