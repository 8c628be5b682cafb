"""docs/reference/acts.md names every act that the source can record, with its kind."""

import ast
import re
from pathlib import Path

import pytest

from caio.audit.acts import SYSTEM, Act

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "caio"
PAGE = ROOT / "docs" / "reference" / "acts.md"
ROW = re.compile(r"^\| `(?P<action>[a-z._]+)` \| `(?P<kind>[a-z]+)` \| [^|]+ \| [^|]*\| [^|]+ \|$", re.MULTILINE)
MAKERS = {"Act", "Acts", "Reads"}


def is_action(text):
    try:
        Act(text, SYSTEM, "")
    except ValueError:
        return False
    return re.fullmatch(r"[a-z]+\.[a-z_]+", text) is not None


def actions_of(source):
    """The actions that a module states, if it deals with acts at all."""
    nodes = list(ast.walk(ast.parse(source)))
    imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    stated = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in stated if is_action(text)} if imported & MAKERS else set()


def test_every_act_is_on_the_page():
    found = set().union(*(actions_of(path.read_text()) for path in SOURCE.rglob("*.py")))
    rows = {row["action"]: row["kind"] for row in ROW.finditer(PAGE.read_text())}
    assert len(found) > 8  # the source is really looked at
    assert set(rows) == found
    assert {action: Act(action, SYSTEM, "").kind.value for action in rows} == rows


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from caio.audit.acts import Act\nact = Act('hold.placed', who, hold)", {"hold.placed"}),
        ("from caio.audit.reads import Reads\nawait reads.record(scope, who, 'audit.read', x, {})", {"audit.read"}),
        ("from caio.audit.acts import Acts\nname = 'decision.made'", set()),
        ("variable = 'tenant.id'", set()),
    ],
)
def test_an_act_is_noticed(source, found):
    assert actions_of(source) == found
