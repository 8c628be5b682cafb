"""``caio keys``: the API keys of the tenant that one's own key belongs to.

With ``--embedded`` a key is made in the data directory's database, without a server and without another key: for
an operator who has lost them all. Holding the directory is the proof.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from caio.cli import output
from caio.cli.limits import Limit, limits_of, shown
from caio.cli.parameters import DEFAULT_URL, ApiKey, DataDir, Json, Url, group
from caio.cli.server import asked_with, segment
from caio.foundation.errors import InvalidInput

app = group("Make, list, rotate and revoke API keys.")

PATH = "/api/v1/keys"
_DAY = 86_400_000_000

KeyId = Annotated[str, typer.Argument(metavar="ID", help="As `caio keys list` shows it.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for; people read it in lists.")],
    role: Annotated[
        list[str] | None,
        typer.Option(help="admin, developer, user, service, auditor, billing or operator; may be repeated [user]."),
    ] = None,
    trust_level: Annotated[str, typer.Option(help="untrusted, standard, elevated or privileged.")] = "standard",
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="A policy in force for every decision made with the key; may be repeated."),
    ] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=3650, help="When the key ends [never].")] = None,
    limit: Limit = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Without a server: an admin's and operator's key, in the data directory.")
    ] = False,
    data_dir: DataDir = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it: this once, it cannot be read again."""
    if embedded:
        if role or policy or limit or expires_in_days:
            raise InvalidInput("with --embedded a key is the operator's, without further options")
        _print_new(asyncio.run(_made_for_owner(name, data_dir)), as_json)
        return
    wish: dict[str, Any] = {
        "name": name,
        "roles": role or ["user"],
        "trust_level": trust_level,
        "policies": policy or [],
    }
    if limit:
        wish["limits"] = limits_of(limit)
    if expires_in_days is not None:
        wish["expires_at"] = time.time_ns() // 1000 + expires_in_days * _DAY
    _print_new(asked_with(url, api_key).send("POST", PATH, json.dumps(wish).encode()).document, as_json)


async def _made_for_owner(name: str, data_dir: Path | None) -> dict[str, Any]:
    from caio.bootstrap.tenancy import owners_keys
    from caio.cli.data_directory import opened, settings_of
    from caio.tenancy.authentication import EMBEDDED, embedded_scope

    settings = settings_of(data_dir)
    async with opened(settings) as data:
        keys = owners_keys(settings, data.stores.api_keys, data.acts, data.master)
        new = await keys.create_for_owner(embedded_scope(), EMBEDDED, name)
    return {"key_id": new.key.key_id, "name": name, "roles": list(new.key.roles), "policies": [], "token": new.token}


def _print_new(made: dict[str, Any], as_json: bool) -> None:
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


@app.command("show")
def show(key_id: KeyId, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show one key, without its secret."""
    key = asked_with(url, api_key).get(f"{PATH}/{segment(key_id)}").document
    if as_json:
        output.print_json(key)
        return
    output.facts(
        {
            "key": key["key_id"],
            "name": key["name"],
            "begins": f"{key['prefix']}…",
            "roles": ", ".join(key["roles"]),
            "trust": key["trust_level"],
            "policies": ", ".join(key["policies"]) or None,
            "limits": shown(key["limits"]) or None,
            "made": f"{output.moment(key['created_at'])} by {key['created_by'] or 'nobody known'}",
            "last used": output.moment(key["last_used_at"]) or "not known",
            "ends": output.moment(key["expires_at"]) or "never",
            "replaced by": key["successor_id"],
            "revoked": output.moment(key["revoked_at"]) or None,
        }
    )


@app.command("rotate")
def rotate(
    key_id: KeyId,
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=720, help="How long the old key works beside the new one.")
    ] = 24,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make a key in the place of another, which ends after the overlap, and print it: this once."""
    body = json.dumps({"overlap_seconds": overlap_hours * 3600}).encode()
    path = f"{PATH}/{segment(key_id)}/rotate"
    _print_new(asked_with(url, api_key).send("POST", path, body).document, as_json)


@app.command("revoke")
def revoke(
    key_id: KeyId,
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
