"""An embedded installation moves to PostgreSQL: a server on the copy goes on where the one before stopped."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from caio.audit.signing import read_key_set
from caio.audit.verify import verify_receipt
from caio.bootstrap import alone_in
from caio.foundation.errors import Conflict, Misconfigured, NotReady
from caio.foundation.scope import PlatformScope
from caio.storage.sql import Database, copy
from caio.storage.sql.copy import copy_everything
from caio.storage.sql.tables import journal, metadata
from caio.storage.sql.upgrade import upgrade
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import Served, served
from tests.support.caio_command import run_caio

LISTS = ("/api/v1/services", "/api/v1/policies", "/api/v1/keys", "/api/v1/decisions")
POLICY = {
    "id": "rule",
    "version": 1,
    "priority": 10,
    "effect": "forbid",
    "when": "request.capability == 'nothing'",
    "then": "false",
    "message": "never",
    "attach": "tenant",
}


async def lists(caio: Served) -> dict[str, Any]:
    found = {path: (await caio.get(path))[1] for path in LISTS}
    for key in found["/api/v1/keys"]["items"]:
        key.pop("last_used_at", None)  # written off the path, and again by the asking itself
    return found


async def seqs(caio: Served) -> list[int]:
    return [stored.seq for stored in await caio.installation.stores.journal.page(embedded_scope(), -1, 10_000)]


async def receipt_claims(caio: Served, decision_id: str) -> dict[str, bool | None]:
    _, receipt = await caio.get(f"/api/v1/decisions/{decision_id}/receipt")
    _, keys = await caio.get("/.well-known/caio-keys.json")
    return {claim.name: claim.proved for claim in verify_receipt(receipt, read_key_set(keys)).claims}


async def test_a_server_on_the_copy_goes_on(tmp_path, template, service, postgres_url) -> None:
    folder, token = template
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    env = {"HOME": str(tmp_path), "CAIO_TRUST_STORE": str(tmp_path / "trusted.json"), "CAIO_DATA_DIR": str(data)}
    kept = {"Idempotency-Key": "once"}
    async with served(data, token, service) as caio:
        await caio.register("first")
        async with caio.http.post("/api/v1/policies", json=POLICY) as answer:
            assert answer.status == 201, await answer.text()
        answers = [(await caio.orchestrate(headers=kept))[1], (await caio.orchestrate())[1]]
        (tmp_path / "trusted.json").write_text(json.dumps((await caio.get("/.well-known/caio-keys.json"))[1]))
        asking = env | {"CAIO_URL": caio.url, "CAIO_API_KEY": token}
        assert (await run_caio(tmp_path, asking, "audit", "export", "before"))[0] == 0
        before, claims = await lists(caio), await receipt_claims(caio, answers[0]["decision_id"])
        leaves = await seqs(caio)
    await asyncio.to_thread(upgrade, postgres_url)
    source = f"sqlite:///{data / 'caio.db'}"
    code, said = await run_caio(tmp_path, env, "db", "copy", "--from", source, "--to", postgres_url, "--json")
    assert code == 0, said
    told = json.loads(said.splitlines()[0])
    assert {each["table"] for each in told["tables"]} == set(metadata.tables)
    assert told["rows"] == sum(each["rows"] for each in told["tables"]) > len(leaves)

    async with served(data, token, service, database_url=postgres_url) as caio:
        assert await lists(caio) == before
        assert await receipt_claims(caio, answers[0]["decision_id"]) == claims
        assert set(claims.values()) <= {True, None}
        called = len(service.received)
        status, again, _ = await caio.orchestrate(headers=kept)
        assert (status, again["decision_id"]) == (200, answers[0]["decision_id"]), "the kept answer"
        assert len(service.received) == called
        _, new, _ = await caio.orchestrate()
        assert set((await receipt_claims(caio, new["decision_id"])).values()) <= {True, None}
        now_there = await seqs(caio)
        assert now_there == list(range(len(now_there)))
        assert len(now_there) > len(leaves)
        assert (await run_caio(tmp_path, env, "audit", "verify", "before"))[0] == 0
        asking = env | {"CAIO_URL": caio.url, "CAIO_API_KEY": token}
        code, said = await run_caio(tmp_path, asking, "audit", "export", "after")
        assert code == 0, said
        assert (await run_caio(tmp_path, env, "audit", "verify", "after"))[0] == 0


@pytest.fixture
async def databases(tmp_path, template, postgres_url):
    """A source with a few rows, and an empty target."""
    shutil.copytree(template[0], tmp_path / "data")
    await asyncio.to_thread(upgrade, postgres_url)
    opened = [await Database.open(url) for url in (f"sqlite:///{tmp_path / 'data' / 'caio.db'}", postgres_url)]
    yield opened
    for database in opened:
        await database.close()


async def rows_in(database: Database) -> int:
    async with database.reading(PlatformScope("test")) as connection:
        return sum([await copy._rows(connection, table) for table in metadata.sorted_tables])


async def test_a_copy_is_the_whole(databases) -> None:
    source, target = databases
    copied = await copy_everything(source, target)
    assert sum(each.rows for each in copied) == await rows_in(source) == await rows_in(target) > 5
    async with target.reading(PlatformScope("test")) as connection:
        assert [await copy._counted(connection, metadata.tables[each.table]) for each in copied] == copied


async def test_a_copy_goes_into_an_empty_database(databases) -> None:
    source, target = databases
    await copy_everything(source, target)
    with pytest.raises(Conflict, match="an empty database") as caught:
        await copy_everything(source, target)
    assert caught.value.code == "target_not_empty"


async def test_a_difference_is_found_and_leaves_nothing(databases, monkeypatch) -> None:
    source, target = databases
    counted = copy._counted

    async def after_a_change(connection, table):
        if table is journal:
            await connection.execute(update(journal).values(recorded_at=journal.c.recorded_at + 1))
        return await counted(connection, table)

    monkeypatch.setattr(copy, "_counted", after_a_change)
    with pytest.raises(NotReady, match="journal arrived with") as caught:
        await copy_everything(source, target)
    assert caught.value.code == "copy_differs"
    assert await rows_in(target) == 0


async def test_the_direction_and_the_revision_are_checked(databases, tmp_path) -> None:
    source, target = databases
    for wrong in ((target, source), (source, source)):
        with pytest.raises(Misconfigured, match="goes from sqlite"):
            await copy_everything(*wrong)
    empty = await Database.open(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(Misconfigured, match="the source stands at no revision"):
        await copy_everything(empty, target)
    await empty.close()


async def test_a_source_in_use_is_not_copied(databases, tmp_path, postgres_url) -> None:
    data: Path = tmp_path / "data"
    arguments = ("db", "copy", "--from", f"sqlite:///{data / 'caio.db'}", "--to", postgres_url)
    with alone_in(data):
        code, said = await run_caio(tmp_path, {"HOME": str(tmp_path)}, *arguments)
    assert (code, "in use by the process" in said) == (1, True), said
    code, said = await run_caio(tmp_path, {"HOME": str(tmp_path)}, *arguments)
    assert code == 0
    assert "counts and hashes agree" in said
