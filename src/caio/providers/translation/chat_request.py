"""What a chat asks for beside its conversation: tools, the form of the answer, bounds and sampling.

Theory of operation
-------------------
An answer in JSON (``response_format``) is had by a tool that the model is made to call and whose input is the answer:
every model that knows tools does that, where a provider's own structured output is for some of its models only. With
tools of the caller's beside it the model must call one of them or give the answer; where the caller demands a call,
the answer's form does not matter yet.

What would change the answer's meaning and cannot be had is refused: several choices (``n``), log probabilities,
audio, ``logit_bias``, the retired ``functions``. What only tends the answer is left out: ``seed``, penalties,
``prediction``, ``reasoning_effort``, ``user``, ``store``, ``metadata``, ``service_tier``, ``strict`` of a tool, and
fields that nobody knows. A temperature above 1, which OpenAI alone has, is 1.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from caio.providers.translation.conversation import Conversation, Untranslatable, read_conversation, tool_name

#: The tool whose input is the answer, where the answer must be JSON.
JSON_TOOL = "answer_in_json"

_ABSENT: tuple[Any, ...] = (None, False, (), [], {})


class Choice(StrEnum):
    """Whether tools may, must or must not be called."""

    AUTO = "auto"
    NONE = "none"
    ANY = "any"
    NAMED = "named"


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat body, read. ``chosen`` is the tool's name where the choice is NAMED; ``json`` says that JSON_TOOL is
    among the tools; ``own`` are the body's fields, for what a pair passes on deliberately."""

    conversation: Conversation
    tools: tuple[Tool, ...]
    choice: Choice
    chosen: str | None
    one_call: bool
    json: bool
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    stop: tuple[str, ...]
    own: Mapping[str, Any]


def read_chat(body: Any) -> ChatRequest:
    """Raises Untranslatable."""
    if not isinstance(body, Mapping):
        raise Untranslatable("", "must be an object: the body of an OpenAI chat request")
    _refuse_what_cannot_be_had(body)
    tools = _tools(body.get("tools"))
    choice, chosen = _choice(body.get("tool_choice"), {tool.name for tool in tools})
    answer = _answer_tool(body.get("response_format"))
    json = answer is not None and choice is not Choice.ANY and choice is not Choice.NAMED
    if answer is not None and json:
        if any(tool.name == JSON_TOOL for tool in tools):
            raise Untranslatable("/tools", f"may not hold {JSON_TOOL!r} beside a response_format")
        choice, chosen = (Choice.ANY, None) if tools and choice is Choice.AUTO else (Choice.NAMED, JSON_TOOL)
        tools = (*tools, answer)
    temperature = _number(body, "temperature", 2)
    return ChatRequest(
        conversation=read_conversation(body.get("messages")),
        tools=tools,
        choice=choice,
        chosen=chosen,
        one_call=json or body.get("parallel_tool_calls") is False,
        json=json,
        max_tokens=_max_tokens(body),
        temperature=None if temperature is None else min(temperature, 1),
        top_p=_number(body, "top_p", 1),
        stop=_stop(body.get("stop")),
        own=body,
    )


def _refuse_what_cannot_be_had(body: Mapping[str, Any]) -> None:
    if body.get("n") not in (None, 1):
        raise Untranslatable("/n", "must be 1: this service gives one answer")
    if body.get("modalities") not in (None, [], ["text"]):
        raise Untranslatable("/modalities", "must be text: this service answers nothing else")
    for name in ("logprobs", "logit_bias", "audio", "functions", "function_call", "web_search_options"):
        if body.get(name) not in _ABSENT:
            raise Untranslatable(f"/{name}", "is not known to this service's protocol")


def _tools(value: Any) -> tuple[Tool, ...]:
    tools: dict[str, Tool] = {}
    for index, item in enumerate(value if isinstance(value, list) else () if value is None else (value,)):
        pointer = f"/tools/{index}"
        match item:
            case {"type": "function", "function": {"name": name, **rest}}:
                named = tool_name(name, f"{pointer}/function/name")
                schema = _object_schema(rest.get("parameters"), f"{pointer}/function/parameters")
                description = rest.get("description")
            case _:
                raise Untranslatable(pointer, "must be a tool of type function")
        if named in tools:
            raise Untranslatable(f"{pointer}/function/name", "is another tool's name, too")
        tools[named] = Tool(named, description if isinstance(description, str) else "", schema)
    return tuple(tools.values())


def _object_schema(schema: Any, pointer: str) -> dict[str, Any]:
    """A JSON Schema of objects, which is all that a tool's input can be."""
    if schema is None:
        return {"type": "object", "properties": {}}
    if not isinstance(schema, Mapping) or schema.get("type", "object") != "object":
        raise Untranslatable(pointer, "must be a JSON Schema of type object")
    return {**schema, "type": "object"}


def _choice(value: Any, names: set[str]) -> tuple[Choice, str | None]:
    match value:
        case None | "auto":
            return Choice.AUTO, None
        case "none":
            return Choice.NONE, None
        case "required" if names:
            return Choice.ANY, None
        case {"type": "function", "function": {"name": str(name)}} if name in names:
            return Choice.NAMED, name
    raise Untranslatable("/tool_choice", "must be auto, none, required (with tools), or name one of the tools")


def _answer_tool(value: Any) -> Tool | None:
    match value:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return Tool(
                JSON_TOOL, "Give the whole answer, a JSON object, as the input of this tool.", {"type": "object"}
            )
        case {"type": "json_schema", "json_schema": {"schema": schema, **rest}}:
            described = rest.get("description")
            more = f" {described}" if isinstance(described, str) else ""
            pointer = "/response_format/json_schema/schema"
            what = f"Give the whole answer as the input of this tool.{more}"
            return Tool(JSON_TOOL, what, _object_schema(schema, pointer))
    raise Untranslatable("/response_format", "must be text, json_object, or json_schema with a schema")


def _max_tokens(body: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        if (value := body.get(name)) is not None:
            if type(value) is not int or value < 1:
                raise Untranslatable(f"/{name}", "must be a whole number above 0")
            return value
    return None


def _number(body: Mapping[str, Any], name: str, most: int) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise Untranslatable(f"/{name}", f"must be a number from 0 to {most}")
    return value


def _stop(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(stops, list) or not all(isinstance(each, str) and each for each in stops):
        raise Untranslatable("/stop", "must be text or a list of texts, none of them empty")
    return tuple(stops)
