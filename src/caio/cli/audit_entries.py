"""``caio audit entries`` and ``show``: the log, entry by entry. Each look is itself an entry."""

from __future__ import annotations

import json
from shlex import quote
from typing import Annotated, Any

import typer

from caio.cli import output
from caio.cli.moments import moment_of
from caio.cli.parameters import DEFAULT_URL, ApiKey, Json, Url
from caio.cli.server import Server, asked_with

PATH = "/api/v1/audit/entries"
_PAGE = 200


def entries(
    since: Annotated[str | None, typer.Option(help="From when on: 12h, 7d, or a time in RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="Before when, as for --since.")] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="decision, publication, key, secret, tenant, access, retention, erasure or log."),
    ] = None,
    action: Annotated[str | None, typer.Option(help="What was done, such as key.created.")] = None,
    principal: Annotated[str | None, typer.Option(help="Who did it, or for whom it was decided.")] = None,
    service: Annotated[str | None, typer.Option(help="The service that was chosen, or that answered.")] = None,
    capability: Annotated[str | None, typer.Option(help="The capability that was asked for.")] = None,
    outcome: Annotated[
        str | None,
        typer.Option(help="ok, failed, violated, cancelled, rejected, interrupted, refused, decided or running."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 20,
    before: Annotated[str | None, typer.Option(help="Go on where the last list ended.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List what happened, newest first: decisions with their outcomes, and what people did."""
    wanted = {
        "since": moment_of("--since", since),
        "until": moment_of("--until", until),
        "kind": kind,
        "action": action,
        "principal": principal,
        "service": service,
        "capability": capability,
        "outcome": outcome,
    }
    items, following = _collected(asked_with(url, api_key), wanted, before, limit)
    if as_json:
        output.print_json({"items": items, "next_before": following})
        return
    headings = ["seq", "time", "who", "what", "about", "outcome", "charged"]
    output.table(headings, map(_row, items), right=["seq", "charged"])
    if following is not None:
        written = wanted | {"since": since, "until": until, "limit": limit, "before": following}
        options = [f"--{name} {quote(str(value))}" for name, value in written.items() if value is not None]
        output.next_step(" ".join(["caio audit entries", *options]))


def show(
    seq: Annotated[
        int, typer.Argument(min=0, metavar="SEQ", help="An entry's place, as `caio audit entries` shows it.")
    ],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show an entry's content, with what opens its commitment."""
    found = asked_with(url, api_key).get(f"{PATH}/{seq}").document
    if as_json:
        output.print_json(found)
        return
    output.facts(
        {
            "seq": found["seq"],
            "kind": found["kind"],
            "id": found["id"],
            "recorded": output.moment(found["recorded_at"]),
            "commitment": found["commitment"],
            "salt": found["salt"],
        }
    )
    output.say()
    output.say(json.dumps(found["payload"], indent=2, ensure_ascii=False))


def _collected(
    server: Server, wanted: dict[str, Any], before: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Up to ``limit`` entries, over as many pages as that takes, and where to go on."""
    items: list[dict[str, Any]] = []
    while True:
        page = server.get(PATH, **wanted, before=before, limit=min(_PAGE, limit - len(items))).document
        items += page["items"]
        before = page["next_before"]
        if before is None or len(items) == limit:
            return items, before


def _row(entry: dict[str, Any]) -> tuple[object, ...]:
    gone = " (erased)" if entry["erased"] else ""
    moment, who = output.moment(entry["at"]), entry["principal"] or ""
    if entry["kind"] != "decision":
        return entry["seq"], moment, who, entry["action"], entry["subject"] or "", gone.strip(), ""
    service = f"{entry['service']}@{entry['version']} for " if entry["service"] else ""
    return (
        entry["seq"],
        moment,
        who,
        "decision",
        f"{service}{entry['capability']}",
        f"{entry['outcome']}{gone}",
        entry["charged"] or "",
    )
