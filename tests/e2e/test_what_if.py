"""What-if through the real API: a change tried on recorded decisions, beside what the change then does."""

from __future__ import annotations

from typing import Any

import pytest

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
    for change in ({"contract": costing(caio, "cheap", "0.001")}, {"policy": eu}, {"weights": {"cost": 1}}):
        report = await what_if(caio, **change)
        moved = [name for name in ("moved", "newly_refused", "newly_served", "not_reproduced") if report[name]]
        if "weights" not in change:
            assert (moved, report["replayed"], report["flows"]) == ([], 4, [])
            assert report["worst_cost"]["before"] == report["worst_cost"]["after"]
        assert report["ended"] == "complete"


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
