"""Is there a request, or a contract, for which all of these expressions come out as wanted?

Theory of operation
-------------------
Slots are chosen one at a time, those first that an undecided formula asks about; a branch ends when
the mask of some goal no longer holds a wanted outcome. Because the choices of a slot stand for every
value it can have (``values``) and masks hold every possible outcome (``formulas``), a search that ends
without leaving anything open has proved that there is none. When all goals are met, or only opaque
atoms are left, the choices are made into a real request or contract and every goal is evaluated on it:
nothing is called found that was not seen.

Laws (each has a test of the same name)
---------------------------------------
- found_is_real: the evaluator gives what was wanted, on a real request or a valid contract.
- impossible_is_proved: no request or contract of any kind comes out as wanted.
- steps_are_bounded: and what is not decided within them is called undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

from caio.routing.analysis.formulas import (
    ERROR,
    FALSE,
    TRUE,
    Assignment,
    Choice,
    Formula,
    Slot,
    Slots,
    atoms,
    nested,
)
from caio.routing.analysis.translate import formula_of
from caio.routing.analysis.values import ABSENT, Path, is_list, is_scalar
from caio.routing.expressions import EvaluationError, Expression
from caio.routing.expressions.compiler import compile_node
from caio.routing.expressions.errors import MAX_STEPS
from caio.routing.expressions.operations import Exhausted, Steps
from caio.routing.expressions.syntax import Comprehension, Node, children

#: What one question may take. A mask of every goal is a step for each sixteen atoms begun; making a real
#: request or contract takes about as long as twenty masks.
STEPS_PER_QUESTION = 2_000
_ATOMS_PER_STEP = 16
_STEPS_TO_CONFIRM = 20

#: Work in smaller units: an evaluation costs one for each node, outside or inside a macro, that it can
#: evaluate; an expression is made into a formula at the cost of some for each of its nodes, and an
#: atom's outcome for one choice is worked out at the cost of some more.
_UNITS_PER_STEP = 64
_UNITS_TO_TRANSLATE = 32
_UNITS_TO_SETTLE = 8


class Status(Enum):
    FOUND = "found"
    IMPOSSIBLE = "impossible"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Goal:
    """An expression, and the outcomes wanted of it."""

    expression: Expression
    wanted: int


@dataclass(frozen=True, slots=True)
class Answer:
    """``variables`` is what expressions read of the world found, ``fragment`` the part that was chosen."""

    status: Status
    variables: Mapping[str, Any] | None = None
    fragment: Mapping[str, Any] | None = None


#: Makes chosen values into the variables of a real request or contract; None when there is none such.
Realise = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]


class _Known:
    """What is made of an expression once: its formula, its evaluation, and what they cost."""

    def __init__(self, expression: Expression) -> None:
        self.expression = expression  # kept, so that no other takes its id
        self.formula = formula_of(expression.root)
        self.evaluate = compile_node(expression.root)
        self.atoms = sum(1 for _ in atoms(self.formula))
        self.outside, self.inside = weights(expression.root)

    def outcome(self, variables: Mapping[str, Any]) -> tuple[int, int]:
        """The outcome, and the units that it cost at most: each step applies a macro's body once."""
        steps, found = Steps(), ERROR
        with suppress(EvaluationError, Exhausted):
            value = self.evaluate(variables, steps)
            found = TRUE if value is True else FALSE if value is False else ERROR
        return found, self.outside + (MAX_STEPS - steps.left) * self.inside


def weights(node: Node) -> tuple[int, int]:
    """The nodes outside every macro's body, and those of the largest body without the bodies in it."""
    outside, inside = 1, 0
    for child in children(node):
        own, within = weights(child)
        inside = max(inside, within)
        if isinstance(node, Comprehension) and child is node.body:
            inside = max(inside, own)
        else:
            outside += own
    return outside, inside


class Budget:
    """Steps that a whole analysis shares, and what it knows of its expressions.

    The last thing begun may take more than is left: one evaluation, or the making of one formula. What
    ``then`` says of registered services is not charged here.
    """

    def __init__(self, steps: int) -> None:
        self.left = steps
        self._units = 0
        self._known: dict[int, _Known] = {}

    def known(self, expression: Expression) -> _Known:
        found = self._known.get(id(expression))
        if found is None:
            found = self._known[id(expression)] = _Known(expression)
            self.charge(_UNITS_TO_TRANSLATE * found.outside)
        return found

    def charge(self, units: int) -> None:
        steps, self._units = divmod(self._units + units, _UNITS_PER_STEP)
        self.left = max(0, self.left - steps)


def ask(goals: Sequence[Goal], realise: Realise, budget: Budget) -> Answer:
    """Search for one; every goal of one expression counts, also of the same. Undecided at once when no
    step is left."""
    known: list[tuple[_Known, int]] = []
    for goal in goals:
        if budget.left <= 0:
            return Answer(Status.UNDECIDED)
        known.append((budget.known(goal.expression), goal.wanted))
    question = _Question(known, realise, budget)
    if question.steps <= 0:
        return Answer(Status.UNDECIDED)
    before = question.steps
    found = question.descend({})
    budget.left = max(0, budget.left - before + question.steps)
    if found is not None:
        return found
    return Answer(Status.IMPOSSIBLE if question.proved else Status.UNDECIDED)


class _Question:
    def __init__(self, known: Sequence[tuple[_Known, int]], realise: Realise, budget: Budget) -> None:
        self._known = known
        self._goals = [(each.formula, wanted) for each, wanted in known]
        self._slots = Slots([formula for formula, _ in self._goals])
        self._realise = realise
        total = sum(each.atoms for each, _ in known)
        self._cost = 1 + total // _ATOMS_PER_STEP
        budget.charge(_UNITS_TO_SETTLE * total)
        units = _UNITS_TO_SETTLE * self._slots.evaluations
        self.steps = min(budget.left, STEPS_PER_QUESTION) - units // _UNITS_PER_STEP
        self.proved = self._slots.exhaustive
        if self.steps > 0:
            self._slots.settle()
            budget.charge(units)

    def descend(self, chosen: dict[Slot, Choice]) -> Answer | None:
        if self.steps <= 0:
            self.proved = False
            return None
        self.steps -= self._cost
        undecided: list[Formula] = []
        for formula, wanted in self._goals:
            mask = formula.mask(chosen)
            if not mask & wanted:
                return None
            if mask & ~wanted:
                undecided.append(formula)
        if _contradictory(chosen):
            return None
        slot = self._next(undecided, chosen)
        if slot is None:
            return self._confirmed(chosen)
        for choice in self._slots.choices[slot]:
            chosen[slot] = choice
            found = self.descend(chosen)
            del chosen[slot]
            if found is not None:
                return found
        return None

    def _next(self, undecided: Sequence[Formula], chosen: Assignment) -> Slot | None:
        """What an understood atom asks about, else what an opaque one reads."""
        for formula in undecided:
            for slot in formula.open_slots(chosen):
                return slot
        for formula in undecided:
            for atom in formula.opaque():
                for path in atom.paths:
                    for slot in self._slots.of(path):
                        if slot not in chosen:
                            return slot
        return None

    def _confirmed(self, chosen: Assignment) -> Answer | None:
        """The world that was chosen, if it exists and is as wanted. If not, nothing is proved: an
        opaque atom turned out otherwise, or these values cannot stand together."""
        self.steps -= _STEPS_TO_CONFIRM
        fragment = fragment_of(chosen)
        variables = self._realise(fragment)
        if variables is not None:
            outcomes = [(each.outcome(variables), wanted) for each, wanted in self._known]
            self.steps -= sum(units for (_, units), _ in outcomes) // _UNITS_PER_STEP
            if all(found & wanted for (found, _), wanted in outcomes):
                return Answer(Status.FOUND, variables, fragment)
        self.proved = False
        return None


_LOCALITY: Slot = (("service", "privacy", "data_locality"), None)
_REGIONS: Path = ("service", "privacy", "regions")


def _contradictory(chosen: Assignment) -> bool:
    """Whether no contract can be so: regions are listed exactly when the locality is ``regions``."""
    if _LOCALITY not in chosen or (_REGIONS, None) not in chosen:
        return False
    return (chosen[_LOCALITY] == "regions") is (chosen[_REGIONS, None] is ABSENT)


def fragment_of(chosen: Assignment) -> dict[str, Any]:
    """The variables that were chosen, as a document; what is absent is left out."""
    values: dict[Path, Any] = {}
    for (path, element), choice in chosen.items():
        if element is not None:
            held = values.setdefault(path, [])
            if choice is True and isinstance(held, list):
                held.append(element)
        elif is_scalar(path):
            values[path] = choice
        elif choice is True:
            values.setdefault(path, [] if is_list(path) else {})
    return nested({path: sorted(value) if isinstance(value, list) else value for path, value in values.items()})
