"""Four real servers and a worker over one PostgreSQL and one Redis: what one does, the others go by."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from caio.audit.signing import read_key_set
from caio.audit.verify import verify_receipt
from caio.storage.sql import Database, open_stores
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import contract
from tests.support.processes import Processes
from tests.support.redis_server import MISSING, PROGRAM, RedisServer
from tests.support.upstreams import Upstream
from tests.support.webhook_receiver import verified, webhook_receiver

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)

SERVERS = 4
SECONDS = 5.0  # in which a change on one process is effective on every other
WANTED = {"capability": "text.sentiment", "payload": {"text": "Fine."}}

_names = (f"tenant{number}" for number in itertools.count(1))


@pytest.fixture(scope="module")
def processes(_postgres, tmp_path_factory) -> Iterator[Processes]:
    """Shared by these tests, each with a tenant of its own."""
    folder = tmp_path_factory.mktemp("processes")
    name = f"processes_{folder.name.replace('-', '_')}"
    _postgres.run(f"CREATE DATABASE {name} OWNER caio")
    url = f"postgresql://caio@127.0.0.1:{_postgres.port}/{name}"
    with RedisServer() as redis, Processes(folder, url, redis.url, processes=str(SERVERS + 2)) as running:
        running.upgrade()
        running.start(servers=SERVERS, workers=1)
        yield running
    _postgres.run(f"DROP DATABASE {name} WITH (FORCE)")


class Client:
    """A tenant's admin, who may ask any of the servers by its place."""

    def __init__(self, tenant_id: str, token: str, sessions: list[aiohttp.ClientSession]) -> None:
        self.tenant_id = tenant_id
        self.token = token
        self.sessions = sessions

    async def ask(self, server: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.sessions[server].request(method, path, json=body, headers=named) as answer:
            return answer.status, await answer.json(content_type=None)

    async def register(self, service: Upstream, service_id: str = "echo", path: str = "/counted") -> None:
        status, told = await self.ask(0, "POST", "/api/v1/services", contract(service_id, service.url, path))
        assert status == 201, told
        await everywhere(self.calls, "the service is called")

    async def calls(self, server: int) -> bool:
        """Whether the server finds a service for what is wanted; nothing is called."""
        return (await self.ask(server, "POST", "/api/v1/route", {"request": WANTED}))[0] == 200

    async def orchestrate(self, server: int, *, deadline_ms: int = 20_000, **headers: str) -> tuple[int, Any]:
        wanted = {"request": WANTED | {"deadline_ms": deadline_ms}}
        return await self.ask(server, "POST", "/api/v1/orchestrate", wanted, **headers)


async def soon(condition: Any, what: str, seconds: float = SECONDS) -> float:
    """The seconds until ``condition`` was true; fails after so many."""
    began = time.monotonic()
    while not await condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def everywhere(condition: Any, what: str) -> None:
    """Each server is asked until it is so there."""

    def at(server: int) -> Any:
        return lambda: condition(server)

    await asyncio.gather(*(soon(at(server), f"{what} at server {server}") for server in range(SERVERS)))


@asynccontextmanager
async def a_tenant(processes: Processes, **quotas: Any) -> AsyncIterator[tuple[Client, Client]]:
    """The platform's operator, and the admin of a new tenant."""
    async with AsyncExitStack() as stack:
        operator = Client("default", processes.token, await stack.enter_async_context(processes.sessions()))
        name = next(_names)
        wish = {"tenant_id": name, "name": name, "quotas": quotas, "invite": {}}
        status, made = await operator.ask(0, "POST", "/api/v1/tenants", wish)
        assert status == 201, made
        accept = {"Authorization": f"Bearer {made['invitation']['token']}"}
        status, joined = await operator.ask(1, "POST", "/api/v1/invitations/accept", {"name": "laptop"}, **accept)
        assert status == 201, joined
        sessions = await stack.enter_async_context(processes.sessions(joined["token"]))
        yield operator, Client(name, joined["token"], sessions)


async def test_a_service_published_on_one_is_called_on_all(processes, service) -> None:
    async with a_tenant(processes) as (_, tenant):
        assert not any([await tenant.calls(server) for server in range(SERVERS)])
        await tenant.register(service)
        assert {(await tenant.orchestrate(server))[0] for server in range(SERVERS)} == {200}
        status, told = await tenant.ask(1, "DELETE", "/api/v1/services/echo")
        assert status in (200, 204), told

        async def gone(server: int) -> bool:
            return not await tenant.calls(server)

        await everywhere(gone, "the service is retired")


async def test_a_revoked_key_is_refused_everywhere(processes) -> None:
    async with a_tenant(processes) as (_, tenant):
        status, made = await tenant.ask(0, "POST", "/api/v1/keys", {"name": "short-lived"})
        assert status == 201, made
        async with processes.sessions(made["token"]) as sessions:
            holder = Client(tenant.tenant_id, made["token"], sessions)
            assert {(await holder.ask(at, "GET", "/api/v1/me"))[0] for at in range(SERVERS)} == {200}
            assert (await tenant.ask(0, "DELETE", f"/api/v1/keys/{made['key_id']}"))[0] in (200, 204)

            async def refused(server: int) -> bool:
                return (await holder.ask(server, "GET", "/api/v1/me"))[0] == 401

            await everywhere(refused, "the key is revoked")


async def test_a_suspended_tenant_is_refused_everywhere_and_resumed(processes) -> None:
    async with a_tenant(processes) as (operator, tenant):
        assert {(await tenant.ask(at, "GET", "/api/v1/me"))[0] for at in range(SERVERS)} == {200}
        path = f"/api/v1/tenants/{tenant.tenant_id}"
        for verb, expected in (("suspend", 403), ("resume", 200)):
            status, told = await operator.ask(0, "POST", f"{path}/{verb}", {"reason": "a test"})
            assert status == 200, told

            async def so(server: int, wanted: int = expected) -> bool:
                return (await tenant.ask(server, "GET", "/api/v1/me"))[0] == wanted

            await everywhere(so, verb)


async def test_a_limit_holds_over_all_processes(processes, service) -> None:
    """Ten times the limit at once: exactly the limit is admitted."""
    limit = 12
    async with a_tenant(processes, per_minute=limit) as (_, tenant):
        await tenant.register(service)
        answers = await asyncio.gather(*(tenant.orchestrate(number % SERVERS) for number in range(10 * limit)))
        statuses = Counter(status for status, _ in answers)
        away = statuses.pop(503, 0)  # on a busy machine Redis may take more than its fifty milliseconds
        if away:
            assert {told["code"] for status, told in answers if status == 503} == {"limiter_unavailable"}
            assert statuses[200] <= limit
        else:
            assert statuses == {200: limit, 429: 9 * limit}
        assert len(service.received) == statuses[200]


async def test_a_budget_holds_over_all_processes(processes, service) -> None:
    """Money for ten calls, wanted by sixty at once: never a unit more is spent, and what failed costs nothing."""
    async with a_tenant(processes, budget="0.010") as (_, tenant):
        await tenant.register(service)
        answers = await asyncio.gather(*(tenant.orchestrate(number % SERVERS) for number in range(60)))
        statuses = Counter(status for status, _ in answers)
        assert set(statuses) <= {200, 402, 503}, statuses
        assert statuses[200] == 10 if not statuses[503] else statuses[200] <= 10
        status, stated = await tenant.ask(2, "GET", "/api/v1/budget")
        assert status == 200
        assert Decimal(stated["charged"]) == Decimal("0.001") * statuses[200]
        assert Decimal(stated["charged"]) <= Decimal(stated["budget"])


async def test_slots_that_are_waited_for_stay_exact(processes, service) -> None:
    """Calls on all processes wait for two slots: never a third is taken, and most are served."""
    async with a_tenant(processes) as (_, tenant):
        narrow = {"max_concurrent_requests": 2, "requires": {"gpu": False, "internet": False}}
        document = contract("echo", service.url, "/late/20") | {"constraints": narrow}
        status, told = await tenant.ask(0, "POST", "/api/v1/services", document)
        assert status == 201, told
        await everywhere(tenant.calls, "the service is called")
        answers = await asyncio.gather(*(tenant.orchestrate(number % SERVERS) for number in range(16)))
        statuses = Counter(status for status, _ in answers)
        assert set(statuses) <= {200, 429, 503}, statuses
        assert statuses[200] > SERVERS, statuses
        assert service.most_at_once <= 2


async def test_what_fails_for_one_the_others_leave_alone(processes, service) -> None:
    """One call is told that its credentials are refused; the other processes call the service no more."""
    async with a_tenant(processes) as (_, tenant):
        await tenant.register(service, path="/status/401")
        while (answer := await tenant.orchestrate(0))[1].get("code") == "limiter_unavailable":
            await asyncio.sleep(0.05)  # on a busy machine Redis may take more than its fifty milliseconds
        assert (answer[0], answer[1].get("fault")) == (502, "auth"), answer

        async def left_alone(server: int) -> bool:
            _, health = await tenant.ask(server, "GET", "/api/v1/services/echo/health")
            return (health["state"], health["cause"]) == ("open", "credentials")

        await everywhere(left_alone, "the service is left alone")
        answers = await asyncio.gather(*(tenant.orchestrate(at) for at in range(SERVERS)))
        assert {(status, told["code"]) for status, told in answers} == {(503, "services_unavailable")}
        assert len(service.received) == 1


async def test_a_key_of_idempotency_pays_once(processes, service) -> None:
    async with a_tenant(processes) as (_, tenant):
        await tenant.register(service, path="/late/200")
        answers = await asyncio.gather(*(tenant.orchestrate(at, Idempotency_Key="once") for at in range(SERVERS)))
        statuses = Counter(status for status, _ in answers)
        assert statuses[200] >= 1
        assert set(statuses) <= {200, 409, 503}, answers
        first = next(told["decision_id"] for status, told in answers if status == 200)
        again = [await tenant.orchestrate(at, Idempotency_Key="once") for at in range(SERVERS)]
        assert {(status, told["decision_id"]) for status, told in again} == {(200, first)}
        assert len(service.received) == 1


async def test_one_log_a_tenant_without_forks(processes, service) -> None:
    """Whoever writes and whoever is asked: one gapless log, whose receipts prove their place on every process."""
    async with a_tenant(processes) as (_, tenant):
        await tenant.register(service)
        answers = await asyncio.gather(*(tenant.orchestrate(number % SERVERS) for number in range(40)))
        decisions = [told["decision_id"] for status, told in answers if status == 200]
        assert len(decisions) > 30
        _, keys = await tenant.ask(2, "GET", "/.well-known/caio-keys.json")
        for server, decision in zip(range(SERVERS), decisions, strict=False):
            _, receipt = await tenant.ask(server, "GET", f"/api/v1/decisions/{decision}/receipt")
            claims = {claim.name: claim.proved for claim in verify_receipt(receipt, read_key_set(keys)).claims}
            assert claims["decision inclusion"], claims
            assert set(claims.values()) <= {True, None}, claims
        database = await Database.open(processes.environment["CAIO_DATABASE_URL"])
        try:
            stores, scope = open_stores(database), embedded_scope(tenant.tenant_id)

            async def all_taken_in() -> bool:
                head = await stores.log.head(scope)
                return head is not None and head.size == len(await stores.journal.page(scope, -1, 10_000))

            await soon(all_taken_in, "the worker has taken in the log")
            leaves = await stores.journal.page(scope, -1, 10_000)
        finally:
            await database.close()
        assert [leaf.seq for leaf in leaves] == list(range(len(leaves)))


async def test_a_rolling_restart_loses_no_call(processes, service) -> None:
    """One after the other stops and starts again; a client that asks another server when one is gone is served."""
    async with a_tenant(processes) as (_, tenant):
        await tenant.register(service)
        served, stop = Counter[int](), asyncio.Event()

        async def go_on(first: int) -> None:
            for server in itertools.cycle((first, (first + 1) % SERVERS, (first + 2) % SERVERS)):
                if stop.is_set():
                    return
                try:
                    status, _ = await tenant.orchestrate(server)
                except aiohttp.ClientConnectionError:
                    continue
                served[status] += 1
                await asyncio.sleep(0.02)

        clients = [asyncio.create_task(go_on(number)) for number in range(2)]
        for place in (0, 1):
            old = processes.servers[place]
            await asyncio.to_thread(processes.stop, old)
            processes.servers.remove(old)
            await asyncio.to_thread(processes.start, 1)
        before = served[200]
        await asyncio.sleep(0.3)
        stop.set()
        await asyncio.gather(*clients)
        assert served[200] > before
        assert set(served) <= {200, 503}, served
    async with a_tenant(processes) as (_, tenant):
        await tenant.register(service)
        assert {(await tenant.orchestrate(at))[0] for at in range(SERVERS)} == {200}


async def test_workers_deliver_what_happens_and_tell_of_a_budget_once(processes, service) -> None:
    """Also when one of them was killed."""
    async with webhook_receiver() as receiver, a_tenant(processes, budget="0.004", alerts=[50]) as (_, tenant):
        wish = {"url": receiver.url, "types": ["caio.key.", "caio.budget."]}
        status, made = await tenant.ask(0, "POST", "/api/v1/webhooks", wish)
        assert status == 201, made
        await asyncio.to_thread(processes.start, 0, 1)
        keys: set[str] = set()

        def delivered() -> set[str]:
            return {each.document["subject"] for each in receiver.received} & keys

        async def all_delivered() -> bool:
            return delivered() == keys

        async def told() -> bool:
            return "caio.budget.threshold" in receiver.types()

        for _ in range(2):
            answers = [await tenant.ask(at, "POST", "/api/v1/keys", {"name": "a key"}) for at in range(SERVERS)]
            keys |= {key["key_id"] for _, key in answers}
            await soon(all_delivered, "every key's event is delivered", seconds=20)
            if len(processes.workers) > 1:
                await asyncio.to_thread(processes.workers.pop().kill)
        await asyncio.to_thread(processes.start, 0, 1)
        await tenant.register(service)
        assert [(await tenant.orchestrate(at))[0] for at in (0, 1)] == [200, 200]
        await soon(told, "the budget's threshold is told", seconds=40)
        assert all(verified(made["secret"], each.headers, each.body) for each in receiver.received)
        _, page = await tenant.ask(1, "GET", "/api/v1/events?type=caio.budget.threshold")
        assert len(page["items"]) == 1


@pytest.mark.long
async def test_what_a_killed_process_left_is_ended(processes, service) -> None:
    """Its open calls end as interrupted and once, their money and slots are free, and the others go on."""
    open_calls = 3
    quotas = {"budget": "0.004", "limits": {"concurrent": open_calls + 1}}
    async with a_tenant(processes, **quotas) as (_, tenant):
        await tenant.register(service, path="/slow")
        victim = processes.servers[-1]
        calling = [asyncio.create_task(tenant.orchestrate(SERVERS - 1, deadline_ms=3_000)) for _ in range(open_calls)]
        while len(service.received) < open_calls:
            await asyncio.sleep(0.02)
        await asyncio.to_thread(victim.kill)
        processes.servers.remove(victim)
        ended = await asyncio.gather(*calling, return_exceptions=True)
        assert all(isinstance(each, aiohttp.ClientConnectionError) for each in ended)

        async def all_ended() -> bool:
            _, listed = await tenant.ask(0, "GET", "/api/v1/decisions")
            called = [each for each in listed["items"] if each["mode"] == "orchestrate"]
            return len(called) == open_calls and {each["status"] for each in called} == {"interrupted"}

        await soon(all_ended, "the calls of the killed process are ended", seconds=90)
        service.hold.set()
        answers = await asyncio.gather(*(tenant.orchestrate(number) for number in range(SERVERS - 1)))
        assert {status for status, _ in answers} == {200}, answers
        await asyncio.to_thread(processes.start, 1)
