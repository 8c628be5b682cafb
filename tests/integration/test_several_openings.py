"""Opening an installation that others serve too: what is refused, what is shared, and what readiness says."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

import pytest

from caio.bootstrap import Installation, open_installation
from caio.config import Settings, read_settings
from caio.foundation.errors import Misconfigured
from caio.storage.sql import Database
from caio.tenancy.authentication import embedded_scope
from tests.support.acts import acts_told
from tests.support.redis_server import MISSING, PROGRAM, RedisServer

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)


@pytest.fixture
def settings(tmp_path, upgraded_postgres_url, redis_url):
    """``settings(**changes)``: of one of several processes."""

    def made(**changes: Any) -> Settings:
        shared = {
            "data_dir": tmp_path / "data",
            "database_url": upgraded_postgres_url,
            "redis_url": redis_url,
            "anchor": "none",
        }
        return read_settings(**shared | changes)

    return made


async def refusal(settings: Settings) -> Misconfigured:
    with pytest.raises(Misconfigured) as caught:
        async with open_installation(settings):
            pass
    return caught.value


@pytest.mark.parametrize("database_url", [None, "sqlite:///elsewhere.db"])
async def test_redis_without_postgresql_is_refused(tmp_path, database_url):
    settings = read_settings(data_dir=tmp_path, database_url=database_url, redis_url="redis://127.0.0.1:1/0")
    assert "set CAIO_DATABASE_URL to postgresql://…, or unset CAIO_REDIS_URL" in (await refusal(settings)).message


@pytest.mark.parametrize("address", ["127.0.0.1:6379", "http://127.0.0.1", "unix:///tmp/redis"])
def test_what_is_no_address_of_redis_is_refused(address, monkeypatch):
    monkeypatch.setenv("CAIO_REDIS_URL", address)
    with pytest.raises(Misconfigured, match="CAIO_REDIS_URL: "):
        read_settings()


async def test_a_database_that_nobody_upgraded_is_refused(tmp_path, postgres_url, redis_url):
    settings = read_settings(data_dir=tmp_path, database_url=postgres_url, redis_url=redis_url)
    error = await refusal(settings)
    assert (error.code, "caio db upgrade" in error.message) == ("database_outdated", True)


async def test_tables_of_a_newer_version_are_served_so_that_a_deployment_can_go_back(settings, upgraded_postgres_url):
    database = await Database.open(upgraded_postgres_url)
    async with database.as_login() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    await database.close()
    async with open_installation(settings()) as several:
        assert await told(several)


async def test_processes_share_a_database_and_one_that_is_alone_stays_out(settings, tmp_path):
    async with open_installation(settings()) as first, open_installation(settings()) as second:
        acts = await told(first)
        assert [act["action"] for act in acts] == ["tenant.created", "key.activated"], "begun once"
        assert acts == await told(second)
        assert (first.worker, second.worker) == (None, None)
        assert (await refusal(settings(redis_url=None))).code == "data_directory_in_use"
        elsewhere = tmp_path / "elsewhere"
        shutil.copytree(tmp_path / "data" / "keys", elsewhere / "keys")
        assert (await refusal(settings(redis_url=None, data_dir=elsewhere))).code == "database_in_use"
    async with open_installation(settings(redis_url=None)) as alone:
        assert alone.worker is not None
        assert (await refusal(settings())).code == "data_directory_in_use"
        assert (await refusal(settings(data_dir=elsewhere))).code == "database_in_use"


async def test_keys_of_another_signer_are_refused(settings, tmp_path):
    async with open_installation(settings()):
        other = tmp_path / "other"
        shutil.copytree(tmp_path / "data" / "keys", other / "keys")
        shutil.rmtree(other / "keys" / "signing")
        error = await refusal(settings(data_dir=other))
        assert (error.code, "the same keys directory" in error.message) == ("keys_differ", True)


async def told(installation: Installation) -> Any:
    return await acts_told(installation.stores.journal, installation.vault, embedded_scope())


async def test_a_limiter_that_is_away_is_said(settings, wait_for_async):
    with RedisServer() as redis:
        async with open_installation(settings(redis_url=redis.url)) as installation:
            assert installation.limiter is not None
            await wait_for_async(lambda: installation.limiter.degraded() is None)
            assert 0 < installation.limiter.round_trip < 1
            redis.suspend()
            await wait_for_async(lambda: installation.limiter.degraded() is not None)
            redis.resume()
            await wait_for_async(lambda: installation.limiter.degraded() is None, seconds=20)


async def test_a_start_without_redis_goes_on(settings):
    async with asyncio.timeout(60), open_installation(settings(redis_url="redis://127.0.0.1:1/0")) as installation:
        assert installation.limiter is not None
        assert installation.limiter.degraded() is not None
