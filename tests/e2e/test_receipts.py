"""Receipts through the real API: their place in the log, in the answer's own body, and when they are gone."""

from __future__ import annotations

import asyncio
import hmac
import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from caio.audit.signing import read_key_set
from caio.audit.verify import verify_receipt
from caio.foundation.errors import NotReady
from caio.tenancy.authentication import embedded_scope
from tests.e2e.conftest import Served, chat_contract
from tests.support import second_verifier

IN_BODY = {"x-caio-receipt": "body"}
ORCHESTRATE = "/api/v1/orchestrate"
WANTED = {"request": {"capability": "text.sentiment", "payload": {"text": "Fine."}}}


async def claims_of(caio: Served, receipt: dict[str, Any]) -> dict[str, bool | None]:
    """What both verifiers say."""
    _, keys = await caio.get("/.well-known/caio-keys.json")
    found = {claim.name: claim.proved for claim in verify_receipt(receipt, read_key_set(keys)).claims}
    assert second_verifier.verify(receipt, second_verifier.trusted_keys(keys)) == found
    return found


async def test_the_receipt_of_a_call_that_just_ended_is_in_the_log(caio: Served) -> None:
    await caio.register("cheap")
    _, first, _ = await caio.orchestrate()
    _, receipt = await caio.get(first["receipt"])
    assert set((await claims_of(caio, receipt)).values()) == {True, None}
    assert len(receipt["log"]["decision"]) > 0
    for decision_id in await asyncio.gather(*(_answered(caio) for _ in range(8))):
        _, receipt = await caio.get(f"/api/v1/decisions/{decision_id}/receipt")
        claims = await claims_of(caio, receipt)
        assert {name for name, proved in claims.items() if not proved} == {"decision"}
    _, again = await caio.get(first["receipt"])
    assert (await claims_of(caio, again))["decision inclusion"]


async def test_a_refusal_is_in_the_log_too(caio: Served) -> None:
    _, problem, _ = await caio.orchestrate()
    _, receipt = await caio.get(f"/api/v1/decisions/{problem['decision_id']}/receipt")
    claims = await claims_of(caio, receipt)
    assert claims["checkpoint"]
    assert claims["decision inclusion"]
    assert claims["outcome inclusion"] is None


@pytest.fixture
def give_up(caio: Served, monkeypatch):
    """From the call on, the log stands still, as while another holder works on it longer than the sequencer waits."""

    async def let_go_without(tenant_id: str) -> None:
        return

    async def give_up() -> None:
        await caio.installation.sequencer.stop()
        monkeypatch.setattr(caio.installation.sequencer, "take_in", let_go_without)

    return give_up


async def test_the_log_may_hold_the_decision_and_not_yet_the_outcome(caio: Served, give_up) -> None:
    await caio.register("tardy", "/slow")
    calling = asyncio.create_task(caio.orchestrate())
    while not (running := (await caio.get("/api/v1/decisions"))[1]["items"]):
        await asyncio.sleep(0.01)
    address = f"/api/v1/decisions/{running[0]['decision_id']}/receipt"
    _, before = await caio.get(address)
    assert before["outcome"] is None
    claims = await claims_of(caio, before)
    assert (claims["decision inclusion"], claims["outcome inclusion"]) == (True, None)
    await give_up()
    caio.service.hold.set()
    assert (await calling)[0] == 200
    _, after = await caio.get(address)
    assert after["outcome"] is not None
    assert after["log"]["outcome"] is None
    claims = await claims_of(caio, after)
    assert (claims["decision inclusion"], claims["outcome inclusion"]) == (True, None)


async def test_while_another_holder_has_the_log_a_receipt_comes_without(caio: Served, give_up) -> None:
    await caio.register("cheap")
    await give_up()
    _, answer, _ = await caio.orchestrate()
    status, receipt = await caio.get(answer["receipt"])
    assert (status, receipt["log"]) == (200, None)
    assert False not in (await claims_of(caio, receipt)).values()


async def test_a_log_that_holds_another_entry_in_its_place_gives_no_receipt(caio: Served) -> None:
    await caio.register("cheap")
    _, answer, _ = await caio.orchestrate()
    _, receipt = await caio.get(answer["receipt"])
    seq = receipt["decision"]["seq"]
    log = caio.installation.audit_log
    another = await log.inclusion(embedded_scope(), [seq - 1])
    assert another is not None

    async def moved(scope: Any, seqs: Any, *, fresh: bool = False) -> Any:
        return another

    log.inclusion = moved  # type: ignore[method-assign]
    status, problem = await caio.get(answer["receipt"])
    assert (status, problem["code"]) == (500, "log_broken")


async def test_with_the_header_the_answer_holds_its_receipt(caio: Served) -> None:
    await caio.register("cheap")
    async with caio.http.post(ORCHESTRATE, json=WANTED, headers=IN_BODY) as answered:
        raw = await answered.read()
        assert answered.status == 200
        assert answered.headers["x-caio-receipt"] == answered.headers["x-caio-decision-id"]
    answer = json.loads(raw)
    receipt = answer["receipt"]
    claims = await claims_of(caio, receipt)
    assert {name for name, proved in claims.items() if not proved} == {"decision"}
    assert receipt["decision_id"] == answer["decision_id"]
    # What the outcome commits to is the body with the address in the receipt's place.
    before, name, _ = raw.partition(b'"receipt":')
    address = json.dumps(f"/api/v1/decisions/{answer['decision_id']}/receipt").encode()
    record = receipt["outcome"]["payload"]
    committed = hmac.digest(bytes.fromhex(record["answer_salt"]), before + name + address + b"}", "sha256")
    assert committed.hex() == record["answer_commitment"]


async def test_a_repeated_call_gets_the_receipt_again(caio: Served) -> None:
    await caio.register("cheap")
    keyed = {"Idempotency-Key": "k1", **IN_BODY}
    _, first, _ = await caio.orchestrate(headers=keyed)
    _, second, headers = await caio.orchestrate(headers=keyed)
    assert headers["idempotency-replayed"] == "true"
    assert first["receipt"]["decision"] == second["receipt"]["decision"]
    assert (await claims_of(caio, second["receipt"]))["outcome inclusion"]
    assert len(caio.service.received) == 1
    status, problem, _ = await caio.orchestrate(headers={"Idempotency-Key": "k1"})
    assert (status, problem["code"]) == (422, "idempotency_key_reused")


async def test_a_paid_answer_is_given_when_its_receipt_cannot_be(caio: Served, monkeypatch) -> None:
    await caio.register("cheap")

    async def away(*_: object) -> None:
        raise NotReady("the database is away")

    monkeypatch.setattr(caio.installation.decisions, "receipt", away)
    status, answer, _ = await caio.orchestrate(headers=IN_BODY)
    assert status == 200
    assert answer["receipt"] == f"/api/v1/decisions/{answer['decision_id']}/receipt"


async def test_only_readers_of_decisions_get_it_and_only_by_the_right_word(caio: Served) -> None:
    await caio.register("cheap")
    async with caio.http.post("/api/v1/keys", json={"name": "a program", "roles": ["service"]}) as answered:
        token = (await answered.json())["token"]
    program = {"Authorization": f"Bearer {token}"}
    status, problem, _ = await caio.orchestrate(headers=program | IN_BODY)
    assert (status, problem["code"]) == (403, "not_allowed")
    for wish in ("Body", "yes", "", "body, body"):
        status, problem, _ = await caio.orchestrate(headers={"x-caio-receipt": wish})
        assert (status, problem["code"]) == (422, "invalid_header")
        assert problem["errors"][0]["pointer"] == "/header/x-caio-receipt"
    assert not caio.service.received
    status, answer, _ = await caio.orchestrate(headers=program)
    assert status == 200
    assert isinstance(answer["receipt"], str)


async def test_openai_answers_stay_what_the_service_said(caio: Served) -> None:
    async with caio.http.post("/api/v1/services", json=chat_contract("chatty", caio.service.url)) as registered:
        assert registered.status == 201
    body = {"model": "auto", "messages": [{"role": "user", "content": "Fine?"}]}
    async with caio.http.post("/v1/chat/completions", json=body, headers=IN_BODY) as refused:
        assert refused.status == 422
        assert "x-caio-receipt" in (await refused.json())["error"]["message"]
    async with caio.http.post("/v1/chat/completions", json=body) as answered:
        assert answered.status == 200
        assert "receipt" not in await answered.json()
        decision_id = answered.headers["x-caio-receipt"]
    _, receipt = await caio.get(f"/api/v1/decisions/{decision_id}/receipt")
    assert (await claims_of(caio, receipt))["outcome inclusion"]


@pytest.mark.parametrize("kind", ["decision", "outcome"])
async def test_an_erased_decision_has_no_receipt_any_more(caio: Served, kind: str) -> None:
    await caio.register("cheap")
    _, answer, _ = await caio.orchestrate()
    with closing(sqlite3.connect(next(caio.data_dir.glob("*.db")))) as database, database:
        emptied = "UPDATE journal SET sealed = x'' WHERE subject_id = ? AND kind = ?"
        assert database.execute(emptied, (answer["decision_id"], kind)).rowcount == 1
    status, problem = await caio.get(answer["receipt"])
    assert (status, problem["code"]) == (410, "erased")


async def _answered(caio: Served) -> str:
    _, answer, _ = await caio.orchestrate()
    return str(answer["decision_id"])
