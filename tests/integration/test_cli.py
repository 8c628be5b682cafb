"""The real ``caio`` against a real ``caio serve`` and a real service, every command with its exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from tests.support.forked_caio import ForkedCaio

CAIO = Path(sys.executable).with_name("caio")

CONTRACT = """\
service_id: {name}
name: Test service
version: {version}
tags: [cli-test]
capabilities: [{{type: {capability}}}]
guarantees:
  accuracy: {{min: 0.9}}
  latency_ms: {{max: 20000}}
constraints: {{{constraints}}}
cost: {{currency: USD, per_request: "0.001"}}
privacy: {{data_locality: on_device, trains_on_data: false}}
api:
  protocol: http-json
  base_url: {url}
  endpoints: [{{path: {path}, method: POST}}]
  timeout_ms: 20000
"""
POLICY = """\
id: {name}
version: {version}
effect: require
then: 'service.privacy.data_locality == "on_device"'
message: Stay here.
attach: request
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Cli:
    """Runs commands with nothing of this process's settings: ``installed`` as a shell would, by the
    script; called, in a process forked from one that has done the imports."""

    def __init__(self, forked: ForkedCaio, home: Path, **variables: str) -> None:
        self.forked = forked
        self.home = home
        self.environment = {**_plain_environment(home), **variables}

    def __call__(self, *arguments: object, stdin: str | bytes = "") -> Done:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        return _checked(*self.forked.run([*map(str, arguments)], given, self.environment, self.home))

    def installed(self, *arguments: object) -> Done:
        command = [str(CAIO), *map(str, arguments)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=self.environment, cwd=self.home, check=False
        )
        return _checked(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: object, stdin: str | bytes = "") -> str:
        done = self(*arguments, stdin=stdin)
        assert done.code == 0, done
        return done.out

    def json(self, *arguments: object, code: int = 0, stdin: str | bytes = "") -> Any:
        """The one JSON document on standard output."""
        done = self(*arguments, "--json", stdin=stdin)
        assert done.code == code, done
        return json.loads(done.out)


def _checked(code: int, raw_out: bytes, raw_err: bytes) -> Done:
    out, err = raw_out.decode(), raw_err.decode()
    assert "Traceback" not in err, err
    assert "\x1b" not in out + err, "colour without a terminal"
    return Done(code, out, err)


def _plain_environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CAIO_")}
    return {**kept, "HOME": str(home), "TERM": "dumb"}


class Running:
    """A ``caio serve --json`` of its own, ready."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.data = home / "data"
        self._err = (home / "serve.err").open("w+b")
        command = [
            str(CAIO),
            "serve",
            "--json",
            "--port",
            "0",
            "--data-dir",
            str(self.data),
            "--allow-private",
            "127.0.0.0/8",
        ]
        self.process = subprocess.Popen(
            [*command, "--log-level", "warning", *arguments],
            stdout=subprocess.PIPE,
            stderr=self._err,
            env=_plain_environment(home),
        )
        watch = threading.Timer(60, self.process.kill)
        watch.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        watch.cancel()
        assert line, self.log()
        self.ready = json.loads(line)

    def log(self) -> str:
        self._err.seek(0)
        return self._err.read().decode()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        assert self.process.stdout is not None
        rest = self.process.stdout.read()
        self.process.stdout.close()
        assert rest == b"", "more than one line on standard output"
        log = self.log()
        self._err.close()
        assert "Traceback" not in log, log
        return code


@pytest.fixture(scope="module")
def service_url():
    """A real HTTP service: /answer turns text round, /broken fails."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"answer": str((await request.json())["text"])[::-1]})

    async def broken(_: web.Request) -> web.Response:
        return web.json_response({"error": "broken"}, status=500)

    loop = asyncio.new_event_loop()
    app = web.Application()
    app.add_routes([web.post("/answer", answer), web.post("/broken", broken)])
    runner = web.AppRunner(app)
    loop.run_until_complete(runner.setup())
    site = web.TCPSite(runner, "127.0.0.1", 0)
    loop.run_until_complete(site.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(runner.cleanup())
    loop.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = Running(tmp_path_factory.mktemp("serve"))
    yield server
    if server.process.poll() is None:
        assert server.stop() == 0


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    parent = ForkedCaio(tmp_path_factory.mktemp("streams"))
    yield parent
    parent.close()


@pytest.fixture
def cli(forked, running, tmp_path):
    return Cli(forked, tmp_path, CAIO_URL=running.ready["url"], CAIO_API_KEY=running.ready["api_key"])


@pytest.fixture
def write(tmp_path, service_url):
    """Writes contracts, policies and requests, each as a file named for what it is."""

    def write(kind: str, name: str, text: str = "", version: str = "", **fields: Any) -> Path:
        path: Path = tmp_path / f"{name}{version}.{'json' if kind == 'request' else 'yaml'}"
        if kind == "contract":
            given = {"capability": name, "path": "/answer", "constraints": "", "url": service_url, **fields}
            text = CONTRACT.format(name=name, version=version or "1.0.0", **given)
        elif kind == "policy":
            text = POLICY.format(name=name, version=version or "1")
        elif kind == "request":
            asked = {"capability": name.removesuffix("-request"), "payload": {"text": "abc"}, **fields}
            text = json.dumps({"request": asked}, indent=1)
        path.write_text(text)
        return path

    return write


def test_services_from_registration_to_retirement(cli, write):
    first, second = write("contract", "life"), write("contract", "life", version="1.1.0")
    assert "registered service life@1.0.0 (revision 1)" in cli.ok("services", "register", first)
    assert cli.json("services", "register", first, code=7)["error"]["code"] == "already_exists"
    listed = cli.ok("services", "list", "--tag", "cli-test").splitlines()
    assert listed[0].split() == ["service", "version", "status", "capabilities", "locality", "tags"]
    assert any(line.split()[:3] == ["life", "1.0.0", "active"] for line in listed)
    assert [line for line in listed if line != line.rstrip()] == []

    assert cli("services", "update", second, "--if-match", "7").code == 7
    assert cli.json("services", "update", second)["revision"] == 2
    assert "version: 1.1.0" in cli.ok("services", "get", "life")
    assert cli.json("services", "get", "life", "--version", "1.0.0")["version"] == "1.0.0"

    assert "life is retired" in cli.ok("services", "retire", "life")
    active, every = cli.json("services", "list"), cli.json("services", "list", "--retired")
    assert "life" not in [each["name"] for each in active["items"]]
    assert "life" in [each["name"] for each in every["items"]]


def test_policies_from_saving_to_retirement(cli, write):
    assert "saved policy stay@1" in cli.ok("policies", "save", write("policy", "stay"))
    assert cli.json("policies", "update", write("policy", "stay", version="2"))["version"] == "2"
    assert "Stay here." in cli.ok("policies", "list")
    assert cli.json("policies", "get", "stay")["document"]["attach"] == "request"
    assert cli.json("policies", "retire", "stay")["status"] == "retired"


def test_aliases_from_setting_to_removal(cli, tmp_path):
    assert "alias fast goes to auto:chat (revision 1)" in cli.ok("aliases", "set", "fast", "--capability", "chat")
    file = tmp_path / "fast.yaml"
    file.write_text("target: {capability: chat}\ndescription: Told by a file\nwishes: {deadline_ms: 5000}\n")
    assert cli("aliases", "set", "fast", file, "--if-match", "7").code == 7
    assert cli.json("aliases", "set", "fast", file)["revision"] == 2
    assert any("Told by a file" in line for line in cli.ok("aliases", "list").splitlines())
    assert "deadline_ms: 5000" in cli.ok("aliases", "show", "fast")
    for arguments in ([], [file, "--capability", "chat"], ["--policy", "stay"]):
        assert cli("aliases", "set", "fast", *arguments).code == 4
    assert cli("aliases", "set", "slow", "--service", "nothing-at-all").code == 4
    assert cli.json("aliases", "remove", "fast")["revision"] == 2
    assert cli("aliases", "show", "fast").code != 0
    assert "no aliases" in cli.ok("aliases", "list")


def test_a_request_its_decision_and_its_refusal(cli, write):
    cli.ok("services", "register", write("contract", "turn"))
    cli.ok("policies", "save", write("policy", "at-home"))
    request = write("request", "turn-request")
    human = cli.ok("orchestrate", request)
    assert '"answer": "cba"' in human
    assert "turn@1.0.0" in human
    answered = cli.json("orchestrate", "-", "--policy", "at-home", stdin=request.read_bytes())
    assert answered["output"] == {"answer": "cba"}
    assert cli.json("route", request, "--policy", "nobody", code=4)["error"]["errors"][0]["pointer"] == "/policies/0"
    assert "turn" in cli.ok("route", request)

    decision = answered["decision_id"]
    assert decision in cli.ok("decisions", "list")
    assert "charged" in cli.ok("decisions", "get", decision)
    assert cli.json("decisions", "get", decision)["outcome"] == "routed"
    assert cli.json("decisions", "evidence", decision)["policies"][0]["id"] == "at-home"

    hard = write("request", "turn-request", requirements={"accuracy": {"min": 0.99}})
    refused = cli.installed("orchestrate", hard)
    assert (refused.code, refused.out) == (3, "")
    row = next(line for line in refused.err.splitlines() if line.startswith("turn@1.0.0"))
    assert "accuracy.min" in row
    assert ">= 0.99" in row
    assert "0.9" in row.split()
    assert {each["clause"] for each in cli.json("orchestrate", hard, code=3)["error"]["reasons"]} == {
        "guarantee",
        "capability",
    } & {each["clause"] for each in cli.json("route", hard, code=3)["error"]["reasons"]}


def test_what_was_promised_stands_beside_what_was_observed(cli, write):
    cli.ok("services", "register", write("contract", "seen"))
    cli.ok("orchestrate", write("request", "seen-request"))
    rows = {line.split("  ")[0]: line.split() for line in cli.ok("services", "observed", "seen").splitlines()}
    assert rows["promise"] == ["promise", "1h", "24h", "30d"]
    assert rows["latency_ms.max"][:4] == ["latency_ms.max", "<=", "20000", "kept"]
    assert rows["accuracy.min"].count("measured") == 3
    assert rows["calls"] == ["calls", "1", "1", "1"]
    assert len(rows["p95 of whole answers"]) == 7
    report = cli.json("services", "observed", "seen", "--version", "1.0.0")
    assert [each["calls"] for each in report["windows"]] == [1, 1, 1]
    assert cli.json("services", "observed", "seen", "--version", "9.0.0", code=6)["error"]["code"] == "not_found"


def test_health_says_whether_a_service_is_called(cli, write):
    cli.ok("services", "register", write("contract", "unwell", path="/broken"))
    assert cli.ok("services", "health", "unwell").startswith("unwell@1.0.0 is called\n")
    for _ in range(5):
        assert cli("orchestrate", write("request", "unwell-request")).code != 0
    told = cli.ok("services", "health", "unwell")
    assert told.startswith("unwell@1.0.0 is ")
    assert "cause: faults in a row" in told
    health = cli.json("services", "health", "unwell", "--version", "1.0.0")
    assert (health["state"] in ("open", "half_open"), health["faults"], health["waiting"]) == (True, 5, 0)
    assert cli.json("services", "health", "nowhere", code=6)["error"]["code"] == "not_found"


def test_keys_are_printed_once_and_revocable(cli, running):
    made = cli("keys", "create", "reader", "--role", "auditor")
    token = made.out.strip()
    assert token.startswith("caio_deve_")
    assert made.err.count("shown once") == 1
    key = next(each for each in cli.json("keys", "list")["items"] if each["name"] == "reader")
    assert token not in json.dumps(key)
    assert "reader" in cli.ok("keys", "list")
    reader = Cli(cli.forked, cli.home, CAIO_URL=running.ready["url"], CAIO_API_KEY=token)
    assert reader.json("keys", "list", code=5)["error"]["code"] == "not_allowed"
    assert "is revoked" in cli.ok("keys", "revoke", key["key_id"])
    denied = reader("services", "list")
    assert denied.code == 5
    assert token not in denied.err


def test_keys_are_bound_by_policies(cli, write):
    cli.ok("policies", "save", write("policy", "bind"))
    made = cli("keys", "create", "bound", "--policy", "bind")
    assert "(user, bound by bind)" in made.err
    assert any(
        line.split()[1:2] == ["bound"] and "bind" in line.split() for line in cli.ok("keys", "list").splitlines()
    )
    refused = cli.json("keys", "create", "lost", "--policy", "bind", "--policy", "nobody", code=4)
    assert refused["error"]["errors"][0]["pointer"] == "/policies/1"


def test_a_severe_finding_is_said_loudly_or_refused(cli, write):
    path = write("policy", "loud")
    path.write_text(
        "id: loud\nversion: 1\nattach: request\neffect: require\nthen: service.guarantees.accuracy.min > 1.0\n"
    )
    assert cli.json("policies", "save", "--strict", path, code=4)["error"]["code"] == "policy_findings"
    assert "✗ never_matches /then" in cli.ok("policies", "validate", "--on-server", path)
    saved = cli("policies", "save", path)
    assert (saved.code, saved.out.splitlines()[0]) == (0, "saved policy loud@1 (revision 1)")
    assert "loud is saved and in force, with 1 severe finding" in saved.err
    assert "caio policies retire loud" in saved.err
    cli.ok("policies", "retire", "loud")


def test_secrets_come_from_standard_input_and_never_out(cli, running):
    assert "is stored" in cli.ok("secrets", "set", "provider", "--data-dir", running.data, stdin="hunter2\n")
    assert cli.json("secrets", "list", "--data-dir", running.data) == {"items": ["provider"]}
    assert not any(b"hunter2" in file.read_bytes() for file in running.data.rglob("*") if file.is_file())
    assert cli("secrets", "set", "provider", "--data-dir", running.data).code == 4, "an empty value"
    assert cli("secrets", "set", "Not/A/Name", "--data-dir", running.data, stdin="x").code == 4
    assert cli.json("secrets", "delete", "provider", "--data-dir", running.data)["deleted"]
    assert cli("secrets", "delete", "provider", "--data-dir", running.data).code == 6


def test_the_operators_commands_work_while_the_server_runs(cli, running, tmp_path):
    copy = tmp_path / "copy.db"
    assert cli.json("db", "backup", copy, "--data-dir", running.data)["bytes"] > 0
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert cli("db", "backup", copy, "--data-dir", running.data).code == 7
    current = cli.json("db", "current", "--data-dir", running.data)
    assert current["revision"] == current["head"]
    assert "stands at" in cli.ok("db", "upgrade", "--data-dir", tmp_path / "fresh")
    locked = cli.installed("serve", "--port", "0", "--data-dir", running.data)
    assert locked.code == 1
    assert len(locked.err.splitlines()) == 1
    assert str(running.process.pid) in locked.err
    port = running.ready["url"].rpartition(":")[2]
    busy = cli.installed("serve", "--port", port, "--data-dir", tmp_path / "other")
    assert (busy.code, len(busy.err.splitlines())) == (1, 1)
    assert not (tmp_path / "other").exists(), "a busy port must leave nothing behind"


def test_bad_input_is_told_by_file_and_line(cli, write):
    bad = write("raw", "bad", "service_id: bad\nname: Bad\nversion: 1.0.0\nguarantees:\n  accuracy: {min: 7}\n")
    good = write("contract", "good")
    for command in ("register", "validate"):
        done = cli("services", command, bad)
        assert done.code == 4
        assert f"{bad}:5 /guarantees/accuracy/min" in done.err
        assert f"{bad}:1 /api is required" in done.err
    mixed = cli("services", "register", bad, good, "--json")
    assert mixed.code == 4, "the good one is registered all the same"
    assert [json.loads(line).get("name") for line in mixed.out.splitlines()] == [None, "good"]
    rule = write("raw", "rule", "id: r\nversion: 1\neffect: require\nthen: 'service.nmae == \"x\"'\n")
    assert f"{rule}:4 /then" in cli("policies", "save", rule).err
    assert cli.json("policies", "validate", rule, code=4)["error"]["errors"][0]["line"] == 4
    request = write("raw", "asked", '{"request": {\n "capability": "x",\n "bogus": 1}}')
    assert f"{request}:3 /request/bogus" in cli("orchestrate", request).err
    assert cli("orchestrate", cli.home / "absent.json").code == 4


def test_exit_codes_say_what_happened(cli, write):
    cli.ok("services", "register", write("contract", "fails", path="/broken"))
    assert cli("orchestrate", write("request", "fails-request")).code == 9
    cli.ok("services", "register", write("contract", "narrow", constraints="rate_limit: {per_minute: 1}"))
    once = write("request", "narrow-request")
    cli.ok("orchestrate", once)
    limited = cli("orchestrate", once)
    assert limited.code == 8
    assert "try again in" in limited.err
    assert cli("services", "get", "nobody").code == 6
    assert cli.installed("services", "frobnicate").code == 2
    assert cli("services", "list", "--url", "http://127.0.0.1:1").code == 10
    assert Cli(cli.forked, cli.home)("services", "list").code == 5, "no key at all"


def test_a_receipt_outlives_its_server(forked, write, tmp_path):
    running = Running(tmp_path)
    url, token = running.ready["url"], running.ready["api_key"]
    cli = Cli(forked, tmp_path, CAIO_URL=url, CAIO_API_KEY=token)
    assert set(running.ready) == {"url", "docs", "api_key", "pid"}
    assert running.ready["pid"] == running.process.pid
    cli.ok("services", "register", write("contract", "kept"))
    decision = cli.json("orchestrate", write("request", "kept-request"))["decision_id"]
    assert "caio verify r.json" in cli.ok("decisions", "receipt", decision, "-o", "r.json")
    cli.ok("decisions", "evidence", decision, "-o", "e.json")
    assert cli("verify", "r.json").code == 11, "no key is pinned yet, and the receipt's own word does not count"
    assert cli("trust", "add", url).code == 4, "nobody was asked"
    assert len(cli.json("trust", "add", url, "--yes")["added"]) == 1
    assert running.stop() == 0

    assert cli("services", "list").code == 10
    alone = cli.ok("verify", "r.json")
    assert "Not proved: that the decision was right" in alone
    assert "✓  signature" in alone
    proved = cli.json("verify", "r.json", "--evidence", "e.json")
    assert proved["ok"]
    assert all(claim["proved"] for claim in proved["claims"])
    receipt = json.loads((tmp_path / "r.json").read_text())
    receipt["outcome"]["payload"]["charged"] = "0"
    (tmp_path / "tampered.json").write_text(json.dumps(receipt))
    tampered = cli.installed("verify", "tampered.json")
    assert tampered.code == 11
    assert "✗  signature" in tampered.out
    (key_id,) = cli.json("trust", "list")["trusted"]
    cli.ok("signing-key", "rotate", "--data-dir", running.data)

    again = Running(tmp_path)
    assert "api_key" not in again.ready, "a key is shown once"
    assert Cli(forked, tmp_path, CAIO_URL=again.ready["url"], CAIO_API_KEY=token)("services", "list").code == 0
    assert key_id not in cli.json("trust", "add", again.ready["url"], "--yes")["added"]
    assert again.stop(signal.SIGINT) == 0
    cli.ok("verify", "r.json")
    cli.ok("trust", "remove", key_id)
    assert cli("verify", "r.json").code == 11


def test_serve_tells_people_what_to_do_next(tmp_path):
    with subprocess.Popen(
        [str(CAIO), "serve", "--port", "0", "--data-dir", str(tmp_path / "d")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=_plain_environment(tmp_path),
    ) as process:
        watch = threading.Timer(60, process.kill)
        watch.start()
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while lines[-1] and "caio services register" not in lines[-1]:
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
        watch.cancel()
    said = "".join(lines)
    assert said.count("shown once") == 1
    assert "/docs" in said
    assert str(tmp_path / "d") in said
    assert "export CAIO_API_KEY=caio_deve_" in said
