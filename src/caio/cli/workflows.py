"""``caio workflows``: run a chain or graph of capabilities, and watch it go."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import typer

from caio.cli import output
from caio.cli.exits import ExitCode
from caio.cli.files import about, read_file
from caio.cli.parameters import DEFAULT_URL, ApiKey, File, Json, Url, group
from caio.cli.requests import request_body
from caio.cli.server import Server, asked_with, segment
from caio.foundation.errors import InvalidInput, NotReady

app = group("Run a chain or graph of capabilities, under bounds that hold end to end.")

PATH = "/api/v1/workflows/runs"

#: How often a stream that broke is taken up again before that is told, a second apart.
_TRIES = 30

Id = Annotated[str, typer.Argument(metavar="RUN", help="As `caio workflows list` shows it.")]


@app.command("run")
def run(
    file: File,
    given: Annotated[str | None, typer.Option("--input", metavar="FILE", help="The run's input, JSON or YAML.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="An idempotency key: repeated, it finds the run.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show what happens, until the run has ended.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Begin a run of a workflow (JSON or YAML, as for /api/v1/workflows/runs); with --follow, exits as it ends."""
    server = asked_with(url, api_key)
    raw = read_file(file)
    with about(file, raw):
        body = _body(raw, None if given is None else read_file(given))
        headers = {} if key is None else {"Idempotency-Key": key}
        begun = server.send("POST", PATH, body, headers=headers).document
    if not follow:
        _show_begun(begun, as_json)
        return
    for kind, told in _events(server, begun["run_id"]):
        if as_json:
            output.print_json({"event": kind, **told})
        else:
            output.say(_line(kind, told))
    ended = server.get(f"{PATH}/{segment(begun['run_id'])}").document
    if not as_json:
        output.say()
        _show(ended)
    _exit_as(ended)


@app.command("show")
def show(run_id: Id, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show a run: how far it is, what each step answered, what it cost, its result."""
    found = asked_with(url, api_key).get(f"{PATH}/{segment(run_id)}").document
    if as_json:
        output.print_json(found)
    else:
        _show(found)


@app.command("list")
def list_runs(
    everyones: Annotated[bool, typer.Option("--all", help="Also others' runs, for those who may read them.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most this many.")] = 50,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    found = asked_with(url, api_key).get(PATH, limit=limit, everyones=str(everyones).lower()).document["items"]
    if as_json:
        output.print_json({"items": found})
        return
    rows = (
        (each["run_id"], each["status"], each["code"] or "", each["most_cost"], output.moment(each["created_at"]))
        for each in found
    )
    output.table(["run", "status", "code", "at most", "begun"], rows, right=["at most"])


@app.command("cancel")
def cancel(run_id: Id, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Cancel your own run: steps under way are cut off, and no other begins."""
    found = asked_with(url, api_key).send("POST", f"{PATH}/{segment(run_id)}/cancel").document
    if as_json:
        output.print_json(found)
    else:
        output.say(f"run {run_id} is {found['status']}")


def _body(raw: bytes, given: bytes | None) -> bytes:
    """The file as a request: it is one already, with its ``workflow``, or the workflow alone."""
    document = json.loads(request_body(raw, []), parse_float=Decimal)
    if isinstance(document, dict) and "workflow" not in document:
        document = {"workflow": document}
    if given is not None:
        if not isinstance(document, dict):
            raise InvalidInput("a workflow is an object with its steps", code="invalid_request")
        document["input"] = json.loads(request_body(given, []), parse_float=Decimal)
    return msgspec.json.Encoder(decimal_format="number").encode(document)


def _events(server: Server, run_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What happens to the run, to its end; a stream that breaks is taken up again where it was."""
    last, tries = "0", 0
    while True:
        try:
            headers = {"Last-Event-ID": last}
            with server.stream(f"{PATH}/{segment(run_id)}/events", "text/event-stream", headers) as parts:
                for fields in _fields(parts):
                    last, tries = fields.get("id", last), 0
                    if fields["event"] == "error":
                        break
                    yield fields["event"], json.loads(fields["data"])
                    if fields["event"] in ("run.succeeded", "run.failed", "run.cancelled"):
                        return
        except NotReady:
            if tries >= _TRIES:
                raise
        tries += 1
        time.sleep(1)


def _fields(parts: Iterator[bytes]) -> Iterator[dict[str, str]]:
    """The events of a stream, as the fields of each; comments are left out."""
    waiting = b""
    for part in parts:
        *whole, waiting = (waiting + part).split(b"\n\n")
        for event in whole:
            lines = [line.partition(": ") for line in event.decode().split("\n") if not line.startswith(":")]
            if fields := {name: value for name, _, value in lines if name}:
                yield fields


def _line(kind: str, told: dict[str, Any]) -> str:
    what, _, state = kind.partition(".")
    name = f"step {told['step']}" if what == "step" else "run"
    by = f" by {told['service_id']}" if "service_id" in told else ""
    cost = f", {told['charged']}" if "charged" in told else ""
    why = f": {told['code']}" if "code" in told else ""
    return f"{name} {state}{by}{cost}{why}"


def _show_begun(begun: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json(begun)
        return
    output.say(f"run {begun['run_id']} is {begun['status']}, and costs at most {begun['most_cost']}")
    output.next_step(f"caio workflows show {begun['run_id']}")


def _show(found: dict[str, Any]) -> None:
    rows = (
        (
            each["id"],
            ", ".join(each["after"]),
            each["status"] if each["error"] is None else f"{each['status']}: {each['error']['code']}",
            each["service_id"] or "",
            each["charged"] or "",
            each["max_cost"],
            each["decision_id"] or "",
        )
        for each in found["steps"]
    )
    headings = ["step", "after", "status", "service", "cost", "at most", "decision"]
    output.table(headings, rows, right=["cost", "at most"])
    output.say()
    error = found["error"]
    output.facts(
        {
            "run": found["run_id"],
            "status": found["status"],
            "error": None if error is None else f"{error['code']}: {error['message']}",
            "cost": f"{found['charged']} of at most {found['most_cost']}",
            "plan": found["plan_hash"],
        }
    )
    if found["result"] is not None:
        output.say()
        output.say(json.dumps(found["result"], indent=2, ensure_ascii=False))


def _exit_as(ended: dict[str, Any]) -> None:
    if ended["status"] == "failed":
        raise typer.Exit(ExitCode.UPSTREAM)
    if ended["status"] == "cancelled":
        raise typer.Exit(ExitCode.CONFLICT)
