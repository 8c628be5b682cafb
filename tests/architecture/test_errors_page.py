"""docs/reference/errors.md names every stable code, with the status or exit code it really has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from caio.api.errors import STATUS
from caio.cli.exits import EXIT_CODES
from caio.foundation.errors import FAULTS_WORTH_A_FALLBACK, CaioError, Category, UpstreamFault

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PAGE = (ROOT / "docs/reference/errors.md").read_text()
ROW = re.compile(r"^\| `(?P<code>\w+)` \| (?P<number>\d+) \| (?P<meaning>[^|]+) \| (?P<advice>[^|]+) \|$", re.MULTILINE)
FAULT = re.compile(r"^\| `(?P<fault>\w+)` \| [^|]+ \| (?P<tried>yes|no|with [^|]+) \|$", re.MULTILINE)

#: Errors whose code is made of a noun; the nouns are those of ``caio.contracts.parse``.
MADE = {"invalid_contract": Category.INVALID, "invalid_policy": Category.INVALID}
#: The one code whose status is not its category's.
OTHERWISE = {"method_not_allowed": 405}


def errors_of(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Every code a module states, with the error class that carries it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "code":
                    yield str(ast.literal_eval(line.value)), node.name
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            for keyword in node.keywords:
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value), node.func.id


def descendants(error: type[CaioError]) -> Iterator[type[CaioError]]:
    for each in error.__subclasses__():
        yield each
        yield from descendants(each)


def categories() -> dict[str, set[Category]]:
    """The category of each code in the source."""
    stated: list[tuple[str, str]] = []
    for path in sorted(SOURCE.rglob("*.py")):
        if here := list(errors_of(ast.parse(path.read_text()))):
            import_module(".".join(path.relative_to(SOURCE).with_suffix("").parts))
            stated += here
    carriers = {each.__name__: each for each in descendants(CaioError)}
    found = {code: {category} for code, category in MADE.items()}
    for code, name in stated:
        found.setdefault(code, set()).add(carriers[name].category)
    return found


def table(heading: str) -> dict[str, re.Match[str]]:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return {row["code"]: row for row in ROW.finditer(section)}


def test_every_code_is_named_with_its_number():
    found = categories()
    assert len(found) > 40  # the source is really looked at
    over_http, elsewhere = table("Answered over HTTP"), table("On the command line and at start")
    assert not set(over_http) & set(elsewhere)
    assert {*over_http, *elsewhere} == set(found)
    for code, row in over_http.items():
        assert {OTHERWISE.get(code, STATUS[category]) for category in found[code]} == {int(row["number"])}, code
    for code, row in elsewhere.items():
        assert {int(EXIT_CODES[category]) for category in found[code]} == {int(row["number"])}, code


def test_every_fault_is_named_with_what_follows():
    rows = {row["fault"]: row["tried"] for row in FAULT.finditer(PAGE.partition("## Faults of services")[2])}
    assert set(rows) == {fault.value for fault in UpstreamFault}
    assert {fault for fault, tried in rows.items() if tried != "no"} == {each.value for each in FAULTS_WORTH_A_FALLBACK}


def test_codes_are_found_in_classes_and_calls():
    tree = ast.parse('class A(CaioError):\n    code = "a"\nraise B("x", code="b")\nf(code=c)')
    assert sorted(errors_of(tree)) == [("a", "A"), ("b", "B")]
