"""The mutants that `make mutation` tries: each wrong in one place, and none where nothing is promised."""

import ast

import pytest

from scripts.mutation.__main__ import ROOT, TARGETS, Trial
from scripts.mutation.mutants import mutants


def wrong(source):
    return [ast.unparse(mutant.applied(source)) for mutant in mutants(source)]


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        ("x = a < b", ["x = a <= b"]),
        ("x = a < b <= c", ["x = a <= b <= c", "x = a < b < c"]),
        ("x = a is None", ["x = a is not None"]),
        ("x = a and b", ["x = a or b"]),
        ("x = not a", ["x = a"]),
        ("x = a - b", ["x = a + b"]),
        ("x = a // 2", ["x = a * 2", "x = a // 3"]),
        ("f(True)", ["pass", "f(False)"]),
        ("x = 'word'", ["x = 'word~'"]),
        ("x = f'{a} b'", ["x = f'{a} b~'"]),
        ("x = min(a)", ["x = max(a)"]),
        ("x = np.any(a)", ["x = np.all(a)"]),
        ("x = a if b else c", ["x = a if not b else c"]),
        ("x = [a for a in b if a]", ["x = [a for a in b]"]),
        ("raise Error('words')", ["pass"]),
        ("x: Literal['a'] = 1", ["x: Literal['a'] = 2"]),
        (
            "@decorated('a')\ndef f(x: 'A') -> 'B':\n    return x",
            ["@decorated('a')\ndef f(x: 'A') -> 'B':\n    return None"],
        ),
        ("def f():\n    yield a", ["def f():\n    pass"]),
        ("for a in b:\n    continue", ["for a in b:\n    break"]),
        ('"""Says."""\nfrom a import b\n__all__ = ["b"]', []),
        ("def f():\n    return None", []),
    ],
)
def test_one_thing_is_wrong(right, expected):
    assert wrong(right) == expected


def test_a_mutant_says_where_and_what():
    [mutant] = mutants("x = a\n\ny = a < b\n")
    assert (mutant.line, mutant.before, mutant.after) == (3, "a < b", "a <= b")


@pytest.mark.parametrize("module", TARGETS)
def test_every_target_has_mutants_and_tests(module):
    source = Trial(module, None).path.read_text(encoding="utf-8")
    found = list(mutants(source))
    assert len(found) > 20
    assert [mutant for mutant in found if mutant.before == mutant.after] == []
    assert [name for name in TARGETS[module] if not (ROOT / name).is_file()] == []
