"""From a file's text to a contract or a policy, or to everything that is wrong with it.

Laws (each has a test of the same name)
---------------------------------------
- every_violation_at_once: mistakes in different places are reported together, each with its
  JSON pointer and line.
- unknown_fields_are_warnings: they are named, with the likely meaning, and change nothing else.
- only_invalid_input_is_raised: whatever the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from caio.contracts.fields import FLAWS, describe
from caio.contracts.messages import did_you_mean, explain
from caio.contracts.model import Contract, Guarantees
from caio.contracts.policy import PolicyDocument
from caio.contracts.rules import Flaw, broken_rules
from caio.contracts.schema import contract_schema, fields_at, policy_schema
from caio.contracts.source import read_source
from caio.contracts.tree import Mark, Source, Unreadable, escape
from caio.foundation.errors import InvalidInput, Violation

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

Path = tuple[int | str, ...]


@dataclass(frozen=True)
class Parsed(Generic[T]):
    """A valid document, what was odd about it, and where its fields stand (nowhere for mappings)."""

    value: T
    warnings: tuple[Violation, ...] = ()
    marks: Mapping[str, Mark] = field(default_factory=dict, repr=False)

    @property
    def lines(self) -> Mapping[str, int]:
        """The line of each field's key, by JSON pointer."""
        return {pointer: mark.line for pointer, mark in self.marks.items()}

    def locate(self, pointer: str, line: int, column: int) -> tuple[int | None, int | None]:
        """The file's line and column of a place inside the text at ``pointer``, both from 1.

        Exact for one-line values without escapes and for ``|`` blocks; otherwise the line where the
        text begins. None where it is not known.
        """
        mark = self.marks.get(pointer)
        if mark is None:
            return None, None
        if not mark.literal and line > 1:
            return mark.text_line, None
        return mark.text_line + line - 1, None if mark.column is None else mark.column + column - 1


def parse_contract(source: str | bytes | Mapping[str, Any]) -> Parsed[Contract]:
    """The contract in ``source``: YAML or JSON text, or values that were decoded already.

    Raises InvalidInput ``invalid_contract`` with every violation. Not checked: that the service
    exists, answers, or keeps its promise; that its secret is stored; that its address is allowed.
    """
    return _parse(Contract, source, "contract", contract_schema, broken_rules, _near_misses)


def parse_policy(source: str | bytes | Mapping[str, Any]) -> Parsed[PolicyDocument]:
    """The policy in ``source``, as for contracts; raises InvalidInput ``invalid_policy``.

    Not checked: that the expressions compile.
    """
    return _parse(PolicyDocument, source, "policy", policy_schema, lambda _: (), lambda _: ())


def _parse(
    model: type[M],
    text: str | bytes | Mapping[str, Any],
    noun: str,
    schema: Callable[[], Mapping[str, Any]],
    rules: Callable[[Mapping[str, Any]], Iterable[Flaw]],
    oddities: Callable[[Mapping[str, Any]], Iterable[Flaw]],
) -> Parsed[M]:
    try:
        source = read_source(text)
    except Unreadable as error:
        raise _invalid(noun, [error.violation]) from error
    if not isinstance(source.value, dict):
        message = f"must be a mapping of fields, got {describe(source.value)}"
        raise _invalid(noun, [*source.problems, Violation("", message, source.line(""))])
    valid, findings = _validated(model, source.value)
    unknown = [_path(source.value, finding) for finding in findings if finding["type"] == "extra_forbidden"]
    unknown_at = {_pointer(path): path for path in unknown}
    flaws = [flaw for finding in findings for flaw in _flaws(source.value, finding, unknown)]
    told = {pointer for pointer, _ in flaws}
    flaws += [flaw for flaw in rules(source.value) if not _covered(flaw[0], told)]
    if flaws or source.problems:
        raise _invalid(noun, _violations(source, flaws))
    known = _without(source.value, unknown)
    warnings = _unknown(schema(), unknown_at) if unknown_at else []
    return Parsed(
        valid or model.model_validate(known),
        tuple(_sorted(Violation(at, message, source.line(at)) for at, message in (*warnings, *oddities(known)))),
        source.marks,
    )


def _validated(model: type[M], value: dict[str, Any]) -> tuple[M | None, list[ErrorDetails]]:
    try:
        return model.model_validate(value), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _flaws(document: dict[str, Any], finding: ErrorDetails, unknown: list[Path]) -> Iterator[Flaw]:
    if finding["type"] == "extra_forbidden":
        return
    path = _path(document, finding)
    pointer = _pointer(path)
    if finding["type"] == FLAWS:
        yield from ((pointer + at, message) for at, message in finding["ctx"]["flaws"])
    elif finding["type"] == "missing":
        beside = [str(other[-1]) for other in unknown if other[:-1] == path[:-1]]
        close = get_close_matches(str(path[-1]), beside, n=1, cutoff=0.7)
        yield pointer, "is required" + (f"; is '{close[0]}' a misspelling of it?" if close else "")
    elif path and path[-1] == "secret_ref" and finding["type"] == "string_type":
        yield pointer, "must be text: the name of a stored secret"
    else:
        yield pointer, explain(finding)


def _path(document: dict[str, Any], finding: ErrorDetails) -> Path:
    """Where in the document a finding lies: its location without the steps pydantic adds for itself."""
    path: list[int | str] = []
    value: Any = document
    for step in finding["loc"]:
        if isinstance(value, dict) and isinstance(step, str) and step != "[key]":
            path.append(step)
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            path.append(step)
            value = value[step] if step < len(value) else None
    return tuple(path)


def _pointer(path: Path) -> str:
    return "".join(f"/{escape(step)}" for step in path)


def _violations(source: Source, flaws: Iterable[Flaw]) -> list[Violation]:
    """The reader's problems and the flaws, without flaws that are only echoes of a problem."""
    told = {problem.pointer for problem in source.problems}
    fresh = {flaw: None for flaw in flaws if flaw[0] not in told}
    return _sorted((*source.problems, *(Violation(at, message, source.line(at)) for at, message in fresh)))


def _covered(pointer: str, told: set[str]) -> bool:
    """Whether something is said about this place or around it; a rule over a broken field would only echo it."""
    while pointer and pointer not in told:
        pointer = pointer.rpartition("/")[0]
    return pointer in told


def _sorted(violations: Iterable[Violation]) -> list[Violation]:
    return sorted(violations, key=lambda violation: (violation.line or 0, violation.pointer, violation.message))


def _invalid(noun: str, violations: list[Violation]) -> InvalidInput:
    first = violations[0]
    where = f"{first.pointer or 'it'}{f' (line {first.line})' if first.line else ''}"
    more = f"; and {len(violations) - 1} more" if len(violations) > 1 else ""
    return InvalidInput(f"the {noun} is not valid: {where} {first.message}{more}", violations, code=f"invalid_{noun}")


def _without(document: dict[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """The document with those fields taken out; it is ours alone, so it is changed in place."""
    for path in paths:
        holder: Any = document
        for step in path[:-1]:
            holder = holder[step]
        holder.pop(path[-1], None)
    return document


def _unknown(schema: Mapping[str, Any], unknown: Mapping[str, Path]) -> list[Flaw]:
    return [
        (pointer, f"is not a known field and was ignored{did_you_mean(path[-1], fields_at(schema, path[:-1]))}")
        for pointer, path in unknown.items()
    ]


def _near_misses(document: Mapping[str, Any]) -> Iterator[Flaw]:
    """A property of the tenant's own naming that looks like a misspelt known one."""
    known = Guarantees.model_fields
    for name in document.get("guarantees", {}):
        if name not in known and (meant := did_you_mean(name, known, closeness=0.8)):
            yield f"/guarantees/{escape(name)}", f"is a property of your own naming{meant}"
