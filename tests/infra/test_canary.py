"""The canary's code, as Synthetics will run it, against a real ``caio serve`` with a real service behind it."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from caio.audit.signing import SigningKey
from caio.foundation.canonical import canonical_json
from tests.support.infra_tools import MODULES

SOURCE = MODULES / "canary" / "src" / "canary.py"
CAIO = Path(sys.executable).with_name("caio")


def _canary() -> ModuleType:
    spec = importlib.util.spec_from_file_location("synthetics_canary", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


canary = _canary()


class Answering(BaseHTTPRequestHandler):
    """Answers like a service, or as the server is told to: ``answers`` maps a path to status, headers and body."""

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.rfile.read(length)
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        status, headers, body = self.server.answers.get(self.path, (404, {}, b""))  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: the test's output is its own."""


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A service of the canary's tenant, and whatever else a test wants to stand in its way."""
    running: Any = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    running.answers, running.seen = {"/echo": (200, {}, b'{"text": "I am."}')}, []
    running.url = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    home = tmp_path_factory.mktemp("canary")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CAIO_")}
    command = [CAIO, "serve", "--json", "--port", "0", "--data-dir", home / "data", "--allow-private", "127.0.0.0/8"]
    with (home / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [*map(str, command), "--log-level", "warning"],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**kept, "HOME": str(home)},
        )
        watch = threading.Timer(60, process.kill)
        watch.start()
        assert process.stdout is not None
        line = process.stdout.readline()
        watch.cancel()
        try:
            assert line, (home / "errors").read_text()
            ready = json.loads(line)
            yield canary.Installation(ready["url"], ready["api_key"])
        finally:
            process.terminate()
            process.communicate(timeout=30)


@pytest.fixture(scope="module")
def serving(installation: Any, server: Any) -> Any:
    """The installation with what the canary's request needs."""
    contract = {
        "service_id": "canary-echo",
        "name": "Answers the canary",
        "version": "1.0.0",
        "capabilities": ["canary.echo"],
        "guarantees": {"latency_ms": {"max": 5000}},
        "cost": {"currency": "USD", "per_request": "0"},
        "privacy": {"data_locality": "on_device", "trains_on_data": False},
        "api": {
            "protocol": "http-json",
            "base_url": server.url,
            "endpoints": [{"path": "/echo", "method": "POST"}],
            "timeout_ms": 5000,
        },
    }
    installation.ask("/api/v1/services", json.dumps(contract).encode())
    return installation


def _run(installation: Any, **changes: Any) -> str:
    return str(canary.run(installation, canary.ASKED.encode(), **changes))


# --- against a real installation ---------------------------------------------------------------------


def test_each_failure_is_told_nothing_serves(installation: Any) -> None:
    asked = b'{"request": {"capability": "canary.nobody", "payload": {}}}'
    with pytest.raises(canary.Failed, match=r"^/api/v1/orchestrate answered 4\d\d [a-z_]+\.$"):
        canary.run(installation, asked)


def test_a_working_installation_passes(serving: Any) -> None:
    assert _run(serving)


def test_each_failure_is_told_key_refused(serving: Any) -> None:
    with pytest.raises(canary.Failed, match="/api/v1/orchestrate answered 401") as raised:
        _run(canary.Installation(serving.url, "caio_test_" + "x" * 43))
    assert "x" * 43 not in str(raised.value)


def test_a_pinned_key_is_held_to(serving: Any) -> None:
    (published,) = serving.ask("/.well-known/caio-keys.json")["keys"]
    assert _run(serving, pinned=[published["key_id"]])
    with pytest.raises(canary.Failed, match=f"signed by {published['key_id']}, which is not a trusted key"):
        _run(serving, pinned=["0123456789abcdef"])


def test_each_failure_is_told_a_service_that_fails(serving: Any, server: Any) -> None:
    server.answers["/echo"] = (500, {}, b"{}")
    try:
        with pytest.raises(canary.Failed, match="/api/v1/orchestrate answered 5"):
            _run(serving)
    finally:
        server.answers["/echo"] = (200, {}, b'{"text": "I am."}')


def _changed(document: Any) -> Iterator[tuple[str, Any]]:
    """The document with each of its texts, numbers and truth values changed, one at a time, and where."""

    def leaves(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        if isinstance(value, dict | list):
            for key, each in value.items() if isinstance(value, dict) else enumerate(value):
                yield from leaves(each, (*path, key))
        else:
            yield path

    for path in leaves(document, ()):
        touched = copy.deepcopy(document)
        holder = touched
        for key in path[:-1]:
            holder = holder[key]
        old = holder[path[-1]]
        holder[path[-1]] = f"{old}A" if isinstance(old, str) else 1 + old if isinstance(old, int) else "A"
        yield "/".join(map(str, path)), touched


def test_a_receipt_that_was_touched_fails(serving: Any) -> None:
    decision_id = _run(serving)
    keys = canary.public_keys(serving.ask("/.well-known/caio-keys.json"), ())
    receipt = serving.ask(f"/api/v1/decisions/{decision_id}/receipt")
    canary.check_receipt(receipt, decision_id, keys)
    passed = []
    for where, touched in _changed(receipt):
        try:
            canary.check_receipt(touched, decision_id, keys)
        except canary.Failed:
            continue
        passed.append(where)
    assert passed == []
    with pytest.raises(canary.Failed, match="another decision's"):
        canary.check_receipt(receipt, "another", keys)


def test_what_is_signed_by_another_key_fails(serving: Any) -> None:
    decision_id = _run(serving)
    other = SigningKey.generate(bytes(range(32)))
    keys = canary.public_keys(serving.ask("/.well-known/caio-keys.json"), ())
    receipt = serving.ask(f"/api/v1/decisions/{decision_id}/receipt")
    signature = other.sign(canary.PURPOSE + canonical_json({k: v for k, v in receipt.items() if k != "signature"}))
    receipt["signature"] = canary.base64.b64encode(signature).decode()
    with pytest.raises(canary.Failed, match="signature does not hold"):
        canary.check_receipt(receipt, decision_id, keys)


def test_an_entry_that_was_swapped_under_a_good_signature_fails() -> None:
    key = SigningKey.generate(bytes(32))
    entry = {"payload": {"a": 1}, "salt": "00" * 32, "commitment": "11" * 32}
    receipt: dict[str, Any] = {"decision_id": "d", "key_id": key.key_id, "decision": entry, "outcome": None}
    receipt["signature"] = canary.base64.b64encode(key.sign(canary.PURPOSE + canonical_json(receipt))).decode()
    with pytest.raises(canary.Failed, match="does not commit to"):
        canary.check_receipt(receipt, "d", {key.key_id: key.public_key})


# --- against a server that misbehaves -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((503, {}, b'{"status": "unhealthy"}'), r"^/health/ready answered 503\.$"),
        ((200, {}, b'{"status": "degraded"}'), "says 'degraded'"),
        ((200, {}, b"<html>"), "other than JSON"),
    ],
)
def test_each_failure_is_told_not_ready(server: Any, answer: tuple[int, dict[str, str], bytes], told: str) -> None:
    server.answers["/health/ready"] = answer
    with pytest.raises(canary.Failed, match=told):
        _run(canary.Installation(server.url, "a-key"))


def test_each_failure_is_told_nobody_there() -> None:
    with pytest.raises(canary.Failed, match=r"could not be asked: .*refused"):
        _run(canary.Installation("http://127.0.0.1:9", "a-key"))


def test_the_key_is_never_told(server: Any) -> None:
    server.answers["/health/ready"] = (307, {"Location": f"{server.url}/stolen"}, b"")
    installation = canary.Installation(server.url, "a-very-secret-key")
    with pytest.raises(canary.Failed, match="answered 307") as raised:
        _run(installation)
    assert "a-very-secret-key" not in f"{raised.value} {installation!r}"
    assert "/stolen" not in {path for path, _ in server.seen}


# --- its parts -----------------------------------------------------------------------------------------------


def test_signatures_are_judged_as_the_library_judges_them() -> None:
    for number in range(8):
        key = SigningKey.generate(bytes([number]) * 32)
        signature = key.sign(b"message")
        assert canary.is_signed(key.public_key, b"message", signature)
        assert not canary.is_signed(key.public_key, b"massage", signature)
        for place in (0, 31, 32, 63):
            flipped = signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]
            assert not canary.is_signed(key.public_key, b"message", flipped)


def test_a_signature_is_the_only_one_of_its_message() -> None:
    key = SigningKey.generate(bytes(32))
    signature = key.sign(b"message")
    again = (int.from_bytes(signature[32:], "little") + canary.ORDER).to_bytes(32, "little")
    assert not canary.is_signed(key.public_key, b"message", signature[:32] + again)


def test_published_keys_are_those_of_their_ids() -> None:
    key = {
        "key_id": "0123456789abcdef",
        "algorithm": "Ed25519",
        "public_key": canary.base64.b64encode(bytes(32)).decode(),
    }
    with pytest.raises(canary.Failed, match="is not the one of that id"):
        canary.public_keys({"keys": [key]}, ())


def test_its_canonical_form_is_the_applications() -> None:
    document = {"b": [1, -2, True, None], "a": 'é \u2028 \x1f " \\ \U0001f600', "c": {"z": {}, "y": []}}
    assert canary.canonical(document) == canonical_json(document)
    with pytest.raises(ValueError, match="fractions"):
        canary.canonical({"a": canary.Fraction("0.5")})


def test_the_handler_takes_its_key_from_the_secret(serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def client(service: str) -> Any:
        assert service == "secretsmanager"
        return type("Secrets", (), {"get_secret_value": lambda self, SecretId: {"SecretString": secrets[SecretId]}})()

    secrets = {"an-arn": json.dumps({"canary": serving.api_key}), "empty": "{}"}
    monkeypatch.setitem(sys.modules, "boto3", ModuleType("boto3"))
    monkeypatch.setattr(sys.modules["boto3"], "client", client, raising=False)
    monkeypatch.setenv("CAIO_URL", serving.url)
    monkeypatch.setenv("API_KEY_SECRET", "an-arn")
    monkeypatch.setenv("TRUSTED_KEY_IDS", "")
    assert canary.handler({}, None).endswith("holds")
    monkeypatch.setenv("API_KEY_SECRET", "empty")
    with pytest.raises(canary.Failed, match="no member `canary`"):
        canary.handler({}, None)


def test_it_needs_nothing_but_the_standard_library() -> None:
    lines = [line.split() for line in SOURCE.read_text().splitlines() if line.startswith(("import ", "from "))]
    assert {words[1].split(".")[0] for words in lines} <= {*sys.stdlib_module_names}
