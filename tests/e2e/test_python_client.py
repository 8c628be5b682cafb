"""The Python clients against real servers: what they answer, what they raise, and that nothing is done twice."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from caio.client import (
    AsyncClient,
    Client,
    ClientError,
    Conflict,
    DeadlineExceeded,
    Invalid,
    LimitReached,
    NoServiceSatisfies,
    NotFound,
    StreamBroken,
    TimedOut,
    Unauthenticated,
    Unreachable,
    UpstreamFailed,
)
from tests.e2e.conftest import Served, chat_contract, contract
from tests.support.faulty_proxy import DROP, FORWARD, LOSE, Refuse, faulty_proxy
from tests.support.upstreams import TOKENS, Upstream

FINE = {"text": "Fine."}
HELLO = [{"role": "user", "content": "Hello?"}]
KINDS = [Client, AsyncClient]

#: Seconds after which a client gives up: the first are enough but on a machine that is busy with more than this.
AS_LONG_AS_IT_TAKES = (0.4, 2.0, 10.0)


class Asked:
    """Either client, awaited alike: the one that waits does so in a thread."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def __call__(self, method: str, *arguments: Any, **named: Any) -> Any:
        bound = attrgetter(method)(self.client)
        if isinstance(self.client, Client):
            return await asyncio.to_thread(bound, *arguments, **named)
        return await bound(*arguments, **named)

    async def error(self, kind: type[Exception], method: str, *arguments: Any, **named: Any) -> Any:
        with pytest.raises(kind) as raised:
            await self(method, *arguments, **named)
        assert type(raised.value) is kind
        return raised.value

    async def chunks(self, stop_after: int | None = None) -> list[str]:
        """The texts of a stream; closed after so many."""
        found: list[str] = []

        def blocking() -> None:
            with self.client.chat.stream(HELLO) as stream:
                for chunk in stream:
                    found.append(chunk.text)
                    if len(found) == stop_after:
                        return

        async def awaiting() -> None:
            async with self.client.chat.stream(HELLO) as stream:
                async for chunk in stream:
                    found.append(chunk.text)
                    if len(found) == stop_after:
                        return

        try:
            await (asyncio.to_thread(blocking) if isinstance(self.client, Client) else awaiting())
        except StreamBroken as error:
            found.append(error.code)
        return found


@asynccontextmanager
async def asking(kind: Any, url: str, token: str, **settings: Any) -> AsyncIterator[Asked]:
    client = kind(url, token, **settings)
    try:
        yield Asked(client)
    finally:
        closed = client.close()
        if closed is not None:
            await closed


@pytest.fixture(params=KINDS, ids=["blocking", "awaiting"])
async def ask(request: pytest.FixtureRequest, caio: Served) -> AsyncIterator[Asked]:
    async with asking(request.param, caio.url, caio.token) as asked:
        yield asked


async def test_what_a_developer_does(ask: Asked, caio: Served) -> None:
    registered = await ask("services.register", contract("only", caio.service.url))
    assert (registered.name, registered.version, registered.status) == ("only", "1.0.0", "active")
    answer = await ask("orchestrate", "text.sentiment", FINE, labels={"team": "red"}, with_receipt=True)
    assert (answer.output["label"], answer.service.id, answer.replayed) == ("good", "only", False)
    assert str(answer.cost.amount) == "0.001"
    keys = await ask("receipts.published_keys")
    evidence = await ask("decisions.evidence", answer.decision_id)
    verified = await ask("receipts.verify", answer.receipt, keys, evidence)
    assert verified.ok
    assert not (await ask("receipts.verify", answer.decision_id, {"other": b"0" * 32})).ok
    decision = await ask("decisions.get", answer.decision_id)
    assert (decision.outcome, decision.result["status"]) == ("routed", "ok")
    assert [each.decision_id for each in (await ask("decisions.list")).items] == [answer.decision_id]
    assert (await ask("decisions.explanation", answer.decision_id))["outcome"]
    routed = await ask("route", "text.sentiment", FINE, requirements={"accuracy": {"min": "0.7"}})
    assert (routed.service.service, routed.ranked[0].worst_cost) == ("only", routed.service.worst_cost)
    found = await ask("discover", "text.sentiment", requirements={"accuracy": {"min": "0.99"}})
    assert ([each.service for each in found.ranked], found.excluded[0].clause) == ([], "guarantee")
    usage = await ask("usage", group_by=["service"])
    assert usage.currency == "USD"


async def test_what_a_developer_manages(ask: Asked, caio: Served) -> None:
    document = contract("only", caio.service.url)
    assert (await ask("services.validate", document)).digest
    first = await ask("services.register", document)
    await ask.error(Conflict, "services.register", document)
    second = await ask("services.publish", "only", document | {"version": "1.1.0"}, first.revision)
    assert (second.version, (await ask("services.get", "only", "1.0.0")).version) == ("1.1.0", "1.0.0")
    assert [each.name for each in (await ask("services.list", limit=1)).items] == ["only"]
    assert (await ask("services.retire", "only")).status == "retired"
    assert (await ask("services.list")).items == []
    policy = "id: dearer\nversion: 1\neffect: prefer\nwhen: 'true'\nthen: 'true'\n"
    assert (await ask("policies.register", policy)).name == "dearer"
    assert (await ask("policies.retire", "dearer")).status == "retired"
    await ask.error(NotFound, "services.get", "../keys")


async def test_openais_calls(ask: Asked, caio: Served) -> None:
    await ask("services.register", chat_contract("chatty", caio.service.url))
    vectors = contract("vectors", caio.service.url) | {"capabilities": ["embeddings"]}
    api = {"protocol": "openai", "base_url": caio.service.url, "model": "m", "timeout_ms": 5000}
    await ask("services.register", vectors | {"api": api})
    answer = await ask("chat.create", HELLO, max_tokens=5, wishes={"data_classification": "public"})
    assert (answer.text, answer.routing.service) == ("Grüße", "chatty@1.0.0")
    assert (answer.usage.prompt_tokens, answer.raw["extra"]) == (7, {"kept": True})
    embedded = await ask("embeddings", ["a"], idempotency_key="once")
    assert (embedded.data[0].embedding, embedded.routing.replayed) == ([0.5], False)
    assert (await ask("embeddings", ["a"], idempotency_key="once")).routing.replayed
    assert {"chatty", "auto:chat"} <= {each.id for each in await ask("models")}


async def test_errors_say_everything_that_the_server_says(ask: Asked, caio: Served) -> None:
    await ask("services.register", contract("only", caio.service.url))
    refused = await ask.error(NoServiceSatisfies, "orchestrate", "text.sentiment", FINE, requirements={"max_cost": "0"})
    assert (refused.status, refused.code) == (422, "no_service_satisfies")
    assert [each.service_id for each in refused.reasons] == ["only"]
    assert refused.decision_id.startswith("dec_")
    assert refused.request_id.startswith("req_")
    invalid = await ask.error(Invalid, "orchestrate", "No Name", FINE, deadline_ms=0)
    assert {each.pointer for each in invalid.violations} == {"/request/capability", "/request/deadline_ms"}
    assert (await ask.error(NoServiceSatisfies, "chat.create", HELLO)).reasons[0].service_id == "only"
    async with asking(type(ask.client), caio.url, "caio_nobody") as stranger:
        assert (await stranger.error(Unauthenticated, "models")).status == 401
    await caio.installation.catalog.retire(await _admin(caio), "only", None)
    await ask("services.register", contract("broken", caio.service.url, "/status/400"))
    failed = await ask.error(UpstreamFailed, "orchestrate", "text.sentiment", FINE)
    assert (failed.status, failed.fault) == (422, "invalid")
    await ask("services.retire", "broken")
    await ask("services.register", contract("slow", caio.service.url, "/slow"))
    async with asking(type(ask.client), caio.url, caio.token, retries=0) as once:
        late = await once.error(DeadlineExceeded, "orchestrate", "text.sentiment", FINE, deadline_ms=50)
    assert (late.status, late.code) == (504, "deadline_exceeded")


async def _admin(caio: Served) -> Any:
    return await caio.installation.authenticator.authenticate(f"Bearer {caio.token}", None, "127.0.0.1")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_lost_answer_is_asked_for_again_and_the_service_called_once(kind: Any, caio: Served) -> None:
    await caio.register("only")
    async with (
        faulty_proxy(caio.url, [DROP, LOSE, Refuse(503, "not_ready"), Refuse(429, "rate_limited", 1), LOSE]) as proxy,
        asking(kind, proxy.url, caio.token, retries=5) as ask,
    ):
        answer = await ask("orchestrate", "text.sentiment", FINE)
        assert answer.output["label"] == "good"
        assert len(proxy.keys) == 6
        assert len(set(proxy.keys)) == 1
        assert proxy.keys[0]
    assert len(caio.service.received) == 1
    async with asking(kind, caio.url, caio.token) as ask:
        charged = [each.charged for each in (await ask("decisions.list")).items]
        assert [str(each) for each in charged] == ["0.001"]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_would_be_done_twice_is_left_to_the_caller(kind: Any, caio: Served) -> None:
    async with (
        faulty_proxy(caio.url, [LOSE, FORWARD]) as proxy,
        asking(kind, proxy.url, caio.token) as ask,
    ):
        assert (await ask.error(Unreachable, "services.register", contract("only", caio.service.url))).sent
        assert len(proxy.keys) == 1
        assert (await ask("services.get", "only")).version == "1.0.0"


@pytest.mark.parametrize("kind", KINDS)
async def test_limits_are_waited_for_when_there_is_time(kind: Any, caio: Served) -> None:
    async with (
        faulty_proxy(caio.url, [Refuse(429, "rate_limited", 1), FORWARD, Refuse(429, "rate_limited", 30)]) as proxy,
        asking(kind, proxy.url, caio.token, timeout=20) as ask,
    ):
        started = asyncio.get_running_loop().time()
        await ask("models")
        assert asyncio.get_running_loop().time() - started >= 1
        started = asyncio.get_running_loop().time()
        assert (await ask.error(LimitReached, "models")).retry_after == 30
        assert asyncio.get_running_loop().time() - started < 15


@pytest.mark.parametrize("kind", KINDS)
async def test_no_answer_within_the_time_is_an_error_and_ends_the_call_upstream(kind: Any, caio: Served) -> None:
    await caio.register("slow", "/slow")
    for seconds in AS_LONG_AS_IT_TAKES:
        async with asking(kind, caio.url, caio.token, timeout=seconds, retries=0) as ask:
            await ask.error(TimedOut, "orchestrate", "text.sentiment", FINE)
        if caio.service.received:
            break
    await asyncio.wait_for(caio.service.left.wait(), 60)


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_there_is_an_error_after_the_retries(kind: Any, free_port: Callable[[], int]) -> None:
    async with asking(kind, f"http://127.0.0.1:{free_port()}", "caio_x", retries=1) as ask:
        assert not (await ask.error(Unreachable, "models")).sent


async def test_a_stream_tells_all_of_it(ask: Asked, caio: Served) -> None:
    await ask("services.register", chat_contract("chatty", caio.service.url, "/stream"))
    assert "".join(await ask.chunks()) == "".join(f"t{number} " for number in range(TOKENS))
    await caio.installation.catalog.retire(await _admin(caio), "chatty", None)
    await ask("services.register", chat_contract("split", caio.service.url, "/split"))
    assert "".join(await ask.chunks()) == "Grüße 🌍 "


async def test_a_broken_stream_raises(ask: Asked, caio: Served) -> None:
    await ask("services.register", chat_contract("cut", caio.service.url, "/cut/3"))
    chunks = await ask.chunks()
    assert [each for each in chunks[:-1] if each] == ["t0 ", "t1 ", "t2 "]
    assert chunks[-1] == "upstream_failed"


async def test_closing_a_stream_cancels_the_call(ask: Asked, caio: Served) -> None:
    await ask("services.register", chat_contract("endless", caio.service.url, "/stall"))
    assert await ask.chunks(stop_after=2) == ["", "one"]
    await asyncio.wait_for(caio.service.left.wait(), 60)


async def test_a_silent_stream_breaks(caio: Served) -> None:
    await caio.http.post("/api/v1/services", json=chat_contract("silent", caio.service.url, "/stall"))
    for kind in KINDS:
        chunks: list[str] = []
        for seconds in AS_LONG_AS_IT_TAKES:
            async with asking(kind, caio.url, caio.token, timeout=seconds, retries=0) as ask:
                with suppress(TimedOut):
                    chunks = await ask.chunks()
            if chunks:
                break
        assert chunks[-1] == "stream_broken"


async def test_a_stream_that_is_refused_raises_as_any_call(ask: Asked, caio: Served) -> None:
    await ask("services.register", contract("only", caio.service.url))
    with pytest.raises(NoServiceSatisfies):
        await ask.chunks()


CHAIN = {
    "steps": [
        {"id": "first", "request": {"capability": "text.sentiment"}, "payload": {"text": {"$from": "input"}}},
        {"id": "second", "request": {"capability": "text.sentiment"}, "payload": {"$from": "first"}},
    ],
    "deadline_ms": 30000,
    "result": {"$from": "second", "pointer": "/label"},
}


async def test_workflows_are_run_and_followed(ask: Asked, caio: Served) -> None:
    await ask("services.register", contract("only", caio.service.url))
    begun = await ask("workflows.run", CHAIN, "Fine.", idempotency_key="once")
    kinds: list[str] = []

    def blocking() -> None:
        kinds.extend(each.kind for each in ask.client.workflows.events(begun.run_id))

    async def awaiting() -> None:
        async for each in ask.client.workflows.events(begun.run_id):
            kinds.append(each.kind)  # noqa: PERF401 - as they come

    await asyncio.wait_for(asyncio.to_thread(blocking) if isinstance(ask.client, Client) else awaiting(), 60)
    assert (kinds[0], kinds[-1]) == ("run.queued", "run.succeeded")
    ended = await ask("workflows.get", begun.run_id)
    assert (ended.has_ended, ended.result, [step.status for step in ended.steps]) == (True, "good", ["succeeded"] * 2)
    assert (await ask("workflows.run", CHAIN, "Fine.", idempotency_key="once")).run_id == begun.run_id
    assert [each.run_id for each in (await ask("workflows.list")).items] == [begun.run_id]
    assert (await ask("workflows.cancel", begun.run_id)).status == "succeeded"


async def test_many_calls_share_the_connections(caio: Served) -> None:
    await caio.register("only")
    async with AsyncClient(caio.url, caio.token) as client:
        answers = await asyncio.gather(*(client.orchestrate("text.sentiment", FINE) for _ in range(40)))
    assert len({each.decision_id for each in answers}) == 40


@asynccontextmanager
async def process(data_dir: Path, port: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """``caio serve`` as people run it, and the first key if it is new."""
    environment = {**os.environ, "CAIO_DATA_DIR": str(data_dir), "CAIO_LOG_LEVEL": "error"}
    command = ["-m", "caio", "serve", "--json", "--port", str(port), "--allow-private", "127.0.0.0/8"]
    running = await asyncio.create_subprocess_exec(
        sys.executable, *command, env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert running.stdout is not None
        yield running, (await asyncio.wait_for(running.stdout.readline(), 150)).decode()
    finally:
        if running.returncode is None:
            running.send_signal(signal.SIGKILL)
        await running.wait()


async def test_a_server_killed_between_the_attempts_is_survived(
    tmp_path: Path,
    template: tuple[Path, str],
    service: Upstream,
    free_port: Callable[[], int],
    wait_for_async: Callable[..., Awaitable[Any]],
) -> None:
    folder, token = template
    data_dir, port = tmp_path / "data", free_port()
    shutil.copytree(folder, data_dir)
    async with AsyncClient(f"http://127.0.0.1:{port}", token, retries=60, timeout=300) as client:
        async with process(data_dir, port):
            await client.services.register(contract("slow", service.url, "/slow"))
            answering = asyncio.create_task(client.orchestrate("text.sentiment", FINE, idempotency_key="mine"))
            await wait_for_async(lambda: service.received, seconds=30)
        # Killed in the middle of the call. The next process knows nothing of it but what the journal says.
        service.hold.set()
        async with process(data_dir, port):
            answer = await answering
            again = await client.orchestrate("text.sentiment", FINE, idempotency_key="mine")
            assert (again.decision_id, again.replayed) == (answer.decision_id, True)
            listed = (await client.decisions.list()).items
            assert [each.status for each in listed] == ["violated", "interrupted"]
            assert len(service.received) == 2
    with pytest.raises(ClientError):
        await AsyncClient(f"http://127.0.0.1:{port}", token, retries=0).models()
