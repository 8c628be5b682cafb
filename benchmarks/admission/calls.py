"""A world to admit calls in: an installation on disk, a caller with few limits or with all, a call of one service."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from caio.bootstrap import Installation, now, open_installation
from caio.config import read_settings
from caio.foundation.money import Prices
from caio.gateway.asks import Asks
from caio.gateway.ports import Actual, Admission, Grant, Operation
from caio.gateway.run import Wanted
from caio.routing.model import Access, Capability, Offer, Privacy, Ranked, Request
from caio.tenancy.authentication import embedded_scope
from caio.tenancy.limits import UNLIMITED, Limits
from caio.tenancy.principals import Caller

UNIT = "µs CPU/call"

#: So many that no window is ever full.
MANY = 10**9
EVERY_LIMIT = Limits(**dict.fromkeys(Limits.__dataclass_fields__, MANY))

_REQUEST = Request("default", "USD", ("chat",), input_bytes=2_000, max_tokens=500)
_CONSTRAINTS = {"rate_limit": {"per_minute": MANY, "per_hour": MANY}, "max_concurrent_requests": MANY}


@asynccontextmanager
async def installation(folder: Path) -> AsyncIterator[tuple[Installation, str]]:
    """An embedded installation and the token of its first key."""
    async with open_installation(read_settings(data_dir=folder, database_url=None, redis_url=None)) as opened:
        made = await opened.api_keys.create_first(embedded_scope())
        assert made is not None
        yield opened, made.token


@dataclass(frozen=True, slots=True)
class Calls:
    """Admits and settles calls, as the gateway does: ``one`` is a whole call."""

    admission: Admission
    asks: Asks
    ranked: Ranked
    allowed: Mapping[str, Limits]
    numbers: itertools.count[int]

    @classmethod
    def of(cls, admission: Admission, *, every_limit: bool) -> Calls:
        constraints = _CONSTRAINTS if every_limit else {}
        offer = Offer(
            "default",
            "echo",
            "1.0.0",
            f"hash of {constraints}",
            {"chat": Capability("chat", frozenset(), None, None, None)},
            {},
            Prices("USD", 1_000),
            Privacy("cloud", frozenset(), True, True, None, False, frozenset()),
            Access(frozenset(), frozenset(), "standard", False),
            "http-json",
            30_000,
            False,
            document={"constraints": constraints},
        )
        allowed = {"echo": EVERY_LIMIT} if every_limit else {}
        return cls(admission, Asks(), Ranked(offer, 0, 1_000), allowed, itertools.count(time.time_ns()))

    async def one(self, wanted: Wanted) -> None:
        at = now()
        grant = await self.admission.admit(
            self.asks.ask(wanted, self.ranked, f"dec_{next(self.numbers)}", self.allowed, at), at
        )
        assert isinstance(grant, Grant)
        await self.admission.settle(grant, Actual(500, 300, 20))


def wanted_by(caller: Caller, *, every_limit: bool) -> Wanted:
    """A call of the caller, with limits that no run reaches."""
    limits = EVERY_LIMIT if every_limit else UNLIMITED
    budget = 10**17 if every_limit else None
    quotas = replace(caller.tenant.quotas, per_minute=MANY, per_hour=MANY, per_day=MANY, limits=limits, budget=budget)
    limited = replace(caller, tenant=replace(caller.tenant, quotas=quotas), limits=limits)
    return Wanted(limited, _REQUEST, Operation.JSON, None, b"")


async def cpu(work: Callable[[], Awaitable[object]], calls: int, rounds: int = 9) -> float:
    """Microseconds of this process's time, all its threads, that a call takes: of several rounds the least, since
    whatever else the machine does can only add to it."""
    figures = []
    for _ in range(rounds):
        await work()
        started = time.process_time()
        for _ in range(calls):
            await work()
        figures.append(1e6 * (time.process_time() - started) / calls)
    return min(figures)
