"""How a surface tells a stream: its chunks, its end and its breaking, as server-sent events.

One instance belongs to one stream, for a surface may have to remember what it has told.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from caio.foundation.errors import CaioError, DeadlineExceeded, UpstreamFailed, UpstreamFault
from caio.gateway.ports import Chunk

DONE = b"data: [DONE]\n\n"


class Frames(Protocol):
    """The bytes of a stream's events; empty where nothing is to be told."""

    def chunk(self, chunk: Chunk) -> bytes:
        """What the caller receives for a chunk. Raises UpstreamFailed GARBAGE for one that cannot be told."""
        ...

    def end(self) -> bytes:
        """What tells that the stream is complete. Asked for once, when the outcome is durable."""
        ...

    def broken(self, fault: CaioError, decision_id: str) -> bytes:
        """What tells that it is not, by the service's fault or CAIO's own. Neither ``end`` nor another chunk
        follows."""
        ...


class End:
    """What tells the end of one stream, whoever sees to it: those who make the stream, or who cut it off."""

    def __init__(self, frames: Frames, decision_id: str) -> None:
        self.frames = frames
        self._decision_id = decision_id
        self._is_told = False

    def told(self, broken: CaioError | None) -> bytes:
        """That it is complete, or what it is ``broken`` by; nothing when one of them has been told."""
        if self._is_told:
            return b""
        told = self.frames.end() if broken is None else self.frames.broken(broken, self._decision_id)
        self._is_told = True
        return told


class ChatFrames:
    """OpenAI's ``chat.completion.chunk`` events. ``usage`` says whether the caller wants a chunk that holds
    nothing but the usage."""

    def __init__(self, *, usage: bool = False) -> None:
        self._usage = usage

    def chunk(self, chunk: Chunk) -> bytes:
        if self._usage or chunk.usage is None or chunk.has_content or chunk.finish_reason:
            return b"data: " + chunk.data + b"\n\n"
        return b""

    def end(self) -> bytes:
        return DONE

    def broken(self, fault: CaioError, decision_id: str) -> bytes:
        return b"data: " + msgspec.json.encode({"error": error_of(fault, decision_id)}) + b"\n\n"


def error_of(fault: CaioError, decision_id: str) -> dict[str, str]:
    """What a stream that broke says of it, in OpenAI's shape."""
    kind, code = "api_error", fault.code
    if isinstance(fault, UpstreamFailed):
        kind = "upstream_error"
        if fault.fault is UpstreamFault.TIMEOUT:
            code = DeadlineExceeded.code
    return {"message": fault.message, "type": kind, "code": code, "decision_id": decision_id}
