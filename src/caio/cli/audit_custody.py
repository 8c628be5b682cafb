"""The commands of ``caio audit`` that keep and erase: entries, show, holds, retention, erase."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from caio.cli import audit_entries, output
from caio.cli.data_directory import opened, settings_of
from caio.cli.moments import moment_of
from caio.cli.parameters import DEFAULT_URL, ApiKey, DataDir, Json, Url, group
from caio.cli.server import asked_with, segment
from caio.foundation.errors import InvalidInput

HOLDS, RETENTION, ERASURES = (f"/api/v1/audit/{name}" for name in ("holds", "retention", "erasures"))

app = group("Read, keep and erase what the log holds.")
app.command("entries")(audit_entries.entries)
app.command("show")(audit_entries.show)

holds = group("Keep what a legal hold covers from being erased.")
retention = group("How long the content of decisions is kept.")
app.add_typer(holds, name="holds")
app.add_typer(retention, name="retention")

Reason = Annotated[
    str, typer.Option(help="Why; it is recorded in the log for good. A case number serves, a name does not.")
]


@holds.command("list")
def list_holds(
    standing: Annotated[bool, typer.Option("--standing", help="Only those that were not released.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List the holds, newest first."""
    found = list(asked_with(url, api_key).items(HOLDS, cursor="before", standing="true" if standing else None))
    if as_json:
        output.print_json({"items": found})
    elif found:
        output.table(["hold", "placed", "by", "covers", "reason", "state"], map(_hold_row, found))
    else:
        output.say("no holds")
        output.next_step("caio audit holds place --reason '…' --service ID")


@holds.command("place")
def place_hold(
    reason: Reason,
    service: Annotated[str | None, typer.Option(help="Cover what chose it, called it or was answered by it.")] = None,
    principal: Annotated[str | None, typer.Option(help="Cover what was decided for it.")] = None,
    since: Annotated[str | None, typer.Option(help="Cover what was decided since: 12h, 7d, or RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="Cover what was decided before, as for --since.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Place a hold on decisions that match all that is stated; on all decisions when nothing is."""
    wish = {
        "reason": reason,
        "service": service,
        "principal": principal,
        "since": moment_of("--since", since),
        "until": moment_of("--until", until),
    }
    placed = asked_with(url, api_key).send("POST", HOLDS, json.dumps(wish).encode()).document
    if as_json:
        output.print_json(placed)
        return
    output.say(f"hold {placed['hold_id']} stands: {_coverage(placed)} cannot be erased")
    output.next_step(f"caio audit holds release {placed['hold_id']}")


@holds.command("release")
def release_hold(
    hold_id: Annotated[str, typer.Argument(metavar="ID", help="As `caio audit holds list` shows it.")],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Release a hold: retention and requests may erase what it covered."""
    released = asked_with(url, api_key).send("DELETE", f"{HOLDS}/{segment(hold_id)}").document
    if as_json:
        output.print_json(released)
    else:
        output.say(f"hold {hold_id} is released; {_coverage(released)} may be erased")


@retention.command("show")
def show_retention(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Say how long the content of decisions is kept."""
    _say_retention(asked_with(url, api_key).get(RETENTION).document, as_json)


@retention.command("set")
def set_retention(
    days: Annotated[int | None, typer.Argument(min=1, max=36_500, metavar="[DAYS]", help="For how many days.")] = None,
    forever: Annotated[bool, typer.Option("--forever", help="For good.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Keep the content of decisions for DAYS, or --forever. What is older is erased within the hour."""
    if (days is None) != forever:
        raise InvalidInput("say for how many days, or --forever")
    set_to = asked_with(url, api_key).send("PUT", RETENTION, json.dumps({"days": days}).encode()).document
    _say_retention(set_to, as_json)


@app.command("erase")
def erase(
    reason: Reason,
    decision: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Erase this decision's content; may be repeated.")
    ] = None,
    principal: Annotated[str | None, typer.Option(metavar="ID", help="Erase all that was decided for it.")] = None,
    tenant: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Destroy this tenant's key and all content, in the data directory."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Erase content for good: of decisions, of a principal's decisions, or of a whole tenant.

    Commitments stay: the log still verifies. A legal hold stands before all of it.
    """
    if [bool(decision), principal is not None, tenant is not None].count(True) != 1:
        raise InvalidInput("say what to erase: --decision (may be repeated), --principal or --tenant")
    if tenant is not None:
        _confirm(f"Destroy the key of tenant {tenant}, and everything that is sealed with it, for good?", yes)
        _erase_tenant(tenant, reason, data_dir, as_json)
        return
    what = f"of {' and '.join(decision)}" if decision else f"of every decision for {principal}"
    _confirm(f"Erase the content {what} for good?", yes)
    wish = {"reason": reason} | ({"decision_ids": decision} if decision else {"principal": principal})
    found = asked_with(url, api_key).send("POST", ERASURES, json.dumps(wish).encode()).document
    if as_json:
        output.print_json(found)
        return
    output.say(f"erased: {found['erased']}, erased before: {found['already_erased']}, unknown: {found['unknown']}")
    if found["running"]:
        output.say(f"{found['running']} are still running and were left; erase them when they have ended")


def _erase_tenant(tenant: str, reason: str, data_dir: Path | None, as_json: bool) -> None:
    async def erase_all() -> int:
        from caio.bootstrap import new_id, now
        from caio.registry.custody import Custody
        from caio.tenancy.authentication import EMBEDDED, embedded_scope

        try:
            scope = embedded_scope(tenant)
        except ValueError as error:
            raise InvalidInput(f"--tenant: {error}") from error
        async with opened(settings_of(data_dir)) as data:
            custody = Custody(data.stores.custody, data.acts, data.vault, now, new_id)
            return await custody.erase_tenant(scope, EMBEDDED, reason)

    with output.waiting("Erasing"):
        leaves = asyncio.run(erase_all())
    if as_json:
        output.print_json({"tenant": tenant, "erased_leaves": leaves})
        return
    output.say(f"tenant {tenant}: its key is destroyed, {leaves} entries of its log are emptied")
    output.say("Backups from before still hold the wrapped key and what it opens, until they are gone too.")


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidInput("there is nobody to ask; add --yes if you mean it")
    if not typer.confirm(question):
        raise typer.Abort


def _say_retention(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json(found)
        return
    if found["days"] is None:
        output.say("the content of decisions is kept for good")
    else:
        output.say(f"the content of decisions is kept for {found['days']} days")
    if found["erased_before"] is not None:
        output.say(f"erased, but for what was held: all from before {output.moment(found['erased_before'])}")


def _coverage(hold: dict[str, Any]) -> str:
    parts = [
        f"service {hold['service']}" if hold["service"] else "",
        f"principal {hold['principal']}" if hold["principal"] else "",
        f"since {output.moment(hold['since'])}" if hold["since"] is not None else "",
        f"before {output.moment(hold['until'])}" if hold["until"] is not None else "",
    ]
    return ", ".join(part for part in parts if part) or "every decision"


def _hold_row(hold: dict[str, Any]) -> tuple[object, ...]:
    state = "stands" if hold["released_at"] is None else f"released {output.moment(hold['released_at'])}"
    return (
        hold["hold_id"],
        output.moment(hold["placed_at"]),
        hold["placed_by"],
        _coverage(hold),
        hold["reason"],
        state,
    )
