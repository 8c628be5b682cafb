"""A service's answer as OpenAI's chat completion, and its stream as chunks of one.

Theory of operation
-------------------
Anthropic and Bedrock stream alike: blocks with an index, each of text, of thought or of a tool's input, and then the
reason for stopping. A ``ChatStream`` is told of these and gives the chunks. Where the answer must be JSON, the input
of ``JSON_TOOL`` is the answer's content; text beside it is a preamble that would break the JSON and is left out, but
is the answer where the model did not use that tool (it refused, or ran out of tokens).

Thoughts are ``reasoning_content``; their signatures, without which a service does not take them back, come with
them in ``thinking_blocks``, which an assistant's message may hold again.

Laws (each has a test of the same name)
---------------------------------------
- a_stream_says_what_the_answer_would: put together, its chunks are the completion.
- usage_counts_all_input: what was read from or written to a cache too.

Pure: the time, in seconds since the epoch, is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from caio.foundation.money import Usage
from caio.gateway.chats import produced
from caio.gateway.ports import Chunk, ProviderAnswer
from caio.providers.translation.chat_request import JSON_TOOL

MAX_COUNT = 2**53 - 1

Finish = Literal["stop", "length", "tool_calls", "content_filter"]
Kind = Literal["text", "thought", "tool", "json", "other"]


class Unreadable(ValueError):
    """The service's answer is not what its protocol says; the message quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a service counted. ``fresh`` is the input that no cache held."""

    fresh: int
    output: int
    cached: int = 0
    written: int = 0

    @classmethod
    def read(cls, document: Any, fresh: str, output: str, cached: str, written: str) -> Tokens | None:
        """The counts of a usage object under these names, or None unless it counts input and output."""
        if not isinstance(document, dict):
            return None
        counts: list[Any] = [document.get(fresh), document.get(output)]
        counts += [document.get(cached) or 0, document.get(written) or 0]
        if not all(type(count) is int and 0 <= count <= MAX_COUNT for count in counts):
            return None
        return cls(*counts)

    @property
    def usage(self) -> Usage:
        return Usage(self.fresh + self.cached + self.written, self.output)

    @property
    def document(self) -> dict[str, Any]:
        whole = self.usage
        return {
            "prompt_tokens": whole.input_tokens,
            "completion_tokens": whole.output_tokens,
            "total_tokens": whole.input_tokens + whole.output_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached, "cache_write_tokens": self.written},
        }


def thinking_block(text: str, signature: str | None) -> dict[str, str]:
    return {"type": "thinking", "thinking": text, **({} if signature is None else {"signature": signature})}


def hidden_thinking_block(data: str) -> dict[str, str]:
    return {"type": "redacted_thinking", "data": data}


@dataclass(slots=True)
class Message:
    """An answer's message, as its blocks are read."""

    json: bool
    texts: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    thoughts: list[dict[str, str]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)

    def call(self, call_id: Any, name: Any, arguments: Any) -> None:
        """A tool's call; raises Unreadable."""
        if not isinstance(call_id, str) or not isinstance(name, str) or not isinstance(arguments, dict):
            raise Unreadable("called a tool in a way that its protocol does not know")
        text = msgspec.json.encode(arguments).decode()
        if self.json and name == JSON_TOOL:
            self.answers.append(text)
        else:
            self.calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": text}})

    def completion(
        self, answer_id: str, model: str, created: int, reason: Finish, tokens: Tokens | None
    ) -> ProviderAnswer:
        """The answer in OpenAI's shape, with the tokens it took."""
        content = "".join(self.answers[:1] or self.texts)
        message: dict[str, Any] = {"role": "assistant", "content": content or (None if self.calls else "")}
        if reasoning := "".join(block.get("thinking", "") for block in self.thoughts):
            message["reasoning_content"] = reasoning
        if self.thoughts:
            message["thinking_blocks"] = self.thoughts
        if self.calls:
            message["tool_calls"] = self.calls
        choice = {"index": 0, "message": message, "finish_reason": finished(reason, calls=bool(self.calls))}
        body = {"id": answer_id, "object": "chat.completion", "created": created, "model": model, "choices": [choice]}
        if tokens is None:
            return ProviderAnswer(body, None)
        return ProviderAnswer({**body, "usage": tokens.document}, tokens.usage)


def finished(reason: Finish, *, calls: bool) -> Finish:
    """The finish reason, where the call of JSON_TOOL alone is no call."""
    return "stop" if reason == "tool_calls" and not calls else reason


@dataclass(slots=True)
class _Block:
    kind: Kind
    call: int = 0
    told: bool = False
    text: list[str] = field(default_factory=list)
    signature: str | None = None


class ChatStream:
    """A stream's chunks, made as its blocks are told. ``json`` says that the answer is JSON_TOOL's input."""

    def __init__(self, created: int, *, json: bool, answer_id: str = "", model: str = "") -> None:
        self._head = {"id": answer_id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._json = json
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._preamble: list[str] = []
        self._answered = False
        self.finished = False

    def begin(self, answer_id: str | None = None, model: str | None = None) -> Chunk:
        if answer_id is not None:
            self._head["id"] = answer_id
        if model is not None:
            self._head["model"] = model
        return self._chunk({"role": "assistant", "content": ""})

    def open(self, index: int, kind: Kind, call_id: str = "", name: str = "") -> list[Chunk]:
        """A block begins. One that is open already is Unreadable."""
        if index in self._blocks:
            raise Unreadable("began a part of its answer twice")
        if kind != "tool":
            self._blocks[index] = _Block(kind)
            return []
        if self._json and name == JSON_TOOL:
            self._blocks[index] = _Block("other" if self._answered else "json")
            self._answered = True
            return []
        self._blocks[index] = _Block("tool", self._calls)
        self._calls += 1
        function = {"name": name, "arguments": ""}
        call = {"index": self._calls - 1, "id": call_id, "type": "function", "function": function}
        return [self._chunk({"tool_calls": [call]})]

    def is_open(self, index: int) -> bool:
        return index in self._blocks

    def more(self, index: int, kind: Kind, piece: str) -> list[Chunk]:
        """More of a block's text, thought or input. A block of another kind, or none, is Unreadable."""
        block = self._blocks.get(index)
        if block is None or (block.kind not in (kind, "other") and (kind, block.kind) != ("tool", "json")):
            raise Unreadable("went on with a part of its answer that it had not begun")
        if not piece:
            return []
        block.told = True
        match block.kind:
            case "text" if self._json:
                self._preamble.append(piece)
                return []
            case "text" | "json":
                return [self._chunk({"content": piece})]
            case "thought":
                block.text.append(piece)
                return [self._chunk({"reasoning_content": piece})]
            case "tool":
                return [self._chunk({"tool_calls": [{"index": block.call, "function": {"arguments": piece}}]})]
            case _:
                return []

    def sign(self, index: int, signature: str) -> None:
        """The signature of a thought, or a part of it."""
        if (block := self._blocks.get(index)) is None or block.kind != "thought":
            raise Unreadable("signed a thought that it had not begun")
        block.signature = (block.signature or "") + signature

    def hide(self, data: str) -> list[Chunk]:
        """A thought that the service does not show."""
        return [self._chunk({"thinking_blocks": [hidden_thinking_block(data)]})]

    def close(self, index: int) -> list[Chunk]:
        """A block is complete. An input that never came is an empty object."""
        block = self._blocks.pop(index, None)
        if block is None:
            raise Unreadable("ended a part of its answer that it had not begun")
        if block.kind == "thought" and block.signature is not None:
            return [self._chunk({"thinking_blocks": [thinking_block("".join(block.text), block.signature)]})]
        if block.told or block.kind not in ("tool", "json"):
            return []
        if block.kind == "json":
            return [self._chunk({"content": "{}"})]
        return [self._chunk({"tool_calls": [{"index": block.call, "function": {"arguments": "{}"}}]})]

    def finish(self, reason: Finish) -> list[Chunk]:
        """Why the answer ends. Once; more than that, or open blocks, are Unreadable."""
        if self.finished or self._blocks:
            raise Unreadable("ended its answer twice, or in the middle of a part")
        self.finished = True
        held = [] if self._answered or not self._preamble else [self._chunk({"content": "".join(self._preamble)})]
        return [*held, self._chunk({}, finished(reason, calls=self._calls > 0))]

    def count(self, tokens: Tokens) -> Chunk:
        """The last chunk: what it took."""
        return Chunk(
            msgspec.json.encode({**self._head, "choices": [], "usage": tokens.document}), False, usage=tokens.usage
        )

    def _chunk(self, delta: dict[str, Any], reason: Finish | None = None) -> Chunk:
        data = msgspec.json.encode({**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
        text = produced(delta)
        return Chunk(data, bool(text) or "tool_calls" in delta, text, None, reason)
