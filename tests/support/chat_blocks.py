"""What Anthropic and Bedrock answer, told once as blocks and written as either would, whole or in parts.

All of it was written for these tests after the providers' documentation; none was recorded.
"""

from __future__ import annotations

from typing import Any

from caio.providers.translation.chat_request import JSON_TOOL
from tests.support.chat_services import Anthropic, Bedrock, encoded
from tests.support.event_streams import event

TEXT, MORE = {"text": "It is "}, {"text": "raining."}
THOUGHT = {"thought": "Let me see.", "signature": "c2ln"}
SEALED = {"sealed": "c2VhbGVk"}
ASKED = {"tool": "weather", "id": "call_1", "input": {"a": 1}}
BARE = {"tool": "weather", "id": "call_2", "input": {}}
IN_JSON = {"tool": JSON_TOOL, "id": "call_3", "input": {"a": 2}}


def anthropic_block(block: dict[str, Any]) -> dict[str, Any]:
    match block:
        case {"text": text}:
            return {"type": "text", "text": text}
        case {"thought": text, "signature": signature}:
            return {"type": "thinking", "thinking": text, "signature": signature}
        case {"sealed": data}:
            return {"type": "redacted_thinking", "data": data}
        case _:
            return {"type": "tool_use", "id": block["id"], "name": block["tool"], "input": block["input"]}


def bedrock_block(block: dict[str, Any]) -> dict[str, Any]:
    match block:
        case {"text": text}:
            return {"text": text}
        case {"thought": text, "signature": signature}:
            return {"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}}
        case {"sealed": data}:
            return {"reasoningContent": {"redactedContent": data}}
        case _:
            return {"toolUse": {"toolUseId": block["id"], "name": block["tool"], "input": block["input"]}}


USAGE = {"input_tokens": 3, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 5, "output_tokens": 6}
AWS_USAGE = {
    "inputTokens": 3,
    "outputTokens": 6,
    "totalTokens": 18,
    "cacheReadInputTokens": 4,
    "cacheWriteInputTokens": 5,
}


def whole(protocol: str, blocks: list[dict[str, Any]], reason: str) -> bytes:
    if protocol == "bedrock":
        output = {"message": {"role": "assistant", "content": [bedrock_block(block) for block in blocks]}}
        return encoded({"output": output, "stopReason": reason, "usage": AWS_USAGE})
    content = [anthropic_block(block) for block in blocks]
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude"}
    return encoded({**head, "content": content, "stop_reason": reason, "usage": USAGE})


def in_parts(protocol: str, blocks: list[dict[str, Any]], reason: str) -> list[bytes]:
    """The same as a stream, each text and input in two pieces."""
    frames = [Bedrock().begin()] if protocol == "bedrock" else []
    said = Anthropic()
    if protocol == "anthropic":
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": []}
        frames.append(said._event("message_start", message={**head, "usage": {**USAGE, "output_tokens": 1}}))
    for index, block in enumerate(blocks):
        frames += (bedrock_parts if protocol == "bedrock" else anthropic_parts)(index, block)
    if protocol == "bedrock":
        return [*frames, event("messageStop", {"stopReason": reason}), event("metadata", {"usage": AWS_USAGE})]
    end = said._event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 6})
    return [*frames, end, said._event("message_stop")]


def halves(text: str) -> list[str]:
    return [text[: len(text) // 2], text[len(text) // 2 :]]


def anthropic_parts(index: int, block: dict[str, Any]) -> list[bytes]:
    said = Anthropic()
    empty = anthropic_block(block)
    kind, key, told = {
        "text": ("text_delta", "text", block.get("text", "")),
        "thinking": ("thinking_delta", "thinking", block.get("thought", "")),
        "redacted_thinking": ("", "", ""),
        "tool_use": ("input_json_delta", "partial_json", encoded(block.get("input")).decode()),
    }[empty["type"]]
    for name in ("text", "thinking", "signature"):
        if name in empty:
            empty[name] = ""
    if "input" in empty:
        empty["input"] = {}
    deltas: list[dict[str, Any]] = [{"type": kind, key: each} for each in halves(told)] if kind else []
    if block is BARE:
        deltas = [{"type": kind, key: ""}]
    if "signature" in block:
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    return [
        said._event("content_block_start", index=index, content_block=empty),
        *(said._event("content_block_delta", index=index, delta=delta) for delta in deltas),
        said._event("content_block_stop", index=index),
    ]


def bedrock_parts(index: int, block: dict[str, Any]) -> list[bytes]:
    frames = []
    deltas: list[dict[str, Any]]
    match block:
        case {"text": text}:
            deltas = [{"text": each} for each in halves(text)]
        case {"thought": text, "signature": signature}:
            deltas = [{"reasoningContent": {"text": each}} for each in halves(text)]
            deltas.append({"reasoningContent": {"signature": signature}})
        case {"sealed": data}:
            deltas = [{"reasoningContent": {"redactedContent": data}}]
        case _:
            start = {"toolUse": {"toolUseId": block["id"], "name": block["tool"]}}
            frames.append(event("contentBlockStart", {"contentBlockIndex": index, "start": start}))
            pieces = [] if block is BARE else halves(encoded(block["input"]).decode())
            deltas = [{"toolUse": {"input": each}} for each in pieces]
    frames += [event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta}) for delta in deltas]
    return [*frames, event("contentBlockStop", {"contentBlockIndex": index})]


def tool_call(block: dict[str, Any]) -> dict[str, Any]:
    arguments = encoded(block["input"]).decode()
    return {"id": block["id"], "type": "function", "function": {"name": block["tool"], "arguments": arguments}}
