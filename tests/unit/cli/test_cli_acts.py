"""What the operator's commands do to a data directory is told by the tenant's log."""

import asyncio
import io
import json

import pytest

from caio.audit.key_changes import record_signing_key
from caio.bootstrap import open_installation, tenancy
from caio.config import read_settings
from caio.storage.sql import Database, open_stores
from caio.tenancy.authentication import embedded_scope
from tests.support.acts import acts_told
from tests.support.processes import upgraded_file


@pytest.fixture(autouse=True)
def _upgraded(tmp_path):
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "caio.db").write_bytes(upgraded_file())


@pytest.fixture
def started(tmp_path):
    """``started()``: a whole start on the data directory, and what its log says then."""

    async def told():
        async with open_installation(read_settings(data_dir=tmp_path / "data")) as installation:
            acts = await acts_told(installation.stores.journal, installation.vault, embedded_scope())
            return [(act["action"], act["principal"], act["subject"], act["details"]) for act in acts]

    return lambda: asyncio.run(told())


@pytest.fixture
def operate(caio, monkeypatch, tmp_path):
    def run(*arguments, stdin=""):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        return caio(*arguments, "--data-dir", tmp_path / "data", "--json")

    return run


def test_secrets_are_told_by_name_alone(operate, started, tmp_path):
    assert operate("secrets", "set", "openai", stdin="hunter2")[0] == 0
    assert operate("secrets", "set", "openai", stdin="hunter3")[0] == 0
    assert operate("secrets", "set", "Not/A/Name", stdin="hunter4")[0] == 4
    assert operate("secrets", "list")[0] == 0
    assert operate("secrets", "delete", "openai")[0] == 0
    assert operate("secrets", "delete", "openai")[0] == 6
    told = started()
    begun = [("tenant.created", "embedded", "default")]
    secrets = [("secret.stored", "embedded", "openai")] * 2 + [("secret.removed", "embedded", "openai")]
    assert [act[:3] for act in told[:4]] == begun + secrets
    assert [act[3] for act in told[1:4]] == [{}, {}, {}]
    assert [act[0] for act in told[4:]] == ["key.activated"]
    assert "hunter" not in str(told)


def test_a_rotated_signing_key_is_told_by_the_next_start(operate, started):
    first = started()
    assert started() == first, "a start alone is no act"
    assert [act[:2] for act in first] == [("tenant.created", "system"), ("key.activated", "system")]
    rotated = json.loads(operate("signing-key", "rotate")[1])
    further = ("key.rotated", "system", rotated["active"], {"use": "signing", "before": rotated["retired"][0]})
    assert first[1][2] == rotated["retired"][0]
    assert started() == started() == [*first, further]


def test_nothing_is_signed_before_the_signing_key_is_recorded(operate, started, monkeypatch, tmp_path):
    assert operate("secrets", "set", "openai", stdin="hunter2")[0] == 0  # a log with leaves, and no checkpoint yet
    heads = []

    async def head():
        database = await Database.open(f"sqlite:///{tmp_path / 'data' / 'caio.db'}")
        try:
            return await open_stores(database).log.head(embedded_scope())
        finally:
            await database.close()

    async def slowly(*arguments):
        await asyncio.sleep(0.2)  # time for whatever would sign meanwhile
        heads.append(await head())
        await record_signing_key(*arguments)

    monkeypatch.setattr(tenancy, "record_signing_key", slowly)
    told = started()
    assert heads == [None]
    assert asyncio.run(head()).size == len(told) == 3
