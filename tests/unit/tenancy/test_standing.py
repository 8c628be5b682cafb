"""The laws of ``tenancy.standing``: what may become of a tenant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caio.foundation.errors import Conflict
from caio.foundation.scope import DEFAULT_TENANT
from caio.tenancy.ports import Outage, Quotas, Tenant, TenantStatus
from caio.tenancy.standing import (
    DAY,
    LINGER,
    TenantChange,
    cancelled,
    changed,
    deleted,
    emptied,
    lapsed,
    resumed,
    suspended,
)

NOW = 1_700_000_000_000_000
TENANT = Tenant("acme", "Acme", TenantStatus.ACTIVE, "EUR", Quotas(), NOW)

Step = Callable[[Tenant, int], Tenant]
STEPS: dict[str, Step] = {
    "suspended": suspended,
    "resumed": resumed,
    "cancelled": lambda tenant, now: cancelled(tenant, 3, now),
    "deleted": deleted,
    "lapsed": lapsed,
    "emptied": emptied,
    "changed": lambda tenant, now: changed(tenant, TenantChange(plan="large"), now),
}


def taken(tenant: Tenant, step: Step, now: int) -> Tenant:
    """The tenant after a step, also when that is refused."""
    try:
        return step(tenant, now)
    except Conflict:
        return tenant


@st.composite
def histories(draw: st.DrawFn) -> tuple[Tenant, int]:
    """A tenant to which anything may have happened, and a later time."""
    tenant, now = TENANT, NOW
    for _ in range(draw(st.integers(0, 6))):
        now += draw(st.sampled_from([0, 1, LINGER, DAY, 3 * DAY, 4 * DAY]))
        tenant = taken(tenant, STEPS[draw(st.sampled_from(sorted(STEPS)))], now)
    return tenant, now


@given(histories(), st.sampled_from(sorted(STEPS)))
def test_what_is_so_already_changes_nothing(history: tuple[Tenant, int], name: str) -> None:
    tenant, now = history
    once = taken(tenant, STEPS[name], now)
    assert taken(once, STEPS[name], now) is once
    if name in ("suspended", "resumed", "deleted", "changed"):
        assert taken(once, STEPS[name], now + 9 * DAY) is once


@given(histories(), st.sampled_from(sorted(STEPS)))
def test_deleted_is_for_good(history: tuple[Tenant, int], name: str) -> None:
    tenant = deleted(history[0], history[1])
    assert taken(tenant, STEPS[name], history[1] + DAY).status is TenantStatus.DELETED
    assert tenant.name == ""
    if name in ("suspended", "resumed", "cancelled", "changed"):
        with pytest.raises(Conflict) as refused:
            STEPS[name](tenant, history[1])
        assert refused.value.code == "tenant_deleted"


@pytest.mark.parametrize("name", ["suspended", "cancelled", "deleted"])
def test_the_platforms_own_tenant_stays(name: str) -> None:
    platform = replace(TENANT, tenant_id=DEFAULT_TENANT)
    with pytest.raises(Conflict) as refused:
        STEPS[name](platform, NOW)
    assert refused.value.code == "platform_tenant"
    assert changed(platform, TenantChange(name="Ours"), NOW).name == "Ours"


@given(histories(), st.sampled_from(sorted(STEPS)))
def test_a_revision_is_counted_once(history: tuple[Tenant, int], name: str) -> None:
    tenant, now = history[0], history[1] + 1
    after = taken(tenant, STEPS[name], now)
    assert after is tenant or (after.revision == tenant.revision + 1 and after.updated_at == now)
    if after is not tenant:
        assert (after.status_at == now) == (after.status is not tenant.status or name == "cancelled")


@given(histories())
def test_only_what_is_due_lapses(history: tuple[Tenant, int]) -> None:
    tenant, now = history
    due = tenant.status is TenantStatus.CANCELLED and tenant.erase_at is not None and tenant.erase_at <= now
    assert (lapsed(tenant, now) is not tenant) == due


def test_a_cancelled_tenant_is_resumed_until_its_grace_has_passed() -> None:
    tenant = cancelled(suspended(TENANT, NOW), 30, NOW)
    assert (tenant.status, tenant.erase_at) == (TenantStatus.CANCELLED, NOW + 30 * DAY)
    assert lapsed(tenant, NOW + 30 * DAY - 1) is tenant
    assert lapsed(tenant, NOW + 30 * DAY).status is TenantStatus.DELETED
    back = resumed(tenant, NOW + 1)
    assert (back.status, back.erase_at) == (TenantStatus.ACTIVE, None)
    assert lapsed(back, NOW + 40 * DAY) is back
    with pytest.raises(Conflict) as refused:
        suspended(tenant, NOW)
    assert refused.value.code == "tenant_cancelled"


def test_another_grace_counts_from_now() -> None:
    tenant = cancelled(TENANT, 1, NOW)
    assert cancelled(tenant, 1, NOW + DAY - 1) is tenant
    assert cancelled(tenant, 0, NOW + 5).erase_at == NOW + 5
    assert cancelled(cancelled(TENANT, 0, NOW), 1, NOW + 5).erase_at == NOW + 5 + DAY


def test_a_deleted_tenant_is_emptied_once() -> None:
    tenant = deleted(TENANT, NOW)
    assert tenant.erase_at == NOW + LINGER
    empty = emptied(tenant, NOW + LINGER)
    assert empty.erase_at is None
    assert emptied(empty, NOW + DAY) is empty
    assert emptied(TENANT, NOW) is TENANT


def test_a_change_keeps_what_it_does_not_name() -> None:
    change = TenantChange(outage=Outage.LOCAL, quotas={"services": 3, "budget": None})
    after = changed(replace(TENANT, quotas=Quotas(budget=7)), change, NOW + 1)
    assert after.quotas == Quotas(services=3, budget=None)
    assert (after.name, after.plan, after.outage) == ("Acme", "standard", Outage.LOCAL)
    assert changed(TENANT, TenantChange(name="Acme", quotas={"services": 100}), NOW + 1) is TENANT
