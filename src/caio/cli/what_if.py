"""``caio what-if``: a change tried on the decisions that were made, before it is made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import typer

from caio.cli import output
from caio.cli.files import STANDARD_INPUT, about, read_file
from caio.cli.parameters import DEFAULT_URL, ApiKey, Json, Url
from caio.cli.policies import POLICIES
from caio.cli.publications import Kind
from caio.cli.requests import score
from caio.cli.server import Server, asked_with, segment
from caio.cli.services import SERVICES
from caio.foundation.errors import InvalidInput, NotFound, Violation

_SHOWN = 10
_PERIODS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def what_if(
    contract: Annotated[
        str | None, typer.Option(metavar="FILE", help="A new service, or the next version of one.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(metavar="FILE", help="A new policy, or the next version of one.")
    ] = None,
    without_service: Annotated[str | None, typer.Option(metavar="ID", help="A service to retire.")] = None,
    without_policy: Annotated[str | None, typer.Option(metavar="ID", help="A policy to retire.")] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="WEIGHTS", help="In place of the requests' own: cost=3,margin=1, or a JSON file."),
    ] = None,
    since: Annotated[str, typer.Option(help="How far back: 45m, 12h, 7d, 2w, or a time in RFC 3339.")] = "7d",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The most decisions to try it on.")] = 1_000,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Try one change on the decisions that were made, and see which requests would go elsewhere."""
    stated = {
        "contract": contract,
        "policy": policy,
        "retire_service": without_service,
        "retire_policy": without_policy,
        "weights": weights,
    }
    wanted = _change({name: value for name, value in stated.items() if value is not None})
    body = msgspec.json.encode({**wanted, "since": _since(since), "limit": limit})
    server = asked_with(url, api_key)
    report = server.send("POST", "/api/v1/what-if", body).document
    if as_json:
        output.print_json(report)
    else:
        _show(report)
        if commands := list(_next(server, wanted, contract or policy, report)):
            output.next_step(*commands)


def _change(stated: Mapping[str, str]) -> dict[str, Any]:
    """The one change as the API takes it; a document is checked here, where its lines are known."""
    if len(stated) != 1:
        options = "--contract, --policy, --without-service, --without-policy, --weights"
        raise InvalidInput(f"state exactly one change: {options}", code="invalid_change")
    ((name, value),) = stated.items()
    if name == "weights":
        return {name: _weights(value)}
    if name in ("contract", "policy"):
        raw = read_file(value)
        with about(value, raw):
            checked = (SERVICES if name == "contract" else POLICIES).check(raw)
        output.warnings("standard input" if value == STANDARD_INPUT else value, checked.warnings)
        return {name: checked.document}
    return {name: value}


def _weights(text: str) -> dict[str, Any]:
    """``cost=3,margin=1``, else a file that holds {"cost": 3, "margin": 1}."""
    if re.fullmatch(r"\w+=\d{1,4}(,\w+=\d{1,4})*", text):
        return {name: int(weight) for name, weight in (each.split("=") for each in text.split(","))}
    try:
        document = json.loads(read_file(text))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        form = 'must be cost=3,margin=1, or a file with {"cost": 3, "margin": 1}'
        raise InvalidInput(f"--weights {form}", [Violation("", form)], code="invalid_change")
    return document


def _since(text: str) -> int | str:
    period = re.fullmatch(r"(\d{1,9})([smhdw])", text)
    if period is None and "T" not in text.upper():
        raise InvalidInput("--since must be such as 45m, 12h, 7d, 2w or 2026-01-31T12:00:00Z", code="invalid_change")
    return text if period is None else int(period[1]) * _PERIODS[period[2]]


def _show(report: dict[str, Any]) -> None:
    output.say(_headline(report))
    if report["ended"] != "complete":
        where = "--limit" if report["ended"] == "limit" else "the time limit"
        output.say(f"Stopped at {where}: none before {output.moment(report['reached'])} was tried.")
    if report["not_reproduced"]:
        many = _counted(report["not_reproduced"], "decision")
        output.say(f"{many} could not be reproduced and count for nothing.")
    if not report["replayed"]:
        return
    output.say()
    output.table(["", "before", "after", "change", "decisions"], _totals(report), right=_FIGURES)
    latency = report["latency_ms"]
    if latency["without"]:
        output.say(f"Without a known p95 on both sides: {_counted(latency['without'], 'decision')}.")
    if report["flows"]:
        output.say()
        flows = [(_named(each["before"]), _named(each["after"]), f"{each['count']:,}") for each in report["flows"]]
        output.table(["from", "to", "requests"], flows, right=["requests"])
        output.say()
        going = sum(each["count"] for each in report["flows"])
        output.say("These requests:" if going <= _SHOWN else f"The newest {_SHOWN} of {going:,}; --json has up to 100:")
        for each in report["requests"][:_SHOWN]:
            # Two lines: ids and reasons side by side leave a table no room on a terminal.
            output.say(f"  {each['decision_id']}  {output.moment(each['decided_at'])}  {each['capability']}")
            output.say(f"    {_named(each['before'])} → {_named(each['after'])}: {_why(each['why'])}")


_FIGURES = ["before", "after", "change", "decisions"]


def _headline(report: dict[str, Any]) -> str:
    if not report["replayed"]:
        return f"There is no decision since {output.moment(report['since'])} to try it on."
    replayed = _counted(report["replayed"], "decision")
    parts = [
        f"{report['moved']:,} would move" if report["moved"] else "",
        f"{report['newly_refused']:,} would be refused" if report["newly_refused"] else "",
        f"{report['newly_served']:,} would no longer be refused" if report["newly_served"] else "",
    ]
    said = ", ".join(part for part in parts if part) or "nothing would move"
    return f"Of {replayed} since {output.moment(report['since'])}, {said}."


def _totals(report: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    cost, latency = report["worst_cost"], report["latency_ms"]
    amounts = [Decimal(cost[side]) for side in ("before", "after")]
    places = max(0, *(-int(amount.as_tuple().exponent) for amount in amounts))
    shown = [f"{amount:,.{places}f}" for amount in amounts]
    yield (f"cost at most, {report['currency']}", *shown, _change_of(*amounts), f"{cost['compared']:,}")
    if latency["compared"]:
        means = [Decimal(latency[side]) / latency["compared"] for side in ("before", "after")]
        shown = [f"{mean:,.0f}" for mean in means]
        yield ("expected p95, mean ms", *shown, _change_of(*means), f"{latency['compared']:,}")


def _change_of(before: Decimal, after: Decimal) -> str:
    if before == after:
        return "–"
    return f"{(after - before) / before:+.1%}" if before else "from 0"


def _why(why: dict[str, Any]) -> str:
    match why["cause"]:
        case "outscored":
            return f"scores {score(why['winner_score'])} against {score(why['loser_score'])}"
        case "excluded":
            return f"fails {_clause(why['clause'])}"
        case "no_longer_excluded":
            return f"no longer fails {_clause(why['clause'])}"
        case "retired":
            return "retired"
        case "new":
            return "new"
        case _:
            return str(why["message"])


def _clause(clause: dict[str, Any]) -> str:
    if clause["clause"] == "policy":
        said = f"policy {clause['subject']}"
        return f"{said}: {clause['message']}" if clause["message"] else said
    return f"{clause['subject']}: needs {clause['required']}, offers {clause['offered']}"


def _named(service: str | None) -> str:
    return "refused" if service is None else service


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _next(server: Server, wanted: Mapping[str, Any], file: str | None, report: dict[str, Any]) -> Iterator[str]:
    """The commands that look at a moved request, and that make the change."""
    if report["requests"]:
        yield f"caio decisions get {report['requests'][0]['decision_id']}"
    if file is not None and "contract" in wanted:
        known = _is_known(server, SERVICES, wanted["contract"]["service_id"])
        yield f"caio services {'update' if known else 'register'} {file}"
    elif file is not None:
        known = _is_known(server, POLICIES, wanted["policy"]["id"])
        yield f"caio policies {'update' if known else 'save'} {file}"
    elif "retire_service" in wanted:
        yield f"caio services retire {wanted['retire_service']}"
    elif "retire_policy" in wanted:
        yield f"caio policies retire {wanted['retire_policy']}"


def _is_known(server: Server, kind: Kind, name: str) -> bool:
    try:
        server.get(f"{kind.path}/{segment(name)}")
    except NotFound:
        return False
    return True
