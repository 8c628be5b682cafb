"""``caio aliases``: names of models that stand for services or a capability, with terms that bind."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from caio.cli import output
from caio.cli.files import read_file
from caio.cli.parameters import DEFAULT_URL, ApiKey, IfMatch, Json, Url, group
from caio.cli.server import Server, asked_with, segment
from caio.foundation.errors import InvalidInput, NotFound

app = group("Give models names of your own, with policies and limits for all who call by them.")

PATH = "/api/v1/models/aliases"
Name = Annotated[str, typer.Argument(metavar="ALIAS", help="What calls name as their model.")]


@app.command("list")
def list_aliases(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """List the aliases, one line each."""
    found = asked_with(url, api_key).get(PATH).document
    if as_json:
        output.print_json(found)
    elif not found["items"]:
        output.say("no aliases")
        output.next_step("caio aliases set fast --service local-openai")
    else:
        output.table(["alias", "goes to", "policies", "revision", "description"], map(_row, found["items"]))


@app.command("show")
def show(alias: Name, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Show an alias, as YAML."""
    found = asked_with(url, api_key).get(_path(alias)).document
    if as_json:
        output.print_json(found)
        return
    import yaml

    output.say(f"# {found['alias']}, revision {found['revision']}, changed {output.moment(found['updated_at'])}")
    output.say(yaml.safe_dump(found["document"], sort_keys=False, allow_unicode=True).rstrip())


@app.command("set")
def set_alias(
    alias: Name,
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="The alias in YAML or JSON; - reads it.")] = None,
    service: Annotated[list[str] | None, typer.Option(help="A service it goes to; may be repeated.")] = None,
    capability: Annotated[str | None, typer.Option(help="Or the capability that whoever it goes to offers.")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="A policy that binds; may be repeated.")] = None,
    max_cost: Annotated[str | None, typer.Option(help="The most that one call may cost.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    if_match: IfMatch = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Make an alias, or put another content in place of what it has: from a file, or from options."""
    stated = _stated(service, capability, policy, max_cost, description)
    if (file is None) == (not stated):
        raise InvalidInput("name a file, or --service or --capability, and not both")
    document = stated if file is None else _read(file)
    server = asked_with(url, api_key)
    revision = _revision(server, alias) if if_match is None else if_match
    found = server.send("PUT", _path(alias), json.dumps(document).encode(), if_match=revision).document
    if as_json:
        output.print_json(found)
    else:
        output.say(f"alias {alias} goes to {_target(found['document'])} (revision {found['revision']})")


@app.command("remove")
def remove(alias: Name, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Remove an alias: calls by its name find nothing from then on."""
    removed = asked_with(url, api_key).send("DELETE", _path(alias)).document
    if as_json:
        output.print_json(removed)
    else:
        output.say(f"alias {alias} is removed")


def _path(alias: str) -> str:
    return f"{PATH}/{segment(alias)}"


def _revision(server: Server, alias: str) -> str | None:
    """The ETag of what is there now; None where nothing is."""
    try:
        return server.get(_path(alias)).etag
    except NotFound:
        return None


def _read(file: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(read_file(file))
    except yaml.YAMLError as error:
        raise InvalidInput(f"{file} is neither YAML nor JSON: {error}") from None


def _stated(
    services: list[str] | None,
    capability: str | None,
    policies: list[str] | None,
    max_cost: str | None,
    description: str | None,
) -> dict[str, Any]:
    if not services and capability is None:
        if policies or max_cost or description:
            raise InvalidInput("say where the alias goes: --service or --capability")
        return {}
    target = {"services": services or [], **({} if capability is None else {"capability": capability})}
    document: dict[str, Any] = {"target": target}
    if policies:
        document["policies"] = policies
    if max_cost is not None:
        document["wishes"] = {"requirements": {"max_cost": max_cost}}
    return document | ({} if description is None else {"description": description})


def _target(document: dict[str, Any]) -> str:
    target = document["target"]
    capability = [f"auto:{target['capability']}"] if target.get("capability") else []
    return ", ".join([*target.get("services", []), *capability])


def _row(found: dict[str, Any]) -> tuple[object, ...]:
    document = found["document"]
    policies = ", ".join(document.get("policies", []))
    return found["alias"], _target(document), policies, found["revision"], document.get("description", "")
