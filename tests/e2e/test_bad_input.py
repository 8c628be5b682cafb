"""Bad input, one table a surface: the status, the code, every place that is wrong, and nothing half-written."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pytest
import yarl

from tests.e2e.conftest import Served, contract
from tests.support.upstreams import raw_server

SERVICES, POLICIES = "/api/v1/services", "/api/v1/policies"
KEYS, DECISIONS = "/api/v1/keys", "/api/v1/decisions"
ORCHESTRATE, ROUTE, CHAT = "/api/v1/orchestrate", "/api/v1/route", "/v1/chat/completions"
LISTS = (SERVICES + "?retired=true", POLICIES, KEYS, DECISIONS)

REQUIRED = ("/api", "/capabilities", "/name", "/service_id", "/version")
POLICY = {"id": "no-one", "version": 1, "effect": "forbid", "when": "true", "then": "true", "attach": "request"}


@dataclass(frozen=True)
class Bad:
    """One bad input and the answer it deserves. ``pointers`` are those of ``errors``, sorted."""

    what: str
    method: str
    path: str
    body: Any
    status: int
    code: str
    pointers: Sequence[str] = ()
    headers: dict[str, str] = field(default_factory=dict)


def document(**changes: Any) -> dict[str, Any]:
    return contract("fine", "http://127.0.0.1:1") | changes


def wish(**changes: Any) -> dict[str, Any]:
    return {"request": {"capability": "text.sentiment", "payload": {"text": "Fine."}} | changes}


def policy(**changes: Any) -> dict[str, Any]:
    return {**POLICY, **changes}


async def listings(caio: Served) -> list[Any]:
    """Everything a tenant can list."""
    found = []
    for path in LISTS:
        status, page = await caio.get(path)
        assert status == 200
        found.append(page)
    return found


async def assert_refused(caio: Served, table: Sequence[Bad]) -> None:
    """Every row is answered as it says, in its surface's shape, and leaves no trace behind."""
    before = await listings(caio)
    wanted = {bad.what: (bad.status, bad.code, sorted(bad.pointers)) for bad in table}
    assert len(wanted) == len(table)
    assert {bad.what: await answered(caio, bad) for bad in table} == wanted
    assert await listings(caio) == before
    assert not caio.service.received


async def answered(caio: Served, bad: Bad) -> tuple[int, str, list[str]]:
    body = (
        bad.body if bad.body is None or isinstance(bad.body, bytes | BytesIO | AsyncIterator) else json.dumps(bad.body)
    )
    url = yarl.URL(caio.url + bad.path, encoded=True)
    async with caio.http.request(bad.method, url, data=body, headers=bad.headers) as answer:
        told = await answer.json(content_type=None)
    if bad.path.startswith("/v1/"):
        error = told["error"]
        assert error["message"]
    else:
        error = told
        assert answer.headers["content-type"] == "application/problem+json"
        assert (error["status"], error["type"]) == (answer.status, f"urn:caio:error:{error['code']}")
        assert error["detail"]
    assert all(each["detail"] for each in error.get("errors", ()))
    return answer.status, error["code"], sorted(each["pointer"] for each in error.get("errors", ()))


@pytest.mark.parametrize("path", [SERVICES, SERVICES + "/validate"])
async def test_a_contract(caio: Served, path: str) -> None:
    def bad(what: str, body: Any, *pointers: str) -> Bad:
        return Bad(what, "POST", path, body, 422, "invalid_contract", pointers)

    await assert_refused(
        caio,
        [
            bad("nothing", b"", ""),
            bad("malformed YAML", b"service_id: [fine\nname: {", ""),
            bad("malformed JSON", b'{"service_id": ', ""),
            bad("a tab", b"api:\n\tbase_url: x", ""),
            bad("invalid UTF-8", b'{"name": "\xff\xfe"}', ""),
            bad("a NUL", b'name: "\x00"', ""),
            bad("half a character", b'{"name": "\\ud800"}', *REQUIRED),
            bad("no mapping", [1], ""),
            bad("not a number", b'{"service_id": NaN}', ""),
            bad("too deep", b"[" * 50_000, ""),
            bad("aliases that multiply", b"a: &a [1,1,1,1,1,1,1,1,1,1]\n" + doubling(20), ""),
            bad("a name given twice", b"service_id: a\nservice_id: b\n", *REQUIRED),
            bad("a tag that would run", b"a: !!python/object/apply:os.abort []", "/a", *REQUIRED),
            bad(
                "wrong types everywhere",
                document(name=1, version=2, tags="x", capabilities={}, guarantees=[], cost="x"),
                *("/capabilities", "/cost", "/guarantees", "/name", "/tags", "/version"),
            ),
            bad("no version", document(version="1"), "/version"),
            bad("an impossible name", document(service_id="Not Fine"), "/service_id"),
            bad("a broken schema", document(api={**document()["api"], "base_url": "ftp://x"}), "/api/base_url"),
        ],
    )


def doubling(times: int) -> bytes:
    """YAML whose aliases stand for 10 · 2^times values."""
    names = "abcdefghijklmnopqrstuvwxyz"
    return b"".join(f"{names[i + 1]}: &{names[i + 1]} [*{names[i]}, *{names[i]}]\n".encode() for i in range(times))


async def test_an_unknown_field_is_a_warning_with_its_place(caio: Served) -> None:
    async with caio.http.post(SERVICES, json=document(colour="red")) as answer:
        told = await answer.json()
    assert (answer.status, [(each["pointer"], each["line"]) for each in told["warnings"]]) == (201, [("/colour", 1)])


async def test_a_version(caio: Served) -> None:
    await caio.register("fine")
    other = contract("other", "http://127.0.0.1:1", "/counted") | {"version": "1.1.0"}

    def bad(what: str, body: Any, status: int, code: str, *pointers: str, etag: str | None = '"1"') -> Bad:
        headers = {} if etag is None else {"If-Match": etag}
        return Bad(what, "PUT", SERVICES + "/fine", body, status, code, pointers, headers)

    following = document(version="1.1.0")
    await assert_refused(
        caio,
        [
            Bad("registered before", "POST", SERVICES, document(), 409, "already_exists"),
            Bad("registered before, otherwise", "POST", SERVICES, document(name="Another"), 409, "already_exists"),
            bad("without If-Match", following, 412, "if_match_required", etag=None),
            bad("with an old If-Match", following, 412, "precondition_failed", etag='"7"'),
            bad("with no ETag", following, 422, "invalid_input", "/header/if-match", etag="zz"),
            bad("a version that exists", document(), 409, "version_exists"),
            bad("another service's", other, 422, "name_mismatch", "/service_id"),
            bad("not valid", b"{", 422, "invalid_contract", ""),
            Bad("unknown", "PUT", SERVICES + "/nobody", contract("nobody", "http://127.0.0.1:1"), 404, "not_found",
                headers={"If-Match": '"1"'}),
        ],
    )  # fmt: skip


async def test_a_policy(caio: Served) -> None:
    async with caio.http.post(POLICIES, json=policy(id="taken")) as answer:
        assert answer.status == 201, await answer.text()

    def bad(what: str, body: Any, *pointers: str) -> Bad:
        return Bad(what, "POST", POLICIES, body, 422, "invalid_policy", pointers)

    await assert_refused(
        caio,
        [
            bad("malformed YAML", b"id: [x", ""),
            bad("invalid UTF-8", b"id: \xff", ""),
            bad("almost nothing", {"id": "p"}, "/effect", "/then", "/version"),
            bad("an unknown effect", policy(effect="may"), "/effect"),
            bad("an unfinished condition", policy(when="request.sensitive &&"), "/when"),
            bad("an unknown field", policy(then="service.colour == 'red'"), "/then"),
            bad("no truth value", policy(then="1"), "/then"),
            bad("types that do not fit", policy(then="1 + 'a' == 2"), "/then"),
            bad("two bad expressions", policy(when="1", then="2"), "/then", "/when"),
            bad("an endless expression", policy(then="true || " * 20_000 + "true"), "/then"),
            Bad("saved before", "POST", POLICIES, policy(id="taken"), 409, "already_exists"),
        ],
    )


@pytest.mark.parametrize("path", [ORCHESTRATE, ROUTE, "/api/v1/discover"])
async def test_a_request(caio: Served, path: str) -> None:
    await caio.register("fine")

    def bad(what: str, body: Any, *pointers: str, code: str = "invalid_request") -> Bad:
        return Bad(what, "POST", path, body, 422, code, pointers)

    await assert_refused(
        caio,
        [
            bad("nothing", b"", ""),
            bad("malformed", b"{", ""),
            bad("invalid UTF-8", b'{"request": {"capability": "\xff"}}', ""),
            bad("too deep", b'{"request": {"payload": ' + b"[" * 50_000, ""),
            bad("a list", [], ""),
            bad("empty", {}, "/request"),
            bad("unknown fields", {**wish(colour=1), "more": 1}, "/more", "/request/colour"),
            bad(
                "wrong types everywhere",
                wish(capability=1, requirements=[], constraints=3, sensitive="yes", deadline_ms="1"),
                *(f"/request/{name}" for name in ("capability", "constraints", "deadline_ms", "requirements")),
                "/request/sensitive",
            ),
            bad("no capability", {"request": {}}, "/request/capability"),
            bad(
                "more features than questions have numbers",
                wish(requirements={"features": [f"f{number}" for number in range(9_000)]}),
                "/request/requirements/features",
            ),
            bad("a negative weight", wish(objective={"weights": {"cost": -1}}), "/request/objective/weights/cost"),
            bad("an unknown weight", wish(objective={"weights": {"luck": 1}}), "/request/objective/weights/luck"),
            bad("no weight", wish(objective={"weights": {"cost": 0}}), "/request/objective"),
            bad("no statistic", wish(requirements={"accuracy": {"p4": 1}}), "/request/requirements/accuracy/p4"),
            bad("no seed", wish(seed=True), "/request/seed"),
            bad("half a seed", wish(seed=0.5), "/request/seed"),
            bad("no price", wish(requirements={"max_cost": "free"}), "/request/requirements/max_cost"),
            bad("an unknown policy", {**wish(), "policies": ["nobody"]}, "/policies/0", code="invalid_policy"),
            bad(
                "policies that do not compile",
                {**wish(), "policies": [policy(when="request."), policy(id="b", then="1")]},
                *("/policies/0/when", "/policies/1/then"),
                code="invalid_policy",
            ),
        ],
    )  # fmt: skip


async def test_a_refusal_to_read_says_the_first_mistake_in_its_sentence(caio: Served) -> None:
    status, problem, _ = await caio.orchestrate(sensitive="yes", objective={"weights": {"cost": 0}})
    assert status == 422
    assert (
        problem["detail"] == "the request is not valid: /request/sensitive: Input should be a valid boolean; and 1 more"
    )
    assert [each["detail"] for each in problem["errors"]][1] == "at least one weight must be above 0"


async def test_a_seed_may_be_a_number(caio: Served) -> None:
    """Not bad input: a number stands for its digits."""
    await caio.register("fine")
    hashes = set()
    for seed in (7, "7"):
        async with caio.http.post(ROUTE, json=wish(seed=seed)) as answer:
            hashes.add((answer.status, (await answer.json())["decision_hash"]))
    assert {status for status, _ in hashes} == {200}
    assert len(hashes) == 1


async def test_a_chat(caio: Served) -> None:
    def bad(what: str, body: Any, *pointers: str) -> Bad:
        return Bad(what, "POST", CHAT, body, 422, "invalid_request", pointers)

    await assert_refused(
        caio,
        [
            bad("malformed", b"{{", ""),
            bad("invalid UTF-8", b'{"model": "\xff"}', ""),
            bad("empty", {}, "/messages", "/model"),
            bad("wrong types", {"model": 1, "messages": "Hello"}, "/messages", "/model"),
        ],
    )


async def test_an_address(caio: Served) -> None:
    match = {"If-Match": '"1"'}
    nowhere = "dec_01m7y2rfd73sne4ncydjt3w9aa"
    await assert_refused(
        caio,
        [
            Bad("no service", "GET", SERVICES + "/nobody", None, 404, "not_found"),
            Bad("no service to retire", "DELETE", SERVICES + "/nobody", None, 404, "not_found", headers=match),
            Bad("no policy", "GET", POLICIES + "/nobody", None, 404, "not_found"),
            Bad("no key", "DELETE", KEYS + "/key_nobody", None, 404, "not_found"),
            Bad("no decision", "GET", f"{DECISIONS}/{nowhere}", None, 404, "not_found"),
            Bad("no receipt", "GET", f"{DECISIONS}/{nowhere}/receipt", None, 404, "not_found"),
            Bad("no evidence", "GET", f"{DECISIONS}/{nowhere}/evidence", None, 404, "not_found"),
            Bad("no trace", "GET", f"/api/v1/trace/{nowhere}", None, 404, "not_found"),
            Bad("no path", "GET", "/api/v1/nowhere", None, 404, "no_such_path"),
            Bad("no path of OpenAI's", "GET", "/v1/nowhere", None, 404, "no_such_path"),
            Bad("another method", "PATCH", SERVICES, None, 405, "method_not_allowed"),
            Bad("not a name", "GET", SERVICES + "/Not%20Fine", None, 422, "invalid_request", ["/path/service_id"]),
            Bad("bytes for a name", "GET", SERVICES + "/%ff", None, 422, "invalid_request", ["/path/service_id"]),
            Bad("an empty page", "GET", SERVICES + "?limit=0", None, 422, "invalid_request", ["/query/limit"]),
            Bad("a huge page", "GET", DECISIONS + "?limit=201", None, 422, "invalid_request", ["/query/limit"]),
            Bad("no cursor", "GET", DECISIONS + "?before=x", None, 422, "invalid_input", ["/query/before"]),
        ],
    )


async def test_an_idempotency_key(caio: Served) -> None:
    def bad(what: str, path: str, key: str) -> Bad:
        return Bad(
            what, "POST", path, wish(), 422, "invalid_header", ["/header/idempotency-key"], {"Idempotency-Key": key}
        )

    await assert_refused(
        caio,
        [bad("empty", ORCHESTRATE, ""), bad("too long", ORCHESTRATE, "k" * 256), bad("of OpenAI's", CHAT, "k" * 256)],
    )


async def test_a_body_beyond_the_limit(caio: Served) -> None:
    """With its length announced, and without."""
    size = caio.installation.max_body_bytes + 1

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 65_536):
            yield b" " * min(65_536, size - start)

    paths = (SERVICES, SERVICES + "/validate", POLICIES, ORCHESTRATE, ROUTE, CHAT)
    table = [Bad(f"announced: {path}", "POST", path, BytesIO(b" " * size), 413, "too_large") for path in paths]
    table += [Bad(f"chunked: {path}", "POST", path, pieces(), 413, "too_large") for path in paths]
    await assert_refused(caio, table)


def answering(content: bytes, kind: str = "application/json", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    return head.encode() + content


GARBAGE = {
    "half a document": (answering(b'{"label": tru'), "garbage"),
    "no number": (answering(b'{"label": NaN}'), "garbage"),
    "invalid UTF-8": (answering(b'{"label": "\xff\xfe"}'), "garbage"),
    "too deep": (answering(b"[" * 50_000), "garbage"),
    "nothing": (answering(b""), "garbage"),
    "a page": (answering(b"<html>", "text/html"), "garbage"),
    "an error page": (answering(b"\xff", "text/html", "500 Oh"), "upstream"),
    "another protocol": (b"220 smtp.example ESMTP\r\n", "garbage"),
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_a_service_that_answers_garbage(caio: Served, what: str) -> None:
    """A clear error that names the service, an outcome on record, and nothing charged."""
    answer, fault = GARBAGE[what]
    async with raw_server(answer) as url:
        await caio.register("rambler", api=contract("rambler", url)["api"])
        status, problem, headers = await caio.orchestrate()
    assert (status, problem["code"], problem["fault"]) == (502, "upstream_failed", fault)
    assert "rambler" in problem["detail"]
    _, page = await caio.get(DECISIONS)
    (decision,) = page["items"]
    assert (decision["decision_id"], decision["status"]) == (headers["x-caio-decision-id"], "failed")
    assert decision["charged"] == "0"
