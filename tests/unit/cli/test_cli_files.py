"""Requests keep their numbers, mistakes have lines, and text from outside cannot steer a terminal."""

import json

import pytest

from caio.cli import output
from caio.cli.files import InvalidFile, about, read_file, read_json
from caio.cli.requests import request_body
from caio.foundation.errors import InvalidInput, Violation


def test_numbers_stay_as_they_were_written():
    raw = b'{"request": {"payload": {"x": 0.1000, "y": 12345678901234567890, "z": 1e-7}}}'
    sent = request_body(raw, [])
    assert b"0.1000" in sent
    assert b"12345678901234567890" in sent
    assert json.loads(sent) == json.loads(raw)


def test_yaml_and_json_ask_the_same():
    yaml = b"request:\n  capability: chat\n  requirements: {max_cost: 0.10}\npolicies: [a]\n"
    as_json = b'{"request": {"capability": "chat", "requirements": {"max_cost": 0.10}}, "policies": ["a"]}'
    assert request_body(yaml, ["b"]) == request_body(as_json, ["b"])
    assert json.loads(request_body(yaml, ["b"]))["policies"] == ["a", "b"]


@pytest.mark.parametrize("raw", [b"[", b"\xff", b"a: 1\na: 2", b"{"])
def test_what_is_no_document_is_invalid_input(raw):
    with pytest.raises(InvalidInput) as caught:
        request_body(raw, [])
    assert caught.value.violations


def test_a_mistake_is_located_in_its_file():
    raw = b'{\n "a": {\n  "b": 1}}'
    with pytest.raises(InvalidFile) as caught, about("f.json", raw):
        raise InvalidInput("bad", [Violation("/a/b", "no"), Violation("/a/c", "no"), Violation("/a", "no", 9)])
    assert [each.line for each in caught.value.violations] == [3, 2, 9]
    assert output.place("f.json", caught.value.violations[0]) == "f.json:3 /a/b"


def test_unreadable_files_say_so(tmp_path):
    with pytest.raises(InvalidFile, match="cannot be read"):
        read_file(str(tmp_path / "absent"))
    (tmp_path / "bad.json").write_text('{"a":\n}')
    with pytest.raises(InvalidFile) as caught:
        read_json(str(tmp_path / "bad.json"))
    assert caught.value.violations[0].line == 2


def test_text_from_outside_cannot_steer_the_terminal(capsys):
    output.say("a\x1b[31mred\x9b0m\tb\nc")
    output.table(["x"], [["\x1b]0;title\x07"]])
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\x9b" not in printed
    assert "\\x1b[31mred\\x9b0m\tb\nc" in printed


def test_tables_take_brackets_as_text(capsys):
    output.table(["name", "n"], [["[red]x[/red]", 1], ["y", 10]], right=["n"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["name           n", "[red]x[/red]   1", "y             10"]
