"""The types of a document's fields: what a value may be, in code, in messages and in JSON Schema.

Each type is used by the models (which refuse anything else), by the published JSON Schema (which
tells an editor the same) and by the messages (which say it in words).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from caio.contracts.tree import escape
from caio.foundation.canonical import MAX_INTEGER
from caio.foundation.ids import SERVICE_ID
from caio.foundation.quantity import NotExact, decimal_text, scaled

T = TypeVar("T")

MAX_COUNT = 10**9
MAX_PRICE = 10**6

#: The error type that carries several places at once, in its context as ``{"flaws": [(pointer, message)]}``.
FLAWS = "flaws"


@dataclass(frozen=True, slots=True)
class Shape:
    """Text that a regular expression describes, and the words for it."""

    pattern: str
    meaning: str
    examples: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        examples = {"examples": list(self.examples)} if self.examples else {}
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$", **examples}

    def check(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise PydanticCustomError("shape", "must be {meaning}", {"meaning": self.meaning})
        return text


@dataclass(frozen=True, slots=True)
class Exact:
    """A decimal, given as a number or as text, exact to ``places`` and within [least, most]."""

    places: int
    least: int
    most: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.plain_serializer_function_ser_schema(self.text)
        return core_schema.no_info_plain_validator_function(self.read, serialization=text)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "number", "minimum": self.least, "maximum": self.most},
                {"type": "string", "pattern": f"^{self._numeral}$"},
            ]
        }

    @property
    def _numeral(self) -> str:
        return f"{'-?' if self.least < 0 else ''}[0-9]{{1,10}}(?:\\.[0-9]{{1,{self.places}}})?"

    def read(self, value: Any) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
            raise PydanticCustomError("number", "must be a number, got {got}", {"got": describe(value)})
        if isinstance(value, str) and not re.fullmatch("-?[0-9]+(?:\\.[0-9]+)?", value):
            raise PydanticCustomError("number", "must be a number, got {got}", {"got": describe(value)})
        try:
            units = scaled(value, places=self.places, most=MAX_COUNT)
        except NotExact as error:
            raise PydanticCustomError("number", "{why}", {"why": str(error)}) from error
        if not self.least * 10**self.places <= units <= self.most * 10**self.places:
            bounds = {"least": self.least, "most": self.most}
            raise PydanticCustomError("number", "must be between {least} and {most}", bounds)
        return Decimal(decimal_text(units, self.places))

    def text(self, value: Decimal) -> str:
        return decimal_text(scaled(value, places=self.places, most=MAX_COUNT), self.places)


def describe(value: Any) -> str:
    """A value in words, short enough for a message."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text '{value if len(value) <= 40 else value[:39] + '…'}'"
    if isinstance(value, list | tuple):
        return "a list"
    return "a mapping" if isinstance(value, dict) else f"the number {value}"


def _written_down(value: T) -> T:
    if value is None:
        raise PydanticCustomError("nothing", "must not be empty; leave the field out instead")
    return value


#: A field that may be left out, but not be written down empty: an emptied ``all_of:`` is a mistake.
Maybe = Annotated[T | None, BeforeValidator(_written_down)]


def _one_line(text: str) -> str:
    if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", text):
        raise PydanticCustomError("one_line", "must be one line without control characters")
    return text


def _printable(text: str) -> str:
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text):
        raise PydanticCustomError("printable", "must not hold control characters")
    return text


def _sorted_set(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


#: A YAML or JSON list; pydantic's strict tuples would insist on Python ones.
Listed = Annotated[tuple[T, ...], Field(strict=False, max_length=256)]

Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Sentence = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_one_line)]
Message = Annotated[str, Field(max_length=500), AfterValidator(_printable)]
Prose = Annotated[str, Field(max_length=4000), AfterValidator(_printable)]

ServiceId = Annotated[
    str, Shape(SERVICE_ID.pattern, "1 to 63 of a-z, 0-9, - and _, starting with a letter or digit", ("answers",))
]
Identifier = Annotated[
    str, Shape("[a-z0-9][a-z0-9_.-]{0,62}", "1 to 63 of a-z, 0-9, ., - and _, starting with a letter or digit")
]
Permission = Annotated[
    str, Shape("[a-z0-9][a-z0-9_.:-]{0,62}", "1 to 63 of a-z, 0-9, ., :, - and _, starting with a letter or digit")
]
#: https://semver.org, its own expression, with a limit on the whole length.
SemanticVersion = Annotated[
    str,
    Field(max_length=64),
    Shape(
        r"(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)"
        r"(?:-(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
        r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?",
        "a semantic version such as 1.0.0",
        ("1.0.0",),
    ),
]
Currency = Annotated[str, Shape("[A-Z]{3}", "a currency code of three capital letters, such as USD", ("USD", "EUR"))]

_PATH = r"(?!.*(?://|/\.{1,2}(?:/|$)|%2[eEfF]|%5[cC]))(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*"
BaseUrl = Annotated[
    str,
    Field(max_length=2048),
    Shape(
        r"https?://(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])"
        r"(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?" + _PATH,
        "an http or https address: host, port and path only (no user, query, fragment or dot segments)",
        ("https://api.example.com/v1",),
    ),
]
EndpointPath = Annotated[
    str,
    Field(max_length=1024),
    Shape(f"(?=/){_PATH}", "a path that begins with / and holds no //, .. or query", ("/v1/answers",)),
]
SecretRef = Annotated[
    str,
    Shape(
        "[a-z0-9][a-z0-9_.-]{0,62}",
        "the name of a stored secret (1 to 63 of a-z, 0-9, ., - and _), never the secret itself",
        ("openai-key",),
    ),
]
AuthScheme = Annotated[
    str,
    Shape(
        "bearer|none|aws|header:(?!(?:[Hh]ost|[Cc]ontent-[Ll]ength|[Cc]onnection|[Tt]ransfer-[Ee]ncoding)$)"
        "[A-Za-z][A-Za-z0-9-]{0,63}",
        "bearer, none, aws or header:<Name>",
        ("bearer", "header:X-Api-Key", "aws", "none"),
    ),
]
AwsRegion = Annotated[
    str,
    Field(max_length=32),
    Shape("[a-z]{2,8}(-[a-z0-9]{1,16}){1,4}", "a region of AWS such as eu-west-1", ("eu-west-1",)),
]

Names = Annotated[Listed[Identifier], AfterValidator(_sorted_set)]
Regions = Annotated[
    tuple[Identifier, ...], Field(strict=False, min_length=1, max_length=64), AfterValidator(_sorted_set)
]
Permissions = Annotated[Listed[Permission], AfterValidator(_sorted_set)]

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Ratio = Annotated[Decimal, Exact(9, 0, 1)]
Amount = Annotated[Decimal, Exact(9, 0, MAX_COUNT)]
Quantity = Annotated[Decimal, Exact(9, -MAX_COUNT, MAX_COUNT)]
Price = Annotated[Decimal, Exact(12, 0, MAX_PRICE)]


def _native(value: Any, pointer: str, flaws: list[tuple[str, str]]) -> Any:
    """A free-form value with JSON's own numbers: what other programs will read it with."""
    if isinstance(value, dict):
        return {key: _native(item, f"{pointer}/{escape(key)}", flaws) for key, item in value.items()}
    if isinstance(value, list):
        return [_native(item, f"{pointer}/{index}", flaws) for index, item in enumerate(value)]
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            flaws.append((pointer, "a number beyond 2**53 - 1 must be written as text"))
            return 0
        return float(value) if isinstance(value, Decimal) else value
    return value


def refusing(flaws_of: Callable[[Any, list[tuple[str, str]]], Any]) -> Callable[[Any], Any]:
    """A validator that reports all of the flaws that ``flaws_of`` appends, each at its own place."""

    def check(value: Any) -> Any:
        flaws: list[tuple[str, str]] = []
        result = flaws_of(value, flaws)
        if flaws:
            raise PydanticCustomError(FLAWS, "{first}", {"first": flaws[0][1], "flaws": flaws})
        return result

    return check


FreeForm = Annotated[dict[str, Any], AfterValidator(refusing(lambda value, flaws: _native(value, "", flaws)))]
