"""Calls by the true time, and the records that hold each from the moment at which it was admitted."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from caio.foundation.errors import BudgetExhausted, LimitExceeded, NotReady
from caio.gateway.ports import Actual, Grant, PastCall
from caio.tenancy.rate_limit import HOUR
from tests.support.admissions import Records, ask, requests

#: An admission that takes tenths of a second for what takes seconds elsewhere.
SHORT: Any = {"durable": 0.3, "late": 3_000_000, "lasts": 0.4}


class Ledger(Records):
    """Records that hold what was admitted from the moment at which it was."""

    async def call(self, admission, asked):
        """The grant, durable; None for a refusal."""
        at = time.time_ns() // 1000
        with suppress(LimitExceeded, BudgetExhausted, NotReady):
            answer = await admission.admit(asked, at)
            if isinstance(answer, Grant):
                self.calls[asked.tenant_id].append(
                    PastCall(asked.grant_id, asked.principal_id, at, ((asked.service_id, at),), asked.price, None, 0, 0)
                )
                return answer
        return None

    async def end(self, admission, grant, charged=0):
        calls = self.calls[grant.ask.tenant_id]
        place = next(place for place, call in enumerate(calls) if call.decision_id == grant.grant_id)
        await admission.settle(grant, Actual(charged))
        old = calls[place]
        calls[place] = PastCall(
            old.decision_id, old.principal_id, old.decided_at, old.services, old.reserved, charged, 0, 0
        )

    async def fill(self, admission, times, **parts):
        """How many of so many calls are admitted, one after the other."""
        return sum([await self.call(admission, asking(**parts)) is not None for _ in range(times)])


def asking(limit=10, **parts):
    """An ask of a tenant with so many requests a minute, that has surely ended in an hour."""
    return ask("echo", requests("tenant", minute=limit), expires_at=time.time_ns() // 1000 + HOUR, **parts)


async def eventually(condition, seconds=8.0):
    end = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < end, "not so in time"
        await asyncio.sleep(0.02)
    return found


def back(admission):
    async def reached():
        return admission.degraded() is None

    return eventually(reached)
