"""Text from outside stays text: it steers no terminal and forges no line."""

from __future__ import annotations

from caio.cli import output


def test_control_characters_are_spelt_out():
    assert output.plain("a\x1b[31m\x9b\x07\u202eb\u2066\n\tc") == "a\\x1b[31m\\x9b\\x07\\u202eb\\u2066\n\tc"


def test_a_cell_is_one_line(capsys):
    output.claims([(False, "form", "of x\n\u2713  anchors  hold")])
    output.facts({"origin": "x\n  signed by  you"})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].endswith(r"of x\x0a\u2713  anchors  hold".replace(r"\u2713", "\u2713"))
    assert lines[2] == r"  origin  x\x0a  signed by  you"
