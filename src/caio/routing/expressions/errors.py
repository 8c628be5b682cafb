"""What can be wrong with an expression, and the limits that keep every input harmless.

A fault found while saving is an ``ExpressionError`` with its place in the source; a fault found while
evaluating is an ``EvaluationError``, which the engine turns into a denial.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from caio.foundation.errors import InvalidInput, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable

#: UTF-8 bytes of source.
MAX_SOURCE_BYTES = 4_096
#: Levels of nesting, in the source (brackets), in the tree, and in values that are compared.
MAX_DEPTH = 50
#: Nodes of the syntax tree.
MAX_NODES = 500
#: Steps of one evaluation; the README's table says what costs a step.
MAX_STEPS = 10_000
#: Code points of a searched, joined or converted string that make one step.
CODE_POINTS_PER_STEP = 64

INT_MIN, INT_MAX = -(2**63), 2**63 - 1


class ExpressionError(InvalidInput):
    """An expression that is not saved: where (1-based line and column, in code points) and why.

    Its one violation has an empty pointer: the expression does not know the document around it.
    """

    code = "invalid_expression"

    def __init__(self, message: str, *, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {message}", (Violation("", message, line),))
        self.message = message
        self.line = line
        self.column = column


class EvaluationError(Exception):
    """An expression that has no value for these variables. It denies; it never means false."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def fault_at(source: str, offset: int, message: str) -> ExpressionError:
    """The error for a fault at ``offset`` (in code points) of ``source``."""
    before = source[:offset]
    return ExpressionError(message, line=before.count("\n") + 1, column=offset - before.rfind("\n"))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the closest known name, or nothing."""
    close = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
