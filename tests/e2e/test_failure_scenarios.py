"""Whatever a service does wrong in a stream of sixty tokens: what the caller gets, what is charged and counted, what
the audit log proves, and whether the service is called again.

Each scenario is met by a tenant of its own twice: where the service is all there is, and where a healthy one is
ranked behind it.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from caio.audit.signing import read_key_set
from caio.audit.verify import verify_receipt
from caio.foundation.quantity import read_nanos
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import Served, chat_contract, served
from tests.support.books import books_of
from tests.support.joined import admin_of_new
from tests.support.misbehaving import Services, misbehaving_services
from tests.support.upstreams import TOKENS, upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHEAP, DEAR = "0.001", "0.002"
FAILS, HEALTHY = "fails", "healthy"

#: How long the server waits for a first token and within a stream, in seconds: longer than a slow machine pauses.
PATIENCE = 0.8


@dataclass(frozen=True)
class Scenario:
    """What happens at ``path``, and what is to come of it.

    ``fault`` is what each of ``attempts`` at the service is recorded with. A caller who has nobody else gets
    ``tokens`` and an error event, or, without any, ``status`` with ``code``. ``cause`` is why the service is left
    alone afterwards, if it is.
    """

    name: str
    path: str
    fault: str
    attempts: int = 1
    tokens: int = 0
    status: int = 502
    code: str = "upstream_failed"
    cause: str | None = None
    at: str = "plain"

    def __str__(self) -> str:
        return self.name


SCENARIOS = (
    Scenario("cut at 0 tokens", "/cut/0", "upstream"),
    Scenario("cut at 1 token", "/cut/1", "upstream", tokens=1),
    Scenario("cut at 30 tokens", "/cut/30", "upstream", tokens=30),
    Scenario("a polite end at 30 tokens", "/ended", "upstream", tokens=30),
    Scenario("stall", "/stall", "timeout", tokens=1, code="deadline_exceeded"),
    Scenario("garbage frame", "/garbled", "garbage", tokens=1),
    Scenario("429 with Retry-After", "/status/429", "quota", cause="quota"),
    Scenario("500 before headers", "/broken", "upstream", attempts=3),
    Scenario("500 after headers", "/fails_after_head", "upstream"),
    Scenario("slow first token", "/slow_first", "timeout", status=504, code="deadline_exceeded"),
    Scenario("connection refused", "/", "unreachable", attempts=3, at="silent"),
    Scenario("TLS failure", "/stream", "unreachable", attempts=3, at="untrusted"),
    Scenario("oversized answer", "/oversized", "garbage"),
    Scenario("wrong content type", "/page", "garbage"),
    Scenario("credentials refused", "/status/401", "auth", cause="credentials"),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Services]:
    async with misbehaving_services(tmp_path_factory.mktemp("certificate")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def caio(tmp_path_factory: pytest.TempPathFactory, template: tuple[Path, str]) -> AsyncIterator[Served]:
    folder, token = template
    data_dir = tmp_path_factory.mktemp("scenarios") / "data"
    shutil.copytree(folder, data_dir)
    settings = {"first_token_seconds": PATIENCE, "stream_idle_seconds": PATIENCE}
    async with upstream() as unused, served(data_dir, token, unused, **settings) as running:
        yield running


@dataclass
class Tenant:
    """A tenant of its own, and what its one call came to."""

    caio: Served
    tenant_id: str
    http: aiohttp.ClientSession
    status: int = 0
    frames: tuple[bytes, ...] = ()
    body: bytes = b""
    decision_id: str = ""
    answered_by: str | None = None

    async def get(self, path: str) -> Any:
        async with self.http.get(path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def calls(self) -> None:
        wanted = {
            "model": "auto",
            "messages": [{"role": "user", "content": "Hello"}],
            "stream": True,
            "metadata": {"caio": {"objective": {"weights": {"cost": 1}}}},
        }
        async with self.http.post("/v1/chat/completions", json=wanted) as answer:
            self.body = await answer.read()
            self.status, self.decision_id = answer.status, answer.headers["x-caio-decision-id"]
            self.frames = tuple(frame for frame in self.body.split(b"\n\n") if frame)
            self.answered_by = answer.headers.get("x-caio-service")

    @property
    def tokens(self) -> int:
        return sum(b'"content":"t' in frame or b'"content":"one"' in frame for frame in self.frames)

    async def outcome(self) -> dict[str, Any]:
        """The outcome's leaf, after every claim of the receipt was proved, with its place in the log."""
        receipt: dict[str, Any] = {}
        for _ in range(100):
            receipt = await self.get(f"/api/v1/decisions/{self.decision_id}/receipt")
            if receipt["outcome"] is not None:
                break
            await asyncio.sleep(0.02)
        evidence = await self.get(f"/api/v1/decisions/{self.decision_id}/evidence")
        keys = await self.get("/.well-known/caio-keys.json")
        result = verify_receipt(receipt, read_key_set(keys), evidence)
        assert result.ok, [claim for claim in result.claims if not claim.proved]
        payload: dict[str, Any] = receipt["outcome"]["payload"]
        return payload

    async def used(self) -> dict[str, Any]:
        await self.caio.installation.metering.rollup.catch_up(embedded_scope(self.tenant_id))
        total: dict[str, Any] = (await self.get("/api/v1/usage"))["total"]
        return total


def _named(scenario: Scenario, suffix: str) -> str:
    return "".join(char if char.isalnum() else "-" for char in scenario.name.lower()) + suffix


async def _tenant(caio: Served, name: str) -> Tenant:
    token = await admin_of_new(caio.http, name)
    return Tenant(caio, name, aiohttp.ClientSession(caio.url, headers={"Authorization": f"Bearer {token}"}))


async def _register(tenant: Tenant, service_id: str, url: str, path: str, price: str) -> None:
    document = chat_contract(service_id, url, path) | {"cost": {"currency": "USD", "per_request": price}}
    async with tenant.http.post("/api/v1/services", json=document) as answer:
        assert answer.status == 201, await answer.text()


def _address(services: Services, scenario: Scenario) -> str:
    return {
        "plain": services.plain.url,
        "untrusted": services.untrusted.url,
        "silent": services.silent_url,
    }[scenario.at]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_alone(caio: Served, services: Services, scenario: Scenario) -> None:
    tenant = await _tenant(caio, _named(scenario, "-alone"))
    async with tenant.http:
        await _register(tenant, FAILS, _address(services, scenario), scenario.path, CHEAP)
        await tenant.calls()
        if scenario.tokens:
            _expect_a_broken_stream(tenant, scenario)
        else:
            error = msgspec.json.decode(tenant.body)["error"]
            assert (tenant.status, error["code"]) == (scenario.status, scenario.code)
            assert error["decision_id"] == tenant.decision_id
        await _expect_a_failed_call(tenant, scenario)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_with_a_healthy_fallback(caio: Served, services: Services, scenario: Scenario) -> None:
    tenant = await _tenant(caio, _named(scenario, "-backed"))
    async with tenant.http:
        await _register(tenant, FAILS, _address(services, scenario), scenario.path, CHEAP)
        await _register(tenant, HEALTHY, services.plain.url, "/stream", DEAR)
        await tenant.calls()
        if scenario.tokens:
            _expect_a_broken_stream(tenant, scenario)
            await _expect_a_failed_call(tenant, scenario)
            return
        assert (tenant.status, tenant.answered_by) == (200, f"{HEALTHY}@1.0.0")
        assert (tenant.tokens, tenant.frames[-1]) == (TOKENS, b"data: [DONE]")
        assert b'"error"' not in tenant.body
        outcome = await tenant.outcome()
        attempts = [(each["service"], each.get("fault")) for each in outcome["attempts"]]
        assert attempts == [(FAILS, scenario.fault)] * scenario.attempts + [(HEALTHY, None)]
        assert (outcome["status"], outcome["charged"]) == ("ok", DEAR)
        await _expect_books(tenant, DEAR, calls=1, failed=0)
        await _expect_breaker(tenant, scenario)
        assert (await tenant.get(f"/api/v1/services/{HEALTHY}/health"))["faults"] == 0


def _expect_a_broken_stream(tenant: Tenant, scenario: Scenario) -> None:
    """What was produced, an error, and nothing that could be taken for an end."""
    assert (tenant.status, tenant.answered_by) == (200, f"{FAILS}@1.0.0")
    assert tenant.tokens == scenario.tokens
    assert b"[DONE]" not in tenant.body
    assert b'"finish_reason":"' not in tenant.body
    error = msgspec.json.decode(tenant.frames[-1].removeprefix(b"data: "))["error"]
    assert (error["code"], error["decision_id"]) == (scenario.code, tenant.decision_id)


async def _expect_a_failed_call(tenant: Tenant, scenario: Scenario) -> None:
    """What was produced is charged, and nothing else."""
    charged = CHEAP if scenario.tokens else "0"
    outcome = await tenant.outcome()
    attempts = [(each["service"], each.get("fault")) for each in outcome["attempts"]]
    assert attempts == [(FAILS, scenario.fault)] * scenario.attempts
    assert (outcome["status"], outcome["charged"]) == ("failed", charged)
    assert (outcome["usage"]["output_tokens"] > 0) is (scenario.tokens > 0)
    await _expect_books(tenant, charged, calls=1, failed=1)
    await _expect_breaker(tenant, scenario)


async def _expect_books(tenant: Tenant, charged: str, *, calls: int, failed: int) -> None:
    books = await books_of(tenant.caio.installation, tenant.tenant_id)
    assert (books.spent, books.reserved) == (read_nanos(charged), 0)
    used = await tenant.used()
    assert (used["calls"], used["failed"]) == (calls, failed)
    assert read_nanos(used["cost"]) == read_nanos(charged)


async def _expect_breaker(tenant: Tenant, scenario: Scenario) -> None:
    health = await tenant.get(f"/api/v1/services/{FAILS}/health")
    assert health["faults"] == scenario.attempts
    assert health["cause"] == scenario.cause
    assert health["state"] == ("closed" if scenario.cause is None else "open")


async def test_who_fails_in_a_row_is_left_alone_and_comes_back(caio: Served, services: Services) -> None:
    tenant = await _tenant(caio, "in-a-row")
    async with tenant.http:
        await _register(tenant, FAILS, services.plain.url, "/fails_after_head", CHEAP)
        received = len(services.plain.received)
        for _ in range(5):
            await tenant.calls()
            assert tenant.status == 502
        for _ in range(3):
            async with tenant.http.post(
                "/v1/chat/completions",
                json={"model": FAILS, "messages": [{"role": "user", "content": "Hello"}], "stream": True},
            ) as answer:
                error = (await answer.json())["error"]
                assert (answer.status, error["code"]) == (503, "services_unavailable")
                assert 1 <= int(answer.headers["Retry-After"]) <= 2
        assert len(services.plain.received) == received + 5
        decision = await tenant.get(f"/api/v1/decisions/{error['decision_id']}")
        assert decision["result"] is None
        books = await books_of(caio.installation, tenant.tenant_id)
        assert (books.spent, books.reserved) == (0, 0)
        # A new version is another service to the breaker: it is called at once.
        document = chat_contract(FAILS, services.plain.url, "/stream") | {"version": "1.0.1"}
        async with tenant.http.get(f"/api/v1/services/{FAILS}") as answer:
            revision = answer.headers["ETag"]
        async with tenant.http.put(
            f"/api/v1/services/{FAILS}", json=document, headers={"If-Match": revision}
        ) as answer:
            assert answer.status == 200, await answer.text()
        await tenant.calls()
        assert (tenant.status, tenant.answered_by) == (200, f"{FAILS}@1.0.1")
