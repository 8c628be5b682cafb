"""OpenAI's chat ⇄ Anthropic's Messages API, whole answers and streams.

Theory of operation
-------------------
``messages_request`` writes a chat body as a Messages request. Messages demands ``max_tokens``: the caller's, else the
contract's limit, else DEFAULT_MAX_TOKENS. ``thinking`` and ``top_k`` of Anthropic's own are passed on as they are;
``user`` becomes ``metadata.user_id``. A picture may be a data URL or an https URL, which Anthropic fetches itself.

``completion`` and ``MessagesStream`` read what comes back. Events that this file does not know are passed over, as
Anthropic asks for; a block or a delta of an unknown kind is, too. A reason for stopping that it does not know is
``stop``. Citations and the input of Anthropic's own server tools have no place in a chat and are left out.

Laws (each has a test of the same name)
---------------------------------------
- no_message_is_lost, every_call_has_its_result (``conversation``).
- requests_fit_the_documented_form.
- a_stream_says_what_the_answer_would (``chat_answer``).

Sources: https://docs.anthropic.com/en/api/messages, …/messages-streaming, …/openai-sdk. Pure.
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
from caio.providers.translation.chat_request import ChatRequest, Choice, read_chat
from caio.providers.translation.conversation import Image, Part, Text, Thought, ToolResult, ToolUse, Untranslatable

#: What an answer may hold where neither the caller nor the contract says.
DEFAULT_MAX_TOKENS = 4096

_CALL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MAX_USER = 256

_FINISH: Mapping[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def messages_request(
    body: Any, *, model: str | None, max_tokens: int | None, stream: bool
) -> tuple[dict[str, Any], bool]:
    """The request, and whether the answer is JSON by way of a tool (``chat_request``). ``model`` replaces the body's,
    and ``max_tokens`` is the contract's limit. Raises Untranslatable."""
    chat = read_chat(body)
    if any(not each.strip() for each in chat.stop):
        raise Untranslatable("/stop", "must hold more than white space for this service")
    request: dict[str, Any] = {
        "model": _model(model, chat),
        "max_tokens": chat.max_tokens or max_tokens or DEFAULT_MAX_TOKENS,
        "messages": [
            {"role": turn.speaker, "content": [_block(part) for part in turn.parts]} for turn in chat.conversation.turns
        ],
    }
    optional = {
        "system": [{"type": "text", "text": text} for text in chat.conversation.instructions],
        "stop_sequences": list(chat.stop),
        "temperature": chat.temperature,
        "top_p": chat.top_p,
        "top_k": chat.own.get("top_k"),
        "tools": [_tool(tool.name, tool.description, tool.schema) for tool in chat.tools],
        "tool_choice": _tool_choice(chat),
        "metadata": _metadata(chat),
        "thinking": _thinking(chat),
        "stream": stream or None,
    }
    request |= {name: value for name, value in optional.items() if value is not None and value != []}
    return request, chat.json


def _model(model: str | None, chat: ChatRequest) -> str:
    name = model if model is not None else chat.own.get("model")
    if not isinstance(name, str) or not name:
        raise Untranslatable("/model", "must name a model, since the contract names none")
    return name


def _block(part: Part) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image(media_type, data, url):
            source = {"type": "base64", "media_type": media_type, "data": data} if data else {"type": "url", "url": url}
            return {"type": "image", "source": source}
        case Thought(text, signature, data):
            return thinking_block(text, signature) if data is None else hidden_thinking_block(data)
        case ToolUse(call_id, name, arguments):
            return {"type": "tool_use", "id": _id(call_id), "name": name, "input": arguments}
        case ToolResult(call_id, parts):
            content = {"content": [_block(each) for each in parts]} if parts else {}
            return {"type": "tool_result", "tool_use_id": _id(call_id), **content}


def _id(call_id: str) -> str:
    """A call's id as Anthropic takes it: as it is, or a name made of it where another service was freer."""
    if _CALL_ID.fullmatch(call_id):
        return call_id
    return f"call_{hashlib.sha256(call_id.encode(errors='surrogatepass')).hexdigest()[:40]}"


def _tool(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, **({"description": description} if description else {}), "input_schema": schema}


def _tool_choice(chat: ChatRequest) -> dict[str, Any] | None:
    if not chat.tools:
        return None
    match chat.choice:
        case Choice.NONE:
            return {"type": "none"}
        case Choice.NAMED:
            choice: dict[str, Any] = {"type": "tool", "name": chat.chosen}
        case Choice.ANY:
            choice = {"type": "any"}
        case Choice.AUTO:
            choice = {"type": "auto"}
    if chat.one_call:
        choice["disable_parallel_tool_use"] = True
    return choice if chat.one_call or chat.choice is not Choice.AUTO else None


def _metadata(chat: ChatRequest) -> dict[str, str] | None:
    user = chat.own.get("user")
    return {"user_id": user} if isinstance(user, str) and 0 < len(user) <= _MAX_USER else None


def _thinking(chat: ChatRequest) -> Any:
    thinking = chat.own.get("thinking")
    if thinking is not None and chat.json and thinking != {"type": "disabled"}:
        raise Untranslatable("/thinking", "cannot be had together with a response_format from this service")
    return thinking


def completion(document: Any, created: int, *, json: bool) -> ProviderAnswer:
    """A Messages answer as a chat completion; raises Unreadable."""
    match document:
        case {"type": "message", "id": str(answer_id), "model": str(model), "content": list(blocks), **rest}:
            message = Message(json)
            for block in blocks:
                _read(block, message)
        case _:
            raise Unreadable("answered something that is no message")
    return message.completion(answer_id, model, created, _finish(rest.get("stop_reason")), _tokens(rest.get("usage")))


def _finish(reason: Any) -> Finish:
    return _FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"


def _read(block: Any, message: Message) -> None:
    match block:
        case {"type": "text", "text": str(text)}:
            message.texts.append(text)
        case {"type": "tool_use", **rest}:
            message.call(rest.get("id"), rest.get("name"), rest.get("input"))
        case {"type": "thinking", "thinking": str(text), **rest}:
            signature = rest.get("signature")
            message.thoughts.append(thinking_block(text, signature if isinstance(signature, str) else None))
        case {"type": "redacted_thinking", "data": str(data)}:
            message.thoughts.append(hidden_thinking_block(data))
        case {"type": "text" | "thinking" | "redacted_thinking"}:
            raise Unreadable("answered a part that its protocol does not know")


def _tokens(usage: Any) -> Tokens | None:
    return Tokens.read(usage, "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class MessagesStream:
    """The chunks of a Messages stream. ``complete`` is true once its own end mark has come."""

    def __init__(self, created: int, *, json: bool) -> None:
        self._chat = ChatStream(created, json=json)
        self._usage: dict[str, Any] = {}
        self._begun = False
        self.complete = False

    def read(self, event: Mapping[str, Any]) -> Iterator[Chunk]:
        """The chunks of one event's document; raises Unreadable. ``error`` events are the caller's to read."""
        kind = event.get("type")
        if not self._begun and kind not in ("message_start", "ping"):
            raise Unreadable("sent parts of an answer before its beginning")
        match event:
            case {"type": "message_start", "message": {"id": str(answer_id), "model": str(model), **rest}}:
                if self._begun:
                    raise Unreadable("began its answer twice")
                self._begun = True
                self._note(rest.get("usage"))
                yield self._chat.begin(answer_id, model)
            case {"type": "content_block_start", "index": int(index), "content_block": {"type": str(kind), **block}}:
                yield from self._start(index, kind, block)
            case {"type": "content_block_delta", "index": int(index), "delta": {"type": str(kind), **delta}}:
                yield from self._delta(index, kind, delta)
            case {"type": "content_block_stop", "index": int(index)}:
                yield from self._chat.close(index)
            case {"type": "message_delta", "delta": {"stop_reason": reason}, **rest}:
                self._note(rest.get("usage"))
                if reason is not None:
                    yield from self._chat.finish(_finish(reason))
            case {"type": "message_stop"} if self._chat.finished:
                self.complete = True
                if (tokens := _tokens(self._usage)) is not None:
                    yield self._chat.count(tokens)
            case {"type": str(kind)} if kind not in _KNOWN:
                return  # ping, and what later versions add
            case _:
                raise Unreadable("sent an event that its protocol does not know")

    def _note(self, usage: Any) -> None:
        """Counts are cumulative: a later one replaces an earlier one."""
        if isinstance(usage, dict):
            self._usage |= {name: count for name, count in usage.items() if count is not None}

    def _start(self, index: int, kind: str, block: Mapping[Any, Any]) -> Iterator[Chunk]:
        match kind, block:
            case "text", {"text": str(text)}:
                yield from self._chat.open(index, "text")
                yield from self._chat.more(index, "text", text)
            case "thinking", {"thinking": str(text)}:
                yield from self._chat.open(index, "thought")
                yield from self._chat.more(index, "thought", text)
            case "redacted_thinking", {"data": str(data)}:
                yield from self._chat.open(index, "other")
                yield from self._chat.hide(data)
            case "tool_use", {"id": str(call_id), "name": str(name)}:
                yield from self._chat.open(index, "tool", call_id, name)
            case (("text" | "thinking" | "redacted_thinking" | "tool_use"), _):
                raise Unreadable("began a part that its protocol does not know")
            case _:
                yield from self._chat.open(index, "other")

    def _delta(self, index: int, kind: str, delta: Mapping[Any, Any]) -> Iterator[Chunk]:
        match kind, delta:
            case "text_delta", {"text": str(text)}:
                yield from self._chat.more(index, "text", text)
            case "thinking_delta", {"thinking": str(text)}:
                yield from self._chat.more(index, "thought", text)
            case "signature_delta", {"signature": str(signature)}:
                self._chat.sign(index, signature)
            case "input_json_delta", {"partial_json": str(text)}:
                yield from self._chat.more(index, "tool", text)
            case (("text_delta" | "thinking_delta" | "signature_delta" | "input_json_delta"), _):
                raise Unreadable("went on with a part in a way that its protocol does not know")


_KNOWN = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    }
)
