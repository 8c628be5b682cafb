"""``caio audit restart``: beginning the log anew after its history was lost, on the stopped installation."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from caio.cli import output
from caio.cli.data_directory import opened, settings_of
from caio.cli.parameters import DataDir, Json
from caio.foundation.errors import InvalidInput


def restart(
    reason: Annotated[str, typer.Option(help="Why, for those who will ask; it becomes an entry of the new log.")],
    tenant: Annotated[str, typer.Option(help="Whose log.")] = "default",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Begin a log anew after a database was restored that lacks what was anchored. The server must be stopped."""
    if not reason.strip():
        raise InvalidInput("give the reason: it is all that the next auditor has")
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidInput("there is nobody to ask; add --yes if the log's history is really lost")
        question = f"Everybody who watches the log of {tenant} will see that it ended. Begin it anew?"
        if not typer.confirm(question):
            raise typer.Abort
    origin = asyncio.run(_restart(reason.strip(), tenant, data_dir))
    if as_json:
        output.print_json({"tenant": tenant, "origin": origin})
    else:
        output.say(f"the log of {tenant} begins anew as {origin}, with every entry that is left")
        output.say("Tell those who monitor it; the checkpoints of before stay where they are anchored.")
        output.next_step("caio serve")


async def _restart(reason: str, tenant: str, data_dir: DataDir) -> str:
    from caio.audit.restart import LogRestarts
    from caio.bootstrap import alone_in, alone_on, anchor_of, prepare_data_dir
    from caio.tenancy.authentication import EMBEDDED, embedded_scope

    settings = settings_of(data_dir)
    prepare_data_dir(settings.data_dir)
    with alone_in(settings.data_dir):
        async with opened(settings) as data, alone_on(data.database), anchor_of(settings) as anchor:
            if anchor is None:
                raise InvalidInput(
                    "nothing is anchored here (CAIO_ANCHOR=none), so no log has stopped: start the server"
                )
            scope = embedded_scope(tenant)
            await data.stores.tenants.get(scope)  # NotFound for a tenant that is not there
            restarts = LogRestarts(
                data.stores.log_restarts, data.acts, anchor, lambda name: f"{settings.audit_origin}/{name}"
            )
            return await restarts.restart(scope, EMBEDDED, reason)
