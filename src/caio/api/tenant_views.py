"""Tenants in bodies: what is shown of one, and how its quotas are stated."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from caio.api.limits import TenantLimits
from caio.foundation.errors import InvalidInput, Violation
from caio.foundation.quantity import NotExact, nanos
from caio.tenancy.lifecycle import quotas_document
from caio.tenancy.limits import MOST, Limits
from caio.tenancy.ports import BudgetPeriod, Outage, Tenant, TenantCounts, TenantStatus, Tier

TenantName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Plan = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
Alerts = Annotated[list[Annotated[int, Field(ge=1, le=100)]], Field(max_length=10)]
_Limit = Annotated[int, Field(ge=1, le=MOST)]
_Amount = Annotated[int, Field(ge=0, le=MOST)]


class QuotasWish(BaseModel):
    """Quotas; those that are not stated stay, or have their defaults. ``budget`` is a decimal amount of the tenant's
    currency, null for none; ``alerts`` are the percentages of it whose passing is told; ``limits`` replaces all."""

    model_config = ConfigDict(extra="forbid")

    services: _Amount | None = None
    per_minute: _Limit | None = None
    per_hour: _Limit | None = None
    per_day: _Limit | None = None
    budget: Annotated[str, Field(max_length=32)] | None = None
    budget_period: BudgetPeriod | None = None
    alerts: Alerts | None = None
    storage_bytes: _Amount | None = None
    limits: TenantLimits | None = None

    def changes(self) -> dict[str, Any]:
        """The fields of ``Quotas`` that are stated. Raises InvalidInput for a budget that is no exact amount, and
        for a null where there must be a quota."""
        stated = {name: getattr(self, name) for name in self.model_fields_set}
        missing = [name for name, value in stated.items() if value is None and name != "budget"]
        if missing:
            raise InvalidInput(
                "the quotas are not valid", [Violation(f"/quotas/{name}", "must not be null") for name in missing]
            )
        if self.limits is not None:
            stated["limits"] = Limits(**self.limits.model_dump())
        if self.alerts is not None:
            stated["alerts"] = tuple(sorted(set(self.alerts)))
        if self.budget is not None:
            stated["budget"] = _amount(self.budget)
        return stated


class QuotasView(BaseModel):
    """Windows are rolling; the budget is a decimal amount of the tenant's currency for each ``budget_period``."""

    services: int
    per_minute: int
    per_hour: int
    per_day: int
    budget: str | None
    budget_period: BudgetPeriod
    alerts: list[int]
    storage_bytes: int
    limits: TenantLimits


class TenantView(BaseModel):
    """A tenant. ``erase_at`` is when the data of a cancelled tenant is deleted; of a deleted one, it says that
    traces of it are still being removed. Times in microseconds since the epoch."""

    tenant_id: str
    name: str
    status: TenantStatus
    plan: str
    currency: str
    tier: Tier
    outage: Outage
    quotas: QuotasView
    revision: int
    created_at: int
    updated_at: int
    status_at: int
    erase_at: int | None


class CountsView(BaseModel):
    """How many there are: services and policies in force, keys neither revoked nor expired, members."""

    services: int
    policies: int
    keys: int
    members: int


Roles = Annotated[list[str], Field(min_length=1, max_length=8)]
TrustLevel = Literal["untrusted", "standard", "elevated", "privileged"]


def view_of(tenant: Tenant) -> TenantView:
    return TenantView.model_validate(shown(tenant))


def shown(tenant: Tenant) -> dict[str, Any]:
    """What is shown of a tenant; not where its rows are, which is the operator's to know from the settings."""
    return {
        "tenant_id": tenant.tenant_id,
        "name": tenant.name,
        "status": tenant.status,
        "plan": tenant.plan,
        "currency": tenant.currency,
        "tier": tenant.tier,
        "outage": tenant.outage,
        "quotas": quotas_document(tenant.quotas),
        "revision": tenant.revision,
        "created_at": tenant.created_at,
        "updated_at": tenant.updated_at,
        "status_at": tenant.status_at,
        "erase_at": tenant.erase_at,
    }


def counted(counts: TenantCounts) -> CountsView:
    return CountsView(services=counts.services, policies=counts.policies, keys=counts.keys, members=counts.members)


def _amount(text: str) -> int:
    try:
        amount = nanos(text)
        if amount < 0:
            raise NotExact("must not be negative")
    except NotExact as error:
        raise InvalidInput("the quotas are not valid", [Violation("/quotas/budget", str(error))]) from error
    return amount
