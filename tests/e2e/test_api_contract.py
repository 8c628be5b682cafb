"""The API as its OpenAPI document states it: who may call what, and that no input breaks it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from caio.api.control_plane import control_plane
from caio.api.openapi import document
from caio.tenancy.throttle import Throttle
from tests.e2e.conftest import Served, served
from tests.support.upstreams import Upstream

PUBLIC = {"/health", "/health/live", "/health/ready", "/.well-known/caio-keys.json"}
SCHEMA: dict[str, Any] = document(control_plane(None))  # type: ignore[arg-type]
OPERATIONS = [(method.upper(), path) for path, methods in SCHEMA["paths"].items() for method in methods]

GENERATORS = schemathesis.openapi.from_dict(json.loads(json.dumps(SCHEMA)))

#: What a caller with only the role ``service`` may do, beyond reading.
FOR_SERVICES = {("POST", "/api/v1/orchestrate"), ("POST", "/api/v1/route"), ("POST", "/api/v1/discover")} | {
    ("POST", path)
    for path in (
        "/v1/chat/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/api/v1/plan",
        "/api/v1/workflows/runs",
        "/api/v1/workflows/runs/{run_id}/cancel",
    )
}
READABLE_BY_SERVICES = (
    "/api/v1/me",
    "/api/v1/services/{service_id}/limits",
    "/api/v1/services",
    "/api/v1/services/{service_id}",
    "/api/v1/services/{service_id}/health",
    "/api/v1/services/{service_id}/observed",
    "/api/v1/models/aliases",
    "/api/v1/models/aliases/{alias}",
    "/api/v1/workflows/runs",
    "/api/v1/workflows/runs/{run_id}",
    "/api/v1/workflows/runs/{run_id}/events",
    "/v1/models",
    "/v1/models/{model}",
    "/v1/responses/{response_id}",
)


def concrete(path: str) -> str:
    return (
        path.replace("{service_id}", "x")
        .replace("{policy_id}", "x")
        .replace("{key_id}", "x")
        .replace("{decision_id}", "dec_x")
    )


async def status_of(caio: Served, method: str, path: str, token: str | None) -> int:
    headers = {"Authorization": f"Bearer {token}" if token else ""}
    async with caio.http.request(method, concrete(path), data=b"{}", headers=headers) as answer:
        await answer.read()
        return answer.status


async def test_every_operation_but_the_public_ones_needs_a_credential(
    caio: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(OPERATIONS) > 25
    patient = Throttle(failures=10**6)  # so many failures would be held up
    monkeypatch.setattr(caio.installation.authenticator._attempts, "_throttle", patient)
    for method, path in OPERATIONS:
        for token in (None, "caio_deve_not-a-key", "x" * 600):
            status = await status_of(caio, method, path, token)
            assert status == (200 if path in PUBLIC else 401), (method, path, token, status)


async def test_a_role_permits_what_it_says_and_no_more(caio: Served) -> None:
    async with caio.http.post("/api/v1/keys", json={"name": "caller", "roles": ["service"]}) as answer:
        token = (await answer.json())["token"]
    otherwise = []
    for method, path in OPERATIONS:
        if (method, path) == ("POST", "/api/v1/invitations/accept"):
            continue  # a key is no credential there: 401
        permitted = (
            path in PUBLIC or (method, path) in FOR_SERVICES or (method == "GET" and path in READABLE_BY_SERVICES)
        )
        status = await status_of(caio, method, path, token)
        if (status != 403) != permitted:
            otherwise.append((method, path, status))
    assert otherwise == []


async def test_a_revoked_key_is_refused_at_once(caio: Served) -> None:
    async with caio.http.post("/api/v1/keys", json={"name": "short-lived"}) as answer:
        key = await answer.json()
    assert await status_of(caio, "GET", "/api/v1/services", key["token"]) == 200
    async with caio.http.delete(f"/api/v1/keys/{key['key_id']}") as answer:
        assert answer.status == 200
    assert await status_of(caio, "GET", "/api/v1/services", key["token"]) == 401


async def test_a_key_cannot_give_more_than_it_has(caio: Served) -> None:
    async with caio.http.post("/api/v1/keys", json={"name": "x", "roles": ["developer"]}) as answer:
        developer = (await answer.json())["token"]
    headers = {"Authorization": f"Bearer {developer}"}
    async with caio.http.post("/api/v1/keys", json={"name": "y", "roles": ["admin"]}, headers=headers) as answer:
        assert answer.status == 403
    async with caio.http.post("/api/v1/keys", json={"name": "y", "roles": ["user"], "tenant_id": "b"}) as answer:
        assert answer.status == 422


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, template: tuple[Path, str]) -> Iterator[tuple[str, str]]:
    """The API in a thread of its own, for a synchronous caller: its URL and key."""
    folder, token = template
    data_dir = tmp_path_factory.mktemp("fuzzed") / "data"
    shutil.copytree(folder, data_dir)
    ready, stop, found = threading.Event(), asyncio.Event(), []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with served(data_dir, token, Upstream()) as caio:
            found.append(caio.url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    yield found[0], token
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[" ".join(each) for each in OPERATIONS])
def test_no_generated_input_breaks_an_operation(running: tuple[str, str], method: str, path: str) -> None:
    url, token = running
    operation = GENERATORS[path][method]

    @settings(max_examples=6, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        response = case.call(base_url=url, headers={"Authorization": f"Bearer {token}"})
        assert response.status_code < 500, response.text
        case.validate_response(
            response, checks=[status_code_conformance, content_type_conformance, response_schema_conformance]
        )

    check()


def test_the_document_is_served_and_has_no_default_error_shape(running: tuple[str, str]) -> None:
    with urllib.request.urlopen(f"{running[0]}/openapi.json") as answer:
        assert json.loads(answer.read()) == json.loads(json.dumps(SCHEMA))
    assert "HTTPValidationError" not in json.dumps(SCHEMA)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{running[0]}/nowhere")
    assert json.loads(caught.value.read())["code"] == "no_such_path"


def test_the_docs_page_needs_nobody_elses_server(running: tuple[str, str]) -> None:
    with urllib.request.urlopen(f"{running[0]}/docs") as answer:
        page = answer.read().decode()
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(sources) == 3
    for source in sources:
        assert source.startswith("/docs/assets/")
        with urllib.request.urlopen(running[0] + source) as answer:
            assert answer.status == 200
