"""``caio services``: contracts on a running server, and checking them without one."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from caio.cli import output
from caio.cli.observed import print_report
from caio.cli.parameters import DEFAULT_URL, ApiKey, File, Files, IfMatch, Json, Url, group
from caio.cli.publications import Checked, Kind
from caio.cli.server import asked_with, segment
from caio.foundation.errors import InvalidInput

_STATES = {"closed": "called", "open": "left alone", "half_open": "tried with one call"}

app = group("Register, list, update and retire services by their contracts.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The contract's service_id.")]


def _check(raw: bytes) -> Checked:
    from caio.contracts import parse_contract

    parsed = parse_contract(raw)
    contract = parsed.value
    return Checked(contract.service_id, contract.version, contract.digest, contract.document(), parsed.warnings)


SERVICES = Kind("service", "/api/v1/services", _check)


@app.command("register")
def register(files: Files, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Register services by their contracts, in YAML or JSON. Goes on after a file that fails."""
    SERVICES.publish(asked_with(url, api_key), files, as_json, "registered")
    if not as_json:
        output.next_step("caio services list", "caio orchestrate REQUEST.json")


@app.command("list")
def list_services(
    tag: Annotated[str | None, typer.Option(help="Only services with this tag.")] = None,
    retired: Annotated[bool, typer.Option("--retired", help="Retired services too.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List the services, one line each (the newest version)."""
    found = list(asked_with(url, api_key).items(SERVICES.path, tag=tag, retired=str(retired).lower()))
    if as_json:
        output.print_json({"items": found})
    elif not found:
        output.say("no services" if tag is None else f"no services with the tag {tag}")
        output.next_step("caio services register CONTRACT.yaml")
    else:
        output.table(["service", "version", "status", "capabilities", "locality", "tags"], map(_row, found))


@app.command("get")
def get(
    service_id: Id,
    version: Annotated[str | None, typer.Option(help="A version other than the newest.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show a contract, as YAML."""
    SERVICES.show(asked_with(url, api_key), service_id, version, as_json)


@app.command("update")
def update(
    file: File, if_match: IfMatch = None, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False
) -> None:
    """Publish a further version of a service and make it the active one."""
    SERVICES.update(asked_with(url, api_key), file, if_match, as_json)


@app.command("retire")
def retire(service_id: Id, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Take a service out of routing."""
    SERVICES.retire(asked_with(url, api_key), service_id, as_json)


@app.command("validate")
def validate(files: Files, as_json: Json = False) -> None:
    """Say everything that is wrong with contracts; needs no server."""
    SERVICES.validate(files, as_json)


@app.command("observed")
def observed(
    service_id: Id,
    version: Annotated[str | None, typer.Option(help="A version other than the newest.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show what a service promises beside what was observed of it in the last hour, day and 30 days."""
    path = f"{SERVICES.path}/{segment(service_id)}/observed"
    report = asked_with(url, api_key).get(path, version=version).document
    if as_json:
        output.print_json(report)
    else:
        print_report(report)


@app.command("health")
def health(
    service_id: Id,
    version: Annotated[str | None, typer.Option(help="A version other than the newest.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show whether a service is called at present: its breaker, and who waits for it."""
    path = f"{SERVICES.path}/{segment(service_id)}/health"
    found = asked_with(url, api_key).get(path, version=version).document
    if as_json:
        output.print_json(found)
        return
    output.say(f"{found['service_id']}@{found['version']} is {_STATES[found['state']]}")
    output.say(f"faults: {found['faults']} of the last {found['remembered']} calls; waiting: {found['waiting']}")
    if found["cause"] is not None:
        until = output.moment(found["until"])
        output.say(f"cause: {found['cause'].replace('_', ' ')}; one call is let through after {until}")
        output.next_step(f"caio services observed {service_id}", "caio decisions list")


@app.command("limits")
def limits(
    service_id: Id,
    limit: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=NUMBER]...", help="For example requests_per_minute=60.")
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Take the tenant's limits of the service away.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show what the tenant allows a service beyond its contract, or set all of it anew."""
    server, path = asked_with(url, api_key), f"{SERVICES.path}/{segment(service_id)}/limits"
    if none:
        if limit:
            raise InvalidInput("name limits, or --none, and not both")
        server.send("DELETE", path)
    found = server.send("PUT", path, json.dumps(_limits(limit)).encode()).document if limit else {}
    if not limit and not none:
        found = server.get(path).document
    if as_json:
        output.print_json(found)
    elif found:
        output.table(["limit", "of it"], found.items())
    else:
        output.say(f"the tenant sets no limits for {service_id}")
        output.next_step(f"caio services limits {service_id} requests_per_minute=60 concurrent=4")


def _limits(stated: list[str]) -> dict[str, int]:
    found = {}
    for each in stated:
        name, _, number = each.partition("=")
        if not number.isdecimal():
            raise InvalidInput(f"{each!r} is not NAME=NUMBER, such as requests_per_minute=60")
        found[name] = int(number)
    return found


def _row(found: dict[str, Any]) -> tuple[object, ...]:
    document = found["document"]
    locality = document["privacy"]["data_locality"]
    return (
        found["name"],
        found["version"],
        found["status"],
        ", ".join(each["type"] for each in document["capabilities"]),
        locality if isinstance(locality, str) else ", ".join(locality),
        ", ".join(document["tags"]),
    )
