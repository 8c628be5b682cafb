"""From whatever a caller hands in to plain values, or one sentence on why not.

Text is JSON when it begins like JSON (a brace, then a quoted key) and YAML otherwise. Broken JSON
is not tried as YAML: much of it would mean something there, and not what was meant. Python
mappings (a body that was decoded already) pass through the same checks without lines.

Laws (each has a test of the same name)
---------------------------------------
- reading_ends_or_refuses: any bytes give a Source or Unreadable, in bounded time and memory.
- yaml_and_json_agree: the same content gives the same values.
- numbers_stay_exact: no numeral passes through binary floating point.
- nothing_repeats_in_silence: a key given twice is a problem, never the last one's victory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

from caio.contracts.json_text import number_node, read_json
from caio.contracts.tree import MAX_BYTES, MAX_DEPTH, MAX_NODES, Node, Source, Unreadable, unfold
from caio.contracts.yaml_text import read_yaml

_LIKE_JSON = re.compile(r"[ \t\r\n]*[\[{][ \t\r\n]*(?:[\"\[\]{}]|\Z)")


def read_source(source: str | bytes | Mapping[str, Any]) -> Source:
    """The plain values of ``source``; raises Unreadable when it has none."""
    if isinstance(source, str | bytes):
        return unfold(_read_text(_decode(source)))
    return unfold(_Plain().node(source, 0))


def _decode(source: str | bytes) -> str:
    try:
        raw = source.encode() if isinstance(source, str) else source
        if len(raw) > MAX_BYTES:
            raise Unreadable(f"is {len(raw)} bytes long; at most {MAX_BYTES} are allowed")
        text = raw.decode()
    except UnicodeError as error:
        line = None
        if isinstance(error, UnicodeDecodeError):
            line = source[: error.start].count(b"\n") + 1 if isinstance(source, bytes) else None
        raise Unreadable("is not valid UTF-8 text", line) from error
    if "\x00" in text:
        raise Unreadable("holds a NUL character", text[: text.index("\x00")].count("\n") + 1)
    return text.removeprefix("\ufeff")


def _read_text(text: str) -> Node:
    return read_json(text) if _LIKE_JSON.match(text) else read_yaml(text)


class _Plain:
    """Values that some other reader made; shared or cyclic ones are counted as often as they occur."""

    def __init__(self) -> None:
        self.left = MAX_NODES

    def node(self, value: Any, depth: int) -> Node:
        self.left -= 1
        if self.left < 0:
            raise Unreadable(f"holds more than {MAX_NODES} values")
        if depth >= MAX_DEPTH:
            raise Unreadable(f"is nested more than {MAX_DEPTH} levels deep")
        if value is None or isinstance(value, bool | str):
            return Node(str(value) if isinstance(value, str) else value)
        if isinstance(value, Mapping):
            return self._members(value, depth)
        if isinstance(value, list | tuple):
            return Node([self.node(item, depth + 1) for item in value])
        return _number(value)

    def _members(self, value: Mapping[Any, Any], depth: int) -> Node:
        node = Node({key: self.node(item, depth + 1) for key, item in value.items() if isinstance(key, str)})
        if len(node.value) < len(value):
            node.problems.append("keys must be text")
        return node


def _number(value: Any) -> Node:
    if isinstance(value, int):
        # Python refuses to print integers of thousands of digits, so their length is not asked.
        return Node(value) if value.bit_length() <= 256 else Node(0, None, ["the number is too large"])
    if isinstance(value, float) and isfinite(value):
        return number_node(repr(value), None)
    if isinstance(value, Decimal) and value.is_finite():
        return number_node(str(value), None)
    if isinstance(value, float | Decimal):
        return Node(0, None, ["must be a finite number"])
    return Node(None, None, [f"a {type(value).__name__} has no place in JSON"])
