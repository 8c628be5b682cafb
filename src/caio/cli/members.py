"""``caio members``: who belongs to the tenant of one's key, and what they may do."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from caio.cli import output
from caio.cli.limits import Limit, limits_of, shown
from caio.cli.parameters import DEFAULT_URL, ApiKey, Json, Url, group
from caio.cli.server import asked_with, segment
from caio.foundation.errors import InvalidInput

app = group("List, change and remove the members of your tenant.")

PATH = "/api/v1/members"

MemberId = Annotated[str, typer.Argument(metavar="ID", help="As `caio members list` shows it.")]


@app.command("list")
def list_members(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List the members, removed ones included."""
    found = list(asked_with(url, api_key).items(PATH))
    if as_json:
        output.print_json({"items": found})
    else:
        output.table(["member", "name", "email", "roles", "trust", "joined", "state"], map(_row, found))


@app.command("show")
def show(member_id: MemberId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show one member."""
    _print(asked_with(url, api_key).get(f"{PATH}/{segment(member_id)}").document, as_json)


@app.command("change")
def change(
    member_id: MemberId,
    role: Annotated[list[str] | None, typer.Option(help="In place of all roles; may be repeated.")] = None,
    trust_level: Annotated[str | None, typer.Option(help="untrusted, standard, elevated or privileged.")] = None,
    limit: Limit = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Change what a member may do; what is not stated stays. Limits replace all limits."""
    wish: dict[str, Any] = {}
    if role:
        wish["roles"] = role
    if trust_level is not None:
        wish["trust_level"] = trust_level
    if limit:
        wish["limits"] = limits_of(limit)
    if not wish:
        raise InvalidInput("say what to change: --role, --trust-level or --limit")
    path = f"{PATH}/{segment(member_id)}"
    _print(asked_with(url, api_key).send("PATCH", path, json.dumps(wish).encode()).document, as_json)


@app.command("remove")
def remove(member_id: MemberId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Remove a member, at once."""
    removed = asked_with(url, api_key).send("DELETE", f"{PATH}/{segment(member_id)}").document
    if as_json:
        output.print_json(removed)
    else:
        output.say(f"member {member_id} ({removed['name'] or removed['subject']}) is removed")


def _print(member: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json(member)
        return
    output.facts(
        {
            "member": member["member_id"],
            "issuer": member["issuer"],
            "subject": member["subject"],
            "name": member["name"] or None,
            "email": member["email"] or None,
            "roles": ", ".join(member["roles"]),
            "trust": member["trust_level"],
            "limits": shown(member["limits"]) or None,
            "joined": output.moment(member["joined_at"]),
            "removed": output.moment(member["removed_at"]) or None,
        }
    )


def _row(member: dict[str, Any]) -> tuple[object, ...]:
    return (
        member["member_id"],
        member["name"] or member["subject"],
        member["email"],
        ", ".join(member["roles"]),
        member["trust_level"],
        output.moment(member["joined_at"]),
        "removed" if member["removed_at"] else "active",
    )
