"""``caio policies validate`` without a server: what is found, how it is printed, how it exits."""

import json

US = 'service.privacy.data_locality == "regions" && "us" in service.privacy.regions'


def write(folder, file, **document):
    path = folder / file
    path.write_text(json.dumps(document))
    return path


def policy(folder, policy_id, effect, then, **parts):
    document = {"id": policy_id, "version": 1, "effect": effect, "then": then} | parts
    return write(folder, f"{policy_id}.json", **document)


def service(folder, service_id, locality):
    return write(
        folder,
        f"{service_id}.json",
        service_id=service_id,
        name=service_id,
        version="1.0.0",
        capabilities=["chat"],
        privacy={"data_locality": locality},
        api={"protocol": "http-json", "base_url": "https://example.com", "endpoints": [{"path": "/"}]},
    )


def test_findings_are_printed_with_their_examples(caio, tmp_path):
    file = policy(tmp_path, "hr", "forbid", US, when='request.labels.team == "hr"')
    code, out, err = caio("policies", "validate", file.name, "--contract", service(tmp_path, "over", ["us"]).name)
    assert (code, err) == (0, "")
    assert out == (
        "hr.json: policy hr@1 is valid\n"
        "  ✗ forbids_everything /then: every registered service is forbidden: "
        "while it is in force, every request is refused\n"
        '      for example request {"labels": {"team": "hr"}}, service over@1.0.0\n'
        "  ! may_err /when: `when` fails for some requests, and an error denies: "
        "no service is left to them; ask has(…) first\n"
        '      for example request {"labels": {}}\n'
        "  · newly_forbids: newly forbids over@1.0.0 (1 of 1 registered service) to requests such as the example's\n"
        '      for example request {"labels": {"team": "hr"}}, service over@1.0.0\n'
    )


def test_files_are_compared_with_each_other_and_json_says_the_same(caio, tmp_path):
    home = policy(tmp_path, "home", "require", 'service.privacy.data_locality == "on_device"')
    away = policy(tmp_path, "away", "require", 'service.privacy.data_locality == "cloud"', when="request.sensitive")
    code, out, _ = caio("policies", "validate", home.name, away.name, "--json")
    first, second = map(json.loads, out.splitlines())
    assert (code, first["file"], first["valid"], first["warnings"]) == (0, "home.json", True, [])
    for found, other in ((first, "away@1"), (second, "home@1")):
        finding = found["findings"][0]
        assert (finding["code"], finding["severity"], finding["policies"]) == ("contradicts", "severe", [other])
        assert finding["counterexample"]["request"] == {"sensitive": True}


def test_strict_exits_as_for_an_invalid_policy(caio, tmp_path):
    never = policy(tmp_path, "never", "require", "service.guarantees.accuracy.min >= 95.0")
    code, _, err = caio("policies", "validate", never.name, "--strict")
    assert code == 4
    assert "/then never_matches: no possible contract satisfies `then`" in err
    assert caio("policies", "validate", never.name)[0] == 0
    fine = policy(tmp_path, "fine", "forbid", US)
    assert caio("policies", "validate", fine.name, "--strict")[0] == 0


def test_a_flaw_in_one_file_is_told_of_that_file(caio, tmp_path):
    broken = policy(tmp_path, "broken", "forbid", "service.nothing")
    fine = policy(tmp_path, "fine", "forbid", US)
    code, out, err = caio("policies", "validate", fine.name, broken.name)
    assert code == 4
    assert "policy fine@1 is valid" in out
    assert "broken.json:1 /then line 1, column 9" in err
