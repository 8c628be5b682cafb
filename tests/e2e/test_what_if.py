"""What-if through the real API: a change tried on recorded decisions, beside what the change then does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from caio.audit.ports import StoredLeaf
from caio.tenancy.authentication import embedded_scope
from caio.tenancy.ports import Quotas, Tenant, TenantStatus
from tests.e2e.conftest import Served, contract

Document = dict[str, Any]

CHEAPEST = {"weights": {"cost": 1}}
ANYONE: Document = {"capability": "text.sentiment", "objective": CHEAPEST}


def costing(caio: Served, service_id: str, price: str, **changes: Any) -> Document:
    cost = {"currency": "USD", "per_request": price}
    return contract(service_id, caio.service.url) | {"cost": cost} | changes


def policy(policy_id: str, effect: str, then: str, **parts: Any) -> Document:
    return {"id": policy_id, "version": 1, "effect": effect, "then": then} | parts


async def send(caio: Served, method: str, path: str, document: Any = None, **headers: str) -> tuple[int, Any]:
    async with caio.http.request(method, f"/api/v1/{path}", json=document, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def done(caio: Served, method: str, path: str, document: Any = None, **headers: str) -> Any:
    status, answer = await send(caio, method, path, document, **headers)
    assert status < 300, answer
    return answer


async def route(caio: Served, **request: Any) -> str | None:
    """The winner, or None for a refusal."""
    status, answer = await send(caio, "POST", "route", {"request": ANYONE | request})
    assert status == 200 or answer["code"] == "no_service_satisfies", answer
    return answer["service"]["service"] if status == 200 else None


async def what_if(caio: Served, **wanted: Any) -> Document:
    report: Document = await done(caio, "POST", "what-if", wanted)
    counted = ("unchanged", "moved", "newly_refused", "newly_served")
    assert sum(report[name] for name in counted) == report["replayed"]
    assert sum(each["count"] for each in report["flows"]) == report["replayed"] - report["unchanged"]
    return report


async def two_services(caio: Served) -> None:
    await done(caio, "POST", "services", costing(caio, "cheap", "0.001"))
    await done(caio, "POST", "services", costing(caio, "dear", "0.002", tags=["eu"]))


async def test_no_change_moves_nothing(caio: Served) -> None:
    await two_services(caio)
    eu = policy("eu", "prefer", '"eu" in service.tags', when="request.sensitive", priority=5)
    await done(caio, "POST", "policies", eu)
    for request in ({}, {"sensitive": True}, {"objective": None}, {"requirements": {"max_cost": 0.0001}}):
        await route(caio, **request)
    for change in ({"contract": costing(caio, "cheap", "0.001")}, {"policy": eu}):
        report = await what_if(caio, **change)
        assert (report["replayed"], report["unchanged"], report["ended"]) == (4, 4, "complete")
        assert (report["flows"], report["requests"]) == ([], [])
        assert report["worst_cost"] == {"before": "0.003", "after": "0.003", "compared": 3}


CHANGES: dict[str, Any] = {
    "a dearer price": ("contract", "services/cheap", {"price": "0.003", "version": "1.1.0"}),
    "a new service": ("contract", None, {"service_id": "free", "price": "0"}),
    "a policy": ("policy", None, policy("only-eu", "require", '"eu" in service.tags')),
    "a next policy": ("policy", "policies/no-dear", policy("no-dear", "forbid", 'service.id == "cheap"', version=2)),
    "a policy to be named": ("policy", None, policy("later", "forbid", "true", attach="request")),
    "no service": ("retire_service", "services/cheap", "cheap"),
    "no policy": ("retire_policy", "policies/no-dear", "no-dear"),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_does_what_it_would_do(caio: Served, name: str) -> None:
    """The same requests, asked again once the change is really made, go where the report said."""
    await two_services(caio)
    await done(caio, "POST", "policies", policy("no-dear", "forbid", 'service.id == "dear"', when="!request.sensitive"))
    for seed in range(3):  # some go to either, some are refused
        await route(caio, seed=f"plain {seed}")
        await route(caio, seed=f"sensitive {seed}", sensitive=True)
        await route(caio, seed=f"dear {seed}", constraints={"services": ["dear"]})
        await route(caio, seed=f"poor {seed}", requirements={"max_cost": 0.0005})
    asked: list[Document] = [
        (await done(caio, "GET", f"decisions/{each['decision_id']}/evidence"))["request"]
        for each in (await done(caio, "GET", "decisions"))["items"]
    ]

    kind, path, parts = CHANGES[name]
    stated = parts
    if kind == "contract":
        shown = {"service_id": "cheap"} | parts
        price, service_id = shown.pop("price"), shown.pop("service_id")
        stated = costing(caio, service_id, price, **shown)
    report = await what_if(caio, **{kind: stated})
    assert (report["replayed"], report["not_reproduced"]) == (12, 0)

    if kind.startswith("retire"):
        await done(caio, "DELETE", path)
    elif path is None:
        await done(caio, "POST", "services" if kind == "contract" else "policies", stated)
    else:
        await done(caio, "PUT", path, stated, **{"If-Match": '"1"'})
    really: dict[tuple[str | None, str | None], int] = {}
    decided = (await done(caio, "GET", "decisions"))["items"]
    for before, request in zip(decided, asked, strict=True):
        wishes = {"seed": request["seed"], "sensitive": request["sensitive"]}
        wishes["constraints"] = {"services": request["services"]}
        if request["max_cost"] is not None:
            wishes["requirements"] = {"max_cost": 0.0005}
        after = await route(caio, **wishes)
        if before["service"] != after:
            way = before["service"], after
            really[way] = really.get(way, 0) + 1
    assert {(each["before"], each["after"]): each["count"] for each in report["flows"]} == really
    assert bool(really) == (name != "a policy to be named")
    assert len(report["requests"]) == sum(really.values())


async def test_weights_replace_the_requests_own(caio: Served) -> None:
    await done(caio, "POST", "services", costing(caio, "cheap", "0.001"))
    await done(caio, "POST", "services", costing(caio, "fast", "0.002", guarantees={"latency_ms": {"p95": 10}}))
    assert await route(caio) == "cheap"
    assert await route(caio, requirements={"latency_ms": {"p95": 50}}) == "fast"
    report = await what_if(caio, weights={"performance": 3})
    assert report["flows"] == [{"before": "cheap", "after": "fast", "count": 1}]
    (moved,) = report["requests"]
    assert (moved["before"], moved["after"]) == ("cheap@1.0.0", "fast@1.0.0")
    assert moved["why"]["cause"] == "outscored"
    assert (moved["why"]["winner_score"], moved["why"]["loser_score"]) == (10**9, 0)
    assert report["worst_cost"] == {"before": "0.003", "after": "0.004", "compared": 2}
    latency = report["latency_ms"]
    assert (latency["before"], latency["after"], latency["compared"], latency["without"]) == ("110", "20", 2, 0)

    # A policy's weights come first, as they do in a decision.
    frugal = policy("frugal", "prefer", "true", weights={"cost": 1})
    await done(caio, "POST", "policies", frugal)
    assert await route(caio) == "cheap"
    assert (await what_if(caio, weights={"performance": 3}, limit=1))["unchanged"] == 1


async def test_weights_leave_ties_as_they_fell(caio: Served) -> None:
    for place in range(4):
        await done(caio, "POST", "services", costing(caio, f"twin-{place}", "0.001"))
    for size in range(8):
        await route(caio, payload="x" * size)
    assert (await what_if(caio, weights={"cost": 7}))["unchanged"] == 8


async def test_an_unknown_latency_is_said_and_an_observed_one_counts(caio: Served) -> None:
    await done(caio, "POST", "services", costing(caio, "mute", "0.001", guarantees={}))
    await route(caio)
    report = await what_if(caio, contract=costing(caio, "dearer", "0.5"))
    assert (report["latency_ms"]["compared"], report["latency_ms"]["without"]) == (0, 1)
    assert report["worst_cost"]["compared"] == 1

    for _ in range(20):
        await caio.orchestrate()
    caio.installation.gateway._histories._current.clear()  # it would be kept for ten seconds
    await route(caio)
    latency = (await what_if(caio, contract=costing(caio, "dearer", "0.5"), limit=1))["latency_ms"]
    assert (latency["compared"], latency["observed_before"], latency["observed_after"]) == (1, 1, 1)


async def test_reasons_name_the_clause(caio: Served) -> None:
    await two_services(caio)
    await route(caio)
    (moved,) = (await what_if(caio, policy=policy("eu", "require", '"eu" in service.tags', message="Stay.")))[
        "requests"
    ]
    assert (moved["why"]["cause"], moved["why"]["clause"]["subject"]) == ("excluded", "eu@1")
    assert (moved["why"]["clause"]["service_id"], moved["why"]["clause"]["message"]) == ("cheap", "Stay.")
    (moved,) = (await what_if(caio, retire_service="cheap"))["requests"]
    assert (moved["why"]["cause"], moved["after"]) == ("retired", "dear@1.0.0")

    assert await route(caio, requirements={"max_cost": 0.0005}) is None
    cheaper = costing(caio, "cheap", "0.0004", version="1.1.0")
    (moved,) = (await what_if(caio, contract=cheaper, limit=1))["requests"]
    assert (moved["before"], moved["after"], moved["why"]["cause"]) == (None, "cheap@1.1.0", "no_longer_excluded")
    lacked = moved["why"]["clause"]
    assert (lacked["subject"], lacked["required"], lacked["offered"]) == ("cost.max", "<= 0.0005", "0.001")
    (moved,) = (await what_if(caio, contract=costing(caio, "free", "0"), limit=1))["requests"]
    assert (moved["before"], moved["after"], moved["why"]["cause"]) == (None, "free@1.0.0", "new")


async def test_policies_that_requests_name_or_bring(caio: Served) -> None:
    await two_services(caio)
    on_demand = policy("on-demand", "forbid", 'service.id == "cheap"', attach="request")
    brought = policy("brought", "forbid", 'service.id == "dear"')
    await done(caio, "POST", "policies", on_demand)
    assert await route(caio, policies=["on-demand"]) == "dear"
    assert await route(caio, policies=[brought]) == "cheap"
    assert await route(caio) == "cheap"
    following = on_demand | {"version": 2, "then": "true"}
    assert (await what_if(caio, policy=following))["flows"] == [{"before": "dear", "after": None, "count": 1}]
    # Of the policy that came along only its caller disposes.
    assert (await what_if(caio, policy=brought | {"version": 2, "then": "false"}))["unchanged"] == 3
    report = await what_if(caio, policy=brought | {"then": "false"})
    assert (report["newly_refused"], report["requests"][0]["why"]["cause"]) == (1, "not_decidable")
    (moved,) = (await what_if(caio, retire_policy="on-demand"))["requests"]
    assert moved["after"] is None
    assert "'on-demand'" in moved["why"]["message"]


@pytest.mark.parametrize("size", [1, 2, 3, 200])
async def test_every_decision_is_counted_once(caio: Served, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """However many come in a page, whatever is kept from one page to the next."""
    monkeypatch.setattr("caio.registry.what_if._PAGE", size)
    monkeypatch.setattr("caio.registry.what_if._WORLDS_KEPT", 1)
    await two_services(caio)
    brought = policy("brought", "forbid", 'service.id == "dear"')
    for _ in range(2):
        assert await route(caio) == "cheap"
        assert await route(caio, policies=[brought]) == "cheap"
        assert await route(caio, requirements={"max_cost": 0.0005}) is None
    listed = [each["decision_id"] for each in (await done(caio, "GET", "decisions"))["items"]]
    report = await what_if(caio, policy=brought | {"version": 2, "then": 'service.id == "cheap"'})
    flows = {(each["before"], each["after"]): each["count"] for each in report["flows"]}
    assert flows == {("cheap", "dear"): 2, ("cheap", None): 2}
    assert (report["replayed"], report["unchanged"], report["ended"]) == (6, 2, "complete")
    assert [each["decision_id"] for each in report["requests"]] == [
        each for place, each in enumerate(listed) if place % 3 != 0
    ]


class Altered:
    """A store of which one method's answers are changed."""

    def __init__(self, store: Any, method: str, change: Callable[[Any], Any]) -> None:
        self._store = store
        self._method = method
        self._change = change

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name != self._method:
            return found

        async def changed(*arguments: Any) -> Any:
            return self._change(await found(*arguments))

        return changed


def damaged(stored: StoredLeaf) -> StoredLeaf:
    sealed = stored.leaf.sealed
    return replace(stored, leaf=replace(stored.leaf, sealed=sealed[:-1] + bytes([sealed[-1] ^ 1])))


async def test_what_is_not_reproduced_is_counted_and_left_out(caio: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await two_services(caio)
    await route(caio)
    await route(caio, sensitive=True)
    what_ifs = caio.installation.what_if
    cases: list[tuple[str, str, Callable[[Any], Any]]] = [
        ("_journal", "read", damaged),
        ("_journal", "read", lambda stored: None),
        ("_contracts", "by_digest", lambda found: {}),
        ("_snapshots", "fetch", lambda body: b'{"cheap":[9,9,9]}' if body == b"{}" else body),
    ]
    for part, method, change in cases:
        with monkeypatch.context() as patched:
            patched.setattr(what_ifs, part, Altered(getattr(what_ifs, part), method, change))
            report = await what_if(caio, retire_service="cheap")
        assert (report["replayed"], report["not_reproduced"], report["requests"]) == (0, 2, [])
    assert (await what_if(caio, retire_service="cheap"))["replayed"] == 2


async def test_a_replay_ends(caio: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await two_services(caio)
    for size in range(5):
        await route(caio, payload="x" * size)
    listed = [each["decided_at"] for each in (await done(caio, "GET", "decisions"))["items"]]
    for limit, ended in ((2, "limit"), (5, "complete"), (6, "complete")):
        report = await what_if(caio, retire_service="cheap", limit=limit)
        assert (report["replayed"], report["ended"]) == (min(limit, 5), ended)
        assert report["reached"] == listed[min(limit, 5) - 1]
        assert [each["decided_at"] for each in report["requests"]] == listed[:limit]
    moment = datetime.fromtimestamp(listed[1] / 1e6, UTC).isoformat()
    assert (await what_if(caio, retire_service="cheap", since=moment))["replayed"] == 2

    times = iter([listed[0] + 1] * 3 + [listed[0] + 10**9] * 9)
    monkeypatch.setattr(caio.installation.what_if, "_clock", lambda: next(times))
    report = await what_if(caio, retire_service="cheap")
    assert (report["ended"], report["replayed"], report["reached"]) == ("time", 2, listed[1])


async def test_another_tenants_decisions_never_count(caio: Served) -> None:
    rival = Tenant("rival", "Rival", TenantStatus.ACTIVE, "USD", Quotas(), 1)
    assert await caio.installation.tenants.create(embedded_scope("rival"), "embedded", rival)
    key = await caio.installation.api_keys.create_first(embedded_scope("rival"))
    assert key is not None
    await two_services(caio)
    await route(caio)
    headers = {"Authorization": f"Bearer {key.token}"}
    report = await done(caio, "POST", "what-if", {"contract": costing(caio, "cheap", "1")}, **headers)
    assert (report["replayed"], report["not_reproduced"], report["requests"]) == (0, 0, [])
    assert (await send(caio, "POST", "what-if", {"retire_service": "cheap"}, **headers))[0] == 422


BAD: list[tuple[Document, str, list[str] | None]] = [
    ({}, "invalid_request", [""]),
    ({"weights": {"cost": 1}, "retire_service": "cheap"}, "invalid_request", [""]),
    ({"weights": {"cost": 0}}, "invalid_request", ["/weights"]),
    ({"weights": {"speed": 1, "cost": 1001}}, "invalid_request", ["/weights/speed", "/weights/cost"]),
    ({"weights": {"cost": 1}, "limit": 10_001, "since": "yesterday"}, "invalid_request", ["/since", "/limit"]),
    ({"weights": {"cost": 1}, "since": "2026-01-01T00:00:00"}, "invalid_request", ["/since"]),
    ({"weights": {"cost": 1}, "since": True, "more": 1}, "invalid_request", ["/since", "/more"]),
    ({"retire_service": "nobody"}, "invalid_request", ["/retire_service"]),
    ({"retire_policy": "nothing"}, "invalid_request", ["/retire_policy"]),
    ({"policy": policy("p", "forbid", "service.nme == 1")}, "invalid_policy", ["/policy/then"]),
    ({"policy": {"id": 7}}, "invalid_policy", None),
    ({"contract": {"service_id": "x"}}, "invalid_contract", None),
]


async def test_bad_input_is_told_by_its_place(caio: Served) -> None:
    for body, code, pointers in BAD:
        status, answer = await send(caio, "POST", "what-if", body)
        assert (status, answer["code"]) == (422, code), answer
        found = [each["pointer"] for each in answer["errors"]]
        inside = f"/{next(iter(body), '')}/"
        assert found == pointers if pointers is not None else all(each.startswith(inside) for each in found), answer


async def test_who_may_ask_and_nothing_is_stored(caio: Served) -> None:
    await two_services(caio)
    await route(caio)
    before = [await done(caio, "GET", path) for path in ("decisions", "services", "policies")]
    for role, expected in (("auditor", 200), ("developer", 200), ("user", 403), ("service", 403)):
        key = await done(caio, "POST", "keys", {"name": role, "roles": [role]})
        headers = {"Authorization": f"Bearer {key['token']}"}
        answer = await send(caio, "POST", "what-if", {"policy": policy("p", "forbid", "true")}, **headers)
        assert answer[0] == expected
    assert [await done(caio, "GET", path) for path in ("decisions", "services", "policies")] == before
