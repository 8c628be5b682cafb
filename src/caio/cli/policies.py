"""``caio policies``: a tenant's rules on a running server, and checking them without one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from caio.cli import output
from caio.cli.findings import print_findings
from caio.cli.parameters import DEFAULT_URL, ApiKey, File, Files, IfMatch, Json, Url, group
from caio.cli.publications import Checked, Kind
from caio.cli.server import asked_with
from caio.foundation.errors import Violation

app = group("Save, list, update and retire policies.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The policy's id.")]


Strict = Annotated[bool, typer.Option("--strict", help="Refuse what has a severe finding (marked ✗).")]


def _check(raw: bytes) -> Checked:
    from caio.registry.advice import compiled

    parsed, _ = compiled(raw)
    policy = parsed.value
    return Checked(policy.policy_id, str(policy.version), policy.digest, policy.document(), parsed.warnings)


POLICIES = Kind("policy", "/api/v1/policies", _check)


@app.command("save")
def save(
    files: Files, strict: Strict = False, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False
) -> None:
    """Save policies, in YAML or JSON, and say what each does. Goes on after a file that fails."""
    POLICIES.publish(asked_with(url, api_key), files, as_json, "saved", strict=strict)


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
    file: File,
    if_match: IfMatch = None,
    strict: Strict = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Publish a further version of a policy, put it in force, and say what it newly permits or forbids."""
    POLICIES.update(asked_with(url, api_key), file, if_match, as_json, strict=strict)


@app.command("retire")
def retire(policy_id: Id, url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: Json = False) -> None:
    """Take a policy out of force."""
    POLICIES.retire(asked_with(url, api_key), policy_id, as_json)


@app.command("validate")
def validate(
    files: Files,
    contract: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="A service to try the policies on; may be repeated.")
    ] = None,
    on_server: Annotated[
        bool, typer.Option("--on-server", help="Among the server's services and policies; saves nothing.")
    ] = False,
    strict: Strict = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong with policies and what they would do: by themselves, together, or on a server."""
    from caio.cli.policy_check import examined_among, examined_by

    if on_server:
        examine = examined_by(asked_with(url, api_key), strict)
    else:
        examine = examined_among(files, contract or [], strict)

    def step(file: str, raw: bytes) -> None:
        found = examine(raw)
        document = found["document"]
        if as_json:
            output.print_json({"file": file, **found})
            return
        output.say(f"{file}: policy {document['id']}@{document['version']} is valid")
        output.warnings(file, [Violation(w["pointer"], w["detail"], w.get("line")) for w in found["warnings"]])
        print_findings(found["findings"])

    POLICIES.each(files, step, as_json)


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
