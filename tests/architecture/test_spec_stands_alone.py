"""The specification rests on nothing of ours, and every law it states is held by a test that exists."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPECIFICATION = ROOT / "spec"

LAWS = {
    *("Determinism", "Correctness", "Traceability", "Security", "Guarantee preservation", "Bounds", "Default deny"),
    *("Forbid overrides permit", "Error denies", "Monotonicity"),
}


def imported(source: str) -> set[str]:
    """The top-level packages that ``source`` imports."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def laws(readme: str) -> dict[str, list[str]]:
    """The laws of the README, each with the tests that it names."""
    section = readme.partition("\n## Laws\n")[2]
    stated = re.findall(r"^- \*\*(.+?)\.\*\* (.+)$", section, re.MULTILINE)
    return {name: re.findall(r"`(test_\w+)`", sentence) for name, sentence in stated}


def unheld(readme: str, tests: set[str]) -> list[str]:
    """Every law without a test, and every named test that does not exist."""
    stated = laws(readme)
    return [name for name, named in stated.items() if not named or not tests.issuperset(named)]


def existing_tests() -> set[str]:
    sources = (path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    return {name for source in sources for name in re.findall(r"^(?:async )?def (test_\w+)", source, re.MULTILINE)}


def test_the_specification_imports_the_standard_library_alone():
    for path in SPECIFICATION.glob("*.py"):
        assert imported(path.read_text()) <= sys.stdlib_module_names | {"spec"}, path.name


def test_every_law_is_held_by_a_test():
    readme = (SPECIFICATION / "README.md").read_text()
    assert set(laws(readme)) >= LAWS
    assert unheld(readme, existing_tests()) == []


def test_a_law_without_a_test_is_noticed():
    readme = "\n## Laws\n- **One.** True. `test_one`\n- **Two.** Also true.\n- **Three.** `test_one` `test_none`\n"
    assert unheld(readme, {"test_one"}) == ["Two", "Three"]
    assert imported("import os.path\nfrom caio.routing import engine") == {"os", "caio"}
