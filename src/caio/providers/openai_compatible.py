"""Services that speak OpenAI's HTTP protocol: OpenAI itself, vLLM, Ollama, llama.cpp, Groq, and others.

Theory of operation
-------------------
The client's body already has the protocol's shape: it passes through with CAIO's keys removed, the
contract's model set, and, for a stream, ``stream`` and ``stream_options.include_usage``. Answers are
checked for what the gateway relies on, no more, and given on unchanged.

Laws (each has a test of the same name)
---------------------------------------
- a_cut_stream_never_looks_complete: without ``data: [DONE]`` it ends in UpstreamFailed.
- every_chunk_is_json: a frame that is not, or not UTF-8, is GARBAGE, and nothing follows it.
- leaving_a_stream_cancels_the_call: the connection to the service is closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from caio.foundation.errors import UpstreamFailed, UpstreamFault
from caio.foundation.money import Usage
from caio.gateway.chats import produced
from caio.gateway.ports import Call, Chunk, Operation, ProviderAnswer, Target
from caio.providers.answers import Answer
from caio.providers.exchange import (
    expect_plain,
    expect_success,
    garbage,
    headers_of,
    json_bytes,
    outgoing,
    read_json,
    subject_of,
    url_of,
    usage_from,
)
from caio.providers.faults import failed_event
from caio.providers.outbound import OutboundClient
from caio.providers.sse import EventReader
from caio.providers.translated import event_data

DONE = b"[DONE]"

#: The member that an answer of each operation cannot lack.
_ESSENTIAL = {Operation.CHAT: "choices", Operation.EMBEDDINGS: "data"}


class _Delta(msgspec.Struct):
    """What in a delta a person would see or a program would act on, whatever its type. ``reasoning`` and
    ``reasoning_content`` are extensions of vLLM, DeepSeek and OpenRouter."""

    content: Any = None
    tool_calls: Any = None
    refusal: Any = None
    function_call: Any = None
    audio: Any = None
    reasoning_content: Any = None
    reasoning: Any = None

    @property
    def is_text(self) -> bool:
        """Whether it is the plain text that nearly every delta is."""
        others = self.tool_calls or self.refusal or self.function_call or self.audio
        return type(self.content) is str and not (others or self.reasoning_content or self.reasoning)


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Frame(msgspec.Struct):
    """What is read of a chunk; everything else in it is only checked to be JSON."""

    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_frames = msgspec.json.Decoder(_Frame)


class _Reading:
    """A stream as it is read: what the last piece of it brought that was not taken."""

    __slots__ = ("_call", "_reader", "_take", "_target", "chunks", "ended", "failure")

    def __init__(self, target: Target, call: Call) -> None:
        self._target = target
        self._call = call
        self._take = call.take
        self._reader = EventReader()
        self.chunks: Sequence[Chunk] = ()
        self.failure: UpstreamFailed | None = None
        self.ended = False

    def read(self, piece: bytes) -> bool:
        """Whether there is nothing left to do about it."""
        chunks: list[Chunk] = []
        try:
            for data in event_data(self._target, self._reader, piece):
                if data == DONE:
                    self.ended = True
                    break
                chunks.append(read_chunk(self._target, self._call, data))
        except UpstreamFailed as error:  # after those before it
            self.failure = error
        taken = not chunks or (self._take is not None and self._take(chunks))
        self.chunks = () if taken else chunks
        return taken and self.failure is None and not self.ended


class OpenAICompatible:
    """The ``openai`` protocol: chat and embeddings, and any other endpoint of its shape."""

    def __init__(self, outbound: OutboundClient) -> None:
        self._outbound = outbound

    async def call(self, target: Target, call: Call) -> ProviderAnswer:
        """One request, one answer; raises UpstreamFailed."""
        async with self._open(target, call, stream=False) as answer:
            await expect_success(target, call, answer)
            document = await read_json(target, answer)
        return read_answer(target, call, document)

    async def stream(self, target: Target, call: Call) -> AsyncIterator[Sequence[Chunk]]:
        """The chunks up to ``[DONE]``; raises UpstreamFailed, also when the stream ends before it.

        ``call.timeout`` bounds the whole stream, so that waiting for any chunk is bounded by what
        is left of it. The chunk that carries the usage is given on like any other.
        """
        if call.operation is Operation.EMBEDDINGS:
            raise UpstreamFailed(f"{subject_of(target)} does not stream embeddings", UpstreamFault.INVALID)
        async with self._open(target, call, stream=True) as answer:
            await expect_success(target, call, answer)
            expect_plain(target, answer)
            if answer.media_type != "text/event-stream":
                raise garbage(target, "answered another content type than an event stream")
            reading = _Reading(target, call)
            while await answer.give(reading.read):
                if reading.chunks:
                    yield reading.chunks
                if reading.failure is not None:
                    raise reading.failure
                if reading.ended:
                    await answer.finish()
                    return
        raise UpstreamFailed(f"{subject_of(target)} ended its stream before it was complete", UpstreamFault.UPSTREAM)

    def _open(self, target: Target, call: Call, *, stream: bool) -> AbstractAsyncContextManager[Answer]:
        accept = "text/event-stream" if stream else "application/json"
        return self._outbound.request(
            target.method.upper(),
            url_of(target),
            subject=subject_of(target),
            seconds=call.timeout,
            headers=headers_of(target, call, accept),
            body=json_bytes(target, _shaped(target, call.body, stream)),
            twice=call.operation is not Operation.JSON,
        )


def _shaped(target: Target, body: Any, stream: bool) -> dict[str, Any]:
    if not isinstance(body, Mapping):
        message = f"{subject_of(target)} was not called: its protocol wants an object as payload"
        raise UpstreamFailed(message, UpstreamFault.INVALID)
    sent: dict[str, Any] = outgoing(body)
    if target.model is not None:
        sent["model"] = target.model
    if stream:
        options = sent.get("stream_options")
        sent["stream"] = True
        sent["stream_options"] = {**(options if isinstance(options, Mapping) else {}), "include_usage": True}
    else:
        sent.pop("stream", None)
        sent.pop("stream_options", None)
    return sent


def read_answer(target: Target, call: Call, document: Any) -> ProviderAnswer:
    """An answer in OpenAI's shape; raises UpstreamFailed for an error in it, or another shape."""
    if not isinstance(document, dict):
        raise garbage(target, "answered JSON that is not an object")
    if document.get("error"):
        raise failed_event(subject_of(target), document, secret=call.secret)
    essential = _ESSENTIAL.get(call.operation)
    if essential is not None and not isinstance(document.get(essential), list):
        raise garbage(target, f"answered without the list {essential!r}")
    return ProviderAnswer(document, read_usage(document.get("usage")))


def read_chunk(target: Target, call: Call, data: bytes) -> Chunk:
    """A chunk in OpenAI's shape, on one line; raises UpstreamFailed for an error in it, or another shape."""
    if b"\n" in data or b"\r" in data:
        # Line ends are space between JSON's tokens; passed on, they would end the line of the event that tells it.
        data = data.replace(b"\n", b" ").replace(b"\r", b" ")
    try:
        data.decode()  # msgspec does not look into the strings that it skips
        frame = _frames.decode(data)
    except (ValueError, RecursionError):
        frame = None
    if frame is None:  # outside the handler, whose error may quote the frame
        raise garbage(target, "sent a frame that is not a chunk of a stream")
    if frame.error:
        raise failed_event(subject_of(target), {"error": frame.error}, secret=call.secret)
    has_content, text, reason = False, "", None
    for choice in frame.choices or ():
        reason = reason or choice.finish_reason
        if (delta := choice.delta) is None:
            continue
        if delta.is_text:
            has_content = has_content or bool(delta.content)
            text += delta.content
        else:
            said = msgspec.structs.asdict(delta)
            has_content = has_content or any(said.values())
            text += produced(said)
    return Chunk(data, has_content, text, read_usage(frame.usage) if frame.usage else None, reason)


def read_usage(document: Any) -> Usage | None:
    """The tokens of a ``usage`` object, by OpenAI's names or those that many others use."""
    return usage_from(document, "prompt_tokens", "completion_tokens") or usage_from(
        document, "input_tokens", "output_tokens"
    )
