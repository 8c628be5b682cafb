"""What every service that is no OpenAI is told of a chat: its conversation, in plain parts.

Theory of operation
-------------------
OpenAI's messages become *turns* of two speakers that alternate: neighbours of one speaker are one turn, and the
results of tools are parts of the user's turn that follows the calls. Instructions (system and developer messages,
wherever they stand) are apart. Blank text is nothing that services accept, and nothing that anybody said: it is left
out. Whatever has no place in turns is Untranslatable, with a JSON pointer; nothing is lost silently.

Laws (each has a test of the same name, over both pairs)
---------------------------------------
- no_message_is_lost: everything that was said is in the request, in its order.
- every_call_has_its_result: right after it, or the conversation is refused.

Pure. Not read: ``name`` of a message and ``detail`` of an image, which the other services have no word for.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

Speaker = Literal["user", "assistant"]

_DATA_URL = re.compile(r"data:(image/(?:png|jpeg|gif|webp));base64,", re.IGNORECASE)
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Untranslatable(ValueError):
    """The request cannot be said in the service's protocol; the message begins with a JSON pointer."""

    def __init__(self, pointer: str, why: str) -> None:
        super().__init__(f"{pointer} {why}")
        self.pointer = pointer
        self.why = why


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: ``data`` in base64 with its media type, or the ``url`` where it is. ``pointer`` is where it stood."""

    media_type: str
    data: str
    url: str
    pointer: str


@dataclass(frozen=True, slots=True)
class Thought:
    """What the model thought, as it was answered in ``thinking_blocks``: with its signature, or sealed as ``data``."""

    text: str = ""
    signature: str | None = None
    data: str | None = None


@dataclass(frozen=True, slots=True)
class ToolUse:
    call_id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    call_id: str
    parts: tuple[Text | Image, ...]


Part = Text | Image | Thought | ToolUse | ToolResult


@dataclass(slots=True)
class Turn:
    speaker: Speaker
    parts: list[Part]


@dataclass(slots=True)
class Conversation:
    """``instructions`` in their order, and turns that alternate, the user's first."""

    instructions: list[str] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    @property
    def uses_tools(self) -> bool:
        return any(isinstance(part, ToolUse) for turn in self.turns for part in turn.parts)


def read_conversation(messages: Any) -> Conversation:
    """The conversation of a chat body's ``messages``; raises Untranslatable."""
    conversation, waiting = Conversation(), set[str]()
    for index, message in enumerate(_items(messages, "/messages")):
        pointer = f"/messages/{index}"
        role = _mapping(message, pointer).get("role")
        match role:
            case "system" | "developer":
                texts = [part.text for part in _content(message.get("content"), f"{pointer}/content", images=False)]
                conversation.instructions += texts
            case "user":
                parts = list(_content(message.get("content"), f"{pointer}/content", images=True))
                if parts and waiting:
                    raise Untranslatable(pointer, _unanswered(waiting))
                _say(conversation, "user", parts)
            case "assistant":
                said = list(_assistant(message, pointer))
                for call_id in (part.call_id for part in said if isinstance(part, ToolUse)):
                    if call_id in waiting:
                        raise Untranslatable(f"{pointer}/tool_calls", "has two calls of one id")
                    waiting.add(call_id)
                _say(conversation, "assistant", said)
            case "tool":
                result = _tool_result(message, pointer)
                if result.call_id not in waiting:
                    why = "answers no call of the assistant's turn right before it"
                    raise Untranslatable(f"{pointer}/tool_call_id", why)
                waiting.discard(result.call_id)
                _say(conversation, "user", [result])
            case _:
                raise Untranslatable(f"{pointer}/role", "must be system, developer, user, assistant or tool")
    if waiting:
        raise Untranslatable("/messages", _unanswered(waiting))
    if not conversation.turns or conversation.turns[0].speaker != "user":
        raise Untranslatable("/messages", "must begin with something the user says, beside instructions")
    return conversation


def tool_name(value: Any, pointer: str) -> str:
    """A tool's name; raises Untranslatable for one that the services do not take."""
    if not isinstance(value, str) or not _TOOL_NAME.fullmatch(value):
        raise Untranslatable(pointer, "must be 1 to 64 of a-z, A-Z, 0-9, _ and -")
    return value


def _say(conversation: Conversation, speaker: Speaker, parts: Sequence[Part]) -> None:
    if not parts:
        return
    if conversation.turns and conversation.turns[-1].speaker == speaker:
        conversation.turns[-1].parts += parts
    else:
        conversation.turns.append(Turn(speaker, list(parts)))


def _unanswered(waiting: set[str]) -> str:
    return f"lacks the tool messages that answer {len(waiting)} of the assistant's calls"


def _assistant(message: Mapping[str, Any], pointer: str) -> Iterator[Part]:
    for name in ("audio", "function_call"):
        if message.get(name) is not None:
            raise Untranslatable(f"{pointer}/{name}", "is not taken by this service's protocol")
    for index, block in enumerate(_items(message.get("thinking_blocks") or (), f"{pointer}/thinking_blocks")):
        yield _thought(block, f"{pointer}/thinking_blocks/{index}")
    yield from _content(message.get("content"), f"{pointer}/content", images=False)
    yield from _content(message.get("refusal"), f"{pointer}/refusal", images=False)
    for index, call in enumerate(_items(message.get("tool_calls") or (), f"{pointer}/tool_calls")):
        yield _tool_use(call, f"{pointer}/tool_calls/{index}")


def _thought(block: Any, pointer: str) -> Thought:
    match block:
        case {"type": "thinking", "thinking": str(text), "signature": str(signature)}:
            return Thought(text, signature)
        case {"type": "redacted_thinking", "data": str(data)}:
            return Thought(data=data)
    raise Untranslatable(pointer, "must be a thinking block as it was answered")


def _tool_use(call: Any, pointer: str) -> ToolUse:
    match call:
        case {"id": str(call_id), "function": {"name": name, "arguments": str(text)}} if call_id:
            return ToolUse(call_id, tool_name(name, f"{pointer}/function/name"), _arguments(text, pointer))
    raise Untranslatable(pointer, "must be a call of a function, with id, name and arguments")


def _arguments(text: str, pointer: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text) if text.strip() else {}
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Untranslatable(f"{pointer}/function/arguments", "must be the JSON text of an object")
    return value


def _tool_result(message: Mapping[str, Any], pointer: str) -> ToolResult:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str) or not call_id:
        raise Untranslatable(f"{pointer}/tool_call_id", "must be the id of the call that is answered")
    return ToolResult(call_id, tuple(_content(message.get("content"), f"{pointer}/content", images=True)))


def _content(content: Any, pointer: str, *, images: bool) -> Iterator[Any]:
    """Text and images of a message's content, which is text, a list of parts, or absent."""
    if content is None:
        return
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else _items(content, pointer)
    for index, part in enumerate(parts):
        match part:
            case {"type": "text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
                if text.strip():
                    yield Text(text)
            case {"type": "image_url", "image_url": {"url": str(url)}} if images:
                yield _image(url, f"{pointer}/{index}/image_url/url")
            case {"type": str(kind)}:
                raise Untranslatable(f"{pointer}/{index}", f"of type {kind[:40]!r} is not taken here by this service")
            case _:
                raise Untranslatable(f"{pointer}/{index}", "must be a part of a message")


def _image(url: str, pointer: str) -> Image:
    if url.lower().startswith("https://"):
        return Image("", "", url, pointer)
    begin = _DATA_URL.match(url)
    if begin is None:
        raise Untranslatable(pointer, "must be an https URL, or a data URL of a png, jpeg, gif or webp in base64")
    data = url[begin.end() :]
    try:
        whole = bool(b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        whole = False
    if not whole:
        raise Untranslatable(pointer, "holds no image in base64")
    return Image(begin[1].lower(), data, "", pointer)


def _items(value: Any, pointer: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise Untranslatable(pointer, "must be a list")
    return value


def _mapping(value: Any, pointer: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Untranslatable(pointer, "must be an object")
    return value
