"""Both clients offer the same, say the same of it, and keep the key to themselves; nothing is loaded early."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys
import traceback
from typing import Any

import pytest

import caio
from caio.client import (
    AsyncClient,
    Client,
    Misused,
    StreamBroken,
    Unreachable,
    awaiting_parts,
    awaiting_streams,
    blocking_parts,
    blocking_streams,
)
from caio.client.errors import Answered, Told

PAIRS = [
    (Client, AsyncClient),
    (blocking_streams.ChatStream, awaiting_streams.AsyncChatStream),
    (blocking_parts.ChatCalls, awaiting_parts.ChatCalls),
    (blocking_parts.Workflows, awaiting_parts.Workflows),
    *((getattr(blocking_parts, name), getattr(awaiting_parts, name)) for name in ("Services", "Policies")),
    *((getattr(blocking_parts, name), getattr(awaiting_parts, name)) for name in ("Decisions", "Receipts")),
]
KEY = "caio_secret_0123456789"


def offered(kind: type) -> dict[str, Any]:
    """Public names with their parameters, told in one way for both."""
    found = {}
    for name, member in inspect.getmembers(kind):
        if name.startswith("_") or not (inspect.isfunction(member) or isinstance(member, property)):
            continue
        target: Any = member.fget if isinstance(member, property) else member
        signature = str(inspect.signature(target)).replace("Async", "")
        found[name] = (signature, (inspect.getdoc(target) or "").replace("async ", ""))
    return found


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda kind: kind.__name__)
def test_the_twins_offer_the_same(one: type, other: type) -> None:
    assert offered(one) == offered(other)
    assert offered(one)


@pytest.mark.parametrize(("one", "other"), PAIRS[4:], ids=lambda kind: kind.__name__)
def test_what_one_answers_the_other_awaits(one: type, other: type) -> None:
    for name in offered(one):
        assert inspect.iscoroutinefunction(getattr(other, name)), name


def test_every_part_has_its_twin() -> None:
    def parts(client: object) -> set[str]:
        return {name for name in vars(client) if not name.startswith("_")}

    with Client(api_key=KEY) as client:
        assert parts(client) == parts(AsyncClient(api_key=KEY))
        assert {"chat", "services", "policies", "decisions", "receipts", "workflows"} <= parts(client)


def test_the_environment_says_what_the_arguments_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAIO_URL", "https://caio.example.com/")
    monkeypatch.setenv("CAIO_API_KEY", KEY)
    monkeypatch.setenv("CAIO_TENANT", "acme")
    with Client() as client:
        assert repr(client) == "<caio.Client of https://caio.example.com>"
        assert client._connection.headers()["authorization"] == f"Bearer {KEY}"
        assert client._connection.headers()["x-tenant-id"] == "acme"
    with Client("http://127.0.0.1:9", "other") as client:
        assert client._connection.headers()["authorization"] == "Bearer other"


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "http://caio.example.com"},
        {"url": "ftp://127.0.0.1"},
        {"url": "https://user:word@caio.example.com"},
        {"url": "https://caio.example.com:99999"},
        {"url": "127.0.0.1:8080"},
        {"url": "https://caio.example.com/?x=1"},
        {"api_key": "a\nb"},
        {"tenant": "ä"},
        {"timeout": 0},
        {"timeout": float("inf")},
        {"retries": -1},
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_what_cannot_work_is_refused_before_anything_is_sent(kind: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(Misused):
        kind(**arguments)


def test_a_key_travels_without_tls_only_on_this_machine_or_on_request() -> None:
    for url in ("http://localhost:1", "http://127.0.0.9:1", "http://[::1]:1"):
        Client(url).close()
    Client("http://caio.internal", allow_http=True).close()


def test_the_key_is_in_no_representation_and_no_error() -> None:
    with Client("http://127.0.0.1:1", KEY, retries=0, timeout=2) as client:
        assert KEY not in repr(client) + str(client) + repr(client._connection)
        with pytest.raises(Unreachable) as raised:
            client.orchestrate("chat", "the payload")
    error: BaseException | None = raised.value
    assert KEY not in "".join(traceback.format_exception(raised.value))
    while error is not None:
        assert not hasattr(error, "request")
        error = error.__cause__ or error.__context__


def test_errors_can_be_copied_and_sent_between_processes() -> None:
    told = Told(429, "rate_limited", "the limit is reached", retry_after=3.0)
    for error in (Answered(told), Unreachable("gone", sent=False), StreamBroken("cut", code="x", decision_id="dec_1")):
        for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            assert (str(other), vars(other)) == (str(error), vars(error))


def test_the_package_loads_the_clients_late() -> None:
    code = """
import json, sys
import caio
before = sorted(name for name in sys.modules if name.partition(".")[0] in ("caio", "httpx2", "msgspec", "pydantic"))
caio.Client
print(json.dumps([before, sorted({name for name in sys.modules if name.startswith("caio.")})]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)
    assert before == ["caio", "caio._version"]
    rooms = {name.split(".")[1] for name in after}
    assert rooms == {"_version", "client", "foundation"}


def test_the_package_names_what_it_has() -> None:
    assert {"Client", "AsyncClient", "Orchestrator"} <= set(caio.__all__)
    assert all(getattr(caio, name) for name in caio.__all__)
    with pytest.raises(AttributeError):
        _ = caio.Nothing
