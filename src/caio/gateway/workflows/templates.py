"""A step's payload as a template: JSON in which a reference stands for what is known only when the step begins.

Theory of operation
-------------------
``{"$from": NAME, "pointer": POINTER}`` stands for a part of what the step NAME answered, or of the run's own input
(``input``). The pointer is RFC 6901; without one the whole is meant. ``{"$text": [PART, …]}`` stands for one text:
its parts, which are texts, numbers or references to such, one after the other. Everything else is itself. There
is no expression language: nothing that a tenant sends is ever executed, and filling costs what the result weighs,
which is bounded: a few references to a large answer would weigh many times what anybody sent.

Laws (each has a test of the same name)
---------------------------------------
- what_refers_to_nothing_is_itself.
- a_filled_template_is_what_the_pointers_say: as a slow reading of RFC 6901 has it.
- what_is_put_in_is_never_read_as_a_template: a reference in an answer stays what it is.
- what_references_put_in_is_bounded: however often they name the same.
- every_flaw_is_listed: unknown names, pointers that are none, objects that are half a reference.

An object with the key ``$from`` or ``$text`` is always a reference; a literal one can only come from the input.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from caio.foundation.errors import InvalidInput, Violation

#: The name of the run's own input among those that a reference may name.
INPUT = "input"

#: How deep a template may be nested, and how many references it may hold.
MAX_DEPTH = 32
MAX_REFERENCES = 256

#: What the references of a template may put in together, in bytes of its JSON.
MAX_PUT_IN = 8 * 1024 * 1024

#: How deep what they put in may be nested: JSON of a template's depth more can still be written and read anywhere.
MAX_DEPTH_PUT_IN = 192

_FROM, _POINTER, _TEXT = "$from", "pointer", "$text"
_SYNTAX = re.compile(r"(/([^~/]|~[01])*)*")
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


class Unresolved(InvalidInput):
    """A reference that leads nowhere, or to what cannot stand there. Its code is stable."""

    code = "unresolved_reference"


class TooMuchPutIn(InvalidInput):
    """References that put in more than a payload or a result may hold of it. Its code is stable."""

    code = "references_too_large"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where in the template it stands, what it names, and the pointer into that."""

    at: str
    name: str
    pointer: str


def flaws(template: Any, known: Collection[str], at: str = "") -> list[Violation]:
    """Everything that keeps ``template`` from being one whose references name ``known``; pointers begin with
    ``at``."""
    found: list[Violation] = []
    references = 0
    for where, node, depth, in_text in _nodes(template, at):
        if depth > MAX_DEPTH:
            found.append(Violation(where, f"is nested deeper than {MAX_DEPTH}"))
            return found
        if not isinstance(node, dict):
            if in_text and not _is_textual(node):
                found.append(Violation(where, "a part of a $text is a text, a number, or a reference to one"))
            continue
        if _FROM in node:
            references += 1
            found += _reference_flaws(node, known, where)
        elif _TEXT in node:
            if set(node) != {_TEXT} or not isinstance(node[_TEXT], list):
                found.append(Violation(where, f'a {_TEXT} is {{"{_TEXT}": [parts]}} and nothing else'))
            elif in_text:
                found.append(Violation(where, f"a part of a {_TEXT} is no {_TEXT}"))
        elif in_text:
            found.append(Violation(where, "a part of a $text is a text, a number, or a reference to one"))
    if references > MAX_REFERENCES:
        found.append(Violation(at, f"holds more than {MAX_REFERENCES} references"))
    return found


def references(template: Any, at: str = "") -> Iterator[Reference]:
    """Those of a template without flaws."""
    for where, node, _, _ in _nodes(template, at):
        if isinstance(node, dict) and isinstance(node.get(_FROM), str):
            yield Reference(where, node[_FROM], node.get(_POINTER, ""))


def fill(template: Any, values: Mapping[str, Any], at: str = "") -> Any:
    """The template with each reference replaced. Raises Unresolved, naming the first that leads nowhere, and
    TooMuchPutIn; the template must be without flaws, and ``values`` hold what it names."""
    return _Filling(values).filled(template, at)


def is_nested_deeper(value: Any, most: int) -> bool:
    """Whether a JSON value has more than ``most`` levels of lists and objects."""
    level, deep = [value], 0
    while level := [each for each in level if isinstance(each, list | dict)]:
        if (deep := deep + 1) > most:
            return True
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return False


def resolve(document: Any, pointer: str) -> Any:
    """What an RFC 6901 pointer names in a document; raises KeyError with the part that is not there."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and name in document:
            document = document[name]
        elif isinstance(document, list) and _INDEX.fullmatch(name) and int(name) < len(document):
            document = document[int(name)]
        else:
            raise KeyError(name)
    return document


class _Filling:
    """One template's filling: what its references may name, and how much they have put in."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._put_in = 0

    def filled(self, template: Any, at: str) -> Any:
        if isinstance(template, list):
            return [self.filled(each, f"{at}/{place}") for place, each in enumerate(template)]
        if not isinstance(template, dict):
            return template
        if _FROM in template:
            return self._resolved(template, at)
        if _TEXT in template:
            return "".join(self._text(each, f"{at}/{_TEXT}/{place}") for place, each in enumerate(template[_TEXT]))
        return {name: self.filled(each, f"{at}/{_escaped(name)}") for name, each in template.items()}

    def _resolved(self, node: Mapping[str, Any], at: str) -> Any:
        name, pointer = node[_FROM], node.get(_POINTER, "")
        try:
            value = resolve(self._values[name], pointer)
        except KeyError as missing:
            message = f"{pointer!r} leads nowhere in {_named(name)}: there is no {missing.args[0]!r}"
            raise Unresolved(message, [Violation(at, message)]) from None
        self._put_in += len(msgspec.json.encode(value))
        if self._put_in > MAX_PUT_IN:
            message = f"the references up to this one put in more than {MAX_PUT_IN} bytes"
            raise TooMuchPutIn(message, [Violation(at, message)])
        return value

    def _text(self, part: Any, at: str) -> str:
        value = self._resolved(part, at) if isinstance(part, dict) else part
        if isinstance(value, str):
            return value
        if not _is_textual(value):
            kind = "null" if value is None else type(value).__name__
            message = f"a part of a text is a text or a number; {_named(part[_FROM])} has {kind} there"
            raise Unresolved(message, [Violation(at, message)])
        return str(value)


def _nodes(template: Any, at: str) -> Iterator[tuple[str, Any, int, bool]]:
    """Every node with its pointer, its depth, and whether it is a part of a text; not what is below a reference,
    nor below what is too deep."""
    waiting = [(at, template, 1, False)]
    while waiting:
        where, node, depth, in_text = waiting.pop()
        yield where, node, depth, in_text
        if depth > MAX_DEPTH:
            continue
        if isinstance(node, list):
            waiting += [(f"{where}/{place}", each, depth + 1, False) for place, each in enumerate(node)]
        elif isinstance(node, dict) and _TEXT in node and isinstance(node[_TEXT], list):
            waiting += [(f"{where}/{_TEXT}/{place}", each, depth + 1, True) for place, each in enumerate(node[_TEXT])]
        elif isinstance(node, dict) and _FROM not in node:
            waiting += [(f"{where}/{_escaped(name)}", each, depth + 1, False) for name, each in node.items()]


def _reference_flaws(node: Mapping[str, Any], known: Collection[str], where: str) -> Iterator[Violation]:
    name, pointer = node[_FROM], node.get(_POINTER, "")
    if extra := set(node) - {_FROM, _POINTER}:
        yield Violation(where, f"a reference has no {min(extra)!r}: only {_FROM!r} and {_POINTER!r}")
    if not isinstance(name, str) or name not in known:
        others = ", ".join(sorted(known))
        yield Violation(f"{where}/{_FROM}", f"{name!r} is nothing that is known before this: {others}")
    if not isinstance(pointer, str) or not _SYNTAX.fullmatch(pointer):
        yield Violation(f"{where}/{_POINTER}", "is no JSON pointer (RFC 6901): '' or '/part/…'")


def _is_textual(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def _named(name: str) -> str:
    return "the input" if name == INPUT else f"what the step {name!r} answered"


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
