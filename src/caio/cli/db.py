"""``caio db``: the database behind the data directory, or at CAIO_DATABASE_URL."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caio.cli import output
from caio.cli.data_directory import settings_of
from caio.cli.parameters import DataDir, Json, group

if TYPE_CHECKING:
    from caio.config import Settings
    from caio.storage.sql.copy import CopiedTable

app = group("Upgrade, back up and move the database.")


@app.command("upgrade")
def upgrade(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Bring the tables to this version's form, and make the login of CAIO_DB_USER where CAIO_DB_ADMIN_USER is set."""
    from caio.bootstrap import prepare_data_dir, upgrade_database
    from caio.config import Purpose, require_safe
    from caio.storage.sql.upgrade import HEAD, suits

    # As a container's first process one would not be ended by the signal otherwise; the transaction is given up.
    signal.signal(signal.SIGTERM, _end)
    settings = settings_of(data_dir)
    require_safe(settings, Purpose.MIGRATION)
    if settings.embedded:
        prepare_data_dir(settings.data_dir)
    with output.waiting("Upgrading the database"):
        before = upgrade_database(settings)
    login = settings.login[0] if settings.db_admin_user is not None else None
    revision = before if before is not None and suits(before) else HEAD
    if as_json:
        output.print_json({"before": before, "revision": revision, **({} if login is None else {"login": login})})
        return
    if revision != HEAD:
        output.say(f"the database stands at {revision}, a newer version's; it suits this one and is left as it is")
    else:
        output.say(f"the database stands at {HEAD}" + ("" if before == HEAD else f" (before: {before or 'empty'})"))
    if login is not None:
        output.say(f"the login {login} works with it, and can define nothing")


def _end(number: int, frame: Any) -> None:
    output.note("ended before it was done; what was under way is undone: upgrade again")
    raise SystemExit(128 + number)


@app.command("current")
def current(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Say at which revision the tables stand, and which one this version needs."""
    from caio.storage.sql.upgrade import HEAD, suits

    revision = _revision(settings_of(data_dir))
    if as_json:
        output.print_json({"revision": revision, "head": HEAD})
        return
    output.facts({"revision": revision or "empty", "head": HEAD})
    if not suits(revision):
        output.next_step("caio db upgrade")


@app.command("check")
def check(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Fail unless this version can work with the tables as they are."""
    from caio.foundation.errors import NotReady
    from caio.storage.sql.upgrade import HEAD, suits

    revision = _revision(settings_of(data_dir))
    if not suits(revision):
        raise NotReady(f"the database stands at {revision or 'nothing'}, {HEAD} is needed; run: caio db upgrade")
    if as_json:
        output.print_json({"revision": revision, "head": HEAD})
    else:
        output.say(f"the database stands at {revision}, which suits this version")


def _revision(settings: Settings) -> str | None:
    """Where the tables stand; None where there are none."""
    from caio.storage.sql.upgrade import current as current_revision

    is_there = not settings.embedded or settings.sqlite_path.exists()
    return current_revision(settings.url) if is_there else None


@app.command("copy")
def copy(
    source: Annotated[str, typer.Option("--from", metavar="URL", help="The file to copy: sqlite:///path/caio.db.")],
    target: Annotated[str, typer.Option("--to", metavar="URL", help="An empty, upgraded postgresql://… database.")],
    as_json: Json = False,
) -> None:
    """Move an embedded installation to PostgreSQL. No server may run on either side."""
    copied = asyncio.run(_copy(source, target))
    if as_json:
        tables = [{"table": each.table, "rows": each.rows, "sha256_sum": each.digest} for each in copied]
        output.print_json({"rows": sum(each.rows for each in copied), "tables": tables})
        return
    rows = [(each.table, f"{each.rows:,}", each.digest[:16]) for each in copied if each.rows]
    output.table(("table", "rows", "hash"), rows, right={"rows"})
    output.say(f"copied {sum(each.rows for each in copied):,} rows; counts and hashes agree")
    output.say("They can be read only with the keys of before: serve with the same data directory's keys.")
    output.next_step("export CAIO_DATABASE_URL=postgresql://…", "caio serve")


async def _copy(source_url: str, target_url: str) -> list[CopiedTable]:
    from caio.bootstrap import alone_in, alone_on
    from caio.foundation.errors import Misconfigured
    from caio.storage.sql.copy import copy_everything
    from caio.storage.sql.database import Address, Database

    address = Address(source_url)
    if address.dialect != "sqlite" or not address.path.exists():
        raise Misconfigured("--from names no SQLite file; its form is sqlite:///path/to/caio.db")
    with alone_in(address.path.parent):
        source = await Database.open(source_url)
        try:
            target = await Database.open(target_url)
            try:
                async with alone_on(target):
                    with output.counting("Copying rows") as count:
                        return await copy_everything(source, target, count)
            finally:
                await target.close()
        finally:
            await source.close()


@app.command("backup")
def backup(
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="A new file; none is ever replaced.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Copy the database, also while a server runs, into one file of mode 0600."""
    from caio.storage.sql.backup import backup as copy_database

    settings = settings_of(data_dir)
    with output.waiting("Copying the database"):
        copy_database(settings.url, destination)
    size = destination.stat().st_size
    by_file = settings.auth_secret_key is None
    master = settings.data_dir / "keys" / "master.key" if by_file else "the secret of CAIO_AUTH_SECRET_KEY"
    if as_json:
        output.print_json({"file": str(destination), "bytes": size})
    else:
        output.say(f"copied to {destination} ({size:,} bytes)")
        output.say(f"It can be read only with {master}: keep that too, in another place.")
