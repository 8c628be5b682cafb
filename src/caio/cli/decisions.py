"""``caio decisions``: what was decided, on which evidence, with a receipt to keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from caio.cli import output
from caio.cli.explained import print_explanation
from caio.cli.files import write_json
from caio.cli.parameters import DEFAULT_URL, ApiKey, Json, Url, group
from caio.cli.requests import score
from caio.cli.server import asked_with, segment
from caio.foundation.quantity import decimal_text

app = group("Read decisions, their evidence and receipts.")

PATH = "/api/v1/decisions"

Id = Annotated[str, typer.Argument(metavar="ID", help="A decision's id, as in the header x-caio-decision-id.")]
Into = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the document to this file.")]


@app.command("list")
def list_decisions(
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 20,
    before: Annotated[str | None, typer.Option(help="Go on where the last list ended.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List decisions, newest first."""
    page = asked_with(url, api_key).get(PATH, limit=limit, before=before).document
    if as_json:
        output.print_json(page)
        return
    headings = ["decision", "decided", "mode", "capability", "service", "status", "ms", "charged"]
    output.table(headings, map(_row, page["items"]), right=["ms", "charged"])
    if page["next_before"] is not None:
        output.next_step(f"caio decisions list --limit {limit} --before {page['next_before']}")


@app.command("get")
def get(decision_id: Id, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show a decision: what was chosen or refused, and how the call ended."""
    found = asked_with(url, api_key).get(f"{PATH}/{segment(decision_id)}").document
    if as_json:
        output.print_json(found)
        return
    certificate = found["certificate"]
    output.facts(
        {
            "decision": found["decision_id"],
            "decided": output.moment(found["decided_at"]),
            "mode": found["mode"],
            "outcome": found["outcome"],
            "hash": found["decision_hash"],
            "seed": certificate["seed"],
            **_ended(found["result"]),
        }
    )
    output.say()
    if certificate["ranked"]:
        rows = [
            (service, version, score(points), decimal_text(price))
            for service, version, points, price in certificate["ranked"]
        ]
        output.table(["service", "version", "score", "at most"], rows, right=["score", "at most"])
    if certificate["excluded"]:
        groups = [(each["clause"], each["count"]) for each in certificate["excluded"]]
        output.table(["excluded by", "services"], groups, right=["services"])
    output.next_step(
        f"caio decisions explain {decision_id}",
        f"caio decisions evidence {decision_id} -o evidence.json",
        f"caio decisions receipt {decision_id} -o receipt.json",
    )


@app.command("explain")
def explain(decision_id: Id, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Say why the winner won, what each loser lacked, and what would have helped a refused request."""
    found = asked_with(url, api_key).get(f"{PATH}/{segment(decision_id)}/explanation").document
    if as_json:
        output.print_json(found)
        return
    print_explanation(found)
    output.next_step(f"caio decisions evidence {decision_id} -o evidence.json")


@app.command("evidence")
def evidence(
    decision_id: Id, into: Into = None, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False
) -> None:
    """Fetch what a decision was made from: with it, anyone can work the decision out again."""
    document = asked_with(url, api_key).get(f"{PATH}/{segment(decision_id)}/evidence").document
    _deliver(document, into, as_json, "caio verify receipt.json --evidence {}")


@app.command("receipt")
def receipt(
    decision_id: Id, into: Into = None, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False
) -> None:
    """Fetch a decision's signed receipt."""
    document = asked_with(url, api_key).get(f"{PATH}/{segment(decision_id)}/receipt").document
    _deliver(document, into, as_json, "caio verify {}")


def _deliver(document: Any, into: Path | None, as_json: bool, command: str) -> None:
    if into is not None:
        write_json(into, document)
    if into is not None and as_json:
        output.print_json({"file": str(into)})
    elif into is not None:
        output.say(f"written to {into}")
        output.next_step(command.format(into))
    elif as_json:
        output.print_json(document)
    else:
        output.say(json.dumps(document, indent=2, ensure_ascii=False))


def _ended(result: dict[str, Any] | None) -> dict[str, object]:
    if result is None:
        return {}
    return {
        "status": result["status"],
        "service": result["service"] or None,
        "latency": f"{result['latency_ms']} ms",
        "charged": f"{result['charged']} of {result['reserved']} reserved",
    }


def _row(decision: dict[str, Any]) -> tuple[object, ...]:
    return (
        decision["decision_id"],
        output.moment(decision["decided_at"]),
        decision["mode"],
        decision["capability"],
        decision["service"] or "",
        decision["status"] or "running",
        "" if decision["latency_ms"] is None else decision["latency_ms"],
        decision["charged"] or "",
    )
