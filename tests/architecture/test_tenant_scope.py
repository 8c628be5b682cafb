"""A TenantScope is minted by authentication and by the worker only.

Holding one is the proof that a caller may touch a tenant's data, so a constructor call elsewhere
would forge the proof. Looked for in the source: calls of the class or of an attribute of it, under
any name it is imported by, `replace`/`copy` of a scope by its usual names, and the class handed on
as a value (`map(TenantScope, …)`). Not seen: `type(scope)(…)` and `object.__new__`, which review must.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "caio"
MINTS = ("tenancy/authentication.py", "worker/")
HOME = "foundation/scope.py"
SCOPE_NAMES = {"scope", "tenant_scope"}
COPIERS = {"replace", "copy", "deepcopy", "__replace__"}


class _Minting(ast.NodeVisitor):
    """Collects the lines where a scope comes into being."""

    def __init__(self) -> None:
        self.names = {"TenantScope"}
        self.lines: list[int] = []
        self._annotations: set[int] = set()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.names |= {alias.asname for alias in node.names if alias.name == "TenantScope" and alias.asname}

    def _is_scope_class(self, node: ast.expr) -> bool:
        return (isinstance(node, ast.Name) and node.id in self.names) or (
            isinstance(node, ast.Attribute) and node.attr == "TenantScope"
        )

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        takes_class = any(self._is_scope_class(value) for value in [*node.args, *[k.value for k in node.keywords]])
        minted = (
            self._is_scope_class(function)
            or (isinstance(function, ast.Attribute) and self._is_scope_class(function.value))
            or (takes_class and name not in {"isinstance", "issubclass", "cast"})
            or (name in COPIERS and any(self._names_a_scope(value) for value in node.args[:1]))
        )
        if minted:
            self.lines.append(node.lineno)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if self._is_scope_class(node.value):  # an alias of the class, whatever it is called afterwards
            self.lines.append(node.lineno)
        self.generic_visit(node)

    @staticmethod
    def _names_a_scope(node: ast.expr) -> bool:
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        return name in SCOPE_NAMES


def minted_at(source: str) -> list[int]:
    """Lines of a module at which a TenantScope is made."""
    visitor = _Minting()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            visitor.visit_ImportFrom(node)
    visitor.visit(tree)
    return visitor.lines


def test_a_scope_is_minted_by_authentication_and_the_worker_only():
    forged = {}
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if name != HOME and not name.startswith(MINTS) and (lines := minted_at(path.read_text())):
            forged[name] = lines
    assert forged == {}


@pytest.mark.parametrize(
    "source",
    [
        "TenantScope('a')",
        "TenantScope.of('a')",
        "scope.TenantScope(tenant_id='a')",
        "from caio.foundation.scope import TenantScope as S\nS('a')",
        "dataclasses.replace(scope, tenant_id='b')",
        "copy(self.scope)",
        "list(map(TenantScope, names))",
        "Make = TenantScope",
        "field(default_factory=TenantScope)",
    ],
)
def test_a_forged_scope_is_noticed(source):
    assert minted_at(source)


@pytest.mark.parametrize(
    "source",
    [
        "def find(scope: TenantScope) -> None: ...",
        "isinstance(x, TenantScope)",
        "from caio.foundation.scope import TenantScope",
        "table(scope.tenant_id)",
        "rows: dict[TenantScope, int] = {}",
    ],
)
def test_using_a_scope_is_not_minting_one(source):
    assert minted_at(source) == []
