"""``caio secrets``: providers' keys, sealed in the data directory's database.

A value comes from standard input or a prompt, never from the command line, which other users can
see; it is never printed. A running server uses a new value within seconds. The audit log tells that
a secret was stored or removed, by its name alone.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Annotated

import typer

from caio.cli import output
from caio.cli.data_directory import opened, settings_of
from caio.cli.parameters import DataDir, Json, group
from caio.foundation.errors import InvalidInput, Violation

app = group("Keep the keys of providers, encrypted.")

Name = Annotated[str, typer.Argument(help="The name that contracts refer to as `secret_ref`.")]

#: As contracts may name them (``contracts.fields.SecretRef``).
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_LONGEST = 16_384


@app.command("set")
def set_secret(name: Name, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Store a secret; its value comes from standard input, or a prompt."""
    if not _NAME.fullmatch(name):
        raise InvalidInput("the name is not one a contract can refer to: 1 to 63 of a-z, 0-9, ., - and _")
    value = _value(name)

    async def store() -> None:
        from caio.audit.acts import Act
        from caio.bootstrap import now
        from caio.gateway.credentials import secret_context
        from caio.tenancy.authentication import EMBEDDED, embedded_scope

        async with opened(settings_of(data_dir)) as data:
            scope = embedded_scope()
            sealed = (await data.vault.sealer(scope)).seal(value.encode(), secret_context(name))
            leaf = await data.acts.leaf(scope, Act("secret.stored", EMBEDDED, name))
            await data.stores.secrets.put(scope, name, sealed, now(), leaf)

    asyncio.run(store())
    if as_json:
        output.print_json({"name": name, "stored": True})
    else:
        output.say(f"secret {name} is stored; contracts refer to it with: auth: {{scheme: bearer, secret_ref: {name}}}")


@app.command("list")
def list_secrets(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the secrets by name; values are never shown."""

    async def names() -> list[str]:
        from caio.tenancy.authentication import embedded_scope

        async with opened(settings_of(data_dir)) as data:
            return list(await data.stores.secrets.names(embedded_scope()))

    found = asyncio.run(names())
    if as_json:
        output.print_json({"items": found})
    elif found:
        for name in found:
            output.say(name)
    else:
        output.say("no secrets")
        output.next_step("caio secrets set NAME")


@app.command("delete")
def delete(name: Name, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Delete a secret; contracts that refer to it stop working."""

    async def remove() -> None:
        from caio.audit.acts import Act
        from caio.tenancy.authentication import EMBEDDED, embedded_scope

        async with opened(settings_of(data_dir)) as data:
            scope = embedded_scope()
            leaf = await data.acts.leaf(scope, Act("secret.removed", EMBEDDED, name))
            await data.stores.secrets.delete(scope, name, leaf)

    asyncio.run(remove())
    if as_json:
        output.print_json({"name": name, "deleted": True})
    else:
        output.say(f"secret {name} is deleted")


def _value(name: str) -> str:
    """The secret: one line, or all of a longer text. Raises InvalidInput for what cannot be one."""
    if sys.stdin.isatty():
        value = str(typer.prompt(f"Value of {name}", hide_input=True))
    else:
        raw = sys.stdin.buffer.read(_LONGEST + 2)
        try:
            value = raw.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise InvalidInput("the value is not UTF-8 text", [Violation("", "must be text")]) from error
    if not value or len(value) > _LONGEST:
        raise InvalidInput(f"the value must have 1 to {_LONGEST} characters; give it on standard input")
    return value
