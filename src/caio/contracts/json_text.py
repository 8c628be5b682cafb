"""JSON text (RFC 8259) as nodes with their lines.

The standard library's reader keeps no positions and lets a repeated key win in silence, so the
grammar is walked here; its scanner of strings is used as it is. Nesting is bounded by
``tree.MAX_DEPTH``, so the recursion is too.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]  # not in typeshed
from typing import Any

from caio.contracts.tree import MAX_DEPTH, Mark, Node, Unreadable, exact_number

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None}


def read_json(text: str) -> Node:
    """The one value of ``text``; raises Unreadable with the line of the first mistake."""
    reader = _Reader(text)
    node = reader.value(0)
    if reader.peek():
        raise reader.mistake("text after the end of the document")
    return node


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def mark(self) -> Mark:
        line = bisect_right(self.line_starts, self.at)
        return Mark(line, line, self.at - self.line_starts[line - 1] + 1)

    def mistake(self, message: str) -> Unreadable:
        mark = self.mark()
        return Unreadable(f"is not valid JSON: {message} (column {mark.column})", mark.line)

    def peek(self) -> str:
        """The next character that is not white space, or nothing at the end."""
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> bool:
        if self.peek() != expected:
            return False
        self.at += 1
        return True

    def value(self, depth: int) -> Node:
        if depth >= MAX_DEPTH:
            raise self.mistake(f"nested more than {MAX_DEPTH} levels deep")
        first, mark = self.peek(), self.mark()
        if first == "{":
            return self.members(depth, mark)
        if first == "[":
            return self.items(depth, mark)
        if first == '"':
            column = mark.column + 1 if mark.column else None
            return Node(self.string(), mark._replace(column=column))
        return self.scalar(mark)

    def members(self, depth: int, mark: Mark) -> Node:
        self.at += 1
        members: dict[str, Node] = {}
        if self.take("}"):
            return Node(members, mark)
        while True:
            if self.peek() != '"':
                raise self.mistake("expected a key in double quotes")
            line = self.mark().line
            key = self.string()
            if not self.take(":"):
                raise self.mistake("expected ':' after a key")
            child = self.value(depth + 1)
            if child.mark:
                child.mark = child.mark._replace(line=line)
            if key in members:
                members[key].problems.append(f"is given twice, again in line {line}")
            else:
                members[key] = child
            if self.take("}"):
                return Node(members, mark)
            if not self.take(","):
                raise self.mistake("expected ',' or '}'")

    def items(self, depth: int, mark: Mark) -> Node:
        self.at += 1
        items: list[Node] = []
        if self.take("]"):
            return Node(items, mark)
        while True:
            items.append(self.value(depth + 1))
            if self.take("]"):
                return Node(items, mark)
            if not self.take(","):
                raise self.mistake("expected ',' or ']'")

    def string(self) -> str:
        try:
            text, self.at = scanstring(self.text, self.at + 1, True)
        except JSONDecodeError as error:
            self.at = error.pos
            raise self.mistake(error.msg.lower()) from error
        return str(text)

    def scalar(self, mark: Mark) -> Node:
        for word, value in _WORDS.items():
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return Node(value, mark)
        match = _NUMBER.match(self.text, self.at)
        if match is None:
            raise self.mistake("expected a value")
        self.at = match.end()
        return number_node(match.group(), mark)


def number_node(text: str, mark: Mark | None) -> Node:
    """A number as a node; one that cannot be held is a problem of the node, not of the text."""
    value: Any = 0
    try:
        value = exact_number(text)
    except ValueError as error:
        return Node(value, mark, [str(error)])
    return Node(value, mark)
