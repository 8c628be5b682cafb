"""Mutants: a module with one thing wrong, of the kinds that people get wrong.

A mutant changes one node of the syntax tree: a comparison at its edge, a sign, a constant, a
condition, a returned value, a statement left out. Left alone are docstrings, annotations,
decorators, imports and the words of messages, where a change breaks nothing that is promised.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "logical_and": "logical_or"}
_CALLS |= {"logical_or": "logical_and", "minimum": "maximum", "maximum": "minimum", "argmin": "argmax"}

#: Parts of a node that are no behaviour of the module's.
_SKIPPED = {"annotation", "returns", "decorator_list", "bases"}


Path = tuple[str | int, ...]
Change = Callable[[ast.AST], ast.AST]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong version of a module: where, and what was changed into what."""

    line: int
    before: str
    after: str
    _path: Path
    _change: Change

    def applied(self, source: str) -> ast.Module:
        """The wrong version of ``source``, which is what the mutant was made from."""
        tree = ast.parse(source)
        owner, last = _at(tree, self._path[:-1]), self._path[-1]
        wrong = self._change(_at(tree, self._path))
        if isinstance(last, int):
            owner[last] = wrong  # type: ignore[index]
        else:
            setattr(owner, last, wrong)
        return ast.fix_missing_locations(tree)


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of ``source``, in the order of the text."""
    tree = ast.parse(source)
    for path in _places(tree, ()):
        node = _at(tree, path)
        for change in _changes(node):
            after = ast.unparse(ast.fix_missing_locations(change(node)))
            yield Mutant(_line(node), ast.unparse(node), after, path, change)


def _places(node: ast.AST, path: Path) -> Iterator[Path]:
    """Where a node may be changed: every one but those that are no behaviour."""
    yield path
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.Raise)) or _is_docstring(node) or _is_export(node):
        return
    for name, value in ast.iter_fields(node):
        if name in _SKIPPED:
            continue
        if isinstance(value, ast.AST):
            yield from _places(value, (*path, name))
        elif isinstance(value, list):
            for index, each in enumerate(value):
                if isinstance(each, ast.AST):
                    yield from _places(each, (*path, name, index))


def _at(node: ast.AST, path: Path) -> ast.AST:
    for step in path:
        node = node[step] if isinstance(step, int) else getattr(node, step)  # type: ignore[index]
    return node


def _changes(node: ast.AST) -> Iterator[Change]:
    yield from _of_conditions(node)
    yield from _of_values(node)
    yield from _of_statements(node)


def _of_conditions(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=ops):
            for index, operator in enumerate(ops):
                other = _COMPARISONS[type(operator)]()
                yield _with(ops=[*ops[:index], other, *ops[index + 1 :]])
        case ast.BoolOp(op=operator):
            yield _with(op=ast.Or() if isinstance(operator, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield _instead(operand)
        case ast.IfExp(test=test) | ast.If(test=test) | ast.While(test=test):
            yield _with(test=ast.UnaryOp(ast.Not(), test))
        case ast.comprehension(ifs=[_, *_]):
            yield _with(ifs=[])


def _of_values(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.BinOp(op=operator) if type(operator) in _OPERATORS:
            yield _with(op=_OPERATORS[type(operator)]())
        case ast.Constant(value=bool() as value):
            yield _with(value=not value)
        case ast.Constant(value=int() as number):
            yield _with(value=number + 1)
        case ast.Constant(value=str() as text):
            yield _with(value=f"{text}~")
        case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
            yield _with(func=ast.Name(_CALLS[name], ast.Load()))
        case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in _CALLS:
            yield _with(func=ast.Attribute(owner, _CALLS[name], ast.Load()))


def _of_statements(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield _with(value=ast.Constant(None))
        case ast.Expr() | ast.Raise() | ast.AugAssign() if not _is_docstring(node):
            yield _instead(ast.Pass())
        case ast.Continue():
            yield _instead(ast.Break())


def _with(**fields: object) -> Change:
    def change(node: ast.AST) -> ast.AST:
        changed = copy.copy(node)
        for name, value in fields.items():
            setattr(changed, name, value)
        return changed

    return change


def _instead(other: ast.AST) -> Change:
    return lambda _: other


def _line(node: ast.AST) -> int:
    """Where the node begins; a comprehension's clause, which does not say, where its target does."""
    return int(next(each.lineno for each in ast.walk(node) if hasattr(each, "lineno")))


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_export(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
