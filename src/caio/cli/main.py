"""The entry point ``caio``: finds the command, runs it, and turns what goes wrong into an exit code.

Every command lives in a module of its own that is imported when it is asked for; ``caio --help``
reads the table below and imports none of them.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command

from caio.cli.parameters import group


class Place(NamedTuple):
    """Where a command lives: a module's Typer application, or its function."""

    module: str
    attribute: str
    summary: str


COMMANDS: dict[str, dict[str, Place]] = {
    "Run": {
        "serve": Place("serve", "serve", "Serve the API."),
        "demo": Place("demo", "demo", "See the whole of it work, with real services on this machine."),
    },
    "Register": {
        "services": Place("services", "app", "Register, list, update and retire services by their contracts."),
        "policies": Place("policies", "app", "Save, list, update and retire policies."),
        "aliases": Place("aliases", "app", "Give models names of your own, with terms that bind."),
        "secrets": Place("secrets", "app", "Keep the keys of providers, encrypted."),
        "keys": Place("keys", "app", "Make, list, rotate and revoke API keys."),
        "members": Place("members", "app", "List, change and remove the members of your tenant."),
        "invitations": Place("invitations", "app", "Invite others into your tenant; accept an invitation."),
        "whoami": Place("whoami", "whoami", "Show who your key or token is."),
    },
    "Ask": {
        "orchestrate": Place("requests", "orchestrate", "Send a request to the best service that satisfies it."),
        "route": Place("requests", "route", "Decide where a request would go, and record it, without a call."),
        "decide": Place("decide", "decide", "Decide offline, from files."),
        "plan": Place("plan", "plan", "Plan a chain or graph of stages offline, from files."),
        "workflows": Place("workflows", "app", "Run a chain or graph of capabilities, and watch it go."),
        "what-if": Place("what_if", "what_if", "Try a change on the decisions that were made, before making it."),
    },
    "Prove": {
        "decisions": Place("decisions", "app", "Read decisions, their evidence and receipts."),
        "verify": Place("verify", "verify", "Verify a receipt offline."),
        "audit": Place("audit", "app", "Read, keep, export, verify and watch the audit log."),
        "trust": Place("trust", "app", "Pin the keys that receipts are verified with."),
    },
    "Operate": {
        "tenants": Place("tenants", "app", "Create, list, change and end tenants; export your own."),
        "events": Place("events", "app", "List and follow what happens in the tenant."),
        "webhooks": Place("webhooks", "app", "Have events delivered to an address."),
        "worker": Place("worker", "worker", "Run what is done beside answering, in a process of its own."),
        "usage": Place("usage", "app", "See what was used, and count it again."),
        "budget": Place("usage", "budget", "See what is left of the budget."),
        "ops": Place("ops", "app", "Estimate what a deployment costs, and try one that runs."),
        "db": Place("db", "app", "Upgrade and back up the database."),
        "signing-key": Place("signing_key", "app", "Rotate the key that receipts are signed with."),
        "schemas": Place("schemas", "schemas", "Check or write the published schemas."),
        "version": Place("version", "version", "Print the version."),
    },
}

_PLACES = {name: place for section in COMMANDS.values() for name, place in section.items()}


class Commands(TyperGroup):
    """The top-level group: loads a command when it is called, not when it is listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_PLACES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        place = _PLACES.get(cmd_name)
        if place is None:
            return None
        found = getattr(import_module(f"caio.cli.{place.module}"), place.attribute)
        if isinstance(found, typer.Typer):
            return get_command(found)
        alone = group(place.summary)
        alone.command(cmd_name)(found)
        return get_command(alone)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, _PLACES))
        for heading, section in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{name:<{width}}", place.summary) for name, place in section.items()])


app = group("Route AI requests by contract, enforce what was promised, and prove every decision.")


@app.callback(cls=Commands)
def caio() -> None:
    """Route AI requests by contract, enforce what was promised, and prove every decision."""


def main() -> None:
    """Run the command line; exits with one of ``exits.ExitCode``, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr] # a terminal without ✓ is no reason to fail
    try:
        get_command(app)(prog_name="caio")
    except Exception as error:
        if os.environ.get("CAIO_DEBUG") == "1":
            raise
        sys.exit(_report(error))


def _report(error: Exception) -> int:
    from caio.cli import exits, output

    shown = exits.expected(error)
    if "--json" in sys.argv:
        from caio.api.errors import problem

        output.print_json({"error": problem(shown)})
    else:
        output.failure(shown)
    return exits.exit_code_of(shown)
