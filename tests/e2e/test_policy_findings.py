"""What saving a policy says over HTTP, and what the routes do about what it says."""

from __future__ import annotations

from typing import Any

from tests.e2e.conftest import Served, contract

LOCAL = 'service.privacy.data_locality == "on_device"'
IN_US = 'service.privacy.data_locality == "regions" && "us" in service.privacy.regions'


def policy(policy_id: str, effect: str, then: str, **parts: Any) -> dict[str, Any]:
    return {"id": policy_id, "version": 1, "effect": effect, "then": then} | parts


async def post(caio: Served, path: str, document: Any) -> tuple[int, Any]:
    async with caio.http.post(f"/api/v1/policies{path}", json=document) as answer:
        return answer.status, await answer.json()


async def put(caio: Served, path: str, document: Any) -> tuple[int, Any]:
    async with caio.http.put(f"/api/v1/{path}", json=document, headers={"If-Match": '"1"'}) as answer:
        return answer.status, await answer.json()


def codes(answered: Any) -> list[tuple[str, str]]:
    return [(each["severity"], each["code"]) for each in answered["findings"]]


async def test_a_change_says_what_it_newly_permits(caio: Served) -> None:
    await caio.register("stays")
    await caio.register("overseas", privacy={"data_locality": ["us"], "trains_on_data": False})
    status, first = await post(caio, "", policy("no-us", "forbid", IN_US))
    assert (status, codes(first)) == (201, [("information", "newly_forbids")])
    narrowed = policy("no-us", "forbid", IN_US, version=2, when="request.sensitive")
    status, second = await put(caio, "policies/no-us", narrowed)
    assert status == 200
    assert second["findings"] == [
        {
            "code": "newly_permits",
            "severity": "warning",
            "detail": "newly permits overseas@1.0.0 (1 of 2 registered services) to requests such as the example's",
            "pointer": "",
            "policies": [],
            "counterexample": {
                "request": {"sensitive": False},
                "principal": {},
                "service": "overseas@1.0.0",
                "contract": None,
            },
        }
    ]
    assert (await caio.get("/api/v1/policies/no-us"))[1]["findings"] == []


async def test_what_is_severe_is_saved_and_said_or_refused_when_strict(caio: Served) -> None:
    await caio.register("alpha")
    severe = policy("abroad", "require", IN_US)
    assert codes((await post(caio, "/validate", severe))[1])[0] == ("severe", "matches_nothing")
    for path in ("/validate?strict=true", "?strict=true"):
        status, refused = await post(caio, path, severe)
        assert (status, refused["code"], refused["errors"][0]["pointer"]) == (422, "policy_findings", "/then")
        assert refused["errors"][0]["detail"].startswith("matches_nothing: no registered service satisfies `then`")
    assert (await caio.get("/api/v1/policies"))[1]["items"] == []
    status, saved = await post(caio, "", severe)
    assert (status, codes(saved)[0]) == (201, ("severe", "matches_nothing"))
    status, refused, _ = await caio.orchestrate()
    assert (status, refused["reasons"][0]["subject"]) == (422, "abroad@1")
    status, refused = await put(caio, "policies/abroad?strict=true", severe | {"version": 2})
    assert (status, refused["code"]) == (422, "policy_findings")
    assert (await put(caio, "policies/abroad?strict=true", policy("abroad", "require", LOCAL, version=2)))[0] == 200


async def test_a_contradiction_names_the_other_policy(caio: Served) -> None:
    await caio.register("alpha")
    await caio.register("overseas", privacy={"data_locality": ["us"], "trains_on_data": False})
    await post(caio, "", policy("at-home", "require", LOCAL, when="request.sensitive"))
    status, found = await post(caio, "/validate", policy("abroad", "require", IN_US, when="request.stream"))
    (contradiction,) = [each for each in found["findings"] if each["code"] == "contradicts"]
    assert (status, contradiction["severity"], contradiction["policies"]) == (200, "severe", ["at-home@1"])
    assert contradiction["counterexample"]["request"] == {"sensitive": True, "stream": True}


async def test_a_contracts_new_version_says_what_policies_make_of_it(caio: Served) -> None:
    await caio.register("mover", privacy={"data_locality": ["us"], "trains_on_data": False})
    await post(caio, "", policy("no-us", "forbid", IN_US, when="request.sensitive"))
    moved = contract("mover", caio.service.url) | {"version": "1.1.0"}
    status, answered = await put(caio, "services/mover", moved)
    assert (status, codes(answered)) == (200, [("warning", "newly_permits")])
    (finding,) = answered["findings"]
    assert finding["detail"] == "no-us@1 no longer excludes mover, for requests such as the example's"
    assert finding["counterexample"]["request"] == {"sensitive": True}
    assert finding["counterexample"]["service"] == "mover@1.1.0"
