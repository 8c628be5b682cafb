"""What may become of a tenant, as pure state and arithmetic.

Theory of operation
-------------------
    active ⇄ suspended      by an operator; nothing is lost
    active, suspended → cancelled      for so many days, then the worker deletes
    cancelled → active      until then: resumed, as from a suspension
    any → deleted      by an operator who repeats the id, or by the worker; for good

Each function answers the tenant as it is afterwards, one revision further, or the very tenant it was given
when it is like that already: then nothing is to be written or told. A cancellation may be repeated with
another grace, which counts from now.

Laws (each has a test of the same name)
---------------------------------------
- what_is_so_already_changes_nothing: the same tenant is given back.
- deleted_is_for_good: nothing leads out of it.
- the_platforms_own_tenant_stays: it is neither suspended nor cancelled nor deleted.
- a_revision_is_counted_once: by every change, and by nothing else.
- only_what_is_due_lapses: a cancelled tenant whose grace has passed, and no other.

Who may is for the routes to say (``tenants:manage``), and for ``TenantChange`` what; whether a hold stands
before a deletion is for the store. Times are microseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from caio.foundation.errors import Conflict
from caio.foundation.scope import DEFAULT_TENANT
from caio.tenancy.ports import Outage, Tenant, TenantStatus

DAY = 86_400_000_000

#: How long another process may still write with a data key that was destroyed (see ``audit.sealing``).
LINGER = 7_000_000


@dataclass(frozen=True, slots=True)
class TenantChange:
    """What shall be otherwise; None and absent quotas stay. ``quotas`` are fields of ``Quotas``."""

    name: str | None = None
    plan: str | None = None
    outage: Outage | None = None
    quotas: Mapping[str, Any] = field(default_factory=dict)


def changed(tenant: Tenant, change: TenantChange, now: int) -> Tenant:
    """The tenant with ``change`` made. Raises Conflict ``tenant_deleted``."""
    _refuse_deleted(tenant)
    stated = {"name": change.name, "plan": change.plan, "outage": change.outage}
    wanted = replace(
        tenant,
        quotas=replace(tenant.quotas, **change.quotas),
        **{name: value for name, value in stated.items() if value is not None},  # type: ignore[arg-type]
    )
    return tenant if wanted == tenant else replace(wanted, revision=tenant.revision + 1, updated_at=now)


def suspended(tenant: Tenant, now: int) -> Tenant:
    """Refused until it is resumed. Raises Conflict ``tenant_cancelled``, ``tenant_deleted`` or ``platform_tenant``."""
    _refuse_deleted(tenant)
    _refuse_platform(tenant, "suspended")
    if tenant.status is TenantStatus.CANCELLED:
        raise Conflict("this tenant is cancelled, which blocks it too; resume it first", code="tenant_cancelled")
    return tenant if tenant.status is TenantStatus.SUSPENDED else _turned(tenant, TenantStatus.SUSPENDED, now)


def resumed(tenant: Tenant, now: int) -> Tenant:
    """Served again, whether it was suspended or cancelled. Raises Conflict ``tenant_deleted``."""
    _refuse_deleted(tenant)
    return tenant if tenant.status is TenantStatus.ACTIVE else _turned(tenant, TenantStatus.ACTIVE, now)


def cancelled(tenant: Tenant, grace_days: int, now: int) -> Tenant:
    """Refused, and to be erased in ``grace_days``. Raises Conflict ``tenant_deleted`` or ``platform_tenant``.

    The same number of days, asked for again on the same day, changes nothing.
    """
    _refuse_deleted(tenant)
    _refuse_platform(tenant, "cancelled")
    erase_at = now + grace_days * DAY
    if tenant.erase_at is not None and 0 <= erase_at - tenant.erase_at < DAY:
        return tenant
    return _turned(tenant, TenantStatus.CANCELLED, now, erase_at)


def deleted(tenant: Tenant, now: int) -> Tenant:
    """Gone for good: of the tenant only its id and its times are left. Raises Conflict ``platform_tenant``."""
    _refuse_platform(tenant, "deleted")
    if tenant.status is TenantStatus.DELETED:
        return tenant
    return replace(_turned(tenant, TenantStatus.DELETED, now, now + LINGER), name="")


def lapsed(tenant: Tenant, now: int) -> Tenant:
    """As ``deleted`` for a cancelled tenant whose grace has passed; every other stays as it is."""
    due = tenant.status is TenantStatus.CANCELLED and tenant.erase_at is not None and tenant.erase_at <= now
    return deleted(tenant, now) if due else tenant


def emptied(tenant: Tenant, now: int) -> Tenant:
    """A deleted tenant of which nothing is left to erase."""
    if tenant.status is not TenantStatus.DELETED or tenant.erase_at is None:
        return tenant
    return replace(tenant, erase_at=None, revision=tenant.revision + 1, updated_at=now)


def _turned(tenant: Tenant, status: TenantStatus, now: int, erase_at: int | None = None) -> Tenant:
    return replace(
        tenant, status=status, revision=tenant.revision + 1, updated_at=now, status_at=now, erase_at=erase_at
    )


def _refuse_deleted(tenant: Tenant) -> None:
    if tenant.status is TenantStatus.DELETED:
        raise Conflict("this tenant is deleted, for good", code="tenant_deleted")


def _refuse_platform(tenant: Tenant, what: str) -> None:
    if tenant.tenant_id == DEFAULT_TENANT:
        raise Conflict(f"the platform's own tenant cannot be {what}", code="platform_tenant")
