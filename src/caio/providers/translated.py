"""What providers of streams and of translated chats have in common: what is misread becomes a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from caio.foundation.errors import UpstreamFailed, UpstreamFault, Violation
from caio.gateway.ports import Call, Chunk, Target
from caio.providers.exchange import garbage, outgoing, subject_of
from caio.providers.sse import EventReader, EventTooLong
from caio.providers.translation.chat_answer import Unreadable
from caio.providers.translation.conversation import Untranslatable

T = TypeVar("T")


def event_data(target: Target, reader: EventReader, piece: bytes) -> list[bytes]:
    """The data of the events that ``piece`` completes. An event with empty data is a heartbeat."""
    try:
        return [data for data in reader.feed(piece) if data]
    except EventTooLong as error:
        raise garbage(target, "sent a frame that is too long, or too many of them") from error


def written(target: Target, call: Call, write: Callable[[Any], T]) -> T:
    """What ``write`` makes of the call's body; raises UpstreamFailed INVALID for what cannot be said."""
    try:
        return write(outgoing(call.body))
    except Untranslatable as error:
        failure = UpstreamFailed(f"{subject_of(target)} was not called: {error}", UpstreamFault.INVALID)
    raise failure


def unsaid(body: Any, write: Callable[[Any], object]) -> tuple[Violation, ...]:
    """Why ``write`` cannot say the body; empty when it can."""
    try:
        write(outgoing(body))
    except Untranslatable as error:
        return (Violation(error.pointer, error.why),)
    return ()


def told(target: Target, read: Callable[[], T]) -> T:
    """What ``read`` makes of an answer; raises UpstreamFailed GARBAGE for what is not of the protocol."""
    try:
        return read()
    except Unreadable as error:
        failure = garbage(target, str(error))
    raise failure


def told_chunks(target: Target, chunks: Callable[[], Iterator[Chunk]]) -> list[Chunk]:
    """The chunks of one event."""
    return told(target, lambda: list(chunks()))


def json_object(target: Target, raw: bytes) -> dict[str, Any]:
    """An event's document; raises UpstreamFailed GARBAGE for anything but a JSON object."""
    try:
        document = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):  # outside the handler, whose error may quote the event
        raise garbage(target, "sent a frame that is not a chunk of a stream")
    return document


def cut(target: Target) -> UpstreamFailed:
    """A stream that ended without its end mark."""
    return UpstreamFailed(f"{subject_of(target)} ended its stream before it was complete", UpstreamFault.UPSTREAM)
