"""``caio tenants``: the platform's tenants, for its operators; and a tenant's own export."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from caio.cli import output
from caio.cli.parameters import DEFAULT_URL, ApiKey, IfMatch, Json, Url, group
from caio.cli.server import Server, asked_with, segment
from caio.foundation.errors import Conflict, InvalidInput, Misconfigured, NotReady

app = group("Create, list, change and end tenants; export one's own.")

PATH = "/api/v1/tenants"
EXPORT = "/api/v1/tenant/export"

Id = Annotated[str, typer.Argument(metavar="ID", help="The tenant's id.")]
Quota = Annotated[
    list[str] | None,
    typer.Option("--quota", metavar="NAME=VALUE", help="A quota, such as services=20 or budget=100; may be repeated."),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit", metavar="NAME=VALUE", help="A limit, such as concurrent=50; may be repeated, and replaces all."
    ),
]
Plan = Annotated[str | None, typer.Option(help="The name of the plan.")]
Outage = Annotated[str | None, typer.Option(help="While the limiter is away: closed, or local.")]
Reason = Annotated[str, typer.Option(help="Why; it is recorded in the tenant's audit log.")]


@app.command("create")
def create(
    tenant_id: Id,
    name: Annotated[str | None, typer.Option(help="What people call it [the id].")] = None,
    plan: Plan = None,
    currency: Annotated[str | None, typer.Option(help="For good [the platform's own].")] = None,
    tier: Annotated[str, typer.Option(help="Where its rows are, for good: pool, bridge or silo.")] = "pool",
    place: Annotated[str, typer.Option(help="A silo's database, by its name in the settings [a free one].")] = "",
    outage: Outage = None,
    quota: Quota = None,
    limit: Limit = None,
    email: Annotated[str, typer.Option(help="Whom the invitation is for; nothing is sent.")] = "",
    invite: Annotated[bool, typer.Option("--invite/--no-invite", help="Invite a first admin.")] = True,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Create a tenant and print its first admin's invitation: this once, it cannot be read again."""
    wish: dict[str, Any] = {"tenant_id": tenant_id, "name": name or tenant_id, "tier": tier, "place": place}
    stated = {"plan": plan, "currency": currency, "outage": outage}
    wish |= {key: value for key, value in stated.items() if value is not None}
    wish |= _quotas(quota, limit)
    if invite:
        wish["invite"] = {"email": email}
    made = asked_with(url, api_key).send("POST", PATH, json.dumps(wish).encode()).document
    if as_json:
        output.print_json(made)
        return
    output.say(f"tenant {made['tenant_id']} ({made['plan']}, {made['currency']}) is created")
    if made["invitation"] is not None:
        output.say(made["invitation"]["token"])
        output.note("the invitation of its first admin, shown once: it cannot be read again")
        output.next_step(f"CAIO_INVITATION={made['invitation']['token']} caio invitations accept")


@app.command("invite")
def invite_admin(
    tenant_id: Id,
    email: Annotated[str, typer.Option(help="Whom the invitation is for; nothing is sent.")] = "",
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Invite an admin into a tenant that has none, and print the invitation: this once."""
    wish = json.dumps({"email": email}).encode()
    invitation = asked_with(url, api_key).send("POST", f"{PATH}/{tenant_id}/invitations", wish).document
    if as_json:
        output.print_json(invitation)
        return
    output.say(invitation["token"])
    output.note("shown once: it cannot be read again")
    output.next_step(f"CAIO_INVITATION={invitation['token']} caio invitations accept")


@app.command("list")
def list_tenants(
    status: Annotated[str | None, typer.Option(help="active, suspended, cancelled or deleted.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List the tenants."""
    found = list(asked_with(url, api_key).items(PATH, status=status))
    if as_json:
        output.print_json({"items": found})
    elif found:
        output.table(["tenant", "name", "status", "plan", "services", "per minute", "budget", "made"], map(_row, found))
    else:
        output.say("no tenants" if status is None else f"no tenants that are {status}")


@app.command("show")
def show(tenant_id: Id, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show a tenant: its status, its quotas, how much there is in it."""
    _tell(asked_with(url, api_key).get(_path(tenant_id)).document, as_json)


@app.command("change")
def change(
    tenant_id: Id,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    plan: Plan = None,
    outage: Outage = None,
    quota: Quota = None,
    limit: Limit = None,
    if_match: IfMatch = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Change a tenant. ``--quota budget=none`` takes the budget away."""
    stated = {"name": name, "plan": plan, "outage": outage}
    wish = {key: value for key, value in stated.items() if value is not None} | _quotas(quota, limit)
    if not wish:
        raise InvalidInput("say what to change: --name, --plan, --outage, --quota or --limit")
    server = asked_with(url, api_key)
    revision = if_match or server.get(_path(tenant_id)).etag
    _tell(server.send("PATCH", _path(tenant_id), json.dumps(wish).encode(), if_match=revision).document, as_json)


@app.command("suspend")
def suspend(
    tenant_id: Id, reason: Reason, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False
) -> None:
    """Refuse a tenant's calls, within seconds everywhere. Its data is kept."""
    _step(asked_with(url, api_key), tenant_id, "suspend", {"reason": reason}, as_json, "is suspended")


@app.command("resume")
def resume(tenant_id: Id, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Serve a suspended or cancelled tenant again."""
    _step(asked_with(url, api_key), tenant_id, "resume", {}, as_json, "is active")


@app.command("cancel")
def cancel(
    tenant_id: Id,
    reason: Reason,
    grace_days: Annotated[int, typer.Option(min=0, max=3650, help="Until it is deleted.")] = 30,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Refuse a tenant's calls, and delete it when the grace has passed, unless it is resumed before."""
    wish = {"reason": reason, "grace_days": grace_days}
    _step(asked_with(url, api_key), tenant_id, "cancel", wish, as_json, "is cancelled")


@app.command("delete")
def delete(
    tenant_id: Id,
    confirm: Annotated[str | None, typer.Option(metavar="ID", help="The id once more; asked for when absent.")] = None,
    reason: Reason = "deleted by the operator",
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Delete a tenant and all that it has, for good. A legal hold stands before it."""
    if confirm is None:
        if not sys.stdin.isatty():
            raise InvalidInput(f"there is nobody to ask; add --confirm {tenant_id} if you mean it")
        confirm = typer.prompt(f"Everything of {tenant_id} will be gone for good. Repeat its id")
    path = f"{_path(tenant_id)}?{urlencode({'confirm': confirm, 'reason': reason})}"
    gone = asked_with(url, api_key).send("DELETE", path).document
    if as_json:
        output.print_json(gone)
        return
    output.say(f"tenant {gone['tenant_id']} is deleted; its id is not given again, and its log still verifies")
    output.say("Backups from before still hold the wrapped key and what it opens, until they are gone too.")


@app.command("export")
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A zip file: to write, or with --verify to check.")],
    verify: Annotated[bool, typer.Option("--verify", help="Check every hash of an export; needs no server.")] = False,
    content: Annotated[
        bool, typer.Option("--content/--no-content", help="With what was decided, and why, as far as it is there.")
    ] = True,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Export all that is one's own tenant's, without secrets, or verify such an export."""
    if not verify:
        _download(asked_with(url, api_key), file, content)
    manifest = _checked(file)
    if as_json:
        output.print_json({"file": str(file), **manifest})
        return
    output.table(
        ["file", "rows", "sha256"], [(each["name"], each["rows"], each["sha256"]) for each in manifest["files"]]
    )
    moment = output.moment(manifest["made_at"])
    output.say(f"{file} is whole: the export of tenant {manifest['tenant']} of {moment}")
    if not verify:
        output.next_step(f"caio tenants export --verify {file}", "caio audit export DIR")


def _download(server: Server, file: Path, content: bool) -> None:
    """The export into ``file``, which is there whole or not at all."""
    if file.exists():
        raise Conflict(f"{file} exists already; name a file that does not", code="already_exists")
    fresh = file.absolute().with_name(f".{file.name}.{os.getpid()}")
    query = {"content": str(content).lower()}
    try:
        with output.counting("Exporting, bytes") as told, server.stream(EXPORT, "application/zip", **query) as parts:
            done = 0
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
                for part in parts:
                    written.write(part)
                    told(done := done + len(part))
        try:
            _checked(fresh)
        except InvalidInput as error:
            raise NotReady("the export was cut short or changed on its way; nothing is kept, run it again") from error
        fresh.replace(file)
    except OSError as error:
        raise Misconfigured(f"{file} cannot be written: {error.strerror}", code="unwritable_file") from error
    finally:
        fresh.unlink(missing_ok=True)


def _checked(file: Path) -> dict[str, Any]:
    from caio.registry.tenant_archive import verify

    try:
        with output.counting("Verifying, bytes") as told:
            return verify(file, told)
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}", code="unreadable_file") from error


def _step(server: Server, tenant_id: str, step: str, wish: dict[str, Any], as_json: bool, said: str) -> None:
    tenant = server.send("POST", f"{_path(tenant_id)}/{step}", json.dumps(wish).encode()).document
    if as_json:
        output.print_json(tenant)
        return
    until = f"; its data is deleted at {output.moment(tenant['erase_at'])}" if tenant["erase_at"] else ""
    output.say(f"tenant {tenant_id} {said}{until}")
    if step in ("suspend", "cancel"):
        output.next_step(f"caio tenants resume {tenant_id}")


def _path(tenant_id: str) -> str:
    return f"{PATH}/{segment(tenant_id)}"


def _quotas(quota: list[str] | None, limit: list[str] | None) -> dict[str, Any]:
    """The part of a body that states quotas and limits."""
    stated: dict[str, Any] = {}
    for name, value in _pairs("--quota", quota):
        if name == "alerts":
            stated[name] = [_number("--quota", name, each) for each in value.split(",") if each]
        elif name in ("budget", "budget_period"):
            stated[name] = None if value == "none" else value
        else:
            stated[name] = _number("--quota", name, value)
    if limit is not None:
        stated["limits"] = {name: _number("--limit", name, value) for name, value in _pairs("--limit", limit)}
    return {"quotas": stated} if stated else {}


def _pairs(option: str, stated: list[str] | None) -> list[tuple[str, str]]:
    pairs = [each.partition("=") for each in stated or []]
    if any(not between or not name for name, between, _ in pairs):
        raise InvalidInput(f"{option} takes NAME=VALUE, such as {option} services=20")
    return [(name, value) for name, _, value in pairs]


def _number(option: str, name: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= 16):
        raise InvalidInput(f"{option} {name} is a whole number, not {value!r}")
    return int(value)


def _tell(tenant: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json(tenant)
        return
    quotas = tenant["quotas"]
    budget = (
        "none" if quotas["budget"] is None else f"{quotas['budget']} {tenant['currency']}, {quotas['budget_period']}"
    )
    limits = [f"{name} {value}" for name, value in quotas["limits"].items() if value is not None]
    output.say(f"tenant {tenant['tenant_id']}: {tenant['name']}")
    output.facts(
        {
            "status": tenant["status"],
            "since": output.moment(tenant["status_at"] or tenant["created_at"]),
            "deletion": output.moment(tenant["erase_at"]) or None,
            "plan": tenant["plan"],
            "tier": tenant["tier"],
            "outage": tenant["outage"],
            "requests": f"{quotas['per_minute']} a minute, {quotas['per_hour']} an hour, {quotas['per_day']} a day",
            "budget": f"{budget}; told at {', '.join(f'{each} %' for each in quotas['alerts']) or 'no threshold'}",
            "storage": f"{quotas['storage_bytes']:,} bytes",
            "services": quotas["services"],
            "limits": ", ".join(limits) or None,
            "has": _counts(tenant.get("counts")),
            "revision": tenant["revision"],
        }
    )


def _counts(counts: dict[str, int] | None) -> str | None:
    return None if counts is None else ", ".join(f"{number} {name}" for name, number in counts.items())


def _row(tenant: dict[str, Any]) -> tuple[object, ...]:
    quotas = tenant["quotas"]
    return (
        tenant["tenant_id"],
        tenant["name"],
        tenant["status"],
        tenant["plan"],
        quotas["services"],
        quotas["per_minute"],
        "none" if quotas["budget"] is None else f"{quotas['budget']} {tenant['currency']}",
        output.moment(tenant["created_at"]),
    )
