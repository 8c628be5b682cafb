"""Services that speak Anthropic's Messages API.

Theory of operation
-------------------
A chat in OpenAI's shape is translated (``translation.chat_to_anthropic``), sent with the version of the API that the
translation is written for, and what comes back is translated again. The credential goes where the contract's scheme
says: ``header:x-api-key``, or ``bearer``.

Laws (each has a test of the same name)
---------------------------------------
- a_cut_stream_never_looks_complete: without ``message_stop`` it ends in UpstreamFailed.
- leaving_a_stream_cancels_the_call.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from caio.foundation.errors import Violation
from caio.gateway.ports import Call, Chunk, Operation, ProviderAnswer, Target
from caio.providers.answers import Answer
from caio.providers.exchange import (
    expect_plain,
    expect_success,
    garbage,
    headers_of,
    json_bytes,
    read_json,
    subject_of,
    url_of,
)
from caio.providers.faults import failed_event
from caio.providers.outbound import OutboundClient
from caio.providers.sse import EventReader
from caio.providers.translated import cut, event_data, json_object, told, told_chunks, unsaid, written
from caio.providers.translation.chat_to_anthropic import MessagesStream, completion, messages_request

VERSION = "2023-06-01"


class Anthropic:
    """The ``anthropic`` protocol: chats."""

    def __init__(self, outbound: OutboundClient, now: Callable[[], float] = time.time) -> None:
        self._outbound = outbound
        self._now = now

    def unsaid(self, target: Target, operation: Operation, body: Any) -> tuple[Violation, ...]:
        """Why the body cannot be said in Messages; empty when it can."""
        return unsaid(body, _writing(target, stream=False))

    async def call(self, target: Target, call: Call) -> ProviderAnswer:
        """One request, one answer; raises UpstreamFailed."""
        request, json = _request(target, call, stream=False)
        async with self._open(target, call, request, "application/json") as answer:
            await expect_success(target, call, answer)
            document = await read_json(target, answer)
        if isinstance(document, dict) and document.get("type") == "error":
            raise failed_event(subject_of(target), document, secret=call.secret)
        return told(target, lambda: completion(document, int(self._now()), json=json))

    async def stream(self, target: Target, call: Call) -> AsyncIterator[Sequence[Chunk]]:
        """The chunks up to ``message_stop``; raises UpstreamFailed, also when the stream ends before it.
        ``call.timeout`` bounds the whole stream."""
        request, json = _request(target, call, stream=True)
        async with self._open(target, call, request, "text/event-stream") as answer:
            await expect_success(target, call, answer)
            expect_plain(target, answer)
            if answer.media_type != "text/event-stream":
                raise garbage(target, "answered another content type than an event stream")
            reader, messages = EventReader(), MessagesStream(int(self._now()), json=json)
            while piece := await answer.next_step():
                for data in event_data(target, reader, piece):
                    event = json_object(target, data)
                    if event.get("type") == "error":
                        raise failed_event(subject_of(target), event, secret=call.secret)
                    if chunks := told_chunks(target, partial(messages.read, event)):
                        yield chunks
                    if messages.complete:
                        await answer.finish()
                        return
        raise cut(target)

    def _open(
        self, target: Target, call: Call, request: dict[str, Any], accept: str
    ) -> AbstractAsyncContextManager[Answer]:
        return self._outbound.request(
            "POST",
            url_of(target),
            subject=subject_of(target),
            seconds=call.timeout,
            headers={**headers_of(target, call, accept), "anthropic-version": VERSION},
            body=json_bytes(target, request),
            twice=call.operation is not Operation.JSON,
        )


def _request(target: Target, call: Call, *, stream: bool) -> tuple[dict[str, Any], bool]:
    return written(target, call, _writing(target, stream=stream))


def _writing(target: Target, *, stream: bool) -> Callable[[Any], tuple[dict[str, Any], bool]]:
    return partial(messages_request, model=target.model, max_tokens=target.max_tokens, stream=stream)
