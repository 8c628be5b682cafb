"""``caio policies``: a tenant's rules on a running server, and checking them without one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from caio.cli import output
from caio.cli.parameters import DEFAULT_URL, ApiKey, File, Files, IfMatch, Json, Url, group
from caio.cli.publications import Checked, Kind
from caio.cli.server import asked_with

app = group("Save, list, update and retire policies.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The policy's id.")]


def _check(raw: bytes) -> Checked:
    from caio.registry.catalog import check_policy

    parsed = check_policy(raw)
    policy = parsed.value
    return Checked(policy.policy_id, str(policy.version), policy.digest, policy.document(), parsed.warnings)


POLICIES = Kind("policy", "/api/v1/policies", _check)


@app.command("save")
def save(files: Files, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Save policies, in YAML or JSON. Goes on after a file that fails."""
    POLICIES.publish(asked_with(url, api_key), files, as_json, "saved")


@app.command("list")
def list_policies(
    retired: Annotated[bool, typer.Option("--retired", help="Retired policies too.")] = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List the policies, one line each (the newest version)."""
    found = list(asked_with(url, api_key).items(POLICIES.path, retired=str(retired).lower()))
    if as_json:
        output.print_json({"items": found})
    elif not found:
        output.say("no policies: contracts and access rules alone decide")
        output.next_step("caio policies save POLICY.yaml")
    else:
        headings = ["policy", "version", "status", "priority", "effect", "applies to", "message"]
        output.table(headings, map(_row, found), right=["version", "priority"])


@app.command("get")
def get(
    policy_id: Id,
    version: Annotated[str | None, typer.Option(help="A version other than the newest.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Show a policy, as YAML."""
    POLICIES.show(asked_with(url, api_key), policy_id, version, as_json)


@app.command("update")
def update(
    file: File, if_match: IfMatch = None, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False
) -> None:
    """Publish a further version of a policy and put it in force."""
    POLICIES.update(asked_with(url, api_key), file, if_match, as_json)


@app.command("retire")
def retire(policy_id: Id, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Take a policy out of force."""
    POLICIES.retire(asked_with(url, api_key), policy_id, as_json)


@app.command("validate")
def validate(files: Files, as_json: Json = False) -> None:
    """Say everything that is wrong with policies, their expressions included; needs no server."""
    POLICIES.validate(files, as_json)


def _row(found: dict[str, Any]) -> tuple[object, ...]:
    document = found["document"]
    applies = "every request" if document["attach"] == "tenant" else "requests that name it"
    return (
        found["name"],
        found["version"],
        found["status"],
        document["priority"],
        document["effect"],
        applies,
        document["message"],
    )
