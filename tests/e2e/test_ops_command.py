"""``caio ops`` as an operator runs it: against a deployment that works, and against those that do not."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.e2e.conftest import Served
from tests.support.caio_command import run_caio
from tests.support.upstreams import self_signed


async def tried(folder: Path, url: str, *arguments: object, **environment: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and what each check found by name."""
    code, said = await run_caio(folder, environment, "ops", "smoke", url, "--json", *arguments)
    return code, {each["check"]: each for each in json.loads(said.splitlines()[0])["checks"]}


async def test_a_deployment_that_works(caio: Served, tmp_path: Path) -> None:
    code, found = await tried(tmp_path, caio.url, CAIO_API_KEY=caio.token)
    assert (code, [each["holds"] for each in found.values()]) == (0, [True] * 8), found
    assert "no_service_satisfies" not in found["decision"]["detail"]
    assert "held by the log" in found["receipt"]["detail"]
    assert "not pinned here" in found["receipt"]["detail"]


async def test_a_request_that_is_answered(caio: Served, tmp_path: Path) -> None:
    await caio.register("lexicon")
    asked = tmp_path / "request.yaml"
    asked.write_text("request: {capability: text.sentiment, payload: {text: Fine.}}")
    code, found = await tried(tmp_path, caio.url, "--request", asked, CAIO_API_KEY=caio.token)
    assert (code, found["answer"]["holds"]) == (0, True), found
    assert "lexicon@1.0.0" in found["answer"]["detail"]
    asked.write_text("request: {capability: nobody.offers, payload: {}}")
    code, found = await tried(tmp_path, caio.url, "--request", asked, CAIO_API_KEY=caio.token)
    assert (code, found["answer"]["holds"], found["receipt"]["holds"]) == (10, False, False)


async def test_without_a_key_the_rest_is_tried(caio: Served, tmp_path: Path) -> None:
    code, found = await tried(tmp_path, caio.url)
    assert code == 0
    assert {name for name, each in found.items() if each["holds"] is None} == {"caller", "decision", "receipt"}
    code, said = await run_caio(tmp_path, {}, "ops", "smoke", caio.url)
    assert code == 0
    assert "✓ ready" in said
    assert "All is well." in said
    assert f"caio ops smoke {caio.url}" in said


async def test_a_key_that_is_none(caio: Served, tmp_path: Path) -> None:
    code, found = await tried(tmp_path, caio.url, CAIO_API_KEY="caio_live_nonesuch")
    assert code == 10
    assert [name for name, each in found.items() if not each["holds"]] == ["caller", "decision", "receipt"]


async def test_a_server_that_is_ill_or_open(tmp_path: Path) -> None:
    async def anything(request: web.Request) -> web.Response:
        if request.path == "/health/ready":
            parts = {"database": {"status": "unhealthy"}, "journal": {"status": "healthy"}}
            return web.json_response({"status": "unhealthy", "components": parts}, status=503)
        return web.json_response({"status": "healthy"})

    async with serving(anything) as url:
        code, found = await tried(tmp_path, url)
    assert code == 10
    assert found["live"]["holds"] is True
    assert found["ready"]["detail"] == "unhealthy: database is unhealthy"
    for name in ("published keys", "closed to strangers", "metrics not public"):
        assert found[name]["holds"] is False
    code, found = await tried(tmp_path, url)
    assert code == 10
    assert all(each["holds"] is not True for each in found.values())


async def test_a_certificate_is_for_the_name_it_is_asked_by(tmp_path: Path) -> None:
    """Trusted here, and for another name: nobody is to find that out from their callers."""

    async def fine(request: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})

    for name, days, told in (
        ("localhost", 90, "TLSv1.3, ends in"),
        ("caio.example", 90, "certificate"),
        ("localhost", 3, "ends in"),
    ):
        pair = self_signed(tmp_path, name, timedelta(days=days))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair)
        async with serving(fine, context) as url:
            _, found = await tried(tmp_path, url, SSL_CERT_FILE=str(pair))
        assert found["certificate"]["holds"] is (name == "localhost" and days == 90), found
        assert told in found["certificate"]["detail"]
        assert found["live"]["holds"] is (name == "localhost")


async def test_what_a_month_costs(tmp_path: Path) -> None:
    code, said = await run_caio(tmp_path, {}, "ops", "cost", "--environment", "dev", "--size", "small")
    assert code == 0
    assert "A month of dev, small, us-east-1:" in said
    assert "List prices as of" in said
    code, said = await run_caio(tmp_path, {}, "ops", "cost", "--spot", "--tasks", "9", "--json")
    told = json.loads(said)
    assert float(told["monthly"]) > float(told["monthly_of_the_profile"])
    assert round(sum(map(float, told["groups"].values())), 2) == float(told["monthly"])
    code, said = await run_caio(tmp_path, {}, "ops", "cost", "--region", "mars-1")
    assert (code, "--prices" in said) == (4, True)


@asynccontextmanager
async def serving(
    answer: Callable[[web.Request], Awaitable[web.Response]], context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    port = runner.addresses[0][1]
    try:
        yield f"https://localhost:{port}" if context else f"http://127.0.0.1:{port}"
    finally:
        await asyncio.shield(runner.cleanup())
