"""``caio keys``: the API keys of the tenant that one's own key belongs to."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from caio.cli import output
from caio.cli.parameters import DEFAULT_URL, ApiKey, Json, Url, group
from caio.cli.server import asked_with, segment

app = group("Make, list and revoke API keys.")

PATH = "/api/v1/keys"
_DAY = 86_400_000_000


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for; people read it in lists.")],
    role: Annotated[
        list[str] | None, typer.Option(help="admin, developer, user, service or auditor; may be repeated [user].")
    ] = None,
    trust_level: Annotated[str, typer.Option(help="untrusted, standard, elevated or privileged.")] = "standard",
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="A policy in force for every decision made with the key; may be repeated."),
    ] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=3650, help="When the key ends [never].")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it: this once, it cannot be read again."""
    wish: dict[str, Any] = {
        "name": name,
        "roles": role or ["user"],
        "trust_level": trust_level,
        "policies": policy or [],
    }
    if expires_in_days is not None:
        wish["expires_at"] = time.time_ns() // 1000 + expires_in_days * _DAY
    made = asked_with(url, api_key).send("POST", PATH, json.dumps(wish).encode()).document
    if as_json:
        output.print_json(made)
        return
    output.say(made["token"])
    bound = f", bound by {', '.join(made['policies'])}" if made["policies"] else ""
    output.note(f"key {made['key_id']} ({', '.join(made['roles'])}{bound}), shown once: it cannot be read again")


@app.command("list")
def list_keys(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List the keys, without their secrets."""
    found = list(asked_with(url, api_key).items(PATH))
    if as_json:
        output.print_json({"items": found})
    else:
        output.table(["key", "name", "begins", "roles", "trust", "policies", "made", "ends", "state"], map(_row, found))


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `caio keys list` shows it.")],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Revoke a key, at once."""
    revoked = asked_with(url, api_key).send("DELETE", f"{PATH}/{segment(key_id)}").document
    if as_json:
        output.print_json(revoked)
    else:
        output.say(f"key {key_id} ({revoked['name']}) is revoked")


def _row(key: dict[str, Any]) -> tuple[object, ...]:
    return (
        key["key_id"],
        key["name"],
        f"{key['prefix']}…",
        ", ".join(key["roles"]),
        key["trust_level"],
        ", ".join(key["policies"]),
        output.moment(key["created_at"]),
        output.moment(key["expires_at"]) or "never",
        "revoked" if key["revoked_at"] else "active",
    )
