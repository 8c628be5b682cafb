"""A response told as it comes: OpenAI's stream events, made of a chat's chunks.

Theory of operation
-------------------
The first chunk begins the response. Each thing that a delta begins (reasoning, the message, a function call) is an
output item, in the order in which they begin; each delta of it is one event. Items are closed, in order, and the
response is completed when the stream has ended well and its outcome is durable: nothing that was cut looks whole.

Laws (each has a test of the same name)
---------------------------------------
- streamed_is_the_same_as_whole: the completed response is what the whole answer would have been.
- events_are_numbered_from_zero_without_a_gap.
- a_broken_stream_never_completes: it ends with ``error``, in a shape that OpenAI's clients raise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import msgspec

from caio.api.openai.responses_to_chat import (
    Object,
    begun,
    call_item,
    ended,
    item_id,
    message_item,
    of_a_chat,
    reasoning_item,
    text_part,
)
from caio.foundation.errors import CaioError
from caio.gateway.frames import error_of
from caio.gateway.ports import Chunk


class ResponseFrames:
    """The ``Frames`` of one response to the request ``body``."""

    def __init__(self, response_id: str, body: Mapping[str, Any]) -> None:
        self._id = response_id
        self._body = body
        self._number = 0
        self._response: Object = {}
        self._items: list[_Item] = []
        self._calls: dict[int, _Call] = {}
        self._finish_reason: str | None = None
        self._usage: Any = None

    def chunk(self, chunk: Chunk) -> bytes:
        """Raises UpstreamFailed GARBAGE for a chunk that is no chat's: never when the stream is over, and its outcome
        written."""
        with of_a_chat():
            return b"".join(self._told(msgspec.json.decode(chunk.data)))

    def _told(self, told: Object) -> list[bytes]:
        events = []
        if not self._response:
            self._response = begun(self._id, self._body, told.get("model"), told.get("created"))
            events += [self._event(f"response.{name}", response=self._response) for name in ("created", "in_progress")]
        if told.get("usage"):
            self._usage = told["usage"]
        for choice in told.get("choices") or ():
            if choice.get("index", 0) == 0:
                self._finish_reason = choice.get("finish_reason") or self._finish_reason
                logprobs = (choice.get("logprobs") or {}).get("content")
                events += self._delta(choice.get("delta") or {}, logprobs)
        ended({}, [], self._finish_reason, self._usage)
        return events

    def end(self) -> bytes:
        events = [event for item in self._items for event in item.closed(self)]
        response = ended(self._response, [each.item for each in self._items], self._finish_reason, self._usage)
        events.append(self._event(f"response.{response['status']}", response=response))
        return b"".join(events)

    def broken(self, fault: CaioError, decision_id: str) -> bytes:
        error = error_of(fault, decision_id)
        return self._event("error", code=error["code"], message=fault.message, param=None, error=error)

    def _delta(self, delta: Mapping[str, Any], logprobs: Any) -> list[bytes]:
        events = []
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if thought and isinstance(thought, str):
            events += self._said(_Reasoning, "reasoning", thought, None)
        if isinstance(text := delta.get("content"), str) and text:
            events += self._said(_Message, "text", text, logprobs)
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            events += self._said(_Message, "refusal", refusal, None)
        for call in delta.get("tool_calls") or ():
            events += self._called(call)
        return events

    def _said(self, kind: type[_Item], part: str, text: str, logprobs: Any) -> list[bytes]:
        events: list[bytes] = []
        item = next((each for each in self._items if type(each) is kind), None)
        if item is None:
            item, events = self._begin(kind)
        return [*events, *item.add(self, part, text, logprobs)]

    def _called(self, call: Mapping[str, Any]) -> list[bytes]:
        events = []
        function, place = call.get("function") or {}, call.get("index", 0)
        item = self._calls.get(place)
        if item is None:
            item = self._calls[place] = _Call(self._id, len(self._items), call.get("id"), function.get("name"))
            self._items.append(item)
            events.append(self._added(item))
        return [*events, *item.add(self, "arguments", function.get("arguments") or "", None)]

    def _begin(self, kind: type[_Item]) -> tuple[_Item, list[bytes]]:
        item = kind(self._id, len(self._items))
        self._items.append(item)
        return item, [self._added(item)]

    def _added(self, item: _Item) -> bytes:
        return self._event("response.output_item.added", output_index=item.index, item=item.begun)

    def event_of(self, item: _Item, kind: str, /, **members: Any) -> bytes:
        """An event about a part of an item."""
        return self._event(f"response.{kind}", item_id=item.item["id"], output_index=item.index, **members)

    def closed(self, item: _Item) -> bytes:
        return self._event("response.output_item.done", output_index=item.index, item=item.item)

    def _event(self, kind: str, /, **members: Any) -> bytes:
        data = msgspec.json.encode({"type": kind, "sequence_number": self._number, **members})
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


class _Item(ABC):
    """An output item as it comes."""

    def __init__(self, response_id: str, index: int) -> None:
        self.response_id = response_id
        self.index = index

    @property
    @abstractmethod
    def begun(self) -> Object:
        """The item with nothing in it."""

    @property
    @abstractmethod
    def item(self) -> Object:
        """The item as far as it has come."""

    @abstractmethod
    def add(self, frames: ResponseFrames, part: str, text: str, logprobs: Any) -> list[bytes]:
        """Take more of a part; the events that tell it."""

    @abstractmethod
    def closed(self, frames: ResponseFrames) -> list[bytes]:
        """The events that tell that the item is whole."""


class _Message(_Item):
    """What is said, and what is refused: a part each."""

    def __init__(self, response_id: str, index: int) -> None:
        super().__init__(response_id, index)
        self._identity = item_id("msg", response_id, index)
        self._texts: dict[str, str] = {}
        self._logprobs: list[Any] = []

    @property
    def begun(self) -> Object:
        return message_item(self._identity, [], "in_progress")

    @property
    def item(self) -> Object:
        order = [part for part in ("text", "refusal") if part in self._texts]
        return message_item(self._identity, [self._part(part, self._texts[part]) for part in order])

    def _part(self, part: str, text: str) -> Object:
        return text_part(text, self._logprobs) if part == "text" else {"type": "refusal", "refusal": text}

    def add(self, frames: ResponseFrames, part: str, text: str, logprobs: Any) -> list[bytes]:
        events = []
        if part not in self._texts:
            empty = text_part("") if part == "text" else {"type": "refusal", "refusal": ""}
            place = len(self._texts)
            self._texts[part] = ""
            events.append(frames.event_of(self, "content_part.added", content_index=place, part=empty))
        self._texts[part] += text
        self._logprobs += logprobs or []
        place = [*self._texts].index(part)
        more: Object = {"logprobs": logprobs or []} if part == "text" else {}
        name = "output_text.delta" if part == "text" else "refusal.delta"
        return [*events, frames.event_of(self, name, content_index=place, delta=text, **more)]

    def closed(self, frames: ResponseFrames) -> list[bytes]:
        events = []
        for place, (part, text) in enumerate(self._texts.items()):
            name = "output_text.done" if part == "text" else "refusal.done"
            said = {"text": text, "logprobs": self._logprobs} if part == "text" else {"refusal": text}
            events.append(frames.event_of(self, name, content_index=place, **said))
            whole = self._part(part, text)
            events.append(frames.event_of(self, "content_part.done", content_index=place, part=whole))
        return [*events, frames.closed(self)]


class _Reasoning(_Item):
    """What a model thinks aloud, where its service tells it."""

    def __init__(self, response_id: str, index: int) -> None:
        super().__init__(response_id, index)
        self._identity = item_id("rs", response_id, index)
        self._text = ""

    @property
    def begun(self) -> Object:
        return reasoning_item(self._identity, "", "in_progress")

    @property
    def item(self) -> Object:
        return reasoning_item(self._identity, self._text)

    def add(self, frames: ResponseFrames, part: str, text: str, logprobs: Any) -> list[bytes]:
        events = []
        if not self._text:
            empty = {"type": "reasoning_text", "text": ""}
            events.append(frames.event_of(self, "content_part.added", content_index=0, part=empty))
        self._text += text
        return [*events, frames.event_of(self, "reasoning_text.delta", content_index=0, delta=text)]

    def closed(self, frames: ResponseFrames) -> list[bytes]:
        whole = {"type": "reasoning_text", "text": self._text}
        return [
            frames.event_of(self, "reasoning_text.done", content_index=0, text=self._text),
            frames.event_of(self, "content_part.done", content_index=0, part=whole),
            frames.closed(self),
        ]


class _Call(_Item):
    """A function that the model calls."""

    def __init__(self, response_id: str, index: int, call_id: Any, name: Any) -> None:
        super().__init__(response_id, index)
        self._identity = item_id("fc", response_id, index)
        self._call_id = call_id
        self._name = name
        self._arguments = ""

    @property
    def begun(self) -> Object:
        return call_item(self._identity, self._call_id, self._name, "", "in_progress")

    @property
    def item(self) -> Object:
        return call_item(self._identity, self._call_id, self._name, self._arguments)

    def add(self, frames: ResponseFrames, part: str, text: str, logprobs: Any) -> list[bytes]:
        self._arguments += text
        return [frames.event_of(self, "function_call_arguments.delta", delta=text)] if text else []

    def closed(self, frames: ResponseFrames) -> list[bytes]:
        done = {"name": self._name, "arguments": self._arguments}
        return [frames.event_of(self, "function_call_arguments.done", **done), frames.closed(self)]
