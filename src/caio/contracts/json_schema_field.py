"""A JSON Schema inside a contract: what a request or an answer of an endpoint must look like.

It comes from a tenant and is run against every answer, so it is refused here unless the gateway
could run it safely: see ``foundation.json_schema``.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator

from caio.contracts.fields import FreeForm, refusing
from caio.foundation.canonical import canonical_json
from caio.foundation.json_schema import CompiledSchema, SchemaRefused

MAX_SCHEMA_BYTES = 64 * 1024


def _flaws_of_schema(schema: dict[str, Any], flaws: list[tuple[str, str]]) -> dict[str, Any]:
    if len(canonical_json(schema)) > MAX_SCHEMA_BYTES:
        flaws.append(("", f"a JSON Schema may have at most {MAX_SCHEMA_BYTES} bytes"))
        return schema
    try:
        CompiledSchema(schema)
    except SchemaRefused as refused:
        flaws.append((refused.pointer, refused.message))
    return schema


JsonSchema = Annotated[FreeForm, AfterValidator(refusing(_flaws_of_schema))]
