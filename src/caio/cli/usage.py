"""``caio usage`` and ``caio budget``: what was used, and what is left of the money."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from caio.cli import output
from caio.cli.data_directory import opened, settings_of
from caio.cli.files import InvalidFile
from caio.cli.parameters import DEFAULT_URL, ApiKey, DataDir, Json, Url, group
from caio.cli.server import asked_with, segment
from caio.foundation.errors import InvalidInput
from caio.metering.usage import DAY, Dimension, Recount, Sums, dimensions_of, grouped

app = group("See what was used, and count it again.")
app.info.no_args_is_help = False

By = Annotated[
    str, typer.Option("--by", metavar="LIST", help="Any of day, principal, service, capability, with commas between.")
]

_HEADINGS = {
    "calls": "calls",
    "failed": "failed",
    "input_tokens": "tokens in",
    "output_tokens": "tokens out",
    "compute_seconds": "compute s",
    "cost": "cost",
    "breaches": "breaches",
}
_AMOUNTS = ("budget", "charged", "reserved", "left")
_DIMENSIONS = [each.value for each in Dimension]


@app.callback(invoke_without_command=True)
def usage(
    context: typer.Context,
    by: By = "day",
    since: Annotated[str | None, typer.Option("--from", metavar="DAY", help="The first day [this month's].")] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="The day behind the last [tomorrow].")
    ] = None,
    principal: Annotated[str | None, typer.Option(help="Of this principal only.")] = None,
    service: Annotated[str | None, typer.Option(help="Of this service only.")] = None,
    capability: Annotated[str | None, typer.Option(help="Of this capability only.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Of another tenant, by day: for the platform's operators.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, however many lines.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """See calls, tokens, compute, cost and breaches, summed up in groups. Days are in UTC."""
    if context.invoked_subcommand is not None:
        return
    server = asked_with(url, api_key)
    query: dict[str, object] = {"from": since, "to": until}
    path = "/api/v1/usage" if tenant is None else f"/api/v1/tenants/{segment(tenant)}/usage"
    if tenant is None:
        query |= {"group_by": by, "principal": principal, "service": service, "capability": capability}
    elif as_csv or principal or service or capability or by != "day":
        raise InvalidInput("of another tenant there are sums by day alone: leave out the other options")
    if as_csv:
        with server.stream("/api/v1/usage.csv", "text/csv", **query) as parts:
            for part in parts:
                sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
        return
    found = server.get(path, **query).document
    if as_json:
        output.print_json(found)
    else:
        _show(found)


@app.command("rebuild")
def rebuild(
    tenant: Annotated[str, typer.Option(help="The tenant.")] = "default",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Throw a tenant's usage away and count it again from the journal, also while a server runs."""
    with output.waiting(f"Counting the usage of {tenant} again"):
        leaves = asyncio.run(_rebuild(tenant, data_dir))
    if as_json:
        output.print_json({"tenant": tenant, "entries": leaves})
    else:
        output.say(f"the usage of {tenant} was counted again from {leaves:,} entries of its journal")


@app.command("recount")
def recount(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An export of the audit log.")],
    by: By = "day",
    as_json: Json = False,
) -> None:
    """Count usage from an exported audit log, without a server, to compare it with what the server says.

    Whether the export is genuine is not checked: caio audit verify DIR does.
    """
    dimensions = _dimensions(by)
    with output.waiting("Counting"):
        found = _recounted(directory)
    groups = [_named(dimensions, key, sums) for key, sums in sorted(grouped(found.usage, dimensions).items())]
    (total,) = grouped(found.usage, ()).values() or (Sums(),)
    if as_json:
        output.print_json({"groups": groups, "total": total.document(), "unexplained": found.unexplained})
        return
    _table(groups, total.document())
    if found.unexplained:
        output.note(f"{found.unexplained:,} calls are not in it: the export does not show their decisions")
    output.next_step(f"caio audit verify {directory}")


def budget(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """See what of the budget is charged, reserved and left in the present period."""
    found = asked_with(url, api_key).get("/api/v1/budget").document
    if as_json:
        output.print_json(found)
        return
    currency = found["currency"]
    amounts = {name: None if found[name] is None else f"{found[name]} {currency}" for name in _AMOUNTS}
    reached = [f"{each['percent']} %" for each in found["thresholds"] if each["reached"]]
    output.facts(
        {
            "period": found["period"],
            "ends": output.moment(found["ends_at"]) or None,
            **amounts,
            "budget": amounts["budget"] or "none: nothing is refused for its price",
            "reached": ", ".join(reached) or None,
        }
    )


async def _rebuild(tenant: str, data_dir: Path | None) -> int:
    from caio.metering.rollup import UsageRollup
    from caio.tenancy.authentication import embedded_scope

    try:
        scope = embedded_scope(tenant)
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    async with opened(settings_of(data_dir)) as data:
        await data.stores.tenants.get(scope)
        return await UsageRollup(data.stores.usage, embedded_scope).rebuild(scope)


def _recounted(directory: Path) -> Recount:
    from caio.audit.export import is_closing, read_line
    from caio.foundation.canonical import read_canonical

    found = Recount()
    try:
        with (directory / "entries.jsonl").open("rb") as file:
            for raw in file:
                line = None if is_closing(raw) else read_line(raw)
                if line is not None and line.is_disclosed:
                    found.take(read_canonical(bytes(line.payload)))
    except OSError as error:
        message = f"{directory} holds no export of an audit log: {error.strerror}"
        raise InvalidFile(str(directory), message, code="unreadable_file") from error
    return found


def _dimensions(text: str) -> tuple[Dimension, ...]:
    try:
        return dimensions_of(text)
    except ValueError as error:
        raise InvalidInput(f"--by {error}") from None


def _named(by: Iterable[Dimension], key: Iterable[int | str], sums: Sums) -> dict[str, Any]:
    names = dict(zip(by, key, strict=True))
    shown = {each.value: _day(int(value)) if each is Dimension.DAY else value for each, value in names.items()}
    return {**shown, **sums.document()}


def _day(number: int) -> str:
    return output.moment(number * DAY)[:10]


def _show(found: Mapping[str, Any]) -> None:
    """What the server answered, as a table with the whole below it."""
    if not found["groups"]:
        output.say(f"no calls from {found['from']} to before {found['to']}")
    else:
        _table(found["groups"], found["total"], found["currency"])
    if found["storage"]:
        last = found["storage"][-1]
        output.say()
        output.say(f"Storage: {last['bytes']:,} bytes on {last['day']}.")
    if found["waiting"]:
        output.note(f"as of {output.moment(found['as_of'])}: {found['waiting']:,} journal entries are not counted yet")


def _table(groups: list[dict[str, Any]], total: Mapping[str, Any], currency: str | None = None) -> None:
    dimensions = [name for name in _DIMENSIONS if groups and name in groups[0]]
    titles = {**_HEADINGS, "cost": "cost" if currency is None else f"cost {currency}"}
    rows = [[*(each[name] or "(erased)" for name in dimensions), *_measures(each)] for each in groups]
    if dimensions and len(rows) > 1:
        rows.append(["all", *[""] * (len(dimensions) - 1), *_measures(total)])
    output.table([*dimensions, *titles.values()], rows, right=titles.values())


def _measures(sums: Mapping[str, Any]) -> list[object]:
    return [f"{sums[name]:,}" if isinstance(sums[name], int) else sums[name] for name in _HEADINGS]
