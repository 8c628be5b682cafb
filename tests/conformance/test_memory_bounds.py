"""What the in-process adapter of admission keeps in memory."""

import pytest

from caio.gateway.ports import Actual, Slots
from caio.storage.memory import account
from caio.storage.memory.admission import InProcessAdmission
from caio.tenancy.rate_limit import MINUTE
from tests.support.admissions import NOW, Records, ask, granted, requests, tokens


async def test_keys_that_come_and_go_are_forgotten(monkeypatch):
    """But for what is in a window, or held by a running call."""
    monkeypatch.setattr(account, "COUNTED_AT_LEAST", 10)
    admission = InProcessAdmission(Records())
    meters = requests("tenant", minute=100), tokens("key:first", 5, minute=9)
    first = await granted(admission, ask("echo", *meters, key="first"))
    for number in range(400):
        key, now = f"key_{number}", NOW + number * MINUTE // 10
        its = requests("tenant", minute=100), requests(f"key:{key}", minute=2), tokens(f"key:{key}", 3, minute=9)
        slots = (Slots(f"key:{key}", 1),)
        grant = await granted(admission, ask("echo", *its, key=key, slots=slots), now)
        await admission.settle(grant, Actual(tokens=1))
    kept = admission._accounts["acme"]
    assert len(kept._counted) < 60
    assert len(kept._running) < 60
    assert kept._counted["key:first", tokens("", 1).unit].windows.windows[0].used == 5
    await admission.settle(first, Actual(tokens=2))
    assert kept._counted["tenant", meters[0].unit].windows.windows[0].used == 10


@pytest.mark.parametrize("running", [False, True])
async def test_accounts_are_bounded(running):
    """Those of tenants that are idle; none of which a call runs is let go."""
    admission = InProcessAdmission(Records(), accounts_kept=3)
    for number in range(9):
        grant = await granted(admission, ask(tenant=f"tenant_{number}"))
        if not running:
            await admission.settle(grant, Actual())
    assert len(admission._accounts) == (9 if running else 3)
