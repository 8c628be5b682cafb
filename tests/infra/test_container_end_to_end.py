"""The container's three commands as a deployment runs them, in production: what they are given comes from the
contract, PostgreSQL and Redis ask for TLS and passwords, the administrator is no superuser, and each process begins
with an empty directory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.e2e.conftest import contract
from tests.support.caio_command import CAIO
from tests.support.certificates import certificates
from tests.support.redis_server import MISSING, PROGRAM
from tests.support.secured_postgres import ADMIN, ADMIN_PASSWORD, SecuredPostgres, TlsFront
from tests.support.secured_redis import SecuredRedis
from tests.support.upstreams import upstream

pytestmark = [pytest.mark.infra, pytest.mark.skipif(PROGRAM is None, reason=MISSING)]

CONTRACT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "infrastructure" / "container.yaml").read_text())
SECONDS = 120

PASSWORD, TOKEN = "d/b:p@ss w%rd#of?the+login-7", "r&d!s-Tok^n*of=the/cache-7zK"
SECRETS = {
    "CAIO_DB_USER": "caio_one",
    "CAIO_DB_PASSWORD": PASSWORD,
    "CAIO_DB_ADMIN_USER": ADMIN,
    "CAIO_DB_ADMIN_PASSWORD": ADMIN_PASSWORD,
    "CAIO_REDIS_PASSWORD": TOKEN,
    "CAIO_AUTH_SECRET_KEY": "Zr0aQ8e2Yb7LkVd5NfXh3TgMj9CpWuS1oIvEyKzRmBx4",
    "CAIO_SIGNING_SECRET": "p4TqLx9WzRb2NcKv7HgYd1MsJf8EuAo6XiQy3BtVnZk5",
}


@dataclass
class Deployment:
    """The environment of every process, by the contract's groups, and what stands behind it."""

    folder: Path
    front: TlsFront
    postgres: SecuredPostgres
    environment: dict[str, str]
    said: str = ""

    def given(self, group: str) -> dict[str, str]:
        names = [*CONTRACT["environment"]["all"], *CONTRACT["environment"].get(group, ())]
        secrets = [*CONTRACT["secrets"]["all"], *CONTRACT["secrets"].get(group, ())]
        stated = {name: self.environment[name] for name in names if name in self.environment}
        return {**self.environment_of_the_machine, **stated, **{name: SECRETS[name] for name in secrets}}

    @property
    def environment_of_the_machine(self) -> dict[str, str]:
        """Which authorities are trusted, and that services may be on this machine."""
        authority = str(self.folder / "authority.pem")
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PGSSLROOTCERT": authority,
            "SSL_CERT_FILE": authority,
            "CAIO_OUTBOUND_ALLOW": "127.0.0.0/8",
        }

    async def run(self, folder: str, environment: Mapping[str, str], *arguments: str) -> tuple[int, str, str]:
        process = await self.started(folder, environment, *arguments)
        out, err = await asyncio.wait_for(process.communicate(), SECONDS)
        self.said += out.decode() + err.decode()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def started(self, folder: str, environment: Mapping[str, str], *arguments: str) -> asyncio.subprocess.Process:
        place = self.folder / folder
        place.mkdir(exist_ok=True)
        return await asyncio.create_subprocess_exec(
            CAIO,
            *arguments,
            "--json",
            cwd=place,
            env={**environment, "CAIO_DATA_DIR": str(place / "data")},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    @asynccontextmanager
    async def running(self, folder: str, *arguments: str) -> AsyncIterator[dict[str, Any]]:
        """A server or worker in an empty directory, and what it said when it was ready; ended by SIGTERM, with 0."""
        process = await self.started(folder, self.given("serving"), *arguments)
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), SECONDS)
            if not line:
                raise RuntimeError((await process.communicate())[1].decode())
            self.said += line.decode()
            yield json.loads(line)
            process.send_signal(signal.SIGTERM)
            out, err = await asyncio.wait_for(process.communicate(), SECONDS)
            self.said += out.decode() + err.decode()
            assert process.returncode == 0, err.decode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    made = certificates(tmp_path)
    with (
        SecuredPostgres() as postgres,
        TlsFront(postgres.port, made.certificate, made.key) as front,
        SecuredRedis(made, TOKEN) as cache,
    ):
        postgres.run(f"CREATE DATABASE caio OWNER {ADMIN}")
        environment = {
            "CAIO_ENV": "production",
            "CAIO_DB_HOST": "127.0.0.1",
            "CAIO_DB_PORT": str(front.port),
            "CAIO_DB_NAME": "caio",
            "CAIO_DB_SSLMODE": "verify-full",
            "CAIO_API_HOST": "127.0.0.1",
            "CAIO_API_PORT": "0",
            "CAIO_OPS_PORT": "0",
            "CAIO_REDIS_URL": cache.url,
            "CAIO_PROCESSES": "4",
            "CAIO_AUDIT_ORIGIN": "caio.example.org",
            "CAIO_ANCHOR": "none",
            "CAIO_CORS_ORIGINS": "https://app.example.org",
            "CAIO_TRUSTED_PROXIES": "10.0.1.0/24",
            "CAIO_DRAIN_SECONDS": "1",
        }
        yield Deployment(tmp_path, front, postgres, environment)


async def get(url: str, path: str) -> tuple[int, Any]:
    async with aiohttp.request("GET", url + path) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_a_deployment_from_the_migration_to_a_receipt(deployment: Deployment) -> None:
    await _migrate(deployment)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(deployment.running("one", "serve"))
        two = await stack.enter_async_context(deployment.running("two", "serve"))
        await stack.enter_async_context(deployment.running("worker", "worker"))
        assert "api_key" not in one
        assert "api_key" not in two
        await _ready(one["url"])

        # An operator, beside a running server, with its environment and in another directory.
        arguments = ("keys", "create", "first operator", "--embedded")
        code, out, err = await deployment.run("operator", deployment.given("serving"), *arguments)
        assert code == 0, err
        await _called(one["url"], two["url"], json.loads(out)["token"])

        await _migrate(deployment)  # as the next release does, while this one serves
        await _ready(two["url"])

        keys = [await get(each["url"], "/.well-known/caio-keys.json") for each in (one, two)]
        assert keys[0] == keys[1]
        assert [each["status"] for each in keys[0][1]["keys"]] == ["active"]
    files = {path.name for path in deployment.folder.rglob("data/**/*") if path.is_file()}
    assert files == {"lock"}, "no key lies on a disk that goes with its task"
    assert deployment.front.refused == 0, "nobody asked for the database without TLS"
    for name, secret in SECRETS.items():
        if not name.endswith("_USER"):
            assert secret not in deployment.said, name
    assert PASSWORD not in deployment.postgres.log


async def _migrate(deployment: Deployment) -> None:
    code, out, err = await deployment.run("migration", deployment.given("migration"), "db", "upgrade")
    assert code == 0, err
    assert json.loads(out)["login"] == "caio_one"
    assert not (deployment.folder / "migration" / "data").exists()


async def _ready(url: str) -> None:
    status, health = await get(url, "/health")
    assert (status, health["status"]) in [(200, "healthy"), (200, "degraded")]  # the log may lag for a moment
    for name in ("database", "migrations", "journal", "cache"):
        assert health["components"][name]["status"] == "healthy", health
        assert health["components"][name]["latency_ms"] >= 0
    assert 0 < health["components"]["cache"]["latency_ms"] < 1_000


async def _called(one: str, two: str, token: str) -> None:
    """A call by one server, and its receipt from the other, with its place in the log that the worker grows."""
    headers = {"Authorization": f"Bearer {token}"}
    async with upstream() as service, aiohttp.ClientSession(headers=headers) as http:
        async with http.post(f"{one}/api/v1/services", json=contract("counted", service.url)) as answer:
            assert answer.status == 201, await answer.text()
        wanted = {"request": {"capability": "text.sentiment", "payload": {"text": "Fine."}}}
        async with http.post(f"{one}/api/v1/orchestrate", json=wanted) as answer:
            assert answer.status == 200, await answer.text()
            decision = (await answer.json())["decision_id"]
        async with http.get(f"{two}/api/v1/decisions/{decision}/receipt") as answer:
            assert answer.status == 200
            receipt = await answer.json()
    assert receipt["log"]["checkpoint"].startswith("caio.example.org/default\n")
