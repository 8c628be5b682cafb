"""`caio db check` says by its exit code whether a version can work with the tables, and changes nothing."""

from __future__ import annotations

import json
import sqlite3

from caio.cli.exits import ExitCode
from caio.storage.sql.upgrade import HEAD
from tests.support.caio_command import run_caio


def stand_at(folder, revision: str) -> None:
    with sqlite3.connect(folder / "caio.db") as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    database.close()


async def test_tables_that_suit_pass_and_others_do_not(tmp_path):
    settings = {"CAIO_DATA_DIR": str(tmp_path)}
    code, said = await run_caio(tmp_path, settings, "db", "check")
    assert (code, "caio db upgrade" in said) == (ExitCode.NOT_READY, True)
    assert list(tmp_path.iterdir()) == [], "it makes nothing"

    assert (await run_caio(tmp_path, settings, "db", "upgrade"))[0] == 0
    code, said = await run_caio(tmp_path, settings, "db", "check", "--json")
    assert (code, json.loads(said)) == (0, {"revision": HEAD, "head": HEAD})

    for revision, expected in (("0001", ExitCode.NOT_READY), ("9999", ExitCode.OK)):
        stand_at(tmp_path, revision)
        assert (await run_caio(tmp_path, settings, "db", "check"))[0] == expected
