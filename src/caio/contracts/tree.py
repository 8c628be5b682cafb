"""Plain values with the place each was written at, whatever text they came from.

The readers of YAML, JSON and Python values all build ``Node`` trees. A YAML alias shares its
node, so a tree is small however much it stands for; ``size``, ``depth`` and ``characters`` count
what it stands for. They are checked *before* the tree is unfolded into plain values, which is
what makes an alias bomb harmless.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from caio.foundation.errors import Violation

MAX_BYTES = 256 * 1024
MAX_NODES = 10_000
MAX_DEPTH = 50
MAX_NUMBER_CHARACTERS = 100


class Unreadable(ValueError):
    """The text has no value at all; the first mistake is all that can be said."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.violation = Violation("", message, line)


class Mark(NamedTuple):
    """Where a value stands, counted from 1: the line of its key, and the first character of its text.

    ``literal`` says that the text's lines are the file's lines (a YAML ``|`` block); ``column`` is
    None where characters of the text and columns of the file do not correspond.
    """

    line: int
    text_line: int
    column: int | None = None
    literal: bool = False


@dataclass(slots=True)
class Node:
    """A scalar, or a dict or list of nodes. ``problems`` are what its reader found wrong with it."""

    value: Any
    mark: Mark | None = None
    problems: list[str] = field(default_factory=list)
    size: int = 1
    depth: int = 1
    characters: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.value, dict):
            self._count(self.value.values())
            self.characters += sum(map(len, self.value))
        elif isinstance(self.value, list):
            self._count(self.value)
        elif isinstance(self.value, str):
            self.characters = len(self.value)

    def _count(self, children: Iterable[Node]) -> None:
        for child in children:
            self.size += child.size
            self.depth = max(self.depth, child.depth + 1)
            self.characters += child.characters


@dataclass(frozen=True, slots=True)
class Source:
    """Plain values (dict, list, str, bool, int, Decimal, None), their places, and what was wrong."""

    value: Any
    marks: dict[str, Mark]
    problems: tuple[Violation, ...]

    def line(self, pointer: str) -> int | None:
        """The line of ``pointer``, else of the nearest thing around it that is written down."""
        while (mark := self.marks.get(pointer)) is None and pointer:
            pointer = pointer.rpartition("/")[0]
        return mark.line if mark else None


def unfold(root: Node) -> Source:
    """The plain values of ``root``; raises Unreadable when they would be too many."""
    if root.size > MAX_NODES:
        # The count itself is not shown: with aliases it can have more digits than Python will print.
        raise Unreadable(f"holds more than {MAX_NODES} values, aliases counted")
    if root.depth > MAX_DEPTH:
        raise Unreadable(f"is nested more than {MAX_DEPTH} levels deep, aliases counted")
    if root.characters > MAX_BYTES:
        raise Unreadable(f"holds more than {MAX_BYTES} characters of text, aliases counted")
    marks: dict[str, Mark] = {}
    problems: list[Violation] = []
    return Source(_unfold(root, "", marks, problems), marks, tuple(problems))


def _unfold(node: Node, pointer: str, marks: dict[str, Mark], problems: list[Violation]) -> Any:
    line = node.mark.line if node.mark else None
    if node.mark:
        marks[pointer] = node.mark
    problems += [Violation(pointer, message, line) for message in node.problems]
    if isinstance(node.value, dict):
        plain = {}
        for key, child in node.value.items():
            if flaw := flaw_of_text(key):
                problems.append(Violation(pointer, f"a key {flaw}", line))
            else:
                plain[key] = _unfold(child, f"{pointer}/{escape(key)}", marks, problems)
        return plain
    if isinstance(node.value, list):
        return [_unfold(child, f"{pointer}/{index}", marks, problems) for index, child in enumerate(node.value)]
    if isinstance(node.value, str) and (flaw := flaw_of_text(node.value)):
        problems.append(Violation(pointer, flaw, line))
        return ""
    return node.value


def flaw_of_text(text: str) -> str | None:
    """What keeps ``text`` from being stored and hashed, if anything."""
    if "\x00" in text:
        return "holds a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "holds half of a surrogate pair"
    return None


def escape(key: object) -> str:
    """One reference token of a JSON pointer (RFC 6901, section 3)."""
    return str(key).replace("~", "~0").replace("/", "~1")


def exact_number(text: str) -> int | Decimal:
    """A decimal numeral, kept exact; raises ValueError with a plain message when it is too long."""
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise ValueError(f"a number may have at most {MAX_NUMBER_CHARACTERS} characters")
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError("the number's exponent is out of range") from error
