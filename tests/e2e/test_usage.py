"""Usage, budgets and storage through the real API and the command line."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import insert, update

from caio.foundation.quantity import read_nanos
from caio.storage.sql.tables_tenancy import tenants, usage
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import Served
from tests.support.caio_command import run_caio

MEASURES = ["calls", "failed", "input_tokens", "output_tokens", "compute_seconds", "cost", "breaches"]
HOUR = 3600


async def taken_in(caio: Served) -> None:
    await caio.installation.metering.rollup.catch_up(embedded_scope())


async def used(caio: Served, **query: str) -> dict[str, Any]:
    async with caio.http.get("/api/v1/usage", params=query) as answer:
        document: dict[str, Any] = await answer.json()
        assert answer.status == 200, document
    return document


async def key_with(caio: Served, *roles: str) -> dict[str, str]:
    async with caio.http.post("/api/v1/keys", json={"name": roles[0], "roles": roles}) as answer:
        return {"Authorization": f"Bearer {(await answer.json())['token']}"}


@pytest.fixture
async def busy(caio: Served) -> Served:
    """After calls of two services: five answered, two failed, one that broke its schema."""
    await caio.register("good")
    await caio.register("liar", "/echo", capabilities=["text.other"])
    await caio.register("broken", "/status/500", capabilities=["text.broken"])
    for _ in range(5):
        status, _, _ = await caio.orchestrate()
        assert status == 200
    for _ in range(2):
        await caio.orchestrate(capability="text.broken")
    await caio.orchestrate(capability="text.other", on_violation="report")
    await taken_in(caio)
    return caio


async def test_groups_add_up_and_say_what_happened(busy: Served) -> None:
    whole = await used(busy, group_by="")
    assert whole["groups"] == [whole["total"]]
    total = whole["total"]
    assert (total["calls"], total["failed"], total["breaches"]) == (8, 2, 1)
    assert read_nanos(total["cost"]) == 6_000_000
    assert (whole["currency"], whole["waiting"]) == ("USD", 0)
    for group_by in ("day", "service", "principal,capability", "day,principal,service,capability"):
        found = await used(busy, group_by=group_by)
        assert found["group_by"] == group_by.split(",")
        assert found["total"] == total
        assert sum(each["calls"] for each in found["groups"]) == 8
        assert all(list(each) == [*group_by.split(","), *MEASURES] for each in map(_ordered, found["groups"]))
    by_service = {each["service"]: each for each in (await used(busy, group_by="service"))["groups"]}
    assert {name: (each["calls"], each["failed"], each["breaches"]) for name, each in by_service.items()} == {
        "broken": (2, 2, 0),
        "good": (5, 0, 0),
        "liar": (1, 0, 1),
    }
    only = await used(busy, group_by="service", service="good", capability="text.sentiment")
    assert only["groups"] == [by_service["good"]]


def _ordered(group: dict[str, Any]) -> dict[str, Any]:
    order = ["day", "principal", "service", "capability", *MEASURES]
    return {name: group[name] for name in sorted(group, key=order.index)}


async def test_days_are_half_open_and_empty_is_empty(busy: Served) -> None:
    today = datetime.now(UTC).date()
    tomorrow, yesterday = today + timedelta(days=1), today - timedelta(days=1)
    full = await used(busy, **{"from": str(today), "to": str(tomorrow)})
    assert [(each["day"], each["calls"]) for each in full["groups"]] == [(str(today), 8)]
    empty = await used(busy, **{"from": str(yesterday), "to": str(today)})
    assert (empty["groups"], empty["total"]["calls"], empty["total"]["cost"]) == ([], 0, "0")
    assert (empty["from"], empty["to"]) == (str(yesterday), str(today))


async def test_what_cannot_be_asked(caio: Served) -> None:
    for query, pointer in (
        ({"group_by": "day,colour"}, "/query/group_by"),
        ({"from": "2026-02-30"}, "/query/from"),
        ({"from": "yesterday"}, "/query/from"),
        ({"from": "1700000000"}, "/query/from"),
        ({"from": "9999-12-31"}, "/query/from"),
        ({"from": "2026-02-02", "to": "2026-02-02"}, "/query/to"),
        ({"from": "2024-01-01", "to": "2026-01-01"}, "/query/to"),
    ):
        for path in ("/api/v1/usage", "/api/v1/usage.csv"):
            async with caio.http.get(path, params=query) as answer:
                problem = await answer.json(content_type=None)
                assert (answer.status, [each["pointer"] for each in problem["errors"]]) == (422, [pointer]), query


async def test_csv_reads_back_and_holds_no_formula(busy: Served) -> None:
    """Also where a name is a formula, with commas, quotes and line ends in it."""
    nasty = ['=HYPERLINK("http://x","a")', "+1,2", "-1", "@SUM(A1)", "\tx", 'two\r\nlines "quoted"']
    today = (datetime.now(UTC).date() - datetime(1970, 1, 1, tzinfo=UTC).date()).days
    row = {"tenant_id": "default", "day": today, "principal_id": "p", "capability": "c"}
    sums = dict.fromkeys(("calls", "failed", "input_tokens", "output_tokens", "compute_ms", "cost", "breaches"), 1)
    async with busy.installation.database.writing(embedded_scope()) as connection:
        await connection.execute(insert(usage), [{**row, **sums, "service_id": name} for name in nasty])
    async with busy.http.get("/api/v1/usage.csv", params={"group_by": "service"}) as answer:
        text = (await answer.read()).decode()
        assert answer.headers["content-type"].startswith("text/csv")
        assert "attachment" in answer.headers["content-disposition"]
    lines = list(csv.reader(io.StringIO(text, newline="")))
    assert lines[0] == ["service", *MEASURES, "currency"]
    assert text.endswith("\r\n")
    expected = (await used(busy, group_by="service"))["groups"]
    neutral = {f"'{name}" if name[0] in "=+-@\t" else name for name in nasty} | {"good", "liar", "broken"}
    assert {line[0] for line in lines[1:]} == neutral
    assert [line[1:-1] for line in lines[1:]] == [[str(each[name]) for name in MEASURES] for each in expected]


async def test_who_may_see_what(busy: Served) -> None:
    paths = {"/api/v1/usage": "usage", "/api/v1/usage.csv": "usage", "/api/v1/budget": "billing"}
    paths["/api/v1/tenants/default/usage"] = "platform"
    async with aiohttp.ClientSession(busy.url) as http:
        for path in paths:
            async with http.get(path) as answer:
                assert answer.status == 401
        for role, seen in (
            ("billing", {"usage", "billing"}),
            ("auditor", {"usage"}),
            ("developer", {"usage"}),
            ("service", set()),
            ("user", set()),
        ):
            headers = await key_with(busy, role)
            for path, of in paths.items():
                async with http.get(path, headers=headers) as answer:
                    assert (answer.status == 200) == (of in seen), (role, path)
                    assert answer.status in (200, 403)


async def test_operators_see_sums_by_day_alone(busy: Served) -> None:
    status, found = await busy.get("/api/v1/tenants/default/usage")
    assert status == 200, found
    assert found["total"]["calls"] == 8
    assert all(set(each) == {"day", *MEASURES} for each in found["groups"])
    status, by_service = await busy.get("/api/v1/tenants/default/usage?group_by=service")
    assert by_service["groups"] == found["groups"]
    unknown, invalid = [await busy.get(f"/api/v1/tenants/{name}/usage") for name in ("nobody", "NOT%20ONE")]
    assert unknown == invalid
    assert unknown[0] == 404


async def test_a_budget_is_stated(busy: Served) -> None:
    status, found = await busy.get("/api/v1/budget")
    assert status == 200
    assert (found["period"], found["budget"], found["left"], found["charged"]) == ("total", None, None, "0.006")
    assert (found["reserved"], found["thresholds"], found["currency"]) == ("0", [], "USD")
    await _quota(busy, quota_budget=10_000_000, budget_period="month", budget_alerts="[50,80]")
    _, found = await busy.get("/api/v1/budget")
    assert found["period"] == f"{datetime.now(UTC):%Y-%m}"
    assert found["starts_at"] < found["as_of"] < found["ends_at"]
    assert (found["budget"], found["charged"], found["left"]) == ("0.01", "0.006", "0.004")
    assert found["thresholds"] == [
        {"percent": 50, "amount": "0.005", "reached": True},
        {"percent": 80, "amount": "0.008", "reached": False},
    ]


async def _quota(caio: Served, **columns: object) -> None:
    """Change the tenant's row, and have the process look at it."""
    async with caio.installation.database.writing(embedded_scope()) as connection:
        await connection.execute(update(tenants).values(columns))
    caio.installation.authenticator._cache.clear()


async def test_a_full_tenant_is_refused_until_there_is_room(busy: Served) -> None:
    metering = busy.installation.metering
    taken = await metering.storage_measure.measure(embedded_scope())
    status, found = await busy.get("/api/v1/usage")
    assert found["storage"][-1]["bytes"] == taken > 10_000
    metering.storage_gauge.forget("default")
    await _quota(busy, quota_storage_bytes=taken)
    before = await busy.get("/api/v1/decisions")
    status, problem, headers = await busy.orchestrate()
    assert (status, problem["code"], headers["Retry-After"]) == (429, "rate_limited", str(HOUR))
    assert f"{taken:,}" in problem["detail"]
    assert "storage" in headers["RateLimit-Policy"]
    chat = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
    for body in (chat, chat | {"stream": True}):
        async with busy.http.post("/v1/chat/completions", json=body) as answer:
            assert answer.status == 429
    async with busy.http.post("/api/v1/services", json={"service_id": "x"} | await _contract(busy)) as answer:
        assert (answer.status, (await answer.json())["code"]) == (409, "quota_exceeded")
    assert await busy.get("/api/v1/decisions") == before
    await _quota(busy, quota_storage_bytes=taken + 100_000)
    status, _, _ = await busy.orchestrate()
    assert status == 200


async def _contract(caio: Served) -> dict[str, Any]:
    _, found = await caio.get("/api/v1/services/good")
    return {name: value for name, value in found["document"].items() if name != "service_id"}


async def test_the_command_line_shows_it(busy: Served, tmp_path: Path) -> None:
    settings = {"CAIO_URL": busy.url, "CAIO_API_KEY": busy.token, "CAIO_DATA_DIR": str(busy.data_dir)}

    async def caio(*arguments: object) -> str:
        code, text = await run_caio(tmp_path, settings, *arguments)
        assert code == 0, text
        return text

    table, as_csv, as_json, budget = await asyncio.gather(
        caio("usage", "--by", "service,capability"),
        caio("usage", "--by", "service", "--csv"),
        caio("usage", "--by", "service", "--json"),
        caio("budget"),
    )
    assert [line.split()[:3] for line in table.splitlines()[1:5]] == [
        ["broken", "text.broken", "2"],
        ["good", "text.sentiment", "5"],
        ["liar", "text.other", "1"],
        ["all", "8", "2"],
    ]
    assert len(list(csv.reader(io.StringIO(as_csv)))) == 4
    assert json.loads(as_json)["groups"] == (await used(busy, group_by="service"))["groups"]
    assert "0.006 USD" in budget
    code, refused = await run_caio(tmp_path, settings, "usage", "--by", "colour")
    assert code != 0
    assert "colour" in refused


async def test_a_rebuild_and_a_recount_from_the_log_are_equal(busy: Served, tmp_path: Path) -> None:
    settings = {"CAIO_URL": busy.url, "CAIO_API_KEY": busy.token, "CAIO_DATA_DIR": str(busy.data_dir)}
    before = await used(busy, group_by="day,principal,service,capability")
    code, text = await run_caio(tmp_path, settings, "usage", "rebuild")
    assert code == 0, text
    rebuilt = await used(busy, group_by="day,principal,service,capability")
    assert rebuilt["groups"] == before["groups"]
    code, text = await run_caio(tmp_path, settings, "audit", "export", "log")
    assert code == 0, text
    code, text = await run_caio(
        tmp_path, settings, "usage", "recount", "log", "--by", "day,principal,service,capability", "--json"
    )
    assert code == 0, text
    recounted = json.loads(text)
    assert (recounted["groups"], recounted["total"]) == (before["groups"], before["total"])
    assert recounted["unexplained"] == 0
