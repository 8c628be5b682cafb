"""``/api/v1/usage`` and ``/api/v1/budget``: what was used, in groups or as CSV, and what is left of the money."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from caio.api.dependencies import HeavyTurn, ThePlatform, caller_with
from caio.api.platform import Platform
from caio.foundation.errors import InvalidInput, Violation
from caio.foundation.quantity import decimal_text
from caio.foundation.scope import TenantScope
from caio.metering.ports import Group, UsageQuery
from caio.metering.statements import MOST_DAYS, BudgetStatement, Statement
from caio.metering.usage import Dimension, Sums, dimensions_of
from caio.tenancy.authentication import scope_of_tenant
from caio.tenancy.ports import Tenant
from caio.tenancy.principals import Caller, Permission

router = APIRouter(tags=["usage"])

Reader = Annotated[Caller, Depends(caller_with(Permission.USAGE_READ))]
Payer = Annotated[Caller, Depends(caller_with(Permission.BILLING_READ))]
Operator = Annotated[Caller, Depends(caller_with(Permission.TENANTS_READ))]
Day = Annotated[str | None, Query(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Name = Annotated[str | None, Query(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
TenantId = Annotated[str, Path(max_length=63, description="The tenant's id.")]

_EPOCH = date(1970, 1, 1)
_NEVER = {"cache-control": "no-store"}
#: What spreadsheets take for the beginning of a formula (OWASP, "CSV Injection").
_FORMULA = re.compile(r"[=+\-@\t\r]")
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "A line for each group"}
}


class SumsView(BaseModel):
    """``failed`` are the calls without an answer; ``compute_seconds`` is the time from their admission to their
    end, ``cost`` in the tenant's currency, both decimals; ``breaches`` counts the clauses that answers broke."""

    calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    compute_seconds: str
    cost: str
    breaches: int


class GroupView(SumsView):
    """The sums of one group; of the dimensions only those that were asked for are there. ``principal`` is empty
    for calls whose content was erased."""

    day: date | None = None
    principal: str | None = None
    service: str | None = None
    capability: str | None = None


class StoredView(BaseModel):
    """The bytes of the tenant's rows, as last measured on a day."""

    day: date
    bytes: int
    measured_at: int


class UsageView(BaseModel):
    """Usage of the days from ``from`` to before ``to`` (UTC). Every call that was recorded before ``as_of``
    (microseconds since the epoch) is in it; ``waiting`` further entries of the journal are not yet."""

    since: date = Field(serialization_alias="from")
    until: date = Field(serialization_alias="to")
    group_by: list[Dimension]
    currency: str
    as_of: int
    waiting: int
    groups: list[GroupView]
    total: SumsView
    storage: list[StoredView]


class ThresholdView(BaseModel):
    percent: int
    amount: str
    reached: bool


class BudgetView(BaseModel):
    """How the budget stands in its period: all time (``total``) or a calendar month in UTC. Amounts are decimals;
    ``budget`` and ``left`` are null without a budget. ``reserved`` is set aside for calls that are running, at
    their worst price. Times are microseconds since the epoch."""

    period: str
    period_kind: Literal["total", "month"]
    starts_at: int | None
    ends_at: int | None
    currency: str
    budget: str | None
    charged: str
    reserved: str
    left: str | None
    thresholds: list[ThresholdView]
    as_of: int


def usage_query(
    since: Annotated[Day, Query(alias="from", description="The first day; this month's first, if absent.")] = None,
    until: Annotated[Day, Query(alias="to", description="The day behind the last; tomorrow, if absent.")] = None,
    group_by: Annotated[
        str, Query(max_length=64, description="Any of `day,principal,service,capability`, with commas between.")
    ] = "day",
    principal: Name = None,
    service: Name = None,
    capability: Name = None,
) -> UsageQuery:
    """What a request asks for; raises InvalidInput, naming everything that is wrong."""
    first, behind = _span(since, until)
    return UsageQuery(first, behind, _dimensions(group_by), principal, service, capability)


Wanted = Annotated[UsageQuery, Depends(usage_query)]


@router.get("/api/v1/usage", response_model_exclude_unset=True)
async def get_usage(caller: Reader, platform: ThePlatform, query: Wanted) -> UsageView:
    """Calls, tokens, compute, cost and breaches of the tenant, summed up in groups, with the storage of each day."""
    return await _usage(platform, caller.scope, caller.tenant, query)


@router.get("/api/v1/usage.csv", response_class=StreamingResponse, responses=_CSV)
async def get_usage_csv(caller: Reader, _turn: HeavyTurn, platform: ThePlatform, query: Wanted) -> StreamingResponse:
    """The same groups, however many, as CSV (RFC 4180). A text that a spreadsheet would take for a formula has
    an apostrophe before it."""
    as_of, _ = await platform.statements.as_of(caller.scope)
    name = f"usage-{_day(query.since)}-{_day(query.until)}.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"', "x-caio-as-of": str(as_of), **_NEVER}
    lines = _lines(query.by, caller.tenant.currency, platform.statements.each(caller.scope, query))
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8; header=present", headers=headers)


@router.get("/api/v1/tenants/{tenant_id}/usage", response_model_exclude_unset=True, tags=["tenants"])
async def get_tenant_usage(
    caller: Operator,
    platform: ThePlatform,
    tenant_id: TenantId,
    since: Annotated[Day, Query(alias="from", description="The first day; this month's first, if absent.")] = None,
    until: Annotated[Day, Query(alias="to", description="The day behind the last; tomorrow, if absent.")] = None,
) -> UsageView:
    """For the platform's operators: a tenant's sums by day, and of nothing that says who asked for what."""
    scope = scope_of_tenant(caller, tenant_id)
    tenant = await platform.statements.tenant(scope)
    first, behind = _span(since, until)
    return await _usage(platform, scope, tenant, UsageQuery(first, behind, (Dimension.DAY,)))


@router.get("/api/v1/budget")
async def get_budget(caller: Payer, platform: ThePlatform) -> BudgetView:
    """What of the tenant's budget is charged, reserved and left in the present period."""
    return _budget(await platform.statements.budget(caller.scope, caller.tenant), caller.tenant)


async def _usage(platform: Platform, scope: TenantScope, tenant: Tenant, query: UsageQuery) -> UsageView:
    statement: Statement = await platform.statements.usage(scope, query)
    stored = await platform.statements.storage(scope, query)
    return UsageView(
        since=_day(query.since),
        until=_day(query.until),
        group_by=list(query.by),
        currency=tenant.currency,
        as_of=statement.as_of,
        waiting=statement.waiting,
        groups=[_group(query.by, each) for each in statement.groups],
        total=SumsView.model_validate(statement.total.document()),
        storage=[StoredView(day=_day(day), bytes=each.bytes, measured_at=each.measured_at) for day, each in stored],
    )


def _span(since: str | None, until: str | None) -> tuple[int, int]:
    """Days since the epoch. Raises InvalidInput."""
    today = datetime.now(UTC).date()
    first = _date("from", since) or today.replace(day=1)
    if first == date.max:
        raise _wrong("from", f"must be before {date.max}, behind which there is no day")
    behind = _date("to", until) or max(today, first) + timedelta(days=1)
    if not first < behind:
        raise _wrong("to", f"must be after {first}: it is the day behind the last")
    if behind - first > timedelta(days=MOST_DAYS):
        raise _wrong("to", f"must be at most {MOST_DAYS} days after {first}")
    return (first - _EPOCH).days, (behind - _EPOCH).days


def _date(name: str, text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise _wrong(name, "must be a day such as 2026-01-31") from None


def _dimensions(text: str) -> tuple[Dimension, ...]:
    """Raises InvalidInput."""
    try:
        return dimensions_of(text)
    except ValueError as error:
        raise _wrong("group_by", str(error)) from None


def _wrong(name: str, message: str) -> InvalidInput:
    return InvalidInput("the request is not valid", [Violation(f"/query/{name}", message)], code="invalid_request")


def _day(number: int) -> date:
    return _EPOCH + timedelta(days=number)


def _keys(by: Sequence[Dimension], group: Group) -> dict[str, Any]:
    named = dict(zip(by, group.key, strict=True))
    return {each.value: _day(int(key)) if each is Dimension.DAY else key for each, key in named.items()}


def _group(by: Sequence[Dimension], group: Group) -> GroupView:
    return GroupView.model_validate({**_keys(by, group), **group.sums.document()})


async def _lines(by: Sequence[Dimension], currency: str, groups: AsyncIterator[Group]) -> AsyncIterator[str]:
    yield _line([*(each.value for each in by), *Sums().document(), "currency"])
    async for group in groups:
        yield _line([*_keys(by, group).values(), *group.sums.document().values(), currency])


def _line(cells: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow([_harmless(cell) for cell in cells])
    return line.getvalue()


def _harmless(cell: object) -> str:
    text = str(cell)
    return f"'{text}" if isinstance(cell, str) and _FORMULA.match(text) else text


def _budget(found: BudgetStatement, tenant: Tenant) -> BudgetView:
    return BudgetView.model_validate(
        {
            "period": found.period,
            "period_kind": tenant.quotas.budget_period.value,
            "starts_at": found.starts_at,
            "ends_at": found.ends_at,
            "currency": tenant.currency,
            "budget": None if found.budget is None else decimal_text(found.budget),
            "charged": decimal_text(found.charged),
            "reserved": decimal_text(found.reserved),
            "left": None if found.left is None else decimal_text(found.left),
            "thresholds": [
                {"percent": each.percent, "amount": decimal_text(each.amount), "reached": each.reached}
                for each in found.thresholds
            ],
            "as_of": found.as_of,
        }
    )
