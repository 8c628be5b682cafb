"""The laws of schemas from outside."""

import socket
import time

import pytest

from caio.foundation.errors import Violation
from caio.foundation.json_schema import CompiledSchema, SchemaRefused

PERSON = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"$ref": "#/$defs/name"}, "age": {"type": "integer", "maximum": 150}, "a/b~c": {"const": 1}},
    "additionalProperties": False,
    "$defs": {"name": {"type": "string", "maxLength": 5}},
}


def doubling(levels: int) -> dict:
    defs: dict = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{levels}": {"type": "integer"}}}


def nested(levels: int) -> dict:
    schema: dict = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def test_nothing_is_fetched(listener, tmp_path):
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/schema"
    (tmp_path / "schema.json").write_text("{}")
    for schema in (
        {"$ref": url},
        {"$schema": url},
        {"$id": url, "$ref": "other"},
        {"$ref": (tmp_path / "schema.json").as_uri()},
        {"properties": {"a": {"anyOf": [{"$ref": "other.json#/x"}]}}},
        {"$dynamicRef": url},
        {"properties": {"a": {"$id": url, "$ref": "#/x"}}},
    ):
        with pytest.raises(SchemaRefused):
            CompiledSchema(schema)
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize(
    "schema",
    [
        doubling(12),
        doubling(60),
        nested(100),
        {"$ref": "#"},
        {"properties": {"child": {"$ref": "#"}}},
        {"$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"},
        {"$defs": {"a": {"not": {"$ref": "#/$defs"}}}},
        {"$defs": {"a": {"x": {"y": {"$ref": "#/$defs/b"}}}, "b": {"$ref": "#/$defs/a/x"}}},
        {"$dynamicRef": "#x", "$dynamicAnchor": "x"},
        {"pattern": "(?=a)b"},
        {"pattern": "(a)\\1"},
        {"enum": list(range(10))} | {f"p{n}": {} for n in range(3000)},
    ],
)
def test_work_is_bounded(schema):
    with pytest.raises(SchemaRefused):
        CompiledSchema(schema)


def test_patterns_do_not_backtrack():
    started = time.perf_counter()
    assert CompiledSchema({"pattern": "^(a+)+$"}).violations("a" * 5000 + "b", 1)
    assert time.perf_counter() - started < 1


def test_modest_references_compile():
    assert CompiledSchema(doubling(6)).violations(1, 1) == ()
    assert CompiledSchema(doubling(6)).violations("x", 1) == (Violation("", "breaks type: integer"),)


@pytest.mark.parametrize("schema", [{"type": "zz"}, {"$ref": "#/$defs/none"}, {"$ref": "#name"}, {"minimum": "1"}])
def test_invalid_schemas_are_refused(schema):
    with pytest.raises(SchemaRefused):
        CompiledSchema(schema)


def test_messages_hold_no_payload():
    found = CompiledSchema(PERSON).violations({"name": "SECRET-NAME", "age": 4711, "SECRET": 1, "a/b~c": "SECRET"}, 10)
    assert set(found) == {
        Violation("/name", "breaks maxLength: 5"),
        Violation("/age", "breaks maximum: 150"),
        Violation("", "breaks additionalProperties"),
        Violation("/a~1b~0c", "breaks const"),
    }
    assert CompiledSchema(PERSON).violations({}, 10) == (Violation("", "breaks required: name"),)
    assert CompiledSchema(PERSON).violations({"name": "Ada"}, 10) == ()


def test_only_the_first_errors_are_given():
    schema = CompiledSchema({"items": {"type": "integer"}})
    assert len(schema.violations(["x"] * 100, 3)) == 3


@pytest.mark.parametrize("value", [b"bytes", "\ud800", {1: 2}])
def test_what_is_not_json_is_a_violation(value):
    assert CompiledSchema({"type": ["string", "object"]}).violations(value, 3)


def test_a_schema_that_refers_to_itself_is_told_so():
    with pytest.raises(SchemaRefused, match="may not refer to itself") as caught:
        CompiledSchema({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"})
    assert caught.value.pointer == "/$defs/a/items/$ref"


@pytest.mark.parametrize("value", [{"a": 1}, {"a": "x", "b": []}, {}, [], None, {"a": [[]]}])
def test_whether_and_what_first_agree_with_all_violations(value):
    schema = CompiledSchema({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}})
    found = schema.violations(value, 20)
    assert schema.accepts(value) == (found == ())
    assert set(schema.first(value)) <= set(found)
    assert len(schema.first(value)) == min(len(found), 1)


@pytest.mark.parametrize("kind", ["array", "object"])
def test_of_what_is_too_deep_they_agree_too(kind):
    deep: object = []
    for _ in range(5_000):
        deep = [deep]
    schema = CompiledSchema({"type": kind, "items": {"type": "array", "items": {"type": "string"}}})
    assert not schema.accepts(deep)
    assert len(schema.first(deep)) == len(schema.violations(deep, 1)) == 1
