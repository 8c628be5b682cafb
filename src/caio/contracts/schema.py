"""The published JSON Schemas (draft 2020-12): what an editor completes and checks while one types.

Generated from the models, so they cannot say something else; ``caio schemas --check`` finds files
that fell behind. They are stricter than the parser in one way: unknown fields are errors there and
warnings here. The rules that tie fields together (``rules``) have no place in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from caio.contracts.model import Contract
from caio.contracts.policy import PolicyDocument

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Published(GenerateJsonSchema):
    """A field that may be left out may not be null, and has no default to show."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def contract_schema() -> dict[str, Any]:
    """The JSON Schema of a contract's source; a fresh value."""
    return _generated(Contract, "contract", "CAIO contract")


def policy_schema() -> dict[str, Any]:
    """The JSON Schema of a policy's source; a fresh value."""
    return _generated(PolicyDocument, "policy", "CAIO policy")


def published() -> dict[str, bytes]:
    """The files of ``schemas/`` that are generated here, by name."""
    schemas = {"contract.schema.json": contract_schema(), "policy.schema.json": policy_schema()}
    return {name: f"{json.dumps(schema, indent=2, ensure_ascii=False)}\n".encode() for name, schema in schemas.items()}


def fields_at(schema: Mapping[str, Any], path: Iterable[int | str]) -> set[str]:
    """The fields that may stand in the mapping at ``path`` of a document."""
    places = _objects(schema, schema)
    for step in path:
        nearer = [_below(place, step) for place in places]
        places = [place for each in nearer if isinstance(each, dict) for place in _objects(schema, each)]
    return {name for place in places for name in place.get("properties", {})}


def _below(place: Mapping[str, Any], step: int | str) -> Any:
    """The schema of one field or entry of ``place``; a truth value where anything or nothing goes."""
    if isinstance(step, int):
        return place.get("items", False)
    return place.get("properties", {}).get(step, place.get("additionalProperties", False))


def _objects(root: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The alternatives that ``schema`` stands for, with references followed."""
    if "$ref" in schema:
        return _objects(root, root["$defs"][schema["$ref"].rpartition("/")[2]])
    alternatives = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return [place for each in alternatives for place in _objects(root, each)] or [schema]


def _generated(model: type[BaseModel], name: str, title: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(_text_of(model))
    return {"$schema": DIALECT, "$id": f"urn:caio:schema:{name}:v1", **schema, "title": title}


@cache
def _text_of(model: type[BaseModel]) -> str:
    return json.dumps(model.model_json_schema(schema_generator=_Published))
