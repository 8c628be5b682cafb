"""``caio webhooks``: have the tenant's events delivered to an address."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from caio.cli import output
from caio.cli.exits import ExitCode
from caio.cli.parameters import DEFAULT_URL, ApiKey, Json, Url, group
from caio.cli.server import asked_with, segment

app = group("Have events delivered to an address.")

PATH = "/api/v1/webhooks"

Id = Annotated[str, typer.Argument(metavar="ID", help="As `caio webhooks list` shows it.")]


@app.command("create")
def create(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Where to deliver: an https URL.")],
    types: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="A type, or what types begin with; may be repeated [caio.]."),
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make a webhook and print the secret that its deliveries are signed with: this once."""
    wish = {"url": address, "types": types or ["caio."]}
    made = asked_with(url, api_key).send("POST", PATH, json.dumps(wish).encode()).document
    _show_secret(made, as_json)


@app.command("list")
def list_webhooks(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List the webhooks, without their secrets."""
    found = asked_with(url, api_key).get(PATH).document["items"]
    if as_json:
        output.print_json({"items": found})
    else:
        output.table(["webhook", "address", "types", "made", "state"], map(_row, found))


@app.command("delete")
def delete(webhook_id: Id, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Delete a webhook; what waits for it is not delivered any more."""
    asked_with(url, api_key).send("DELETE", f"{PATH}/{segment(webhook_id)}")
    _say(as_json, {"webhook_id": webhook_id, "deleted": True}, f"webhook {webhook_id} is deleted")


@app.command("rotate")
def rotate(
    webhook_id: Id,
    overlap: Annotated[int, typer.Option(min=0, max=604_800, help="Seconds the old secret signs on.")] = 86_400,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make a new secret and print it: this once. Until the overlap ends, both sign."""
    body = json.dumps({"overlap_seconds": overlap}).encode()
    _show_secret(asked_with(url, api_key).send("POST", f"{PATH}/{segment(webhook_id)}/rotate", body).document, as_json)


@app.command("enable")
def enable(webhook_id: Id, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Deliver to a disabled webhook again, from the next event on."""
    found = asked_with(url, api_key).send("POST", f"{PATH}/{segment(webhook_id)}/enable").document
    _say(as_json, found, f"webhook {webhook_id} is enabled")


@app.command("test")
def send_test(webhook_id: Id, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Deliver one event now, and say how that went; exits 9 when it was not delivered."""
    found = asked_with(url, api_key).send("POST", f"{PATH}/{segment(webhook_id)}/test").document
    _say(as_json, found, f"{'delivered' if found['delivered'] else 'not delivered'}: {found['status']}")
    if not found["delivered"]:
        raise typer.Exit(ExitCode.UPSTREAM)


@app.command("deliveries")
def deliveries(
    webhook_id: Id,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most this many.")] = 50,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List what went to a webhook, newest event first."""
    found = asked_with(url, api_key).get(f"{PATH}/{segment(webhook_id)}/deliveries", limit=limit).document["items"]
    if as_json:
        output.print_json({"items": found})
    else:
        rows = (
            (
                each["event_id"],
                each["type"],
                each["state"],
                each["attempts"],
                each["status"],
                output.moment(each["due_at"]),
            )
            for each in found
        )
        output.table(["event", "type", "state", "attempts", "last", "next"], rows)


def _show_secret(made: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json(made)
        return
    output.say(made["secret"])
    output.note(f"the secret of webhook {made['webhook_id']}, shown once: it cannot be read again")
    output.next_step(f"caio webhooks test {made['webhook_id']}")


def _say(as_json: bool, document: Any, sentence: str) -> None:
    if as_json:
        output.print_json(document)
    else:
        output.say(sentence)


def _row(webhook: dict[str, Any]) -> tuple[object, ...]:
    return (
        webhook["webhook_id"],
        webhook["url"],
        ", ".join(webhook["types"]),
        output.moment(webhook["created_at"]),
        "disabled" if webhook["disabled_at"] else "enabled",
    )
