"""Write ``docs/deployment/COST_ESTIMATION.md`` from the price table and the profiles.

    python -m scripts.cost_page

A test compares the page with what this would write.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from caio.aws.cost.estimate import estimate
from caio.aws.cost.prices import Priced, priced, read_prices
from caio.aws.cost.shape import INTERFACE_ENDPOINTS, Environment, Shape, Size, shape_of

PAGE = Path(__file__).parents[1] / "docs" / "deployment" / "COST_ESTIMATION.md"
REGION = "us-east-1"

_BEFORE = """\
# What it costs

`caio ops cost` estimates a month on AWS from the deployment's shape and a dated price table. It takes nothing off for
free tiers, adds no tax, no support, and not what models cost. Prices are list prices of {region}, collected in
{as_of:%B %Y}; AWS changes them, so compare before a decision rests on them.

This page is written by `python -m scripts.cost_page` from the same figures that the command uses.

```sh run
caio ops cost --environment staging --size small
```

```text output
A month of staging, small, us-east-1: … USD
…
```

## By environment and size

Small serves about 3 million calls a month, medium 60, large 600. `dev` sleeps at night and has no firewall;
`production` has three zones, a NAT gateway and the endpoints in each, a standby of the database and a second node of
the cache.

| USD a month | small | medium | large |
|---|---|---|---|
"""

_PARTS = """
## Where it goes

`production`:

| USD a month | small | medium | large |
|---|---|---|---|
"""

_WHAT_IF = """
## What would change it

`production`, medium, each change by itself:

| change | command | USD a month | difference |
|---|---|---|---|
"""

_AFTER = """
What is not in it: the calls of models (they are metered by CAIO itself, [by tenant](../how-to/read-usage.md)),
traffic between zones, Container Insights, GuardDuty, Security Hub, Inspector and the logs of CloudTrail beyond the
first copy, CloudFront, a replica, RDS Proxy
(`0.015` USD a vCPU-hour), Aurora in place of RDS.

## A price table of your own

Another region, or the prices of an agreement, go into a file of the form of
[`prices.yaml`](../../src/caio/aws/cost/prices.yaml); its sources
are addresses where the figures can be read again.

```sh
caio ops cost --prices our-prices.yaml --region eu-central-1 --json
```

## What it costs in truth

An estimate is not a bill. AWS Budgets warns at 80 % and 100 % of what was spent and at 100 % of what is forecast;
`make -C infrastructure/aws cost-actual ENV=production` asks Cost Explorer. Resources are tagged `Project`,
`Environment`, `Owner` and `Component`: switch these on as cost allocation tags once, in the billing console.
"""


def page() -> str:
    """The page as it should stand."""
    rates = priced(read_prices(), REGION)
    parts = [
        _BEFORE.format(region=REGION, as_of=rates.table.as_of),
        *(_row(each.value, [_total(shape_of(each, size), rates) for size in Size]) for each in Environment),
        _PARTS,
        *_by_part(rates),
        _WHAT_IF,
        *_changes(rates),
        _AFTER,
    ]
    return "".join(parts)


def _by_part(rates: Priced) -> list[str]:
    found = [estimate(shape_of(Environment.PRODUCTION, size), rates).groups() for size in Size]
    names = sorted(found[1], key=lambda name: found[1][name], reverse=True)
    return [_row(name, [each[name] for each in found]) for name in names]


def _changes(rates: Priced) -> list[str]:
    profile = shape_of(Environment.PRODUCTION, Size.MEDIUM)
    before = _total(profile, rates)
    changes: list[tuple[str, str, Shape]] = [
        ("tasks on x86-64 instead of ARM64", "--x86", replace(profile, architecture="x86")),
        ("workers on Spot", "--spot", replace(profile, spot_workers=True)),
        ("database and cache reserved", "--reserved", replace(profile, reserved=True)),
        ("one NAT gateway", "--nat 1", replace(profile, nat_gateways=1)),
        (
            "no NAT gateway: AWS's own models only",
            "--nat 0",
            replace(profile, nat_gateways=0, endpoints=INTERFACE_ENDPOINTS),
        ),
        ("twice the API tasks", "--tasks 8", replace(profile, api_tasks=8)),
    ]
    return [
        f"| {told} | `caio ops cost {option}` | {_total(shape, rates):,.0f} | {_total(shape, rates) - before:+,.0f} |\n"
        for told, option, shape in changes
    ]


def _total(shape: Shape, rates: Priced) -> Decimal:
    return estimate(shape, rates).total


def _row(name: str, figures: list[Decimal]) -> str:
    return f"| {name} | {' | '.join(f'{figure:,.0f}' for figure in figures)} |\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
