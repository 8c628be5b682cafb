"""Expressions as formulas over slots: what an evaluation can be when only some fields are known.

The outcome of an evaluation is true, false or an error; a *mask* is a set of these. A formula's mask
under a partial assignment holds every outcome that some completion has. Logic is combined here as the
language does it (``false && error`` is false); the outcome of an atom for a value is that of the real
evaluator. An atom of a form that ``values`` cannot cut into regions is *opaque*: its mask is always
full, so that nothing is ever called impossible because of it.

A *slot* is one thing to choose: the value at a path (or its absence), or whether a list holds a text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from caio.routing.analysis.values import (
    ABSENT,
    Absent,
    Constants,
    Path,
    Value,
    always_there,
    is_list,
    is_scalar,
    texts,
    type_at,
    values_at,
)
from caio.routing.expressions import EvaluationError, Expression, compile_expression
from caio.routing.expressions.syntax import Node

TRUE, FALSE, ERROR = 1, 2, 4
ANY = TRUE | FALSE | ERROR

#: A path, and the text that a list may hold (None: the value, or the presence, of the path itself).
Slot = tuple[Path, str | None]
Choice = Value | Absent
Assignment = Mapping[Slot, Choice]


def outcome(condition: Callable[[Mapping[str, Any]], bool], variables: Mapping[str, Any]) -> int:
    try:
        return TRUE if condition(variables) else FALSE
    except EvaluationError:
        return ERROR


def condition_of(node: Node) -> Callable[[Mapping[str, Any]], bool]:
    return compile_expression(Expression("", node))


class Formula(Protocol):
    def mask(self, assignment: Assignment) -> int:
        """Every outcome that is possible still."""
        ...

    def open_slots(self, assignment: Assignment) -> Iterator[Slot]:
        """Slots without a choice on which the outcome may depend, the first to be chosen first."""
        ...

    def opaque(self) -> Iterator[Opaque]:
        """The atoms that are not understood."""
        ...


@dataclass(frozen=True, slots=True)
class Constant:
    outcome: int

    def mask(self, assignment: Assignment) -> int:
        return self.outcome

    def open_slots(self, assignment: Assignment) -> Iterator[Slot]:
        return iter(())

    def opaque(self) -> Iterator[Opaque]:
        return iter(())


@dataclass(frozen=True, slots=True)
class Negation:
    part: Formula

    def mask(self, assignment: Assignment) -> int:
        mask = self.part.mask(assignment)
        return mask & ERROR | (mask & TRUE) << 1 | (mask & FALSE) >> 1

    def open_slots(self, assignment: Assignment) -> Iterator[Slot]:
        return self.part.open_slots(assignment)

    def opaque(self) -> Iterator[Opaque]:
        return self.part.opaque()


@dataclass(frozen=True, slots=True)
class Junction:
    """``||`` if TRUE absorbs, ``&&`` if FALSE does."""

    parts: tuple[Formula, ...]
    absorbing: int

    def mask(self, assignment: Assignment) -> int:
        return joined([part.mask(assignment) for part in self.parts], self.absorbing)

    def open_slots(self, assignment: Assignment) -> Iterator[Slot]:
        for part in self.parts:
            if part.mask(assignment) not in (TRUE, FALSE, ERROR):
                yield from part.open_slots(assignment)

    def opaque(self) -> Iterator[Opaque]:
        for part in self.parts:
            yield from part.opaque()


def joined(masks: list[int], absorbing: int) -> int:
    """The mask of a junction from those of its parts."""
    neutral = TRUE | FALSE
    neutral &= ~absorbing
    mask = 0
    if any(each & absorbing for each in masks):
        mask |= absorbing
    if all(each & neutral for each in masks):
        mask |= neutral
    if any(each & ERROR for each in masks) and all(each & (neutral | ERROR) for each in masks):
        mask |= ERROR
    return mask


@dataclass(frozen=True, slots=True)
class Choosing:
    """``condition ? then : otherwise``"""

    condition: Formula
    then: Formula
    otherwise: Formula

    def mask(self, assignment: Assignment) -> int:
        chosen = self.condition.mask(assignment)
        mask = chosen & ERROR
        if chosen & TRUE:
            mask |= self.then.mask(assignment)
        if chosen & FALSE:
            mask |= self.otherwise.mask(assignment)
        return mask

    def open_slots(self, assignment: Assignment) -> Iterator[Slot]:
        for part in (self.condition, self.then, self.otherwise):
            yield from part.open_slots(assignment)

    def opaque(self) -> Iterator[Opaque]:
        for part in (self.condition, self.then, self.otherwise):
            yield from part.opaque()


def containers(path: Path) -> Iterator[Path]:
    """The records and maps on the way to ``path`` that may be absent."""
    for length in range(2, len(path)):
        if not always_there(path[:length]):
            yield path[:length]


def absent_on_the_way(path: Path, assignment: Assignment) -> bool | None:
    """Whether something on the way to ``path`` is absent; None if that is open."""
    known = True
    for container in containers(path):
        chosen = assignment.get((container, None))
        if chosen is ABSENT:
            return True
        known = known and chosen is not None
    return False if known else None


def _open(path: Path, own: Iterator[Slot], assignment: Assignment) -> Iterator[Slot]:
    for container in containers(path):
        if (container, None) not in assignment:
            yield container, None
    for slot in own:
        if slot not in assignment:
            yield slot


@dataclass(slots=True)
class Reading:
    """An atom over the value at one path: a comparison with constants, a truth value, a ``has``."""

    node: Node
    path: Path
    constants: Constants
    outcomes: dict[Hashable, int] = field(default_factory=dict)
    possible: int = ANY

    def settle(self, choices: list[Choice]) -> None:
        """Work out the outcome of each choice, once."""
        condition = condition_of(self.node)
        for choice in choices:
            self.outcomes[_key(choice)] = outcome(condition, nested({self.path: choice}))
        self.possible = 0
        for each in self.outcomes.values():
            self.possible |= each

    def mask(self, assignment: Assignment) -> int:
        missing = absent_on_the_way(self.path, assignment)
        if missing:
            return ERROR
        chosen = assignment.get((self.path, None))
        mask = self.possible if chosen is None else self.outcomes[_key(chosen)]
        return mask if missing is False else mask | ERROR

    def open_slots(self, assignment: Assignment) -> Iterator[Slot]:
        return _open(self.path, iter([(self.path, None)]), assignment)

    def opaque(self) -> Iterator[Opaque]:
        return iter(())


def _key(choice: Choice) -> Hashable:
    """1, 1.0 and true are different choices."""
    return type(choice), choice


@dataclass(slots=True)
class Elements:
    """An atom over the elements of one list of texts.

    ``absorbing`` TRUE: some element makes ``body`` true (``exists``, ``in``, not empty); FALSE: some
    element makes it false (``all``). Errors of the body count as in a junction.
    """

    body: Callable[[Mapping[str, Any]], bool]
    variable: str
    path: Path
    constants: Constants
    absorbing: int
    outcomes: dict[str, int] = field(default_factory=dict)

    def settle(self, elements: list[str]) -> None:
        self.outcomes = {each: outcome(self.body, {self.variable: each}) for each in elements}

    def mask(self, assignment: Assignment) -> int:
        missing = absent_on_the_way(self.path, assignment)
        present = True if always_there(self.path) else assignment.get((self.path, None))
        if missing or present is ABSENT:
            return ERROR
        neutral = (TRUE | FALSE) & ~self.absorbing
        masks = [neutral]
        for element, result in self.outcomes.items():
            held = assignment.get((self.path, element))
            if held is not False and result != neutral:
                masks.append(result if held else result | neutral)
        mask = joined(masks, self.absorbing)
        return mask if missing is False and present is True else mask | ERROR

    def open_slots(self, assignment: Assignment) -> Iterator[Slot]:
        neutral = (TRUE | FALSE) & ~self.absorbing
        own: list[Slot] = [] if always_there(self.path) else [(self.path, None)]
        own += [(self.path, element) for element, result in self.outcomes.items() if result != neutral]
        return _open(self.path, iter(own), assignment)

    def opaque(self) -> Iterator[Opaque]:
        return iter(())


@dataclass(frozen=True, slots=True)
class Opaque:
    """An atom whose values cannot be cut into regions. ``paths`` are what it reads."""

    paths: tuple[Path, ...]
    constants: Constants

    def mask(self, assignment: Assignment) -> int:
        return ANY

    def open_slots(self, assignment: Assignment) -> Iterator[Slot]:
        return iter(())

    def opaque(self) -> Iterator[Opaque]:
        yield self


def nested(values: Mapping[Path, object]) -> dict[str, Any]:
    """Variables that have these values at these paths and nothing else; absent ones are left out."""
    variables: dict[str, Any] = {}
    for path, value in values.items():
        here = variables
        for name in path[:-1]:
            here = here.setdefault(name, {})
        if value is not ABSENT:
            kept = here.get(path[-1])
            here[path[-1]] = value if not isinstance(kept, dict) or isinstance(value, list) else kept
    return variables


class Slots:
    """The choices of every slot that some formulas name, cut by all their constants together."""

    def __init__(self, formulas: list[Formula]) -> None:
        self._of_path: dict[Path, Constants] = {}
        self.choices: dict[Slot, list[Choice]] = {}
        self.exhaustive = True
        readings = [atom for formula in formulas for atom in atoms(formula)]
        for atom in readings:
            paths = atom.paths if isinstance(atom, Opaque) else (atom.path,)
            for path in paths:
                self._of_path.setdefault(path, Constants()).add(atom.constants)
        for path, constants in list(self._of_path.items()):
            self._cut(path, constants)
        self._readings = readings
        choices = Counter(path for path, _ in self.choices)
        #: About how many evaluations ``settle`` makes of an atom.
        self.evaluations = sum(
            max(choices[atom.path], len(self.choices.get((atom.path, None), ())))
            for atom in readings
            if not isinstance(atom, Opaque)
        )

    def settle(self) -> None:
        """Work out the outcome of every atom for every choice."""
        for atom in self._readings:
            if isinstance(atom, Reading):
                atom.settle(self.choices[atom.path, None])
            elif isinstance(atom, Elements):
                atom.settle([name for path, name in self.choices if path == atom.path and name is not None])

    def _cut(self, path: Path, constants: Constants) -> None:
        for container in containers(path):
            self.choices.setdefault((container, None), [True, ABSENT])
        if is_scalar(path):
            self.choices[path, None], whole = values_at(path, constants)
            self.exhaustive = self.exhaustive and whole
        elif is_list(path):
            elements, whole = texts(constants)
            self.exhaustive = self.exhaustive and whole
            if not always_there(path):
                self.choices[path, None] = [True, ABSENT]
            for element in elements:
                self.choices[path, str(element)] = [False, True]
        elif type_at(path) is not None:
            self.choices.setdefault((path, None), [True] if always_there(path) else [True, ABSENT])

    def of(self, path: Path) -> Iterator[Slot]:
        """The slots that say what is at ``path``, from the outside in."""
        for container in containers(path):
            yield container, None
        for slot in self.choices:
            if slot[0] == path:
                yield slot


def atoms(formula: Formula) -> Iterator[Reading | Elements | Opaque]:
    match formula:
        case Reading() | Elements() | Opaque():
            yield formula
        case Negation(part=part):
            yield from atoms(part)
        case Junction(parts=parts):
            for part in parts:
                yield from atoms(part)
        case Choosing(condition=condition, then=then, otherwise=otherwise):
            for part in (condition, then, otherwise):
                yield from atoms(part)
