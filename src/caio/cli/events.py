"""``caio events``: what happened in the tenant, newest first, or as it happens."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from caio.cli import output
from caio.cli.parameters import DEFAULT_URL, ApiKey, Json, Url, group
from caio.cli.server import asked_with

app = group("List and follow what happens in the tenant.")

PATH = "/api/v1/events"
_PAGE = 200

Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="TYPE", help="A type, or what types begin with: caio.key.; may be repeated."),
]


@app.command("list")
def list_events(
    types: Types = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many.")] = 50,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List the events of the last 30 days, newest first."""
    server, found, before = asked_with(url, api_key), list[dict[str, Any]](), None
    while len(found) < limit:
        page = server.get(PATH, type=types, before=before, limit=min(_PAGE, limit - len(found))).document
        found += page["items"]
        if (before := page["next_before"]) is None:
            break
    if as_json:
        output.print_json({"items": found})
    else:
        output.table(["when", "type", "subject", "by", "entry"], map(_row, found))


@app.command("tail")
def tail(
    types: Types = None,
    last: Annotated[int, typer.Option(min=0, max=_PAGE, help="Begin with this many that happened already.")] = 10,
    every: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between two looks.")] = 2.0,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Print events as they happen, one a line, until Ctrl-C. None is missed."""
    server = asked_with(url, api_key)
    page = server.get(PATH, type=types, limit=max(last, 1)).document
    for event in reversed(page["items"][:last]):
        _print(event, as_json)
    after = page["next_after"]
    while True:
        page = server.get(PATH, type=types, after=after, limit=_PAGE).document
        for event in page["items"]:
            _print(event, as_json)
        after = page["next_after"]
        if len(page["items"]) < _PAGE:
            time.sleep(every)


def _print(event: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json(event)
    else:
        output.say("  ".join(str(part) for part in _row(event)))


def _row(event: dict[str, Any]) -> tuple[object, ...]:
    data = event["data"]
    return (event["time"], event["type"], data["subject"], data["principal"], data["seq"])
