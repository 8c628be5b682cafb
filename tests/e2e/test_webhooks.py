"""Events over HTTP: webhooks made, told, rotated and deleted, and the tenant's events as a page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.e2e.conftest import Served
from tests.support.webhook_receiver import WebhookReceiver, verified, webhook_receiver

WaitFor = Callable[..., Awaitable[Any]]


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with webhook_receiver() as running:
        yield running


async def call(
    caio: Served, method: str, path: str, body: Any = None, status: int = 200, token: str | None = None
) -> Any:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with caio.http.request(method, f"/api/v1/{path}", json=body, headers=headers) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(content_type=None)


async def subscribed(caio: Served, receiver: WebhookReceiver, *types: str) -> Any:
    body = {"url": f"{receiver.url}/hook", "types": list(types) or ["caio.key."]}
    return await call(caio, "POST", "webhooks", body, 201)


async def test_what_happens_is_told_to_a_webhook(
    caio: Served, receiver: WebhookReceiver, wait_for_async: WaitFor
) -> None:
    made = await subscribed(caio, receiver)
    key = await call(caio, "POST", "keys", {"name": "reader"}, 201)
    await wait_for_async(lambda: receiver.received)
    (got,) = receiver.received
    assert verified(made["secret"], got.headers, got.body)
    assert got.document["type"] == "caio.key.created"
    assert got.document["subject"] == key["key_id"]
    assert got.document["source"] == "/tenants/default"
    assert "reader" not in got.body.decode(), "details stay in the log"
    told = await call(caio, "GET", f"audit/entries/{got.document['data']['seq']}")
    assert "key.created" in str(told)
    assert "reader" in str(told)

    async def delivered() -> Any:
        items = (await call(caio, "GET", f"webhooks/{made['webhook_id']}/deliveries"))["items"]
        return items if items[0]["delivered_at"] else None

    (item,) = await wait_for_async(delivered)
    assert (item["event_id"], item["state"], item["attempts"], item["status"]) == (
        got.headers["webhook-id"],
        "delivered",
        1,
        "200",
    )


async def test_a_secret_is_shown_once_and_stored_sealed(caio: Served, receiver: WebhookReceiver) -> None:
    made = await subscribed(caio, receiver)
    listed = await call(caio, "GET", "webhooks")
    shown = await call(caio, "GET", f"webhooks/{made['webhook_id']}")
    assert listed["items"] == [shown]
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    stored = b"".join(path.read_bytes() for path in caio.data_dir.glob("caio.db*"))
    assert made["secret"].removeprefix("whsec_").encode() not in stored
    assert made["webhook_id"].encode() in stored


async def test_a_test_is_delivered_at_once(caio: Served, receiver: WebhookReceiver) -> None:
    made = await subscribed(caio, receiver)
    path = f"webhooks/{made['webhook_id']}/test"
    assert await call(caio, "POST", path) == {"delivered": True, "status": "200"}
    assert verified(made["secret"], receiver.received[0].headers, receiver.received[0].body)
    assert receiver.types() == ["caio.webhook.tested"]
    receiver.status = 500
    assert await call(caio, "POST", path) == {"delivered": False, "status": "500"}
    items = (await call(caio, "GET", "events?type=caio.webhook.tested"))["items"]
    assert [each["subject"] for each in items] == [made["webhook_id"]] * 2


async def test_a_rotated_secret_signs_beside_the_old_one(caio: Served, receiver: WebhookReceiver) -> None:
    made = await subscribed(caio, receiver)
    path = f"webhooks/{made['webhook_id']}"
    fresh = await call(caio, "POST", f"{path}/rotate", {"overlap_seconds": 60})
    assert fresh["secret"] != made["secret"]
    await call(caio, "POST", f"{path}/test")
    got = receiver.received[-1]
    assert verified(made["secret"], got.headers, got.body)
    assert verified(fresh["secret"], got.headers, got.body)
    last = await call(caio, "POST", f"{path}/rotate", {"overlap_seconds": 0})
    await call(caio, "POST", f"{path}/test")
    got = receiver.received[-1]
    assert [verified(each["secret"], got.headers, got.body) for each in (made, fresh, last)] == [False, False, True]
    await call(caio, "POST", f"{path}/rotate", {"overlap_seconds": 10**9}, 422)


NEVER_CALLED = (
    "http://example.com/hook",
    "https://169.254.169.254/latest/meta-data",
    "https://10.0.0.1/hook",
    "http://10.0.0.1/hook",
    "https://user:secret@example.com/hook",
    "https://example.com/hook#part",
    "https://127.1/hook",
    "https://0x7f000001/hook",
    "ftp://example.com/hook",
    "//example.com/hook",
    "https:///hook",
    "https://example.com/ho ok",
    "https://exämple.com/hook",
    "https://example.com/" + "x" * 2100,
    "not a url",
    "",
)
NO_TYPES: tuple[list[Any], ...] = ([], ["*"], ["tenant."], ["caio.key"], ["caio."] * 33, ["caio.Key."], [7])


async def test_addresses_that_are_never_called_are_refused(caio: Served) -> None:
    for url in NEVER_CALLED:
        problem = await call(caio, "POST", "webhooks", {"url": url}, 422)
        assert [each["pointer"] for each in problem["errors"]] == ["/url"], url
    assert (await call(caio, "GET", "webhooks"))["items"] == []


async def test_types_that_no_event_has_are_refused(caio: Served) -> None:
    for types in NO_TYPES:
        problem = await call(caio, "POST", "webhooks", {"url": "https://example.com", "types": types}, 422)
        assert problem["errors"][0]["pointer"].startswith("/types"), types


async def test_members_that_are_not_ours_to_set_are_refused(caio: Served) -> None:
    for name in ("webhook_id", "tenant_id", "secret", "disabled_at"):
        await call(caio, "POST", "webhooks", {"url": "https://example.com", name: "x"}, 422)


async def test_a_tenant_has_so_many_webhooks(caio: Served) -> None:
    wish = {"url": "https://example.com", "types": ["caio.policy."]}  # nothing of which happens: nobody is asked
    for _ in range(20):
        await call(caio, "POST", "webhooks", wish, 201)
    problem = await call(caio, "POST", "webhooks", wish, 409)
    assert problem["code"] == "quota_exceeded"


async def test_who_may_not_manage_webhooks(caio: Served, receiver: WebhookReceiver) -> None:
    made = await subscribed(caio, receiver)
    user = await call(caio, "POST", "keys", {"name": "u", "roles": ["user"]}, 201)
    developer = await call(caio, "POST", "keys", {"name": "d", "roles": ["developer"]}, 201)
    path = f"webhooks/{made['webhook_id']}"
    for method, where in (("GET", path), ("DELETE", path), ("POST", f"{path}/test"), ("GET", "webhooks")):
        await call(caio, method, where, None, 403, developer["token"])
    await call(caio, "GET", "events", None, 403, user["token"])
    await call(caio, "GET", "events", None, 200, developer["token"])
    for method, where in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/test"),
        ("POST", "/enable"),
        ("GET", "/deliveries"),
    ):
        await call(caio, method, f"webhooks/whk_unknown{where}", None, 404)


async def test_a_deleted_webhook_is_gone(caio: Served, receiver: WebhookReceiver) -> None:
    made = await subscribed(caio, receiver)
    path = f"webhooks/{made['webhook_id']}"
    assert (await call(caio, "DELETE", path))["webhook_id"] == made["webhook_id"]
    await call(caio, "GET", path, None, 404)
    await call(caio, "DELETE", path, None, 404)


async def test_events_are_read_in_pages(caio: Served) -> None:
    for number in range(5):
        await call(caio, "POST", "keys", {"name": f"key {number}"}, 201)
    newest = await call(caio, "GET", "events?limit=2&type=caio.key.created")
    assert len(newest["items"]) == 2
    seqs = [each["data"]["seq"] for each in newest["items"]]
    assert seqs == sorted(seqs, reverse=True)
    assert newest["next_after"] == seqs[0]
    older = await call(caio, "GET", f"events?limit=200&type=caio.key.created&before={newest['next_before']}")
    assert [each["data"]["seq"] for each in older["items"]] == sorted(
        (each["data"]["seq"] for each in older["items"]), reverse=True
    )
    assert len(older["items"]) == 4, "with the first key"
    assert older["next_before"] is None
    ahead = await call(caio, "GET", f"events?after={newest['next_after']}")
    assert (ahead["items"], ahead["next_after"]) == ([], newest["next_after"])
    await call(caio, "POST", "keys", {"name": "one more"}, 201)
    ahead = await call(caio, "GET", f"events?after={newest['next_after']}")
    assert [each["type"] for each in ahead["items"]] == ["caio.key.created"]
    first = await call(caio, "GET", "events?after=-1&limit=1")
    assert first["items"][0]["type"] == "caio.tenant.created"
    await call(caio, "GET", "events?type=caio", None, 422)
    await call(caio, "GET", "events?before=x", None, 422)


async def test_every_act_but_reading_is_an_event(caio: Served) -> None:
    await call(caio, "POST", "keys", {"name": "one"}, 201)
    await call(caio, "GET", "audit/entries")
    page = await call(caio, "GET", "events?after=-1&limit=200")
    acts = await call(caio, "GET", "audit/entries?limit=100")
    told = {each["action"] for each in acts["items"] if each["kind"] != "access"}
    assert {each["type"] for each in page["items"]} == {f"caio.{action}" for action in told}
    assert "audit.read" in {each["action"] for each in acts["items"]}


async def test_the_worker_is_part_of_readiness(caio: Served) -> None:
    status, health = await caio.get("/health/ready")
    assert status == 200
    assert health["components"]["worker"]["status"] == "healthy"
