"""OpenAI's chat ⇄ Amazon Bedrock's Converse API, whole answers and streams.

Theory of operation
-------------------
``converse_request`` writes a chat body as a Converse request, whose model stands in the URL. Converse fetches no
pictures, so only data URLs are taken; it has no word for ``tool_choice: none`` (the tools are then left out) nor for
``parallel_tool_calls: false`` (refused), and wants the tools stated where the conversation has used any. Fields of
Converse's own that a body may hold are passed on as they are (PASSED_ON: guardrails among them); ``thinking`` and
``top_k``, which are the models' own, go where Converse puts such fields.

``completion`` and ``ConverseStream`` read what comes back. What a guardrail stopped is ``content_filter``; output
that the model malformed is Unreadable. Converse names neither answer nor model: the caller does.

Laws (each has a test of the same name)
---------------------------------------
- no_message_is_lost, every_call_has_its_result (``conversation``).
- requests_fit_the_documented_form: botocore's own description of the service.
- a_stream_says_what_the_answer_would (``chat_answer``).

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and …_ConverseStream.html.
Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from caio.gateway.ports import Chunk, ProviderAnswer
from caio.providers.translation.chat_answer import (
    ChatStream,
    Finish,
    Message,
    Tokens,
    Unreadable,
    hidden_thinking_block,
    thinking_block,
)
from caio.providers.translation.chat_request import ChatRequest, Choice, Tool, read_chat
from caio.providers.translation.conversation import Image, Part, Text, Thought, ToolResult, ToolUse, Untranslatable

#: Fields of a Converse request that a chat body may hold beside OpenAI's own.
PASSED_ON = ("additionalModelRequestFields", "guardrailConfig", "performanceConfig", "requestMetadata", "serviceTier")

#: Fields of models behind Converse.
_OF_MODELS = ("thinking", "top_k")

_CALL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")

_FINISH: Mapping[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


def converse_request(body: Any, *, max_tokens: int | None) -> tuple[dict[str, Any], bool]:
    """The request, and whether the answer is JSON by way of a tool (``chat_request``). ``max_tokens`` is the
    contract's limit. Raises Untranslatable."""
    chat = read_chat(body)
    inference = {
        "maxTokens": chat.max_tokens or max_tokens,
        "temperature": chat.temperature,
        "topP": chat.top_p,
        "stopSequences": list(chat.stop) or None,
    }
    request: dict[str, Any] = {
        "messages": [
            {"role": turn.speaker, "content": [_block(part) for part in turn.parts]} for turn in chat.conversation.turns
        ]
    }
    optional = {
        "system": [{"text": text} for text in chat.conversation.instructions],
        "inferenceConfig": {name: value for name, value in inference.items() if value is not None},
        "toolConfig": _tool_config(chat),
        **{name: chat.own.get(name) for name in PASSED_ON},
        "additionalModelRequestFields": _model_fields(chat),
    }
    request |= {name: value for name, value in optional.items() if value}
    return request, chat.json


def _model_fields(chat: ChatRequest) -> dict[str, Any]:
    own = {name: chat.own[name] for name in _OF_MODELS if chat.own.get(name) is not None}
    stated = chat.own.get("additionalModelRequestFields") or {}
    if not isinstance(stated, Mapping):
        raise Untranslatable("/additionalModelRequestFields", "must be an object")
    if chat.json and {**own, **stated}.get("thinking", {"type": "disabled"}) != {"type": "disabled"}:
        raise Untranslatable("/thinking", "cannot be had together with a response_format from this service")
    return {**own, **stated}


def _block(part: Part) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"text": text}
        case Image(media_type, data):
            if not data:
                raise Untranslatable(part.pointer, "must be a data URL: this service fetches no pictures")
            return {"image": {"format": media_type.partition("/")[2], "source": {"bytes": data}}}
        case Thought(text, signature, data):
            if data is not None:
                return {"reasoningContent": {"redactedContent": data}}
            return {"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}}
        case ToolUse(call_id, name, arguments):
            return {"toolUse": {"toolUseId": _id(call_id), "name": name, "input": arguments}}
        case ToolResult(call_id, parts):
            return {"toolResult": {"toolUseId": _id(call_id), "content": [_block(each) for each in parts]}}


def _id(call_id: str) -> str:
    """A call's id as Converse takes it: as it is, or a name made of it where another service was freer."""
    if _CALL_ID.fullmatch(call_id):
        return call_id
    return f"call_{hashlib.sha256(call_id.encode(errors='surrogatepass')).hexdigest()[:40]}"


def _tool_config(chat: ChatRequest) -> dict[str, Any] | None:
    if not chat.tools or chat.choice is Choice.NONE:
        if chat.conversation.uses_tools:
            why = "must state the tools that the conversation has used, and tool_choice may not be none"
            raise Untranslatable("/tools", why)
        return None
    if chat.own.get("parallel_tool_calls") is False and len(chat.tools) > chat.json:
        raise Untranslatable("/parallel_tool_calls", "cannot be false: this service has no word for it")
    choice: dict[str, Any] = {"any" if chat.choice is Choice.ANY else "auto": {}}
    if chat.choice is Choice.NAMED:
        choice = {"tool": {"name": chat.chosen}}
    return {"tools": [_tool(tool) for tool in chat.tools], "toolChoice": choice}


def _tool(tool: Tool) -> dict[str, Any]:
    described = {"description": tool.description} if tool.description else {}
    return {"toolSpec": {"name": tool.name, **described, "inputSchema": {"json": tool.schema}}}


def completion(document: Any, *, answer_id: str, model: str, created: int, json: bool) -> ProviderAnswer:
    """A Converse answer as a chat completion; raises Unreadable."""
    match document:
        case {"output": {"message": {"content": list(blocks)}}, "stopReason": str(reason), **rest}:
            message = Message(json)
            for block in blocks:
                _read(block, message)
        case _:
            raise Unreadable("answered something that is no message")
    return message.completion(answer_id, model, created, _finish(reason), _tokens(rest.get("usage")))


def _read(block: Any, message: Message) -> None:
    match block:
        case {"text": str(text)}:
            message.texts.append(text)
        case {"toolUse": {"toolUseId": call_id, "name": name, **rest}}:
            message.call(call_id, name, rest.get("input"))
        case {"reasoningContent": {"reasoningText": {"text": str(text), **rest}}}:
            signature = rest.get("signature")
            message.thoughts.append(thinking_block(text, signature if isinstance(signature, str) else None))
        case {"reasoningContent": {"redactedContent": str(data)}}:
            message.thoughts.append(hidden_thinking_block(data))
        case {"text": _} | {"toolUse": _} | {"reasoningContent": _}:
            raise Unreadable("answered a part that its protocol does not know")


def _tokens(usage: Any) -> Tokens | None:
    return Tokens.read(usage, "inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")


def _finish(reason: str) -> Finish:
    if reason.startswith("malformed_"):
        raise Unreadable("answered what its model had malformed")
    return _FINISH.get(reason, "stop")


class ConverseStream:
    """The chunks of a Converse stream. ``complete`` is true once its message has ended; ``counted`` once nothing
    more can follow."""

    def __init__(self, created: int, *, answer_id: str, model: str, json: bool) -> None:
        self._chat = ChatStream(created, json=json, answer_id=answer_id, model=model)
        self._begun = False
        self.counted = False

    @property
    def complete(self) -> bool:
        return self._chat.finished

    def read(self, kind: str, event: Any) -> Iterator[Chunk]:
        """The chunks of one event of this type; raises Unreadable."""
        if self._begun == (kind == "messageStart") and kind in _KNOWN:
            raise Unreadable("began its answer twice, or not at all")
        match kind, event:
            case "messageStart", {"role": "assistant"}:
                self._begun = True
                yield self._chat.begin()
            case "contentBlockStart", {"contentBlockIndex": int(index), "start": dict(start)}:
                yield from self._start(index, start)
            case "contentBlockDelta", {"contentBlockIndex": int(index), "delta": dict(delta)}:
                yield from self._delta(index, delta)
            case "contentBlockStop", {"contentBlockIndex": int(index)}:
                if self._chat.is_open(index):  # of a part without content nothing but its end is told
                    yield from self._chat.close(index)
            case "messageStop", {"stopReason": str(reason)}:
                yield from self._chat.finish(_finish(reason))
            case "metadata", dict() if self.complete:
                self.counted = True
                if (tokens := _tokens(event.get("usage"))) is not None:
                    yield self._chat.count(tokens)
            case _ if kind in _KNOWN:
                raise Unreadable("sent an event that its protocol does not know")

    def _start(self, index: int, start: Mapping[str, Any]) -> Iterator[Chunk]:
        match start:
            case {"toolUse": {"toolUseId": str(call_id), "name": str(name)}}:
                yield from self._chat.open(index, "tool", call_id, name)
            case {"toolUse": _}:
                raise Unreadable("began a part that its protocol does not know")
            case {}:
                return  # text and thoughts begin with their first delta

    def _delta(self, index: int, delta: Mapping[str, Any]) -> Iterator[Chunk]:
        match delta:
            case {"text": str(text)}:
                yield from self._more(index, "text", text)
            case {"toolUse": {"input": str(text)}}:
                yield from self._chat.more(index, "tool", text)
            case {"reasoningContent": {"text": str(text)}}:
                yield from self._more(index, "thought", text)
            case {"reasoningContent": {"signature": str(signature)}}:
                yield from self._more(index, "thought", "")
                self._chat.sign(index, signature)
            case {"reasoningContent": {"redactedContent": str(data)}}:
                yield from self._chat.hide(data)
            case {"text": _} | {"toolUse": _} | {"reasoningContent": _}:
                raise Unreadable("went on with a part in a way that its protocol does not know")

    def _more(self, index: int, kind: Any, piece: str) -> Iterator[Chunk]:
        if not self._chat.is_open(index):
            yield from self._chat.open(index, kind)
        yield from self._chat.more(index, kind, piece)


_KNOWN = frozenset(
    {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"}
)
