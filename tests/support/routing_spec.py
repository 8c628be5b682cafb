"""The specification over a decision's evidence, with the expressions' interpreter."""

from __future__ import annotations

from functools import cache

from caio.routing.expressions import EvaluationError, Expression, interpret, parse
from spec.routing import Decision, decide
from tests.support.routing_cases import Document

_parse = cache(parse)


def evaluate(source: str, variables: Document) -> bool | None:
    """An expression's value as the interpreter finds it; the engine compiles it instead."""
    expression: Expression = _parse(source)
    try:
        return interpret(expression, variables)
    except EvaluationError:
        return None


def specified(evidence: Document) -> Decision:
    """What the rules say of ``evidence``."""
    return decide(evidence, evaluate)
