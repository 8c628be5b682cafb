"""JSON Schemas from outside, compiled so that running them is safe.

Theory of operation
-------------------
A tenant's schema runs against every answer of its service, inside the process that serves all
tenants. Three things could hurt: fetching what it refers to, regular expressions that backtrack,
and references that multiply (twenty levels of ``allOf: [ref, ref]`` are a million checks). So every
``$ref`` must be a JSON pointer into the schema itself, patterns are matched in linear time, and the
schema *with its references written out* may have at most MAX_EXPANDED parts. A schema that refers
to itself has no such size and is refused.

Laws (each has a test of the same name)
---------------------------------------
- nothing_is_fetched: a schema that refers elsewhere does not compile.
- work_is_bounded: references that multiply or recur do not compile, and patterns do not backtrack.
- messages_hold_no_payload: an error names the place and the keyword, never the value found there.

The draft is the schema's own (``$schema``), 2020-12 by default. ``format`` is an annotation there.
A ``$ref`` is read as a reference wherever it stands, also inside ``enum`` or ``const``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from caio.foundation.errors import Violation

MAX_EXPANDED = 2_000
MAX_DEPTH = 64
MAX_POINTER = 200
MAX_PATTERN_BYTES = 1 << 20

_UNREADABLE = Violation("", "cannot be checked: it is nested too deeply or is not JSON")

_UNSUPPORTED = ("$dynamicRef", "$recursiveRef")

#: What of a keyword may be said: it is the schema's own. ``additionalProperties`` and its like are
#: left out, because their errors list what the payload holds.
_SAYABLE = {
    "type": "types",
    "required": "property",
    "maxLength": "limit",
    "minLength": "limit",
    "maximum": "limit",
    "minimum": "limit",
    "exclusiveMaximum": "limit",
    "exclusiveMinimum": "limit",
    "maxItems": "limit",
    "minItems": "limit",
    "maxProperties": "limit",
    "minProperties": "limit",
    "multipleOf": "multiple_of",
    "pattern": "pattern",
    "format": "format",
}


class SchemaRefused(ValueError):
    """A schema is not valid or not safe to run: where (JSON pointer) and why."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{message} (at {pointer or 'the root'})")
        self.pointer = pointer
        self.message = message


class CompiledSchema:
    """A schema ready to be run against JSON values."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises SchemaRefused."""
        document = dict(schema)
        _expanded(document, document, "", {}, ())
        try:
            self._validator = jsonschema_rs.validator_for(
                document,
                retriever=_fetch_nothing,
                pattern_options=jsonschema_rs.RegexOptions(
                    size_limit=MAX_PATTERN_BYTES, dfa_size_limit=MAX_PATTERN_BYTES
                ),
            )
        except jsonschema_rs.ValidationError as error:
            raise SchemaRefused(_pointer(error.instance_path), "this is not valid JSON Schema") from error
        except (jsonschema_rs.ReferencingError, ValueError) as error:
            raise SchemaRefused("", "this is not valid JSON Schema") from error

    def accepts(self, value: Any) -> bool:
        """Whether ``violations`` finds none; of a large value, in a fraction of the time."""
        try:
            return self._validator.is_valid(value)
        except (ValueError, RecursionError):
            return False

    def first(self, value: Any) -> tuple[Violation, ...]:
        """One of the ``violations``, if there are any; of many thousands, in a tenth of the time."""
        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return (Violation(_pointer(error.instance_path), _said(error)),)
        except (ValueError, RecursionError):
            return (_UNREADABLE,)
        return ()

    def violations(self, value: Any, most: int) -> tuple[Violation, ...]:
        """The first ``most`` errors of ``value``, which must be JSON as a parser gives it."""
        try:
            if self._validator.is_valid(value):
                return ()
            return tuple(
                Violation(_pointer(error.instance_path), _said(error))
                for error in islice(self._validator.iter_errors(value), most)
            )
        except (ValueError, RecursionError):
            return (_UNREADABLE,)


def _expanded(root: dict[str, Any], value: Any, pointer: str, sizes: dict[str, int], path: tuple[str, ...]) -> int:
    """How many parts ``value`` has with its references written out; raises SchemaRefused."""
    if len(path) > MAX_DEPTH or pointer.count("/") > MAX_DEPTH:
        raise SchemaRefused("", "the schema is nested too deeply")
    size = 1
    for step, item in _members(value):
        where = f"{pointer}/{_escaped(step)}"
        if step == "$ref" and isinstance(item, str):
            size += _referred(root, item, where, sizes, path)
        elif step in _UNSUPPORTED and isinstance(item, str):
            raise SchemaRefused(where, "dynamic references are not supported; use $ref")
        elif step == "$id" and isinstance(item, str) and pointer:
            raise SchemaRefused(where, "$id may stand at the root only")
        elif isinstance(item, dict | list):
            size += _expanded(root, item, where, sizes, path)
    if size > MAX_EXPANDED:
        raise SchemaRefused("", f"the schema with its references written out has more than {MAX_EXPANDED} parts")
    return size


def _referred(root: dict[str, Any], reference: str, where: str, sizes: dict[str, int], path: tuple[str, ...]) -> int:
    if reference != "#" and not reference.startswith("#/"):
        raise SchemaRefused(where, "a reference must be a JSON pointer into the schema itself, such as #/$defs/name")
    target = unquote(reference[1:])
    if any(f"{inside}/".startswith(f"{target}/") for inside in (*path, where)):
        raise SchemaRefused(where, "a schema may not refer to itself")
    if target not in sizes:
        sizes[target] = _expanded(root, _at(root, target, where), target, sizes, (*path, target))
    return sizes[target]


def _at(root: Any, pointer: str, where: str) -> Any:
    for part in pointer.split("/")[1:]:
        step = part.replace("~1", "/").replace("~0", "~")
        if isinstance(root, dict) and step in root:
            root = root[step]
        elif isinstance(root, list) and step.isdecimal() and int(step) < len(root):
            root = root[int(step)]
        else:
            raise SchemaRefused(where, "the reference points at nothing")
    return root


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from ((str(index), item) for index, item in enumerate(value))


def _fetch_nothing(uri: str) -> Any:
    raise ValueError("schemas are never fetched")


def _said(error: jsonschema_rs.ValidationError) -> str:
    keyword = error.kind.name
    detail = error.kind.as_dict().get(_SAYABLE[keyword]) if keyword in _SAYABLE else None
    if isinstance(detail, list):
        detail = " or ".join(map(str, detail))
    return f"breaks {keyword}" if detail is None else f"breaks {keyword}: {str(detail)[:MAX_POINTER]}"


def _pointer(path: list[str | int]) -> str:
    return "".join(f"/{_escaped(str(part))}" for part in path)[:MAX_POINTER]


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
