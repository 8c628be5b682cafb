"""A JSON Schema inside a contract: what a request or an answer of an endpoint must look like.

It comes from a tenant and is run against every answer, so it must stand on its own: valid by its
own draft's rules, references to itself only, nothing fetched. Not checked here: how long it takes
to evaluate; the gateway bounds the answer's size and the time.
"""

from __future__ import annotations

from typing import Annotated, Any

import jsonschema_rs
from pydantic import AfterValidator

from caio.contracts.fields import FreeForm, refusing
from caio.contracts.tree import escape
from caio.foundation.canonical import canonical_json

MAX_SCHEMA_BYTES = 64 * 1024

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def _flaws_of_schema(schema: dict[str, Any], flaws: list[tuple[str, str]]) -> dict[str, Any]:
    if len(canonical_json(schema)) > MAX_SCHEMA_BYTES:
        flaws.append(("", f"a JSON Schema may have at most {MAX_SCHEMA_BYTES} bytes"))
        return schema
    _foreign_references(schema, "", flaws)
    if not flaws:
        _invalidity(schema, flaws)
    return schema


def _foreign_references(value: Any, pointer: str, flaws: list[tuple[str, str]]) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _foreign_references(item, f"{pointer}/{index}", flaws)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in _REFERENCES and isinstance(item, str) and not item.startswith("#"):
                flaws.append((f"{pointer}/{key}", "a reference must stay inside the schema: #/$defs/…"))
            _foreign_references(item, f"{pointer}/{escape(key)}", flaws)


def _invalidity(schema: dict[str, Any], flaws: list[tuple[str, str]]) -> None:
    try:
        jsonschema_rs.validator_for(schema, offline=True)
    except jsonschema_rs.ValidationError as error:
        pointer = "".join(f"/{escape(part)}" for part in error.instance_path)
        flaws.append((pointer, f"is not valid JSON Schema: {error.message[:200]}"))
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        flaws.append(("", f"is not valid JSON Schema: {str(error)[:200]}"))


JsonSchema = Annotated[FreeForm, AfterValidator(refusing(_flaws_of_schema))]
