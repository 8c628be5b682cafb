"""``caio orchestrate`` and ``caio route``: a request from a file, asked of a running server."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import typer

from caio.cli import output
from caio.cli.files import about, read_file
from caio.cli.parameters import DEFAULT_URL, ApiKey, File, Json, Url
from caio.cli.server import asked_with

Policies = Annotated[
    list[str] | None, typer.Option("--policy", help="A policy to obey beside those in force, by id; may be repeated.")
]

_SCORE_DIGITS = 10**9


def orchestrate(
    file: File, policy: Policies = None, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False
) -> None:
    """Send a request (JSON or YAML, as for /api/v1/orchestrate) to the best service that satisfies it."""
    answer = _ask("/api/v1/orchestrate", file, policy or [], url, api_key)
    if as_json:
        output.print_json(answer)
        return
    wanted = answer["output"]
    output.say(wanted if isinstance(wanted, str) else json.dumps(wanted, indent=2, ensure_ascii=False))
    output.say()
    output.facts(
        {
            "service": f"{answer['service']['id']}@{answer['service']['version']}",
            "cost": f"{answer['cost']['amount']} {answer['cost']['currency']}",
            "latency": f"{answer['latency_ms']} ms",
            "attempts": answer["attempts"],
            "broken": "; ".join(_breach(each) for each in answer["violations"]) or None,
            "decision": answer["decision_id"],
        }
    )
    output.next_step(
        f"caio decisions receipt {answer['decision_id']} -o receipt.json",
        "caio verify receipt.json",
    )


def route(
    file: File, policy: Policies = None, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False
) -> None:
    """Decide where a request would go, and record it, without calling anyone."""
    answer = _ask("/api/v1/route", file, policy or [], url, api_key)
    if as_json:
        output.print_json(answer)
        return
    rows = [(each["service"], each["version"], score(each["score"]), each["worst_cost"]) for each in answer["ranked"]]
    output.table(["service", "version", "score", "at most"], rows, right=["score", "at most"])
    output.say()
    output.facts({"decision": answer["decision_id"], "hash": answer["decision_hash"]})
    output.next_step(f"caio decisions evidence {answer['decision_id']} -o evidence.json")


def request_body(raw: bytes, policies: list[str]) -> bytes:
    """The wire form of a request's file, with further policies named. Numbers stay as they were written.

    Raises InvalidInput when the file is neither JSON nor YAML; whether it is a request is not checked.
    """
    try:
        document = json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError):
        document = _from_yaml(raw)
    if policies and isinstance(document, dict) and isinstance(document.get("policies", []), list):
        document = {**document, "policies": [*document.get("policies", []), *policies]}
    return msgspec.json.Encoder(decimal_format="number").encode(document)


def score(value: int) -> str:
    """A score in [0, 1 000 000 000] as people compare them."""
    return f"{value / _SCORE_DIGITS:.6f}"


def _ask(path: str, file: str, policies: list[str], url: str, api_key: str | None) -> Any:
    server = asked_with(url, api_key)
    raw = read_file(file)
    with about(file, raw):
        return server.send("POST", path, request_body(raw, policies)).document


def _from_yaml(raw: bytes) -> Any:
    from caio.contracts.source import read_source
    from caio.contracts.tree import Unreadable
    from caio.foundation.errors import InvalidInput

    try:
        source = read_source(raw)
    except Unreadable as error:
        raise InvalidInput("the request cannot be read", [error.violation], code="invalid_request") from error
    if source.problems:
        raise InvalidInput("the request cannot be read", source.problems, code="invalid_request")
    return source.value


def _breach(violation: dict[str, Any]) -> str:
    return " ".join(str(value) for value in violation.values())
