"""A backup put back over a newer database: nothing is signed until the log is begun anew, for all to see."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from caio.audit.checkpoint import read_checkpoint
from tests.e2e.conftest import served
from tests.support.caio_command import run_caio


async def caio_audit(data_dir: Path, *arguments: str, anchor: str = "") -> tuple[int, str]:
    settings = {"CAIO_ANCHOR": anchor} if anchor else {}
    return await run_caio(data_dir, settings, "audit", *arguments, "--data-dir", data_dir)


async def checkpoint(caio):
    async with caio.http.get("/api/v1/audit/checkpoint?fresh=true") as answer:
        return read_checkpoint(await answer.text()).checkpoint


async def test_a_restored_backup_is_signed_again_only_after_a_restart(tmp_path, template, service):
    folder, token = template
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    async with served(data, token, service) as caio:
        await caio.register("first")
        assert (await caio.orchestrate())[0] == 200
        with closing(sqlite3.connect(data / "caio.db")) as connection:
            connection.execute("VACUUM INTO ?", (str(tmp_path / "backup.db"),))
        for _ in range(3):
            assert (await caio.orchestrate())[0] == 200
        before = await checkpoint(caio)
        code, said = await caio_audit(data, "restart", "--reason", "x", "--yes")
        assert (code, "is in use by the process" in said) == (1, True), said

    for name in ("caio.db", "caio.db-wal", "caio.db-shm"):
        (data / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", data / "caio.db")
    async with served(data, token, service) as caio:
        status, document, _ = await caio.orchestrate()  # the service goes on …
        assert status == 200
        assert (await checkpoint(caio)).size < before.size  # … and nothing more is signed
        _, receipt = await caio.get(f"/api/v1/decisions/{document['decision_id']}/receipt")
        assert receipt["log"] is None

    assert (await caio_audit(data, "restart", "--reason", "the disk broke"))[1].startswith("caio: there is nobody")
    assert (await caio_audit(data, "restart", "--reason", " ", "--yes"))[0] == 4
    assert (await caio_audit(data, "restart", "--reason", "x", "--yes", "--tenant", "nobody"))[0] == 6
    code, said = await caio_audit(data, "restart", "--reason", "the disk broke", "--yes")
    assert (code, "caio.localhost/2/default" in said) == (0, True), said

    async with served(data, token, service) as caio:
        after = await checkpoint(caio)
        assert after.origin == "caio.localhost/2/default"
        _, receipt = await caio.get(f"/api/v1/decisions/{document['decision_id']}/receipt")
        assert receipt["log"]["checkpoint"].startswith("caio.localhost/2/default\n")
        _, entries = await caio.get("/api/v1/audit/entries?kind=log")
        assert [(item["action"], item["principal"]) for item in entries["items"]] == [("log.restarted", "embedded")]


async def test_without_an_anchor_there_is_nothing_to_restart(tmp_path, template):
    folder, _ = template
    shutil.copytree(folder, tmp_path / "data")
    code, said = await caio_audit(tmp_path / "data", "restart", "--reason", "x", "--yes", anchor="none")
    assert (code, "nothing is anchored here" in said) == (4, True), said
