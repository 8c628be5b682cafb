"""The laws of translated chats: what is sent fits the service's documented form and holds all that was said."""

import re
from functools import partial
from typing import Any

import botocore.session
import botocore.validate
import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caio.providers.translation.chat_request import JSON_TOOL
from caio.providers.translation.chat_to_anthropic import messages_request
from caio.providers.translation.chat_to_bedrock import converse_request
from caio.providers.translation.conversation import Untranslatable
from tests.support.chat_bodies import bodies, objects, said_by, scalars, words

# --- what the services' own descriptions say -------------------------------------------------------

BLOCK: dict[str, Any] = {
    "oneOf": [
        {"required": ["type", "text"], "properties": {"type": {"const": "text"}, "text": {"pattern": r"\S"}}},
        {
            "required": ["type", "source"],
            "properties": {
                "type": {"const": "image"},
                "source": {
                    "oneOf": [
                        {
                            "additionalProperties": False,
                            "required": ["type", "media_type", "data"],
                            "properties": {
                                "type": {"const": "base64"},
                                "media_type": {"enum": ["image/png", "image/jpeg", "image/gif", "image/webp"]},
                                "data": {"type": "string"},
                            },
                        },
                        {
                            "additionalProperties": False,
                            "required": ["type", "url"],
                            "properties": {"type": {"const": "url"}, "url": {"pattern": "^https://"}},
                        },
                    ]
                },
            },
        },
        {
            "required": ["type", "id", "name", "input"],
            "additionalProperties": False,
            "properties": {
                "type": {"const": "tool_use"},
                "id": {"pattern": "^[a-zA-Z0-9_-]+$"},
                "name": {"pattern": "^[a-zA-Z0-9_-]{1,128}$"},
                "input": {"type": "object"},
            },
        },
        {
            "required": ["type", "tool_use_id"],
            "additionalProperties": False,
            "properties": {
                "type": {"const": "tool_result"},
                "tool_use_id": {"pattern": "^[a-zA-Z0-9_-]+$"},
                "content": {"type": "array", "items": {"properties": {"type": {"enum": ["text", "image"]}}}},
            },
        },
    ]
}
#: Of https://docs.anthropic.com/en/api/messages (read for these tests): what a request may hold, and of what form.
MESSAGES = {
    "type": "object",
    "additionalProperties": False,
    "required": ["model", "max_tokens", "messages"],
    "properties": {
        "model": {"type": "string", "minLength": 1, "maxLength": 256},
        "max_tokens": {"type": "integer", "minimum": 1},
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "required": ["role", "content"],
                "additionalProperties": False,
                "properties": {
                    "role": {"enum": ["user", "assistant"]},
                    "content": {"type": "array", "minItems": 1, "items": BLOCK},
                },
            },
        },
        "metadata": {"properties": {"user_id": {"type": "string", "maxLength": 256}}, "additionalProperties": False},
        "stop_sequences": {"type": "array", "items": {"type": "string", "pattern": r"\S"}},
        "stream": {"const": True},
        "system": {"type": "array", "items": BLOCK},
        "temperature": {"type": "number", "minimum": 0, "maximum": 1},
        "top_p": {"type": "number", "minimum": 0, "maximum": 1},
        "top_k": {"type": "integer", "minimum": 0},
        "thinking": {"type": "object"},
        "tools": {
            "type": "array",
            "minItems": 1,
            "items": {
                "required": ["name", "input_schema"],
                "additionalProperties": False,
                "properties": {
                    "name": {"pattern": "^[a-zA-Z0-9_-]{1,128}$"},
                    "description": {"type": "string", "minLength": 1},
                    "input_schema": {
                        "type": "object",
                        "properties": {"type": {"const": "object"}},
                        "required": ["type"],
                    },
                },
            },
        },
        "tool_choice": {
            "oneOf": [
                {
                    "properties": {
                        "type": {"enum": ["auto", "any"]},
                        "disable_parallel_tool_use": {"type": "boolean"},
                    },
                    "required": ["type"],
                    "additionalProperties": False,
                },
                {"properties": {"type": {"const": "none"}}, "required": ["type"], "additionalProperties": False},
                {
                    "properties": {
                        "type": {"const": "tool"},
                        "name": {"type": "string"},
                        "disable_parallel_tool_use": {"type": "boolean"},
                    },
                    "required": ["type", "name"],
                    "additionalProperties": False,
                },
            ]
        },
    },
}
VALID_MESSAGES = jsonschema_rs.validator_for(MESSAGES)
CONVERSE = botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("Converse").input_shape


def messages(body: Any) -> dict[str, Any]:
    request, _ = messages_request(body, model="claude", max_tokens=None, stream=True)
    errors = [f"{error.instance_path} {error.message}" for error in VALID_MESSAGES.iter_errors(request)]
    assert not errors
    return request


def converse(body: Any) -> dict[str, Any]:
    request, _ = converse_request(body, max_tokens=None)
    report = botocore.validate.ParamValidator().validate({"modelId": "m", **request}, CONVERSE)
    assert not report.has_errors(), report.generate_report()
    for block in blocks(request):
        if "toolUse" in block or "toolResult" in block:
            (inner,) = block.values()
            assert re.fullmatch(r"[a-zA-Z0-9_.:-]{1,64}", inner["toolUseId"])
    return request


PAIRS = [messages, converse]


def blocks(request: dict[str, Any]) -> list[dict[str, Any]]:
    return [block for turn in request["messages"] for block in turn["content"]]


def found_in(request: dict[str, Any]) -> list[str]:
    """Everything that a request of either service says, in its order."""
    said: list[str] = [block["text"] for block in request.get("system", ())]
    for block in blocks(request):
        match block:
            case {"text": text}:
                said.append(text)
            case {"source": {"data": data}} | {"image": {"source": {"bytes": data}}}:
                said.append(data)
            case {"source": {"url": url}}:
                said.append(url)
            case {"name": name, "input": arguments} | {"toolUse": {"name": name, "input": arguments}}:
                said.append(name + msgspec.json.encode(arguments).decode())
            case {"tool_use_id": _, **rest}:
                said += [each["text"] for each in rest.get("content", ())]
            case {"toolResult": {"content": parts}}:
                said += [each["text"] for each in parts]
    return said


def tried(translate: Any, body: Any) -> tuple[Any, str]:
    """The request, or why there is none."""
    try:
        return translate(body), ""
    except Untranslatable as error:
        return None, str(error)


# --- the laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("translate", PAIRS)
@settings(max_examples=30)
@given(body=bodies())
def test_no_message_is_lost(translate: Any, body: dict[str, Any]) -> None:
    """And requests_fit_the_documented_form: both translators' results are validated on the way."""
    request, why = tried(translate, body)
    if request is None:
        assert why.startswith(("/n ", "/stop ", "/tools ", "/parallel_tool_calls ", "/messages/"))
        assert not why.startswith("/messages/") or "image_url" in why
        return
    assert found_in(request) == said_by(body)
    speakers = [turn["role"] for turn in request["messages"]]
    assert speakers == [("user", "assistant")[at % 2] for at in range(len(speakers))]


@pytest.mark.parametrize("translate", PAIRS)
@settings(max_examples=30)
@given(body=bodies())
def test_every_call_has_its_result(translate: Any, body: dict[str, Any]) -> None:
    request, _ = tried(translate, body)
    if request is None:
        return
    turns = request["messages"]
    for before, turn in zip(turns, [*turns[1:], {"content": []}], strict=True):
        calls = [block.get("id") or block["toolUse"]["toolUseId"] for block in before["content"] if is_call(block)]
        results = [result_of(block) for block in turn["content"] if result_of(block)]
        assert sorted(calls) == sorted(results)
        assert all(result_of(block) for block in turn["content"][: len(results)])


def is_call(block: dict[str, Any]) -> bool:
    return block.get("type") == "tool_use" or "toolUse" in block


def result_of(block: dict[str, Any]) -> Any:
    return block.get("tool_use_id") or block.get("toolResult", {}).get("toolUseId")


@pytest.mark.parametrize("translate", PAIRS)
@settings(max_examples=30)
@given(body=bodies(), data=st.data())
def test_a_conversation_with_a_hole_is_refused(translate: Any, body: dict[str, Any], data: st.DataObject) -> None:
    answers = [at for at, message in enumerate(body["messages"]) if message["role"] == "tool"]
    if not answers:
        return
    del body["messages"][data.draw(st.sampled_from(answers))]
    with pytest.raises(Untranslatable):
        translate(body)


junk = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3))
FIELDS = ["messages", "tools", "tool_choice", "response_format", "stop", "max_tokens", "temperature", "top_p", "n"]
FIELDS += ["modalities", "functions", "logit_bias", "thinking", "user", "top_k", "model"]


@pytest.mark.parametrize(
    "translate",
    [partial(messages_request, model=None, max_tokens=None, stream=False), partial(converse_request, max_tokens=None)],
)
@settings(max_examples=40)
@given(body=bodies(), field=st.sampled_from(FIELDS), value=junk, data=st.data())
def test_any_body_is_translated_or_refused(
    translate: Any, body: dict[str, Any], field: str, value: Any, data: st.DataObject
) -> None:
    """Never another error: with a field, or a part of a message, that is anything."""
    if data.draw(st.booleans()):
        body[field] = value
    else:
        message = data.draw(st.sampled_from(body["messages"]))
        name = data.draw(st.sampled_from(["role", "content", "tool_calls", "tool_call_id", "thinking_blocks"]))
        message[name] = value
    request, why = tried(translate, body)
    assert why[:1] in ("/", " ", "")
    msgspec.json.encode(request)


@given(objects)
def test_an_object_is_no_chat(value: dict[str, Any]) -> None:
    for translate in PAIRS:
        with pytest.raises(Untranslatable):
            translate(value)


def test_the_answering_tool_is_no_callers_tool() -> None:
    tool = {"type": "function", "function": {"name": JSON_TOOL}}
    body = {"messages": [{"role": "user", "content": "x"}], "tools": [tool]}
    for translate in PAIRS:
        translate(body)
        with pytest.raises(Untranslatable, match="/tools"):
            translate({**body, "response_format": {"type": "json_object"}})
