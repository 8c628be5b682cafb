"""What CAIO itself reads of OpenAI-shaped bodies; everything else passes through to services that take it.

These models check bodies that are not plainly in order, so that every violation is told at once, and they
describe the bodies in the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from caio.foundation.errors import InvalidInput, Violation
from caio.gateway.intake import read
from caio.routing.model import MAX_ANSWERS

Tokens = Annotated[int, Field(ge=1, le=10**9)]
Object = dict[str, Any]

B = TypeVar("B", bound="OpenAIBody")


class OpenAIBody(BaseModel):
    """What all have in common. ``metadata.caio`` holds routing wishes, and is not passed on."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    model: Annotated[
        str,
        Field(min_length=1, max_length=128, description="A service id, `id@version`, an alias, `auto[:capability]`."),
    ]
    metadata: Object | None = None


class ChatBody(OpenAIBody):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Object], Field(min_length=1)]
    n: Annotated[int, Field(ge=1, le=MAX_ANSWERS)] | None = None
    stream: bool | None = None
    stream_options: Object | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    tools: list[Object] | None = None
    functions: list[Object] | None = None
    response_format: Object | None = None


class EmbeddingsBody(OpenAIBody):
    """``POST /v1/embeddings``."""

    input: Annotated[str, Field(min_length=1)] | Annotated[list[Any], Field(min_length=1)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None


class ResponsesBody(OpenAIBody):
    """``POST /v1/responses``: what is translated to chat. Other members of OpenAI's API are refused by name where they
    ask for what a chat cannot do (``previous_response_id``, ``store: true``, ``background``, built-in tools)."""

    input: Annotated[str, Field(min_length=1)] | Annotated[list[Object], Field(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Tokens | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Object | None = None
    store: bool | None = None
    stream: bool | None = None
    temperature: float | None = None
    text: Object | None = None
    tool_choice: str | Object | None = None
    tools: list[Object] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    top_p: float | None = None


def decoded(model: type[B], raw: bytes) -> Object:
    """The body as it was sent, once it is known to be a ``model``. Raises InvalidInput with every violation."""
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    if not isinstance(document, dict) or not _PLAIN[model](document):
        read(model, raw)
        if not isinstance(document, dict):  # what pydantic reads and msgspec does not
            raise InvalidInput("the request is not JSON", [Violation("", "must be JSON")], code="invalid_request")
    return document


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 10**9


def _is_list_of_objects(value: Any) -> bool:
    return type(value) is list and all(type(each) is dict for each in value)


#: Members that a model looks into, and what is plainly in order as one.
_CHECKS: dict[str, Callable[[Any], bool]] = {
    "metadata": lambda value: type(value) is dict,
    "stream": lambda value: type(value) is bool,
    "stream_options": lambda value: type(value) is dict,
    "response_format": lambda value: type(value) is dict,
    "n": lambda value: type(value) is int and 1 <= value <= MAX_ANSWERS,
    "max_tokens": _is_count,
    "max_completion_tokens": _is_count,
    "tools": _is_list_of_objects,
    "functions": _is_list_of_objects,
    "dimensions": _is_count,
    "encoding_format": ("float", "base64").__contains__,
}


def _is_plain(body: Object) -> bool:
    """Whether what all bodies share, and what is optional in them, is plainly in order."""
    model = body.get("model")
    if type(model) is not str or not 0 < len(model) <= 128:
        return False
    return all(body[name] is None or _CHECKS[name](body[name]) for name in _CHECKS.keys() & body.keys())


def _plain_chat(body: Object) -> bool:
    messages = body.get("messages")
    return bool(messages) and _is_list_of_objects(messages) and _is_plain(body)


def _plain_embeddings(body: Object) -> bool:
    text = body.get("input")
    return bool(text) and type(text) in (str, list) and _is_plain(body)


#: For each model whether a body need not be shown to it. Never true of one that it refuses.
_PLAIN: dict[type[OpenAIBody], Callable[[Object], bool]] = {
    ChatBody: _plain_chat,
    EmbeddingsBody: _plain_embeddings,
    ResponsesBody: lambda body: False,
}
