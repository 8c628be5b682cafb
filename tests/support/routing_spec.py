"""The specification over a decision's evidence, the engine in the same form, and broken copies of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path

import spec
from caio.routing.expressions import EvaluationError, interpret, parse
from caio.routing.model import Decision as Decided
from spec.chains import Plan, plan
from spec.routing import Decision, decide
from tests.support.routing_cases import Document
from tests.support.routing_engine import decided

SPECIFICATION = Path(next(iter(spec.__path__)))

_parse = cache(parse)


def evaluate(source: str, variables: Document) -> bool | None:
    """An expression's value as the interpreter finds it; the engine compiles it instead."""
    try:
        return interpret(_parse(source), variables)
    except EvaluationError:
        return None


def specified(evidence: Document) -> Decision:
    """What the rules say of ``evidence``."""
    return decide(evidence, evaluate)


def planned(evidence: Document) -> Plan:
    """What the rules say of a plan request's evidence."""
    return plan(evidence, evaluate)


def engineered(evidence: Document, attached: int | None = None) -> Decision:
    """What the engine says, in the specification's form."""
    return in_our_words(decided(evidence, attached))


def in_our_words(decision: Decided) -> Decision:
    """The engine's decision in the specification's form: all of it is worked out."""
    ranking = [[each.offer.service_id, each.offer.version, each.score, each.worst_cost] for each in decision.ranked]
    exclusions = [each.document() for each in decision.exclusions]
    return Decision(dict(decision.certificate), decision.decision_hash, ranking, exclusions)


def differences(ours: Decision, theirs: Decision) -> dict[str, tuple[object, object]]:
    """Where two decisions are not the same."""
    said = {name: (getattr(ours, name), getattr(theirs, name)) for name in ("hash", "ranking", "exclusions")}
    fields = {*ours.certificate, *theirs.certificate}
    said |= {name: (ours.certificate.get(name), theirs.certificate.get(name)) for name in sorted(fields)}
    return {name: pair for name, pair in said.items() if pair[0] != pair[1]}


def broken(
    folder: Path, file: str, right: str, wrong: str
) -> tuple[Callable[[Document], Decision], Callable[[Document], Plan]]:
    """``specified`` and ``planned`` of a copy of the specification with one text replaced."""
    name = f"broken_{abs(hash((file, right, wrong)))}"
    (folder / name).mkdir()
    for path in SPECIFICATION.glob("*.py"):
        source = path.read_text()
        if path.stem == file:
            assert source.count(right) == 1, f"{right!r} is not once in {path.name}"
            source = source.replace(right, wrong)
        (folder / name / path.name).write_text(source.replace("from spec.", f"from {name}."))
    sys.path.insert(0, str(folder))
    try:
        routing, chains = import_module(f"{name}.routing"), import_module(f"{name}.chains")
    finally:
        sys.path.remove(str(folder))
    return lambda evidence: routing.decide(evidence, evaluate), lambda evidence: chains.plan(evidence, evaluate)
