"""Explanations through the real API and the real command, from what was recorded and not from the state of today."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from tests.e2e.conftest import Served

EXACT = {"requirements": {"accuracy": {"min": "0.95"}}}


async def decide(caio: Served, **request: Any) -> str:
    body = {"request": {"capability": "text.sentiment"} | request}
    async with caio.http.post("/api/v1/route", json=body) as answer:
        document = await answer.json()
        return str(document.get("decision_id") or document["error"]["decision_id"])


async def explain(caio: Served, decision_id: str, *options: str) -> str:
    """What the command prints, on a terminal of 80 columns."""
    environment = os.environ | {"CAIO_URL": caio.url, "CAIO_API_KEY": caio.token, "COLUMNS": "80"}
    command = [sys.executable, "-m", "caio", "decisions", "explain", decision_id, *options]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_a_choice_is_explained_from_what_was_recorded(caio: Served) -> None:
    await caio.register("cheap", cost={"currency": "USD", "per_request": "0.001"})
    await caio.register("dear", cost={"currency": "USD", "per_request": "0.005"})
    await caio.register("euro", cost={"currency": "EUR", "per_request": "0.001"})
    decision_id = await decide(caio)
    async with caio.http.delete("/api/v1/services/cheap", headers={"If-Match": '"1"'}) as answer:
        assert answer.status == 200  # what is so today explains nothing
    status, found = await caio.get(f"/api/v1/decisions/{decision_id}/explanation")
    assert status == 200
    assert (found["outcome"], found["agrees"], found["considered"], found["feasible"]) == ("routed", True, 3, 2)
    assert [each["service"] for each in found["ranked"]] == ["cheap@1.0.0", "dear@1.0.0"]
    assert [each["words"] for each in found["terms"]] == [
        "cheaper by 0.004 USD in the worst case (0.001 against 0.005)"
    ]
    assert found["groups"] == [
        {
            "clause": "currency",
            "subject": "currency",
            "required": "USD",
            "count": 1,
            "nearest": [{"service": "euro@1.0.0", "offered": "EUR", "words": "prices in EUR, the tenant pays in USD"}],
        }
    ]
    assert (await caio.get(f"/api/v1/trace/{decision_id}/explanation"))[1] == found
    assert (await explain(caio, decision_id)).startswith(
        "cheap@1.0.0 was chosen among 2 that satisfy the request, of 3 considered: it\n"
        "scores 1, dear@1.0.0 0.\n"
        "\n"
        "Why cheap@1.0.0 came before dear@1.0.0:\n"
        "  +1.000  cost: cheaper by 0.004 USD in the worst case (0.001 against 0.005)\n"
        "          1.000000 against 0.000000, weight 2 of 2\n"
        "\n"
        "What the other lacked:\n"
        "  euro@1.0.0  prices in EUR, the tenant pays in USD\n"
    )


async def test_a_refusal_says_what_would_help(caio: Served) -> None:
    await caio.register("rough")
    await caio.register("rougher", guarantees={"accuracy": {"min": "0.5"}})
    decision_id = await decide(caio, **EXACT)
    printed = await explain(caio, decision_id)
    assert printed.startswith(
        "Refused: none of 2 services satisfies the request.\n"
        "\n"
        "What would help:\n"
        "  - 2 services would qualify without the bound on accuracy; first "
    )
    assert "  - 1 service would qualify at accuracy >= 0.8; first rough@1.0.0\n" in printed
    assert "    rough@1.0.0  needs accuracy >= 0.95, offers 0.8\n" in printed


async def test_an_explanation_of_nothing_and_for_nobody(caio: Served) -> None:
    decision_id = await decide(caio)
    assert (await caio.get(f"/api/v1/decisions/{decision_id}/explanation"))[1]["summary"] == (
        "There was no service to choose from."
    )
    assert (await caio.get("/api/v1/decisions/dec_none/explanation"))[0] == 404
    path = f"/api/v1/decisions/{decision_id}/explanation"
    async with caio.http.get(path, headers={"Authorization": "Bearer nobody"}) as answer:
        assert answer.status == 401
