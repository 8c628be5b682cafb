"""``caio invitations``: letting others into one's own tenant, and getting in."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from caio.cli import output
from caio.cli.parameters import DEFAULT_URL, ApiKey, Json, Url, group
from caio.cli.server import Server, asked_with, segment
from caio.foundation.errors import Unauthenticated

app = group("Invite others into the tenant, and accept an invitation.")

PATH = "/api/v1/invitations"


@app.command("create")
def create(
    role: Annotated[list[str] | None, typer.Option(help="What they may do; may be repeated [user].")] = None,
    email: Annotated[str, typer.Option(help="Whom it is for, for your own list; nothing is sent.")] = "",
    trust_level: Annotated[str, typer.Option(help="untrusted, standard, elevated or privileged.")] = "standard",
    expires_in_days: Annotated[int, typer.Option(min=1, max=90, help="When it ends.")] = 7,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make an invitation and print its token: this once, it cannot be read again."""
    wish = {"email": email, "roles": role or ["user"], "trust_level": trust_level, "expires_in_days": expires_in_days}
    made = asked_with(url, api_key).send("POST", PATH, json.dumps(wish).encode()).document
    if as_json:
        output.print_json(made)
        return
    output.say(made["token"])
    roles, until = ", ".join(made["roles"]), output.moment(made["expires_at"])
    output.note(f"invitation {made['invitation_id']} ({roles}) until {until}, shown once: it cannot be read again")


@app.command("list")
def list_invitations(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List the invitations, ended ones too."""
    found = list(asked_with(url, api_key).items(PATH))
    if as_json:
        output.print_json({"items": found})
    elif found:
        output.table(["invitation", "for", "roles", "trust", "made", "by", "state"], map(_row, found))
    else:
        output.say("no invitations")
        output.next_step("caio invitations create --role developer")


@app.command("revoke")
def revoke(
    invitation_id: Annotated[str, typer.Argument(metavar="ID", help="As `caio invitations list` shows it.")],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """End an invitation."""
    ended = asked_with(url, api_key).send("DELETE", f"{PATH}/{segment(invitation_id)}").document
    if as_json:
        output.print_json(ended)
    else:
        output.say(f"invitation {invitation_id} is {_state(ended)}")


@app.command("accept")
def accept(
    invitation: Annotated[
        str | None,
        typer.Option(
            envvar="CAIO_INVITATION",
            show_default=False,
            help="The token; prefer the variable, since other users can see command lines.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="What the key is called in the tenant's list.")] = "",
    as_member: Annotated[
        bool, typer.Option("--as-member", help="Join as whom the access token in CAIO_API_KEY names, without a key.")
    ] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Turn an invitation into an API key and print that: this once, it cannot be read again."""
    if invitation is None:
        raise Unauthenticated("this needs an invitation: set CAIO_INVITATION to its token")
    server = asked_with(url, api_key) if as_member else Server(url, invitation)
    wish = {"invitation": invitation} if as_member else {"name": name}
    joined = server.send("POST", f"{PATH}/accept", json.dumps(wish).encode()).document
    if as_json:
        output.print_json(joined)
        return
    if as_member:
        output.say(f"you are member {joined['member_id']} of tenant {joined['tenant_id']}")
        return
    output.say(joined["token"])
    roles = ", ".join(joined["roles"])
    output.note(f"a key of tenant {joined['tenant_id']} ({roles}), shown once: it cannot be read again")


def _row(invitation: dict[str, Any]) -> tuple[object, ...]:
    return (
        invitation["invitation_id"],
        invitation["email"],
        ", ".join(invitation["roles"]),
        invitation["trust_level"],
        output.moment(invitation["created_at"]),
        invitation["created_by"],
        _state(invitation),
    )


def _state(invitation: dict[str, Any]) -> str:
    if invitation["accepted_at"] is not None:
        return f"accepted by {invitation['accepted_by']}"
    if invitation["revoked_at"] is not None:
        return "revoked"
    if invitation["expires_at"] <= time.time_ns() // 1000:
        return "expired"
    return f"open until {output.moment(invitation['expires_at'])}"
