"""YAML text as nodes with their lines: YAML 1.2's core schema, and only what a contract needs.

PyYAML splits the text into events; meaning is given here, because PyYAML's own is YAML 1.1, where
``no`` is false and ``1:30`` is ninety. Only true and false are truth values; numbers stay exact;
dates stay text; tags (which can name Python objects), merge keys and repeated keys are refused.
Events arrive one by one, so nesting is bounded before any recursion, and an alias costs nothing
until ``tree.unfold`` has counted what it stands for.
"""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import yaml

from caio.contracts.json_text import number_node
from caio.contracts.tree import MAX_DEPTH, MAX_NUMBER_CHARACTERS, Mark, Node, Unreadable

#: libyaml where PyYAML was built with it: fifteen times as fast, and the same events.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_OTHER_BASES = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TEXT_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})


def read_yaml(text: str, loader: Any = None) -> Node:
    """The one document of ``text``; raises Unreadable with the line of the first mistake."""
    builder = _Builder(text)
    try:
        for event in yaml.parse(text, Loader=loader or LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise Unreadable(f"is not valid YAML: {what}", mark.line + 1 if mark else None) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        if isinstance(error, Unreadable):
            raise
        reason = getattr(error, "reason", "an escape names no character")
        raise Unreadable(f"is not valid YAML: {reason}") from error
    if builder.root is None:
        raise Unreadable("is empty")
    return builder.root


@dataclass(slots=True)
class _Open:
    """A collection whose end has not been read yet."""

    value: dict[str, Node] | list[Node]
    mark: Mark
    anchor: str | None
    problems: list[str] = field(default_factory=list)
    key: Node | None = None

    def add(self, child: Node) -> None:
        if isinstance(self.value, list):
            self.value.append(child)
        elif self.key is None:
            self.key = child
        else:
            self._add_member(self.value, self.key, child)
            self.key = None

    def _add_member(self, members: dict[str, Node], key: Node, child: Node) -> None:
        line = key.mark.line if key.mark else self.mark.line
        if not isinstance(key.value, str):
            shown = "a collection" if isinstance(key.value, dict | list) else str(key.value)[:40]
            self.problems.append(f"keys must be text, and {shown} in line {line} is none; put it in quotes")
        elif key.value == "<<":
            self.problems.append(f"merge keys (<<, in line {line}) are not supported; write the fields out")
        elif key.value in members:
            members[key.value].problems.append(f"is given twice, again in line {line}")
        else:
            # An alias shares its node: the twin takes this key's line without changing the other's.
            # It is a shallow copy, because counting a node anew for each alias would be quadratic.
            twin = copy(child)
            twin.mark = child.mark._replace(line=line) if child.mark else None
            twin.problems = list(child.problems)
            members[key.value] = twin


class _Builder:
    def __init__(self, text: str) -> None:
        self.root: Node | None = None
        self.lines = text.split("\n")
        self.open: list[_Open] = []
        self.anchors: dict[str, Node] = {}

    def take(self, event: yaml.Event) -> None:
        line = _line(event)
        if isinstance(event, yaml.ScalarEvent):
            self._place(self._scalar(event), event.anchor)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if len(self.open) >= MAX_DEPTH:
                raise Unreadable(f"is nested more than {MAX_DEPTH} levels deep", line)
            value: dict[str, Node] | list[Node] = {} if isinstance(event, yaml.MappingStartEvent) else []
            problems = [] if event.tag in {None, "!"} else [_foreign(event.tag)]
            self.open.append(_Open(value, Mark(line, line), event.anchor, problems))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done = self.open.pop()
            self._place(Node(done.value, done.mark, done.problems), done.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._place(self._anchored(event.anchor, line), None)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            raise Unreadable("holds a second document (---); a file holds one", line)

    def _place(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = node
        if self.open:
            self.open[-1].add(node)
        else:
            self.root = node

    def _anchored(self, name: str | None, line: int) -> Node:
        if name is None or name not in self.anchors:
            raise Unreadable(f"the alias *{(name or '')[:40]} names nothing before it", line)
        return self.anchors[name]

    def _scalar(self, event: yaml.ScalarEvent) -> Node:
        mark = self._mark(event)
        if event.tag is not None and event.tag not in _TEXT_TAGS:
            return Node(event.value, mark, [_foreign(event.tag)])
        if event.tag is None and event.implicit[0]:
            return _resolve(event.value, mark)
        return Node(event.value, mark)

    def _mark(self, event: yaml.ScalarEvent) -> Mark:
        line, column = _line(event), event.start_mark.column + 1 if event.start_mark else 1
        if event.style in {"|", ">"}:
            following = (self.lines[index] for index in range(line, len(self.lines)))
            first = next((text for text in following if text.strip()), "")
            indent = len(first) - len(first.lstrip(" "))
            literal = event.style == "|"
            return Mark(line, line + 1, indent + 1 if literal else None, literal)
        if event.end_mark is None or event.end_mark.line + 1 != line:
            return Mark(line, line)
        return Mark(line, line, column + 1 if event.style in {"'", '"'} else column)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _resolve(text: str, mark: Mark) -> Node:
    """A plain scalar by the core schema (YAML 1.2.2, section 10.3.2)."""
    if text in _NULL:
        return Node(None, mark)
    if text in _BOOLEANS:
        return Node(_BOOLEANS[text], mark)
    if _NUMBER.fullmatch(text):
        return number_node(text, mark)
    if _OTHER_BASES.fullmatch(text) and len(text) <= MAX_NUMBER_CHARACTERS:
        return Node(int(text, 0), mark)
    if _NOT_FINITE.fullmatch(text):
        return Node(0, mark, ["must be a finite number"])
    return Node(text, mark)


def _foreign(tag: str) -> str:
    return f"YAML tags are not supported, remove {tag[:60]}"
