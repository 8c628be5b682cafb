"""``caio ops cost``: a month on AWS, from a dated price table; and what a change of the deployment changes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caio.aws.cost.shape import INTERFACE_ENDPOINTS, Environment, Size
from caio.cli import output
from caio.cli.parameters import Json
from caio.foundation.errors import InvalidInput

if TYPE_CHECKING:
    from caio.aws.cost.estimate import Estimate
    from caio.aws.cost.prices import Priced
    from caio.aws.cost.shape import Shape

_BAR = 24


def cost(
    environment: Annotated[Environment, typer.Option(help="Whose profile is deployed.")] = Environment.PRODUCTION,
    size: Annotated[Size, typer.Option(help="How much is served.")] = Size.MEDIUM,
    region: Annotated[str, typer.Option(help="An AWS region that the price table holds.")] = "us-east-1",
    tasks: Annotated[int | None, typer.Option(min=1, help="What if: so many API tasks on average.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="What if: so many worker tasks.")] = None,
    nat: Annotated[
        int | None, typer.Option(min=0, max=3, help="What if: so many NAT gateways; 0 goes by endpoints.")
    ] = None,
    database_class: Annotated[str | None, typer.Option(help="What if: a database of this class.")] = None,
    x86: Annotated[bool, typer.Option("--x86", help="What if: tasks on x86-64 instead of ARM64.")] = False,
    spot: Annotated[bool, typer.Option("--spot", help="What if: workers on Spot.")] = False,
    reserved: Annotated[bool, typer.Option("--reserved", help="What if: database and cache reserved.")] = False,
    prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A price table of your own.", dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Estimate a month's cost on AWS, at list prices. What "What if" options change is compared with the profile."""
    from caio.aws.cost.estimate import estimate
    from caio.aws.cost.prices import priced, read_prices
    from caio.aws.cost.shape import shape_of

    rates = priced(read_prices(prices), region)
    profile = shape_of(environment, size)
    changes: dict[str, Any] = {
        "api_tasks": tasks,
        "worker_tasks": workers,
        "nat_gateways": nat,
        "endpoints": INTERFACE_ENDPOINTS if nat == 0 else None,
        "database_class": database_class,
        "architecture": "x86" if x86 else None,
        "spot_workers": spot or None,
        "reserved": reserved or None,
    }
    stated = {name: value for name, value in changes.items() if value is not None}
    changed = _changed(profile, stated)
    before, after = estimate(profile, rates), estimate(changed, rates)
    if as_json:
        output.print_json(_document(environment, size, rates, before, after))
        return
    _show(after, f"{environment.value}, {size.value}, {region}", rates)
    if stated:
        _compare(before, after, rates.table.currency)
    else:
        output.next_step(f"caio ops cost --environment {environment.value} --size {size.value} --spot --reserved")


def _changed(profile: Shape, stated: dict[str, Any]) -> Shape:
    try:
        return replace(profile, **stated)
    except ValueError as error:
        raise InvalidInput(f"there is no such deployment: {error}", code="invalid_option") from error


def _show(found: Estimate, title: str, rates: Priced) -> None:
    currency, total = rates.table.currency, found.total
    output.say(f"A month of {title}: {total:,.2f} {currency}")
    output.say()
    rows = [
        (line.group, line.item, f"{line.quantity:,.1f}", line.unit, f"{line.cost:,.2f}")
        for line in found.lines
        if line.cost
    ]
    output.table(["", "what", "quantity", "unit", currency], rows, right=["quantity", currency])
    output.say()
    sums = sorted(found.groups().items(), key=lambda each: each[1], reverse=True)
    most = max(each for _, each in sums)
    bars = [(name, f"{each:,.2f}", f"{each / total:.0%}", _bar(each / most)) for name, each in sums]
    output.table(["part", currency, "share", ""], bars, right=[currency, "share"])
    output.say()
    output.note(
        f"List prices as of {rates.table.as_of}, without free tiers, tax, support and what models cost. "
        "AWS changes them: compare before a decision rests on them."
    )


def _bar(share: Decimal) -> str:
    return "█" * max(1, round(share * _BAR)) if share else ""


def _compare(before: Estimate, after: Estimate, currency: str) -> None:
    kept, now = before.groups(), after.groups()
    rows = [
        (name, f"{kept.get(name, Decimal(0)):,.2f}", f"{now.get(name, Decimal(0)):,.2f}", f"{difference:+,.2f}")
        for name in {**kept, **now}
        if (difference := now.get(name, Decimal(0)) - kept.get(name, Decimal(0)))
    ]
    rows.append(("all", f"{before.total:,.2f}", f"{after.total:,.2f}", f"{after.total - before.total:+,.2f}"))
    output.say()
    output.table(["changed", "profile", "what if", currency], rows, right=["profile", "what if", currency])


def _document(environment: Environment, size: Size, rates: Priced, before: Estimate, after: Estimate) -> dict[str, Any]:
    return {
        "environment": environment.value,
        "size": size.value,
        "region": rates.name,
        "currency": rates.table.currency,
        "prices_as_of": rates.table.as_of.isoformat(),
        "sources": rates.table.sources,
        "monthly": str(after.total),
        "monthly_of_the_profile": str(before.total),
        "groups": {name: str(each) for name, each in after.groups().items()},
        "lines": [
            {
                "group": line.group,
                "item": line.item,
                "quantity": str(line.quantity),
                "unit": line.unit,
                "cost": str(line.cost),
            }
            for line in after.lines
        ],
    }
