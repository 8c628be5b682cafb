"""Documents made from the schemas of the OpenAPI document: the least valid one, and one for each text in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

#: How deep texts are looked for, and how many of one body are tried.
DEPTH = 4
MOST = 30


class Bodies:
    """Documents for the schemas of one OpenAPI document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._components = document["components"]["schemas"]

    def least(self, schema: Schema, root: Schema | None = None, depth: int = 0) -> Any:
        """What the schema demands and no more, as far as it can be guessed."""
        root = root or schema
        schema = self._resolved(schema, root)
        if "default" in schema:
            return schema["default"]
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        match _kind(schema):
            case "object":
                members = schema.get("properties", {})
                return {
                    name: self.least(members.get(name, {}), root, depth + 1)
                    for name in schema.get("required", ())
                    if depth < DEPTH
                }
            case "array":
                return [self.least(schema.get("items", {}), root, depth + 1)] * schema.get("minItems", 0)
            case "integer" | "number":
                return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
            case "boolean":
                return False
            case "null":
                return None
        return "a" * max(1, schema.get("minLength", 1))

    def members(self, schema: Schema) -> set[str]:
        """The members that the schema names."""
        return set(self._resolved(schema, schema).get("properties", {}))

    def with_text(self, schema: Schema, text: str) -> Iterator[tuple[str, Any]]:
        """For each text within the schema, the least document with ``text`` there, and its place."""
        least = self.least(schema)
        for number, path in enumerate(self._texts(schema, schema, 0)):
            if number == MOST:
                return
            yield "/" + "/".join(map(str, path)), _put(least, path, text)

    def _texts(self, schema: Schema, root: Schema, depth: int) -> Iterator[tuple[Any, ...]]:
        schema = self._resolved(schema, root)
        match _kind(schema):
            case "object" if depth < DEPTH:
                for name, member in schema.get("properties", {}).items():
                    yield from ((name, *rest) for rest in self._texts(member, root, depth + 1))
                if isinstance(schema.get("additionalProperties"), dict):
                    yield from (("x", *rest) for rest in self._texts(schema["additionalProperties"], root, depth + 1))
            case "array" if depth < DEPTH:
                yield from ((0, *rest) for rest in self._texts(schema.get("items", {}), root, depth + 1))
            case "string" | "any":
                yield ()

    def _resolved(self, schema: Schema, root: Schema) -> Schema:
        while True:
            if "$ref" in schema:
                name = schema["$ref"].rpartition("/")[2]
                schema = root["$defs"][name] if name in root.get("$defs", {}) else self._components[name]
            elif several := schema.get("anyOf") or schema.get("oneOf"):
                schema = next((each for each in several if each.get("type") != "null"), several[0])
            elif len(schema.get("allOf", ())) == 1:
                schema = schema["allOf"][0]
            else:
                return schema


def _kind(schema: Schema) -> str:
    stated = schema.get("type", "object" if "properties" in schema else "any")
    return str(stated if isinstance(stated, str) else stated[0])


def _put(document: Any, path: tuple[Any, ...], text: str) -> Any:
    """The document with ``text`` at ``path``, which is made where it is not."""
    if not path:
        return text
    first, *rest = path
    if isinstance(first, int):
        return [_put(None, tuple(rest), text)]
    members = dict(document) if isinstance(document, dict) else {}
    members[first] = _put(members.get(first), tuple(rest), text)
    return members
