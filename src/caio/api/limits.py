"""Limits in bodies: ``tenancy.limits`` as JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from caio.tenancy.limits import MOST, Limits

_Limit = Annotated[int, Field(ge=1, le=MOST)]


class TenantLimits(BaseModel):
    """What else a tenant's calls are limited by, all keys together; requests are limited by the quotas' windows."""

    model_config = ConfigDict(extra="forbid")

    tokens_per_minute: _Limit | None = None
    tokens_per_hour: _Limit | None = None
    tokens_per_day: _Limit | None = None
    compute_seconds_per_minute: _Limit | None = None
    compute_seconds_per_hour: _Limit | None = None
    compute_seconds_per_day: _Limit | None = None
    concurrent: _Limit | None = None


class LimitsBody(TenantLimits):
    """What may be used; a limit that is absent or null does not exist."""

    requests_per_minute: _Limit | None = None
    requests_per_hour: _Limit | None = None
    requests_per_day: _Limit | None = None

    def limits(self) -> Limits:
        return Limits(**self.model_dump())

    @classmethod
    def of(cls, limits: Limits) -> LimitsBody:
        return cls(**limits.document())
