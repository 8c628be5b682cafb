"""The commands that need no server: decide, verify, trust, schemas."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from caio.cli import schemas
from caio.routing import checker

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
VECTORS = json.loads((ROOT / "schemas/vectors/receipt-v1.json").read_text())
CONTRACTS = ("answer-swift", "answer-careful")


def asked(request="latency-bound", contracts=CONTRACTS):
    given = [part for name in contracts for part in ("--contract", EXAMPLES / f"contracts/{name}.yaml")]
    return ["decide", *given, "--request", EXAMPLES / f"requests/{request}.json"]


def test_a_decision_is_shown_and_can_be_checked(caio, tmp_path):
    code, out, _ = caio(*asked(), "--policy", EXAMPLES / "policies/prefer-on-device.yaml", "--evidence-out", "e.json")
    assert code == 0
    assert out.startswith("answer-swift@1.0.0 wins\n")
    assert "p95 120" in next(line for line in out.splitlines() if line.startswith("answer-careful@1.0.0"))
    with_json = [*asked(), "--policy", EXAMPLES / "policies/prefer-on-device.yaml", "--json"]
    decided = json.loads(caio(*with_json)[1])
    claims = checker.check(
        decided["certificate"], json.loads((tmp_path / "e.json").read_text()), decided["decision_hash"]
    )
    assert [claim for claim in claims if not claim.proved] == []
    assert decided["decision_hash"] in out


def test_deciding_is_deterministic():
    hashes = set()
    for seed, order in (("0", CONTRACTS), ("1", CONTRACTS[::-1])):
        run = subprocess.run(
            [sys.executable, "-m", "caio", *map(str, asked(contracts=order)), "--json"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        hashes.add(json.loads(run.stdout)["decision_hash"])
    assert len(hashes) == 1


def test_a_seed_and_a_history_enter_the_decision(caio, tmp_path):
    (tmp_path / "h.json").write_text('{"answer-swift": [10, 9, 30]}')
    plain, seeded, observed = (
        json.loads(caio(*asked(), *more, "--json")[1]) for more in ([], ["--seed", "dice"], ["--history", "h.json"])
    )
    assert seeded["certificate"]["seed"] == "dice"
    assert observed["certificate"]["history"] != plain["certificate"]["history"]
    assert len({each["decision_hash"] for each in (plain, seeded, observed)}) == 3


def test_a_refusal_names_its_reasons_and_exits_3(caio):
    code, out, _ = caio(*asked("refusal"))
    assert code == 3
    assert ">= 0.99" in out
    code, out, _ = caio(*asked("refusal"), "--json")
    assert (code, json.loads(out)["certificate"]["plan"]) == (3, [])


@pytest.mark.parametrize("history", ["[]", '{"a": [1, 2, 3]}', '{"a": [1, 1]}', '{"a": [true, 0, 0]}', '{"a": 1}', "{"])
def test_a_wrong_history_is_invalid_input(caio, tmp_path, history):
    (tmp_path / "h.json").write_text(history)
    code, _, err = caio(*asked(), "--history", "h.json")
    assert code == 4
    assert "h.json" in err


def test_policies_that_requests_name_are_found_among_the_files(caio, tmp_path):
    request = json.loads((EXAMPLES / "requests/latency-bound.json").read_text())
    rule = "id: {}\nversion: 1\neffect: forbid\nthen: 'true'\nattach: request\n"
    (tmp_path / "no.yaml").write_text(rule.format("no"))
    (tmp_path / "again.yaml").write_text(rule.format("no"))
    policies = ["--policy", "no.yaml"]
    code, _, err = caio(*asked(), *policies)
    assert (code, "applies only to requests that name it" in err) == (0, True)
    (tmp_path / "r.json").write_text(json.dumps({**request, "policies": ["no"]}))
    named = [*asked()[:-1], "r.json"]
    assert caio(*named, *policies)[0] == 3
    code, _, err = caio(*named)
    assert (code, "no --policy file holds 'no'" in err) == (4, True)
    assert caio(*named, *policies, "--policy", "again.yaml")[0] == 4


def pin(tmp_path):
    (tmp_path / "keys.json").write_text(json.dumps(VECTORS["key_set"]))
    return "--keys", "keys.json"


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_verify_agrees_with_the_published_vectors(caio, tmp_path, case):
    (tmp_path / "r.json").write_text(json.dumps(case["receipt"]))
    (tmp_path / "e.json").write_text(json.dumps(case["evidence"]))
    evidence = ["--evidence", "e.json"] if case["evidence"] is not None else []
    code, out, _ = caio("verify", "r.json", *pin(tmp_path), *evidence, "--json")
    shown = json.loads(out)
    assert code == (0 if case["ok"] else 11)
    assert shown["ok"] is case["ok"]
    proved = {claim["name"]: claim["proved"] for claim in shown["claims"]}
    assert {name: proved[name] for name in case["claims"] if name != "decision"}.items() <= case["claims"].items()
    assert shown["verdict"].startswith("Verified" if case["ok"] else "Not verified")


def test_the_verdict_says_whether_the_log_holds_it(caio, tmp_path):
    cases = {case["name"]: case for case in VECTORS["cases"]}
    said = {}
    for name in (
        "in a log of seven entries",
        "the log does not hold the decision yet",
        "a log too small for the outcome",
    ):
        (tmp_path / "r.json").write_text(json.dumps(cases[name]["receipt"]))
        said[name] = caio("verify", "r.json", *pin(tmp_path))[1]
    held, absent, refuted = said.values()
    assert "its hashes hold, and the log holds it." in held
    assert "the log holds it." not in absent
    assert "caio decisions receipt dec_01kzbn3nr00000000000000001 -o r.json" in absent
    assert "Not verified: outcome inclusion does not hold." in refuted


def test_what_is_no_receipt_is_invalid_input(caio, tmp_path):
    (tmp_path / "r.json").write_text('{"a": 1, "a": 2}')
    assert caio("verify", "r.json", *pin(tmp_path))[0] == 4
    assert caio("verify", "absent.json")[0] == 4


def test_only_pinned_keys_are_trusted(caio, tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(VECTORS["cases"][0]["receipt"]))
    code, out, _ = caio("verify", "r.json")
    assert (code, "caio trust add" in out) == (11, True)
    pin(tmp_path)
    assert caio("trust", "add", "keys.json")[0] == 4, "nobody confirmed"
    assert not (tmp_path / "trusted.json").exists()
    assert caio("trust", "add", "keys.json", "--yes")[0] == 0
    assert caio("verify", "r.json")[0] == 0
    key_id = VECTORS["cases"][0]["receipt"]["key_id"]
    assert key_id in json.loads(caio("trust", "list", "--json")[1])["trusted"]
    assert caio("trust", "remove", key_id)[0] == 0
    assert caio("verify", "r.json")[0] == 11
    assert caio("trust", "remove", key_id)[0] == 6
    assert key_id not in json.loads(caio("trust", "list", "--json")[1])["trusted"]


def test_a_key_under_a_false_name_is_refused(caio, tmp_path):
    forged = json.loads(json.dumps(VECTORS["key_set"]))
    forged["keys"][0]["key_id"] = "0" * 16
    (tmp_path / "keys.json").write_text(json.dumps(forged))
    code, _, err = caio("trust", "add", "keys.json", "--yes")
    assert (code, "/keys/0/key_id" in err) == (4, True)


def test_schemas_that_fell_behind_are_found_and_written(caio, tmp_path):
    (tmp_path / "schemas").mkdir()
    code, out, _ = caio("schemas", "--check", "--json")
    assert (code, set(json.loads(out)["behind"])) == (1, set(schemas.generated()))
    assert caio("schemas", "--write")[0] == 0
    assert caio("schemas", "--check")[0] == 0
    (tmp_path / "schemas/openapi.json").write_text("{}")
    assert json.loads(caio("schemas", "--check", "--json")[1])["behind"] == ["openapi.json"]
    assert caio("schemas")[0] == 2
