"""Which calls are made again at the same service, and when."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from caio.foundation.errors import NotReady, UpstreamFailed, UpstreamFault
from caio.foundation.scope import TenantScope
from caio.gateway.breakers import Breakers
from caio.gateway.run import Run, Tried
from tests.e2e.conftest import OUTPUT_SCHEMA, Served, served
from tests.support.books import books_of
from tests.support.misbehaving import Misbehaving, closed_port
from tests.support.upstreams import serving

DETERMINISTIC = {"guarantees": {"accuracy": {"min": "0.8"}, "determinism": {"seed_required": False}}}


@pytest.fixture
async def caio(tmp_path: Path, template: tuple[Path, str]) -> AsyncIterator[Served]:
    folder, token = template
    shutil.copytree(folder, tmp_path / "data")
    async with serving(Misbehaving()) as service, served(tmp_path / "data", token, service) as running:
        yield running


def _api(url: str, path: str, method: str = "POST") -> dict[str, Any]:
    endpoint = {"path": path, "method": method, "output_schema": OUTPUT_SCHEMA}
    return {"protocol": "http-json", "base_url": url, "endpoints": [endpoint], "timeout_ms": 5000}


async def _attempts(caio: Served, decision_id: str) -> list[str | None]:
    receipt = (await caio.get(f"/api/v1/decisions/{decision_id}/receipt"))[1]
    return [each.get("fault") for each in receipt["outcome"]["payload"]["attempts"]]


@pytest.mark.parametrize(
    ("path", "method", "changes", "faults", "status"),
    [
        ("/flaky/500/1/-", "POST", {}, ["upstream"], 502),
        ("/flaky/500/1/-", "GET", {}, ["upstream", None], 200),
        ("/flaky/500/1/-", "POST", DETERMINISTIC, ["upstream", None], 200),
        ("/flaky/500/9/-", "GET", {}, ["upstream"] * 3, 502),
        ("/flaky/503/1/-", "POST", {}, ["overloaded"], 502),
        ("/flaky/503/1/0.1", "POST", {}, ["overloaded", None], 200),
        ("/flaky/503/1/9", "GET", {}, ["overloaded"], 502),
        ("/flaky/429/1/0", "GET", {}, ["quota"], 502),
        ("/flaky/400/1/-", "GET", {}, ["invalid"], 422),
        ("/flaky/404/1/-", "GET", {}, ["upstream"], 502),
    ],
)
async def test_a_repetition_needs_a_fault_that_may_pass(
    caio: Served, path: str, method: str, changes: dict[str, Any], faults: list[str | None], status: int
) -> None:
    await caio.register("only", **({"api": _api(caio.service.url, path, method)} | changes))
    answered, document, headers = await caio.orchestrate()
    assert answered == status, document
    assert await _attempts(caio, headers["x-caio-decision-id"]) == faults
    assert len(caio.service.received) == len(faults)
    books = await books_of(caio.installation)
    assert (books.spent, books.reserved) == (1_000_000 if status == 200 else 0, 0)


async def test_an_unreachable_service_is_tried_again(caio: Served) -> None:
    with closed_port() as url:
        await caio.register("only", api=_api(url, "/"))
        status, _, headers = await caio.orchestrate()
    assert status == 502
    assert await _attempts(caio, headers["x-caio-decision-id"]) == ["unreachable"] * 3


async def test_none_before_the_service_said(caio: Served) -> None:
    await caio.register("only", api=_api(caio.service.url, "/flaky/503/1/0.3"))
    started = time.monotonic()
    assert (await caio.orchestrate())[0] == 200
    assert time.monotonic() - started >= 0.3


async def test_none_that_would_pass_the_deadline(caio: Served) -> None:
    await caio.register("only", api=_api(caio.service.url, "/flaky/503/1/1.5"))
    started = time.monotonic()
    status, _, headers = await caio.orchestrate(deadline_ms=1_400)
    assert status == 502
    assert time.monotonic() - started < 1.4
    assert await _attempts(caio, headers["x-caio-decision-id"]) == ["overloaded"]


async def test_a_repetition_asks_admission_again(caio: Served) -> None:
    one = {"rate_limit": {"per_minute": 1}, "requires": {"gpu": False, "internet": False}}
    await caio.register("only", api=_api(caio.service.url, "/flaky/500/1/-", "GET"), constraints=one)
    status, _, headers = await caio.orchestrate()
    assert status == 502
    assert await _attempts(caio, headers["x-caio-decision-id"]) == ["upstream"]


async def test_the_callers_hurry_is_no_fault_of_the_service(caio: Served) -> None:
    await caio.register("slow", "/slow")
    for _ in range(6):
        assert (await caio.orchestrate(deadline_ms=50))[0] == 504
    assert _breakers(caio).of_service("default", "slow") == {}
    # Its own time is another matter.
    await caio.register("slower", api=_api(caio.service.url, "/slow") | {"timeout_ms": 50}, capabilities=["text.other"])
    for _ in range(5):
        assert (await caio.orchestrate(capability="text.other"))[0] == 504
    status, problem, _ = await caio.orchestrate(capability="text.other")
    assert (status, problem["code"]) == (503, "services_unavailable")


async def test_open_services_are_passed_over(caio: Served) -> None:
    """At admission and at a fallback, and a probe brings a service back."""
    cheapest = {"weights": {"cost": 1}}
    dear, dearest = ({"currency": "USD", "per_request": price} for price in ("0.002", "0.003"))
    await caio.register("first", api=_api(caio.service.url, "/flaky/500/5/-"))
    await caio.register("second", "/status/500", cost=dear)
    await caio.register("third", cost=dearest)
    for _ in range(5):
        _, answer, _ = await caio.orchestrate(objective=cheapest)
        assert (answer["service"]["id"], answer["attempts"]) == ("third", 3)
    for _ in range(2):
        _, answer, _ = await caio.orchestrate(objective=cheapest)
        assert (answer["service"]["id"], answer["attempts"]) == ("third", 1)
    receipt = (await caio.get(f"/api/v1/decisions/{answer['decision_id']}/receipt"))[1]
    assert receipt["decision"]["payload"]["passed_over"] == 2
    breaker = _breakers(caio).of_service("default", "first")["1.0.0"]
    breaker.until = 0  # as if its wait were over
    _, answer, _ = await caio.orchestrate(objective=cheapest)
    assert (answer["service"]["id"], answer["attempts"]) == ("first", 1)
    _, health = await caio.get("/api/v1/services/first/health")
    assert (health["state"], health["cause"], health["until"]) == ("closed", None, None)


class _SlowAdmission:
    """Another one's answers, a moment later."""

    def __init__(self, admission: Any) -> None:
        self.admission = admission

    def __getattr__(self, name: str) -> Any:
        return getattr(self.admission, name)

    async def admit(self, ask: Any, now: int) -> Any:
        await asyncio.sleep(0.05)
        return await self.admission.admit(ask, now)

    async def move(self, grant: Any, ask: Any, now: int) -> Any:
        await asyncio.sleep(0.05)
        return await self.admission.move(grant, ask, now)


@pytest.mark.parametrize("fallback", [False, True])
async def test_one_probe_is_let_through(caio: Served, fallback: bool) -> None:
    course: Any = caio.installation.gateway.course
    if fallback:
        cheap = {"currency": "USD", "per_request": "0.0001"}
        await caio.register("first", "/status/404", cost=cheap)
    await caio.register("half_open", api=_api(caio.service.url, "/flaky/500/99/-"))
    for _ in range(4):
        await caio.orchestrate(objective={"weights": {"cost": 1}})
    if fallback:
        _breakers(caio).of_service("default", "first")["1.0.0"].in_a_row = -99
    await caio.orchestrate(objective={"weights": {"cost": 1}})
    breaker = _breakers(caio).of_service("default", "half_open")["1.0.0"]
    assert breaker.cause is not None
    breaker.until = 0  # as if its wait were over
    course._admission = _SlowAdmission(course._admission)
    course._service_limits._kept.clear()  # to be read again, which takes a moment too
    called = _calls(caio)
    await asyncio.gather(*(caio.orchestrate(objective={"weights": {"cost": 1}}) for _ in range(8)))
    assert _calls(caio) - called == 1


async def test_a_probe_that_is_not_admitted_is_given_back(caio: Served) -> None:
    await caio.register("only", api=_api(caio.service.url, "/flaky/500/5/-"))
    for _ in range(5):
        await caio.orchestrate()
    breaker = _breakers(caio).of_service("default", "only")["1.0.0"]
    breaker.until = 0  # as if its wait were over
    course: Any = caio.installation.gateway.course
    course._admission = _SlowAdmission(course._admission)
    calling = asyncio.ensure_future(caio.orchestrate())
    while not breaker.probe_until:
        await asyncio.sleep(0.005)

    async def away(ask: Any, now: int) -> Any:
        raise NotReady("away")

    course._admission.admission.admit, admits = away, course._admission.admission.admit
    assert (await calling)[0] == 503
    course._admission.admission.admit = admits
    assert (await caio.orchestrate())[0] == 200


async def test_no_repetition_once_others_have_opened_the_breaker(caio: Served) -> None:
    await caio.register("only", api=_api(caio.service.url, "/flaky/503/99/0.5"))
    (offer,) = await caio.installation.gateway.offers(TenantScope("default"))
    calling = asyncio.ensure_future(caio.orchestrate())
    while not _breakers(caio).of_service("default", "only"):
        await asyncio.sleep(0.005)
    down = UpstreamFailed("down", UpstreamFault.UNREACHABLE)
    for _ in range(4):
        _breakers(caio).failed("default", offer, down, time.time_ns() // 1000)
    assert (await calling)[0] == 502
    assert len(caio.service.received) == 1


def _calls(caio: Served) -> int:
    return sum("flaky" in request.path for request, _ in caio.service.received)


def _breakers(caio: Served) -> Breakers:
    return caio.installation.gateway.breakers


async def test_the_decision_tells_who_was_admitted_first(caio: Served) -> None:
    """Also where the fallback waits for nothing, as after a service that this server does not call."""
    cheap = {"currency": "USD", "per_request": "0.0001"}
    await caio.register("unspoken", cost=cheap)
    await caio.register("second")
    attempts: Any = caio.installation.gateway.attempts
    call = attempts.call

    async def fails_at_once(run: Run) -> Tried:
        if run.position == 0:
            return Tried(run.candidate, 0, UpstreamFailed("down", UpstreamFault.TIMEOUT))
        return await call(run)  # type: ignore[no-any-return]

    attempts.call = fails_at_once
    _, answer, _ = await caio.orchestrate(objective={"weights": {"cost": 1}})
    assert answer["service"]["id"] == "second"
    receipt = (await caio.get(f"/api/v1/decisions/{answer['decision_id']}/receipt"))[1]
    decision = receipt["decision"]["payload"]
    assert (decision["service"], decision["passed_over"]) == ("unspoken", 0)
