"""CAIO as a library: the same parts in this process, against a real service on this machine."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from typing import Any

import pytest

from caio import Orchestrator
from caio.audit.signing import read_key_set
from caio.audit.verify import verify_receipt
from caio.foundation.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    Misconfigured,
    NoServiceSatisfies,
    NotFound,
    NotReady,
)
from caio.routing.model import History, Track
from caio.tenancy.authentication import embedded_scope
from tests.support.acts import acts_told
from tests.support.upstreams import upstream

ASKED = {"capability": "text.sentiment", "payload": {"text": "Fine."}}
SCHEMA = {"type": "object", "required": ["label"], "properties": {"label": {"type": "string"}}}


def contract(url, service_id="echo", path="/counted", **changes):
    return {
        "service_id": service_id,
        "name": service_id,
        "version": "1.0.0",
        "tags": ["demo", service_id],
        "capabilities": ["text.sentiment"],
        "guarantees": {"latency_ms": {"max": 5000}},
        "cost": {"currency": "USD", "per_request": "0.001"},
        "privacy": {"data_locality": "on_device", "trains_on_data": False},
        "api": {
            "protocol": "http-json",
            "base_url": url,
            "endpoints": [{"path": path, "method": "POST", "output_schema": SCHEMA}],
            "timeout_ms": 5000,
        },
    } | changes


@contextmanager
def running_service():
    """A service in a thread and event loop of its own, as it is to a program that uses the library."""
    ready, ended = threading.Event(), asyncio.Event()
    held: dict[str, Any] = {}

    async def serve():
        async with upstream() as service:
            held.update(url=service.url, loop=asyncio.get_running_loop())
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield held["url"]
    finally:
        held["loop"].call_soon_threadsafe(ended.set)
        thread.join(10)


@pytest.fixture(scope="module")
def service_url():
    with running_service() as url:
        yield url


@pytest.fixture
def write(tmp_path, service_url):
    """A function that writes a contract for the service to a file."""

    def written(service_id="echo", **changes):
        path = tmp_path / f"{service_id}.json"
        path.write_text(json.dumps(contract(service_url, service_id, **changes)))
        return path

    return written


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """One installation for all tests that keep to a tenant of their own."""
    with Orchestrator(tmp_path_factory.mktemp("library"), allow_private=["127.0.0.0/8"]) as caio:
        yield caio


def ids(published):
    return [(each.tenant_id, each.publication.name) for each in published]


def proved(caio, decision_id, tenant):
    receipt, evidence = caio.receipt(decision_id, tenant), caio.evidence(decision_id, tenant)
    plain = json.loads(json.dumps({"receipt": receipt, "evidence": evidence, "keys": caio.verification_keys()}))
    verification = verify_receipt(plain["receipt"], read_key_set(plain["keys"]), plain["evidence"])
    claims = {claim.name: claim.proved for claim in verification.claims}
    assert claims["checkpoint"]
    assert claims["decision inclusion"]
    return verification


def test_a_contract_is_registered_under_another_id(opened, write):
    first = opened.register_service(write(), tenant_id="naming")
    second = opened.register_service(write(), "other-name", "naming")
    assert (first.publication.name, second.publication.name) == ("echo", "other-name")
    assert second.publication.document["service_id"] == "other-name"
    with pytest.raises(Conflict):
        opened.register_service(write(), tenant_id="naming")
    assert ids(opened.list_services(tenant_id="naming")) == [("naming", "echo"), ("naming", "other-name")]


def test_services_are_listed_by_all_of_their_tags(opened, write):
    opened.register_service(write("one"), tenant_id="tags")
    opened.register_service(write("two"), tenant_id="tags")
    assert len(opened.list_services(["demo"], "tags")) == 2
    assert ids(opened.list_services(["demo", "two"], "tags")) == [("tags", "two")]
    assert opened.list_services(["one", "two"], "tags") == []


def test_tenants_are_apart(opened, write):
    opened.register_service(write(), tenant_id="mine")
    opened.register_service(write("elsewhere"), tenant_id="yours")
    assert ids(opened.list_services(tenant_id="yours")) == [("yours", "elsewhere")]
    assert opened.list_services() == []  # no tenant given is the default one, never all
    decided = opened.route_request(ASKED, tenant_id="mine")
    assert decided.decision.winner.offer.service_id == "echo"
    with pytest.raises(NoServiceSatisfies) as caught:
        opened.route_request(ASKED)
    assert caught.value.reasons == ()
    for read in (opened.receipt, opened.evidence):
        with pytest.raises(NotFound):
            read(decided.decision_id, "yours")
    with pytest.raises(NotFound):
        opened.route_request(ASKED, tenant_id="nobody")


def test_what_the_library_changes_is_told(opened, write):
    published = opened.register_service(write(), tenant_id="told").publication
    opened.register_service(write("further"), tenant_id="told")
    parts = opened._installation
    told = opened._run(acts_told(parts.stores.journal, parts.vault, embedded_scope("told")))
    actions = [(act["action"], act["principal"], act["subject"]) for act in told]
    assert actions == [
        ("tenant.created", "embedded", "told"),
        ("contract.published", "embedded", "echo"),
        ("contract.published", "embedded", "further"),
    ]
    assert told[1]["details"] == {"version": published.version, "digest": published.digest, "shared": False}


def test_history_and_seed_are_arguments(opened, write):
    for name in ("one", "two", "three", "four"):
        opened.register_service(write(name), tenant_id="arguments")
    bad = Track(100, 0, 0)
    for name in ("one", "two"):
        others = {other: bad for other in ("one", "two", "three", "four") if other != name}
        decided = opened.route_request(ASKED, history=History(others), tenant_id="arguments")
        assert decided.decision.winner.offer.service_id == name
        assert proved(opened, decided.decision_id, "arguments").ok
        assert opened.evidence(decided.decision_id, "arguments")["history"] == History(others).document()
    winners = {}
    for seed in map(str, range(12)):
        decisions = [opened.route_request(ASKED, seed=seed, tenant_id="arguments").decision for _ in range(2)]
        assert decisions[0].decision_hash == decisions[1].decision_hash
        assert decisions[0].certificate["seed"] == seed
        winners[seed] = decisions[0].winner.offer.service_id
    assert len(set(winners.values())) > 1


def test_policies_come_with_the_request(opened, write):
    for name in ("one", "two"):
        opened.register_service(write(name), tenant_id="policies")
    policy = {"id": "not-one", "version": 1, "priority": 1, "effect": "forbid", "when": "true"}
    policy |= {"then": 'service.id == "one"', "message": "not this one", "attach": "request"}
    decided = opened.route_request(ASKED, [policy], tenant_id="policies")
    assert decided.decision.winner.offer.service_id == "two"
    [excluded] = decided.decision.exclusions
    assert (excluded.clause, excluded.message) == ("policy", "not this one")
    assert proved(opened, decided.decision_id, "policies").ok
    with pytest.raises(InvalidInput):
        opened.route_request(ASKED, ["nobody"], tenant_id="policies")


def test_a_call_is_answered_and_its_receipt_verified_offline(opened, write):
    opened.register_service(write(), tenant_id="calls")
    answer = opened.orchestrate(ASKED, tenant_id="calls")
    assert answer.body["label"] == "good"
    assert (answer.service_id, answer.breaches, answer.charged) == ("echo", (), 1_000_000)
    verification = proved(opened, answer.decision_id, "calls")
    assert [claim for claim in verification.claims if claim.proved is not True] == []
    receipt = json.loads(json.dumps(opened.receipt(answer.decision_id, "calls")))
    receipt["decision"]["payload"]["decision_hash"] = "0" * 64
    assert not verify_receipt(receipt, read_key_set(opened.verification_keys())).ok


def test_a_refusal_says_why_and_can_be_proved(opened, write):
    opened.register_service(write(), tenant_id="refusals")
    asked = {**ASKED, "requirements": {"max_latency_ms": 10}}
    for refused in (opened.route_request, opened.orchestrate):
        with pytest.raises(NoServiceSatisfies) as caught:
            refused(asked, tenant_id="refusals")
        [reason] = caught.value.reasons
        assert (reason.service_id, reason.clause, reason.offered) == ("echo", "guarantee", "max 5000")
        assert proved(opened, caught.value.decision_id, "refusals").ok


def test_what_is_not_valid_is_told_with_every_place(opened, tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("service_id: NO\nname: x\nversion: one\n")
    with pytest.raises(InvalidInput) as caught:
        opened.register_service(path, tenant_id="broken")
    assert {"/service_id", "/version"} <= {violation.pointer for violation in caught.value.violations}
    assert opened.list_services(tenant_id="broken") == []
    with pytest.raises(InvalidInput):
        opened.route_request({"capabilty": "text.sentiment"}, tenant_id="broken")


def test_what_was_kept_is_there_again(tmp_path, write):
    folder = tmp_path / "data"
    with Orchestrator(folder, allow_private=["127.0.0.0/8"]) as caio:
        caio.register_service(write())
        answer = caio.orchestrate(ASKED)
        keys = read_key_set(caio.verification_keys())
        with pytest.raises(Misconfigured, match="in use"):
            Orchestrator(folder)
    with Orchestrator(folder, allow_private=["127.0.0.0/8"]) as caio:
        assert ids(caio.list_services()) == [("default", "echo")]
        receipt = json.loads(json.dumps(caio.receipt(answer.decision_id)))
        assert verify_receipt(receipt, keys, json.loads(json.dumps(caio.evidence(answer.decision_id)))).ok
        assert caio.orchestrate(ASKED).body == answer.body


def test_closing_leaves_nothing_behind():
    before = set(threading.enumerate())
    caio = Orchestrator()
    folder = caio._installation.settings.data_dir
    assert folder.is_dir()
    caio.close()
    caio.close()
    assert not folder.exists()
    assert set(threading.enumerate()) <= before
    with pytest.raises(NotReady):
        caio.list_services()


def test_closing_waits_for_the_calls_of_other_threads(write):
    caio, ended = Orchestrator(allow_private=["127.0.0.0/8"]), []
    caio.register_service(write(path="/slow"))

    def call():
        with pytest.raises(DeadlineExceeded):
            caio.orchestrate({**ASKED, "deadline_ms": 500})
        ended.append(True)

    calling = threading.Thread(target=call, daemon=True)
    calling.start()
    while not caio._calls:
        time.sleep(0.01)
    caio.close()
    calling.join(5)
    assert ended
